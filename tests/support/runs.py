"""Ways to run the real job over fakes: as one run, with a fault, or as the loop that most people write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipelines.errors import TransientError
from pipelines.events import schema
from pipelines.graph import weights
from pipelines.jobs import incremental
from pipelines.jobs.incremental import Upkeep
from pipelines.jobs.ingest import Rules, Stores
from pipelines.model import Interaction, RunReport
from tests.support import fakes, make

RULES = Rules(
    horizon=timedelta(days=30),
    batch_size=1_000,
    window_size=50_000,
    claim_idle=timedelta(0),
    breaker_share=0.2,
    breaker_min=100,
    suspect_after=3,
)
UPKEEP = Upkeep(stream=timedelta(hours=26), archive=timedelta(days=400))


def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """A step that is retried without waiting."""
    for _ in range(2):
        try:
            return function(*args)
        except TransientError:
            continue
    return function(*args)


def run(stores: Stores, rules: Rules = RULES, now: datetime = make.NOW, **changes: Any) -> RunReport:
    """One incremental run at a fixed time."""
    budget = timedelta(minutes=4)
    return incremental.run(stores, replace(rules, **changes), UPKEEP, budget, at_once, clock=lambda: now)


def run_until_crash(world: fakes.World, faults: fakes.Faults, consumer: str, batch: int) -> bool:
    """One run of a worker that may die or give up; whether it did neither."""
    try:
        run(fakes.stores(world, faults, consumer), batch_size=batch)
    except (fakes.Crash, TransientError):
        return False
    return True


def naive_until_crash(world: fakes.World, faults: fakes.Faults, consumer: str, batch: int) -> bool:
    """What most people write: read pending, then new, add to the graph, acknowledge. No ledger, no outbox."""
    stores = fakes.stores(world, faults, consumer)
    try:
        stores.stream.prepare()
        stores.stream.fetch(1_000, timedelta(0))
        while entries := stores.stream.pending("0", batch):
            events = [schema.parse(e.fields.get(schema.FIELD, b""))[0] for e in entries]
            good = [e for e in events if isinstance(e, Interaction)]
            ties = weights.ties(good)

            def work(writer: Any, ties: Any = ties) -> None:
                writer.add_people([p for tie in ties for p in (tie.actor, tie.target)])
                writer.add_ties(ties)

            stores.graph.write(work)
            stores.stream.finish(entries)
            stores.cache.drop([p for e in good for p in (e.actor, *e.targets)])
    except (fakes.Crash, TransientError):
        return False
    return True
