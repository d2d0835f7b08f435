"""SQLite files while they are in use, and back: the outbox of publishers, and a small Prefect server's database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import PermanentError, TransientError

_PATIENCE_S = 30


def dump(path: Path, file: BinaryIO) -> dict[str, int]:
    """One consistent copy, whoever writes meanwhile; counts the rows of each table."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "copy.sqlite"
        try:
            with closing(_open(path, "ro")) as source, closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
                counts = _rows(copy)
        except sqlite3.OperationalError as error:
            raise TransientError(f"{path} cannot be copied now: {error}") from None
        except sqlite3.DatabaseError as error:
            raise PermanentError(f"{path} is damaged: {error}") from None
        with open(target, "rb") as copied:
            shutil.copyfileobj(copied, file)
    return counts


def has_rows(path: Path) -> bool:
    """Whether any table of the file holds a row; False where there is no file."""
    if not path.exists():
        return False
    try:
        with closing(_open(path, "ro")) as database:
            return any(_rows(database).values())
    except sqlite3.DatabaseError as error:
        raise PermanentError(f"{path} cannot be read: {error}") from None


def restore(copy: Path, path: Path) -> None:
    """Put the copy in the file's place, with nothing left of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.restoring")
    with open(draft, "wb", opener=_private) as file, open(copy, "rb") as source:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
    for suffix in ("-wal", "-shm", "-journal"):  # of the old file: they would be played into the new one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.rename(path)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE_S)


def _rows(database: sqlite3.Connection) -> dict[str, int]:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    names = [name for (name,) in database.execute(tables)]
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
    return {name: database.execute(f"SELECT count(*) FROM {quoted[name]}").fetchone()[0] for name in names}  # noqa: S608  # quoted


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
