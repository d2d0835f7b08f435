"""Rosters: one row per person with the team, and perhaps role, manager, time zone and since when.

A reporting list without teams (person, manager) works too: a team is then whoever reports to the same manager, and the
manager who reports to nobody counts to the team that reports to them.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import BinaryIO

from pipelines.errors import InvalidInput
from pipelines.pseudonyms import normal
from pipelines.sources.csv_rows import Row, Sheet, SheetOptions, open_sheet
from pipelines.sources.raw import Counts, Item, RawPlace, Unreadable, shown
from pipelines.sources.times import TimeOptions, TimeReader

#: Header names that are taken for a column when no option names it, in any case. Only person and team must exist.
_USUAL = {
    "person": ("person", "id", "employee", "user", "person_id", "employee_id"),
    "team": ("team", "department", "unit", "group"),
    "role": ("role", "role_class"),
    "manager": ("manager", "reportstoid", "reports_to", "manager_id", "supervisor"),
    "tz": ("tz", "timezone", "time_zone"),
    "time": ("time", "since", "as_of", "start"),
}
_LONGEST_LABEL = 64


@dataclass(frozen=True)
class RosterOptions:
    """Columns are named by the header or numbered from 1; None: the usual names, and without a header 1 and 2.

    as_of: since when the places hold, where no column says it. team_of_manager: teams are named after the managers.
    """

    person: str | None = None
    team: str | None = None
    role: str | None = None
    manager: str | None = None
    tz: str | None = None
    time: str | None = None
    as_of: str | None = None
    team_of_manager: bool = False
    times: TimeOptions = field(default_factory=TimeOptions)
    sheet: SheetOptions = field(default_factory=SheetOptions)


def read(file: BinaryIO, options: RosterOptions, counts: Counts) -> Iterator[Item]:
    """The places of the file, and the rows that are none. A person who comes twice for the same time is reported.

    Raises:
        InvalidInput: a column that does not exist, no team, no time.
    """
    sheet = open_sheet(file, options.sheet, lambda cells: _is_header(cells, options))
    if not sheet.width:
        return
    reader = _Reader(_columns(sheet, options), options, counts)
    for row in sheet.rows:
        counts.rows += 1
        item = row if isinstance(row, Unreadable) else reader.place(row)
        if item is not None:
            yield item


def _is_header(cells: Sequence[str], options: RosterOptions) -> bool:
    named = [options.person, options.team, options.role, options.manager, options.tz, options.time]
    if any(name is not None and not name.isdigit() for name in named):
        return True
    usual = {name for names in _USUAL.values() for name in names}
    return any(cell.casefold() in usual for cell in cells)


def _columns(sheet: Sheet, options: RosterOptions) -> dict[str, int]:
    """Indexes of the cells by role; without a header the first column is the person and the second the team."""
    columns: dict[str, int] = {}
    for role, usual in _USUAL.items():
        wanted = getattr(options, role)
        if wanted is not None:
            columns[role] = sheet.column(wanted, f"--{role}")
        elif found := [i for i, name in enumerate(sheet.header) if name.casefold() in usual]:
            columns[role] = found[0]
    if not sheet.header and sheet.width > 1:
        columns = {"person": 0, "team": 1} | columns
    _insist_on_enough(sheet, columns, options)
    return columns


def _insist_on_enough(sheet: Sheet, columns: dict[str, int], options: RosterOptions) -> None:
    if "person" not in columns:
        raise InvalidInput(f"which column is the person? Name or number it: --person COLUMN; {sheet.columns()}")
    if options.team_of_manager and "manager" not in columns:
        raise InvalidInput("--team-of-manager needs the manager: --manager COLUMN")
    if "team" not in columns and not options.team_of_manager:
        raise InvalidInput(
            "which column is the team? Say --team COLUMN, or --team-of-manager to make teams of managers; "
            + sheet.columns()
        )
    if "time" not in columns and options.as_of is None:
        raise InvalidInput("since when do these places hold? Say --as-of TIME, or --time COLUMN")


@dataclass
class _Reader:
    """Rows to places; remembers who came where, to tell a repeated row from a contradiction."""

    columns: dict[str, int]
    options: RosterOptions
    counts: Counts

    def __post_init__(self) -> None:
        self._times = TimeReader(self.options.times)
        self._seen: dict[tuple[str, datetime], RawPlace] = {}
        self._as_of = None if self.options.as_of is None else self._read_as_of(self.options.as_of)

    def _read_as_of(self, text: str) -> datetime:
        try:
            return TimeReader(self.options.times).read(text).at
        except ValueError as error:
            raise InvalidInput(f"--as-of: {error}") from None

    def place(self, row: Row) -> RawPlace | Unreadable | None:
        """None for an exact repetition, which is counted."""
        try:
            place = self._place(row)
        except ValueError as error:
            return Unreadable(row.line, str(error))
        first = self._seen.setdefault((place.person, place.time), place)
        if first is place:
            return place
        if replace(first, line=place.line) != place:
            words = f"names the person of line {first.line} again for the same time, with another place"
            return Unreadable(row.line, words)
        self.counts.duplicates += 1
        return None

    def _place(self, row: Row) -> RawPlace:
        cell = {role: row.cells[index] for role, index in self.columns.items()}
        person, manager = normal(cell["person"]), normal(cell.get("manager", ""))
        if not person:
            raise ValueError("column 'person' is empty; expected an id")
        return RawPlace(
            line=row.line,
            person=person,
            time=self._time(cell.get("time", "")),
            team=None if self.options.team_of_manager else _label("team", cell["team"]),
            team_of=(manager or person) if self.options.team_of_manager else None,
            role_class=_label("role", cell["role"]) if cell.get("role") else None,
            manager=None if manager in ("", person) else manager,  # the head of all reports to nobody, or to themselves
            tz=_zone(cell["tz"]) if cell.get("tz") else None,
        )

    def _time(self, cell: str) -> datetime:
        if not cell and self._as_of:
            return self._as_of
        try:
            return self._times.read(cell).at
        except ValueError as error:
            raise ValueError(f"column 'time': {error}") from None


def _label(role: str, cell: str) -> str:
    """A team or role as the contract allows it. The cell is not shown: it may be a person's name."""
    if not cell:
        raise ValueError(f"column '{role}' is empty; expected its name")
    if "@" in cell or len(cell) > _LONGEST_LABEL or not cell.isprintable():
        raise ValueError(f"column '{role}' has '@', a control character or more than {_LONGEST_LABEL} characters")
    return cell


def _zone(cell: str) -> str:
    if cell not in _zones():
        raise ValueError(f"column 'tz': {shown(cell)} is not an IANA time zone such as Europe/Berlin")
    return cell


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
