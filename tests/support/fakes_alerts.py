"""Facts, problems and channels for tests of alerting, valid unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from alerts.model import Change, Code, DayFact, Facts, Failed, FlowFact, Message, Problem, RunFact, Severity, SumFact

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def run(minutes_ago: float = 5, **changes: Any) -> RunFact:
    """A completed incremental run of 4 s, that started so long before NOW."""
    started = NOW - minutes_ago * MINUTE
    values: dict[str, Any] = {
        "flow": "incremental",
        "run_id": f"run-{minutes_ago:g}",
        "status": "completed",
        "started_at": started,
        "ended_at": started + timedelta(seconds=4),
        "seconds": 4.0,
        "steps": 2,
        "result": {"read": 100},
    }
    return RunFact(**values | changes)


def bad(minutes_ago: float = 5, kind: str = "transient", **changes: Any) -> RunFact:
    """One that failed."""
    words = "redis localhost:6379: ConnectionError; is the server up? check ORGANISM_REDIS_URL"
    return run(minutes_ago, status="failed", **{"error_kind": kind, "error": words, **changes})


def flow(*runs: RunFact, **changes: Any) -> FlowFact:
    """incremental every five minutes, with these runs, the newest first, which are also all of the day."""
    values: dict[str, Any] = {
        "flow": "incremental",
        "every": 5 * MINUTE,
        "slow": timedelta(seconds=30),
        "runs": runs,
        "next_try": NOW + 5 * MINUTE,
        "day": day(*runs),
        "good_at": next((r.ended_at for r in runs if r.status == "completed"), None),
    }
    return FlowFact(**values | changes)


def day(*runs: RunFact) -> DayFact:
    """What the ledger would say of these runs, the newest first."""
    fresh = [r for r in runs if r.started_at and NOW - r.started_at <= 24 * HOUR]
    judged = [r for r in fresh if r.status in ("completed", "failed")]
    seconds = sorted(r.seconds for r in judged if r.status == "completed" and r.seconds is not None)
    steps = sum(r.steps for r in fresh)
    return DayFact(
        runs=len(judged),
        success=sum(r.status == "completed" for r in judged) / len(judged) if judged else None,
        retries=sum(r.retried_steps for r in fresh) / steps if steps else None,
        seconds=seconds[ceil(0.95 * len(seconds)) - 1] if seconds else None,
        sums={name: _sum(fresh, name) for name in {n for r in fresh for n, value in r.result.items() if value}},
    )


def _sum(runs: list[RunFact], name: str) -> SumFact:
    its = [r for r in runs if r.result.get(name)]
    since = min(r.ended_at or r.started_at or NOW for r in its)
    return SumFact(sum(r.result[name] for r in its), since, its[0].run_id, its[0].link)


def facts(*flows: FlowFact, **changes: Any) -> Facts:
    return Facts(**{"now": NOW, "flows": flows, **changes})


def problem(code: Code = Code.FLOW_FAILED, **changes: Any) -> Problem:
    values: dict[str, Any] = {
        "code": code,
        "subject": "incremental",
        "severity": Severity.CRITICAL,
        "what": "incremental failed after all retries: redis is away",
        "since": NOW,
    }
    return Problem(**values | changes)


FAILED = problem(event="transient run-1")
DOWN = problem(Code.STORE_DOWN, subject="redis", what="redis does not work: ConnectionError")
WARNING = problem(Code.SLOW_RUN, severity=Severity.WARNING, what="incremental took 90 s; normal is 30 s")
DIGEST = problem(
    Code.SLO_DIGEST, subject="service levels", severity=Severity.INFO, event="2026-03-02", what="All kept."
)


def later(problem_: Problem, run_id: str) -> Problem:
    """The same, told of another run."""
    return replace(problem_, event=f"transient {run_id}")


class FakeChannel:
    """Remembers what it was sent. away: fails so; threaded: gives a reference back, as Slack's bot does."""

    def __init__(self, name: str = "slack", *, threaded: bool = True) -> None:
        self.name = name
        self.threaded = threaded
        self.away: Failed | Exception | None = None
        self.got: list[Message] = []
        self.tries = 0
        self.closed = False

    def send(self, message: Message, now: datetime) -> str | None:
        self.tries += 1
        if self.away:
            raise self.away
        self.got.append(message)
        return message.thread or f"thread-{message.incident.id}" if self.threaded else None

    def close(self) -> None:
        self.closed = True

    @property
    def changes(self) -> list[Change]:
        return [message.change for message in self.got]
