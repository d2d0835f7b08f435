"""The digest of the service levels: once a day or week, what was promised and what was kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from alerts.model import Code, Facts, FlowFact, Problem, Severity
from alerts.rules.limits import Limits
from alerts.rules.words import long, many, sentence, share


def digest(facts: Facts, limits: Limits) -> Iterator[Problem]:
    """All service levels in one note; a warning when one is not kept. Its event is the day or week: told once in it."""
    event = _period(facts.now, limits)
    kept, broken = _levels(facts, limits)
    if event is None or not kept + broken:
        return
    yield Problem(
        code=Code.SLO_DIGEST,
        subject="service levels",
        severity=Severity.WARNING if broken else Severity.INFO,
        what=sentence(_headline(kept, broken)),
        since=facts.now - limits.day,
        works=sentence("; ".join(kept)) if kept else "",
        fix="python -m pipelines.status" if broken else "",
        event=event,
    )


def _period(now: datetime, limits: Limits) -> str | None:
    """The name of the day or week that is due; None before its hour, and where nobody wants a digest."""
    if limits.digest == "never" or now.hour < limits.digest_hour:
        return None
    year, week, day = now.isocalendar()
    if limits.digest == "daily":
        return f"{now:%Y-%m-%d}"
    return f"{year}-W{week:02}" if day == 1 else None


def _headline(kept: list[str], broken: list[str]) -> str:
    count = len(kept) + len(broken)
    if not broken:
        return f"All {count} service levels were kept."
    return f"{len(broken)} of {many(count, 'service level')} not kept: " + "; ".join(broken)


def _levels(facts: Facts, limits: Limits) -> tuple[list[str], list[str]]:
    """In words, those that were kept and those that were not."""
    said: tuple[list[str], list[str]] = ([], [])
    for flow in facts.flows:
        for words, good in _of_flow(flow, limits.of(flow.flow)):
            said[0 if good else 1].append(words)
    queue = facts.prefect.queue if facts.prefect else None
    if queue is not None:
        said[0 if queue < limits.slo_queue else 1].append(f"queue {queue} (goal < {limits.slo_queue})")
    return said


def _of_flow(flow: FlowFact, limits: Limits) -> Iterator[tuple[str, bool]]:
    """By the figures of the day, which Prometheus is told, too."""
    day = flow.day
    left_out = limits.digest == "never"
    if left_out or day.runs < limits.slo_runs or day.success is None:
        return
    yield (
        f"{flow.flow} success {share(day.success)} of {many(day.runs, 'run')} (goal > {share(limits.slo_success)})",
        day.success > limits.slo_success,
    )
    if day.retries is not None:
        yield (
            f"{flow.flow} retries {share(day.retries)} (goal < {share(limits.slo_retry)})",
            day.retries < limits.slo_retry,
        )
    if day.seconds is not None:
        yield (
            f"{flow.flow} time {long(day.seconds)} (goal < {long(flow.slow)})",
            day.seconds < flow.slow.total_seconds(),
        )
