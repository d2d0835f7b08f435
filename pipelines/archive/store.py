"""The archive in PostgreSQL (with TimescaleDB where it is installed), through psycopg 3 and its pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pipelines import queries
from pipelines.archive.effects import unpack
from pipelines.model import DeadLetter, Interaction, Lane, Medium, RosterChange, RosterKind, Scope, Tie
from pipelines.postgres import Connection, Pool, runner, transaction

_Q = queries.load("pipelines.archive", "queries.sql")
_run = runner(_Q)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_CHUNK = 5_000


class PostgresArchive:
    """`ports.Archive`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._months: set[datetime] = set()

    def store(self, payloads: Sequence[bytes]) -> None:
        with self._transaction() as connection:
            _run(connection, "one_at_a_time")
            for payload in payloads:
                for kind, records in unpack(payload).items():
                    self._store(connection, kind, records)

    def _store(self, connection: Connection, kind: str, records: str) -> None:
        if kind == "interactions":
            self._ensure_months(connection, _run(connection, "mark_stale_weeks", records=records))
        _run(connection, f"store_{kind}", records=records)
        if kind == "privacy":
            _run(connection, "erase", records=records)

    def _ensure_months(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Partitions for these months; those that we made stay known, so that most batches ask nothing."""
        months = {month.replace(tzinfo=UTC) for (month,) in rows}
        for month in sorted(months - self._months):
            _run(connection, "ensure_months", first=month, last=month)
        self._months |= months

    def interactions(self) -> Iterator[list[Interaction]]:
        with self._transaction() as connection, connection.cursor(name="interactions") as cursor:
            cursor.execute(_Q["interactions"])
            while rows := cursor.fetchmany(_CHUNK):
                yield [_interaction(row) for row in rows]

    def find(self, keys: Sequence[str]) -> dict[str, Interaction]:
        with self._transaction() as connection:
            rows = _run(connection, "find", keys=list(keys))
        return {event.key: event for event in map(_interaction, rows)}

    def between(self, ends: Sequence[tuple[str, str, str]]) -> tuple[list[Interaction], list[Tie]]:
        people = {"actors": sorted({a for a, _, _ in ends}), "targets": sorted({b for _, b, _ in ends})}
        with self._transaction() as connection:
            rows = _run(connection, "between", **people)
            sums = _run(connection, "baseline_between", **people)
        wanted = set(ends)
        return [_interaction(row) for row in rows], [tie for tie in map(_tie, sums) if tie.ends in wanted]

    def baseline(self) -> Iterator[Tie]:
        with self._transaction() as connection:
            yield from map(_tie, _run(connection, "baseline"))

    def known(self, keys: Sequence[str]) -> set[str]:
        with self._transaction() as connection:
            return {key for (key,) in _run(connection, "known", keys=list(keys))}

    def roster(self) -> list[RosterChange]:
        with self._transaction() as connection:
            return [_roster(row) for row in _run(connection, "roster")]

    def outcomes(self, since: datetime) -> Iterator[tuple[str, datetime, str, float]]:
        with self._transaction() as connection, connection.cursor(name="outcomes") as cursor:
            cursor.execute(_Q["outcomes"], {"since": since})
            yield from cursor

    def withdrawn(self) -> list[tuple[str, int]]:
        with self._transaction() as connection:
            return [(key, (at - _EPOCH).days) for key, at in _run(connection, "withdrawn")]

    def excluded(self) -> frozenset[str]:
        with self._transaction() as connection:
            return frozenset(person for (person,) in _run(connection, "excluded"))

    def count(self) -> int:
        with self._transaction() as connection:
            return int(_run(connection, "count")[0][0])

    def note_drop(self, lane: Lane, letter: DeadLetter, reason: str, who: str) -> None:
        about = {"id": letter.id, "lane": lane.value, "code": letter.code, "source_id": letter.source_id}
        with self._transaction() as connection:
            _run(connection, "note_drop", **about, reason=reason, who=who)

    def retire(self, before: datetime, sums: Callable[[Iterable[Interaction]], Sequence[Tie]]) -> int:
        """Move interactions before a time into the baseline, in one transaction. How many."""
        with self._transaction() as connection:
            _run(connection, "one_at_a_time")
            rows = _run(connection, "take_before", before=before)
            if rows:
                ties = [_record(tie) for tie in sums(map(_interaction, rows))]
                _run(connection, "add_baseline", ties=msgspec.json.encode(ties).decode())
            return len(rows)

    def _transaction(self) -> AbstractContextManager[Connection]:
        return transaction(self._pool)


def _interaction(row: tuple[Any, ...]) -> Interaction:
    key, digest, source, at, medium, actor, targets, count, scope, duration, response, offset = row
    return Interaction(
        key,
        digest,
        source,
        (at - _EPOCH) // _MS,
        Medium(medium),
        actor,
        tuple(targets),
        count,
        Scope(scope),
        duration,
        response,
        offset,
    )


def _roster(row: tuple[Any, ...]) -> RosterChange:
    key, digest, source, at, kind, person, team, role_class, manager, tz = row
    return RosterChange(
        key, digest, source, (at - _EPOCH) // _MS, RosterKind(kind), person, team, role_class, manager, tz
    )


def _tie(row: tuple[Any, ...]) -> Tie:
    return Tie(*row)


def _record(tie: Tie) -> dict[str, object]:
    return {name: getattr(tie, name) for name in Tie.__dataclass_fields__}
