"""Which channels are told of a change. Pure; how often is decided in `alerts.policy`."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.model import QUESTIONS, Change, Problem
from alerts.policy import Policy

#: Where people read what they are asked. A tracker of errors is no such place, and a question is no error.
_ASKED = frozenset({"log", "slack", "email", "webhook"})


def route(problem: Problem, change: Change, channels: Sequence[str], policy: Policy) -> list[str]:
    """The channels that are told of a change. An escalation goes to all."""
    if problem.code in QUESTIONS:
        return [name for name in channels if name in _ASKED]
    wanted = None if change is Change.ESCALATED else dict(policy.routes)[problem.severity]
    chosen = [name for name in channels if wanted is None or name in wanted]
    if not set(chosen) - {"log"}:
        chosen = list(channels)  # better by mail than not at all
    return [name for name in chosen if change is not Change.UPDATED or name not in policy.quiet]
