"""What Prometheus is told: runs, durations, backlog, dead letters, incidents and service levels, as they are when it asks.

All are gauges: the ledger forgets old runs, and what is counted over the last day goes down, too. Labels name flows, stores,
states and severities, never people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from alerts.model import Facts
from alerts.rules import Limits
from pipelines.jobs import facts
from pipelines.jobs.flows import FLOWS
from pipelines.ports import Ledger
from pipelines.runs import FlowFigures

_QUANTILES = (0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Shown:
    """Everything that is exposed, at one moment. figures: of the last day. good: when each flow last completed.

    incidents: open ones by severity; None where the alert store was not asked.
    """

    facts: Facts
    figures: tuple[FlowFigures, ...] = ()
    good: Mapping[str, datetime] | None = None
    incidents: Mapping[str, int] | None = None


def figures(ledger: Ledger, now: datetime) -> tuple[FlowFigures, ...]:
    """Of the flows that are ours, in the last day: those by which the rules judge."""
    return tuple(facts.figures(ledger, ledger.clock(now)).values())


def text(shown: Shown, limits: Limits) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(lambda: families(shown, limits)))
    return generate_latest(registry)


class _Once:
    """What the client library calls a collector."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect


def families(shown: Shown, limits: Limits) -> Iterator[Metric]:
    yield from _of_runs(shown)
    yield from _of_levels(shown.figures, limits)
    yield from _of_stores(shown.facts)
    yield from _of_prefect(shown.facts)
    if shown.incidents is not None:
        counts = [({"severity": severity}, count) for severity, count in sorted(shown.incidents.items())]
        yield _gauge("open_incidents", "Incidents that have not recovered.", counts)


Sample = tuple[Mapping[str, str], float]


def _gauge(name: str, words: str, samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(f"organism_{name}", words)
    for labels, value in samples:
        family.add_sample(f"organism_{name}", dict(labels), value)
    return family


def _one(name: str, words: str, value: float | datetime | None) -> Iterator[Metric]:
    """Left out where it is not known: a zero would be a statement."""
    if value is not None:
        yield _gauge(name, words, [({}, value.timestamp() if isinstance(value, datetime) else value)])


# ------------------------------------------------------------------------------------------------ runs and levels


def _of_runs(shown: Shown) -> Iterator[Metric]:
    states = [
        ({"flow": f.flow_name, "status": status}, getattr(f, status))
        for f in shown.figures
        for status in ("completed", "failed", "cancelled", "running")
    ]
    seconds = [
        ({"flow": f.flow_name, "quantile": f"{share:g}"}, seconds)
        for f in shown.figures
        for share in _QUANTILES
        if (seconds := f.quantile(share)) is not None
    ]
    yield _gauge("runs", "Runs of the last day by what became of them.", states)
    yield _gauge("run_seconds", "Seconds that completed runs of the last day took.", seconds)
    good = [({"flow": flow}, at.timestamp()) for flow, at in sorted((shown.good or {}).items())]
    yield _gauge("last_success_timestamp_seconds", "When a run of the flow last completed.", good)


def _of_levels(of: Iterable[FlowFigures], limits: Limits) -> Iterator[Metric]:
    """What is kept beside what was promised, so that an alert rule of Prometheus needs no number of its own."""
    rates = [
        ({"flow": f.flow_name, "level": level}, value)
        for f in of
        for level, value in (("success", f.success_rate), ("retry", f.retry_rate))
        if value is not None
    ]
    slow = [({"flow": f.name, "level": "seconds"}, f.slow.total_seconds()) for f in FLOWS]
    shares = [
        ({"flow": f.name, "level": level}, goal)
        for f in FLOWS
        for level, goal in (("success", limits.of(f.name).slo_success), ("retry", limits.slo_retry))
    ]
    yield _gauge("slo_ratio", "Share of runs that succeeded, and of steps that were repeated, in the last day.", rates)
    yield _gauge("slo_goal", "Success: at least; retry and seconds: at most.", [*shares, *slow])


# ------------------------------------------------------------------------------------------------ what they stand on


def _of_stores(facts: Facts) -> Iterator[Metric]:
    up = [({"store": store.name}, float(store.words is None)) for store in facts.stores]
    yield _gauge("store_up", "1 where the store answers.", up)
    if stream := facts.stream:
        yield from _one("backlog_entries", "Entries of the stream that nobody has read.", stream.unread)
        yield from _one("pending_entries", "Entries that were read and not applied.", stream.pending)
        yield from _one("dead_letters", "Entries that can never be applied.", stream.dead_letters)
        oldest = stream.oldest_unread_at
        yield from _one("oldest_unread_timestamp_seconds", "When the oldest unread entry arrived.", oldest)
    yield from _one("applied_timestamp_seconds", "When something was last applied to the graph.", facts.applied_at)
    yield from _one(
        "drift_ties", "Ties on which graph and archive disagreed when they were last compared.", facts.drift
    )
    yield from _one("memory_ratio", "Used share of the memory.", facts.memory_share)
    yield from _one("disk_ratio", "Used share of the disk of the state directory.", facts.disk_share)


def _of_prefect(facts: Facts) -> Iterator[Metric]:
    if prefect := facts.prefect:
        yield from _one("prefect_up", "1 where the Prefect server answers.", float(prefect.up))
        yield from _one("prefect_queue_runs", "Runs that are late or wait for a slot.", prefect.queue)
        yield from _one("prefect_workers_online", "Workers of our pool.", prefect.workers_online)
        if prefect.up:
            yield from _one("prefect_leaked_limits", "Limits with slots that no run holds.", len(prefect.leaked))
