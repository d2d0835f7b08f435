"""How things stand, on a terminal of 80 columns: what is wrong first, then how fresh it is, the runs, and what waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.report import figures, run_words
from pipelines.report.standing import Standing
from pipelines.runs import Run, Status

_SIGNS = {
    Status.COMPLETED: ("✓", "green"),
    Status.FAILED: ("✗", "red"),
    Status.CANCELLED: ("–", "dim"),
    Status.RUNNING: ("▸", "cyan"),
    Status.SCHEDULED: ("·", "dim"),
}
_RUNS, _LABEL = 8, 10


def show(its: Standing, console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    head, *lines = _lines(its)
    console.print(head)
    console.print(_wrapped(lines))
    console.print(_flows(its))
    if its.runs:
        console.print(_runs(its.runs[:_RUNS], its.facts.now))


def _lines(its: Standing) -> Iterator[Text]:
    yield Text(f"status · {figures.minute(its.facts.now)}", style="bold")
    for incident in its.incidents:
        problem = incident.problem
        since = figures.duration((its.facts.now - incident.opened_at).total_seconds())
        yield _row("wrong", f"{problem.what} [{problem.code.value}, for {since}]", "bold red")
        if problem.fix:
            yield _row("", problem.fix, "red")
    if not its.incidents:
        yield _row("wrong", "no open incident", "green")
    for store in its.facts.stores:
        if store.words:
            yield _row(store.name, store.words, "red")
    yield _row("fresh", _freshness(its), "")
    if its.behind:
        yield _row("", f"the oldest entry waits for {figures.duration(its.behind)}", "")
    yield _row("waiting", _waiting(its), "yellow" if its.proposals and its.proposals.get("pending_approval") else "")
    if its.halted:
        yield _row("halted", its.halted, "bold yellow")


def _wrapped(lines: Sequence[Text]) -> Table:
    """Label and words, so that a long sentence goes on below itself."""
    table = Table.grid(padding=0)
    table.add_column(no_wrap=True, min_width=_LABEL)
    table.add_column()
    for line in lines:
        label, words = line.divide([_LABEL])
        table.add_row(label, words)
    return table


def _freshness(its: Standing) -> str:
    applied, stream = its.facts.applied_at, its.facts.stream
    parts = [f"last applied {_ago(applied, its.facts.now)}"]
    if stream is not None:
        parts.append(f"backlog {stream.unread:,} + {stream.pending:,} in hand")
        parts.append(figures.counted(stream.dead_letters, "dead letter"))
    return " · ".join(parts)


def _waiting(its: Standing) -> str:
    if its.proposals is None:
        return "proposals not asked: PostgreSQL is away"
    told = [f"{count} {state.replace('_', ' ')}" for state, count in sorted(its.proposals.items()) if count]
    return ("proposals: " + ", ".join(told)) if told else "no open proposal"


def _ago(time: datetime | None, now: datetime) -> str:
    return f"{figures.duration(max(0.0, (now - time).total_seconds()))} ago" if time else "never"


def _flows(its: Standing) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in (("flow", "left"), ("last good", "right"), ("takes", "right"), ("goal", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("success", "retries", "next"):
        table.add_column(name, justify="right")
    for flow in its.flows:
        table.add_row(
            flow.flow,
            Text(_last_good(flow.ago), style="yellow" if flow.is_late else ""),
            figures.duration(flow.typical) if flow.typical is not None else "",
            f"< {figures.duration(flow.slow)}",
            _rate(flow.success_rate),
            _rate(flow.retry_rate),
            f"{flow.next_start:%H:%M} UTC" if flow.next_start else "",
        )
    return table


def _last_good(ago: float | None) -> str:
    return f"{figures.duration(ago)} ago" if ago is not None else "never"


def _rate(rate: float | None) -> str:
    return figures.share(rate, 1.0) if rate is not None else ""


def _runs(runs: Sequence[Run], now: datetime) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "last runs", "began", "took", "by"):
        table.add_column(name, no_wrap=True)
    table.add_column("what")  # goes on below itself where it is long: nobody can mend what he cannot read
    for run in runs:
        sign, style = _SIGNS[run.status] if run_words.outcome(run) == run.status.value else ("–", "dim")
        took = figures.duration(run.duration_seconds) if run.duration_seconds is not None else ""
        table.add_row(
            Text(sign, style=style),
            run.flow_name,
            _ago(run.started_at, now),
            took,
            run.mode.value,
            Text(run_words.in_short(run), style=style if style == "red" else ""),
        )
    return table


def _row(label: str, words: str, style: str) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "dim"), (words, style))
