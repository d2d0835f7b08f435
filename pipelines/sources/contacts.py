"""Contacts seen in slots: rows of one pair whose slots follow one another are one contact with its duration.

A row at time t says that the two were together in [t - slot, t] (SocioPatterns, Genois et al. 2015). A contact has no
direction: the pair is put in order, and the first of the two becomes the actor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from pipelines.model import Medium
from pipelines.sources.raw import Counts, Item, RawInteraction, Unreadable


class Seen(Protocol):
    """One row: two people together at a time."""

    @property
    def line(self) -> int: ...
    @property
    def actor(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def medium(self) -> Medium: ...
    @property
    def tz_offset_min(self) -> int | None: ...


SeenT = TypeVar("SeenT", bound=Seen)
Pair = tuple[str, str, Medium]


@dataclass(slots=True)
class _Contact:
    first: Seen
    last: datetime


def merged(rows: Iterable[SeenT | Unreadable], slot_s: int, counts: Counts) -> Iterator[Item]:
    """One interaction per contact, in the order in which they end. Rows must come sorted by time."""
    slot = timedelta(seconds=slot_s)
    going_on: dict[Pair, _Contact] = {}
    now: datetime | None = None
    for row in rows:
        if isinstance(row, Unreadable):
            yield row
            continue
        if row.at != now:
            now = row.at
            yield from _ended(going_on, now - slot, slot)
        _see(row, going_on, counts)
    for pair, contact in going_on.items():
        yield _interaction(pair, contact, slot)


def _ended(going_on: dict[Pair, _Contact], before: datetime, slot: timedelta) -> list[RawInteraction]:
    """Takes out the contacts that nobody saw since `before`."""
    over = [pair for pair, contact in going_on.items() if contact.last < before]
    return [_interaction(pair, going_on.pop(pair), slot) for pair in over]


def _see(row: Seen, going_on: dict[Pair, _Contact], counts: Counts) -> None:
    one, other = sorted((row.actor, row.target))
    counts.self_loops += one == other
    contact = going_on.get((one, other, row.medium))
    if contact is None:
        going_on[one, other, row.medium] = _Contact(row, row.at)
        return
    counts.duplicates += contact.last == row.at
    contact.last = row.at


def _interaction(pair: Pair, contact: _Contact, slot: timedelta) -> RawInteraction:
    one, other, medium = pair
    began = contact.first.at - slot
    return RawInteraction(
        line=contact.first.line,
        actor=one,
        targets=(other,),
        medium=medium,
        time=began,
        duration_s=(contact.last - began).total_seconds(),
        native_id=other,  # one person can begin two contacts at once
        tz_offset_min=contact.first.tz_offset_min,
    )
