"""Edge lists: one row per actor and target. Rows of one message become one interaction with several targets.

Memory stays flat for a file that is sorted by time, because a message ends where its time ends; a file that is not is
held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from pipelines.errors import InvalidInput
from pipelines.model import Medium, Scope
from pipelines.pseudonyms import normal
from pipelines.sources import contacts
from pipelines.sources.csv_rows import Row, Sheet, SheetOptions, open_sheet
from pipelines.sources.layouts import viva
from pipelines.sources.raw import Counts, Item, RawInteraction, Unreadable, shown
from pipelines.sources.times import TimeOptions, TimeReader

#: Media that the contract wants a duration of.
TIMED = frozenset({Medium.MEETING, Medium.CALL, Medium.CONTACT})
#: Header names that are taken for a column when no option names it, in any case.
_USUAL = {
    "actor": ("actor", "sender", "from", "source"),
    "target": ("target", "recipient", "to"),
    "time": ("time", "timestamp", "date", "datetime", "eventdate", "sent"),
}


@dataclass(frozen=True)
class TieOptions:
    """Columns are named by the header or numbered from 1; None: the usual names.

    medium: one of the contract's media for all rows, or a column that holds them.
    duration: a column with seconds.
    slot_s: rows are contacts seen in slots of this many seconds that end at the row's time.
    """

    actor: str | None = None
    target: str | None = None
    time: str | None = None
    medium: str | None = None
    duration: str | None = None
    slot_s: int | None = None
    times: TimeOptions = field(default_factory=TimeOptions)
    sheet: SheetOptions = field(default_factory=SheetOptions)


@dataclass(frozen=True, slots=True)
class Tie:
    """One row, understood. Ids are raw, in their normal form."""

    line: int
    actor: str
    target: str
    at: datetime
    medium: Medium
    duration_s: float | None = None
    tz_offset_min: int | None = None


def read(file: BinaryIO, options: TieOptions, counts: Counts) -> Iterator[Item]:
    """The interactions of the file, in the order of their times, and the rows that are none.

    Raises:
        InvalidInput: a column or zone that does not exist; a pipe that is not sorted by time.
    """
    is_pipe = not file.seekable()
    is_sorted = is_pipe or _is_sorted(file, options)
    table = _open(file, options)
    rows = table.rows(counts)
    if not is_sorted:
        counts.in_memory = True
        rows = _sorted(rows)
    ties = _insist_on_order(rows) if is_pipe else rows
    return contacts.merged(ties, options.slot_s, counts) if options.slot_s else _messages(ties, counts)


def _is_sorted(file: BinaryIO, options: TieOptions) -> bool:
    """Looks through the times of the whole file, and goes back to where it was.

    The road not taken is to notice it on the way: by then the first half of a message may have been sent.
    """
    start, last = file.tell(), None
    table, found = _open(file, options), True
    for moment in table.moments():
        if last is not None and moment < last:
            found = False
            break
        last = moment
    file.seek(start)
    return found


def _sorted(rows: Iterable[Tie | Unreadable]) -> Iterator[Tie | Unreadable]:
    ties: list[Tie] = []
    for row in rows:
        if isinstance(row, Unreadable):
            yield row
        else:
            ties.append(row)
    yield from sorted(ties, key=lambda tie: tie.at)


def _insist_on_order(rows: Iterable[Tie | Unreadable]) -> Iterator[Tie | Unreadable]:
    last: datetime | None = None
    for row in rows:
        if isinstance(row, Tie):
            if last is not None and row.at < last:
                raise InvalidInput(
                    f"line {row.line}: the time goes back, and what comes through a pipe must be sorted by time;"
                    " sort it, or give the file itself"
                )
            last = row.at
        yield row


# ------------------------------------------------------------------------------------------------ rows


def _open(file: BinaryIO, options: TieOptions) -> _Table:
    sheet = open_sheet(file, options.sheet, lambda cells: _is_header(cells, options))
    viva.insist_on_events(sheet.header)
    return _Table(sheet, options, _Columns.of(sheet, options) if sheet.width else None)


def _is_header(cells: Sequence[str], options: TieOptions) -> bool:
    """A column named in words needs a header. Else the time decides: a cell without a digit is the name of a column."""
    named = [name for name in (options.actor, options.target, options.time, options.duration) if name]
    if any(not name.isdigit() for name in named) or options.time is None:
        return True
    number = int(options.time)
    return 1 <= number <= len(cells) and not any(character.isdigit() for character in cells[number - 1])


@dataclass(frozen=True)
class _Columns:
    """Indexes of the cells. `medium` is a medium or an index."""

    actor: int
    target: int
    time: int
    medium: Medium | int
    duration: int | None

    @staticmethod
    def of(sheet: Sheet, options: TieOptions) -> _Columns:
        columns = _Columns(
            _column(sheet, "actor", options.actor),
            _column(sheet, "target", options.target),
            _column(sheet, "time", options.time),
            _medium(sheet, options),
            None if options.duration is None else sheet.column(options.duration, "--duration"),
        )
        _insist_on_sense(columns, options)
        return columns


def _column(sheet: Sheet, role: str, wanted: str | None) -> int:
    if wanted is not None:
        return sheet.column(wanted, f"--{role}")
    names = [name.casefold() for name in sheet.header]
    found = [names.index(usual) for usual in _USUAL[role] if usual in names]
    if not found:
        raise InvalidInput(f"which column is the {role}? Name or number it: --{role} COLUMN; {sheet.columns()}")
    return found[0]


def _medium(sheet: Sheet, options: TieOptions) -> Medium | int:
    if options.medium is None and options.slot_s:
        return Medium.CONTACT
    if options.medium is None:
        raise InvalidInput(f"which medium? Say --medium with one of {', '.join(Medium)}, or a column that holds them")
    if options.medium.casefold() in set(Medium):
        return Medium(options.medium.casefold())
    try:
        return sheet.column(options.medium, "--medium")
    except InvalidInput as error:  # perhaps it is a medium that is mistyped
        raise InvalidInput(f"{error}; a medium for all rows is one of {', '.join(Medium)}") from None


def _insist_on_sense(columns: _Columns, options: TieOptions) -> None:
    roles = {"actor": columns.actor, "target": columns.target, "time": columns.time}
    if len(set(roles.values())) < len(roles):
        raise InvalidInput("--actor, --target and --time must be three different columns")
    if columns.medium in TIMED and columns.duration is None and not options.slot_s:
        raise InvalidInput(f"a {columns.medium} needs its duration: --duration COLUMN (seconds), or --slot SECONDS")


@dataclass(frozen=True)
class _Table:
    """A sheet whose columns are known; `columns` is None when the file is empty."""

    sheet: Sheet
    options: TieOptions
    columns: _Columns | None

    def moments(self) -> Iterator[datetime]:
        """The times that can be read."""
        times = TimeReader(self.options.times)
        for row in self.sheet.rows:
            if isinstance(row, Row) and self.columns:
                try:
                    yield times.read(row.cells[self.columns.time]).at
                except ValueError:
                    continue

    def rows(self, counts: Counts) -> Iterator[Tie | Unreadable]:
        times = TimeReader(self.options.times)
        for row in self.sheet.rows:
            counts.rows += 1
            if isinstance(row, Unreadable):
                yield row
            elif self.columns:
                yield _tie(row, self.columns, times, counts)


def _tie(row: Row, columns: _Columns, times: TimeReader, counts: Counts) -> Tie | Unreadable:
    cells = row.cells
    actor, target = normal(cells[columns.actor]), normal(cells[columns.target])
    if not actor or not target:
        return Unreadable(row.line, f"column '{'target' if actor else 'actor'}' is empty; expected an id")
    try:
        moment = times.read(cells[columns.time])
    except ValueError as error:
        return Unreadable(row.line, f"column 'time': {error}")
    counts.ambiguous += moment.ambiguous
    counts.shifted += moment.shifted
    try:
        medium = _medium_of(cells, columns)
        duration = None if columns.duration is None else _seconds(cells[columns.duration], medium)
    except ValueError as error:
        return Unreadable(row.line, str(error))
    return Tie(row.line, actor, target, moment.at, medium, duration, moment.tz_offset_min)


def _medium_of(cells: Sequence[str], columns: _Columns) -> Medium:
    if isinstance(columns.medium, Medium):
        return columns.medium
    cell = cells[columns.medium]
    try:
        medium = Medium(cell.casefold())
    except ValueError:
        raise ValueError(f"column 'medium': {shown(cell)} is none of {', '.join(Medium)}") from None
    if medium in TIMED and columns.duration is None:
        raise ValueError(f"column 'medium': a {medium} needs its duration; name that column with --duration")
    return medium


def _seconds(cell: str, medium: Medium) -> float | None:
    if not cell and medium not in TIMED:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        raise ValueError(f"column 'duration': {shown(cell)} is not a number of seconds") from None
    if not 0 <= seconds <= 86_400:
        raise ValueError(f"column 'duration': {shown(cell)} is not between 0 and 86400 seconds")
    return seconds


# ------------------------------------------------------------------------------------------------ messages


@dataclass(slots=True)
class _Message:
    first: Tie
    targets: set[str] = field(default_factory=set)


def _messages(ties: Iterable[Tie | Unreadable], counts: Counts) -> Iterator[Item]:
    """One interaction per actor, time, medium and duration. Ties must come sorted by time."""
    at: datetime | None = None
    open_: dict[tuple[str, Medium, float | None], _Message] = {}
    for tie in ties:
        if isinstance(tie, Unreadable):
            yield tie
            continue
        if tie.at != at:
            yield from map(_interaction, open_.values())
            at, open_ = tie.at, {}
        message = open_.setdefault((tie.actor, tie.medium, tie.duration_s), _Message(tie))
        counts.duplicates += tie.target in message.targets
        counts.self_loops += tie.target == tie.actor
        message.targets.add(tie.target)
    yield from map(_interaction, open_.values())


def _interaction(message: _Message) -> RawInteraction:
    """A message to oneself alone keeps the actor as target: the consumer says SELF_ONLY, and nothing is lost unseen."""
    first = message.first
    targets = tuple(sorted(message.targets - {first.actor})) or (first.actor,)
    return RawInteraction(
        line=first.line,
        actor=first.actor,
        targets=targets,
        medium=first.medium,
        time=first.at,
        scope=Scope.DIRECT if len(targets) == 1 else Scope.GROUP,
        duration_s=first.duration_s,
        # two calls that begin together and differ in length are two events, and need two ids
        native_id="" if first.duration_s is None else str(first.duration_s),
        tz_offset_min=first.tz_offset_min,
    )
