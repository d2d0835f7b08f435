"""The Prefect server at one moment, and what it left behind: decisions only. Flows that are not ours are left alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.errors import OrganismError
from pipelines.jobs.flows import BY_NAME, QUEUES
from pipelines.ports import Orchestrator
from pipelines.runs import ENDED, ErrorKind, PrefectLimit, PrefectQueue, PrefectRun, PrefectWorker, Run, Status

LIVE = frozenset({"PENDING", "RUNNING", "CANCELLING"})
OVER = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
#: Of a process worker, PENDING takes seconds; its worker died in between.
STUCK_AFTER = timedelta(minutes=10)
#: A lease ends 300 s after its last renewal, and the server looks every 15 s. Before that, a slot without a run may still be
#: given back by the server itself, and giving it back twice would take it from a run that is alive.
LEASE_ENDS = timedelta(minutes=6)
#: How long a flow may go on after its time-out before a run that the ledger does not know is taken for dead.
_MARGIN = timedelta(minutes=5)
_RECENT = timedelta(hours=6)
_MOST = 1_000
#: A worker asks every 10 to 15 s, and the server writes it down a moment later.
_UNSERVED_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class View:
    """words: why the server could not be asked; then the rest is empty. clock: the server's own, for ages of its states.

    runs: of our flows. queues: of our pool.
    """

    clock: datetime
    words: str | None = None
    runs: tuple[PrefectRun, ...] = ()
    limits: tuple[PrefectLimit, ...] = ()
    workers: tuple[PrefectWorker, ...] = ()
    queues: tuple[PrefectQueue, ...] = ()


def look(api: Orchestrator, pool: str, now: datetime) -> View:
    """Never raises. Limits are read before runs: a slot that is taken in between is then not seen without its run."""
    try:
        if words := api.healthy():
            return View(now, words)
        clock, limits = api.clock(), api.limits()
        live = api.runs(LIVE, limit=_MOST, flows=BY_NAME)
        over = api.runs(OVER, clock - _RECENT, limit=_MOST, flows=BY_NAME)
        waiting = api.runs({"SCHEDULED"}, limit=_MOST, flows=BY_NAME)
        runs = (*live, *over, *waiting)
        return View(clock, None, runs, tuple(limits), tuple(api.workers(pool)), tuple(api.queues(pool)))
    except OrganismError as error:
        return View(now, str(error))


def queue(view: View) -> int:
    """Our runs that should have begun: late, or waiting for a slot."""
    return sum(run.state_type == "SCHEDULED" and _is_due(run, view.clock) for run in _ours(view))


def unserved(view: View) -> list[str]:
    """Our queues for whose runs no worker has asked for a while, although some worker is there."""
    if not any(worker.online for worker in view.workers):
        return []
    asked = {queue.name: queue.polled_at or queue.made_at for queue in view.queues if queue.name in QUEUES}
    return sorted(name for name, at in asked.items() if view.clock - at > _UNSERVED_AFTER)


def deployed(view: View) -> dict[str, datetime | None]:
    """Our flows that the server has a deployment of, and since when, as far as it says."""
    made = {_flow_of(limit): limit.made_at for limit in view.limits if _is_ours(limit)}
    return made | {run.flow_name: None for run in _ours(view) if _is_planned(run) and run.flow_name not in made}


def _is_planned(run: PrefectRun) -> bool:
    return run.state_type == "SCHEDULED" and run.deployment_name is not None


def _is_due(run: PrefectRun, clock: datetime) -> bool:
    return run.state_name != "Scheduled" or (
        run.expected_at is not None and run.expected_at < clock - timedelta(minutes=1)
    )


def next_start(view: View, flow: str) -> datetime | None:
    times = [r.expected_at for r in view.runs if r.flow_name == flow and r.state_type == "SCHEDULED" and r.expected_at]
    return min((time for time in times if time > view.clock), default=None)


def stuck(view: View) -> list[PrefectRun]:
    """Our runs that a worker took up and never began."""
    return [r for r in _ours(view) if r.state_type == "PENDING" and view.clock - r.since > STUCK_AFTER]


def zombies(view: View, rows: Mapping[str, Run], silent: timedelta, now: datetime, me: str) -> list[PrefectRun]:
    """Our runs that are RUNNING for the server, and whose process is gone. rows: of the ledger, by run id; now: by its clock.

    A run that is open in the ledger lives, however silent: the reaper decides when silence is an end.
    """
    running = [r for r in _ours(view) if r.state_type in ("RUNNING", "CANCELLING") and r.run_id != me]
    return [r for r in running if _is_dead(r, rows.get(r.run_id), silent, now, view.clock)]


def _is_dead(run: PrefectRun, row: Run | None, silent: timedelta, now: datetime, clock: datetime) -> bool:
    if row is None:
        return clock - run.since > BY_NAME[run.flow_name].timeout + _MARGIN
    if row.status not in ENDED:
        return False
    if row.error_kind in (ErrorKind.CRASHED, ErrorKind.LOST, ErrorKind.NEVER_STARTED):
        return True
    return row.completed_at is not None and now - row.completed_at > silent  # it ended and could not tell the server


def is_silent(row: Run, silent: timedelta, now: datetime) -> bool:
    """Whether a run that began gave no sign of life for so long."""
    seen = row.heartbeat_at or row.started_at
    return row.status is Status.RUNNING and seen is not None and now - seen > silent


def leaked(view: View) -> dict[str, int]:
    """Slots of our deployments' limits that no run holds, by the limit's name.

    A run that was cancelled does not count as one that may hold its slot for a moment longer: with a leaked slot every
    scheduled run is cancelled, and they would hide it for ever.
    """
    more = {limit.name: limit.active - _holders(view, limit.name) for limit in view.limits if _is_ours(limit)}
    return {name: slots for name, slots in more.items() if slots > 0}


def still_leaked(before: Mapping[str, int], view: View) -> dict[str, int]:
    """What is leaked in two looks: in one, a run that ends between the questions seems to leave its slot to nobody."""
    again = leaked(view)
    return {name: min(slots, again[name]) for name, slots in before.items() if name in again}


def _holders(view: View, limit: str) -> int:
    return sum(f"deployment:{run.deployment_name}" == limit and _may_hold(run, view.clock) for run in view.runs)


def _may_hold(run: PrefectRun, clock: datetime) -> bool:
    return run.state_type in LIVE or (run.state_type in OVER - {"CANCELLED"} and clock - run.since < LEASE_ENDS)


def _is_ours(limit: PrefectLimit) -> bool:
    return limit.name.startswith("deployment:") and _flow_of(limit) in BY_NAME


def _flow_of(limit: PrefectLimit) -> str:
    return limit.name.removeprefix("deployment:").partition("/")[0]


def _ours(view: View) -> Iterable[PrefectRun]:
    return (run for run in view.runs if run.flow_name in BY_NAME)
