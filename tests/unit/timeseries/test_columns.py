"""Columns to COPY's lines: what a reader of that format gets back, and what is refused before anything is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import PermanentError
from pipelines.evidence import Series, SubjectKind
from pipelines.timeseries import columns

_READ = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def column(subjects: tuple[str, ...], values: list[float] | None = None, time_ms: int = 0, view: str = "v") -> Series:
    numbers = np.array(values if values is not None else [1.0] * len(subjects))
    return Series(view, 1, SubjectKind.TEAM, time_ms, subjects, numbers, np.full(len(subjects), 5))


def read_copy(text: bytes) -> list[tuple[str, ...]]:
    """The text format of COPY as its manual says it is read: tabs and line ends first, then backslashes."""
    assert b"\n\\.\n" not in b"\n" + text
    rows = [tuple(line.split("\t")) for line in text.decode().split("\n")[:-1]]
    return [tuple(re.sub(r"\\.", lambda found: _READ[found[0]], cell) for cell in row) for row in rows]


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
names |= st.text("\\\t\n\rNn.", max_size=5)
points = st.tuples(names, st.floats(allow_infinity=False))


@settings(max_examples=50)
@given(st.lists(points, unique_by=lambda row: row[0], max_size=30), st.integers(1, 9))
def test_what_copy_reads_is_what_was_given(rows: list[tuple[str, float]], size: int) -> None:
    given_ = column(tuple(name for name, _ in rows), [value for _, value in rows])
    found = read_copy(b"".join(columns.lines(3, given_, size)))
    wanted = [("3", name, value, "5") for name, value in rows if not math.isnan(value)]
    assert [(n, name, float(value), people) for n, name, value, people in found] == wanted
    assert columns.stored(given_) == len(wanted)


def test_lines_that_are_not_escaped_are_read_as_something_else() -> None:
    """The control of the test above: names as they are break the format."""
    naive = "".join(f"3\t{name}\t1.0\t5\n" for name in ("a\tb", "c\nd")).encode()
    assert len({len(row) for row in read_copy(naive)}) > 1


def test_parts_are_as_large_as_asked_and_lose_nothing() -> None:
    given_ = [column(tuple("abcde"), time_ms=n) for n in range(7)]
    parts = list(columns.parts(iter(given_), size=10))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    assert [c.time_ms for part in parts for c in part] == list(range(7))


def test_a_part_is_handed_on_before_the_next_series_is_asked_for() -> None:
    asked: list[int] = []

    def made() -> Iterator[Series]:
        for n in range(3):
            asked.append(n)
            yield column(("a",), time_ms=n)

    next(columns.parts(made(), size=2))
    assert asked == [0, 1]


def test_the_same_series_twice_is_refused_across_parts() -> None:
    with pytest.raises(PermanentError, match="came twice"):
        list(columns.parts([column(("a",)), column(("b",), view="w"), column(("c",))], size=1))


@pytest.mark.parametrize("name", ["p_\0", "p_\ud800"])
def test_a_refusal_names_the_view_and_nobody(name: str) -> None:
    with pytest.raises(PermanentError, match="view v version 1") as refused:
        columns.check(column((name,)))
    assert "p_" not in str(refused.value)


def test_months_are_those_of_utc_each_once() -> None:
    moments = [
        datetime(2025, 12, 31, 23, 59, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 9, tzinfo=UTC),
    ]
    given_ = [column(("a",), time_ms=int(m.timestamp() * 1000)) for m in moments]
    assert columns.months(given_) == [datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]


def test_rows_become_one_series_for_each_time() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [(first, "a", 1.0, 5), (first, "b", 2.0, 6), (first + timedelta(milliseconds=1), "a", 3.0, 7)]
    found = list(columns.series("v", 1, SubjectKind.TEAM, rows))
    assert [(s.time_ms - found[0].time_ms, s.subjects, s.values.tolist(), s.sizes.tolist()) for s in found] == [
        (0, ("a", "b"), [1.0, 2.0], [5, 6]),
        (1, ("a",), [3.0], [7]),
    ]
    assert columns.at(found[0].time_ms) == first
    assert list(columns.series("v", 1, SubjectKind.TEAM, [])) == []
