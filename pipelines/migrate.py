"""Forward-only migrations of PostgreSQL: one transaction each, one runner at a time, and no edit after the fact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString

import psycopg

from pipelines.errors import PermanentError, TransientError

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6F7267616E69736D  # "organism": one runner at a time in this database
#: Whoever waits longer for another runner, or for a table that is in use, is told so.
PATIENCE_S = 30.0
_TABLE: LiteralString = (
    "CREATE TABLE IF NOT EXISTS schema_migrations"
    " (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT now())"
)


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


def available() -> list[Migration]:
    """The migrations that ship with the package, in order."""
    folder = files("pipelines.migrations")
    found = [f for f in folder.iterdir() if _FILE.fullmatch(f.name)]
    return sorted((Migration(int(f.name[:4]), f.name, f.read_text("utf-8")) for f in found), key=lambda m: m.version)


def migrate(
    connection: psycopg.Connection[tuple[Any, ...]],
    wanted: Sequence[Migration] | None = None,
    patience_s: float = PATIENCE_S,
) -> list[str]:
    """Apply what is missing; the names of what was applied. Safe to run again and at the same time from two places.

    Raises:
        TransientError: a lock was not to be had for so long; nothing was applied.
        PermanentError: a migration was edited after it had been applied, or the database is newer than this package.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{patience_s * 1000:.0f}ms",))
            return _all_missing(connection, available() if wanted is None else wanted)
    except psycopg.errors.LockNotAvailable:
        raise TransientError(
            f"postgres: a migration is under way, or a table that it needs is in use, for longer than {patience_s:g} s;"
            " try again when that is done"
        ) from None


def _all_missing(connection: psycopg.Connection[tuple[Any, ...]], wanted: Sequence[Migration]) -> list[str]:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    connection.execute(_TABLE)
    done = dict(connection.execute("SELECT version, checksum FROM schema_migrations").fetchall())
    _insist_unedited(wanted, done)
    missing = [m for m in wanted if m.version not in done]
    for migration in missing:
        _apply(connection, migration)
    return [m.name for m in missing]


def _insist_unedited(wanted: Sequence[Migration], done: dict[int, str]) -> None:
    for migration in wanted:
        if done.get(migration.version, migration.checksum) != migration.checksum:
            raise PermanentError(
                f"migration {migration.name} was edited after it was applied; restore it, add a new one"
            )
    if unknown := sorted(set(done) - {m.version for m in wanted}):
        raise PermanentError(
            f"the database has migrations {unknown} that this package does not know; upgrade the package"
        )


def _apply(connection: psycopg.Connection[tuple[Any, ...]], migration: Migration) -> None:
    connection.execute(migration.statements)
    connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
        (migration.version, migration.name, migration.checksum),
    )
