"""`make bench`: drain a backlog, exactly once, beside two loops that are not exact; ratios of one run on one machine.

Every measurement gets fresh servers and the same backlog, after a warm-up with the same engine; engines take turns
(A B C A B C ...), figures are medians. The plain loop is so slow that it drains a part only: rates are compared. It is a
large part: in its first thousands of events nearly every tie is new, which costs the loop more than later ones do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from benchmarks import peers
from pipelines import settings, wiring
from pipelines.events import schema
from pipelines.events.stream import Names
from pipelines.jobs import incremental
from pipelines.jobs.ingest import Stores
from pipelines.steps import direct
from tests.conftest import as_environment, empty
from tests.support import neo4j_server

_END = datetime.now(UTC).replace(microsecond=0)
_TEAM, _PEOPLE, _WARM_UP = 8, 2_000, 5_000
Figures = dict[str, float]


def backlog(events: int, people: int = _PEOPLE, seed: int = 1) -> Iterator[bytes]:
    """Events of a made-up organisation: 70 % inside a team of 8, 20 % near it, the rest anywhere; 1.3 targets each."""
    rng = random.Random(seed)
    names = [f"p_{rng.getrandbits(128):032x}" for _ in range(people)]
    for number in range(events):
        actor = int(people * rng.random() ** 1.5)
        targets = {_other(rng, actor, people) for _ in range(1 if rng.random() < 0.85 else 3)}
        data = {"actor": names[actor], "targets": [names[t] for t in sorted(targets)]}
        at = _END - timedelta(seconds=rng.randrange(7 * 86_400))
        yield schema.encode("interaction.message", "/bench", f"b{seed}-{number}", at, data)


def _other(rng: random.Random, actor: int, people: int) -> int:
    where = rng.random()
    span = _TEAM if where < 0.7 else 10 * _TEAM if where < 0.9 else people
    base = actor // span * span
    other = base + rng.randrange(min(span, people - base))
    return other if other != actor else (actor + 1) % people


# ------------------------------------------------------------------------------------------------ servers


@contextmanager
def fresh(kind: str) -> Iterator[wiring.Endpoints]:
    """New, empty servers: the embedded three, and a real Neo4j for the graph if that is the kind."""
    place = Path(mkdtemp(prefix="organism-bench-", dir="/var/tmp" if os.geteuid() == 0 else None))
    place.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        where = stack.enter_context(wiring.endpoints(settings.load(state_dir=place)))
        if kind == "neo4j":
            server = stack.enter_context(neo4j_server.neo4j_server(place / "neo4j", heap_mb=1024, quick=False))
            where = replace(where, graph=server.url, graph_user=server.user, graph_password=server.password)
        yield where


def fill(stores: Stores, payloads: list[bytes]) -> None:
    for start in range(0, len(payloads), 5_000):
        stores.stream.append(payloads[start : start + 5_000])


# ------------------------------------------------------------------------------------------------ engines


def exact(stores: Stores, where: wiring.Endpoints, events: int) -> float:
    """Seconds for our own run to drain the stream."""
    del where, events
    config = settings.load()
    started = time.perf_counter()
    report = incremental.run(stores, wiring.rules(config), wiring.upkeep(config), timedelta(hours=1), direct)
    if not report.drained or report.funnel.read != report.funnel.applied:
        raise SystemExit(f"the run is not what it should be: {report}")
    return time.perf_counter() - started


ENGINES: dict[str, Callable[[Stores, wiring.Endpoints, int], float]] = {
    "exact": exact,
    "plain batched": lambda _, where, events: peers.plain_batched(where, events, 1_000),
    "plain loop": lambda _, where, events: peers.plain_loop(where, events, 1_000),
}


def one(kind: str, engine: str, events: int) -> float:
    """Events per second of one engine on fresh servers."""
    with fresh(kind) as where, wiring.stores(settings.load(), where, Names()) as stores:
        warm_up = min(_WARM_UP, events)
        fill(stores, list(backlog(warm_up, seed=9)))
        ENGINES[engine](stores, where, warm_up)
        empty(stores, where)
        fill(stores, list(backlog(events)))
        return events / ENGINES[engine](stores, where, events)


def measure(kind: str, events: int, loop_events: int, repeats: int) -> dict[str, Figures]:
    """Rates of each engine: median, least and most, in events per second."""
    rates: dict[str, list[float]] = {name: [] for name in ENGINES}
    for _ in range(repeats):
        for name in ENGINES:
            rates[name].append(one(kind, name, loop_events if name == "plain loop" else events))
            print(f"  {kind}, {name}: {rates[name][-1]:,.0f} events/s", file=sys.stderr, flush=True)
    return {n: {"median": statistics.median(r), "min": min(r), "max": max(r)} for n, r in rates.items()}


# ------------------------------------------------------------------------------------------------ latency and memory


def latency(kind: str, repeats: int = 50) -> Figures:
    """Milliseconds from one appended event to a committed graph and archive, and seconds for five minutes of traffic."""
    with fresh(kind) as where, wiring.stores(settings.load(), where, Names()) as stores:
        fill(stores, list(backlog(_WARM_UP, seed=9)))
        exact(stores, where, _WARM_UP)
        fill(stores, list(backlog(5_208, seed=2)))
        five_minutes = exact(stores, where, 5_208)
        times = [_timed(stores, where, payload) for payload in backlog(repeats, seed=3)]
    return {"five_minutes_s": five_minutes, "single_ms": statistics.median(times), "single_max_ms": max(times)}


def _timed(stores: Stores, where: wiring.Endpoints, payload: bytes) -> float:
    started = time.perf_counter()
    stores.stream.append([payload])
    exact(stores, where, 1)
    return (time.perf_counter() - started) * 1000


def memory(kind: str, events: int) -> float:
    """Peak memory (MB) of a new process that drains a backlog."""
    with fresh(kind) as where:
        with wiring.stores(settings.load(), where, Names()) as stores:
            fill(stores, list(backlog(events)))
        command = [sys.executable, "-m", "benchmarks.drain", "--drain-only"]
        environment = os.environ | as_environment(where)
        return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def drain_only() -> None:
    """Drain what is there and print this process's peak memory in MB."""
    config = settings.load()
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores:
        exact(stores, where, 0)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


