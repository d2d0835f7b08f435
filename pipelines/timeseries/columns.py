"""Columns of points to the lines that COPY reads, and rows back to columns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter

import numpy as np

from pipelines.errors import PermanentError
from pipelines.evidence import Series, SubjectKind

Row = tuple[datetime, str, float, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_PART = 200_000
_LINES = 10_000
#: What the text format of COPY reads as something else; https://www.postgresql.org/docs/current/sql-copy.html
_SPECIAL = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPES = str.maketrans(_SPECIAL)


def at(time_ms: int) -> datetime:
    return _EPOCH + int(time_ms) * _MS


def parts(series: Iterable[Series], size: int = _PART) -> Iterator[list[Series]]:
    """The series in groups of about `size` points, each checked: what one statement takes at a time.

    Raises:
        PermanentError: as `check`; or a series (view, version, kind, time) comes twice.
    """
    part: list[Series] = []
    points = 0
    seen: set[tuple[str, int, SubjectKind, int]] = set()
    for column in series:
        check(column)
        head = (column.view, column.version, column.kind, column.time_ms)
        if head in seen:
            raise PermanentError(f"{_name(column)} came twice in one write; give all its subjects in one series")
        seen.add(head)
        part.append(column)
        points += len(column.subjects)
        if points >= size:
            yield part
            part, points = [], 0
    if part:
        yield part


def check(column: Series) -> None:
    """Refuse what cannot be a column of points. Nothing is quoted but the view: a subject may be a person.

    Raises:
        PermanentError: lengths differ, a subject comes twice or cannot be stored, a value is infinite, a size negative.
    """
    if not len(column.subjects) == len(column.values) == len(column.sizes):
        raise PermanentError(f"{_name(column)}: subjects, values and sizes differ in length")
    if len(set(column.subjects)) != len(column.subjects):
        raise PermanentError(f"{_name(column)}: a subject comes twice")
    if np.isinf(column.values).any():
        raise PermanentError(f"{_name(column)}: a value is infinite; a view gives a number, or NaN for none")
    if (column.sizes < 0).any():
        raise PermanentError(f"{_name(column)}: a size is negative; it is the number of people behind a value")
    check_text(_name(column), *column.subjects)


def check_text(what: str, *texts: str) -> None:
    """PostgreSQL stores every text but one with a zero character or half a surrogate pair."""
    together = "".join(texts)
    if "\0" in together or not _is_unicode(together):
        raise PermanentError(f"{what}: a name holds a zero character or is not Unicode; mend it where it comes from")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(column: Series) -> str:
    return f"view {column.view} version {column.version} ({column.kind} at {at(column.time_ms):%Y-%m-%d %H:%M})"


def stored(column: Series) -> int:
    """How many of its values are a number."""
    return int(np.count_nonzero(~np.isnan(column.values)))


def lines(number: int, column: Series, size: int = _LINES) -> Iterator[bytes]:
    """The column in COPY's text format, some lines at a time: series number, subject, value, people. NaN is left out.

    A value is written with the fewest digits that read back as the same double.
    """
    for start in range(0, len(column.subjects), size):
        part = slice(start, start + size)
        values = column.values[part].tolist()
        rows = zip(_escaped(column.subjects[part]), values, column.sizes[part].tolist(), strict=True)
        yield "".join([f"{number}\t{s}\t{v!r}\t{n}\n" for s, v, n in rows if v == v]).encode()  # NaN is not itself


def _escaped(subjects: tuple[str, ...]) -> Iterable[str]:
    together = "".join(subjects)
    if not any(character in together for character in _SPECIAL):
        return subjects
    return [subject.translate(_ESCAPES) for subject in subjects]


def months(columns: Iterable[Series]) -> list[datetime]:
    """The first moment of every month (UTC) that the columns touch, ascending."""
    return sorted({at(c.time_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0) for c in columns})


def series(view: str, version: int, kind: SubjectKind, rows: Iterable[Row]) -> Iterator[Series]:
    """Columns of rows (time, subject, value, people) that are in order of time; no series for no rows."""
    for time, group in groupby(rows, key=itemgetter(0)):
        _, subjects, values, people = zip(*group, strict=True)
        sizes = np.array(people, dtype=np.int64)
        yield Series(view, version, kind, (time - _EPOCH) // _MS, subjects, np.array(values, dtype=np.float64), sizes)
