"""Cells to instants: ISO-like times, seconds or milliseconds since 1970, or seconds since an origin.

Local times need a zone. One that the zone's clocks showed twice means the first, one that they never showed is moved
forward by the gap (PEP 495, fold=0); `read` says so, and the caller counts.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from pipelines.errors import InvalidInput
from pipelines.sources.raw import shown

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,17}(?:\.\d*)?", re.ASCII)
#: Seconds up to the year 5138, milliseconds from 1973 on: the two do not overlap.
_SMALLEST_MS = 1e11
#: Numbers below are no plausible seconds since 1970 (before March 1973): they count from somewhere else.
_SMALLEST_S = 1e8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeFormat(StrEnum):
    ISO = "iso"
    SECONDS = "s"
    MILLISECONDS = "ms"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in UTC, with the offset of the local clock where the cell was a local time."""

    at: datetime
    tz_offset_min: int | None = None
    ambiguous: bool = False
    shifted: bool = False


@dataclass(frozen=True)
class TimeOptions:
    """How to read times. `form` None: by the first cell. `origin`: where seconds count from, an ISO-like local time."""

    zone: str | None = None
    form: TimeFormat | None = None
    origin: str | None = None


class TimeReader:
    """Reads the cells of one column, all in the one format of its first cell.

    Raises:
        InvalidInput: the zone is unknown, or the origin is no time.
    """

    def __init__(self, options: TimeOptions) -> None:
        self._zone = zone_named(options.zone) if options.zone else None
        self._form = TimeFormat.ORIGIN if options.origin else options.form
        self._origin = self._read_origin(options.origin)
        self._last: tuple[str, Moment] | None = None

    def _read_origin(self, text: str | None) -> datetime:
        if text is None:
            return _EPOCH
        try:
            return self._iso(text).at
        except ValueError as error:
            raise InvalidInput(f"origin: {error}") from None

    def read(self, text: str) -> Moment:
        """The instant of a cell.

        Raises:
            ValueError: what was seen, what was expected, and which option may be missing.
        """
        if self._last and self._last[0] == text:  # rows of one message follow one another
            return self._last[1]
        form = self._form or _form_of(text)
        try:
            moment = self._iso(text) if form is TimeFormat.ISO else self._number(text, form)
        except OverflowError:
            raise ValueError(f"{shown(text)} is outside the calendar") from None
        self._form = form  # only now: a cell that is no time decides nothing
        self._last = (text, moment)
        return moment

    def _iso(self, text: str) -> Moment:
        if not _ISO.fullmatch(text):
            raise ValueError(f"{shown(text)} is not a time; expected one such as 2026-03-02 08:14:05")
        try:
            found = datetime.fromisoformat(text.replace(" ", "T", 1).replace(" ", ""))
        except ValueError:
            raise ValueError(f"{shown(text)} is not a time that exists") from None
        if found.tzinfo is not None:
            return Moment(found.astimezone(UTC))
        if self._zone is None:
            raise ValueError(f"{shown(text)} has no time zone; say which one with --zone, such as --zone Europe/Warsaw")
        return _local(found, self._zone)

    def _number(self, text: str, form: TimeFormat) -> Moment:
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{shown(text)} is not a time; expected a number ({form})")
        if form is TimeFormat.MILLISECONDS:
            return Moment(_EPOCH + timedelta(milliseconds=float(text)))
        at = self._origin + timedelta(seconds=float(text))
        if form is TimeFormat.SECONDS or self._zone is None:
            return Moment(at)
        return Moment(at, _offset_min(at.astimezone(self._zone)))


def _form_of(text: str) -> TimeFormat:
    """By magnitude. A number that fits neither is refused: a wrong guess would put a whole file into 1970."""
    if not _NUMBER.fullmatch(text):
        return TimeFormat.ISO
    if float(text) >= _SMALLEST_MS:
        return TimeFormat.MILLISECONDS
    if float(text) >= _SMALLEST_S:
        return TimeFormat.SECONDS
    raise ValueError(f"{shown(text)} is too small for a time since 1970; say where it counts from: --origin 2013-06-24")


def _local(naive: datetime, zone: ZoneInfo) -> Moment:
    local = naive.replace(tzinfo=zone)
    offset, other = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert offset is not None  # a zone always has one
    assert other is not None
    return Moment(local.astimezone(UTC), _offset_min(local), ambiguous=offset > other, shifted=offset < other)


def _offset_min(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else round(offset / timedelta(minutes=1))


def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        InvalidInput: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"time zone {shown(name)} is not known; use an IANA name such as Europe/Warsaw") from None
