"""A Prefect server in memory, with what the real one does to states and slots; and one that is away when a test says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pipelines.errors import OrganismError, PermanentError
from pipelines.runs import PrefectLimit, PrefectQueue, PrefectRun, PrefectWorker

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_HOLDING = ("PENDING", "RUNNING", "CANCELLING")
_OVER = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def prefect_run(run_id: str = "run-1", **changes: Any) -> PrefectRun:
    """A run of incremental that is RUNNING since a minute."""
    since = NOW - timedelta(minutes=1)
    run = PrefectRun(run_id, "calm-owl", "incremental", "incremental/incremental", "RUNNING", "Running", since, since)
    return replace(run, **changes)


class FakeOrchestrator:
    """`ports.Orchestrator`. fails: raised by every method while it is set, or by those that `only` names."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.fails: OrganismError | None = None
        self.only: Collection[str] = ()
        self.deployments = {"incremental/incremental": 1, "full/full": 1}
        self.all: dict[str, PrefectRun] = {}
        self.active: dict[str, int] = {}
        self.made: dict[str, datetime] = {}
        self.online: dict[str, list[PrefectWorker]] = {}
        self.asked: dict[str, list[PrefectQueue]] = {}
        self.lines: dict[str, list[tuple[datetime, str, str]]] = {}
        self._keys: dict[str, str] = {}

    def add(self, *runs: PrefectRun) -> None:
        """Runs as they are, each with its slot."""
        for run in runs:
            self.all[run.run_id] = run
            self._slot(run, run.state_type in _HOLDING)

    def healthy(self) -> str | None:
        return str(self.fails) if self.fails and (not self.only or "healthy" in self.only) else None

    def version(self) -> str:
        self._called("version")
        return "3.8.8"

    def clock(self) -> datetime:
        self._called("clock")
        return self.now

    def runs(
        self,
        state_types: Collection[str],
        since: datetime | None = None,
        limit: int = 200,
        flows: Collection[str] = (),
    ) -> list[PrefectRun]:
        self._called("runs")
        found = [r for r in self.all.values() if r.state_type in state_types and (not flows or r.flow_name in flows)]
        found = [r for r in found if since is None or (r.expected_at is not None and r.expected_at >= since)]
        return sorted(found, key=lambda r: r.expected_at or r.since, reverse=True)[:limit]

    def run(self, run_id: str) -> PrefectRun | None:
        self._called("run")
        return self.all.get(run_id)

    def start(self, deployment: str, parameters: Mapping[str, Any], idempotency_key: str | None = None) -> PrefectRun:
        self._called("start")
        if deployment not in self.deployments:
            raise PermanentError(f"no deployment {deployment}")
        if idempotency_key and idempotency_key in self._keys:
            return self.all[self._keys[idempotency_key]]
        flow = deployment.partition("/")[0]
        run = PrefectRun(str(uuid4()), "calm-owl", flow, deployment, "SCHEDULED", "Scheduled", self.now, self.now)
        self.all[run.run_id] = run
        if idempotency_key:
            self._keys[idempotency_key] = run.run_id
        return run

    def set_state(self, run_id: str, state_type: str, name: str, message: str) -> None:
        self._called("set_state")
        run = self.all.get(run_id)
        if run is None or (run.state_type in _OVER and run.state_type != state_type):
            raise PermanentError(f"run {run_id} is {run.state_type if run else 'unknown'}")
        if run.state_type == "SCHEDULED" and state_type == "CANCELLING":  # no process to wait for
            state_type, name = "CANCELLED", "Cancelled"
        limit = f"deployment:{run.deployment_name}"
        if state_type == "PENDING" and self.active.get(limit, 0) >= self.deployments.get(run.deployment_name or "", 1):
            self.all[run_id] = replace(run, state_type="CANCELLED", state_name="Cancelled", since=self.now)
            raise PermanentError("Deployment concurrency limit reached.")
        self.all[run_id] = replace(run, state_type=state_type, state_name=name, since=self.now, message=message)
        if (state_type in _HOLDING) != (run.state_type in _HOLDING):
            self._slot(run, state_type in _HOLDING)

    def _slot(self, run: PrefectRun, taken: bool) -> None:
        limit = f"deployment:{run.deployment_name}"
        self.active[limit] = max(0, self.active.get(limit, 0) + (1 if taken else -1))

    def logs(self, run_id: str, limit: int = 200) -> list[tuple[datetime, str, str]]:
        self._called("logs")
        return self.lines.get(run_id, [])[-limit:]

    def workers(self, pool: str) -> list[PrefectWorker]:
        self._called("workers")
        return self.online.get(pool, [])

    def queues(self, pool: str) -> list[PrefectQueue]:
        self._called("queues")
        return self.asked.get(pool, [])

    def limits(self) -> list[PrefectLimit]:
        self._called("limits")
        names = {f"deployment:{name}": limit for name, limit in self.deployments.items()}
        return [
            PrefectLimit(name, limit, self.active.get(name, 0), self.made.get(name))
            for name, limit in sorted(names.items())
        ]

    def release(self, limit: str, slots: int) -> None:
        self._called("release")
        if limit.removeprefix("deployment:") not in self.deployments:
            raise PermanentError(f"no limit {limit}")
        self.active[limit] = max(0, self.active.get(limit, 0) - slots)

    def url_of(self, run_id: str) -> str:
        return f"http://prefect/runs/flow-run/{run_id}"

    def _called(self, name: str) -> None:
        if self.fails is not None and (not self.only or name in self.only):
            raise self.fails
