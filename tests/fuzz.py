"""`python -m tests.fuzz`: a million hostile entries through the real job; each must end in exactly one place.

By default over the in-memory stores (the parser, the job and the builder are the real ones); `--real` sends them through
the embedded servers. Prints the funnel by mutation and ends with 1 if an entry is unaccounted for or anything is raised.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines import settings, wiring
from pipelines.jobs.ingest import Stores
from pipelines.model import Funnel, Lane
from tests.support import fakes, hostile, runs

_CHUNK = 2_000


def over_fakes(entries: int, seed: int = 1) -> tuple[Funnel, Counter[str]]:
    """The funnel of `entries` hostile entries, and how many came from each mutation."""
    source, total, ways = hostile.Hostile(seed), Funnel(), Counter[str]()
    for start in range(0, entries, _CHUNK):
        world = fakes.World()
        for _ in range(min(_CHUNK, entries - start)):
            way, fields = source.next()
            ways[way] += 1
            world.last += 1
            world.added += 1
            world.entries[world.last] = fields
        total = total + _checked(fakes.stores(world), runs.run(fakes.stores(world), accept_invalid=True).funnel)
    return total, ways


def over_servers(stores: Stores, client: object, entries: int, seed: int = 1) -> tuple[Funnel, Counter[str]]:
    """The same through real servers, in chunks."""
    source, total, ways = hostile.Hostile(seed), Funnel(), Counter[str]()
    before = dict.fromkeys(Lane, 0)
    for start in range(0, entries, _CHUNK):
        pipe = client.pipeline(transaction=False)  # type: ignore[attr-defined]
        for _ in range(min(_CHUNK, entries - start)):
            way, fields = source.next()
            ways[way] += 1
            pipe.xadd(wiring.NAMES.stream, fields)
        pipe.execute()
        total = total + _checked(stores, runs.run(stores, accept_invalid=True).funnel, before)
        before = {lane: sum(stores.letters.counts(lane).values()) for lane in Lane}
    return total, ways


def _checked(stores: Stores, funnel: Funnel, before: dict[Lane, int] | None = None) -> Funnel:
    """The funnel of one chunk, if it adds up and the lanes hold what it says."""
    before = before or dict.fromkeys(Lane, 0)
    letters = {lane: sum(stores.letters.counts(lane).values()) - before[lane] for lane in Lane}
    if funnel.read != funnel.accounted or letters != {Lane.DEAD: funnel.dead_letters, Lane.LATE: funnel.late}:
        raise AssertionError(f"does not add up: {funnel}, lanes {letters}")
    state = stores.stream.state()
    if state.unread or state.pending:
        raise AssertionError(f"left on the stream: {state}")
    return funnel


def show(funnel: Funnel, ways: Counter[str], seconds: float) -> None:
    print(f"{funnel.read:,} entries in {seconds:.0f} s ({funnel.read / seconds:,.0f}/s)")
    for fate in ("applied", "duplicates", "dead_letters", "late", "ignored"):
        print(f"  {fate:13s} {getattr(funnel, fate):10,}")
    print(f"  {'sum':13s} {funnel.accounted:10,}   unknown fields ignored: {funnel.unknown_fields:,}")
    print("  codes: " + ", ".join(f"{code} {n:,}" for code, n in sorted(funnel.codes.items())))
    print("  mutations: " + ", ".join(f"{way} {n:,}" for way, n in sorted(ways.items())))


@contextmanager
def _servers() -> Iterator[tuple[Stores, object]]:
    import redis

    from tests.conftest import fresh_place, opened

    with wiring.endpoints(settings.load(state_dir=fresh_place(), _env_file=None)) as where, opened(where) as stores:
        yield stores, redis.Redis.from_url(where.redis)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="through the embedded servers")
    options = parser.parse_args()
    started = time.perf_counter()
    if options.real:
        with _servers() as (stores, client):
            funnel, ways = over_servers(stores, client, options.entries, options.seed)
    else:
        funnel, ways = over_fakes(options.entries, options.seed)
    show(funnel, ways, time.perf_counter() - started)
    return 0 if funnel.read == options.entries == funnel.accounted else 1


if __name__ == "__main__":
    sys.exit(main())
