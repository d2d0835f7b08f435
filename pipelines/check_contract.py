"""`python -m pipelines.check_contract FILE`: would these events be accepted? For producers; needs no servers."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from pipelines import command, settings
from pipelines.command import say
from pipelines.events import schema
from pipelines.jobs import contract
from pipelines.model import Code, Event, Refusal
from pipelines.sources import jsonl
from pipelines.sources.raw import Counts, Item, RawEvent

_SHOWN = 5


@dataclass
class Verdicts:
    """Lines by refusal code, with the words of the first one."""

    valid: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lines: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    words: dict[str, str] = field(default_factory=dict)

    def refuse(self, line: int, code: str, words: str) -> None:
        self.refused[code] += 1
        self.words.setdefault(code, words)
        if len(self.lines[code]) < _SHOWN:
            self.lines[code].append(line)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.check_contract",
        description="Check events in JSONL against the contract. Exit code 0 if all are valid, else 2.",
    )
    parser.add_argument("file", metavar="FILE|-", help="plain, .gz or .xz; - for standard input")
    options = parser.parse_args(argv)
    horizon = settings.load().horizon
    with command.input_file(options.file) as file:
        verdicts = judge(jsonl.read(file, Counts()), datetime.now(UTC), horizon)
    show(verdicts, horizon)
    return command.BAD_INPUT if verdicts.refused else command.GOOD


def judge(items: Iterable[Item], now: datetime, horizon: timedelta | None) -> Verdicts:
    """What the consumer would say at `now`. Events older than the horizon are valid, and counted as late besides."""
    verdicts, now_ms = Verdicts(), int(now.timestamp() * 1000)
    for item in items:
        if not isinstance(item, RawEvent):
            verdicts.refuse(item.line, Code.BAD_JSON, "longer than 1 MB")
            continue
        found = contract.verdict(item.payload)
        refusal = found if isinstance(found, Refusal) else schema.gate(found, now_ms, None)
        if refusal:
            verdicts.refuse(item.line, refusal.code, refusal.words)
            continue
        verdicts.valid += 1
        verdicts.late += isinstance(found, Event) and schema.gate(found, now_ms, horizon) is not None
    return verdicts


def show(verdicts: Verdicts, horizon: timedelta | None) -> None:
    table = Table("verdict", "lines", "first lines", "the first one", box=None, pad_edge=False)
    table.add_row("valid", f"{verdicts.valid:,}", "", "")
    for code, count in verdicts.refused.most_common():
        numbers = ", ".join(map(str, verdicts.lines[code]))
        table.add_row(code, f"{count:,}", numbers, verdicts.words[code])
    Console(highlight=False, soft_wrap=True, markup=False).print(table)
    if verdicts.late and horizon:
        say(
            f"{verdicts.late:,} valid events are older than the horizon ({horizon.days} days): they go to the late lane"
        )


if __name__ == "__main__":
    raise SystemExit(command.run(main))
