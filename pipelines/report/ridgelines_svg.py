"""Strain ridgelines: one strip for each team, its weekly mean as a ridge over its own normal range.

A strip is a team's mean, never a person's value; weeks of too few people are gaps. All strips share one scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipelines.report import story_words as words
from pipelines.report.change_map_svg import hatch
from pipelines.report.markup import Markup, fit, tag, width
from pipelines.report.story import Ridge, Strain

_NAME, _FONT = 24, 13
_CHARACTER = 0.6
_WIDTH, _STRIP, _TALL, _PAD, _AXIS, _END = 900, 54, 46, 8, 28, 64


_Line = list[tuple[float, float]]


def draw(strain: Strain, described_by: str) -> Markup:
    """The picture, in pixels; only for a strain with weeks and ridges."""
    names = [fit(ridge.subject, _NAME) for ridge in strain.ridges]
    left = max(map(width, names)) * _FONT * _CHARACTER + 2 * _PAD
    step = (_WIDTH - left - _END) / max(len(strain.weeks) - 1, 1)
    low, high = _range(strain.ridges)
    height = len(strain.ridges) * _STRIP + _PAD + _AXIS
    body: list[Markup] = []
    for i, ridge in enumerate(strain.ridges):
        strip = _Strip(i, left, step, (i + 1) * _STRIP, _TALL / (high - low), low)
        body += _drawn(ridge, names[i], strip)
    return tag(
        "svg", hatch("ridgehatch"), *body, *_weeks(strain, left, step, height), xmlns="http://www.w3.org/2000/svg",
        width=_WIDTH, height=height, role="img", class_="fit shrink", viewBox=f"0 0 {_WIDTH} {height:.0f}",
        aria_labelledby=described_by, font_size=_FONT,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Strip:
    """Where one team's strip is: its floor, its week 0, and how values become pixels."""

    number: int
    left: float
    step: float
    floor: float
    scale: float
    low: float

    def y(self, value: float) -> float:
        return self.floor - (value - self.low) * self.scale

    def points(self, values: Sequence[float | None]) -> list[tuple[float, float] | None]:
        return [None if v is None else (self.left + week * self.step, self.y(v)) for week, v in enumerate(values)]


def _range(ridges: Sequence[Ridge]) -> tuple[float, float]:
    """The scale that all strips share, a little wider than all that is drawn."""
    known = [v for ridge in ridges for v in (*ridge.values, *(ridge.band or ())) if v is not None] or [0.0, 1.0]
    air = 0.05 * (max(known) - min(known)) or 1.0
    return min(known) - air, max(known) + air


def _drawn(ridge: Ridge, name: str, at: _Strip) -> Iterable[Markup]:
    right, points = _WIDTH - _END, at.points(ridge.values)
    level = words.LEVEL_WORDS[ridge.level] if ridge.level is not None else "no normal range"
    title = tag("title", f"{ridge.subject}: " + ("not shown" if ridge.is_hidden else f"this week {level}"))
    yield tag(
        "text",
        title,
        tag("tspan", name, class_="name"),
        x=at.left - _PAD,
        y=at.floor - _TALL / 2 + 4,
        text_anchor="end",
    )
    yield tag("line", x1=at.left, x2=right, y1=at.floor, y2=at.floor, class_="frame")
    if ridge.is_hidden:
        yield tag("rect", x=at.left, y=at.floor - _TALL, width=right - at.left, height=_TALL, fill="url(#ridgehatch)")
        return
    if ridge.band:
        low, high = (at.y(edge) for edge in ridge.band)
        yield tag("rect", x=at.left, y=high, width=right - at.left, height=low - high, class_="band")
    for line in _unbroken(points):
        yield from _ridge(line, ridge, at)
    yield from _last(ridge, points[-1], right)


def _ridge(line: _Line, ridge: Ridge, at: _Strip) -> Iterable[Markup]:
    """The ridge with its crest; what rises above the range, or falls below it, is filled in another colour."""
    crest = "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
    yield tag("path", d=_closed(crest, line, at.floor), class_="ridge")
    for edge, above in zip(ridge.band or (), (False, True), strict=False):
        y = at.y(edge)
        if any((py < y) is above and py != y for _, py in line):
            clip = f"out{at.number}{'above' if above else 'below'}{line[0][0]:.0f}"
            top = at.floor - _STRIP if above else y
            yield tag(
                "clipPath", tag("rect", x=0, y=top, width=_WIDTH, height=abs(y - top) if above else _STRIP), id=clip
            )
            yield tag("path", d=_closed(crest, line, y), class_="outside", clip_path=f"url(#{clip})")
    yield tag("path", d=f"M{crest}", class_="crest")


def _closed(crest: str, line: _Line, y: float) -> str:
    return f"M{line[0][0]:.1f} {y:.1f}L{crest}L{line[-1][0]:.1f} {y:.1f}z"


def _last(ridge: Ridge, point: tuple[float, float] | None, right: float) -> Iterable[Markup]:
    """This week: a dot, its value, and a sign if it is outside of the range."""
    value = ridge.values[-1]
    if value is None or point is None:
        return
    sign = words.LEVEL_SIGNS[ridge.level] if ridge.level else ""
    yield tag("circle", cx=point[0], cy=point[1], r=4, class_="dot out" if ridge.level else "dot")
    yield tag("text", f"{words.number(value)} {sign}".strip(), x=right + _PAD, y=point[1] + 4, font_size=12)


def _unbroken(points: Sequence[tuple[float, float] | None]) -> Iterable[_Line]:
    for there, run in groupby(points, key=lambda point: point is not None):
        if there:
            yield [point for point in run if point is not None]


def _weeks(strain: Strain, left: float, step: float, height: float) -> Iterable[Markup]:
    every = max(1, -(-len(strain.weeks) // 6))
    last = len(strain.weeks) - 1
    for i, week in enumerate(strain.weeks):
        if (last - i) % every == 0:
            x, label = left + i * step, f"{week.day} {week:%b}"
            yield tag("text", label, x=x, y=height - _PAD, text_anchor="middle", class_="soft", font_size=11)
