"""In-memory stores with the semantics of the real ones, and faults between any two of their calls.

`tests/contract` runs one suite over these and the real stores; where they could differ it says so.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from pipelines.archive import effects
from pipelines.errors import CommitUnknown, TransientError
from pipelines.events.schema import FIELD
from pipelines.graph import weights
from pipelines.graph.builder import EventDrivenGraphBuilder
from pipelines.jobs.ingest import Stores
from pipelines.model import (
    PAYLOAD_NOT_KEPT,
    Code,
    Cursor,
    DeadLetter,
    Entry,
    Interaction,
    Lane,
    OutboxItem,
    Outcome,
    Retraction,
    RosterChange,
    RosterKind,
    StreamState,
    Tie,
    Window,
)

T = TypeVar("T")


class Crash(BaseException):
    """The process is gone. Not an Exception: no handler of ours may see it."""


# ------------------------------------------------------------------------------------------------ the world


@dataclass
class World:
    """What the servers hold: survives a crash of the worker."""

    entries: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    last: int = 0
    added: int = 0
    group: int | None = None  # last delivered id, None: no group
    pel: dict[int, list[Any]] = field(default_factory=dict)  # id -> [consumer, deliveries]
    delivered: int = 0
    births: int = 0
    lost: int = 0
    letters: dict[Lane, dict[int, DeadLetter]] = field(default_factory=lambda: {Lane.DEAD: {}, Lane.LATE: {}})
    letter_id: int = 0
    lease: str | None = None
    cache: dict[str, object] = field(default_factory=dict)
    ledger: dict[str, list[Any]] = field(default_factory=dict)  # key -> [digest, withdrawn, day]
    ties: dict[tuple[str, str, str], Tie] = field(default_factory=dict)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    outbox: dict[int, OutboxItem] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=Cursor)
    archive: dict[str, Interaction] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)
    roster: dict[str, RosterChange] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    baseline: dict[tuple[str, str, str], Tie] = field(default_factory=dict)
    drops: list[tuple[Lane, str, str, str]] = field(default_factory=list)

    def add(self, payload: bytes) -> int:
        """A producer appends one event."""
        self.last += 1
        self.added += 1
        self.entries[self.last] = {FIELD: payload}
        return self.last


@dataclass
class Faults:
    """Counts I/O calls and lets the worker crash before or after any one of them, or spoils a commit.

    how: before, after (crash), unknown_done, unknown_not, conflict (of a commit; the worker lives).
    """

    at: int | None = None
    how: str = ""
    count: int = 0
    dead: bool = False
    names: list[str] = field(default_factory=list)

    def call(self, name: str, io: Callable[[], T]) -> T:
        if self.dead:
            raise Crash
        here = self.at == self.count
        self.count += 1
        self.names.append(name)
        if here and self.how == "before":
            self._die()
        result = io()
        if here and self.how == "after":
            self._die()
        return result

    def commit_fault(self) -> str:
        return self.how if self.at == self.count and self.how not in ("before", "after") else ""

    def _die(self) -> None:
        self.dead = True
        raise Crash


# ------------------------------------------------------------------------------------------------ redis


class FakeStream:
    def __init__(self, world: World, faults: Faults, consumer: str = "w0") -> None:
        self._w, self._f, self._c = world, faults, consumer

    def prepare(self) -> None:
        self._f.call("prepare", self._prepare)

    def _prepare(self) -> None:
        if self._w.group is None:
            self._w.group, self._w.pel = 0, {}
            self._w.delivered = self._w.added - len(self._w.entries)
            self._w.births += 1

    def fetch(self, limit: int, idle: timedelta) -> Window:
        return self._f.call("fetch", lambda: self._fetch(limit, idle))

    def _fetch(self, limit: int, idle: timedelta) -> Window:
        self._prepare()
        w = self._w
        others = [] if idle else [i for i, (c, _) in w.pel.items() if c != self._c][:limit]
        vanished = [i for i in others if i not in w.entries]
        for i in vanished:
            del w.pel[i]
        for i in set(others) - set(vanished):
            w.pel[i] = [self._c, w.pel[i][1]]
        new = [i for i in sorted(w.entries) if i > (w.group or 0)][:limit]
        for i in new:
            w.pel[i] = [self._c, 1]
            w.group = i
        w.delivered += len(new)
        return Window(len(new), len(others) - len(vanished), len(vanished))

    def pending(self, after: str, limit: int) -> list[Entry]:
        return self._f.call("pending", lambda: self._pending(int(after.split("-")[0]), limit))

    def _pending(self, after: int, limit: int) -> list[Entry]:
        self._prepare()
        mine = [i for i in sorted(self._w.pel) if i > after and self._w.pel[i][0] == self._c][:limit]
        take = []
        for i in mine:
            if self._w.pel[i][1] > 3:
                take = take or [i]
                break
            take.append(i)
        for i in take:
            self._w.pel[i][1] += 1
        return [self._entry(i) for i in take]

    def _entry(self, i: int) -> Entry:
        fields = self._w.entries.get(i, {})
        return Entry(str(i), fields, self._w.pel[i][1], _checksum(fields))

    def finish(self, done: Sequence[Entry]) -> int:
        return self._f.call("finish", lambda: sum(self._ack(e) for e in done)) if done else 0

    def _ack(self, entry: Entry) -> int:
        i = int(entry.id)
        here = self._w.entries.get(i)
        same = here is None or _checksum(here) == entry.checksum
        return int(same and self._w.pel.pop(i, None) is not None)

    def set_aside(self, entry: Entry, lane: Lane, code: Code, words: str, now_ms: int) -> bool:
        return self._f.call("set_aside", lambda: self._set_aside(entry, lane, code, words, now_ms))

    def _set_aside(self, entry: Entry, lane: Lane, code: Code, words: str, now_ms: int) -> bool:
        i, w = int(entry.id), self._w
        if i not in w.pel or i not in w.entries or _checksum(w.entries[i]) != entry.checksum:
            return False
        w.letter_id += 1
        fields = dict(w.entries[i])
        replays = int(fields.pop(b"replays", b"0"))
        kept = "no" if code in PAYLOAD_NOT_KEPT else "yes"
        w.letters[lane][w.letter_id] = DeadLetter(
            str(w.letter_id),
            lane,
            code,
            words,
            entry.id,
            w.pel[i][1],
            replays,
            now_ms,
            fields if kept == "yes" else {},
            kept,
        )
        del w.pel[i]
        return True

    def forgive(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if int(entry.id) in self._w.pel:
                self._w.pel[int(entry.id)][1] = 0

    def state(self) -> StreamState:
        unread = [i for i in self._w.entries if i > (self._w.group or 0)]
        oldest = min(unread, default=None)
        return StreamState(
            len(self._w.entries),
            self._w.added,
            self._w.delivered,
            len(unread),
            len(self._w.pel),
            str(self._w.births),
            oldest,
            self._w.lost,
        )

    def audit(self) -> int:
        return self._f.call("audit", self._audit)

    def _audit(self) -> int:
        if self._w.group is None or any(i > self._w.group for i in self._w.entries):
            return 0
        lost = self._w.added - self._w.delivered
        self._w.delivered += lost
        self._w.lost += max(0, lost)
        return lost

    def trim(self, older_than: datetime) -> int:
        return self._f.call("trim", lambda: 0)

    def append(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self._w.add(payload)


class FakeLetters:
    def __init__(self, world: World, faults: Faults) -> None:
        self._w, self._f = world, faults

    def list(self, lane: Lane, *, code: str | None = None, limit: int = 100, after: str = "-") -> list[DeadLetter]:
        del after
        return [x for x in self._w.letters[lane].values() if code in (None, x.code)][:limit]

    def get(self, lane: Lane, id_: str) -> DeadLetter | None:
        return self._w.letters[lane].get(int(id_))

    def counts(self, lane: Lane) -> dict[str, int]:
        codes = [x.code for x in self._w.letters[lane].values()]
        return {code: codes.count(code) for code in sorted(set(codes))}

    def replay(self, lane: Lane, id_: str) -> bool | None:
        def io() -> bool | None:
            letter = self._w.letters[lane].get(int(id_))
            if letter is None or letter.kept == "no":
                return None if letter else False
            self._w.last += 1
            self._w.added += 1
            self._w.entries[self._w.last] = {**letter.fields, b"replays": str(letter.replays + 1).encode()}
            del self._w.letters[lane][int(id_)]
            return True

        return self._f.call("replay", io)

    def drop(self, lane: Lane, id_: str) -> bool:
        return self._f.call("drop", lambda: self._w.letters[lane].pop(int(id_), None) is not None)

    def erase(self, person: str) -> int:
        def io() -> int:
            gone = 0
            for letters in self._w.letters.values():
                for i in [i for i, x in letters.items() if any(person.encode() in v for v in x.fields.values())]:
                    del letters[i]
                    gone += 1
            return gone

        return self._f.call("erase_letters", io)


class FakeLease:
    """Every worker has its own; `World.lease` is who holds it. Ignores crashes: a dead worker's lease runs out."""

    def __init__(self, world: World, me: str = "w0", strict: bool = False) -> None:
        self._w, self._me, self._strict = world, me, strict

    def acquire(self, holder: str) -> str | None:
        if self._strict and self._w.lease not in (None, self._me):
            return self._w.lease
        self._w.lease = self._me
        return None

    def renew(self) -> bool:
        return not self._strict or self._w.lease == self._me

    def release(self) -> None:
        if self._w.lease == self._me:
            self._w.lease = None


