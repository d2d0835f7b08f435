"""From interactions to what each person did: who had a part in what, at which time of their own clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evidence import Ints
from pipelines.metrics import zones
from pipelines.metrics.weeks_roster import Roster
from pipelines.model import Medium, Scope
from pipelines.person_weeks import MEDIA, NO_OFFSET, NO_RESPONSE, SCOPES, Acts, Bools

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
WEEK_MS = 7 * DAY_MS
INSIDE = "p_"
_TEXT = (Medium.MESSAGE, Medium.EMAIL)
_MEETING = (Medium.MEETING, Medium.CALL, Medium.CONTACT)
#: Taking a call or standing together is done by both sides; being invited to a meeting or written to is not.
_MUTUAL = (Medium.CALL, Medium.CONTACT)
_BROADCAST = SCOPES.index(Scope.BROADCAST)


def _among(media: Sequence[Medium]) -> Bools:
    return np.array([medium in media for medium in MEDIA])


_IS_TEXT, _IS_MEETING, _IS_MUTUAL = _among(_TEXT), _among(_MEETING), _among(_MUTUAL)


def join(chunks: Iterable[Acts]) -> Acts:
    """One stretch of several. The same interactions in other chunks give the same rows in another order."""
    numbering: dict[str, int] = {}
    parts, rows = [], 0
    for chunk in chunks:
        codes = np.array([numbering.setdefault(p, len(numbering)) for p in chunk.people], dtype=np.int32)
        moved = {"actor": codes[chunk.actor], "target": codes[chunk.target], "target_row": chunk.target_row + rows}
        parts.append({name: moved.get(name, getattr(chunk, name)) for name in _ARRAYS})
        rows += len(chunk)
    joined: dict[str, Any] = {
        name: np.concatenate([np.empty(0, dtype), *(part[name] for part in parts)]) for name, dtype in _ARRAYS.items()
    }
    return Acts(people=tuple(numbering), **joined)


_ARRAYS = {
    "time_ms": np.int64,
    "medium": np.int8,
    "scope": np.int8,
    "actor": np.int32,
    "target_count": np.int16,
    "duration_s": np.int32,
    "response_s": np.int32,
    "offset_min": np.int16,
    "target_row": np.int64,
    "target": np.int32,
}
#: The columns that have one value an interaction.
_ROWS = tuple(name for name in _ARRAYS if name not in ("target_row", "target"))


def without(acts: Acts, excluded: frozenset[str]) -> Acts:
    """The acts as if the excluded had never been named: theirs are gone, and so are those that reached nobody else."""
    barred = np.array([person in excluded for person in acts.people], dtype=bool)
    if not barred.any():
        return acts
    entry = ~barred[acts.target]
    reached = np.bincount(acts.target_row[entry], minlength=len(acts)) > 0
    return chosen(acts, reached & ~barred[acts.actor], entry)


def chosen(acts: Acts, row: Bools, entry: Bools | None = None) -> Acts:
    """Some of the interactions, with all of their targets or with those of `entry`."""
    kept: dict[str, Any] = {name: getattr(acts, name)[row] for name in _ROWS}
    entry = row[acts.target_row] if entry is None else entry & row[acts.target_row]
    place = np.cumsum(row) - 1
    return replace(acts, **kept, target_row=place[acts.target_row[entry]], target=acts.target[entry])


@dataclass(frozen=True, slots=True, eq=False)
class Doings:
    """One entry a person and interaction in which the person had a part: its actor, or one of its targets.

    people: pseudonyms inside the organisation, ascending. person: place in it. row: of the interaction; entry: actors of all
    rows are numbered first, then targets. utc, local: milliseconds since Monday 00:00 UTC, and by the person's own clock
    (UTC where that is not known). length: milliseconds, 0 for what is no meeting. own: something that the person did, not
    something that was sent to them. place: of each person in the roster, -1: not there. clock: whether the person's clock is
    known.
    """

    people: tuple[str, ...]
    person: Ints
    row: Ints
    entry: Ints
    utc: Ints
    local: Ints
    length: Ints
    actor: Bools
    own: Bools
    meeting: Bools
    text: Bools
    place: Ints
    clock: Bools

    @property
    def in_week(self) -> Bools:
        inside: Bools = (self.local >= 0) & (self.local < WEEK_MS)
        return inside


def doings_of(acts: Acts, roster: Roster, people: tuple[str, ...], monday_ms: int) -> Doings:
    """What these people had a part in, on their own clocks.

    Args:
        people: whom to look at, ascending.
        monday_ms: Monday 00:00 UTC of the week, since 1970.
    """
    numbers = {person: number for number, person in enumerate(people)}
    wanted = np.array([numbers.get(person, -1) for person in acts.people], dtype=np.int64)
    everybody = wanted[np.concatenate([acts.actor, acts.target])]
    entry = np.flatnonzero(everybody >= 0)
    person, row = everybody[entry], np.concatenate([np.arange(len(acts)), acts.target_row])[entry]
    actor, medium, time = entry < len(acts), acts.medium[row], acts.time_ms[row]
    place = _places(roster, people)
    offset = _offset_of(acts, roster, place, person, row, actor)
    meeting = _IS_MEETING[medium]
    return Doings(
        people=people,
        person=person,
        row=row,
        entry=entry,
        utc=time - monday_ms,
        local=time - monday_ms + np.where(offset == NO_OFFSET, 0, offset.astype(np.int64)) * MINUTE_MS,
        length=np.where(meeting, acts.duration_s[row].astype(np.int64) * 1_000, 0),
        actor=actor,
        own=actor | _IS_MUTUAL[medium],
        meeting=meeting,
        text=_IS_TEXT[medium],
        place=place,
        clock=_clocks(roster, place, person, offset, monday_ms),
    )


def _places(roster: Roster, people: Sequence[str]) -> Ints:
    numbers = {person: number for number, person in enumerate(roster.people)}
    return np.array([numbers.get(person, -1) for person in people], dtype=np.int64)


def _offset_of(acts: Acts, roster: Roster, place: Ints, person: Ints, row: Ints, actor: Bools) -> NDArray[np.int16]:
    """What the event says of its actor, else the roster's zone at that time, else the person's own acts around it."""
    time = acts.time_ms[row]
    said = np.where(actor, acts.offset_min[row], np.int16(NO_OFFSET))
    ask = np.flatnonzero(said == NO_OFFSET)
    change = roster.as_of(place[person[ask]], time[ask])
    zone = np.where(change >= 0, _taken(roster.zone, change), -1)
    said[ask] = zones.offsets(roster.zones, zone, time[ask])
    return zones.from_neighbours(person, time, said)


def _taken(values: Ints, where: Ints) -> Ints:
    """values[where], and the last of them for -1; also when there are none at all."""
    return values[where] if values.size else np.full(where.shape, -1, dtype=np.int64)


def _clocks(roster: Roster, place: Ints, person: Ints, offset: NDArray[np.int16], monday_ms: int) -> Bools:
    """Whose clock is known: from any of their entries, or for who has none from the roster."""
    clock: Bools = np.bincount(person[offset != NO_OFFSET], minlength=place.size) > 0
    silent = np.bincount(person, minlength=place.size) == 0
    last = np.full(place.size, monday_ms + WEEK_MS - 1)
    change = roster.as_of(place, last)
    zone = np.where(change >= 0, _taken(roster.zone, change), -1)
    told: Bools = silent & (zones.offsets(roster.zones, zone, last) != NO_OFFSET)
    return clock | told


def circles(acts: Acts) -> NDArray[np.uint64]:
    """A number for the set of people of each interaction: equal sets have equal numbers, whoever acted."""
    numbers = [int.from_bytes(blake2b(person.encode(), digest_size=8).digest(), "little") for person in acts.people]
    number = np.array(numbers, dtype=np.uint64)
    if not len(acts):
        return np.empty(0, dtype=np.uint64)
    begins = np.searchsorted(acts.target_row, np.arange(len(acts)))
    total: NDArray[np.uint64] = number[acts.actor] + np.add.reduceat(number[acts.target], begins)
    return total


def is_broadcast(acts: Acts) -> Bools:
    broadcast: Bools = acts.scope == _BROADCAST
    return broadcast


def has_response(acts: Acts) -> Bools:
    answered: Bools = acts.response_s != NO_RESPONSE
    return answered
