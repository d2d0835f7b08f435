"""`python -m pipelines.publish FILE`: a file of who met whom, in many forms, as pseudonymous events onto the stream.

Raw ids end in this process: only pseudonyms reach the outbox and the stream. Safe to repeat with the same file.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table

from pipelines import command, settings, wiring
from pipelines.command import say
from pipelines.errors import InvalidInput, OrganismError, PermanentError
from pipelines.events import schema
from pipelines.jobs.backfill import backfill
from pipelines.jobs.convert import Conversion, Tally
from pipelines.jobs.publish import Published, publish
from pipelines.model import Funnel
from pipelines.pseudonyms import Pseudonymiser
from pipelines.report.progress import counting
from pipelines.settings import Settings
from pipelines.sources import options as reader_options
from pipelines.sources.layouts import known
from pipelines.sources.layouts.layout import Aids
from pipelines.sources.raw import Counts, Item, Unreadable


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    servers = wiring.which(config) if options.backfill else wiring.which(config).split(", ")[0]
    say(f"publish: {'dry run, no servers' if options.dry_run else servers}")
    with command.input_file(options.file) as file:
        feed = Feed.of(file, options, config)
        with closing(feed.rejects):
            if options.dry_run:
                _try_out(feed)
            elif options.backfill:
                _backfill(feed, config)
            else:
                _send(feed, config)
    _show(feed, options)
    return command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.publish",
        description="Publish a file of who met whom as pseudonymous events; safe to repeat.",
        epilog="Exit codes: 0 good, 1 a store is down, 2 bad input or usage, 3 refused. See docs/getting-data-in.md.",
    )
    parser.add_argument("file", metavar="FILE|-", help="plain, .gz or .xz; - for standard input")
    parser.add_argument(
        "--own-domain", action="append", default=[], metavar="DOMAIN", help="others are outside; repeatable"
    )
    parser.add_argument("--dry-run", action="store_true", help="read and count everything, send nothing")
    parser.add_argument(
        "--backfill", action="store_true", help="old history: into the graph at once, not through the stream"
    )
    parser.add_argument("--keep-going", action="store_true", help="leave out rows that cannot become events")
    parser.add_argument(
        "--rejects", metavar="FILE", help="where --keep-going lists them (default: in the state directory)"
    )
    parser.add_argument("--json", action="store_true", help="the report as one JSON object on standard output")
    reader_options.add_to(parser)
    return parser


# ------------------------------------------------------------------------------------------------ reading


@dataclass
class Feed:
    """A file on its way: its records, what becomes of them, and what is counted meanwhile."""

    name: str
    items: Iterable[Item]
    counts: Counts
    conversion: Conversion
    rejects: Rejects
    applied: Funnel | None = None
    published: Published = field(default_factory=Published)

    @classmethod
    def of(cls, file: io.BufferedReader, options: argparse.Namespace, config: Settings) -> Feed:
        name = "stdin" if options.file == "-" else Path(options.file).name
        counts, now = Counts(), datetime.now(UTC)
        items = reader_options.chosen(file, options, _aids(options.members))(file, counts)
        rejects = Rejects(name, options.keep_going, _rejects_path(options.rejects, name, now, config))
        pseudonyms = Pseudonymiser(wiring.pseudonym_key(config), options.own_domain)
        conversion = Conversion(_source(options.source, name), pseudonyms, now, config.horizon, rejects.take)
        return cls(name, items, counts, conversion, rejects)

    @property
    def tally(self) -> Tally:
        return self.conversion.tally

    def events(self) -> Iterator[bytes]:
        """The events.

        Raises:
            InvalidInput: a record that cannot become one, unless these are to be left out.
        """
        return self.conversion.events(self.items)


def _source(given: str | None, name: str) -> str:
    source = given or "/files/" + re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    try:
        return msgspec.convert(source, schema.Source)
    except msgspec.ValidationError:
        raise InvalidInput("--source: expected a URI reference without @, such as /mail/eu1") from None


def _rejects_path(given: str | None, name: str, now: datetime, config: Settings) -> Path:
    return Path(given) if given else wiring.state_dir(config) / "rejects" / f"{name}.{now:%Y%m%dT%H%M%SZ}.csv"


def _aids(members: str | None) -> Aids:
    if members is None:
        return Aids()
    with command.input_file(members) as file:
        return Aids(known.read_members(file))


@dataclass
class Rejects:
    """Where records go that cannot become events: into a private file, or nowhere, because they stop the run."""

    name: str
    keep_going: bool
    path: Path
    _file: TextIO | None = field(default=None, repr=False)

    def take(self, item: Unreadable) -> None:
        if not self.keep_going:
            words = "mend the file, or leave such rows out with --keep-going"
            raise InvalidInput(f"{self.name} line {item.line}: {item.words}; {words}")
        if self._file is None:
            self._file = self._open()
        csv.writer(self._file).writerow([item.line, item.words])

    def _open(self) -> TextIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = open(self.path, "w", encoding="utf-8", newline="", opener=_private)  # noqa: SIM115  # see close
        except OSError as error:
            raise PermanentError(f"cannot write {self.path} ({error.strerror}); name another file: --rejects") from None
        csv.writer(file).writerow(["line", "reason"])
        return file

    @property
    def written(self) -> bool:
        return self._file is not None

    def close(self) -> None:
        if self._file:
            self._file.close()


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)  # it may have been there
    return descriptor


# ------------------------------------------------------------------------------------------------ sending


def _try_out(feed: Feed) -> None:
    for _ in feed.events():
        pass


def _send(feed: Feed, config: Settings) -> None:
    with wiring.producer(config) as (stream, outbox), counting("publishing") as show:
        try:
            publish(stream, outbox, feed.events(), cap=config.stream_cap, watch=partial(_note, feed, show))
        except InvalidInput as error:
            sent = feed.published.sent
            again = f"{sent:,} events were sent before it; to send them again after the mend is safe"
            raise InvalidInput(f"{error}. {again if sent else 'No event was sent'}") from None
        except (OrganismError, KeyboardInterrupt):
            say(f"{feed.published.sent:,} events were sent, {outbox.count():,} wait in the outbox for the next publish")
            raise


def _note(feed: Feed, show: Callable[[int], None], published: Published) -> None:
    feed.published = published
    show(published.sent)


def _backfill(feed: Feed, config: Settings) -> None:
    """Old history straight into the graph: the whole file is one frozen package, so it is read to its end first."""
    payloads = list(feed.events())
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores, counting("into the graph") as show:
        feed.applied = backfill(stores, payloads, datetime.now(UTC), wiring.archive_keeps(config), show)


# ------------------------------------------------------------------------------------------------ telling


def _show(feed: Feed, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(as_dict(feed)))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        for name, value in _rows(feed, dry=options.dry_run):
            table.add_row(name, f"{value:,}" if isinstance(value, int) else value)
        Console(highlight=False, soft_wrap=True, markup=False).print(table)
    for sentence in _remarks(feed, dry=options.dry_run):
        say(sentence)


def as_dict(feed: Feed) -> dict[str, Any]:
    """The report for machines; times in RFC 3339."""
    tally, counts = feed.tally, feed.counts
    return {
        "file": feed.name,
        "source": feed.conversion.source,
        "rows": counts.rows,
        "events": tally.events,
        "sent": feed.published.sent,
        "resumed": feed.published.resumed,
        "applied": feed.applied and feed.applied.applied,
        "left": feed.applied and dict(feed.applied.codes),
        "duplicate_rows": counts.duplicates,
        "self_loops": counts.self_loops,
        "people": len(tally.people),
        "skipped": dict(tally.skipped),
        "rejected": dict(tally.rejected),
        "late": tally.late,
        "future": tally.future,
        "crowded": tally.crowded,
        "first": tally.first and tally.first.isoformat(),
        "last": tally.last and tally.last.isoformat(),
    }


def _rows(feed: Feed, *, dry: bool) -> Iterator[tuple[str, int | str]]:
    tally, counts = feed.tally, feed.counts
    yield "rows", counts.rows
    if dry:
        yield "events (not sent)", tally.events
    elif feed.applied:
        yield "events", tally.events
        yield "applied to the graph", feed.applied.applied
        yield "counted before", feed.applied.duplicates
        for code, count in feed.applied.codes.items():
            yield f"left: {code}", count
    else:
        yield "events sent", feed.published.sent
        yield "already waiting in the outbox", feed.published.resumed
    yield "exact duplicate rows", counts.duplicates
    yield "self-loops", counts.self_loops
    yield "people", len(tally.people)
    for reason, count in tally.skipped.most_common():
        yield f"skipped: {reason}", count
    for reason, count in tally.rejected.most_common():
        yield f"rejected: {reason}", count
    if tally.first and tally.last:
        yield "first event", f"{tally.first:%Y-%m-%d %H:%M:%S} UTC"
        yield "last event", f"{tally.last:%Y-%m-%d %H:%M:%S} UTC"


def _remarks(feed: Feed, *, dry: bool) -> Iterator[str]:
    """What a person should know besides the numbers."""
    tally, counts, horizon = feed.tally, feed.counts, feed.conversion.horizon
    if not counts.rows:
        yield "the file is empty: nothing was read"
    if feed.published.sent:
        yield "events that were sent before are not counted again; `python -m pipelines.incremental` brings the new ones in"
    if tally.late and horizon and not feed.applied:
        yield (
            f"{tally.late:,} events are older than the horizon ({horizon.days} days) and will go to the late lane,"
            " where nothing counts them: set ORGANISM_HORIZON=forever before the next `python -m pipelines.incremental`"
            " (old datasets, small organisations), or use --backfill"
        )
    if tally.future:
        yield f"{tally.future:,} events are in the future; the consumer will refuse them (FROM_FUTURE)"
    if tally.crowded:
        yield f"{tally.crowded:,} events have more than 200 targets; the consumer will refuse these"
    if counts.ambiguous or counts.shifted:
        yield (
            f"clocks were changed: {counts.ambiguous:,} rows have a local time that came twice (the first was taken),"
            f" {counts.shifted:,} one that never was (moved forward)"
        )
    if counts.in_memory:
        yield "the file is not sorted by time, so all of it was held in memory"
    if feed.rejects.written:
        yield f"{tally.rejected.total():,} rows were left out; line numbers and reasons are in {feed.rejects.path}"
    if dry:
        yield "dry run: nothing was sent"


if __name__ == "__main__":
    raise SystemExit(command.run(main))