class FakeCache:
    def __init__(self, world: World, faults: Faults) -> None:
        self._w, self._f = world, faults

    def drop(self, people: Sequence[str]) -> None:
        self._f.call("cache_drop", lambda: [self._w.cache.pop(p, None) for p in people])


# ------------------------------------------------------------------------------------------------ the graph


class FakeWriter:
    """One open transaction on a copy of the graph's part of the world."""

    def __init__(self, world: World, faults: Faults, settled: Iterable[int] = ()) -> None:
        self._f, self._settled = faults, set(settled)
        self.removed: set[int] = set()
        self.ledger = copy.deepcopy(world.ledger)
        self.ties, self.outbox_items = dict(world.ties), dict(world.outbox)
        self.people = copy.deepcopy(world.people)
        self.parts, self.cursor = dict(world.parts), world.cursor

    def lock(self, attempt: int) -> None:
        self._f.call("lock", lambda: None)

    def seen(self, keys: Sequence[str]) -> dict[str, tuple[int, bool]]:
        return self._f.call("seen", lambda: {k: (row[0], row[1]) for k in keys if (row := self.ledger.get(k))})

    def remember(self, keys: Sequence[tuple[str, int, int]]) -> None:
        def io() -> None:
            assert not self.ledger.keys() & {key for key, _, _ in keys}, "the constraint"
            self.ledger.update({key: [digest, False, day] for key, day, digest in keys})

        self._f.call("remember", io)

    def withdraw(self, keys: Sequence[str]) -> None:
        def io() -> None:
            for key in keys:
                self.ledger[key][1] = True

        self._f.call("withdraw", io)

    def add_people(self, people: Sequence[str]) -> None:
        def io() -> None:
            for person in people:
                self.people.setdefault(person, {"team": None, "at": (0, ""), "present": True})

        self._f.call("add_people", io)

    def add_ties(self, ties: Sequence[Tie]) -> None:
        def io() -> None:
            for tie in ties:
                self.ties[tie.ends] = weights.add(self.ties[tie.ends], tie) if tie.ends in self.ties else tie

        self._f.call("add_ties", io)

    def set_ties(self, ties: Sequence[Tie], gone: Sequence[tuple[str, str, str]]) -> None:
        def io() -> None:
            for tie in ties:
                if tie.ends in self.ties:
                    self.ties[tie.ends] = tie
            for ends in gone:
                self.ties.pop(ends, None)

        self._f.call("set_ties", io)

    def set_roster(self, changes: Sequence[RosterChange]) -> None:
        def io() -> None:
            for c in sorted(changes, key=lambda c: (c.person, c.time_ms, c.key)):
                known = self.people.setdefault(c.person, {"team": None, "at": (0, ""), "present": True})
                if known["at"] < (c.time_ms, c.key):
                    present = c.kind is not RosterKind.LEFT
                    known.update(at=(c.time_ms, c.key), present=present, team=c.team if present else None)

        self._f.call("set_roster", io)

    def put_outbox(self, item: OutboxItem, now_ms: int) -> None:
        self._f.call("put_outbox", lambda: self.outbox_items.update({item.id: item}))
        self._remove()

    def advance(self, fresh: int, now_ms: int) -> None:
        def io() -> None:
            self.cursor = replace(self.cursor, applied=self.cursor.applied + fresh, at_ms=now_ms)

        self._f.call("advance", io)
        self._remove()

    def _remove(self) -> None:
        """What was taken over goes with the next transaction that leaves something."""
        self.outbox_items = {i: item for i, item in self.outbox_items.items() if i not in self._settled}
        self.removed |= self._settled

    def put_part(self, part: str, attempt: int, now_ms: int) -> bool:
        return self._f.call("put_part", lambda: self.parts.setdefault(part, attempt) == attempt)

    def forget_people(self, people: Sequence[str]) -> None:
        def io() -> None:
            for person in people:
                self.people.pop(person, None)
                self.ties = {e: t for e, t in self.ties.items() if person not in e[:2]}

        self._f.call("forget_people", io)

    def outbox(self, limit: int) -> list[OutboxItem]:
        self._remove()
        return self._f.call("tx_outbox", lambda: list(self.outbox_items.values())[:limit])


