"""The account of runs in memory, with the semantics of the real one; and one that is away when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.errors import OrganismError, PermanentError
from pipelines.ledger import rules
from pipelines.runs import ENDED, ErrorKind, FlowFigures, Mode, Run, RunStep, Status, StreamMark, Sum

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def step(name: str = "fetch_interactions", **changes: Any) -> RunStep:
    """A step that ended well."""
    return replace(RunStep(name, 0, Status.COMPLETED, 1, NOW, 1.5, 0.5, 1_000_000, {"delivered": 3}), **changes)


class FakeLedger:
    """`ports.Ledger`. fails: raised by every method while it is set, or by those that `only` names.

    ahead: by how much its clock is ahead of that of the machine that calls.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.marks: list[StreamMark] = []
        self.ahead = timedelta(0)
        self.fails: OrganismError | Exception | None = None
        self.only: Collection[str] = ()
        self.calls: list[str] = []
        self._ids = 0
        self._lock = threading.RLock()

    def clock(self, now: datetime) -> datetime:
        with self._called("clock"):
            return now + self.ahead

    # -------------------------------------------------------------------------------------------- a run

    def schedule(
        self,
        flow_name: str,
        run_id: str,
        mode: Mode,
        now: datetime,
        *,
        parameters: Mapping[str, Any],
        scheduled_at: datetime | None = None,
        deployment_name: str | None = None,
    ) -> Run:
        with self._called("schedule"):
            run_id, now = rules.text(run_id), now + self.ahead
            if run_id not in self.runs:
                said = {"scheduled_at": scheduled_at, "deployment_name": deployment_name}
                self._add(flow_name, run_id, Status.SCHEDULED, mode, now, parameters, said)
            return self.runs[run_id]

    def begin(
        self,
        flow_name: str,
        run_id: str,
        mode: Mode,
        now: datetime,
        *,
        parameters: Mapping[str, Any],
        deployment_name: str | None = None,
        scheduled_at: datetime | None = None,
    ) -> Run:
        with self._called("begin"):
            run_id, now = rules.text(run_id), now + self.ahead
            run = self.runs.get(run_id)
            if run is None:
                said = {"scheduled_at": scheduled_at, "deployment_name": deployment_name}
                said |= {"started_at": now, "heartbeat_at": now}
                self._add(flow_name, run_id, Status.RUNNING, mode, now, parameters, said)
            elif run.status is not Status.CANCELLED or run.started_at is not None:
                self.runs[run_id] = _begun(run, mode, now, parameters, deployment_name, scheduled_at)
            return self.runs[run_id]

    def correlate(self, run_id: str, correlation_id: str) -> None:
        with self._called("correlate"):
            self._change(run_id, lambda run: replace(run, correlation_id=rules.text(correlation_id)))

    def beat(self, run_id: str, now: datetime) -> Status | None:
        with self._called("beat"):
            return self._change(run_id, lambda run: _beaten(run, now + self.ahead))

    def note_step(self, run_id: str, step: RunStep) -> None:
        error = None if step.error is None else rules.text(step.error)
        kept = replace(step, counts=rules.plain(step.counts), error=error, name=rules.text(step.name))
        with self._called("note_step"):
            self._change(run_id, lambda run: replace(run, steps=_ordered(run, kept)))

    def close(
        self,
        run_id: str,
        status: Status,
        now: datetime,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        error_kind: ErrorKind | None = None,
    ) -> bool:
        with self._called("close"):
            run, now = self.runs.get(rules.text(run_id)), now + self.ahead
            if run is None or not (run.status not in ENDED or run.error_kind in rules.FOUND):
                return False
            if status not in ENDED or (error_kind is not None and status is Status.COMPLETED):
                raise PermanentError("a check of the table")
            words = None if error is None else rules.text(error)
            kept = run.result if result is None else rules.plain(result)
            closed = _ended(run, status, now, now, words, error_kind)
            self.runs[run.run_id] = replace(closed, result=kept)
            return True

    def note_prefect_state(self, run_id: str, state: str) -> None:
        with self._called("note_prefect_state"):
            self._change(run_id, lambda run: replace(run, prefect_state=rules.text(state)))

    # -------------------------------------------------------------------------------------------- upkeep

    def reap(self, silent: timedelta, unstarted: timedelta, now: datetime) -> list[Run]:
        with self._called("reap"):
            found, now = [], now + self.ahead
            due = [run for run in self.runs.values() if self._is_silent(run, now, silent, unstarted)]
            for run in sorted(due, key=lambda run: -run.id):
                kind, words = rules.silence(run)
                alive_until = run.heartbeat_at or now
                self.runs[run.run_id] = _ended(run, Status.FAILED, now, alive_until, words, kind)
                found.append(self.runs[run.run_id])
            return found

    def forget(self, before: datetime) -> int:
        with self._called("forget"):
            old = [run.run_id for run in self.runs.values() if run.status in ENDED and run.created_at < before]
            for run_id in old:
                del self.runs[run_id]
            return len(old)

    # -------------------------------------------------------------------------------------------- looking

    def get(self, run_id: str) -> Run | None:
        with self._called("get"):
            return self.runs.get(rules.text(run_id))

    def find(
        self,
        *,
        flow_name: str | None = None,
        pattern: str | None = None,
        statuses: Collection[Status] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        before_id: int | None = None,
    ) -> list[Run]:
        with self._called("find"):
            found = [
                run
                for run in sorted(self.runs.values(), key=lambda run: -run.id)
                if (flow_name is None or run.flow_name == flow_name)
                and (pattern is None or rules.matching([run.flow_name], pattern))
                and (not statuses or run.status in statuses)
                and (since is None or run.created_at >= since)
                and (until is None or run.created_at < until)
                and (before_id is None or run.id < before_id)
            ]
            return found[: max(limit, 0)]

    def count(self, *, flow_name: str | None = None, statuses: Collection[Status] = ()) -> int:
        return len(self.find(flow_name=flow_name, statuses=statuses, limit=10**9))

    def first_seen(self) -> datetime | None:
        with self._called("first_seen"):
            return min(self.runs.values(), key=lambda run: run.id).created_at if self.runs else None

    def note_stream(self, born: str, lost: int, now: datetime) -> None:
        with self._called("note_stream"):
            if not any(mark.born == born and mark.lost >= lost for mark in self.marks):
                self.marks.append(StreamMark(rules.text(born), lost, now + self.ahead))

    def stream_marks(self, since: datetime) -> list[StreamMark]:
        with self._called("stream_marks"):
            marks = sorted(self.marks, key=lambda mark: (mark.at, mark.lost))
            before = [mark for mark in marks if mark.at < since]
            return [*before[-1:], *(mark for mark in marks if mark.at >= since)]

    def figures(self, since: datetime, until: datetime) -> list[FlowFigures]:
        runs = self.find(since=since, until=until, limit=10**9)
        return [
            _figures(name, [r for r in runs if r.flow_name == name]) for name in sorted({r.flow_name for r in runs})
        ]

    # -------------------------------------------------------------------------------------------- inside

    def _is_silent(self, run: Run, now: datetime, silent: timedelta, unstarted: timedelta) -> bool:
        if run.status is Status.SCHEDULED:
            return (run.scheduled_at or run.created_at) < now - unstarted
        if run.status is not Status.RUNNING or run.heartbeat_at is None or run.heartbeat_at >= now - silent:
            return False
        others = (at for other in self.runs.values() if other.id != run.id for at in rules.heard(other))
        return any(run.heartbeat_at + rules.PAUSE <= at <= now - rules.PAUSE for at in others)

    def _called(self, name: str) -> AbstractContextManager[Any]:
        self.calls.append(name)
        if self.fails is not None and (not self.only or name in self.only):
            raise self.fails
        return self._lock

    def _add(
        self,
        flow_name: str,
        run_id: str,
        status: Status,
        mode: Mode,
        now: datetime,
        parameters: Mapping[str, Any],
        said: Mapping[str, Any],
    ) -> None:
        self._ids += 1
        kept = rules.plain(parameters)
        self.runs[run_id] = Run(self._ids, rules.text(flow_name), run_id, status, mode, now, parameters=kept, **said)

    def _change(self, run_id: str, change: Callable[[Run], Run]) -> Status | None:
        run = self.runs.get(rules.text(run_id))
        if run is None:
            return None
        self.runs[run.run_id] = change(run)
        return self.runs[run.run_id].status


