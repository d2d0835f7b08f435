"""What a step leaves for the next one comes back bit for bit."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import PermanentError
from pipelines.evidence import Series, SubjectKind
from pipelines.metrics import columns

numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)


def series(rows: list[tuple[str, float, int]], view: str = "degree") -> Series:
    subjects, values, sizes = ([r[i] for r in rows] for i in range(3))
    return Series(
        view, 3, SubjectKind.TEAM, 1_772_452_800_000, tuple(subjects), np.array(values, float), np.array(sizes, int)
    )


def bits(one: Series) -> tuple[object, ...]:
    return (one.view, one.version, one.kind, one.time_ms, one.subjects, one.values.tobytes(), one.sizes.tobytes())


@settings(max_examples=25)
@given(st.lists(st.lists(st.tuples(st.text(), numbers, st.integers(0, 2**62))), max_size=4))
def test_the_round_trip_is_exact(tables: list[list[tuple[str, float, int]]]) -> None:
    before = [series(rows, f"view {i}") for i, rows in enumerate(tables)]
    payload = columns.pack(before)
    after = columns.unpack(payload)
    assert [bits(s) for s in after] == [bits(s) for s in before]
    assert all(s.values.dtype == np.float64 and s.sizes.dtype == np.int64 for s in after)
    assert columns.pack(after) == payload


def test_subjects_that_series_share_are_kept_once() -> None:
    rows = [(f"team {i}", float(i), 7) for i in range(2_000)]
    one, ten = (columns.pack([series(rows, f"v{i}") for i in range(count)]) for count in (1, 10))
    (first, *_, last) = columns.unpack(ten)
    assert first.subjects is last.subjects
    alone = len(columns.pack([series([], "v0")]))
    assert len(ten) - alone < 10 * (len(one) - alone)


@pytest.mark.parametrize("payload", [b"", b"not an archive", pickle.dumps([1])])
def test_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(PermanentError, match="run the step again"):
        columns.unpack(payload)


def test_nothing_in_it_is_executed_when_it_is_read() -> None:
    file = io.BytesIO()
    np.savez(file, series=np.array([object()], dtype=object))
    with pytest.raises(PermanentError):
        columns.unpack(file.getvalue())


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = columns.pack([])
    monkeypatch.setattr(columns, "_VERSION", 2)
    with pytest.raises(PermanentError, match="version 1 instead of 2"):
        columns.unpack(payload)
