"""A run as a bar: a piece for each step, where it began and how long it took. Pure; the templates draw it as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipelines.report import figures, run_words
from pipelines.runs import ENDED, Run, RunStep, Status

#: Percent of the width: what is shorter is drawn so wide, or nobody would see it.
_LEAST = 0.4


@dataclass(frozen=True, slots=True)
class Piece:
    """x, width: percent of the whole. kind: a class of the style sheet. words: for those who do not see it."""

    x: float
    width: float
    kind: str
    words: str


def took(run: Run, now: datetime) -> float:
    """Seconds; of an open run until now; 0 where it never began."""
    if run.duration_seconds is not None:
        return run.duration_seconds
    if run.started_at is None:
        return 0.0
    end = run.completed_at or (run.heartbeat_at if run.status in ENDED else now) or now
    return max((end - run.started_at).total_seconds(), 0.0)


def scales(runs: Iterable[Run], now: datetime) -> Mapping[str, float]:
    """The longest of each flow, seconds, never 0: a run of seconds beside one of minutes would be a dot."""
    longest: dict[str, float] = {}
    for run in runs:
        longest[run.flow_name] = max(longest.get(run.flow_name, 0.0), took(run, now))
    return {flow: seconds or 1.0 for flow, seconds in longest.items()}


def pieces(run: Run, now: datetime, scale: float) -> tuple[Piece, ...]:
    """The whole run, and on it its steps. scale: seconds that are the whole width."""
    whole = took(run, now)
    if run.started_at is None or not whole:
        return ()
    failed = "over" if run_words.outcome(run) == "wrong input" else "failed"
    back = _piece(0.0, whole, scale, {Status.FAILED: failed, Status.RUNNING: "live"}.get(run.status, "rest"), "")
    its = (_of_step(step, i, run.started_at, now, scale) for i, step in enumerate(run.steps))
    return (back, *(replace(p, kind=failed) if p.kind == "failed" else p for p in its))


def in_words(run: Run, now: datetime) -> str:
    """What the bar shows, as a sentence."""
    if run.started_at is None:
        return "not begun"
    told = [f"{_named(s)} {figures.duration(_seconds(s, now))}{_ending(s)}" for s in run.steps]
    return f"{figures.duration(took(run, now))}" + (f": {', '.join(told)}" if told else "")


def of_each(run: Run, now: datetime) -> Sequence[tuple[RunStep, Piece, str]]:
    """Each step with its own bar on the whole run, and its numbers in words."""
    if run.started_at is None:
        return ()
    start, whole = run.started_at, _whole(run, now)
    return [(s, _of_step(s, 0, start, now, whole), figures.duration(_seconds(s, now)) + _ending(s)) for s in run.steps]


def _whole(run: Run, now: datetime) -> float:
    start = run.started_at or now
    ends = [(s.started_at - start).total_seconds() + _seconds(s, now) for s in run.steps]
    return max([took(run, now), *ends]) or 1.0


def _of_step(step: RunStep, place: int, start: datetime, now: datetime, scale: float) -> Piece:
    offset = max((step.started_at - start).total_seconds(), 0.0)
    kind = {Status.FAILED: "failed", Status.CANCELLED: "over", Status.RUNNING: "live"}.get(
        step.status, f"step{place % 2}"
    )
    return _piece(offset, _seconds(step, now), scale, kind, _named(step))


def _piece(offset: float, seconds: float, scale: float, kind: str, words: str) -> Piece:
    width = min(max(100 * seconds / scale, _LEAST), 100.0)
    x = min(100 * offset / scale, 100 - width)
    return Piece(round(x, 2), round(width, 2), kind, words)


def _seconds(step: RunStep, now: datetime) -> float:
    return max((now - step.started_at).total_seconds(), 0.0) if step.status is Status.RUNNING else step.seconds


def _named(step: RunStep) -> str:
    return step.name.replace("_", " ")


def _ending(step: RunStep) -> str:
    again = f", {step.attempts} attempts" if step.attempts > 1 else ""
    return ("" if step.status is Status.COMPLETED else f" ({step.status.value})") + again
