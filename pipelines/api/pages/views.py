"""What the pages say, worked out before it is drawn: pure, of what was asked of the stores. Templates only set it in type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.model import StoreFact
from alerts.rules.limits import Limits
from pipelines.api.pages import gantt
from pipelines.api.shapes import RunReport
from pipelines.jobs.flows import FULL
from pipelines.report import figures, run_words
from pipelines.report.standing import FlowStanding, Standing
from pipelines.runs import ENDED, ErrorKind, Run, Status

_LIMITS = Limits()
#: Seconds between two looks of a page that brings itself up to date. Pages with a form to fill in never do.
REFRESH_S = 30
#: Sign, word and class of the style sheet: never by colour alone.
MARKS = {
    Status.COMPLETED: ("✓", "completed", "good"),
    Status.FAILED: ("✗", "failed", "bad"),
    Status.CANCELLED: ("–", "cancelled", ""),
    Status.RUNNING: ("▸", "running", "live"),
    Status.SCHEDULED: ("·", "scheduled", ""),
}
STORES = {"redis": "Redis: stream and dead letters", "graph": "Graph", "postgres": "PostgreSQL: runs and proposals"}
_PAGES = (
    ("status", "/", "Status"),
    ("runs", "/runs", "Runs"),
    ("proposals", "/proposals", "Proposals"),
    ("letters", "/letters", "Dead letters"),
    ("switch", "/switch", "Switch"),
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. may: the names of the pages and forms that the role table grants them; csrf: of their session. shadow: no
    proposal can be approved here.
    """

    name: str
    roles: str
    may: frozenset[str]
    csrf: str = ""
    shadow: bool = False

    @property
    def warned(self) -> bool:
        """Before they decide, and not by a refusal."""
        return self.shadow and "proposals" in self.may

    @property
    def pages(self) -> list[tuple[str, str]]:
        return [(path, words) for name, path, words in _PAGES if name in self.may]


@dataclass(frozen=True, slots=True)
class Ask:
    """A confirm page: what will happen in sentences, how it is undone, and the form that does it. fields: hidden ones."""

    title: str
    happens: Sequence[str]
    undo: str
    action: str
    button: str
    back: str
    fields: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    reason: bool = True
    danger: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """How fresh something is. ago: seconds, None: never. goal: seconds that it may be old, None: nobody promised any."""

    name: str
    at: datetime | None
    ago: float | None
    goal: float | None
    late: bool = False

    @property
    def mark(self) -> tuple[str, str, str]:
        if self.at is None or self.ago is None:
            return "·", "never yet", "warn" if self.late else ""
        if self.goal is None:
            return "·", "no schedule", ""
        return ("!", "late", "warn") if self.late else ("✓", "on time", "good")


@dataclass(frozen=True, slots=True)
class Row:
    """A run in a list, with its bar."""

    run: Run
    mark: tuple[str, str, str]
    seconds: float | None
    pieces: tuple[gantt.Piece, ...]
    bar: str
    what: str


def clocks(its: Standing) -> list[Clock]:
    """What was applied last, then each flow's last good run."""
    now, applied = its.facts.now, its.facts.applied_at
    goal = _LIMITS.stale.total_seconds()
    first = Clock("interactions applied", applied, _since(applied, now), goal, late=its.is_stale)
    return [first, *map(_clock, its.flows)]


def _clock(flow: FlowStanding) -> Clock:
    at = flow.last_good.completed_at if flow.last_good else None
    return Clock(f"{flow.flow} completed", at, flow.ago, flow.goal, late=flow.is_late)


def _since(at: datetime | None, now: datetime) -> float | None:
    return max((now - at).total_seconds(), 0.0) if at else None


def waiting(its: Standing) -> list[tuple[str, str]]:
    """Number and words of what waits: entries, dead letters, proposals."""
    stream, proposals = its.facts.stream, its.proposals
    told: list[tuple[str, str]] = []
    if stream is not None:
        told.append((f"{stream.unread:,}", "entries not read yet (backlog)"))
        told.append((f"{stream.pending:,}", "entries in hand (pending)"))
        told.append((f"{stream.dead_letters:,}", "dead letter" if stream.dead_letters == 1 else "dead letters"))
    if its.behind:
        told.append((figures.duration(its.behind), "is how long the oldest entry waits"))
    if proposals is not None:
        count = proposals.get("pending_approval", 0)
        told.append((f"{count:,}", "proposal waits for a decision" if count == 1 else "proposals wait for a decision"))
    return told


