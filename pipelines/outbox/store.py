"""The outbox in a SQLite file of the state directory.

Several publishers may share it: each sends whatever lies in it, so that some events go out twice, and the ledger counts
them once. That is why nothing here is reserved: a publisher that was killed holds nothing back.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines import queries
from pipelines.errors import PermanentError, TransientError

_Q = queries.load("pipelines.outbox", "queries.sql")
_PATIENCE_S = 30  # another publisher holds the file for the time of one commit, some milliseconds


class SqliteOutbox:
    """`jobs.publish.Outbox`. One connection; for one thread.

    Raises:
        PermanentError: the file cannot be opened or is damaged, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated():
            _make_private(path)
            self._db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit is on disk, not only with the system
            self._db.execute(_Q["create"])

    def put(self, payloads: Sequence[bytes]) -> None:
        """Keep the events; on disk when this returns, all of them or none."""
        self._write("put", [(payload,) for payload in payloads])

    def next(self, limit: int) -> list[tuple[int, bytes]]:
        """The oldest events with their row ids, at most `limit`; they stay until `done`."""
        with self._translated():
            return self._db.execute(_Q["next"], (limit,)).fetchall()

    def done(self, rowids: Sequence[int]) -> None:
        """Forget events that are on the server's disk. Repeatable."""
        self._write("done", [(rowid,) for rowid in rowids])

    def count(self) -> int:
        with self._translated():
            (count,) = self._db.execute(_Q["count"]).fetchone()
            return int(count)

    def close(self) -> None:
        self._db.close()

    def _write(self, name: str, rows: Sequence[tuple[object]]) -> None:
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")  # at once, so that two writers wait instead of failing half way
            try:
                self._db.executemany(_Q[name], rows)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            words = f"outbox {self._path}: {error.strerror}; set ORGANISM_STATE_DIR to a place of your own"
            raise PermanentError(words) from error
        except sqlite3.OperationalError as error:
            raise self._explained(error) from error
        except sqlite3.DatabaseError as error:
            words = "put it aside (its events were not sent) and publish the file again"
            raise PermanentError(f"outbox {self._path} is damaged ({error}); {words}") from error

    def _explained(self, error: sqlite3.OperationalError) -> TransientError | PermanentError:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return TransientError(f"outbox {self._path}: another publisher has held it for {_PATIENCE_S} s; try again")
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            return PermanentError(f"outbox {self._path}: the disk is full; make room and run again, nothing is lost")
        return PermanentError(f"outbox {self._path}: {error}; may this user write there?")


def _make_private(path: Path) -> None:
    """Only its owner may read it; SQLite gives its other files the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
