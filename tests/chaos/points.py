"""The named points at which a process may kill itself: before and after every call of every store.

A kill at a random time almost never lands between a commit and its acknowledgement, where it would do harm; a kill at
a named point always lands where it was sent. The name is on disk before the process dies, so that the points can be
counted and the next life be sent to those that were hit least.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BEFORE, AFTER = "before", "after"


def _both(*calls: str) -> list[str]:
    return [f"{call} {when}" for call in calls for when in (BEFORE, AFTER)]


#: Reached once a day only; a life that is sent there begins a new day.
HOUSEKEEPING = frozenset(_both("graph.purge", "archive.retire", "graph.note_purge"))
#: Passed once in the life of a stream; a life that is sent there meets one that the graph does not know.
NEW_STREAM = frozenset(_both("graph.note_stream"))
#: Of the naive control: few, so that in its short time each is hit, and so the moments at which it is wrong.
NAIVE = tuple(_both("stream.pending", "commit", "stream.finish"))
#: What an incremental run passes, in about this order.
INGEST = (
    *_both("lease.acquire", "graph.cursor", "stream.prepare", "graph.outbox", "stream.fetch", "archive.excluded"),
    *_both("stream.pending", "stream.set_aside", "tx.lock", "tx.seen", "tx.remember", "tx.add_people", "tx.add_ties"),
    *_both("tx.set_roster", "tx.put_outbox", "tx.advance", "commit", "archive.store", "cache.drop"),
    *_both("graph.delete_outbox", "tx.outbox", "archive.find", "tx.withdraw", "archive.between", "tx.set_ties"),
    *_both("tx.forget_people", "letters.erase", "stream.finish", "lease.renew", "stream.state", "stream.audit"),
    *_both("stream.trim"),
    *sorted(NEW_STREAM | HOUSEKEEPING),
    *_both("lease.release"),
)
#: Of the producer.
PRODUCER = ("producer.append before", "producer.append after")
#: Behind it a worker has finished a batch.
PROGRESS = "stream.finish after"
_DEATHS_IN_A_ROW = 2
#: A point that was hit as often as this is left alone until all were.
ENOUGH = 3
_FEW = 12
#: Passed only after another fault: in every doom, since who knows when they are passed again.
OCCASIONAL = frozenset(_both("stream.forgive"))


@dataclass(frozen=True)
class Doom:
    """Where a life ends: at the first of these points that it passes when it is `after_s` old."""

    points: frozenset[str]
    after_s: float


@dataclass(frozen=True)
class Grace:
    """Spares a consumer whose last lives ended before they had finished anything.

    An entry that was in the hands of five readers when they died is set aside as the one that kills them. To kill whoever
    holds an innocent one, again and again, would show that this rule works, and nothing else.
    """

    file: Path

    @property
    def is_due(self) -> bool:
        return counted(self.file).total() >= _DEATHS_IN_A_ROW

    def note_death(self) -> None:
        note(self.file, "died")

    def note_progress(self) -> None:
        self.file.write_text("")


@dataclass
class Reaper:
    """Watches one process pass its points, and ends it where its doom says. Without a doom it only watches."""

    doom: Doom | None
    kills: Path
    grace: Grace | None = None
    born: float = field(default_factory=time.monotonic)

    def reach(self, point: str) -> None:
        if self._is_here(point) and not (self.grace and self.grace.is_due):
            note(self.kills, point)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.grace and point == PROGRESS:
            self.grace.note_progress()

    def _is_here(self, point: str) -> bool:
        return bool(self.doom and point in self.doom.points and time.monotonic() - self.born >= self.doom.after_s)

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        self.reach(f"{name} {BEFORE}")
        result = call()
        self.reach(f"{name} {AFTER}")
        return result


class Watched:
    """A store, or a transaction's writer, whose every call is two points."""

    def __init__(self, store: Any, name: str, reaper: Reaper) -> None:
        self._store, self._name, self._reaper = store, name, reaper

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call, name = getattr(self._store, method), f"{self._name}.{method}"
        return lambda *args, **changes: self._reaper.around(name, lambda: call(*args, **changes))


class WatchedGraph(Watched):
    """Besides: every statement of a write transaction, and the moments before and after its commit."""

    def write(self, work: Callable[[Any], Any]) -> Any:
        def watched(writer: Any) -> Any:
            result = work(Watched(writer, "tx", self._reaper))
            self._reaper.reach(f"commit {BEFORE}")  # the driver commits when this function returns
            return result

        result = self._store.write(watched)
        self._reaper.reach(f"commit {AFTER}")
        return result


def note(file: Path, line: str) -> None:
    """One line at the end of a file that several processes write: whole, and there before the next instruction."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def counted(file: Path) -> Counter[str]:
    """Lines of the file, each with how often it is there."""
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


def next_doom(points: Collection[str], hits: Counter[str], after_s: tuple[float, float], chance: random.Random) -> Doom:
    """The points that were hit least; when few are left of these, every other time all that were not hit often enough.

    The life is left alone for a while: one that did nothing leaves no work for the points behind a commit, and an entry
    that is read first in every one of many short lives would be blamed for their deaths.
    """
    most = min(hits[p] for p in points)
    least = frozenset(p for p in points if hits[p] == most)
    if len(least) <= _FEW and chance.random() < 0.5:
        least |= frozenset(p for p in points if hits[p] < ENOUGH)
    return Doom(least | OCCASIONAL, chance.uniform(*after_s))
