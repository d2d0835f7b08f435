"""`ports.Orchestrator` over the REST API of Prefect 3.8. Only routes that its own client uses, too."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pipelines import log
from pipelines.errors import OrganismError, PermanentError
from pipelines.orchestrator.rest import NotThere, Rest
from pipelines.runs import PrefectLimit, PrefectQueue, PrefectRun, PrefectWorker

_DEPLOYMENT = "deployment:"
_MOST_LIMITS = 1_000
_LONGEST_MESSAGE = 500


class PrefectApi:
    """One server. ui: where people see it; by default the API's URL without /api. Close it when done."""

    def __init__(self, url: str, auth: str = "", *, ui: str = "", cert_file: str = "") -> None:
        self._rest = Rest(url, auth, cert_file)
        self._ui = (ui or url.rstrip("/").removesuffix("/api")).rstrip("/")
        self._flows: dict[str, str] = {}
        self._deployments: dict[str, str] = {}

    def close(self) -> None:
        self._rest.close()

    def healthy(self) -> str | None:
        try:
            self._rest.get("/ready")  # asks its database, and wants no login
            self.version()  # wants the login
        except OrganismError as error:
            return str(error)
        return None

    def version(self) -> str:
        return str(self._rest.get("/admin/version"))

    def clock(self) -> datetime:
        return self._rest.clock()

    def runs(
        self,
        state_types: Collection[str],
        since: datetime | None = None,
        limit: int = 200,
        flows: Collection[str] = (),
    ) -> list[PrefectRun]:
        """Newest first, by the time at which they were to start; since: of that time."""
        wanted: dict[str, Any] = {"state": {"type": {"any_": sorted(state_types)}}}
        if since:
            wanted["expected_start_time"] = {"after_": since.isoformat()}
        body: dict[str, Any] = {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_DESC"}
        if flows:
            body["flows"] = {"name": {"any_": sorted(flows)}}
        return [self._run(row) for row in self._rest.pages("/flow_runs/filter", body, limit)]

    def run(self, run_id: str) -> PrefectRun | None:
        try:
            return self._run(self._rest.get(f"/flow_runs/{run_id}"))
        except NotThere:
            return None

    def start(self, deployment: str, parameters: Mapping[str, Any], idempotency_key: str | None = None) -> PrefectRun:
        id_ = self._rest.get(f"/deployments/name/{deployment}")["id"]
        body: dict[str, Any] = {"parameters": dict(parameters)}
        if idempotency_key:
            body["idempotency_key"] = idempotency_key
        return self._run(self._rest.post(f"/deployments/{id_}/create_flow_run", body))

    def set_state(self, run_id: str, state_type: str, name: str, message: str) -> None:
        """Never with `force`: that would turn a run that completed a moment ago into a crash, and keep its lease.

        Raises:
            PermanentError: the run has ended otherwise, or is not known.
        """
        body = {"state": {"type": state_type, "name": name, "message": message}, "force": False}
        state = self._rest.post(f"/flow_runs/{run_id}/set_state", body).get("state") or {}
        done = state.get("type")
        cancelled = state_type == "CANCELLING" and done == "CANCELLED"  # where there is no process to wait for
        if done != state_type and not cancelled:
            raise PermanentError(f"Prefect run {run_id} is {done or 'unknown'} and was not set to {state_type}")

    def logs(self, run_id: str, limit: int = 200) -> list[tuple[datetime, str, str]]:
        """The last ones."""
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_DESC"}
        rows = self._rest.pages("/logs/filter", body, limit)
        return [(_time(r["timestamp"]), logging.getLevelName(r["level"]), log.redact(r["message"])) for r in rows[::-1]]

    def workers(self, pool: str) -> list[PrefectWorker]:
        try:
            rows = self._rest.pages(f"/work_pools/{pool}/workers/filter", {}, 200)
        except NotThere:
            return []
        return [
            PrefectWorker(r["name"], pool, r["status"] == "ONLINE", _maybe(r.get("last_heartbeat_time"))) for r in rows
        ]

    def queues(self, pool: str) -> list[PrefectQueue]:
        try:
            rows = self._rest.pages(f"/work_pools/{pool}/queues/filter", {}, 200)
        except NotThere:
            return []
        return [
            PrefectQueue(r["name"], _time(r["created"]), _maybe(r.get("last_polled")))
            for r in rows
            if not r.get("is_paused")
        ]

    def limits(self) -> list[PrefectLimit]:
        """A deployment's own limit is named `deployment:flow/name`, which people can read, instead of by its id."""
        rows = self._rest.pages("/v2/concurrency_limits/filter", {}, _MOST_LIMITS)
        return [
            PrefectLimit(self._readable(r["name"]), r["limit"], r["active_slots"], _maybe(r.get("created")))
            for r in rows
        ]

    def release(self, limit: str, slots: int) -> None:
        """By count: the server does not tell whose leases a limit's slots are.

        If a lease still stands behind a slot, it takes one more when it expires, from a run that is alive. So ask only for
        slots whose leases cannot stand any more (300 s, unless renewed).
        """
        if not self._rest.post("/v2/concurrency_limits/decrement", {"slots": slots, "names": [self._own_name(limit)]}):
            raise PermanentError(f"Prefect knows no limit {limit}")

    def url_of(self, run_id: str) -> str:
        return f"{self._ui}/runs/flow-run/{run_id}"

    def _run(self, row: Mapping[str, Any]) -> PrefectRun:
        state = row.get("state") or {}
        message = state.get("message")
        return PrefectRun(
            run_id=row["id"],
            name=row["name"],
            flow_name=self._flow(row["flow_id"]),
            deployment_name=self._deployment(row["deployment_id"]) if row.get("deployment_id") else None,
            state_type=state.get("type") or "PENDING",
            state_name=state.get("name") or "",
            since=_time(state.get("timestamp") or row["created"]),
            expected_at=_maybe(row.get("expected_start_time")),
            message=log.redact(message)[:_LONGEST_MESSAGE] if message else None,
        )

    def _flow(self, id_: str) -> str:
        if id_ not in self._flows:
            self._flows[id_] = self._rest.get(f"/flows/{id_}")["name"]
        return self._flows[id_]

    def _deployment(self, id_: str) -> str | None:
        """`flow/name`; None where it was deleted."""
        if id_ not in self._deployments:
            try:
                found = self._rest.get(f"/deployments/{id_}")
            except NotThere:
                return None
            self._deployments[id_] = f"{self._flow(found['flow_id'])}/{found['name']}"
        return self._deployments[id_]

    def _readable(self, limit: str) -> str:
        if not limit.startswith(_DEPLOYMENT):
            return limit
        deployment = self._deployment(limit.removeprefix(_DEPLOYMENT))
        return f"{_DEPLOYMENT}{deployment}" if deployment else limit

    def _own_name(self, limit: str) -> str:
        name = limit.removeprefix(_DEPLOYMENT)
        if not limit.startswith(_DEPLOYMENT) or "/" not in name:
            return limit
        return f"{_DEPLOYMENT}{self._rest.get(f'/deployments/name/{name}')['id']}"


@contextmanager
def opened(url: str, auth: str = "", *, ui: str = "", cert_file: str = "") -> Iterator[PrefectApi]:
    api = PrefectApi(url, auth, ui=ui, cert_file=cert_file)
    try:
        yield api
    finally:
        api.close()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _maybe(text: str | None) -> datetime | None:
    return _time(text) if text else None
