"""One campaign: servers, workers, a producer and faults for some time; then peace, and the comparison."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipelines import wiring
from pipelines.embedded import Server
from pipelines.errors import TransientError
from pipelines.model import Lane
from tests.chaos import oracle, plan, points, servers, worker
from tests.chaos.crew import PHASES, Crew
from tests.chaos.oracle import Findings
from tests.chaos.plan import Plan
from tests.chaos.producer import Outbox
from tests.chaos.servers import Servers
from tests.chaos.worker import CLAIM_IDLE_S, INGEST, LEASE_S, Files

_TURN_S = 0.02
_DRAIN_LIMIT_S = 120.0
_ASLEEP_S = LEASE_S + CLAIM_IDLE_S + 0.5
#: The producer is slower than the faults by this, so that there is work for as long as they last.
_STRETCH = 1.25
#: How much longer a thorough campaign may last for the sake of points that nobody passed yet.
_PATIENCE = 1.6
#: The share of the named points that a thorough campaign hits often enough, before its time may end.
_MOST = 2 / 3
_SERVERS = (Server.REDIS, Server.GRAPH, Server.POSTGRES)


@dataclass(frozen=True)
class Order:
    """What a campaign is to be. `thorough`: every named point is to be hit, and time is added for it."""

    graph: str
    pipeline: str
    events: int
    seconds: float
    seed: int
    thorough: bool = False


@dataclass(frozen=True)
class Result:
    """What a campaign was, and what was found."""

    order: Order
    plan: Plan
    findings: Findings
    entries: int
    poison_entries: int
    letters: Counter[str]
    faults: Counter[str]
    kills: Counter[str]
    errors: Counter[str]
    runs: Counter[str]
    surprises: list[str]
    seconds: float
    drained_in: float

    @property
    def is_exact(self) -> bool:
        return not self.findings.wrong and not self.surprises

    @property
    def missed(self) -> list[str]:
        wanted = (*points.INGEST, *points.PRODUCER) if self.order.pipeline == INGEST else points.NAIVE
        return [point for point in wanted if not self.kills[point]]

    @property
    def all_kills(self) -> int:
        return self.kills.total() + sum(n for what, n in self.faults.items() if "kill" in what)


@dataclass
class Timer:
    """Due at random times, `low` to `high` seconds after each other."""

    low: float
    high: float
    chance: random.Random
    at: float = field(default=0.0)

    def is_due(self, now: float) -> bool:
        if not self.at:
            self.at = now + self.chance.uniform(self.low, self.high)
        if now < self.at:
            return False
        self.at = now + self.chance.uniform(self.low, self.high)
        return True


class Faults:
    """What happens when: every turn it looks at its timers."""

    def __init__(self, order: Order, crew: Crew, where: Servers, chance: random.Random) -> None:
        self._order, self._crew, self._servers, self._chance = order, crew, where, chance
        self._worker, self._stop = Timer(2.5, 5.0, chance), Timer(5.0, 8.0, chance)
        self._producer = Timer(8.0, 14.0, chance)
        # Each server every 13 s or more: five deaths within 30 s, and the supervisor gives a server up. Neo4j needs
        # 6 s and more to come back, and is to be there for most of the time.
        between = (4.5, 6.0) if order.graph == servers.EMBEDDED else (8.0, 10.0)
        self._server, self._turn = Timer(*between, chance), 0

    def turn(self, now: float, elapsed: float) -> None:
        share = min(0.999, elapsed / self._order.seconds)
        self._crew.phase = PHASES[int(share * len(PHASES))]
        if self._worker.is_due(now):
            self._crew.kill_a_worker()
        if self._stop.is_due(now):
            self._crew.stop_a_worker(now + _ASLEEP_S)
        if self._producer.is_due(now):
            self._crew.kill_the_producer()
        if self._server.is_due(now):
            self._kill_a_server()

    def _kill_a_server(self) -> None:
        server = _SERVERS[self._turn % len(_SERVERS)]
        if self._servers.kill(server):
            self._crew.faults[f"{server.value} server kill -9"] += 1
            self._turn += 1


def run(order: Order, say: Callable[[str], None]) -> Result:
    """The whole campaign. Leaves nothing behind, also when it is interrupted."""
    started = time.monotonic()
    with servers.temporary_folder() as folder, servers.running(folder, order.graph) as where:
        made = plan.make(order.events, order.seed, datetime.now(UTC), crashes_only=order.pipeline != INGEST)
        Outbox(folder).fill(made.sends)
        with _crew(order, made, where, folder) as crew:
            _attack(order, crew, where, folder, say)
            drained_in = _drain(crew, where, say)
        return _result(order, made, crew, where, folder, (time.monotonic() - started, drained_in))


@contextmanager
def _crew(order: Order, made: Plan, where: Servers, folder: Path) -> Iterator[Crew]:
    rate = len(made.sends) / (order.seconds * _STRETCH)
    with wiring.stores(worker.config(), where.endpoints):
        pass  # the schemas, once and undisturbed
    crew = Crew(where.endpoints, folder, order.pipeline, rate, random.Random(order.seed + 1))
    crew.turn(time.monotonic())
    try:
        yield crew
    finally:
        crew.dismiss()


def _attack(order: Order, crew: Crew, where: Servers, folder: Path, say: Callable[[str], None]) -> None:
    faults = Faults(order, crew, where, random.Random(order.seed + 2))
    begun, told = time.monotonic(), Timer(5, 5, random.Random(0))
    while (elapsed := time.monotonic() - begun) < order.seconds * _PATIENCE:
        kills = points.counted(Files(folder).kills)
        if elapsed > order.seconds and (not order.thorough or _is_thorough(kills)):
            break
        now = time.monotonic()
        faults.turn(now, elapsed)
        crew.turn(now)
        if told.is_due(now):
            hit = f"{len(kills.keys() & set(points.INGEST))} of {len(points.INGEST)} named points"
            say(f"{elapsed:.0f} s: {Outbox(folder).acknowledged:,} sent, {kills.total()} self-kills at {hit}")
        time.sleep(_TURN_S)


def _is_thorough(kills: Counter[str]) -> bool:
    often = sum(kills[point] >= points.ENOUGH for point in points.INGEST)
    return all(kills[point] for point in points.INGEST) and often >= _MOST * len(points.INGEST)


def _drain(crew: Crew, where: Servers, say: Callable[[str], None]) -> float:
    """Clean workers, until nothing is left to do. Seconds that it took; what is left then is a finding."""
    say("faults end; clean workers drain")
    begun, told = time.monotonic(), Timer(5, 5, random.Random(0))
    crew.make_peace()
    while (waited := time.monotonic() - begun) < _DRAIN_LIMIT_S:
        crew.turn(time.monotonic())
        left = _left(where) if where.are_up() else "a server is down"
        if not left and crew.has_sent_all:
            break
        if told.is_due(time.monotonic()):
            say(f"{waited:.0f} s: {left or 'the producer is at it'}")
        time.sleep(1.0)  # a look is a worker's start, and not free for the servers
    return waited


def _left(where: Servers) -> str:
    """What is still to be done, in words; nothing when that is nothing."""
    try:
        with wiring.stores(worker.config(), where.endpoints) as stores:
            state = stores.stream.state()
            outbox = len(stores.graph.outbox(100))
    except TransientError as error:
        return str(error)
    if state.pending == state.unread == outbox == 0:
        return ""
    return f"{state.pending:,} pending, {state.unread:,} unread, {outbox} in the outbox"


def _result(order: Order, made: Plan, crew: Crew, where: Servers, folder: Path, took: tuple[float, float]) -> Result:
    time.sleep(LEASE_S)  # the last holder is dead and did not let go
    with wiring.stores(worker.config(), where.endpoints) as stores:
        judge = oracle.judge if order.pipeline == INGEST else oracle.judge_ties
        findings = judge(made, stores, where.endpoints)
        letters = Counter(stores.letters.counts(Lane.DEAD))
    seen = oracle.read_stream(where.endpoints)
    files = Files(folder)
    poison = sum(payload in made.poison for _, payload in seen.entries)
    if crew.surprises:
        print(files.log.read_text()[-4_000:], file=sys.stderr)
    told = (points.counted(files.kills), points.counted(files.errors), points.counted(files.runs))
    return Result(order, made, findings, len(seen.entries), poison, letters, crew.faults, *told, crew.surprises, *took)
