"""JSONL in the contract: every line is an event already, and is handed on as the bytes that it is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipelines.sources.raw import Counts, Item, RawEvent, Unreadable
from pipelines.sources.unpacked import intact, unpacked

_LONGEST = 1 << 20  # far more than an event may have; what is longer is skipped without being held
_BOM = b"\xef\xbb\xbf"


def read(file: BinaryIO, counts: Counts) -> Iterator[Item]:
    """The lines that are not blank, without judging them. Lines over 1 MB are `Unreadable`.

    Raises:
        InvalidInput: a packed file that is damaged.
    """
    for number, line in enumerate(_lines(unpacked(file)), start=1):
        if line is None:
            counts.rows += 1
            yield Unreadable(number, "is longer than 1 MB; expected one event")
        elif payload := line.strip().removeprefix(_BOM):
            counts.rows += 1
            yield RawEvent(number, payload)


def _lines(file: io.BufferedReader[Any]) -> Iterator[bytes | None]:
    """None for a line that is too long."""
    with intact():
        while line := file.readline(_LONGEST):
            if len(line) < _LONGEST or line.endswith(b"\n"):
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(_LONGEST)
            yield None
