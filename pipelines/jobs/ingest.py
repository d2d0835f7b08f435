"""From the stream into the graph: every entry in exactly one of applied, duplicate, dead letter, late or ignored.

The order of the calls is the point of this module. An entry leaves our pending list only after its effect is committed
(`finish`) or in the same script that copies it to a lane (`set_aside`); whatever happens in between, it is offered
again, and the ledger in the graph tells that it was counted. See docs/architecture.md, "Exactly once".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock

from pipelines.errors import PermanentError, TooManyInvalid, TransientError
from pipelines.events import schema
from pipelines.graph.builder import EventDrivenGraphBuilder, people_of
from pipelines.jobs.overlap import Ahead, Behind, seldom_collected
from pipelines.model import (
    Applied,
    Code,
    Entry,
    Event,
    Funnel,
    Interaction,
    Lane,
    PrivacyRequest,
    Refusal,
    Retraction,
    Window,
)
from pipelines.ports import Archive, Cache, DeadLetters, Graph, Lease, Stream

_OUTBOX_PAGE = 20
#: Ties that one transaction may touch: 1,000 events with 200 targets each would outgrow a small server's memory.
_MAX_TIES = 20_000
#: Times that an entry may take its reader with it when it was read alone, before it is set aside as POISON.
POISON_AFTER = 5
_FETCHED = 1  # the delivery that `fetch` counts before anybody has read the entry


@dataclass(frozen=True)
class Stores:
    """What ingest works on. All are ports."""

    stream: Stream
    letters: DeadLetters
    lease: Lease
    graph: Graph
    archive: Archive
    cache: Cache
    builder: EventDrivenGraphBuilder


@dataclass(frozen=True)
class Rules:
    """Settings of one run, as values."""

    horizon: timedelta | None
    batch_size: int
    window_size: int
    claim_idle: timedelta
    breaker_share: float
    breaker_min: int
    suspect_after: int
    accept_invalid: bool = False
    overlap: bool = False
    floor_ms: int = 0  # keys of events before this were forgotten, under whatever horizon was set then


@dataclass
class Tally:
    """The funnel of a run so far."""

    funnel: Funnel = field(default_factory=Funnel)
    _lock: Lock = field(default_factory=Lock, repr=False)  # a batch may end behind the one that fails

    def add(self, funnel: Funnel) -> None:
        with self._lock:
            self.funnel = self.funnel + funnel


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


# ------------------------------------------------------------------------------------------------ the two steps


def fetch_interactions(stores: Stores, rules: Rules) -> Window:
    """Make the next entries pending with us: settle what a crash left, adopt what others left, then take new ones.

    Repeatable: entries that an earlier call delivered stay pending and are found by `update_graph_incremental`.
    """
    stores.stream.prepare()
    settle(stores)
    return stores.stream.fetch(rules.window_size, rules.claim_idle)


def update_graph_incremental(
    stores: Stores, rules: Rules, until: datetime, tally: Tally, clock: Clock = utc_now
) -> Funnel:
    """Apply our pending entries, batch by batch, until none is left or the time is over. Idempotent.

    Each batch is added to `tally` as it ends, so that what an attempt did before it failed stays counted.

    Raises:
        TooManyInvalid: the circuit breaker; the batch stays pending, untouched.
        TransientError, PermanentError: of a store; what was not finished stays pending.
    """
    settle(stores)  # also at a retry of this step: an erasure that was committed must be known before anything else
    after, excluded = "0", stores.archive.excluded()
    with seldom_collected(), Behind(rules.overlap) as behind, _reader(stores, rules) as reader:
        while clock() < until and (page := reader.take(after)):
            after = page[-1].entry.id
            if not _suspicious(page):
                reader.ask(after)
            batch = _Batch(stores, rules, clock(), excluded, page)
            try:
                excluded |= batch.apply()
                behind.settle()
            except (TransientError, PermanentError):
                batch.forgive()
                tally.add(batch.funnel())
                raise
            behind.do(partial(_close, batch, tally))
            if not stores.lease.renew():
                break  # we were silent for too long and somebody else writes now
    settle(stores)  # what the last batches handed over goes from the outbox before anything is retired from the archive
    return tally.funnel


@dataclass(frozen=True)
class _Read:
    """An entry and what the parser says of it."""

    entry: Entry
    verdict: Event | Refusal
    unknown: int = 0


def _reader(stores: Stores, rules: Rules) -> Ahead[list[_Read]]:
    """Reads and parses our pending entries page by page, one page ahead."""

    def read(after: str) -> list[_Read]:
        return [_parsed(entry, rules) for entry in stores.stream.pending(after, rules.batch_size)]

    return Ahead(rules.overlap, read, lambda page: stores.stream.forgive([r.entry for r in page]))


def _parsed(entry: Entry, rules: Rules) -> _Read:
    if entry.deliveries > _FETCHED + rules.suspect_after + POISON_AFTER:  # not even parsed: that may be what kills
        return _Read(entry, Refusal(Code.POISON, f"its reader died {POISON_AFTER} times on it alone"))
    payload = entry.fields.get(schema.FIELD)
    if payload is None:
        return _Read(entry, Refusal(Code.MISSING_FIELD, "the entry has no field 'event'"))
    return _Read(entry, *schema.parse(payload))


def _suspicious(page: Sequence[_Read]) -> bool:
    """Whether a reader may have died on these before: then nothing is read ahead, it would be blamed too."""
    return any(r.entry.deliveries > _FETCHED + 1 for r in page)


def _close(batch: _Batch, tally: Tally) -> None:
    try:
        batch.close()
    finally:
        tally.add(batch.funnel())


def settle(stores: Stores) -> None:
    """Let the archive and the cache take over what committed transactions left for them. Repeatable."""
    while items := stores.graph.outbox(_OUTBOX_PAGE):
        stores.archive.store([item.payload for item in items])
        stores.cache.drop(sorted({person for item in items for person in item.people}))
        stores.graph.delete_outbox([item.id for item in items])


def hand_over(stores: Stores, events: Sequence[Event], applied: Applied) -> None:
    """The archive and the cache take over what one transaction left; then it is forgotten in the graph. Repeatable."""
    take_over(stores, events, applied)
    settle(stores)  # the next transaction may be long in coming


def take_over(stores: Stores, events: Sequence[Event], applied: Applied) -> None:
    """As `hand_over`, but the graph may forget it with its next transaction, which costs less than one of its own.

    A crash before that lets the next run take it over once more. The cache forgets everybody whom the events concern, not
    only who is new: the run that made the rest new may have died before it got here.
    """
    item = applied.outbox
    if item:
        stores.archive.store([item.payload])
    stores.cache.drop(sorted(people_of(events)))
    if item:
        stores.graph.delete_outbox([item.id])


# ------------------------------------------------------------------------------------------------ one batch


@dataclass
class _Batch:
    """One batch on its way. Collects the fates of its entries and ends as a `Funnel`."""

    stores: Stores
    rules: Rules
    now: datetime
    excluded: frozenset[str]
    page: Sequence[_Read]
    good: Sequence[tuple[Entry, Event]] = ()
    first: dict[str, Event] = field(default_factory=dict)
    committed: list[tuple[Sequence[Event], Applied]] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    unknown_fields: int = 0
    read: int = 0

    @property
    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def apply(self) -> frozenset[str]:
        """Set aside what is invalid and commit the rest to the graph; the people who are excluded from now on."""
        good, refused = self._sort()
        self._insist_on_few(refused, len(self.page))
        for entry, refusal in refused:
            self._set_aside(entry, refusal)
        return self._apply(good)

    def close(self) -> None:
        """Let archive and cache take over what was committed, and acknowledge. Everything here may be done again."""
        try:
            for events, applied in self.committed:
                take_over(self.stores, events, applied)
            self._acknowledge()
        except (TransientError, PermanentError):
            self.forgive()
            raise
        self.read = len(self.page)

    def forgive(self) -> None:
        """A failure that we live to see is not the entries' fault: it does not count against them."""
        self.stores.stream.forgive([r.entry for r in self.page])

    def _sort(self) -> tuple[list[tuple[Entry, Event]], list[tuple[Entry, Refusal]]]:
        now_ms = self.now_ms
        good: list[tuple[Entry, Event]] = []
        refused: list[tuple[Entry, Refusal]] = []
        for read in self.page:
            if not read.entry.fields:
                self.stores.stream.finish([read.entry])
                self.fates["vanished"] += 1
                continue
            verdict = self._judge(read, now_ms)
            if isinstance(verdict, Refusal):
                refused.append((read.entry, verdict))
            else:
                good.append((read.entry, verdict))
        return good, refused

    def _judge(self, read: _Read, now_ms: int) -> Event | Refusal:
        self.unknown_fields += read.unknown
        if isinstance(read.verdict, Refusal):
            return read.verdict
        event = schema.without(read.verdict, self.excluded)  # first: an excluded person is in no lane either
        if isinstance(event, Refusal):
            return event
        return schema.gate(event, now_ms, self.rules.horizon, self.rules.floor_ms) or event

    def _insist_on_few(self, refused: Sequence[tuple[Entry, Refusal]], read: int) -> None:
        """Mass dead-lettering would hide a schema change or a fault of our own: stop the line instead."""
        bad = Counter(r.code for _, r in refused if r.code not in (Code.TOO_LATE, Code.EXCLUDED_PERSON))
        count = bad.total()
        if self.rules.accept_invalid or read < self.rules.breaker_min or count <= self.rules.breaker_share * read:
            return
        codes = ", ".join(f"{code} {n}" for code, n in bad.most_common(3))
        raise TooManyInvalid(
            f"{count} of {read} entries are invalid ({codes}), more than {self.rules.breaker_share:.0%}: nothing was"
            " set aside, all stay pending. Mend the producer or upgrade, and run again; or let them go to the dead letters"
            " with `python -m pipelines.incremental --accept-invalid`"
        )

    def _set_aside(self, entry: Entry, refusal: Refusal) -> None:
        if refusal.code is Code.EXCLUDED_PERSON:
            self.stores.stream.finish([entry])
            self.fates["ignored"] += 1
        else:
            lane = Lane.LATE if refusal.code is Code.TOO_LATE else Lane.DEAD
            self.stores.stream.set_aside(entry, lane, refusal.code, refusal.words, self.now_ms)
            self.fates["late" if lane is Lane.LATE else "dead_letters"] += 1
        self.codes[refusal.code] += 1

    def _apply(self, good: Sequence[tuple[Entry, Event]]) -> frozenset[str]:
        """Facts first, so that a correction in the same batch finds what it corrects."""
        self.good = good
        for _, event in good:
            self.first.setdefault(event.key, event)
        facts = [e for e in self.first.values() if not isinstance(e, (Retraction, PrivacyRequest))]
        retractions = [e for e in self.first.values() if isinstance(e, Retraction)]
        requests = [e for e in self.first.values() if isinstance(e, PrivacyRequest)]
        for chunk in chunks(facts):
            self.committed.append((chunk, self.stores.builder.apply(chunk, self.now_ms)))
        if retractions:
            self._withdraw(retractions)
        if requests:
            self._forget(requests)
        return frozenset(r.person for r in requests)

    def _withdraw(self, retractions: Sequence[Retraction]) -> None:
        settle(self.stores)
        archive = self.stores.archive
        affected = [*retractions, *archive.find([r.target_key for r in retractions]).values()]
        self.committed.append((affected, self.stores.builder.withdraw(retractions, archive, self.now_ms)))

    def _forget(self, requests: Sequence[PrivacyRequest]) -> None:
        settle(self.stores)
        self.committed.append((requests, self.stores.builder.forget(requests, self.now_ms)))
        for person in {r.person for r in requests if r.erase}:
            self.stores.letters.erase(person)

    def _acknowledge(self) -> None:
        """Acknowledge what was applied or is a duplicate; set aside what is neither."""
        fates = _fates_of(applied for _, applied in self.committed)
        done: list[Entry] = []
        counted: set[str] = set()
        for entry, event in self.good:
            fate = "duplicate" if event.key in counted and fates[event.key] == "fresh" else fates[event.key]
            if event.digest != self.first[event.key].digest:
                fate = "reused"
            counted.add(event.key)
            if refusal := _refusal(fate):
                self._set_aside(entry, refusal)
                continue
            done.append(entry)
            self.fates[_FATE[fate]] += 1
        self.stores.stream.finish(done)

    def funnel(self) -> Funnel:
        """What became of the batch. After a failure `read` is what got a fate; the rest stays pending."""
        fates = Counter(self.fates)
        vanished = fates.pop("vanished", 0)
        read = self.read - vanished if self.read else fates.total()
        return Funnel(
            read=read, vanished=vanished, unknown_fields=self.unknown_fields, batches=1, codes=dict(self.codes), **fates
        )


_FATE = {"fresh": "applied", "duplicate": "duplicates", "withdrawn": "ignored"}


def _fates_of(applied: Iterable[Applied]) -> dict[str, str]:
    fates: dict[str, str] = {}
    for one in applied:
        for fate in ("fresh", "duplicate", "reused", "withdrawn", "unknown"):
            fates.update(dict.fromkeys(getattr(one, fate), fate))
    return fates


def chunks(events: Sequence[Event]) -> Iterator[list[Event]]:
    """The events in transactions of at most `_MAX_TIES` ties each; nothing for no events."""
    chunk: list[Event] = []
    ties = 0
    for event in events:
        more = len(event.targets) if isinstance(event, Interaction) else 1
        if chunk and ties + more > _MAX_TIES:
            yield chunk
            chunk, ties = [], 0
        chunk.append(event)
        ties += more
    if chunk:
        yield chunk


def _refusal(fate: str) -> Refusal | None:
    if fate == "reused":
        return Refusal(Code.ID_REUSED, "the same source and id came before with other content; ids must be unique")
    if fate == "unknown":
        return Refusal(Code.NOT_IN_ARCHIVE, "what it withdraws is counted, but the archive keeps only sums of it")
    return None
