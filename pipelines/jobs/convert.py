"""Raw interactions to the bytes of events: pseudonyms for ids, deterministic event ids, a tally of what became of all.

Publishing a file twice changes nothing, because an event's id is a keyed hash of what makes it this event: its source,
actor, time and medium, and its native id where it has one. Native ids are hashed in and never leave.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipelines.events import schema
from pipelines.graph.builder import people_of
from pipelines.jobs import contract
from pipelines.model import Event, Refusal, Scope
from pipelines.pseudonyms import Pseudonymiser
from pipelines.sources.raw import Item, RawEvent, RawInteraction, RawPlace, Skipped, Unreadable

#: Targets that are sent at most. The consumer refuses a message to more than 200 (TOO_MANY_TARGETS), and the rest of
#: the names would only make the event larger than the 32 kB that it reads at all.
MOST_TARGETS_SENT = 800
_OFFSETS = range(-720, 841)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Tally:
    """What became of the records so far. `late` and `future` events are sent all the same; the consumer decides."""

    events: int = 0
    people: set[str] = field(default_factory=set, repr=False)
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    crowded: int = 0
    late: int = 0
    future: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def note(self, at: datetime, people: Iterable[str]) -> None:
        self.events += 1
        self.people.update(people)
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)


@dataclass(frozen=True)
class Conversion:
    """How records become events, and where those go that cannot.

    Args:
        reject: told of each record that cannot become an event; raises to stop, returns to go on.
        horizon: older interactions are counted as late; None for no limit.
    """

    source: str
    pseudonyms: Pseudonymiser
    now: datetime
    horizon: timedelta | None
    reject: Callable[[Unreadable], None]
    tally: Tally = field(default_factory=Tally)

    def events(self, items: Iterable[Item]) -> Iterator[bytes]:
        """The events, in the order of the items; every item that gives none is in the tally."""
        for item in items:
            match item:
                case Skipped(reason=reason):
                    self.tally.skipped[reason] += 1
                case Unreadable():
                    self._reject(item)
                case RawEvent():
                    yield from self._passed(item)
                case RawInteraction() | RawPlace():
                    yield from self._made(item)

    def _reject(self, item: Unreadable) -> None:
        self.tally.rejected[kind_of(item.words)] += 1
        self.reject(item)

    def _passed(self, item: RawEvent) -> Iterator[bytes]:
        """An event of the contract, as it came. One that the consumer will refuse goes too, if it is harmless."""
        verdict = contract.verdict(item.payload)
        if isinstance(verdict, Refusal) and verdict.code in contract.NEVER_SENT:
            self._reject(Unreadable(item.line, f"{verdict.code}: {verdict.words}"))
            return
        if isinstance(verdict, Event):
            at = _EPOCH + timedelta(milliseconds=verdict.time_ms)
            self._note(at, people_of([verdict]), is_counted=contract.has_horizon(verdict))
        else:
            self.tally.events += 1
        yield item.payload

    def _made(self, item: RawInteraction | RawPlace) -> Iterator[bytes]:
        try:
            event = self._interaction(item) if isinstance(item, RawInteraction) else self._place(item)
        except ValueError:  # never with its message, which would quote the id
            self._reject(
                Unreadable(item.line, "has an id that is empty or no text; expected a name, number or address")
            )
            return
        if event is None:
            self.tally.skipped["by somebody outside the organisation"] += 1
        else:
            yield event

    def _interaction(self, raw: RawInteraction) -> bytes | None:
        """None when the actor is outside: the contract wants one of ours."""
        actor = self.pseudonyms.of(raw.actor)
        if actor.startswith("x_"):
            return None
        targets = sorted({self.pseudonyms.of(target) for target in raw.targets})
        self.tally.crowded += len(targets) > schema.MAX_TARGETS
        self._note(raw.time, (actor, *targets), is_counted=True)
        id_ = self.pseudonyms.event_id(self.source, actor, raw.time.isoformat(), raw.medium, raw.native_id)
        data = {"actor": actor, "targets": targets[:MOST_TARGETS_SENT], **_details(raw)}
        return schema.encode(f"interaction.{raw.medium}", self.source, id_, raw.time, data)

    def _place(self, raw: RawPlace) -> bytes | None:
        person = self.pseudonyms.of(raw.person)
        if person.startswith("x_"):
            return None
        manager = self.pseudonyms.of(raw.manager) if raw.manager else None
        team = f"team-{self.pseudonyms.of(raw.team_of)[2:10]}" if raw.team_of else raw.team
        about = {"team": team, "role_class": raw.role_class, "tz": raw.tz}
        data = {"person": person} | {name: value for name, value in about.items() if value is not None}
        if manager and manager.startswith("p_"):
            data["manager"] = manager
        self._note(raw.time, (person,), is_counted=False)
        id_ = self.pseudonyms.event_id(self.source, person, raw.time.isoformat(), "roster.joined")
        return schema.encode("roster.joined", self.source, id_, raw.time, data)

    def _note(self, at: datetime, people: Iterable[str], *, is_counted: bool) -> None:
        self.tally.note(at, people)
        self.tally.future += at > self.now + timedelta(milliseconds=schema.FUTURE_MS)
        self.tally.late += is_counted and self.horizon is not None and at < self.now - self.horizon


def _details(raw: RawInteraction) -> dict[str, object]:
    """What differs from the contract's defaults; a whole number of seconds as such."""
    details: dict[str, object] = {}
    if raw.scope is not Scope.DIRECT:
        details["scope"] = raw.scope.value
    if raw.duration_s is not None:
        details["duration_s"] = int(raw.duration_s) if raw.duration_s == int(raw.duration_s) else raw.duration_s
    if raw.tz_offset_min in _OFFSETS:
        details["tz_offset_min"] = raw.tz_offset_min
    return details


def kind_of(words: str) -> str:
    """The reason of a rejection without what was seen in this row, to count rejections by."""
    return re.split(r"[:;(]| is not ", words, maxsplit=1)[0].strip()
