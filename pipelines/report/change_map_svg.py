"""The change map: a row for each group, a square for each measure, marked where it is outside the group's own range.

Colour and sign say the same, so that the picture can be read in black and white and by any eye.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.report import story_words as words
from pipelines.report.markup import Markup, fit, tag, width
from pipelines.report.story import Level, MapRow, Measure, Standing

_NAME, _HEAD = 26, 19
_FONT, _ROW, _PAD = 13, 34, 8
_CHARACTER = 0.6  # width of a character by the font size, on average
_COLUMN, _TOP = 112, 34
_CLASSES = {Level.FAR_BELOW: "lo2", Level.BELOW: "lo1", Level.NORMAL: "mid", Level.ABOVE: "hi1", Level.FAR_ABOVE: "hi2"}


def draw(rows: Sequence[MapRow], measures: Sequence[Measure], k: int, described_by: str) -> Markup:
    """The picture, in pixels. Rows in the given order."""
    names = [fit(row.subject or words.ORGANISATION, _NAME) for row in rows]
    left = max(map(width, names), default=0.0) * _FONT * _CHARACTER + 2 * _PAD
    wide, height = left + len(measures) * _COLUMN + _PAD, _TOP + len(rows) * _ROW + _PAD
    places = [_places(row.cells[j] for row in rows) for j in range(len(measures))]
    body = list(_heads(measures, left))
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        titles = [f"{m.name}: {words.standing(cell, m, k)}" for m, cell in zip(measures, row.cells, strict=True)]
        body += _row(row, name, titles, places, left, _TOP + i * _ROW)
    return tag(
        "svg", hatch("maphatch"), *body, xmlns="http://www.w3.org/2000/svg", width=wide, height=height, role="img",
        class_="fit shrink", viewBox=f"0 0 {wide:.0f} {height:.0f}", aria_labelledby=described_by, font_size=_FONT,
    )  # fmt: skip


def hatch(name: str) -> Markup:
    """The pattern of what is hidden, the same in every picture."""
    line = tag("path", d="M-2 10L10 -2M4 10L10 4M-2 4L4 -2", class_="hatch")
    return tag("defs", tag("pattern", line, id=name, width=8, height=8, patternUnits="userSpaceOnUse"))


def _heads(measures: Sequence[Measure], left: float) -> Iterable[Markup]:
    for i, measure in enumerate(measures):
        x = left + i * _COLUMN + _COLUMN / 2
        title = tag("title", f"{measure.name}. {measure.about}")
        yield tag("text", title, fit(measure.name, _HEAD), x=x, y=_TOP - 12, text_anchor="middle", font_size=11)


def _places(cells: Iterable[Standing]) -> int:
    """Decimals that suit the largest value of a column, the same for all of it."""
    largest = max((abs(cell.value) for cell in cells if cell.value is not None), default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def _row(
    row: MapRow, name: str, titles: Sequence[str], places: Sequence[int], left: float, y: float
) -> Iterable[Markup]:
    who = row.subject or words.ORGANISATION
    yield tag("text", tag("tspan", name, class_="name"), x=left - _PAD, y=y + _ROW / 2 + 4, text_anchor="end")
    for j, cell in enumerate(row.cells):
        square = _square(cell, places[j], left + j * _COLUMN, y)
        yield tag("g", tag("title", f"{who}, {titles[j]}"), *square)


def _square(cell: Standing, places: int, x: float, y: float) -> Iterable[Markup]:
    kind = _CLASSES[cell.level] if cell.level is not None else "none"
    fill = "url(#maphatch)" if cell.hidden else None
    yield tag("rect", x=x, y=y, width=_COLUMN, height=_ROW, class_=f"cell map-{kind}", fill=fill)
    if cell.value is not None:
        sign = words.LEVEL_SIGNS[cell.level] if cell.level else ""
        label = f"{sign} {words.number(cell.value, places)}".strip()
        yield tag("text", label, x=x + _COLUMN / 2, y=y + _ROW / 2 + 4, text_anchor="middle", class_=f"on-{kind}")