def _begun(
    run: Run,
    mode: Mode,
    now: datetime,
    parameters: Mapping[str, Any],
    deployment_name: str | None,
    scheduled_at: datetime | None,
) -> Run:
    return replace(
        run,
        status=Status.RUNNING,
        mode=mode,
        deployment_name=deployment_name or run.deployment_name,
        parameters={**run.parameters, **rules.plain(parameters)},
        result={},
        error=None,
        error_kind=None,
        completed_at=None,
        duration_seconds=None,
        scheduled_at=run.scheduled_at or scheduled_at,
        started_at=run.started_at if run.status is Status.RUNNING else now,
        heartbeat_at=max(run.heartbeat_at or now, now),
        prefect_state=run.prefect_state if run.completed_at is None else None,
        attempts=run.attempts + (run.started_at is not None),
    )


def _beaten(run: Run, now: datetime) -> Run:
    seen = max(run.heartbeat_at or now, now)
    if run.status is Status.RUNNING:
        return replace(run, heartbeat_at=seen)
    if run.status is Status.FAILED and run.error_kind in rules.REFUTED_BY_A_BEAT and run.started_at is not None:
        cleared = replace(run, completed_at=None, duration_seconds=None, error=None, error_kind=None)
        return replace(cleared, status=Status.RUNNING, heartbeat_at=seen)
    return run


