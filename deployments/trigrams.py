"""A stand-in for the extension pg_trgm on the embedded PostgreSQL, whose package ships no extensions.

Prefect's migrations make seven indexes with it, for the search after a part of a name, and use it for nothing else. A
PostgreSQL that has the real one keeps it; a dump of the database asks for pg_trgm by name and gets the real one elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from pipelines.postgres import translated

_NAME, _VERSION = "pg_trgm", "0.causal-organism"
_CONTROL = f"comment = 'stand-in: the names of pg_trgm'\ndefault_version = '{_VERSION}'\nrelocatable = true\n"


def stand_in(url: str, folder: Path) -> bool:
    """Makes it in the database of `url` if the server has none; says whether it did. Safe to repeat.

    folder: where PostgreSQL may read its two files; they are needed for this moment only. Needs a superuser.

    Raises:
        TransientError, PermanentError: the server cannot be reached or does not let us.
    """
    with translated(url), psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        have = (
            "SELECT 1 FROM pg_extension WHERE extname = %s UNION SELECT 1 FROM pg_available_extensions WHERE name = %s"
        )
        if connection.execute(have, (_NAME, _NAME)).fetchone():
            return False
        _write(folder / "extension")
        connection.execute("SELECT set_config('extension_control_path', %s, false)", (f"{folder}:$system",))
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    return True


def _write(folder: Path) -> None:
    """Nothing in them is a secret, and PostgreSQL may run as another user."""
    folder.mkdir(parents=True, exist_ok=True)
    statements = Path(__file__).with_name("trigrams.sql").read_text("utf-8")
    for name, text in ((f"{_NAME}.control", _CONTROL), (f"{_NAME}--{_VERSION}.sql", statements)):
        path = folder / name
        path.write_text(text, "utf-8")
        path.chmod(0o644)
    for path in (folder.parent, folder):
        path.chmod(0o755)
