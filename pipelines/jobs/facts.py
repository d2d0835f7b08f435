"""Everything that the alert rules look at, asked of each store once. A store that fails becomes a sentence, and no error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from alerts.model import (
    DayFact,
    Facts,
    FlowFact,
    MachineFact,
    PrefectFact,
    ProposalFact,
    RunFact,
    StoreFact,
    StreamFact,
    SumFact,
)
from pipelines.errors import OrganismError
from pipelines.jobs import asking, prefect_view
from pipelines.jobs.asking import Asking
from pipelines.jobs.flows import ASKED_FOR, BY_NAME, VERIFY, WATCH, Flow
from pipelines.jobs.prefect_view import View
from pipelines.model import Lane
from pipelines.ports import DeadLetters, Graph, Ledger, Orchestrator, Stream
from pipelines.runs import FlowFigures, Mode, Run, Status, StreamMark, Sum

T = TypeVar("T")
#: The newest runs are for what is of the newest; what is of a day comes from all runs of the day.
_RUNS = 40
DAY = timedelta(days=1)
#: What a machine said of its memory and disk stands for so long.
_MACHINE_HEARD = timedelta(hours=1)
#: What began just now, while we asked, is of the day, too.
_A_MOMENT = timedelta(minutes=1)


@dataclass(frozen=True)
class Sources:
    """What there is to ask; None where it is not (no Prefect, an embedded server that nobody started).

    away: for stores that could not even be opened (redis, graph, postgres), what they said.
    pool: the work pool whose workers count. asking: where to look for what people are asked.
    """

    ledger: Ledger | None = None
    stream: Stream | None = None
    letters: DeadLetters | None = None
    graph: Graph | None = None
    orchestrator: Orchestrator | None = None
    away: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""
    asking: Asking | None = None


@dataclass(frozen=True)
class Machine:
    """Used shares, 0 to 1, of memory and of the disk that is called `disk_of`; None where the system does not say.

    name: tells machines apart; it is no host name, which may be a person's.
    """

    memory: Callable[[], float | None]
    disk: Callable[[], float | None]
    disk_of: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the ledger says. runs: the newest of each flow."""

    runs: Mapping[str, list[Run]]
    figures: Mapping[str, FlowFigures]
    good: Mapping[str, datetime]
    first_seen: datetime | None
    marks: tuple[StreamMark, ...]


