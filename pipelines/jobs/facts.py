"""Everything that the alert rules look at, asked of each store once. A store that fails becomes a sentence, and no error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from alerts.model import Facts, FlowFact, PrefectFact, RunFact, StoreFact, StreamFact
from pipelines.errors import OrganismError
from pipelines.jobs import prefect_view
from pipelines.jobs.flows import BY_NAME, FLOWS, VERIFY, Flow
from pipelines.jobs.prefect_view import View
from pipelines.model import Lane
from pipelines.ports import DeadLetters, Graph, Ledger, Orchestrator, Stream
from pipelines.runs import Mode, Run, Status

T = TypeVar("T")
_RUNS = 40


@dataclass(frozen=True)
class Sources:
    """What there is to ask; None where it is not (no Prefect, an embedded server that nobody started).

    away: for stores that could not even be opened (redis, graph, postgres), what they said.
    pool: the work pool whose workers count.
    """

    ledger: Ledger | None = None
    stream: Stream | None = None
    letters: DeadLetters | None = None
    graph: Graph | None = None
    orchestrator: Orchestrator | None = None
    away: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""


@dataclass(frozen=True)
class Machine:
    """Used shares, 0 to 1, of memory and of the disk that is called `disk_of`; None where the system does not say."""

    memory: Callable[[], float | None]
    disk: Callable[[], float | None]
    disk_of: str


def gather(sources: Sources, machine: Machine, now: datetime, view: View | None) -> Facts:
    """view: of the Prefect server, as `prefect_view.look` saw it; None where there is none."""
    asked = _Asked(dict(sources.away))
    with ThreadPoolExecutor(2) as pool:  # a store that hangs costs its time-out; at once, not one after the other
        stream_ = pool.submit(asked.of, "redis", lambda: _stream(sources.stream, sources.letters))
        applied_ = pool.submit(asked.of, "graph", lambda: _applied_at(sources.graph))
        runs = asked.of("postgres", lambda: _runs(sources.ledger)) or {}
    drift, drift_at = _drift(runs.get(VERIFY.name, []))
    return Facts(
        now=now,
        flows=tuple(
            _flow(flow, runs[flow.name], now, sources.orchestrator, view) for flow in FLOWS if flow.name in runs
        ),
        stores=_stores(sources, asked.said),
        stream=stream_.result(),
        applied_at=applied_.result(),
        prefect=_prefect(view),
        drift=drift,
        drift_at=drift_at,
        memory_share=machine.memory(),
        disk_share=machine.disk(),
        disk_of=machine.disk_of,
    )


class _Asked:
    """Who was asked, and what those said that failed."""

    def __init__(self, said: dict[str, str]) -> None:
        self.said = said

    def of(self, store: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except OrganismError as error:
            self.said[store] = str(error)
            return None


def _stores(sources: Sources, said: Mapping[str, str]) -> tuple[StoreFact, ...]:
    present = {"redis": sources.stream, "graph": sources.graph, "postgres": sources.ledger}
    return tuple(
        StoreFact(name, said.get(name)) for name, store in present.items() if store is not None or name in said
    )


def _runs(ledger: Ledger | None) -> dict[str, list[Run]]:
    return {flow.name: ledger.find(flow_name=flow.name, limit=_RUNS) for flow in FLOWS} if ledger else {}


def _stream(stream: Stream | None, letters: DeadLetters | None) -> StreamFact | None:
    if stream is None:
        return None
    state = stream.state()
    dead = sum(letters.counts(Lane.DEAD).values()) if letters else 0
    return StreamFact(state.unread, state.pending, dead, _time(state.oldest_unread_ms))


def _applied_at(graph: Graph | None) -> datetime | None:
    return _time(graph.cursor().at_ms) if graph else None


def _time(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def flow_fact(ledger: Ledger, flow: str, now: datetime) -> FlowFact:
    """One flow, as a run of it can tell without asking Prefect. Raises what the ledger raises."""
    its = BY_NAME[flow]
    return _flow(its, ledger.find(flow_name=flow, limit=_RUNS), now)


def _flow(
    flow: Flow, runs: list[Run], now: datetime, api: Orchestrator | None = None, view: View | None = None
) -> FlowFact:
    """Where no run came by a schedule, nobody promised an interval: the user's own timer may have another."""
    scheduled = api is not None or any(run.scheduled_at for run in runs)
    return FlowFact(
        flow=flow.name,
        every=flow.every if scheduled else None,
        slow=flow.slow,
        runs=tuple(run_fact(run, link=_link(run, api)) for run in runs),
        next_try=prefect_view.next_start(view, flow.name) if view and not view.words else _next(flow, runs, now),
        since=min((run.created_at for run in runs), default=None),
    )


def _next(flow: Flow, runs: list[Run], now: datetime) -> datetime | None:
    """By the last start that was planned, where the server cannot be asked."""
    planned = max((run.scheduled_at for run in runs if run.scheduled_at), default=None)
    return planned + flow.every * (max(now - planned, flow.every * 0) // flow.every + 1) if planned else None


def _link(run: Run, api: Orchestrator | None) -> str | None:
    return api.url_of(run.run_id) if api and run.mode is Mode.PREFECT else None


def run_fact(run: Run, *, link: str | None = None, step: str | None = None) -> RunFact:
    """A row of the ledger as the rules look at it. step: where it failed, if the caller knows better than the row."""
    return RunFact(
        flow=run.flow_name,
        run_id=run.run_id,
        status=run.status.value,
        started_at=run.started_at,
        ended_at=run.completed_at,
        seconds=run.duration_seconds,
        error_kind=run.error_kind.value if run.error_kind else None,
        error=run.error,
        step=step or next((s.name for s in run.steps if s.status is Status.FAILED), None),
        attempts=run.attempts,
        steps=len(run.steps),
        retried_steps=sum(s.attempts > 1 for s in run.steps),
        link=link,
        resume=_resume(run),
        result={k: float(v) for k, v in run.result.items() if isinstance(v, (int, float))},
    )


def _resume(run: Run) -> str | None:
    flow, name = BY_NAME.get(run.flow_name), run.correlation_id
    if flow is None:
        return None
    return f"{flow.again} --resume {name}" if flow.resumes and name else flow.again


def _drift(runs: list[Run]) -> tuple[int | None, datetime | None]:
    """Of the last recount that came to an end."""
    counted = [run for run in runs if isinstance(run.result.get("differences"), int)]
    return (int(counted[0].result["differences"]), counted[0].completed_at) if counted else (None, None)


def _prefect(view: View | None) -> PrefectFact | None:
    if view is None:
        return None
    if view.words:
        return PrefectFact(up=False, words=view.words)
    return PrefectFact(
        up=True,
        queue=prefect_view.queue(view),
        workers_online=sum(worker.online for worker in view.workers),
        stuck=tuple((run.name, run.flow_name, run.since) for run in prefect_view.stuck(view)),
        leaked=tuple(sorted(prefect_view.leaked(view))),
    )
