"""Which problem explains which: of a cause and its effects, people are told the cause, in one thread."""

from __future__ import annotations

import re
from collections.abc import Mapping

from alerts.model import Code, Problem, Severity
from alerts.rules.runs import kind_of

_SCHEDULING = frozenset({Code.SCHEDULE_MISSED, Code.NEVER_STARTED, Code.QUEUE_LONG, Code.STALE_GRAPH})
#: Cause: effects. Whoever explains an effect explains what that effect explains (a test holds it).
EXPLAINS: Mapping[Code, frozenset[Code]] = {
    Code.STORE_DOWN: frozenset(
        {
            Code.FLOW_FAILED,
            Code.STALE_GRAPH,
            Code.RETRY_RATE,
            Code.SLOW_RUN,
            Code.ZOMBIE_RUN,
            Code.NEVER_STARTED,
            Code.SCHEDULE_MISSED,
        }
    ),
    Code.PREFECT_DOWN: _SCHEDULING | {Code.NO_WORKER, Code.SLOT_LEAKED},
    Code.NO_WORKER: _SCHEDULING,
    Code.SLOT_LEAKED: _SCHEDULING,
    Code.NEVER_STARTED: frozenset({Code.SCHEDULE_MISSED, Code.STALE_GRAPH}),
    Code.SCHEDULE_MISSED: frozenset({Code.STALE_GRAPH}),
    Code.BREAKER_OPEN: frozenset({Code.STALE_GRAPH}),
    Code.FLOW_FAILED: frozenset({Code.STALE_GRAPH}),
    Code.ZOMBIE_RUN: frozenset({Code.STALE_GRAPH}),
}
#: Failures that a store that is away or refuses us can cause. A bug or wrong input is no effect of it.
_STORE_KINDS = frozenset({"transient", "timeout", "permanent"})
#: Our stores' errors end with the setting to check; that says which store it was, where the sentence was not cut.
_NAMED = re.compile(r"ORGANISM_(REDIS|GRAPH|POSTGRES)_")
_FEEDS_THE_GRAPH = "incremental"
#: The subject of NO_WORKER when there is none at all; otherwise it is a queue.
ALL_WORKERS = "worker"


def explains(cause: Problem, effect: Problem) -> bool:
    """Whether `effect` follows from `cause`, so that it is not told of its own."""
    if effect.code not in EXPLAINS.get(cause.code, ()) or cause.severity is Severity.INFO:
        return False  # what was put right already explains nothing that is still wrong
    if cause.code is Code.STORE_DOWN:
        return _store_explains(cause, effect)
    if cause.code is Code.NO_WORKER:
        return cause.subject == ALL_WORKERS  # one queue without a worker keeps the runs of the others from nothing
    if cause.code in (Code.PREFECT_DOWN, Code.SLOT_LEAKED):
        return True
    return cause.subject == (_FEEDS_THE_GRAPH if effect.code is Code.STALE_GRAPH else effect.subject)


def _store_explains(cause: Problem, effect: Problem) -> bool:
    if effect.code is Code.FLOW_FAILED:
        named = _NAMED.search(effect.what)
        return kind_of(effect) in _STORE_KINDS and (named is None or named[1].lower() == cause.subject)
    if effect.code in (Code.ZOMBIE_RUN, Code.NEVER_STARTED, Code.SCHEDULE_MISSED):  # starts and signs of life are rows
        return cause.subject == "postgres"
    return True


def explained_by(effect: Problem, causes: list[Problem]) -> Problem | None:
    """The first of the causes that explains it and is not explained itself."""
    found = [cause for cause in causes if explains(cause, effect)]
    return next((c for c in found if not any(explains(other, c) for other in found)), None)
