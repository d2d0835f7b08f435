"""Requests for runs in PostgreSQL. Safe from many threads and processes at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from pipelines import queries
from pipelines.postgres import Connection, Pool, runner, transaction
from pipelines.requests.request import Request
from pipelines.runs import Mode

_run = runner(queries.load("pipelines.requests", "queries.sql"))
#: A key is known for so long.
_KEY_KEPT = timedelta(hours=24)
#: A retry that has no run after so long will not get one by itself.
_UNFINISHED = timedelta(minutes=5)
#: A process that was launched has taken its run up after so long, or never will: with a slow disk an import takes seconds.
_LAUNCHING = timedelta(seconds=30)


class PostgresRequests:
    """`jobs.operating.Requests`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def claim(self, wanted: Request) -> Request:
        with transaction(self._pool) as connection:
            _expire(connection, wanted)
            if wanted.retry_of is not None:
                _run(connection, "one_at_a_time", retry_of=wanted.retry_of)
            if (known := _known(connection, wanted.asked_by, wanted.key, wanted.asked_at)) is not None:
                return known
            again = wanted.retry_of
            if again is not None and (other := _open_retry(connection, again, wanted.asked_at)) is not None:
                return other
            if _run(connection, "claim", **_columns(wanted)):
                return wanted
            held = _known(connection, wanted.asked_by, wanted.key, wanted.asked_at)
            assert held is not None, "who was first with this key has committed, or nothing had stood in our way"
            return held

    def known(self, asked_by: str, key: str, now: datetime) -> Request | None:
        with transaction(self._pool) as connection:
            return _known(connection, asked_by, key, now)

    def of(self, run_id: str) -> Request | None:
        with transaction(self._pool) as connection:
            return _one(_run(connection, "by_run", run_id=run_id))

    def open_retry(self, run_id: str, now: datetime) -> Request | None:
        """The request that repeats this run at the moment."""
        with transaction(self._pool) as connection:
            return _open_retry(connection, run_id, now)

    def note_run(self, id_: str, run_id: str) -> None:
        with transaction(self._pool) as connection:
            _run(connection, "note_run", id=id_, run_id=run_id)

    def withdraw(self, id_: str) -> None:
        with transaction(self._pool) as connection:
            _run(connection, "withdraw", id=id_)

    def may_launch(self, id_: str, now: datetime) -> bool:
        with transaction(self._pool) as connection:
            return bool(_run(connection, "may_launch", id=id_, now=now, launched_before=now - _LAUNCHING))

    def take_up(self, run_id: str, now: datetime) -> bool:
        with transaction(self._pool) as connection:
            return bool(_run(connection, "take_up", run_id=run_id, now=now))

    def askers(self, id_: str) -> tuple[str, ...]:
        with transaction(self._pool) as connection:
            return tuple(name for (name,) in _run(connection, "askers", id=id_))

    def forget(self, before: datetime) -> int:
        with transaction(self._pool) as connection:
            return len(_run(connection, "forget", before=before))


def _expire(connection: Connection, wanted: Request) -> None:
    if wanted.key is not None:
        since = wanted.asked_at - _KEY_KEPT
        _run(connection, "expire_key", asked_by=wanted.asked_by, key=wanted.key, key_since=since)


def _known(connection: Connection, asked_by: str, key: str | None, now: datetime) -> Request | None:
    if key is None:
        return None
    return _one(_run(connection, "by_key", asked_by=asked_by, key=key, key_since=now - _KEY_KEPT))


def _open_retry(connection: Connection, run_id: str, now: datetime) -> Request | None:
    ids = _run(connection, "open_retry", retry_of=run_id, open_since=now - _UNFINISHED)
    return _one(_run(connection, "by_id", id=ids[0][0])) if ids else None


def _columns(wanted: Request) -> dict[str, Any]:
    names = ("id", "flow_name", "mode", "digest", "key", "retry_of", "run_id")
    said = {name: getattr(wanted, name) for name in names}
    said |= {"asked_by": wanted.asked_by, "parameters": Jsonb(dict(wanted.parameters)), "now": wanted.asked_at}
    return said


def _one(rows: list[tuple[Any, ...]]) -> Request | None:
    return next((replace(its, mode=Mode(its.mode)) for its in (Request(*row) for row in rows)), None)