def _ended(
    run: Run, status: Status, now: datetime, alive_until: datetime, error: str | None, kind: ErrorKind | None
) -> Run:
    seconds = None if run.started_at is None else max(0.0, (alive_until - run.started_at).total_seconds())
    steps = tuple(replace(s, status=status) if s.status is Status.RUNNING else s for s in run.steps)
    ended = replace(run, status=status, completed_at=now, duration_seconds=seconds, steps=steps)
    return replace(ended, error=error, error_kind=kind)


def _ordered(run: Run, step: RunStep) -> tuple[RunStep, ...]:
    others = [s for s in run.steps if s.name != step.name]
    return tuple(sorted([*others, step], key=lambda s: (s.position, s.started_at, s.name)))


def _figures(name: str, runs: list[Run]) -> FlowFigures:
    of = {status: sum(run.status is status for run in runs) for status in Status}
    steps = [step for run in runs for step in run.steps]
    typed = [r for r in runs if r.mode is Mode.DIRECT and r.error_kind is ErrorKind.INPUT]
    ended = of[Status.COMPLETED] + sum(r.status is Status.FAILED and r not in typed for r in runs)
    seconds = [r.duration_seconds for r in runs if r.status is Status.COMPLETED and r.duration_seconds is not None]
    return FlowFigures(
        name,
        len(runs),
        of[Status.COMPLETED],
        of[Status.FAILED],
        of[Status.CANCELLED],
        of[Status.RUNNING],
        of[Status.COMPLETED] / ended if ended else None,
        sum(s.attempts > 1 for s in steps) / len(steps) if steps else None,
        tuple(sorted(seconds)),
        ended,
        _sums(sorted(runs, key=lambda run: run.id)),
    )


def _sums(runs: list[Run]) -> dict[str, Sum]:
    said: dict[str, list[tuple[Run, float]]] = {}
    for run in runs:
        for name, value in run.result.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and value:
                said.setdefault(name, []).append((run, value))
    return {
        name: Sum(
            float(sum(value for _, value in its)),
            min(run.completed_at or run.created_at for run, _ in its),
            its[-1][0].run_id,
        )
        for name, its in sorted(said.items())
    }
