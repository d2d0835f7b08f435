"""The audit log's arithmetic: a chain of keyed hashes over its rows, and which row is the first that does not fit. Pure.

Each row's HMAC-SHA-256 covers the row, its number and the hash before it. The key is kept outside the database, so that
whoever can write there can break the chain and cannot mend it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

GENESIS = ""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be recorded. role: the lifecycle's actor. detail: a JSON object as text, kept byte for byte."""

    at: datetime
    role: str
    who: str
    action: str
    subject: str
    version: int
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log. seq counts from 1 without a gap; hashes are hexadecimal."""

    seq: int
    entry: Entry
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The last row, known outside the rows. mac: proof that we wrote it, so that no earlier end can be made up."""

    seq: int
    hash: str
    mac: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """The first row that does not fit, and how."""

    seq: int
    words: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify` found. head: number and hash of the last row, to be noted outside and given as `anchor` next time."""

    rows: int
    head: tuple[int, str]
    bad: BadRow | None


def chained(key: bytes, seq: int, prev_hash: str, entry: Entry) -> Row:
    """The row that follows `prev_hash`."""
    return Row(seq, entry, prev_hash, _mac(key, "row", seq, prev_hash, *_fields(entry)))


def head(key: bytes, row: Row) -> Head:
    return Head(row.seq, row.hash, _mac(key, "head", row.seq, row.hash))


def is_ours(key: bytes, end: Head) -> bool:
    """Whether the head was written with this key."""
    return hmac.compare_digest(_mac(key, "head", end.seq, end.hash), end.mac)


def watched(key: bytes, rows: Iterable[Row], problems: list[BadRow]) -> Iterator[Row]:
    """The rows in order, as long as they fit; the first that does not ends it and is put into `problems`."""
    prev_hash = GENESIS
    for seq, row in enumerate(rows, start=1):
        if words := _wrong(key, row, seq, prev_hash):
            problems.append(BadRow(seq, words))
            return
        prev_hash = row.hash
        yield row


def _wrong(key: bytes, row: Row, seq: int, prev_hash: str) -> str:
    if row.seq > seq:
        return f"row {seq} is missing, the next there is {row.seq}"
    if row.seq < seq:
        return f"a row numbered {row.seq} stands where row {seq} should"
    if row.prev_hash != prev_hash:
        return f"row {seq} does not follow the one before it: it was changed, moved or put in"
    expected = chained(key, row.seq, prev_hash, row.entry)
    return "" if hmac.compare_digest(expected.hash, row.hash) else f"row {seq} was changed, moved or put in"


def wrong_end(key: bytes, last: Row | None, end: Head | None) -> BadRow | None:
    """Whether the rows end where the head says. No rows and no head: a new log."""
    seq, hash_ = (last.seq, last.hash) if last else (0, GENESIS)
    if end is None:
        return BadRow(seq, f"the head of the log is gone; the last row is {seq}") if last else None
    if not is_ours(key, end):
        return BadRow(seq, "the head of the log was changed, or the key is not the one it was written with")
    if seq < end.seq:
        return BadRow(seq + 1, f"row {seq + 1} is missing at the end; there were {end.seq}")
    if seq > end.seq:
        return BadRow(end.seq + 1, f"row {end.seq + 1} was put in after the end")
    return None if hash_ == end.hash else BadRow(seq, f"row {seq} is not the one that was written last")


def below_anchor(rows: int, found: str | None, anchor: tuple[int, str]) -> BadRow | None:
    """Whether the log still holds what somebody outside noted: row number and hash. found: that row's hash now.

    This is what shows that log and head were set back together to an earlier state.
    """
    seq, hash_ = anchor
    if rows < seq:
        return BadRow(rows + 1, f"row {rows + 1} is missing; row {seq} had been seen")
    return None if found == hash_ or seq == 0 else BadRow(seq, f"row {seq} is not the one that had been seen")


def _fields(entry: Entry) -> tuple[int | str, ...]:
    at = (entry.at - _EPOCH) // _US
    return at, entry.role, entry.who, entry.action, entry.subject, entry.version, entry.detail


def _mac(key: bytes, *parts: int | str) -> str:
    """A JSON array tells its parts apart, whatever they hold."""
    return hmac.digest(key, json.dumps(parts).encode(), "sha256").hex()
