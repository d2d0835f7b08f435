"""The table of a campaign: on a terminal with lines and colours, elsewhere plain."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.chaos import points
from tests.chaos.campaign import Result
from tests.chaos.worker import INGEST

_MANY_ERRORS = 8


def show(result: Result, console: Console) -> None:
    order, found = result.order, result.findings
    table = Table("what", "how many", title=f"{order.pipeline} on {order.graph}, seed {order.seed}", box=_box(console))
    for what, count in _sent(result).items():
        table.add_row(what, f"{count:,}")
    for what, count in sorted(result.faults.items()):
        table.add_row(what, f"{count:,}")
    table.add_row("self-kill -9 at named points", f"{result.kills.total():,}")
    table.add_row("kills in all", f"{result.all_kills:,}")
    for what, words in _outcome(result).items():
        table.add_row(what, words)
    console.print(table)
    _kills(result, console)
    _errors(result, console)
    for surprise in Counter(result.surprises).items():
        console.print(f"NOT MEANT: {surprise[0]} ({surprise[1]} times)")
    words = "EXACT" if result.is_exact else f"WRONG {found.wrong or ''}".rstrip()
    console.print(f"RESULT {words}", style="bold green" if result.is_exact else "bold red", highlight=False)


def _sent(result: Result) -> dict[str, int]:
    return {
        "events": result.order.events,
        "  of them withdrawn": len(result.plan.retracted),
        "sent twice on purpose": result.plan.twice,
        "entries on the stream": result.entries,
        "poisonous entries": result.poison_entries,
        "ended runs": result.runs.total(),
    }


def _outcome(result: Result) -> dict[str, str]:
    found = result.findings
    return {
        "lost": f"{found.lost:,}",
        "double": f"{found.double:,}",
        "wrong ties": f"{found.wrong_ties:,}",
        "dead letters": f"{result.letters.total():,} of {result.poison_entries if _promises(result) else 0:,}",
        "innocent ones among them": f"{result.letters['POISON']:,}",
        "archive: missing, extra": f"{found.archive_missing:,}, {found.archive_extra:,}",
        "pending, unread, outbox": f"{found.pending:,}, {found.unread:,}, {found.outbox:,}",
        "late, loss alarm, drift": f"{found.late:,}, {found.alarm:,}, {found.drift:,}",
        "drained in": f"{result.drained_in:.1f} s",
        "duration": f"{result.seconds:.0f} s",
    }


def _promises(result: Result) -> bool:
    return result.order.pipeline == INGEST


def _kills(result: Result, console: Console) -> None:
    if not result.kills:
        return
    names = [*points.INGEST, *points.PRODUCER, *sorted(points.OCCASIONAL)] if _promises(result) else [*points.NAIVE]
    table = Table("self-kills at", "before", "after", box=_box(console))
    for call in dict.fromkeys(name.rpartition(" ")[0] for name in names):
        table.add_row(call, *(str(result.kills[f"{call} {when}"]) for when in (points.BEFORE, points.AFTER)))
    console.print(table)
    if _promises(result):
        hit = [result.kills[p] for p in (*points.INGEST, *points.PRODUCER)]
        console.print(
            f"{sum(n >= 1 for n in hit)} of {len(hit)} named points at least once,"
            f" {sum(n >= points.ENOUGH for n in hit)} at least {points.ENOUGH} times",
            highlight=False,
        )
    if result.order.thorough and result.missed:
        console.print(f"NOT REACHED, on a busy machine: {', '.join(result.missed)}", highlight=False)


def _errors(result: Result, console: Console) -> None:
    """What the workers met and survived: a permanent error among these, or one of an unknown kind, is worth a look."""
    for words, count in result.errors.most_common(_MANY_ERRORS):
        console.print(f"{count:5,} x {words[:110]}", highlight=False, style="dim")
    if result.runs and (odd := {w: n for w, n in result.runs.items() if not w.endswith("lost 0 reset 0")}):
        console.print(f"runs that reported something: {odd}", highlight=False)


def _box(console: Console):  # type: ignore[no-untyped-def]
    from rich import box

    return box.ROUNDED if console.is_terminal else None