# ------------------------------------------------------------------------------------------------ command


def campaign(kind: str, options: argparse.Namespace) -> dict[str, object]:
    rates = measure(kind, options.events, options.loop_events, options.repeats)
    ours = rates["exact"]["median"]
    print(f"\n{'real Neo4j' if kind == 'neo4j' else 'embedded default'}, {options.events:,} events")
    for engine, figures in rates.items():
        spread = f"{figures['min']:,.0f} to {figures['max']:,.0f}"
        print(
            f"  {engine:14s} {figures['median']:8,.0f} events/s ({spread})   exact is x{ours / figures['median']:.2f}"
        )
    spent = latency(kind)
    print(f"  5,208 events (five minutes of 1.5 million a day): {spent['five_minutes_s']:.2f} s")
    print(f"  one event to graph and archive: median {spent['single_ms']:.1f} ms, most {spent['single_max_ms']:.1f} ms")
    peaks = {size: memory(kind, size) for size in (options.events // 10, options.events)}
    print("  peak memory of the run: " + ", ".join(f"{size:,} events {mb:.0f} MB" for size, mb in peaks.items()))
    return {"rates": rates, "latency": spent, "memory_mb": peaks}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--loop-events", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--graph", choices=["embedded", "neo4j", "both"], default="both")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--drain-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drain_only:
        drain_only()
        return
    figures: dict[str, object] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": f"{_END:%Y-%m-%d}",
        "events": options.events,
    }
    for kind in ("embedded", "neo4j") if options.graph == "both" else (options.graph,):
        why = neo4j_server.why_not() if kind == "neo4j" else None
        if why:
            print(f"real Neo4j: not measured, {why}")
        figures[kind] = why or campaign(kind, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
