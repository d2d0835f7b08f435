"""How things stand at one moment, for people and for machines: what was asked of the stores, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from alerts.model import Facts, FlowFact, Incident
from alerts.rules.limits import Limits
from pipelines.runs import FlowFigures, Run, Status

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class FlowStanding:
    """One flow. ago: since its last good run, seconds. typical: median of its good runs of the last day, seconds. goal: how
    old that run may be, seconds; None: nobody promised any. is_late: it is older, or there is none and it has been due.

    Rates are of the last day; None where nothing ran.
    """

    flow: str
    last: Run | None
    last_good: Run | None
    ago: float | None
    success_rate: float | None
    retry_rate: float | None
    typical: float | None
    slow: float
    next_start: datetime | None
    goal: float | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """facts: what the alert rules see. proposals: how many are in each state; None where they could not be asked."""

    facts: Facts
    flows: tuple[FlowStanding, ...]
    runs: tuple[Run, ...]
    incidents: tuple[Incident, ...]
    proposals: Mapping[str, int] | None = None
    halted: str | None = None

    @property
    def behind(self) -> float | None:
        """Seconds for which the oldest entry that nobody has read has been waiting; 0 when none does."""
        stream = self.facts.stream
        if stream is None:
            return None
        oldest = stream.oldest_unread_at
        return (self.facts.now - oldest).total_seconds() if oldest and stream.unread else 0.0

    @property
    def is_stale(self) -> bool:
        """Nothing was applied for longer than it may be; where nothing ever was, since something ran here first."""
        known = [fact.since for fact in self.facts.flows if fact.since]
        last = self.facts.applied_at or min(known, default=None)
        return last is not None and self.facts.now - last > _LIMITS.stale


def flow_standings(runs: Sequence[Run], figures: Sequence[FlowFigures], facts: Facts) -> tuple[FlowStanding, ...]:
    """runs: the newest first, of all flows; more than one interval of the rarest."""
    return tuple(
        _flow(fact, [run for run in runs if run.flow_name == fact.flow], figures, facts) for fact in facts.flows
    )


def _flow(fact: FlowFact, own: Sequence[Run], figures: Sequence[FlowFigures], facts: Facts) -> FlowStanding:
    good = next((run for run in own if run.status is Status.COMPLETED), None)
    counted = next((f for f in figures if f.flow_name == fact.flow), None)
    goal = fact.every + _LIMITS.schedule_grace if fact.every else None
    due_from = good.completed_at if good else fact.since  # before its first interval has passed, no run of it was due
    return FlowStanding(
        flow=fact.flow,
        last=own[0] if own else None,
        last_good=good,
        ago=(facts.now - good.completed_at).total_seconds() if good and good.completed_at else None,
        success_rate=counted.success_rate if counted else None,
        retry_rate=counted.retry_rate if counted else None,
        typical=median(counted.seconds) if counted and counted.seconds else None,
        slow=fact.slow.total_seconds(),
        next_start=fact.next_try,
        goal=goal.total_seconds() if goal else None,
        is_late=bool(goal and due_from and facts.now - due_from > goal),
    )
