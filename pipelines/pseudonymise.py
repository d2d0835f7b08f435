"""`python -m pipelines.pseudonymise`: raw ids in, pseudonyms out, with the key that publish uses.

For producers who write events themselves, and to find the pseudonym of a person whom the key's owner may look up.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from typing import Any

from pipelines import command, settings, wiring
from pipelines.command import say
from pipelines.errors import InvalidInput
from pipelines.pseudonyms import Pseudonymiser
from pipelines.sources.csv_rows import SEPARATORS, Row, Sheet, SheetOptions, open_sheet
from pipelines.sources.unpacked import as_text, intact, unpacked


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    pseudonyms = Pseudonymiser(wiring.pseudonym_key(settings.load()), options.own_domain)
    with command.input_file(options.file) as file:
        if options.column:
            _columns(_sheet(file, options), options.column, pseudonyms)
        elif options.header or options.separator:
            raise InvalidInput("--header and --separator are for CSV: say with --column which columns hold people")
        else:
            for line in _lines(file, options.encoding, pseudonyms):
                print(line)
    return command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.pseudonymise",
        description="Write the pseudonym of each line, or CSV with the pseudonyms of some columns in their place.",
    )
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE|-", help="plain, .gz or .xz; default: standard input"
    )
    parser.add_argument(
        "--column", action="append", metavar="N|NAME", help="of a CSV file; repeatable. A name needs a header"
    )
    parser.add_argument("--header", action="store_true", help="the first line of the CSV file is a header")
    parser.add_argument(
        "--separator", metavar="CHAR", help=f"one character, or {', '.join(SEPARATORS)}; default: found out"
    )
    parser.add_argument("--encoding", default="utf-8", metavar="NAME")
    parser.add_argument(
        "--own-domain", action="append", default=[], metavar="DOMAIN", help="others are outside; repeatable"
    )
    return parser


def _lines(file: io.BufferedReader[Any], encoding: str, pseudonyms: Pseudonymiser) -> Iterator[str]:
    """A pseudonym for each line, and a blank line for a blank one, so that the two can be put side by side."""
    with intact():
        for number, line in enumerate(as_text(unpacked(file), encoding), start=1):
            if number == 1 and "," in line:
                say(
                    "warning: the first line looks like CSV; each whole line becomes one pseudonym (--column N|NAME for CSV)"
                )
            yield _pseudonym(line, number, pseudonyms) if line.strip() else ""


def _sheet(file: io.BufferedReader[Any], options: argparse.Namespace) -> Sheet:
    has_header = options.header or any(not column.isdigit() for column in options.column)
    separator = SEPARATORS.get(options.separator, options.separator)
    return open_sheet(file, SheetOptions(separator, has_header, options.encoding), lambda _: has_header)


def _columns(sheet: Sheet, names: list[str], pseudonyms: Pseudonymiser) -> None:
    wanted = {sheet.column(name, "--column") for name in names} if sheet.width else set()
    writer = csv.writer(sys.stdout, delimiter=sheet.separator, lineterminator="\n")
    if sheet.header:
        writer.writerow(sheet.header)
    for row in sheet.rows:
        if not isinstance(row, Row):
            raise InvalidInput(f"line {row.line} {row.words}; mend it and run again")
        cells = enumerate(row.cells)
        writer.writerow([_pseudonym(c, row.line, pseudonyms) if c and i in wanted else c for i, c in cells])


def _pseudonym(raw: str, line: int, pseudonyms: Pseudonymiser) -> str:
    try:
        return pseudonyms.of(raw)
    except ValueError:
        raise InvalidInput(
            f"line {line} has bytes that are not text; name the file's encoding with --encoding"
        ) from None


if __name__ == "__main__":
    raise SystemExit(command.run(main))
