"""The forest plot: every answer with its interval on one scale, and its checks beside it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.evidence import Finding, Status
from pipelines.report import story_words as words
from pipelines.report.markup import Markup, cut, tag

_WORDS, _FONT = 46, 13
_LEFT, _PLOT, _RIGHT, _ROW, _TOP, _BOTTOM = 330, 330, 240, 40, 18, 46
_WIDTH = _LEFT + _PLOT + _RIGHT


@dataclass(frozen=True, slots=True)
class Bar:
    """An effect in standard deviations of the outcome, for one more standard deviation of the cause."""

    effect: float
    low: float
    high: float


def bar_of(finding: Finding) -> Bar | None:
    """The finding on the common scale; None without an estimate, or where the scale is not known."""
    its = finding.estimate
    if its is None or finding.effect_sd is None or its.effect == 0:
        return None
    factor = finding.effect_sd / its.effect
    return Bar(finding.effect_sd, *sorted((its.ci_low * factor, its.ci_high * factor)))


def draw(findings: Sequence[Finding], described_by: str) -> Markup:
    """The picture, in pixels; only for findings of which one at least has a bar."""
    bars = [bar_of(finding) for finding in findings]
    ends = [abs(end) for bar in bars if bar for end in (bar.effect, bar.low, bar.high) if math.isfinite(end)]
    most = 1.1 * max(ends, default=1.0) or 1.0
    height = _TOP + len(findings) * _ROW + _BOTTOM
    body = [*_axis(most, height)]
    for i, (finding, bar) in enumerate(zip(findings, bars, strict=True)):
        body += _row(finding, bar, _TOP + i * _ROW + _ROW / 2, most)
    return tag(
        "svg", *body, xmlns="http://www.w3.org/2000/svg", width=_WIDTH, height=height, role="img", class_="fit shrink",
        viewBox=f"0 0 {_WIDTH} {height}", aria_labelledby=described_by, font_size=_FONT,
    )  # fmt: skip


def _x(value: float, most: float) -> float:
    """Within the plot: an interval without an end goes to its edge."""
    return _LEFT + _PLOT * (max(-most, min(most, value)) + most) / (2 * most)


def _axis(most: float, height: float) -> Iterable[Markup]:
    bottom = height - _BOTTOM
    yield tag("line", x1=_x(0, most), x2=_x(0, most), y1=_TOP - 6, y2=bottom, class_="zero")
    for value in _ticks(most):
        x = _x(value, most)
        yield tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="frame")
        label = words.signed(value)
        yield tag("text", label, x=x, y=bottom + 18, text_anchor="middle", class_="soft", font_size=11)
    yield tag("text", "← less", x=_LEFT, y=height - 8, class_="soft", font_size=11)
    yield tag("text", "more →", x=_LEFT + _PLOT, y=height - 8, text_anchor="end", class_="soft", font_size=11)
    yield tag("text", "no effect", x=_x(0, most), y=height - 8, text_anchor="middle", class_="soft", font_size=11)


def _ticks(most: float) -> list[float]:
    power = math.floor(math.log10(most))
    step = next(
        s * 10.0 ** (power + p) for p in (-1, 0, 1) for s in (1, 2, 5) if most / (s * 10.0 ** (power + p)) <= 3.2
    )
    count = int(most / step)
    return [step * i for i in range(-count, count + 1)]


def _row(finding: Finding, bar: Bar | None, y: float, most: float) -> Iterable[Markup]:
    meaning, tint = words.MEANINGS[finding.status], _tint(finding.status)
    who = f"{finding.subject}: " if finding.subject else ""
    title = tag("title", f"{who}{finding.words} {meaning.word}: {meaning.means}")
    label = textwrap.wrap(cut(f"{who}{finding.words}", 2 * _WORDS), _WORDS)[:2]
    spans = [tag("tspan", line, x=0, y=y + 4 - 8 * (len(label) - 1) + 16 * i) for i, line in enumerate(label)]
    yield tag("text", title, *spans, class_="name", font_size=12)
    if bar:
        yield tag("line", x1=_x(bar.low, most), x2=_x(bar.high, most), y1=y, y2=y, class_=f"whisker {tint}")
        for end in (bar.low, bar.high):
            yield tag("line", x1=_x(end, most), x2=_x(end, most), y1=y - 5, y2=y + 5, class_=f"whisker {tint}")
        yield _mark(_x(bar.effect, most), y, tint)
    else:
        yield tag("text", "no estimate", x=_x(0, most), y=y + 4, text_anchor="middle", class_="soft", font_size=11)
    x = _LEFT + _PLOT + 14
    yield tag("text", f"{meaning.sign} {meaning.word}", x=x, y=y - 2, class_=f"word {tint}", font_weight=600)
    yield tag("text", _checks(finding), x=x, y=y + 13, class_="soft", font_size=11)


def _mark(x: float, y: float, tint: str) -> Markup:
    """A filled square for what may be relied on, a hollow circle for all else."""
    if tint == "firm":
        return tag("rect", x=x - 5, y=y - 5, width=10, height=10, class_="point firm")
    return tag("circle", cx=x, cy=y, r=5, class_="point loose")


def _tint(status: Status) -> str:
    return "firm" if status in (Status.CREDIBLE, Status.NO_EFFECT) else "loose"


def _checks(finding: Finding) -> str:
    if not finding.checks:
        return "no checks"
    signs = " ".join(words.CHECK_SIGNS[check.result] for check in sorted(finding.checks, key=lambda c: not c.gate))
    return f"checks {signs}"
