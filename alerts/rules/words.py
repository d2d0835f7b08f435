"""What messages say of each flow and store, and how numbers read. Words that come from outside are cleaned and cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.scrub import clean

_LONGEST = 195


@dataclass(frozen=True, slots=True)
class Effect:
    """What it means when something does not work. fix: a command or where to look."""

    stale: str
    works: str
    fix: str


_ALL = "all other flows and all results"
_OTHER = Effect("what this flow makes", "the other flows", "python -m pipelines.status")
#: Every flow that there is: those that run on a schedule, then those that are started by people.
FLOWS: Mapping[str, Effect] = {
    "incremental": Effect(
        "the graph: new interactions wait in the stream",
        "producers, the full analysis and all earlier results",
        "python -m pipelines.incremental",
    ),
    "full": Effect(
        "metrics, findings and proposals",
        "the graph is kept up to date; earlier results can be read",
        "python -m pipelines.full",
    ),
    "verify": Effect("the comparison of graph and archive", _ALL, "python -m pipelines.verify"),
    "watch": Effect("this watch itself", _ALL, "python -m alerts watch --once"),
    "health_monitoring": Effect("nothing: it was asked for", _ALL, "python -m pipelines.health_monitoring"),
    "policy_check": Effect("nothing: it was asked for", _ALL, "python -m pipelines.policy_check --proposal ID"),
    "intervention_planning": Effect(
        "nothing: it was asked for", _ALL, "python -m pipelines.intervention_planning TEAM"
    ),
}
STORES: Mapping[str, Effect] = {
    "redis": Effect(
        "the graph: no new interactions arrive",
        "results can be read; producers keep events in their outbox",
        "start Redis, check ORGANISM_REDIS_URL; then python -m deployments doctor",
    ),
    "graph": Effect(
        "the graph and what is computed from it",
        "new interactions wait in the stream; stored results can be read",
        "start the graph server, check ORGANISM_GRAPH_URL and its password; then python -m deployments doctor",
    ),
    "postgres": Effect(
        "everything: archive, results and the account of runs are there",
        "new interactions wait in the stream; alerts are kept in a file",
        "start PostgreSQL, check ORGANISM_POSTGRES_URL; then python -m deployments doctor",
    ),
}


def of_flow(flow: str) -> Effect:
    return FLOWS.get(flow, _OTHER)


def of_store(store: str) -> Effect:
    return STORES.get(store, Effect("what needs this store", "everything else", "python -m deployments doctor"))


def sentence(text: str) -> str:
    """On one line, without secrets and people, below 200 characters. Cleaned first: half a secret is not recognised."""
    line = " ".join(clean(text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def share(part: float) -> str:
    """42 %, or 0.4 % where whole percents say nothing."""
    percent = part * 100
    return f"{percent:.0f} %" if percent >= 10 or percent == round(percent) else f"{percent:.1f} %"


def long(time: timedelta | float) -> str:
    """45 s, 12 min, 3 h, 2 days."""
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 48 * 3_600 else f"{seconds / 86_400:.0f} days"


def clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def many(count: float, one: str, more: str = "") -> str:
    """1 run, 2 runs; 1 entry, 1,200 entries."""
    return f"{count:,.0f} {one if count == 1 else more or one + 's'}"
