"""Bars with their words above them: as wide as the page, so that the words stay readable on a telephone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.report.markup import Markup, tag

_ROW, _BAR = 46, 14


@dataclass(frozen=True, slots=True)
class Bar:
    words: str
    number: str
    value: float
    bad: bool = False


def draw(bars: Sequence[Bar], most: float, described_by: str) -> Markup:
    """The picture; a bar of `most` has the full width, and what is not nothing is seen."""
    rows = [part for i, bar in enumerate(bars) for part in _row(bar, i * _ROW, most)]
    return tag(
        "svg", *rows, xmlns="http://www.w3.org/2000/svg", width="100%", height=len(bars) * _ROW, role="img",
        aria_labelledby=described_by,
    )  # fmt: skip


def _row(bar: Bar, y: int, most: float) -> Sequence[Markup]:
    part = 100 * bar.value / most if most else 0.0
    width = f"{max(part, 0.3) if bar.value else 0:.2f}%"
    colour = "badbar" if bar.bad else "bar"
    return (
        tag("text", bar.words, x=0, y=y + 16),
        tag("text", bar.number, x="100%", y=y + 16, text_anchor="end"),
        tag("rect", x=0, y=y + 22, width="100%", height=_BAR, rx=2, class_="track"),
        tag("rect", x=0, y=y + 22, width=width, height=_BAR, rx=2, class_=colour),
    )
