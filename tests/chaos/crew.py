"""The worker processes and the producer of a campaign: started, doomed, killed, stopped, woken and replaced."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.events.stream import Names
from pipelines.wiring import Endpoints
from tests.chaos import points, producer, worker
from tests.chaos.points import Doom
from tests.chaos.producer import Outbox, Shift
from tests.chaos.worker import INGEST, Files, Life

Process = multiprocessing.process.BaseProcess
#: Forked from a process that has imported everything: a new life takes 50 ms and not a second.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.chaos.__main__", "tests.chaos.worker", "tests.chaos.producer"])
#: Seconds for which a doomed life is left alone: mostly few, and every sixth time enough to clear what lies about.
_SHORT, _LONG, _LONG_EVERY = (0.0, 0.8), (1.0, 2.5), 6
_PRODUCER = (2.0, 20.0)


@dataclass(frozen=True)
class Phase:
    """How the two workers stand to each other: under one consumer name or two, held apart by the lease or not."""

    names: tuple[str, str]
    lease: bool


_ONE, _OTHER = Names().consumer, "graph-writer-1"
PHASES = (
    Phase((_ONE, _ONE), lease=True),
    Phase((_ONE, _ONE), lease=False),
    Phase((_ONE, _OTHER), lease=True),
    Phase((_ONE, _OTHER), lease=False),
)


@dataclass
class Member:
    """One place in the crew; the process that fills it changes, and with it the doom. `consumer`: of a worker."""

    process: Process | None = None
    doom: Doom | None = None
    consumer: str = ""
    lives: int = 0
    asleep_until: float = 0.0

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def begin(self, body: Callable[..., None], argument: object) -> None:
        self.lives += 1
        self.asleep_until = 0.0
        self.process = _processes.Process(target=body, args=(argument,), daemon=True)
        self.process.start()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.join()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid if self.process and self.process.pid else 0, number)


@dataclass
class Crew:
    """Two workers and a producer."""

    endpoints: Endpoints
    folder: Path
    pipeline: str
    rate: float
    chance: random.Random
    phase: Phase = PHASES[0]
    doomed: bool = True
    faults: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    workers: tuple[Member, Member] = field(default_factory=lambda: (Member(), Member()))
    producer: Member = field(default_factory=Member)
    started: float = field(default_factory=time.time)

    # -------------------------------------------------------------------------------------------- every turn

    def turn(self, now: float) -> None:
        """Wake who slept long enough; replace who died."""
        for number, member in enumerate(self.workers):
            if member.asleep_until and now > member.asleep_until:
                self.wake(member)
            if not member.is_alive:
                self._bury(member, "worker")
                self._begin_worker(number, member)
        if not self.producer.is_alive and not self.has_sent_all:
            self._bury(self.producer, "producer")
            self._begin_producer()

    def _begin_worker(self, number: int, member: Member) -> None:
        where = points.INGEST if self.pipeline == INGEST else points.NAIVE
        doom = self._doom(where, _LONG if member.lives % _LONG_EVERY == 0 else _SHORT)
        member.consumer = self.phase.names[number]
        life = Life(self.endpoints, self.folder, member.consumer, self.pipeline, self.phase.lease, doom)
        member.begin(worker.live, life)

    def _begin_producer(self) -> None:
        doom = self._doom(points.PRODUCER, _PRODUCER) if self.pipeline == INGEST else None
        shift = Shift(self.endpoints.redis, self.folder, self.started, self.rate, doom)
        self.producer.begin(producer.produce, shift)

    def _doom(self, where: Collection[str], after_s: tuple[float, float]) -> Doom | None:
        hits = points.counted(self._files.kills)
        return points.next_doom(where, hits, after_s, self.chance) if self.doomed else None

    def _bury(self, member: Member, who: str) -> None:
        """A process that ended in another way than by SIGKILL was not meant to."""
        if member.process is None:
            return
        member.process.join()
        if member.process.exitcode != -signal.SIGKILL:
            self.surprises.append(f"a {who} ended by itself with exit code {member.process.exitcode}")
        if member.consumer:
            self._files.grace(member.consumer).note_death()

    @property
    def _files(self) -> Files:
        return Files(self.folder)

    @property
    def has_sent_all(self) -> bool:
        return self.producer.process is not None and self.producer.process.exitcode == 0

    # -------------------------------------------------------------------------------------------- faults

    def kill_a_worker(self) -> None:
        mortal = [member for member in self._awake() if not self._files.grace(member.consumer).is_due]
        if mortal:
            self.chance.choice(mortal).kill()
            self.faults["worker kill -9, by the clock"] += 1

    def kill_the_producer(self) -> None:
        if self.producer.is_alive:
            self.producer.kill()
            self.faults["producer kill -9, by the clock"] += 1

    def stop_a_worker(self, until: float) -> None:
        """SIGSTOP: longer than lease and claim time, so that it wakes up as a zombie and goes on writing."""
        if awake := self._awake():
            member = self.chance.choice(awake)
            member.signal(signal.SIGSTOP)
            member.asleep_until = until
            self.faults["worker SIGSTOP, woken as a zombie"] += 1

    def _awake(self) -> list[Member]:
        return [member for member in self.workers if member.is_alive and not member.asleep_until]

    def wake(self, member: Member) -> None:
        member.signal(signal.SIGCONT)
        member.asleep_until = 0.0

    # -------------------------------------------------------------------------------------------- the end

    def make_peace(self) -> None:
        """From here on nobody is doomed: fresh workers, as in production, and the rest of the events at once."""
        self.doomed, self.phase = False, PHASES[0]
        Outbox(self.folder).hurry.touch()
        for member in self.workers:
            self.wake(member)
        time.sleep(0.5)  # what was asleep may do its harm now
        for member in (*self.workers, *(() if self.has_sent_all else (self.producer,))):
            member.kill()

    def dismiss(self) -> None:
        for member in (*self.workers, self.producer):
            member.kill()