class FakeGraph:
    """As the real one: what `delete_outbox` names goes with the next write, and is lost with us before it."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._w, self._f = world, faults
        self._settled: set[int] = set()

    def prepare(self) -> None: ...

    def write(self, work: Callable[[Any], T]) -> T:
        for _ in range(5):
            writer = FakeWriter(self._w, self._f, self._settled)
            result = work(writer)
            fault = self._f.commit_fault()
            self._f.call(
                "commit", lambda w=writer, f=fault: None if f in ("unknown_not", "conflict") else self._commit(w)
            )
            if fault.startswith("unknown"):
                raise CommitUnknown(fault)
            if fault != "conflict":
                self._settled -= writer.removed
                return result
        raise TransientError("conflicts without end")

    def _commit(self, writer: FakeWriter) -> None:
        w = self._w
        w.ledger, w.ties, w.people = writer.ledger, writer.ties, writer.people
        w.outbox, w.parts, w.cursor = writer.outbox_items, writer.parts, writer.cursor

    def outbox(self, limit: int) -> list[OutboxItem]:
        if self._settled:
            return self.write(lambda writer: list(writer.outbox(limit)))
        return self._f.call("read_outbox", lambda: list(self._w.outbox.values())[:limit])

    def delete_outbox(self, ids: Sequence[int]) -> None:
        self._f.call("delete_outbox", lambda: self._settled.update(ids))

    def cursor(self) -> Cursor:
        return self._w.cursor

    def note_stream(self, born: str) -> None:
        self._set(stream=born)

    def note_purge(self, day: int, purged_before: int = 0, retired_before: int = 0) -> None:
        self._set(purged_day=day, purged_before=purged_before, retired_before=retired_before)

    def note_rebuilding(self, rebuilding: bool) -> None:
        self._set(rebuilding=rebuilding)

    def _set(self, **changes: Any) -> None:
        def io() -> None:
            self._w.cursor = replace(self._w.cursor, **changes)

        self._f.call("note", io)

    def purge(self, before_day: int) -> int:
        def io() -> int:
            old = [k for k, row in self._w.ledger.items() if row[2] < before_day]
            for key in old:
                del self._w.ledger[key]
            return len(old)

        return self._f.call("purge", io)

    def ties(self) -> Iterator[Tie]:
        yield from list(self._w.ties.values())

    def people(self) -> Iterator[tuple[str, str | None]]:
        for person, about in self._w.people.items():
            if not person.startswith("x_") and about["present"]:
                yield person, about["team"]

    def wipe(self) -> None:
        def io() -> None:
            self._w.ledger, self._w.ties, self._w.people = {}, {}, {}

        self._f.call("wipe", io)


# ------------------------------------------------------------------------------------------------ the archive


class FakeArchive:
    def __init__(self, world: World, faults: Faults) -> None:
        self._w, self._f = world, faults

    def store(self, payloads: Sequence[bytes]) -> None:
        def io() -> None:
            for payload in payloads:
                for kind, records in effects.unpack(payload).items():
                    getattr(self, f"_store_{kind}", lambda raw: None)(records)

        self._f.call("archive", io)

    def _store_interactions(self, raw: str) -> None:
        for event in msgspec.json.decode(raw, type=list[Interaction]):
            if not self._w.excluded & {event.actor, *event.targets}:
                self._w.archive.setdefault(event.key, event)

    def _store_roster(self, raw: str) -> None:
        for change in msgspec.json.decode(raw, type=list[RosterChange]):
            self._w.roster.setdefault(change.key, change)

    def _store_outcomes(self, raw: str) -> None:
        for outcome in msgspec.json.decode(raw, type=list[Outcome]):
            self._w.outcomes.setdefault(outcome.key, outcome)

    def _store_retractions(self, raw: str) -> None:
        for r in msgspec.json.decode(raw, type=list[Retraction]):
            self._w.withdrawn.setdefault(r.target_key, r.time_ms // 86_400_000)

    def _store_privacy(self, raw: str) -> None:
        for r in msgspec.json.decode(raw):
            self._w.excluded.add(r["person"])
            if r["erase"]:
                self._erase(r["person"])

    def _erase(self, person: str) -> None:
        kept = {k: replace(e, targets=tuple(t for t in e.targets if t != person)) for k, e in self._w.archive.items()}
        self._w.archive = {k: e for k, e in kept.items() if e.actor != person and e.targets}

    def _live(self) -> list[Interaction]:
        return [e for k, e in self._w.archive.items() if k not in self._w.withdrawn]

    def interactions(self) -> Iterator[list[Interaction]]:
        yield self._live()

    def baseline(self) -> Iterator[Tie]:
        yield from self._w.baseline.values()

    def find(self, keys: Sequence[str]) -> dict[str, Interaction]:
        return self._f.call("find", lambda: {e.key: e for e in self._live() if e.key in set(keys)})

    def between(self, ends: Sequence[tuple[str, str, str]]) -> tuple[list[Interaction], list[Tie]]:
        actors = {a for a, _, _ in ends}
        rows = [e for e in self._live() if e.actor in actors]
        return rows, [t for t in self._w.baseline.values() if t.ends in set(ends)]

    def known(self, keys: Sequence[str]) -> set[str]:
        return set(keys) & (self._w.archive.keys() | self._w.withdrawn.keys())

    def roster(self) -> list[RosterChange]:
        return sorted(self._w.roster.values(), key=lambda c: (c.time_ms, c.key))

    def withdrawn(self) -> list[tuple[str, int]]:
        return list(self._w.withdrawn.items())

    def outcomes(self, since: datetime) -> Iterator[tuple[str, datetime, str, float]]:
        for o in self._w.outcomes.values():
            at = datetime.fromtimestamp(o.time_ms / 1000, UTC)
            if at >= since and o.person not in self._w.excluded:
                yield o.person, at, o.measure, o.value

    def excluded(self) -> frozenset[str]:
        return self._f.call("excluded", lambda: frozenset(self._w.excluded))

    def count(self) -> int:
        return len(self._live())

    def note_drop(self, lane: Lane, letter: DeadLetter, reason: str, who: str) -> None:
        self._f.call("note_drop", lambda: self._w.drops.append((lane, letter.id, reason, who)))

    def retire(self, before: datetime, sums: Callable[[Iterable[Interaction]], Sequence[Tie]]) -> int:
        limit = int(before.timestamp() * 1000)

        def io() -> int:
            old = [e for e in self._w.archive.values() if e.time_ms < limit]
            for tie in sums([e for e in old if e.key not in self._w.withdrawn]):
                base = self._w.baseline
                base[tie.ends] = weights.add(base[tie.ends], tie) if tie.ends in base else tie
            self._w.archive = {k: e for k, e in self._w.archive.items() if e.time_ms >= limit}
            return len(old)

        return self._f.call("retire", io)


def stores(world: World, faults: Faults | None = None, consumer: str = "w0", strict_lease: bool = False) -> Stores:
    """One worker's stores on a world."""
    faults = faults or Faults()
    graph = FakeGraph(world, faults)
    return Stores(
        stream=FakeStream(world, faults, consumer),
        letters=FakeLetters(world, faults),
        lease=FakeLease(world, consumer, strict_lease),
        graph=graph,
        archive=FakeArchive(world, faults),
        cache=FakeCache(world, faults),
        builder=EventDrivenGraphBuilder(graph, effects.pack, pause=lambda seconds: None),
    )


def _checksum(fields: dict[bytes, bytes]) -> str:
    return hashlib.sha1(b"\0".join(x for pair in fields.items() for x in pair)).hexdigest()