def stores(its: Standing) -> list[tuple[StoreFact, str]]:
    """Each with what it is for; what there is none of here is not listed."""
    return [(store, STORES.get(store.name, store.name)) for store in its.facts.stores]


def headline(its: Standing) -> tuple[str, str]:
    """The state of everything in one sentence, and its class: wrong, not everything can be asked, new, or all is well."""
    away = [store.name for store in its.facts.stores if store.words]
    if its.incidents:
        return f"{figures.counted(len(its.incidents), 'open incident')}", "bad"
    if away:
        return f"{' and '.join(away)} cannot be asked; what depends on it is missing below", "bad"
    if not its.runs:
        return "Nothing has run yet.", ""
    late = [clock.name for clock in clocks(its) if clock.mark[2] == "warn"]
    if late:
        return f"No open incident, but late: {', '.join(late)}", "warn"
    promised = all(clock.goal for clock in clocks(its))
    return "No open incident; everything is on time." if promised else "No open incident.", "good"


def status(its: Standing, visitor: Visitor, *, shown: int = 20, still: bool = False) -> dict[str, Any]:
    """What the template of the first page is given."""
    runs, now = its.runs[:shown], its.facts.now
    return {
        "its": its,
        "visitor": visitor,
        "now": now,
        "here": "/",
        "halted": its.halted,
        "headline": headline(its),
        "waiting": waiting(its),
        "proposals": sorted((its.proposals or {}).items()),
        "clocks": clocks(its),
        "stores": stores(its),
        "rows": rows(runs, now),
        "more": bool(runs),
        "refresh": None if still else REFRESH_S,
        "refreshes": True,
    }


def list_of_runs(
    found: Sequence[Run],
    visitor: Visitor,
    now: datetime,
    *,
    flows: Sequence[str],
    flow: str = "",
    before: int | None = None,
    most: int = 200,
    starts: Sequence[str] = (),
) -> dict[str, Any]:
    """What the template of the list is given. found: one more than `most` where there are more. starts: flows that may be
    started from here.
    """
    return {
        "visitor": visitor,
        "now": now,
        "here": "/runs",
        "halted": None,
        "rows": rows(found[:most], now),
        "flows": flows,
        "starts": [name for name in starts if flow in ("", name)] if "start" in visitor.may else [],
        "flow": flow,
        "before": before,
        "older": found[most - 1].id if len(found) > most else None,
        "refresh": None,
        "refreshes": False,
    }


def run(
    its: Run, told: RunReport, visitor: Visitor, now: datetime, link: str | None, repetition: Run | None = None
) -> dict[str, Any]:
    """What the template of one run is given. link: of its page at Prefect; repetition: the open run that repeats it. An open
    run is looked at again by itself.
    """
    is_open = its.status not in ENDED
    return {
        "visitor": visitor,
        "now": now,
        "here": "/runs",
        "halted": None,
        "run": its,
        "mark": mark(its),
        "story": story(its, told),
        "repetition": repetition,
        "proposes": its.flow_name == FULL.name and its.status is Status.COMPLETED,
        "related": told.related,
        "steps": gantt.of_each(its, now),
        "facts_of_it": list(_facts(its)),
        "counted": counted,
        "link": link,
        "open": is_open,
        "failed": its.status in (Status.FAILED, Status.CANCELLED) and its.error_kind is not ErrorKind.REFUSED,
        "refresh": 10 if is_open else None,
        "refreshes": False,
    }


def _facts(its: Run) -> Iterator[tuple[str, str]]:
    """Of the ledger's row, what is there."""
    times = {"asked for": its.created_at, "planned for": its.scheduled_at, "began": its.started_at}
    times |= {"last sign of life": its.heartbeat_at, "ended": its.completed_at}
    yield "run id", its.run_id
    yield "way", its.mode.value
    yield from ((name, figures.minute(at)) for name, at in times.items() if at)
    told = {"Prefect says": its.prefect_state, "deployment": its.deployment_name, "belongs to": its.correlation_id}
    yield from ((name, words) for name, words in told.items() if words)
    yield from (
        (f"parameter {_plain(n)}", str(value)) for n, value in sorted(its.parameters.items()) if value is not None
    )
    yield from ((_plain(name), _number(value)) for name, value in numbers(its.result))


