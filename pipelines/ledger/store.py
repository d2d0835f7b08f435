"""The account of runs in PostgreSQL. Who may change what is said in the statements, so that two at once cannot disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from pipelines import queries
from pipelines.ledger import rules
from pipelines.postgres import Connection, Pool, runner, transaction
from pipelines.runs import ErrorKind, FlowFigures, Mode, Run, RunStep, Status, StreamMark, Sum

_Q = queries.load("pipelines.ledger", "queries.sql")
_run = runner(_Q)
_FOUND = sorted(rules.FOUND)
_REFUTED = sorted(rules.REFUTED_BY_A_BEAT)


def _here() -> datetime:
    return datetime.now(UTC)


class PostgresLedger:
    """`ports.Ledger`. Safe from many threads and processes at once. here: what this machine's clock says."""

    def __init__(self, pool: Pool, here: Callable[[], datetime] = _here) -> None:
        self._pool, self._here = pool, here

    def clock(self, now: datetime) -> datetime:
        with transaction(self._pool) as connection:
            return self._at(connection, now)

    def _at(self, connection: Connection, now: datetime) -> datetime:
        before = self._here()
        ((there,),) = _run(connection, "clock")
        return now + rules.skew(before, there, self._here())

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
        with transaction(self._pool) as connection:
            if (found := _get(connection, run_id)) is not None:  # asked first: an INSERT uses up an id, also in vain
                return found
            at = self._at(connection, now)
            columns = _asked(flow_name, run_id, mode, at, parameters, deployment_name, scheduled_at)
            _run(connection, "schedule", **columns)
            return _must_get(connection, run_id)

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
        """As in `ports.Ledger`. A run that was cancelled before it began stays so: the status of what comes back tells."""
        with transaction(self._pool) as connection:
            at = self._at(connection, now)
            columns = _asked(flow_name, run_id, mode, at, parameters, deployment_name, scheduled_at)
            _run(connection, "begin", **columns)
            return _must_get(connection, run_id)

    def correlate(self, run_id: str, correlation_id: str) -> None:
        with transaction(self._pool) as connection:
            _run(connection, "correlate", run_id=rules.text(run_id), correlation_id=rules.text(correlation_id))

    def beat(self, run_id: str, now: datetime) -> Status | None:
        with transaction(self._pool) as connection:
            key, at = rules.text(run_id), self._at(connection, now)
            rows = (
                _run(connection, "beat", run_id=key, now=at)
                or _run(connection, "revive", run_id=key, now=at, refuted=_REFUTED)
                or _run(connection, "status_of", run_id=key)
            )
            return Status(rows[0][0]) if rows else None

    def note_step(self, run_id: str, step: RunStep) -> None:
        said = {name: getattr(step, name) for name in RunStep.__dataclass_fields__ if name != "name"}
        said |= {"counts": Jsonb(rules.plain(step.counts)), "error": _words(step.error), "step": rules.text(step.name)}
        with transaction(self._pool) as connection:
            _run(connection, "note_step", run_id=rules.text(run_id), **said)

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
        said = {
            "status": status,
            "error": _words(error),
            "error_kind": error_kind,
            "result": None if result is None else Jsonb(rules.plain(result)),
        }
        with transaction(self._pool) as connection:
            at = self._at(connection, now)
            rows = _run(connection, "close", run_id=rules.text(run_id), now=at, found=_FOUND, **said)
            _run(connection, "end_steps", ids=[id_ for (id_,) in rows], status=status)
            return bool(rows)

    def note_prefect_state(self, run_id: str, state: str) -> None:
        with transaction(self._pool) as connection:
            _run(connection, "note_prefect_state", run_id=rules.text(run_id), state=rules.text(state))

    # -------------------------------------------------------------------------------------------- upkeep

    def reap(self, silent: timedelta, unstarted: timedelta, now: datetime) -> list[Run]:
        with transaction(self._pool) as connection:
            at = self._at(connection, now)
            limits = {"silent": silent, "unstarted": unstarted, "pause": rules.PAUSE}
            ids = [id_ for (id_,) in _run(connection, "silent", now=at, **limits)]
            for run in _load(connection, ids):
                kind, words = rules.silence(run)
                _run(connection, "reap", id=run.id, now=at, error=words, error_kind=kind)
            _run(connection, "end_steps", ids=ids, status=Status.FAILED)
            return _load(connection, ids)

    def forget(self, before: datetime) -> int:
        with transaction(self._pool) as connection:
            return len(_run(connection, "forget", before=before))

    # -------------------------------------------------------------------------------------------- looking

    def get(self, run_id: str) -> Run | None:
        with transaction(self._pool) as connection:
            return _get(connection, run_id)

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
        with transaction(self._pool) as connection:
            flows = None if flow_name is None else [rules.text(flow_name)]
            if pattern is not None:
                names = [name for (name,) in _run(connection, "flow_names")] if flows is None else flows
                flows = rules.matching(names, pattern)
            wanted: dict[str, Any] = {"flows": flows, "statuses": _statuses(statuses), "since": since, "until": until}
            wanted |= {"limit": max(limit, 0), "before_id": before_id}
            return _load(connection, [id_ for (id_,) in connection.execute(_Q["find"], wanted, prepare=False)])

    def count(self, *, flow_name: str | None = None, statuses: Collection[Status] = ()) -> int:
        wanted = {"flow_name": _words(flow_name), "statuses": _statuses(statuses)}
        with transaction(self._pool) as connection:
            row = connection.execute(_Q["count"], wanted, prepare=False).fetchone()
            assert row is not None  # a count has a row
            return int(row[0])

    def figures(self, since: datetime, until: datetime) -> list[FlowFigures]:
        with transaction(self._pool) as connection:
            sums: dict[str, dict[str, Sum]] = defaultdict(dict)
            for flow, name, *its in _run(connection, "sums", since=since, until=until):
                sums[flow][name] = Sum(*its)
            found = [FlowFigures(*row) for row in _run(connection, "figures", since=since, until=until)]
            return [replace(f, seconds=tuple(f.seconds), sums=dict(sums[f.flow_name])) for f in found]

    def first_seen(self) -> datetime | None:
        with transaction(self._pool) as connection:
            return next((at for (at,) in _run(connection, "first_seen")), None)

    # -------------------------------------------------------------------------------------------- the stream

    def note_stream(self, born: str, lost: int, now: datetime) -> None:
        with transaction(self._pool) as connection:
            _run(connection, "note_stream", born=rules.text(born), lost=lost, now=self._at(connection, now))

    def stream_marks(self, since: datetime) -> list[StreamMark]:
        with transaction(self._pool) as connection:
            return [StreamMark(*row) for row in _run(connection, "stream_marks", since=since)]