def gather(sources: Sources, machine: Machine, now: datetime, view: View | None) -> Facts:
    """view: of the Prefect server, as `prefect_view.look` saw it; None where there is none. now: by the ledger's clock."""
    asked = _Asked(dict(sources.away))
    with ThreadPoolExecutor(2) as pool:  # a store that hangs costs its time-out; at once, not one after the other
        stream_ = pool.submit(asked.of, "redis", lambda: _stream(sources.stream, sources.letters))
        applied_ = pool.submit(asked.of, "graph", lambda: _applied_at(sources.graph))
        told = asked.of("postgres", lambda: _ledger(sources.ledger, now))
        proposals = asked.of("postgres", lambda: _proposals(sources.asking, now)) if told else None
    runs = told.runs if told else {}
    drift, drift_at = _drift(runs.get(VERIFY.name, []))
    return Facts(
        now=now,
        flows=_flows(told, now, sources.orchestrator, view) if told else (),
        stores=_stores(sources, asked.said),
        stream=_with_losses(stream_.result(), told.marks if told else (), now),
        applied_at=applied_.result(),
        prefect=_prefect(view),
        drift=drift,
        drift_at=drift_at,
        memory_share=machine.memory(),
        disk_share=machine.disk(),
        disk_of=machine.disk_of,
        machine=machine.name,
        others=_others(runs.get(WATCH.name, []), machine, now),
        proposals=proposals,
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


def _ledger(ledger: Ledger | None, now: datetime) -> _Told | None:
    if ledger is None:
        return None
    return _Told(
        runs={name: _runs(ledger, flow, now) for name, flow in BY_NAME.items()},
        figures=figures(ledger, now),
        good=last_good(ledger),
        first_seen=ledger.first_seen(),
        marks=tuple(ledger.stream_marks(now - DAY)),
    )


def _proposals(of: Asking | None, now: datetime) -> tuple[ProposalFact, ...] | None:
    return asking.asked(of, now) if of else None


def _runs(ledger: Ledger, flow: Flow, now: datetime) -> list[Run]:
    """The newest first. Of a flow without a schedule those of a day: nobody has to run it again for its failure to end."""
    since = now - DAY if flow.every is None else None
    return ledger.find(flow_name=flow.name, since=since, limit=_RUNS)


def figures(ledger: Ledger, now: datetime) -> dict[str, FlowFigures]:
    """Of the last day, by the flows that are ours: the same for the rules and for Prometheus."""
    return {f.flow_name: f for f in ledger.figures(now - DAY, now + _A_MOMENT) if f.flow_name in BY_NAME}


def last_good(ledger: Ledger) -> dict[str, datetime]:
    """When a run of each flow last completed, however long ago."""
    newest = {name: ledger.find(flow_name=name, statuses=[Status.COMPLETED], limit=1) for name in BY_NAME}
    return {name: run.completed_at for name, runs in newest.items() for run in runs if run.completed_at}


def _stream(stream: Stream | None, letters: DeadLetters | None) -> StreamFact | None:
    if stream is None:
        return None
    state = stream.state()
    dead = sum(letters.counts(Lane.DEAD).values()) if letters else 0
    return StreamFact(state.unread, state.pending, dead, _time(state.oldest_unread_ms), state.born, state.lost)


def _with_losses(stream: StreamFact | None, marks: Sequence[StreamMark], now: datetime) -> StreamFact | None:
    """What the stream lost in a day, by what was noted of it and by what it says now, which the watch will note."""
    if stream is None or not stream.born:
        return stream
    seen = [*marks, StreamMark(stream.born, stream.lost_ever, now)]
    lost = [(mark, mark.lost - _before(seen[:i], mark.born)) for i, mark in enumerate(seen)]
    came = [(mark, count) for mark, count in lost if count > 0 and mark.at >= now - DAY]
    back = [mark for mark, before in zip(seen[1:], seen, strict=False) if mark.born != before.born]
    reset = [mark for mark in back if mark.at >= now - DAY]
    return replace(
        stream,
        lost=SumFact(sum(n for _, n in came), came[0][0].at, _named(came[-1][0])) if came else None,
        reset=SumFact(len(reset), reset[0].at, f"born {reset[-1].born}") if reset else None,
    )


def _before(marks: Sequence[StreamMark], born: str) -> int:
    return max((mark.lost for mark in marks if mark.born == born), default=0)


def _named(mark: StreamMark) -> str:
    return f"{mark.lost} of {mark.born}"


def _applied_at(graph: Graph | None) -> datetime | None:
    return _time(graph.cursor().at_ms) if graph else None


def _time(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def flow_fact(ledger: Ledger, flow: str, now: datetime) -> FlowFact:
    """One flow, as a run of it can tell without asking Prefect. Raises what the ledger raises."""
    its = BY_NAME[flow]
    good = ledger.find(flow_name=flow, statuses=[Status.COMPLETED], limit=1)
    told = _Told(
        runs={flow: _runs(ledger, its, now)},
        figures={},
        good={run.flow_name: run.completed_at for run in good if run.completed_at},
        first_seen=ledger.first_seen(),
        marks=(),
    )
    return _flow(its, told, now)


def _flows(told: _Told, now: datetime, api: Orchestrator | None, view: View | None) -> tuple[FlowFact, ...]:
    """Of those without a schedule the ones that somebody started."""
    seen = (flow for name, flow in BY_NAME.items() if flow.every or told.runs[name])
    return tuple(_flow(flow, told, now, api, view) for flow in seen)


def _flow(
    flow: Flow, told: _Told, now: datetime, api: Orchestrator | None = None, view: View | None = None
) -> FlowFact:
    runs = told.runs[flow.name]
    scheduled, since = _schedule(flow, runs, told.first_seen, view, api)
    figures = told.figures.get(flow.name)
    return FlowFact(
        flow=flow.name,
        every=flow.every if scheduled else None,
        slow=flow.slow,
        runs=tuple(run_fact(run, link=_link(run, api)) for run in runs),
        next_try=prefect_view.next_start(view, flow.name) if view and not view.words else _next(flow, runs, now),
        since=since,
        day=_day(figures, runs, api) if figures and flow.every else DayFact(),  # nothing was promised of the others
        good_at=told.good.get(flow.name),
    )


def _schedule(
    flow: Flow, runs: Sequence[Run], first_seen: datetime | None, view: View | None, api: Orchestrator | None
) -> tuple[bool, datetime | None]:
    """Whether somebody promised an interval, and since when: the installation is there, or the deployment, if that is newer.

    Where no run came by a schedule and there is no deployment, nobody did: the user's own timer may have another.
    """
    deployed = prefect_view.deployed(view) if view and not view.words else {}
    away = api is not None and (view is None or view.words is not None)
    scheduled = flow.name in deployed or any(run.scheduled_at for run in runs) or (away and bool(runs))
    times = [at for at in (first_seen, deployed.get(flow.name)) if at]
    return scheduled, max(times, default=None)


def _day(its: FlowFigures, runs: Sequence[Run], api: Orchestrator | None) -> DayFact:
    links = {run.run_id: _link(run, api) for run in runs}
    return DayFact(
        runs=its.judged,
        success=its.success_rate,
        retries=its.retry_rate,
        seconds=its.quantile(0.95),
        sums={name: _sum(said, links) for name, said in its.sums.items()},
    )


def _sum(said: Sum, links: Mapping[str, str | None]) -> SumFact:
    return SumFact(said.total, said.since, said.newest, links.get(said.newest))


def _next(flow: Flow, runs: list[Run], now: datetime) -> datetime | None:
    """By the last start that was planned, where the server cannot be asked."""
    planned = max((run.scheduled_at for run in runs if run.scheduled_at), default=None)
    if flow.every is None:
        return None
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
        asked=run.mode is Mode.DIRECT or run.flow_name in ASKED_FOR,
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
        unserved=tuple(prefect_view.unserved(view)),
    )


# ------------------------------------------------------------------------------------------------ machines


def about(facts: Facts) -> dict[str, str | float]:
    """What a watch tells the others of its machine, in the result of its run."""
    said = {"machine": facts.machine, "memory": facts.memory_share, "disk": facts.disk_share, "disk_of": facts.disk_of}
    return {name: value for name, value in said.items() if value is not None} if facts.machine else {}


def _others(watches: Sequence[Run], here: Machine, now: datetime) -> tuple[MachineFact, ...]:
    """What other machines last told of themselves. watches: the newest first."""
    found: dict[str, MachineFact] = {}
    for run in watches:
        name, told = run.result.get("machine"), run.result
        if isinstance(name, str) and name != here.name and now - run.created_at <= _MACHINE_HEARD:
            fact = MachineFact(name, _share(told, "memory"), _share(told, "disk"), str(told.get("disk_of", "")))
            found.setdefault(name, fact)
    return tuple(found[name] for name in sorted(found))


def _share(told: Mapping[str, object], name: str) -> float | None:
    value = told.get(name)
    return float(value) if isinstance(value, int | float) else None
