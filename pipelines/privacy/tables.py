"""What goes into the privacy sink and what comes out of it: numbers about groups. Values only, no behaviour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.evidence import Series, SubjectKind


@dataclass(frozen=True, slots=True)
class Cell:
    """A number about a group.

    subject: as in `evidence.Series`. value: None where there is none. people: how many are behind it. largest: the part
    (0 to 1) of the one person who has most of it, where it is a sum; None where that is not known or means nothing.
    """

    kind: SubjectKind
    subject: str
    value: float | None
    people: int
    largest: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells of one measure. Two tables with the same `measure` are one: their cells may be subtracted.

    measure: what is measured and when, such as `strain 2026-03-02`. adds_up: the value of the organisation is a sum or a
    mean over its teams, and that of a team over its pairs; when in doubt, it does. extreme: smallest, largest or a
    percentile. floor: everybody knows that no value is below this. digits: those of a value that are released.
    """

    measure: str
    cells: tuple[Cell, ...]
    adds_up: bool = True
    extreme: bool = False
    floor: float | None = None
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Sum:
    """For every subject, the measure `total` is the sum (or a known mixture) of the measures `parts`."""

    total: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell as it may be shown. hidden: there is a value, and it stays here; without: there is none.

    It does not say which rule hid it: "fewer than five" of one and "protects another" of the next would give both away.
    """

    kind: SubjectKind
    subject: str
    value: float | None
    hidden: bool = False


Key = tuple[str, SubjectKind, str]


@dataclass(frozen=True)
class Released:
    """What may be shown, by (measure, kind, subject); what is missing was about a person, or never there."""

    k: int
    cells: dict[Key, Shown]

    def of(self, measure: str, kind: SubjectKind, subject: str = "") -> Shown:
        """The cell; one without value if there is none."""
        return self.cells.get((measure, kind, subject)) or Shown(kind, subject, None)

    def value(self, measure: str, kind: SubjectKind, subject: str = "") -> float | None:
        return self.of(measure, kind, subject).value


def table_of(series: Series, *, adds_up: bool = True, floor: float | None = None, digits: int = 3) -> Table:
    """A column of points as a table; its measure is view, version and time, so that the kinds of one view belong together."""
    cells = tuple(
        Cell(series.kind, subject, None if math.isnan(value) else float(value), int(people))
        for subject, value, people in zip(series.subjects, series.values, series.sizes, strict=True)
    )
    return Table(measure=measure_of(series), cells=cells, adds_up=adds_up, floor=floor, digits=digits)


def measure_of(series: Series) -> str:
    return f"{series.view}@{series.version} {series.time_ms}"


def teams_of(kind: SubjectKind, subject: str) -> tuple[str, ...]:
    """The teams that a subject is about: none for the organisation, two for a pair."""
    if kind is SubjectKind.TEAM_PAIR:
        return tuple(subject.split("|"))
    return (subject,) if kind is SubjectKind.TEAM else ()


def keys_of(tables: Iterable[Table]) -> Sequence[tuple[Key, Table, Cell]]:
    """Every cell about a group with its key; what is about a person is not here and so goes nowhere."""
    return [
        ((table.measure, cell.kind, cell.subject), table, cell)
        for table in tables
        for cell in table.cells
        if cell.kind is not SubjectKind.PERSON
    ]
