"""One turn of the watch: close what died without a word, put right what Prefect left behind, tell people what is wrong.

It decides nothing about alerts (the rules do) and works with every store away, Prefect and PostgreSQL included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from alerts.model import Code, Facts, PrefectFact, Problem, StreamFact
from pipelines.errors import OrganismError
from pipelines.jobs import prefect_view
from pipelines.jobs.facts import Machine, Sources, gather
from pipelines.jobs.flows import FLOWS
from pipelines.jobs.prefect_view import OVER, View, is_silent
from pipelines.ports import Ledger, Orchestrator
from pipelines.runs import ENDED, ErrorKind, Mode, PrefectRun, Run, Status

_log = logging.getLogger(__name__)
#: Without a sign of life for so long, sixteen of its beats, a run is dead, if the ledger heard somebody else meanwhile: the
#: turn before this one, at the latest. Turns every five minutes then find it within nine, and within eleven if it died just
#: before a turn and nothing else ran until the next.
SILENT = timedelta(minutes=4)
#: A run that was asked for may wait for the slot of the longest flow.
UNSTARTED = max(flow.timeout for flow in FLOWS) + timedelta(minutes=5)
#: Prefect's word that a run has ended counts once the run was silent for so long: a false alarm of its own is not copied.
FRESH = timedelta(seconds=60)
_LOOKED_BACK = timedelta(days=1)
_MOST = 500


class Dispatcher(Protocol):
    """What is needed of `alerts.dispatch.Dispatcher`."""

    def settle(
        self,
        problems: Sequence[Problem],
        now: datetime,
        *,
        unknown: Collection[Code],
        ending: Callable[[Problem], Problem],
    ) -> object: ...

    def deliver(self, now: datetime) -> object: ...


@dataclass(frozen=True)
class Judge:
    """The alert rules: what is wrong, what nobody can say because it could not be asked, why nobody hears of a problem,
    and how one is told that is over.
    """

    problems: Callable[[Facts], Sequence[Problem]]
    unknown: Callable[[Facts], Collection[Code]]
    hushed: Callable[[Problem], str | None] = lambda _: None
    ended: Callable[[Problem, Facts], Problem] = lambda problem, _: problem


@dataclass(frozen=True, slots=True)
class Turn:
    """What was found and done. crashed: run ids that Prefect was told of; released: slots by limit.

    refused: sentences of what was decided and could not be done; the next turn tries again. hushed: by their keys, why
    nobody is told of some of the problems.
    """

    facts: Facts
    problems: tuple[Problem, ...] = ()
    reaped: tuple[Run, ...] = ()
    closed: int = 0
    crashed: tuple[str, ...] = ()
    released: Mapping[str, int] | None = None
    refused: tuple[str, ...] = ()
    hushed: Mapping[str, str] = field(default_factory=dict)

    def numbers(self) -> dict[str, int]:
        return {
            "problems": len(self.problems),
            "reaped": len(self.reaped),
            "closed": self.closed,
            "crashed": len(self.crashed),
            "released": sum((self.released or {}).values()),
            "refused": len(self.refused),
        }


def turn(sources: Sources, judge: Judge, dispatcher: Dispatcher, machine: Machine, now: datetime, me: str = "") -> Turn:
    """me: the run id of this turn itself, which is alive. Raises only what the dispatcher raises."""
    view = _look(sources, now)
    hands = _Hands()
    rows, reaped, closed = _settle_ledger(sources, view, now, me, hands)
    crashed, released = _settle_prefect(sources, view, rows, me, hands)
    after = _look(sources, now) if crashed or released else view
    facts = gather(sources, machine, rows.now if rows else now, after)
    facts = replace(facts, prefect=_with_what_was_mended(facts.prefect, view, crashed, released))
    problems = tuple(judge.problems(facts))
    dispatcher.settle(problems, now, unknown=judge.unknown(facts), ending=lambda over: judge.ended(over, facts))
    _note_stream(
        sources.ledger, facts.stream, now, hands
    )  # only now: what was not settled is found again by the next turn
    dispatcher.deliver(now)
    hushed = {p.key: why for p in problems if (why := judge.hushed(p))}
    return Turn(facts, problems, reaped, closed, crashed, released, tuple(hands.refused), hushed)


def _look(sources: Sources, now: datetime) -> View | None:
    return prefect_view.look(sources.orchestrator, sources.pool, now) if sources.orchestrator else None


def _with_what_was_mended(
    prefect: PrefectFact | None, view: View | None, crashed: Collection[str], released: Mapping[str, int]
) -> PrefectFact | None:
    """People are told what there was, and that it is over; what is still there after the mend is told as it is."""
    if prefect is None or view is None:
        return prefect
    ended = tuple((r.name, r.flow_name, r.since) for r in prefect_view.stuck(view) if r.run_id in crashed)
    return replace(prefect, ended=ended, given_back=tuple(sorted(released)))


def _note_stream(ledger: Ledger | None, stream: StreamFact | None, now: datetime, hands: _Hands) -> None:
    if ledger is not None and stream is not None and stream.born:
        hands.do("what the stream lost", lambda: ledger.note_stream(stream.born, stream.lost_ever, now))


class _Hands:
    """Do one thing after another; what cannot be done is a sentence and stops nothing else."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def do(self, what: str, act: Callable[[], object]) -> bool:
        try:
            act()
        except OrganismError as error:
            self.refused.append(f"{what}: {error}")
            _log.warning("%s: %s", what, error)
            return False
        return True