def _asked(
    flow_name: str,
    run_id: str,
    mode: Mode,
    now: datetime,
    parameters: Mapping[str, Any],
    deployment_name: str | None,
    scheduled_at: datetime | None,
) -> dict[str, Any]:
    return {
        "flow_name": rules.text(flow_name),
        "run_id": rules.text(run_id),
        "mode": mode,
        "now": now,
        "parameters": Jsonb(rules.plain(parameters)),
        "deployment_name": _words(deployment_name),
        "scheduled_at": scheduled_at,
    }


def _words(words: str | None) -> str | None:
    return None if words is None else rules.text(words)


def _statuses(statuses: Collection[Status]) -> list[str] | None:
    return [s.value for s in statuses] or None


def _get(connection: Connection, run_id: str) -> Run | None:
    ids = [id_ for (id_,) in _run(connection, "id_of", run_id=rules.text(run_id))]
    return next(iter(_load(connection, ids)), None)


def _must_get(connection: Connection, run_id: str) -> Run:
    run = _get(connection, run_id)
    assert run is not None, "a row that this transaction has written is there"
    return run


def _load(connection: Connection, ids: Sequence[int]) -> list[Run]:
    """The runs with their steps, newest first."""
    if not ids:
        return []
    steps: dict[int, list[RunStep]] = defaultdict(list)
    for run, *columns in _run(connection, "steps", ids=ids):
        step = RunStep(*columns)
        steps[run].append(replace(step, status=Status(step.status)))
    return [_of(row, tuple(steps[row[0]])) for row in _run(connection, "rows", ids=ids)]


def _of(row: tuple[Any, ...], steps: tuple[RunStep, ...]) -> Run:
    run = Run(*row)
    kind = None if run.error_kind is None else ErrorKind(run.error_kind)
    return replace(run, status=Status(run.status), mode=Mode(run.mode), error_kind=kind, steps=steps)
