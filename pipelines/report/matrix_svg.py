"""The block matrix: a square for each pair of groups, darker where the tie is stronger. Both halves are drawn."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.report import figures
from pipelines.report.markup import Markup, cut, tag
from pipelines.report.style import STEPS
from pipelines.report.team_graph import Group, TeamGraph

#: Pixels. The picture fills the page as long as that makes cells of a bearable size; then it is scrolled.
_WIDTH, _CELL_MIN, _CELL_MAX = 900, 10, 56
#: From this cell size on there is room for a number in it. Below the other, an element each would be too many.
_CELL_WITH_NUMBER, _CELL_OF_OVERVIEW = 34, 14
_NAME = 26
_CHARACTER = 0.58  # width of a character by the font size, on average
_PAD = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """Classes of strength: class i begins at bounds[i - 1]; class 0 is below all bounds."""

    bounds: tuple[float, ...]

    def step(self, strength: float) -> int:
        """The colour of a strength, from 0 to STEPS - 1, however few classes there are."""
        return self.colour(bisect_right(self.bounds, strength))

    def colour(self, number: int) -> int:
        return round(number * (STEPS - 1) / len(self.bounds)) if self.bounds else STEPS // 2

    def classes(self) -> list[tuple[int, str]]:
        """(colour, words) of every class, the weakest first."""
        if not self.bounds:
            return [(self.colour(0), "any strength")]
        words = [f"below {figures.short(self.bounds[0])}"]
        pairs = zip(self.bounds, self.bounds[1:], strict=False)
        words += [f"{figures.short(low)} to {figures.short(high)}" for low, high in pairs]
        words.append(f"{figures.short(self.bounds[-1])} and more")
        return [(self.colour(number), word) for number, word in enumerate(words)]


def scale_of(strengths: Iterable[float]) -> Scale:
    """Round bounds (1, 2, 5, 10, ...) between the weakest and the strongest, one fewer than colours at most."""
    real = [strength for strength in strengths if strength > 0]
    if not real:
        return Scale(())
    low, high = math.floor(math.log10(min(real))), math.ceil(math.log10(max(real)))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        series = (digit * 10.0**power for power in range(low, high + 1) for digit in digits)
        inner = [bound for bound in series if min(real) < bound <= max(real)]
        if len(inner) <= STEPS:
            break
    return Scale(tuple(inner[-(STEPS - 1) :]))  # one class for all that is far below the rest


def draw(graph: TeamGraph, scale: Scale, described_by: str) -> Markup:
    """The picture, in pixels; scroll it when it is too wide. Only for graphs with groups."""
    count = len(graph.groups)
    names = [cut(group.name, _NAME) for group in graph.groups]
    longest = max(len(f"{count} {name}") for name in names) * _CHARACTER
    cell = int(min(_CELL_MAX, max(_CELL_MIN, (_WIDTH - longest * 13) / count)))
    font = min(13, max(9, cell - 3))
    left = longest * font + 2 * _PAD
    top = font + 2 * _PAD
    width, height = left + count * cell + _PAD, top + count * cell + _PAD
    body = (
        _hatch(),
        tag("rect", x=left, y=top, width=count * cell, height=count * cell, fill="url(#hatch)"),
        *_cells(graph, scale, left, top, cell),
        tag("rect", x=left, y=top, width=count * cell, height=count * cell, class_="frame"),
        *_labels(graph.groups, names, left, top, cell, font),
    )
    fit = "fit" if cell < _CELL_OF_OVERVIEW else "fit shrink"
    return tag(
        "svg", *body, xmlns="http://www.w3.org/2000/svg", width=width, height=height, class_=fit, role="img",
        viewBox=f"0 0 {width:.0f} {height:.0f}", aria_labelledby=described_by, font_size=font,
    )  # fmt: skip


def _hatch() -> Markup:
    line = tag("path", d="M-2 10L10 -2M4 10L10 4M-2 4L4 -2", class_="hatch")
    pattern = tag("pattern", line, id="hatch", width=8, height=8, patternUnits="userSpaceOnUse")
    return tag("defs", pattern)


def _labels(
    groups: Sequence[Group], names: Sequence[str], left: float, top: float, cell: int, font: int
) -> Iterable[Markup]:
    """A number over each column (or over every fifth), number and name before each row."""
    every = 1 if cell > font + 4 else 5
    for i, (group, name) in enumerate(zip(groups, names, strict=True)):
        middle = i * cell + cell / 2
        if i % every == every - 1 or every == 1:
            yield tag(
                "text", str(i + 1), x=left + middle, y=top - _PAD, text_anchor="middle", font_size=font, class_="soft"
            )
        people = tag("title", f"{group.name}, {figures.counted(group.size, 'person', 'people')}")
        words = (tag("tspan", name, class_="name"), tag("tspan", f" {i + 1}", class_="soft"))
        yield tag("text", people, *words, x=left - _PAD, y=top + middle + font / 3, text_anchor="end", font_size=font)


def _cells(graph: TeamGraph, scale: Scale, left: float, top: float, cell: int) -> Iterable[Markup]:
    draw_all = _overview if cell < _CELL_OF_OVERVIEW else _squares
    return draw_all(graph, scale, left, top, cell)


def _squares(graph: TeamGraph, scale: Scale, left: float, top: float, cell: int) -> Iterable[Markup]:
    """A square with a title for each shown tie, with its number in it if there is room."""
    for (i, j), tie in graph.ties.items():
        step = scale.step(tie.strength)
        for row, column in {(i, j), (j, i)}:
            x, y = left + column * cell, top + row * cell
            square = tag("rect", x=x, y=y, width=cell, height=cell, class_=f"cell s{step}")
            number = tag("text", figures.short(tie.strength), x=x + cell / 2, y=y + cell / 2 + 4, text_anchor="middle",
                         class_=f"t{step}", font_size=12) if cell >= _CELL_WITH_NUMBER else Markup()  # fmt: skip
            yield tag("g", tag("title", words(graph, i, j)), square, number)


def _overview(graph: TeamGraph, scale: Scale, left: float, top: float, cell: int) -> Iterable[Markup]:
    """One path per colour: thousands of elements would make the page slow."""
    paths: dict[int, list[str]] = {}
    for (i, j), tie in graph.ties.items():
        for row, column in {(i, j), (j, i)}:
            square = f"M{left + column * cell:.0f} {top + row * cell:.0f}h{cell}v{cell}h-{cell}z"
            paths.setdefault(scale.step(tie.strength), []).append(square)
    for step, squares in sorted(paths.items()):
        yield tag("path", d="".join(squares), class_=f"cell s{step}")


def words(graph: TeamGraph, i: int, j: int) -> str:
    """One shown tie in words."""
    tie, one, other = graph.ties[i, j], graph.groups[i].name, graph.groups[j].name
    where = f"inside {one}" if i == j else f"{one} and {other}"
    return f"{where}: strength {figures.amount(tie.strength)}, {figures.counted(tie.n, 'interaction')}"
