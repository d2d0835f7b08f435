from __future__ import annotations

import gzip
import io

from pipelines.sources import jsonl
from pipelines.sources.raw import Counts, RawEvent, Unreadable


def test_lines_are_handed_on_as_they_are_and_blank_ones_are_none() -> None:
    counts = Counts()
    items = list(jsonl.read(io.BytesIO(b'\xef\xbb\xbf{"a": 1}\r\n\n not json \n{}'), counts))
    assert items == [RawEvent(1, b'{"a": 1}'), RawEvent(3, b"not json"), RawEvent(4, b"{}")]
    assert counts.rows == 3


def test_packed_lines_are_read() -> None:
    assert list(jsonl.read(io.BytesIO(gzip.compress(b"{}\n")), Counts())) == [RawEvent(1, b"{}")]


def test_a_line_that_is_far_too_long_is_reported_without_taking_the_next_ones_along() -> None:
    items = list(jsonl.read(io.BytesIO(b"{" + b" " * (5 << 20) + b"}\n{}\n"), Counts()))
    assert isinstance(items[0], Unreadable)
    assert items[1:] == [RawEvent(2, b"{}")]
