"""Rows of a CSV file: the separator found, the header told from data, quotes and line ends dealt with.

Strict where leniency would lose rows: a stray quote that swallows lines, or a row of another width, is not read as if
it were right but handed on as `Unreadable`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

from pipelines.errors import InvalidInput
from pipelines.sources.raw import Unreadable, shown
from pipelines.sources.unpacked import as_text, intact, unpacked

if TYPE_CHECKING:
    from _csv import Reader

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "pipe": "|"}
_LOOKED_AT = 20  # lines that decide about the separator
_BLANKS = re.compile(r"[ \t]+")
_NOT_TEXT = re.compile("[\ud800-\udfff\0]")


@dataclass(frozen=True)
class Row:
    """One row; `line` is where it begins."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class SheetOptions:
    """How to read a CSV file. None: find out."""

    separator: str | None = None
    header: bool | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Sheet:
    """`header` is empty where there is none. `rows` can be gone through once."""

    header: tuple[str, ...]
    width: int
    separator: str
    rows: Iterator[Row | Unreadable]

    def column(self, wanted: str, option: str) -> int:
        """Index of a column by its name in the header (in any case), or by its number from 1.

        Raises:
            InvalidInput: there is no such column.
        """
        names = [name.casefold() for name in self.header]
        if wanted.casefold() in names:
            return names.index(wanted.casefold())
        if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= self.width:
            return int(wanted) - 1
        raise InvalidInput(f"{option} {shown(wanted)}: there is no such column; {self.columns()}")

    def columns(self) -> str:
        """What there is to choose from, in words. Cells of a file without a header are people, and are not shown."""
        named = ", ".join(name if "@" not in name else "..." for name in self.header)
        return f"the header has: {named}" if self.header else f"the file has no header and {self.width} columns, from 1"


def open_sheet(file: BinaryIO, options: SheetOptions, looks_like_header: Callable[[Sequence[str]], bool]) -> Sheet:
    """The rows of `file` from where it stands; blank lines are none.

    Args:
        looks_like_header: asked about the first row where `options.header` is None.

    Raises:
        InvalidInput: no such encoding, or the first row is not CSV; later, from `rows`, a packed file that is damaged.
    """
    lines = _lines(as_text(unpacked(file), options.encoding))
    head = list(islice(lines, _LOOKED_AT))
    separator = options.separator or _separator(head)
    rows = _rows(chain(head, lines), separator)
    first = next(rows, None)
    if first is None:
        return Sheet((), 0, separator, rows)
    if isinstance(first, Unreadable):
        raise InvalidInput(f"line {first.line} {first.words}; the first row tells the columns, so nothing was read")
    has_header = looks_like_header(first.cells) if options.header is None else options.header
    body = rows if has_header else chain([first], rows)
    header = tuple(first.cells) if has_header else ()
    return Sheet(header, len(first.cells), separator, _of_width(len(first.cells), body))


def _lines(text: Iterable[str]) -> Iterator[str]:
    with intact():
        yield from text


def _separator(head: Sequence[str]) -> str:
    """The one that cuts the first lines into the same number of columns, more than one; else a comma."""
    lines = [line for line in head if line.strip()]
    for separator in ("\t", ";", ",", "|", " "):
        try:
            widths = {len(row) for row in _reader(lines, separator)}
        except csv.Error:
            continue
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    return max(",;\t ", key=lambda s: (lines or [""])[0].count(s)) if lines else ","


def _reader(lines: Iterable[str], separator: str) -> Reader:
    if separator == " ":  # runs of blanks count as one, and the csv module does not know such a thing
        lines = (_BLANKS.sub(" ", line.strip()) + "\n" for line in lines)
        return csv.reader(lines, delimiter=" ", strict=True)
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)


def _rows(lines: Iterable[str], separator: str) -> Iterator[Row | Unreadable]:
    reader = _reader(lines, separator)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Unreadable(line, f"is not CSV ({error}); look for a quotation mark that is not closed or not doubled")
            continue
        if any(cells):
            yield _checked(line, reader.line_num, [cell.strip() for cell in cells])


def _checked(line: int, last: int, cells: list[str]) -> Row | Unreadable:
    for cell in cells:
        if not cell.isascii() and _NOT_TEXT.search(cell):
            return Unreadable(line, "has bytes that are not text in the file's encoding; name it with --encoding")
        if "\0" in cell:
            return Unreadable(line, "has a NUL character; expected text")
    if last > line and any("\n" in cell for cell in cells):
        return Unreadable(line, f"has a quoted cell that runs on until line {last}; a quotation mark may be missing")
    return Row(line, cells)


def _of_width(width: int, rows: Iterable[Row | Unreadable]) -> Iterator[Row | Unreadable]:
    for row in rows:
        if isinstance(row, Row) and len(row.cells) != width:
            yield Unreadable(row.line, f"has {len(row.cells)} columns; expected {width} as in the first row")
        else:
            yield row
