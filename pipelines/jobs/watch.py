"""One turn of the watch: close what died without a word, put right what Prefect left behind, tell people what is wrong.

It decides nothing about alerts (the rules do) and works with every store away, Prefect and PostgreSQL included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from alerts.model import Code, Facts, Problem
from pipelines.errors import OrganismError
from pipelines.jobs import prefect_view
from pipelines.jobs.facts import Machine, Sources, gather
from pipelines.jobs.flows import FLOWS, WATCH
from pipelines.jobs.prefect_view import OVER, View, is_silent
from pipelines.ports import Ledger, Orchestrator
from pipelines.runs import ENDED, ErrorKind, Mode, PrefectRun, Run, Status

_log = logging.getLogger(__name__)
#: Without a sign of life for so long a run is dead: sixteen of its beats. A turn every five minutes then finds it within
#: nine, which is inside two intervals, with a minute to spare for a turn that comes late.
SILENT = timedelta(minutes=4)
#: When turns were missed, the ledger was perhaps away and silence proves nothing: only what is older than a run may get dies.
SILENT_AFTER_A_GAP = max(flow.timeout for flow in FLOWS) + SILENT
_GAP = WATCH.every * 1.5
#: A run that was asked for may wait for the slot of the longest flow.
UNSTARTED = max(flow.timeout for flow in FLOWS) + timedelta(minutes=5)
#: Prefect's word that a run has ended counts once the run was silent for so long: a false alarm of its own is not copied.
FRESH = timedelta(seconds=60)
_LOOKED_BACK = timedelta(days=1)
_MOST = 500


class Dispatcher(Protocol):
    """What is needed of `alerts.dispatch.Dispatcher`."""

    def settle(self, problems: Sequence[Problem], now: datetime, *, unknown: Collection[Code] = ()) -> object: ...

    def deliver(self, now: datetime) -> object: ...


@dataclass(frozen=True)
class Judge:
    """The alert rules: what is wrong, and what nobody can say because it could not be asked."""

    problems: Callable[[Facts], Sequence[Problem]]
    unknown: Callable[[Facts], Collection[Code]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What was found and done. crashed: run ids that Prefect was told of; released: slots by limit.

    refused: sentences of what was decided and could not be done; the next turn tries again.
    """

    facts: Facts
    problems: tuple[Problem, ...] = ()
    reaped: tuple[Run, ...] = ()
    closed: int = 0
    crashed: tuple[str, ...] = ()
    released: Mapping[str, int] | None = None
    refused: tuple[str, ...] = ()

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
    view = prefect_view.look(sources.orchestrator, sources.pool, now) if sources.orchestrator else None
    hands = _Hands()
    rows, reaped, closed = _settle_ledger(sources, view, now, me, hands)
    crashed, released = _settle_prefect(sources, view, rows, now, me, hands)
    facts = gather(sources, machine, now, view)
    problems = tuple(judge.problems(facts))
    dispatcher.settle(problems, now, unknown=judge.unknown(facts))
    dispatcher.deliver(now)
    return Turn(facts, problems, reaped, closed, crashed, released, tuple(hands.refused))


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
    """Rows of the ledger by run id; silent: how long makes one dead, in this turn."""

    by_id: Mapping[str, Run]
    silent: timedelta


def _settle_ledger(
    sources: Sources, view: View | None, now: datetime, me: str, hands: _Hands
) -> tuple[_Rows | None, tuple[Run, ...], int]:
    """Rows are None when the ledger cannot be asked: then nothing is known of any run's process."""
    ledger = sources.ledger
    if ledger is None:
        return None, (), 0
    try:
        silent = SILENT if _was_watching(ledger, now, me) else SILENT_AFTER_A_GAP
        closed = _merge(ledger, sources.orchestrator, view, now, me, hands)
        reaped = tuple(ledger.reap(silent, UNSTARTED, now))
        return _Rows(_open_or_recent(ledger, now, view), silent), reaped, closed
    except OrganismError as error:  # the facts say so, too
        _log.warning("the ledger cannot be asked: %s", error)
        return None, (), 0


def _was_watching(ledger: Ledger, now: datetime, me: str) -> bool:
    """Whether the ledger took an account a turn ago, or the watch is new: then a run that lives would have given a sign."""
    before = [run for run in ledger.find(flow_name=WATCH.name, limit=5) if run.run_id != me]
    return not before or now - (before[0].completed_at or before[0].created_at) <= _GAP


def _open_or_recent(ledger: Ledger, now: datetime, view: View | None) -> dict[str, Run]:
    """With every row that a live run of Prefect has, however old."""
    rows = [*ledger.find(statuses=[Status.RUNNING], limit=_MOST), *ledger.find(since=now - _LOOKED_BACK, limit=_MOST)]
    found = {row.run_id: row for row in rows}
    for run in view.runs if view else ():
        if run.state_type in prefect_view.LIVE and run.run_id not in found and (row := ledger.get(run.run_id)):
            found[run.run_id] = row
    return found


def _merge(ledger: Ledger, api: Orchestrator | None, view: View | None, now: datetime, me: str, hands: _Hands) -> int:
    """What the server says, into its own column; and rows closed that the server knows to have ended. How many."""
    if api is None or view is None or view.words:
        return 0
    said = {run.run_id: run for run in view.runs}
    open_ = ledger.find(statuses=[Status.SCHEDULED, Status.RUNNING], limit=_MOST)
    recent = ledger.find(since=now - _LOOKED_BACK, limit=_MOST)
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


def _take_over(ledger: Ledger, row: Run, run: PrefectRun, now: datetime) -> bool:
    if run.state_name != row.prefect_state:
        ledger.note_prefect_state(row.run_id, run.state_name)
    lives = row.status is Status.RUNNING and not is_silent(row, FRESH, now)
    if row.status in ENDED or run.state_type not in OVER or lives:
        return False
    status, kind = _ending(run.state_type, begun=row.started_at is not None)
    words = None if status is Status.COMPLETED else f"Prefect says {run.state_name}; the run itself said nothing"
    return ledger.close(row.run_id, status, now, error=words, error_kind=kind)


def _ending(state_type: str, *, begun: bool) -> tuple[Status, ErrorKind | None]:
    if state_type == "COMPLETED":
        return Status.COMPLETED, None
    if state_type == "CANCELLED":  # before it began: by a limit, or by somebody who thought better of it
        return Status.CANCELLED, ErrorKind.INTERRUPTED if begun else ErrorKind.REFUSED
    return Status.FAILED, ErrorKind.CRASHED if state_type == "CRASHED" else ErrorKind.LOST


# ------------------------------------------------------------------------------------------------ what Prefect left behind


def _settle_prefect(
    sources: Sources, view: View | None, rows: _Rows | None, now: datetime, me: str, hands: _Hands
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Without the ledger nobody knows whose process is gone: only what never began, and slots without a run, are settled."""
    api = sources.orchestrator
    if api is None or view is None or view.words:
        return (), {}
    gone = {run.run_id: ("StuckPending", "a worker took it up and never began it") for run in prefect_view.stuck(view)}
    if rows is not None:
        dead = prefect_view.zombies(view, rows.by_id, rows.silent, now, me)
        gone |= {run.run_id: ("Zombie", "its process is gone: the run gave no sign of life") for run in dead}
    ended = [run_id for run_id, (name, words) in gone.items() if _end(api, run_id, name, words, rows, hands)]
    for run_id in ended if rows is not None else ():
        _note(sources.ledger, run_id, _asked(api, run_id, hands), hands)
    return tuple(ended), _release(api, prefect_view.leaked(view), hands)


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
