"""The API on real stores: the first seed's walk, stores that go away and come back, and what never leaves it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import argon2
import httpx
import psycopg
import pytest

from pipelines import settings, wiring
from pipelines.access.passwords import Passwords
from pipelines.access.principals import Role
from pipelines.access.store import PostgresAccess
from pipelines.api.__main__ import _bound
from pipelines.api.app import create_app
from pipelines.api.desk import Desk, opened
from pipelines.api.table import TABLE
from pipelines.interventions import audit_store
from pipelines.jobs import released
from pipelines.model import Code, Lane
from pipelines.postgres import open_pool
from pipelines.report import story_json
from pipelines.report.story_telling import tell
from pipelines.runs import Mode, Status
from tests import conftest
from tests.support import make, stories
from tests.support.api_app import Client
from tests.support.fakes_proposals import LIVE, band, finding, orchestrator
from tests.support.gate import Gate, gated
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
CHEAP = argon2.Parameters(argon2.Type.ID, 19, 16, 32, time_cost=1, memory_cost=64, parallelism=1)
SECONDS = 60


@dataclass
class Office:
    """The API on empty stores, and the gates in front of two of them."""

    desk: Desk
    where: wiring.Endpoints
    postgres: Gate
    redis: Gate

    def __post_init__(self) -> None:
        self.app = create_app(self.desk)
        self._bearers: dict[str, str] = {}

    def by(self, *roles: Role) -> Bearer:
        """Somebody with these roles, who has logged in."""
        name = "-".join(roles)
        if name not in self._bearers:
            with open_pool(self.where.postgres, 1) as pool:
                PostgresAccess(pool, passwords=Passwords(CHEAP)).create(name, PASSWORD, roles, datetime.now(UTC))
            asked = {"username": name, "password": PASSWORD}
            self._bearers[name] = Client(self.app).post("/api/v1/auth/login", asked).json()["access_token"]
        return Bearer(self.app, self._bearers[name])

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.where.postgres, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def propose(self, by: str = "carl") -> str:
        """The id of a proposal about a team of twenty."""
        now = datetime.now(UTC)
        evaluate = orchestrator(window_end=now, requested_by=(by,)).evaluate
        self.desk.proposals.propose(partial(evaluate, [finding()], [band("sales", size=20)]), now, "run-1", now)
        found: str = self.by(Role.VIEWER).get("/interventions").json()["proposals"][0]["id"]
        return found


class Bearer(Client):
    """Who shows a real token."""

    def __init__(self, app: Any, bearer: str) -> None:
        super().__init__(app)
        self.shown = bearer

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return super().ask(method, path, body, Authorization=f"Bearer {self.shown}", **headers)


@pytest.fixture
def office(embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with conftest.opened(embedded), gated(embedded.postgres) as (postgres, one), gated(embedded.redis) as (redis, two):
        where = replace(embedded, postgres=postgres, redis=redis, cache=redis)
        for name, value in conftest.as_environment(embedded).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path))
        monkeypatch.setenv("ORGANISM_API_RATE", "1000")  # a test that waits asks a hundred times a second
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
        monkeypatch.setattr(wiring, "policy_rules", lambda config: replace(LIVE, k=config.min_group_size))
        with opened(settings.load(_env_file=None), where) as desk:
            yield Office(desk, embedded, one, two)


# ------------------------------------------------------------------------------------------------ the walk


def test_a_run_is_started_followed_and_found_again(office: Office) -> None:
    operator = office.by(Role.OPERATOR, Role.VIEWER)
    asked = {"workflow_type": "incremental", "parameters": {}}
    said = operator.post("/api/v1/automation/workflow", asked, Idempotency_Key="walk").json()
    assert office.sql("SELECT flow_run_id FROM workflow_runs") == [(said["run_id"],)]
    again = operator.post("/api/v1/automation/workflow", asked, Idempotency_Key="walk").json()
    assert again["run_id"] == said["run_id"]

    def ended() -> dict[str, Any] | None:
        its: dict[str, Any] = operator.get(said["status_endpoint"]).json()
        return its if its["status"] in ("completed", "failed") else None

    assert wait_until(ended, SECONDS, "the run")["status"] == "completed"
    listed = operator.get("/api/v1/automation/status").json()
    assert [run["run_id"] for run in listed["recent_executions"]] == [said["run_id"]]
    assert listed["automation_system"]["execution_mode"] == "direct" and listed["status"] == "healthy"
    told = operator.get(f"/workflows/flows/{said['workflow_id']}/report").json()
    assert told["asked"].startswith("Asked for by operator-viewer") and told["run"]["steps"]
    with open_pool(office.where.postgres, 1) as pool, pool.connection() as connection:
        report = audit_store.verify(connection, wiring.audit_key(office.desk.config), None)
    assert report.bad is None and report.rows >= 3  # a login, and a start that was asked for twice


def test_a_proposal_is_approved_once_and_the_log_holds(office: Office) -> None:
    id_ = office.propose()
    approver = office.by(Role.APPROVER)
    body = {"version": 1, "reason": "worth a try"}
    assert approver.post(f"/interventions/{id_}/approve", body).json()["state"] == "approved"
    assert approver.post(f"/interventions/{id_}/approve", body).json()["code"] == "NOT_PENDING"
    actions = [action for (action,) in office.sql("SELECT action FROM audit_log ORDER BY seq")]
    asked = actions.index("asks POST /interventions/{proposal_id}/approve")
    assert asked < actions.index("approved")


def test_a_changed_log_stops_approvals(office: Office) -> None:
    id_ = office.propose()
    office.sql("SET session_replication_role = replica; UPDATE audit_log SET who = 'mallory' WHERE seq = 1")
    said = office.by(Role.APPROVER).post(f"/interventions/{id_}/approve", {"version": 1, "reason": "good"})
    assert (said.status_code, said.json()["code"]) == (409, "AUDIT_BROKEN")


def test_numbers_that_a_run_released_are_read_back(office: Office) -> None:
    now = datetime.now(UTC)
    office.desk.ledger.begin("full", "f", Mode.DIRECT, now, parameters={})
    office.desk.ledger.correlate("f", "full-2026-03-02T06")
    office.desk.ledger.close("f", Status.COMPLETED, now)
    story = story_json.as_dict(tell(stories.material()))
    released.keep(office.desk.postgres().results, "full-2026-03-02T06", story, now)
    said = office.by(Role.ANALYST).get("/points").json()
    assert said["points"] and any(point["hidden"] for point in said["points"])
    assert office.by(Role.ANALYST).get("/findings?run=full-2026-03-02T07").status_code == 404


def test_dead_letters_are_paged_and_replayed(office: Office) -> None:
    with conftest.opened(office.where) as stores:
        stores.stream.append([b"no json", b"neither", make.event("a")])
        stores.stream.fetch(10, timedelta(0))
        for entry in stores.stream.pending("0", 10)[:2]:
            stores.stream.set_aside(entry, Lane.DEAD, Code.BAD_JSON, "it is no JSON", 1)
        operator = office.by(Role.OPERATOR)
        page = operator.get("/dead-letters?limit=1").json()
        other = operator.get(page["next"]).json()
        ids = [page["letters"][0]["id"], other["letters"][0]["id"]]
        assert len(set(ids)) == 2 and other["next"] is None and page["counts"] == {"BAD_JSON": 2}
        assert operator.post("/dead-letters/replay", {"ids": ids}).json()["replayed"] == 2
        assert operator.post("/dead-letters/replay", {"code": "BAD_JSON"}).json()["replayed"] == 0


def test_no_answer_holds_a_secret(office: Office) -> None:
    id_, everybody = office.propose(), office.by(*Role)
    run = office.desk.ledger.begin(
        "full", "f-1", Mode.DIRECT, datetime.now(UTC), parameters={"note": office.where.postgres}
    )
    secrets = {*office.desk.forbidden, PASSWORD, everybody.shown.partition(".")[2]}
    names = {"run_id": run.run_id, "flow_id": run.run_id, "proposal_id": id_, "name": "start.js"}
    names |= dict.fromkeys(("flow", "flow_type"), "full")
    asked = [path.format(**names) for method, path in TABLE if method == "GET"]
    assert len(asked) > 25 and len(secrets) > 2
    for path in asked:
        answer = everybody.get(path)
        assert not [secret for secret in secrets if secret in answer.text + str(answer.headers)], path


def test_a_name_that_no_store_can_keep_is_not_found(office: Office) -> None:
    everybody = office.by(*Role)
    names = dict.fromkeys(("run_id", "flow_id", "proposal_id", "name", "flow", "flow_type"), "%00")
    asked = [path.format(**names) for method, path in TABLE if method == "GET" and "{" in path]
    assert len(asked) > 10
    told = {path: everybody.get(path).status_code for path in asked}
    assert {path: status for path, status in told.items() if status not in (404, 422)} == {}
    assert told["/interventions/%00"] == told["/proposals/%00"] == 404
    login = Client(office.app).post("/api/v1/auth/login", {"username": "an\0na", "password": "x"})
    assert login.status_code in (401, 422)


# ------------------------------------------------------------------------------------------------ what is away


def test_without_redis_people_look_and_nobody_decides(office: Office) -> None:
    id_ = office.propose()
    approver, viewer = office.by(Role.APPROVER), office.by(Role.VIEWER)
    office.redis.shut()
    assert viewer.get("/workflows/flows").status_code == 200
    assert viewer.get("/interventions").status_code == 200
    body = {"version": 1, "reason": "good"}
    answer = approver.post(f"/interventions/{id_}/approve", body)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert wait_until(lambda: missing(viewer), SECONDS, "readiness") == ["redis"]
    assert viewer.get("/workflows/health").json()["status"] == "degraded"
    office.redis.open()
    again = partial(approver.post, f"/interventions/{id_}/approve", body)
    assert wait_until(lambda: again().status_code == 200, SECONDS, "Redis is back")


def missing(client: Client) -> list[str]:
    found: list[str] = client.get("/readyz").json()["missing"]
    return found


def test_without_postgres_nothing_is_claimed_and_it_comes_back_by_itself(office: Office) -> None:
    viewer = office.by(Role.VIEWER)
    assert viewer.get("/workflows/flows").status_code == 200
    office.postgres.shut()
    answer = viewer.get("/workflows/flows")
    assert answer.status_code == 503 and answer.json()["code"] == "AWAY"
    assert Client(office.app).get("/healthz").status_code == 200
    assert wait_until(lambda: missing(viewer), SECONDS, "readiness") == ["postgres"]
    assert viewer.get("/workflows/health").json()["status"] == "down"
    office.postgres.open()
    assert wait_until(lambda: viewer.get("/workflows/flows").status_code == 200, SECONDS, "PostgreSQL is back")


def test_an_app_starts_while_everything_is_away(embedded: wiring.Endpoints, tmp_path: Path) -> None:
    with gated(embedded.postgres) as (postgres, gate):
        gate.shut()
        config = settings.load(_env_file=None, state_dir=tmp_path)
        with opened(config, replace(embedded, postgres=postgres)) as desk:
            client = Client(create_app(desk))
            assert client.get("/healthz").status_code == 200
            assert "postgres" in missing(client)
            asked = {"username": "anna", "password": "x"}
            assert client.post("/api/v1/auth/login", asked).status_code == 503
            gate.open()
            login = partial(client.post, "/api/v1/auth/login", asked)
            assert wait_until(lambda: login().status_code == 401, SECONDS, "PostgreSQL is there")


# ------------------------------------------------------------------------------------------------ the command


@contextmanager
def command(where: wiring.Endpoints, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | conftest.as_environment(where)
    env |= {"PYTHONPATH": str(ROOT), "ORGANISM_STATE_DIR": str(folder), "PREFECT_HOME": str(folder)}
    called = [sys.executable, "-m", "pipelines.api", *arguments]
    with subprocess.Popen(called, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_says_where_it_listens_and_how_to_make_the_first_user(
    embedded: wiring.Endpoints, tmp_path: Path
) -> None:
    with conftest.opened(embedded):
        pass
    with command(embedded, tmp_path, "--port", "0") as process:
        assert process.stderr
        said = [process.stderr.readline() for _ in range(3)]
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+(?= is)", said[1])
        assert "python -m pipelines.users create" in said[2]
        wait_until(lambda: alive(url), SECONDS, "the API")
        secret = "key_0123456789abcdef.SECRETSECRETSECRET"
        httpx.get(f"{url}/workflows/flows?flow={secret}", headers={"Authorization": f"Bearer {secret}"})
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(SECONDS) == 0 and "stopped" in rest
        assert "SECRET" not in rest and embedded.postgres not in "".join(said) + rest


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Of a socket that is not said to be TCP asyncio does not switch off Nagle's algorithm: 40 ms for each answer."""
    with _bound("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_port_that_is_taken_is_said_at_once(embedded: wiring.Endpoints, tmp_path: Path) -> None:
    with gated(embedded.redis) as (_, gate), command(embedded, tmp_path, "--port", str(gate.port)) as process:
        assert process.stderr and "choose another" in process.stderr.read()
        assert process.wait(SECONDS) == 1
