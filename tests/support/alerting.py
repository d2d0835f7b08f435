"""Problems, incidents and messages for tests: one that is true, with whatever a test wants to be different."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.model import Change, Code, Incident, Message, Problem, Severity

NOW = datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
PROBLEM = Problem(
    code=Code.FLOW_FAILED,
    subject="incremental",
    severity=Severity.CRITICAL,
    what="incremental failed at update_graph_incremental after 4 attempts: the graph server did not answer.",
    since=NOW - timedelta(minutes=65),
    stale="the graph, and every metric of the last 65 minutes",
    works="events are taken in and wait on the stream",
    last_good=NOW - timedelta(minutes=70),
    next_try=NOW + timedelta(minutes=5),
    fix="python -m deployments doctor",
    link="http://127.0.0.1:4200/runs/flow-run/0190f3d2-7c1b-7e32-a2b1-0123456789ab",
    event="0190f3d2-7c1b-7e32-a2b1-0123456789ab",
)


def message(change: Change = Change.OPENED, thread: str | None = None, **problem: Any) -> Message:
    """A message about the one incident, an hour and five minutes after it began."""
    about = replace(PROBLEM, **problem)
    ended = NOW if change is Change.RECOVERED else None
    worse = NOW if change is Change.ESCALATED else None
    count = 1 if change in (Change.OPENED, Change.TEST) else 3
    known = Incident("incident-1", about.key, about, about.since, NOW, count, escalated_at=worse, recovered_at=ended)
    return Message(known, change, thread)


def came_back(thread: str | None = None) -> Message:
    """The same incident, opened again after it had recovered."""
    opened = message(thread=thread)
    return replace(opened, incident=replace(opened.incident, count=4))
