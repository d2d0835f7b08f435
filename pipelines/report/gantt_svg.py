"""When each step of a run began, how long it took, and how much memory the process had by then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.report import figures
from pipelines.report.markup import Markup, tag
from pipelines.report.story import StepTold

_ROW, _BAR = 46, 14


def draw(steps: Sequence[StepTold], described_by: str) -> Markup:
    """As wide as the page; the words above the bars, so that they stay readable on a telephone."""
    start = min(step.started for step in steps)
    whole = max((step.started - start).total_seconds() + step.seconds for step in steps) or 1.0
    rows = [part for i, s in enumerate(steps) for part in _row(s, (s.started - start).total_seconds(), whole, i * _ROW)]
    return tag(
        "svg", *rows, xmlns="http://www.w3.org/2000/svg", width="100%", height=len(steps) * _ROW, role="img",
        aria_labelledby=described_by,
    )  # fmt: skip


def _row(step: StepTold, offset: float, whole: float, y: float) -> Iterable[Markup]:
    at, part = 100 * offset / whole, max(100 * step.seconds / whole, 0.4)
    done = step.outcome in ("done", "resumed")
    yield tag("text", step.name + ("" if step.outcome == "done" else f" ({step.outcome})"), x=0, y=y + 16)
    yield tag("text", numbers(step), x="100%", y=y + 16, text_anchor="end")
    yield tag("rect", x=0, y=y + 22, width="100%", height=_BAR, rx=2, class_="track")
    x, width = f"{min(at, 99.6):.2f}%", f"{min(part, 100 - min(at, 99.6)):.2f}%"
    yield tag("rect", x=x, y=y + 22, width=width, height=_BAR, rx=2, class_="bar" if done else "badbar")


def numbers(step: StepTold) -> str:
    return figures.duration(step.seconds) + (f", {memory(step.peak_bytes)}" if step.peak_bytes else "")


def memory(size: int | None) -> str:
    """In mebibytes; a sign where it was not measured."""
    return "–" if size is None else f"{size / 2**20:,.0f} MiB"
