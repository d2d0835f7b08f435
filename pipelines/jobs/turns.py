"""A full run by its name, and its turns: what a turn left is told from what an earlier one of the same window left.

By a number that each turn draws, and not by the clock, which may go back.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from pipelines.errors import InvalidInput
from pipelines.evidence import K_FLOOR
from pipelines.jobs.full_ports import StepResults

TURN, _STORES = "turn", "store_metrics"
_BEGIN, _HOUR = "begin", timedelta(hours=1)


@dataclass(frozen=True)
class Plan:
    """One run. start, end: the window of the graph. history: weeks that the causal analysis looks back. k: no number of a
    group is kept or used that is about fewer people. points: how long the time series keep theirs. turn: a number of this
    turn of the run, by which what it left is told from what an earlier turn of the same window left. distrust: what the last
    run computed may never have been stored.
    """

    run: str
    start: datetime
    end: datetime
    now: datetime
    history: timedelta
    propose: bool = True
    requested_by: tuple[str, ...] = ()
    k: int = K_FLOOR
    points: timedelta = timedelta(days=800)
    turn: int = 0
    distrust: bool = False

    @property
    def now_ms(self) -> int:
        return _ms(self.now)

    @property
    def window_ms(self) -> tuple[int, int]:
        return _ms(self.start), _ms(self.end)


def plan_for(now: datetime, window: timedelta, history: timedelta, **rest: Any) -> Plan:
    """The run of this hour. Its name says the end of its window: a second run of the same window is the same run."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return Plan(f"full-{end:%Y-%m-%dT%H}", end - window, end, now, history, **rest)


def resumed(run: str, now: datetime, window: timedelta, history: timedelta, **rest: Any) -> Plan:
    """The run of that name again, over its own window.

    Raises:
        InvalidInput: no run can have that name.
    """
    try:
        end = datetime.strptime(run, "full-%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"'{run}' is not a run; a name looks like full-2026-03-02T06") from None
    return Plan(run, end - window, end, now, history, **rest)


def begun(results: StepResults, plan: Plan, steps: Sequence[str]) -> Plan:
    """A new turn of the run: noted with what it looks at, so that only the same can be taken up."""
    last = results.latest_run()
    stored = last == plan.run or (last is not None and _STORES in done(results, last, steps))
    plan = replace(plan, turn=secrets.randbits(52), distrust=not stored)
    asked = {"start": plan.window_ms[0], "history_h": plan.history // _HOUR, TURN: plan.turn}
    results.put(plan.run, _BEGIN, asked, "\n".join(plan.requested_by).encode(), plan.now)
    return plan


def taken_up(results: StepResults, plan: Plan) -> Plan:
    """The turn that stopped. Whoever asked for it first has asked for it still.

    Raises:
        InvalidInput: there is nothing to take up, or it was about another window.
    """
    first = results.get(plan.run, _BEGIN)
    if first is None:
        raise InvalidInput(f"{plan.run} left nothing behind; start it without --resume")
    if (first.counts["start"], first.counts["history_h"]) != (plan.window_ms[0], plan.history // _HOUR):
        words = "ORGANISM_WINDOW_DAYS and ORGANISM_HISTORY_WEEKS are not what they were"
        raise InvalidInput(f"{plan.run} looked at another stretch of time: {words}; start it without --resume")
    asked = [name for name in first.payload.decode().split("\n") if name]
    return replace(plan, turn=first.counts[TURN], requested_by=tuple(dict.fromkeys([*asked, *plan.requested_by])))


def done(results: StepResults, run: str, steps: Sequence[str]) -> set[str]:
    """The steps that the run's last turn did: up to the first that is missing or left by an earlier turn."""
    first = results.get(run, _BEGIN)
    if first is None:
        return set()
    found = ((step, results.get(run, step)) for step in steps)
    return {step for step, _ in takewhile(lambda its: its[1] and its[1].counts.get(TURN) == first.counts[TURN], found)}


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