# ------------------------------------------------------------------------------------------------ the ledger


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the ledger by run id. now: by its clock, which is that of all its times."""

    by_id: Mapping[str, Run]
    now: datetime


def _settle_ledger(
    sources: Sources, view: View | None, now: datetime, me: str, hands: _Hands
) -> tuple[_Rows | None, tuple[Run, ...], int]:
    """Rows are None when the ledger cannot be asked: then nothing is known of any run's process."""
    ledger = sources.ledger
    if ledger is None:
        return None, (), 0
    try:
        its = ledger.clock(now)
        closed = _merge(ledger, sources.orchestrator, view, _Times(now, its), me, hands)
        reaped = tuple(ledger.reap(SILENT, UNSTARTED, now))
        return _Rows(_open_or_recent(ledger, its, view), its), reaped, closed
    except OrganismError as error:  # the facts say so, too
        _log.warning("the ledger cannot be asked: %s", error)
        return None, (), 0


@dataclass(frozen=True, slots=True)
class _Times:
    """One moment by two clocks: of this machine, which is what the ledger wants to be told, and of the ledger."""

    here: datetime
    ledger: datetime


def _open_or_recent(ledger: Ledger, its: datetime, view: View | None) -> dict[str, Run]:
    """With every row that a live run of Prefect has, however old."""
    rows = [*ledger.find(statuses=[Status.RUNNING], limit=_MOST), *ledger.find(since=its - _LOOKED_BACK, limit=_MOST)]
    found = {row.run_id: row for row in rows}
    for run in view.runs if view else ():
        if run.state_type in prefect_view.LIVE and run.run_id not in found and (row := ledger.get(run.run_id)):
            found[run.run_id] = row
    return found


def _merge(ledger: Ledger, api: Orchestrator | None, view: View | None, now: _Times, me: str, hands: _Hands) -> int:
    """What the server says, into its own column; and rows closed that the server knows to have ended. How many."""
    if api is None or view is None or view.words:
        return 0
    said = {run.run_id: run for run in view.runs}
    open_ = ledger.find(statuses=[Status.SCHEDULED, Status.RUNNING], limit=_MOST)
    recent = ledger.find(since=now.ledger - _LOOKED_BACK, limit=_MOST)
    closed = 0
    for row in _distinct([*open_, *recent], me):
        run = said.get(row.run_id) or (_asked(api, row.run_id, hands) if row.status not in ENDED else None)
        if run is not None:
            closed += _take_over(ledger, row, run, now)
    return closed


def _distinct(rows: Iterable[Run], me: str) -> Iterable[Run]:
    return {r.run_id: r for r in rows if r.mode is Mode.PREFECT and r.run_id != me}.values()


