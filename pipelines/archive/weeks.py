"""Weeks of people in PostgreSQL: a stretch of the archive as columns, and the table `person_weeks`, a week at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from pipelines import queries
from pipelines.evidence import Floats
from pipelines.person_weeks import (
    COLUMNS,
    EVERYBODY,
    MEDIA,
    NO_OFFSET,
    NO_RESPONSE,
    SCOPES,
    Acts,
    ArchiveSpan,
    Mark,
    Shard,
    WeekRows,
    WeekState,
)
from pipelines.postgres import Connection, Pool, runner, transaction

_Q = queries.load("pipelines.archive", "weeks.sql")
_run = runner(_Q)
_CHUNK = 50_000
_MEDIUM = {medium.value: place for place, medium in enumerate(MEDIA)}
_SCOPE = {scope.value: place for place, scope in enumerate(SCOPES)}
_TEAM, _FIRST_COLUMN = 2, 3
_STRAIN = _FIRST_COLUMN + len(COLUMNS)
_PARTS = _STRAIN + 1


class PostgresWeeks:
    """`ports.Weeks`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def span(self) -> ArchiveSpan | None:
        with transaction(self._pool) as connection:
            ((first, last, retired),) = _run(connection, "span")
        return None if first is None else ArchiveSpan(first, last, retired)

    def states(self) -> list[WeekState]:
        with transaction(self._pool) as connection:
            return [WeekState(*row) for row in _run(connection, "states")]

    def marks(self) -> list[Mark]:
        with transaction(self._pool) as connection:
            return [Mark(*row) for row in _run(connection, "marks")]

    def forget(self, marks: Sequence[Mark]) -> None:
        with transaction(self._pool) as connection:
            _settle(connection, marks)

    def count(self, start: datetime, end: datetime) -> int:
        with transaction(self._pool) as connection:
            return int(_run(connection, "count", start=start, end=end)[0][0])

    def acts(self, start: datetime, end: datetime, shard: Shard = EVERYBODY) -> Iterator[Acts]:
        """Through a cursor on the server, so that neither side ever holds more than a chunk of rows."""
        limits = {"low": f"{shard.low:02x}", "high": f"{shard.high:02x}" if shard.high < 256 else "g"}
        about = {"start": start, "end": end, "all": shard == EVERYBODY, **limits}
        with transaction(self._pool) as connection, connection.cursor(name="acts", binary=True) as cursor:
            cursor.execute(_Q["acts"], about)
            while rows := cursor.fetchmany(_CHUNK):
                yield _acts(rows)

    def rows(self, first: date, end: date) -> list[WeekRows]:
        with transaction(self._pool) as connection:
            found = _run(connection, "rows", first=first, end=end)
        return [_week(week, list(rows)) for week, rows in groupby(found, key=itemgetter(0))]

    def replace(self, rows: WeekRows, state: WeekState, strains_after: int, settled: Sequence[Mark] = ()) -> bool:
        with transaction(self._pool) as connection:
            _run(connection, "one_at_a_time")
            if not _run(connection, "claim", **_about(state), people=len(rows)):
                return False
            _run(connection, "clear", week=rows.week)
            with connection.cursor() as cursor, cursor.copy(_Q["copy"]) as copy:
                for record in _records(rows):
                    copy.write_row(record)
            _run(connection, "drop_excluded", week=rows.week)
            _run(connection, "strain_due", week=rows.week, weeks=strains_after)
            _settle(connection, settled)
            return True

    def set_strain(self, rows: WeekRows, revision: int) -> bool:
        records = zip(rows.people, rows.strain.tolist(), _parts(rows), strict=True)
        encoded = [{"person": p, "strain": _number(s), "parts": parts} for p, s, parts in records]
        with transaction(self._pool) as connection:
            if not _run(connection, "claim_strain", week=rows.week, revision=revision):
                return False
            _run(connection, "set_strain", week=rows.week, rows=msgspec.json.encode(encoded).decode())
            return True


def _settle(connection: Connection, marks: Sequence[Mark]) -> None:
    if marks:
        _run(connection, "settle", weeks=[m.week for m in marks], ats=[m.at for m in marks])


def _about(state: WeekState) -> dict[str, object]:
    return {
        name: getattr(state, name) for name in ("week", "version", "revision", "computed_at", "final", "interactions")
    }


# ------------------------------------------------------------------------------------------------ reading


class _Numbering(dict[str, int]):
    """Numbers names in the order in which they are asked for."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


def _acts(rows: Sequence[tuple[Any, ...]]) -> Acts:
    time, medium, scope, actor, targets, count, duration, response, offset = zip(*rows, strict=True)
    number, n = _Numbering(), len(rows)
    flat = " ".join(targets).split(" ")
    sizes = np.fromiter((names.count(" ") + 1 for names in targets), np.int64, n)
    return Acts(
        actor=np.fromiter(map(number.__getitem__, actor), np.int32, n),
        target=np.fromiter(map(number.__getitem__, flat), np.int32, len(flat)),
        target_row=np.repeat(np.arange(n), sizes),
        people=tuple(number),
        time_ms=np.fromiter(time, np.int64, n),
        medium=np.fromiter(map(_MEDIUM.__getitem__, medium), np.int8, n),
        scope=np.fromiter(map(_SCOPE.__getitem__, scope), np.int8, n),
        target_count=np.fromiter(count, np.int16, n),
        duration_s=np.fromiter(duration, np.int32, n),
        response_s=np.fromiter((NO_RESPONSE if r is None else r for r in response), np.int32, n),
        offset_min=np.fromiter((NO_OFFSET if o is None else o for o in offset), np.int16, n),
    )


def _week(week: date, rows: Sequence[tuple[Any, ...]]) -> WeekRows:
    columns = list(zip(*rows, strict=True))
    parts = columns[_PARTS]
    names = sorted({name for part in parts if part for name in part})
    return WeekRows(
        week=week,
        people=columns[1],
        teams=columns[_TEAM],
        values={name: _floats(columns[_FIRST_COLUMN + place]) for place, name in enumerate(COLUMNS)},
        strain=_floats(columns[_STRAIN]),
        parts={name: _floats([part and part[name] for part in parts]) for name in names},
    )


def _floats(values: Sequence[Any]) -> Floats:
    """To single precision, as the table holds it: read as text, 0.1 would come back as another number than went in."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float32).astype(np.float64)


# ------------------------------------------------------------------------------------------------ writing


def _records(rows: WeekRows) -> Iterator[tuple[object, ...]]:
    columns = [_whole(rows.values[name]) if whole else _real(rows.values[name]) for name, whole in COLUMNS.items()]
    strains = _real(rows.strain)
    parts = (None if part is None else msgspec.json.encode(part).decode() for part in _parts(rows))
    week = [rows.week] * len(rows)
    yield from zip(week, rows.people, rows.teams, *columns, strains, parts, strict=True)


def _whole(values: Floats) -> list[int | None]:
    return [None if v != v else int(v) for v in values.tolist()]


def _real(values: Floats) -> list[float | None]:
    return [_number(v) for v in values.tolist()]


def _number(value: float) -> float | None:
    return None if value != value else value


def _parts(rows: WeekRows) -> Iterator[dict[str, float] | None]:
    """The parts of each person's strain; None where it abstains."""
    columns = {name: values.tolist() for name, values in rows.parts.items()}
    for number, strain in enumerate(rows.strain.tolist()):
        yield None if strain != strain else {name: values[number] for name, values in columns.items()}
