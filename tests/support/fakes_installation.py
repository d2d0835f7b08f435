"""A Prefect server as installing and checking see it, in memory; right in every way until a test breaks it."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from deployments import automations, deploy, manifest
from deployments.rest import Api, Row
from pipelines.errors import OrganismError, TransientError

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "prefect.yaml"
NOW = datetime(2026, 3, 2, 6, 1, tzinfo=UTC)
DOWN = TransientError("Prefect API 127.0.0.1:4200: ConnectError; is it up? check PREFECT_API_URL")


class FakeApi(Api):
    """down: raised by every question. written: what was changed, in order."""

    def __init__(self) -> None:
        self.down: OrganismError | None = None
        self.written: list[str] = []
        self.told_version = "3.8.8"
        self.told_settings: Row = {
            "server": {
                "concurrency": {"lease_storage": "prefect.server.concurrency.lease_storage.filesystem"},
                "services": {"db_vacuum": {"enabled": ["events", "flow_runs"]}},
                "database": {"connection_url": "********"},
            }
        }
        self.own_pools: dict[str, Row] = {}
        self.own_queues: dict[str, Row] = {}
        self.own_workers: list[Row] = []
        self.own_deployments: dict[str, Row] = {}
        self.own_automations: list[Row] = []
        self.own_runs: dict[str, list[Row]] = {}
        self.time = NOW
        self._ids = count(1)

    def close(self) -> None:
        pass

    def _up(self) -> None:
        if self.down:
            raise self.down

    def version(self) -> str:
        self._up()
        return self.told_version

    def settings(self) -> Row:
        return self.told_settings

    def clock(self) -> datetime:
        self._up()
        return self.time

    def pool(self, name: str) -> Row | None:
        return self.own_pools.get(name)

    def pools(self) -> list[str]:
        return sorted(self.own_pools)

    def queues(self, pool: str) -> dict[str, Row]:
        return deepcopy(self.own_queues)

    def workers(self, pool: str) -> list[Row]:
        return self.own_workers

    def deployments(self) -> dict[str, Row]:
        self._up()
        return deepcopy(self.own_deployments)

    def automations(self) -> list[Row]:
        return deepcopy(self.own_automations)

    def runs(self, deployment: str, *states: str, after: datetime | None = None) -> list[Row]:
        found = [run for run in self.own_runs.get(deployment, []) if run["state"] in states]
        return [run for run in found if after is None or datetime.fromisoformat(run["expected_start_time"]) > after]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        self.written.append(f"POST {path}")
        if path == "/automations/":
            self.own_automations.append({**body, "id": str(next(self._ids)), "created": f"{next(self._ids):04}"})
        elif path == "/work_pools/":
            self.own_pools[body["name"]] = {**body, "is_paused": False}
        elif path.endswith("/queues"):
            self.own_queues[body["name"]] = {**body, "is_paused": False}
        else:
            raise AssertionError(path)

    def patch(self, path: str, body: Row) -> None:
        self.written.append(f"PATCH {path}")
        self.own_queues[path.rpartition("/")[2]].update(body)

    def put(self, path: str, body: Row) -> None:
        assert "owner_resource" not in body, "the server takes that in a POST and refuses it in a PUT"
        self.written.append(f"PUT {path}")
        next(row for row in self.own_automations if row["id"] == path.rpartition("/")[2]).update(body)

    def delete(self, path: str) -> None:
        self.written.append(f"DELETE {path}")
        self.own_automations = [row for row in self.own_automations if row["id"] != path.rpartition("/")[2]]


def installed() -> FakeApi:
    """All of it there, and one worker online."""
    api = FakeApi()
    api.own_pools = {"organism": {"name": "organism", "type": "process", "is_paused": False}}
    api.own_queues = {
        name: {"name": name, "priority": priority, "concurrency_limit": limit, "is_paused": False}
        for name, (priority, limit) in manifest.QUEUES.items()
    }
    api.own_workers = [{"name": "w1", "status": "ONLINE", "last_heartbeat_time": NOW.isoformat()}]
    its = manifest.load(FILE)
    for i, one in enumerate(its.deployments):
        api.own_deployments[deploy.full_name(one)] = deployed(one, its.pull, f"id-{i}")
        api.own_runs[f"id-{i}"] = [run("SCHEDULED", NOW + timedelta(minutes=4 + i))]
    automations.install(api, automations.shipped("organism"))
    api.written.clear()
    return api


def run(state: str, at: datetime, id_: str = "run") -> Row:
    return {"id": id_, "state": state, "expected_start_time": at.isoformat()}


def deployed(one: manifest.Deployment, pull: list[dict[str, dict[str, Any]]], id_: str) -> Row:
    """The row that a server gives for it."""
    wanted = deploy._wanted(one, pull)
    limit = one.concurrency_limit
    return {
        "id": id_,
        "name": one.name,
        "paused": False,
        "entrypoint": one.entrypoint,
        "description": one.description,
        "tags": one.tags,
        "parameters": one.parameters,
        "parameter_openapi_schema": wanted["parameter_schema"],
        "schedules": [
            {"slug": s.slug, "active": True, "schedule": {"cron": s.cron, "timezone": s.timezone, "day_or": True}}
            for s in one.schedules
        ],
        "global_concurrency_limit": {"limit": limit.limit, "active_slots": 0},
        "concurrency_options": limit.model_dump(exclude={"limit"}),
        "work_pool_name": one.work_pool.name,
        "work_queue_name": one.work_pool.work_queue_name,
        "job_variables": wanted["job_variables"],
        "pull_steps": pull,
    }