def _asked(api: Orchestrator, run_id: str, hands: _Hands) -> PrefectRun | None:
    found: list[PrefectRun | None] = []
    hands.do(f"run {run_id} was not looked up", lambda: found.append(api.run(run_id)))
    return found[0] if found else None


def _take_over(ledger: Ledger, row: Run, run: PrefectRun, now: _Times) -> bool:
    if run.state_name != row.prefect_state:
        ledger.note_prefect_state(row.run_id, run.state_name)
    lives = row.status is Status.RUNNING and not is_silent(row, FRESH, now.ledger)
    if row.status in ENDED or run.state_type not in OVER or lives:
        return False
    status, kind = _ending(run.state_type, begun=row.started_at is not None)
    words = None if status is Status.COMPLETED else f"Prefect says {run.state_name}; the run itself said nothing"
    return ledger.close(row.run_id, status, now.here, error=words, error_kind=kind)


def _ending(state_type: str, *, begun: bool) -> tuple[Status, ErrorKind | None]:
    if state_type == "COMPLETED":
        return Status.COMPLETED, None
    if state_type == "CANCELLED":  # before it began: by a limit, or by somebody who thought better of it
        return Status.CANCELLED, ErrorKind.INTERRUPTED if begun else ErrorKind.REFUSED
    return Status.FAILED, ErrorKind.CRASHED if state_type == "CRASHED" else ErrorKind.LOST


# ------------------------------------------------------------------------------------------------ what Prefect left behind


def _settle_prefect(
    sources: Sources, view: View | None, rows: _Rows | None, me: str, hands: _Hands
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Without the ledger nobody knows whose process is gone: only what never began, and slots without a run, are settled."""
    api = sources.orchestrator
    if api is None or view is None or view.words:
        return (), {}
    gone = {run.run_id: ("StuckPending", "a worker took it up and never began it") for run in prefect_view.stuck(view)}
    if rows is not None:
        dead = prefect_view.zombies(view, rows.by_id, SILENT, rows.now, me)
        gone |= {run.run_id: ("Zombie", "its process is gone: the run gave no sign of life") for run in dead}
    ended = [run_id for run_id, (name, words) in gone.items() if _end(api, run_id, name, words, rows, hands)]
    for run_id in ended if rows is not None else ():
        _note(sources.ledger, run_id, _asked(api, run_id, hands), hands)
    return tuple(ended), _release(api, _leaked(sources, view), hands)


def _leaked(sources: Sources, view: View) -> Mapping[str, int]:
    """What two looks find: in one alone, a run that ends just then seems to leave its slot to nobody."""
    found = prefect_view.leaked(view)
    again = _look(sources, view.clock) if found else None
    return prefect_view.still_leaked(found, again) if again else {}


def _note(ledger: Ledger | None, run_id: str, run: PrefectRun | None, hands: _Hands) -> None:
    if ledger is not None and run is not None:
        hands.do(f"run {run_id}", lambda: ledger.note_prefect_state(run_id, run.state_name))


def _end(api: Orchestrator, run_id: str, name: str, words: str, rows: _Rows | None, hands: _Hands) -> bool:
    """A run that said that it completed and could not tell the server is completed; every other is a crash."""
    row = rows.by_id.get(run_id) if rows else None
    if row is not None and row.status is Status.COMPLETED:
        return hands.do(f"run {run_id}", lambda: api.set_state(run_id, "COMPLETED", "Completed", "as the ledger says"))
    return hands.do(f"run {run_id}", lambda: api.set_state(run_id, "CRASHED", name, words))


def _release(api: Orchestrator, leaked: Mapping[str, int], hands: _Hands) -> dict[str, int]:
    done = {}
    for limit, slots in leaked.items():
        if hands.do(f"slots of {limit}", lambda limit=limit, slots=slots: api.release(limit, slots)):  # type: ignore[misc]
            done[limit] = slots
            _log.warning("%d slot(s) of %s were held by no run and are given back", slots, limit)
    return done
