"""What is wrong: facts in, problems out. One function for each rule; pure, so that any of them can be asked at any time.

A rule says what it sees, also where another problem explains it: who is told of what is decided in `alerts.policy`, by the
table in `causes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from alerts.model import Code, Facts, PrefectFact, Problem
from alerts.rules import levels, proposals, runs, system
from alerts.rules.causes import EXPLAINS, explains
from alerts.rules.limits import Limits
from alerts.rules.proposals import ended
from alerts.rules.runs import flow_failed

__all__ = ["EXPLAINS", "RULES", "Limits", "ended", "explains", "flow_failed", "problems", "unknown"]

Rule = Callable[[Facts, Limits], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    system.store_down,
    system.prefect_down,
    system.no_worker,
    system.slot_leaked,
    runs.failed,
    runs.breaker_open,
    runs.died,
    runs.never_started,
    runs.schedule_missed,
    system.stale_graph,
    system.entries_lost,
    system.stream_reset,
    system.drift,
    system.resources,
    system.dead_letters,
    runs.retried_too_often,
    runs.slow,
    system.queue_long,
    proposals.waiting,
    levels.digest,
)

_OF_RUNS = frozenset(
    {
        Code.FLOW_FAILED,
        Code.BREAKER_OPEN,
        Code.ZOMBIE_RUN,
        Code.NEVER_STARTED,
        Code.SCHEDULE_MISSED,
        Code.RETRY_RATE,
        Code.SLOW_RUN,
        Code.ENTRIES_LOST,
        Code.STREAM_RESET,
        Code.DEAD_LETTERS,
    }
)
_OF_PREFECT = frozenset({Code.NO_WORKER, Code.QUEUE_LONG, Code.SLOT_LEAKED, Code.NEVER_STARTED})


def problems(facts: Facts, limits: Limits | None = None) -> list[Problem]:
    """All that is wrong now, causes before effects; at most one of each key. What is None in the facts fires nothing."""
    found: dict[str, Problem] = {}
    for rule in RULES:
        for problem in rule(facts, limits or Limits()):
            found.setdefault(problem.key, problem)
    return list(found.values())


def unknown(facts: Facts) -> set[Code]:
    """The codes about which these facts say nothing: their silence is no recovery."""
    return set(_silent(facts)) | _of_prefect(facts.prefect)


def _silent(facts: Facts) -> Iterator[Code]:
    if not facts.flows:
        yield from _OF_RUNS
    if not facts.stores:
        yield Code.STORE_DOWN
    if facts.stream is None:  # it counts itself what was lost
        yield from (Code.STALE_GRAPH, Code.ENTRIES_LOST, Code.STREAM_RESET)
    if facts.drift is None:
        yield Code.DRIFT
    if facts.proposals is None:
        yield Code.PROPOSAL_WAITING
    if (facts.memory_share is None and facts.disk_share is None) or (facts.machine and not facts.flows):
        yield Code.RESOURCES  # what other machines told is in the ledger


def _of_prefect(prefect: PrefectFact | None) -> set[Code]:
    if prefect is None:  # perhaps nobody uses it: what the ledger says of runs that never started counts alone
        return {Code.PREFECT_DOWN, *_OF_PREFECT} - {Code.NEVER_STARTED}
    if not prefect.up:
        return set(_OF_PREFECT)
    asked = {Code.QUEUE_LONG: prefect.queue, Code.NO_WORKER: prefect.workers_online}
    return {code for code, value in asked.items() if value is None}
