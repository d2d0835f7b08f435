"""The readers' options on a command line, and the reader that they and the file's beginning choose."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipelines.errors import InvalidInput
from pipelines.sources import csv_ties, formats, jsonl, roster
from pipelines.sources.csv_rows import SEPARATORS, SheetOptions
from pipelines.sources.layouts import known
from pipelines.sources.layouts.layout import Aids
from pipelines.sources.raw import Counts, Item
from pipelines.sources.times import TimeFormat, TimeOptions

Reader = Callable[[BinaryIO, Counts], Iterator[Item]]
_DAY_S = 86_400
_SHEET = ("header", "separator", "encoding", "zone", "origin", "time_format", "time")
_TIES = ("actor", "target", "medium", "duration")
_ROSTER = ("person", "team", "role", "manager", "tz", "as_of", "team_of_manager")
#: Options that mean something for a kind of file. `source` is not here: all kinds but one have it.
_FITTING = {
    "csv": {*_SHEET, *_TIES, "slot", "source"},
    "roster": {*_SHEET, *_ROSTER, "source"},
    "json": {"members", "source"},
    "jsonl": set[str](),
}


def chosen(file: io.BufferedReader[Any], options: argparse.Namespace, aids: Aids) -> Reader:
    """The reader for this file: by --roster, by --format, or by how the file begins. Nothing is taken from the file.

    Raises:
        InvalidInput: an option that says nothing about this kind of file, or a wrong one.
    """
    kind = _kind(file, options)
    _insist_on_fitting(options, kind)
    if kind == "jsonl":
        return jsonl.read
    if kind == "roster":
        places = _roster_options(options)
        return lambda source, counts: roster.read(source, places, counts)
    if kind == "csv":
        ties = _tie_options(options)
        return lambda source, counts: csv_ties.read(source, ties, counts)
    layout = options.format if options.format in known.LAYOUTS else None
    return lambda source, counts: known.read(source, layout, aids, counts)


def _kind(file: io.BufferedReader[Any], options: argparse.Namespace) -> str:
    if options.roster:
        return "roster"
    if options.format == "auto":
        return formats.kind_of(file)
    return options.format if options.format in ("jsonl", "csv") else "json"


def _insist_on_fitting(options: argparse.Namespace, kind: str) -> None:
    """An option that the reader would not look at is a misunderstanding, and better found before anything is sent."""
    every = {name for names in _FITTING.values() for name in names}
    if unused := sorted(name for name in every - _FITTING[kind] if getattr(options, name)):
        given = ", ".join("--" + name.replace("_", "-") for name in unused)
        words = "say --format or --roster if it is of another kind, else leave the option out"
        raise InvalidInput(f"{given}: says nothing about this file, which is read as {kind}; {words}")


def _times(options: argparse.Namespace) -> TimeOptions:
    form = TimeFormat(options.time_format) if options.time_format else None
    return TimeOptions(options.zone, form, options.origin)


def _sheet(options: argparse.Namespace) -> SheetOptions:
    separator = SEPARATORS.get(options.separator, options.separator)
    if separator is not None and len(separator) != 1:
        raise InvalidInput(f"--separator: expected one character, or one of {', '.join(SEPARATORS)}")
    header = None if options.header is None else options.header == "yes"
    return SheetOptions(separator, header, options.encoding or "utf-8")


def _tie_options(options: argparse.Namespace) -> csv_ties.TieOptions:
    columns = {name: getattr(options, name) for name in ("time", *_TIES)}
    return csv_ties.TieOptions(**columns, slot_s=options.slot, times=_times(options), sheet=_sheet(options))


def _roster_options(options: argparse.Namespace) -> roster.RosterOptions:
    given = {name: getattr(options, name) for name in ("time", *_ROSTER)}
    return roster.RosterOptions(**given, times=_times(options), sheet=_sheet(options))


# ------------------------------------------------------------------------------------------------ on the command line


def add_to(parser: argparse.ArgumentParser) -> None:
    """Every option that a reader looks at."""
    formats_ = ["auto", "jsonl", "csv", *known.LAYOUTS]
    parser.add_argument("--format", default="auto", choices=formats_, help="default: by how the file begins")
    parser.add_argument(
        "--source", metavar="/files/NAME", help="part of every event's identity: another one counts again"
    )
    parser.add_argument("--members", metavar="FILE.json", help="Slack: channel -> people")
    _add_sheet(parser.add_argument_group("CSV; columns are header names, or numbers from 1"))
    _add_ties(parser.add_argument_group("CSV of who met whom"))
    _add_roster(parser.add_argument_group("CSV of who belongs where"))


def _add_sheet(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--time", metavar="COLUMN")
    group.add_argument("--zone", metavar="ZONE", help="IANA zone of times that name none, such as Europe/Warsaw")
    group.add_argument("--time-format", choices=["iso", "s", "ms"], help="default: by the first row")
    group.add_argument("--origin", metavar="TIME", help="times are seconds since then, such as 2013-06-24")
    group.add_argument(
        "--separator", metavar="CHAR", help=f"one character, or {', '.join(SEPARATORS)}; default: found out"
    )
    group.add_argument("--header", choices=["yes", "no"], help="default: found out")
    group.add_argument("--encoding", metavar="NAME", help="default: utf-8")


def _add_ties(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--actor", metavar="COLUMN")
    group.add_argument("--target", metavar="COLUMN")
    group.add_argument("--medium", metavar="MEDIUM|COLUMN", help="message, email, meeting, ... or a column of these")
    group.add_argument("--duration", metavar="COLUMN", help="seconds")
    group.add_argument("--slot", type=_seconds, metavar="SECONDS", help="rows are contacts seen in slots: join them")


def _add_roster(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--roster", action="store_true", help="the file is a roster: person, team, role, manager, tz")
    for name in ("person", "team", "role", "manager", "tz"):
        group.add_argument(f"--{name}", metavar="COLUMN")
    group.add_argument("--as-of", metavar="TIME", help="since when, if no column says it")
    group.add_argument("--team-of-manager", action="store_true", help="the team is who reports to the same manager")


def _seconds(text: str) -> int:
    number = text.strip().removesuffix("s")
    if not number.isdigit() or not 1 <= int(number) <= _DAY_S:
        raise argparse.ArgumentTypeError("expected a number of seconds such as 20")
    return int(number)
