"""A run as people read it: its figures beside those of its flow, and its story with how it ended and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

from pipelines.api import shapes
from pipelines.api.desk import Desk
from pipelines.api.shapes import FlowFigures, Related, RunDetailed, RunMetrics, RunReport
from pipelines.jobs import on_demand
from pipelines.jobs.flows import BY_NAME
from pipelines.ports import Ledger
from pipelines.privacy.traces import guard, mask
from pipelines.report import figures, gantt_svg, run_words
from pipelines.report import page as pages
from pipelines.report.markup import Markup, joined, tag
from pipelines.report.story import StepTold
from pipelines.report.style import CSS
from pipelines.runs import ErrorKind, Run, Status

_DAYS = 30
_LOOKED_AT = 50
#: How a run ended, and what somebody can do about it. {again} is the command that runs its flow by hand.
_TO_DO: dict[ErrorKind, str] = {
    ErrorKind.TRANSIENT: "A store was away for longer than all attempts. The next run goes on; to have it now, repeat it.",
    ErrorKind.PERMANENT: "Mend what the sentence names; trying again as it is changes nothing.",
    ErrorKind.INPUT: "Start it again with what it asks for.",
    ErrorKind.REFUSED: "Nothing: a rule said no, and nobody was alerted.",
    ErrorKind.TIMEOUT: "It took longer than its flow may. Look at the slowest step, then repeat it.",
    ErrorKind.INTERRUPTED: "Repeat it if it is still wanted.",
    ErrorKind.DEFECT: "A defect of the program: its log has the place. Repeating it will hardly help.",
    ErrorKind.CRASHED: "Its process is gone: killed, or its machine went away. What it stored stays; repeat it.",
    ErrorKind.NEVER_STARTED: "See that a worker runs (GET /workflows/health), then repeat it.",
    ErrorKind.LOST: "Nobody heard of it any more. Look at its machine, then repeat it.",
}


def detailed(desk: Desk, run: Run) -> RunDetailed:
    asked = desk.postgres().requests.of(run.run_id)
    run = on_demand.as_fit(run, desk.config.min_group_size)  # a cancellation has it from the ledger
    return shapes.run_detailed(run, asked.retry_of if asked else None)


# ------------------------------------------------------------------------------------------------ figures


def metrics(ledger: Ledger, run: Run, now: datetime) -> RunMetrics:
    peaks = [step.peak_bytes for step in run.steps if step.peak_bytes is not None]
    return RunMetrics.model_construct(
        workflow_id=run.id,
        run_id=run.run_id,
        status=run.status,
        duration_seconds=run.duration_seconds,
        attempts=run.attempts,
        retries=sum(step.attempts - 1 for step in run.steps),
        cpu_seconds=sum(step.cpu_seconds for step in run.steps),
        peak_bytes=max(peaks, default=None),
        steps=[shapes.step_shown(step) for step in run.steps],
        flow=of_flow(ledger, run.flow_name, now),
    )


def of_flow(ledger: Ledger, flow: str, now: datetime) -> FlowFigures:
    """The last 30 days of a flow; a flow that did not run has no rates."""
    at = ledger.clock(now)
    found = next((f for f in ledger.figures(at - timedelta(days=_DAYS), at) if f.flow_name == flow), None)
    return FlowFigures.model_construct(
        flow_type=flow,
        days=_DAYS,
        runs=found.runs if found else 0,
        success_rate=found.success_rate if found else None,
        retry_rate=found.retry_rate if found else None,
        median_seconds=found.quantile(0.5) if found else None,
        p95_seconds=found.quantile(0.95) if found else None,
        slowest_seconds=found.quantile(1) if found else None,
    )


# ------------------------------------------------------------------------------------------------ the story


def report(desk: Desk, run: Run, words: Sequence[str] = ()) -> RunReport:
    """From the ledger and the request alone: how it was asked for, its steps, how it ended. No number about people.

    words: what it says to those who may hear it.
    """
    request = desk.postgres().requests.of(run.run_id)
    by = shapes.told(request.asked_by) if request else None
    return RunReport.model_construct(
        run_id=run.run_id,
        workflow_id=run.id,
        title=f"{run.flow_name}, run {run.id}: {run.status.value}",
        asked=_asked(run, by),
        ending=_ending(run),
        to_do=_to_do(run),
        run=shapes.run_detailed(run, request.retry_of if request else None),
        numbers={name: float(n) for name, n in run.result.items() if isinstance(n, int | float)},
        words=shapes.told(list(words)),
        withheld=run_words.withheld(run),
        related=[_related(*each) for each in related(desk.ledger, run, request.retry_of if request else None)],
    )


def _asked(run: Run, by: str | None) -> str:
    who = f"Asked for by {by}" if by else "By its schedule" if run.scheduled_at else "By hand or by a timer"
    how = "as a Prefect flow" if run.mode.value == "prefect" else "in direct mode"
    given = ", ".join(f"{name} = {value}" for name, value in shapes.told(run.parameters).items() if value is not None)
    return f"{who} at {figures.minute(run.created_at)}, {how}" + (f"; with {given}." if given else ".")


def _ending(run: Run) -> str:
    if run.status is Status.SCHEDULED:
        return "It has not begun yet."
    if run.status is Status.RUNNING:
        step = next((s.name for s in reversed(run.steps) if s.status is Status.RUNNING), None)
        return f"It is at work{f', at {step}' if step else ''}."
    took = f" after {figures.duration(run.duration_seconds)}" if run.duration_seconds is not None else ""
    why = f": {shapes.told(run.error)}" if run.error else ""
    verb = "was refused" if run_words.outcome(run) == "refused" else _VERB[run.status]
    return f"It {verb}{took}{why}" + ("" if why.endswith((".", "?", "!")) else ".")


_VERB = {Status.COMPLETED: "completed", Status.FAILED: "failed", Status.CANCELLED: "was cancelled"}


def _to_do(run: Run) -> str | None:
    if run.status not in (Status.FAILED, Status.CANCELLED) or run.error_kind is None:
        return None
    again = BY_NAME[run.flow_name].again if run.flow_name in BY_NAME else None
    if again and run.flow_name in BY_NAME and BY_NAME[run.flow_name].resumes and run.correlation_id:
        again += f" --resume {run.correlation_id}"
    return _TO_DO[run.error_kind] + (f" By hand: {again}" if again and run.error_kind is not ErrorKind.REFUSED else "")


def related(ledger: Ledger, run: Run, retry_of: str | None) -> Iterator[tuple[Run, str]]:
    """Runs that belong to this one, each with why; the newest first."""
    near = ledger.find(flow_name=run.flow_name, limit=_LOOKED_AT, before_id=run.id + _LOOKED_AT)
    same = ((r, "the same window") for r in near if run.correlation_id and r.correlation_id == run.correlation_id)
    before = ledger.get(retry_of) if retry_of else None
    repeated = [(before, "repeated by this one")] if before else []
    seen = {run.id}
    for other, why in chain(repeated, same):
        if other.id not in seen:
            seen.add(other.id)
            yield other, why


def _related(run: Run, why: str) -> Related:
    endpoint = f"/workflows/flows/{run.run_id}/status"
    return Related(workflow_id=run.id, run_id=run.run_id, status=run.status, why=why, status_endpoint=endpoint)


def page(told: RunReport, run: Run, now: datetime, forbidden: Iterable[str]) -> str:
    """The story as a page that needs nothing else.

    Raises:
        Refused: LEAK, as `privacy.traces.guard`.
    """
    forbidden = tuple(forbidden)
    asked, ending = (mask(words, forbidden) for words in (told.asked, told.ending))
    parts: list[Markup] = [tag("h1", told.title, id="title"), tag("p", asked), tag("p", ending)]
    if told.to_do:
        parts.append(tag("p", tag("b", "What to do: "), told.to_do))
    if told.words:
        parts += [tag("h2", "What it says"), *(tag("p", line) for line in told.words)]
    if told.withheld:
        parts.append(tag("p", told.withheld))
    if told.numbers:
        parts += [
            tag("h2", "Numbers"),
            pages.facts((f"{n:,.6g}", name.replace("_", " ")) for name, n in told.numbers.items()),
        ]
    parts += _steps(run)
    if told.related:
        rows = [(str(r.workflow_id), r.why, r.status.value) for r in told.related]
        parts += [tag("h2", "Runs that belong to it"), pages.table("", ("run", "why", "status"), rows, 3)]
    return guard(pages.document(told.title, now, CSS, tag("main", *parts)), forbidden)


def _steps(run: Run) -> Sequence[Markup]:
    if not run.steps:
        return ()
    drawn = [StepTold(s.name, s.started_at, s.seconds, s.peak_bytes, _outcome(s.status)) for s in run.steps]
    rows = [
        (
            s.name,
            s.status.value,
            str(s.attempts),
            f"{s.seconds:.2f}",
            f"{s.cpu_seconds:.2f}",
            gantt_svg.memory(s.peak_bytes),
        )
        for s in run.steps
    ]
    heads = ("step", "how it ended", "attempts", "seconds", "processor s", "memory")
    picture = joined(gantt_svg.draw(drawn, "steps"))
    return tag("h2", "Steps", id="steps"), tag("figure", picture), pages.table("Each step", heads, rows, 2)


def _outcome(status: Status) -> str:
    return "done" if status is Status.COMPLETED else status.value