# ------------------------------------------------------------------------------------------------ before something is done


def cancelling(its: Run) -> Ask:
    return Ask(
        title=f"Cancel run {its.id} of {_plain(its.flow_name)}?",
        happens=("The run is told to end. What it has stored stays, and every step can be run again without harm.",),
        undo="A cancelled run can be run again from its page.",
        action=f"/runs/{its.id}/cancel",
        button="Cancel the run",
        back=f"/runs/{its.id}",
        danger=True,
    )


_STARTS = {
    "incremental": "The interactions that wait on the stream are read and applied to the graph. While another such run is at"
    " work, this one ends at once and says so.",
    "full": "Metrics are computed anew and the causal questions are asked again. Proposals may come of it, which wait for a"
    " decision by people. While another such run is at work, this one ends at once and says so.",
    "watch": "Everything is looked at, and people are told of what is wrong, as at every turn.",
    "verify": "The graph is counted again from the archive, and compared. Nothing is changed.",
    "health_monitoring": "Each service is asked how it is. Nothing is changed.",
}


def starting(flow: str, key: str) -> Ask:
    """A run besides those of the schedule. key: of this form, so that sending it twice starts one run."""
    return Ask(
        title=f"Start a run of {_plain(flow)}?",
        happens=(_STARTS[flow],),
        undo="The run can be cancelled from its page. Nothing is counted twice.",
        action=f"/flows/{flow}/start",
        button="Start it",
        back="/runs",
        fields=(("key", key),),
        reason=False,
    )


def retrying(its: Run, key: str) -> Ask:
    """key: of this form, so that sending it twice starts one run."""
    return Ask(
        title=f"Run {_plain(its.flow_name)} again?",
        happens=(
            f"A new run of {_plain(its.flow_name)} is started with the parameters of run {its.id}; where that is possible,"
            " it goes on from the step at which that one stopped.",
        ),
        undo="The new run can be cancelled from its page. Nothing is counted twice.",
        action=f"/runs/{its.id}/retry",
        button="Run it again",
        back=f"/runs/{its.id}",
        fields=(("key", key),),
        reason=False,
    )


def halting() -> Ask:
    return Ask(
        title="Halt everything?",
        happens=(
            "From now on nothing is proposed, approved or carried out. Interactions are still counted and analysed.",
        ),
        undo="Who may approve resumes it, with a reason, on this page.",
        action="/switch/halt",
        button="Halt now",
        back="/",
        danger=True,
    )


def resuming(halted: str) -> Ask:
    return Ask(
        title="Let it go on?",
        happens=(halted, "From now on proposals are made, approved and carried out again."),
        undo="It can be halted again at any time.",
        action="/switch/resume",
        button="Resume",
        back="/",
    )


def rows(runs: Sequence[Run], now: datetime) -> list[Row]:
    """Bars of one flow are to one scale: the longest of the list."""
    scales = gantt.scales(runs, now)
    return [
        Row(
            run=run,
            mark=mark(run),
            seconds=gantt.took(run, now) if run.started_at else None,
            pieces=gantt.pieces(run, now, scales[run.flow_name]),
            bar=gantt.in_words(run, now),
            what=run_words.in_short(run),
        )
        for run in runs
    ]


def mark(run: Run) -> tuple[str, str, str]:
    """What a rule refused, and what somebody asked for wrongly, is no failure of ours: in its own word, and not red."""
    word = run_words.outcome(run)
    return MARKS[run.status] if word == run.status.value else ("–", word, "")


def numbers(counts: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Those that are not zero."""
    for name, value in counts.items():
        if isinstance(value, int | float) and value:
            yield name, float(value)


def counted(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{_number(value)} {_plain(name)}" for name, value in numbers(counts))


def story(its: Run, told: RunReport) -> list[str]:
    """The run in sentences: how it was asked for, how it ended, what it did, and what to make of it."""
    did = run_words.in_short(its) if its.status is Status.COMPLETED and not told.withheld else ""
    sentences = (told.asked, told.ending, f"It told: {did}." if did else "", told.withheld or "", told.to_do or "")
    return [sentence for sentence in sentences if sentence]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else figures.amount(value)
