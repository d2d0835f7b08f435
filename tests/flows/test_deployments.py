"""Installing on a real Prefect server: what `prefect deploy` and `setup` make, that runs are scheduled, what doctor sees."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from deployments import __main__ as commands
from deployments import server
from pipelines import wiring
from tests.conftest import as_environment
from tests.flows.conftest import _free_port, _healthy, environment
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent
AUTOMATIONS = ["incremental-silent", "pool-not-ready", "stuck-pending", "zombie"]


@dataclass(frozen=True)
class Installation:
    """A server of our own settings, and the environment that leads to it and to the stores."""

    api: str
    variables: dict[str, str]
    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = environment(self.home) | self.variables | {"PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-m", *words]
        return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200)

    def post(self, path: str, body: Any) -> Any:
        answer = httpx.post(f"{self.api}{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def place(embedded: wiring.Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Set up once, by the command."""
    home = tmp_path_factory.mktemp("installation")
    port = _free_port()
    api = f"http://127.0.0.1:{port}/api"
    env = environment(home) | server.RIGHT
    line = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(home / "server.log", "wb") as log:
        process = subprocess.Popen(line, env=env, stdout=log, stderr=log)
    try:
        wait_until(lambda: _healthy(api, process), 120, "the Prefect server")
        made = Installation(api, as_environment(embedded) | {"PREFECT_API_URL": api}, home)
        done = made.run("deployments", "setup", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        process.terminate()
        process.wait(30)


#: What a server changes by itself.
_VOLATILE = {"status", "last_polled", "last_activity", "estimated_run_time", "late_runs_count"}


def rows(place: Installation) -> dict[str, list[dict[str, Any]]]:
    """Everything on the server that setup could have written, with ids and times of change."""
    found = {}
    for what in ("flows", "deployments", "automations", "work_pools", "work_pools/organism/queues", "block_documents"):
        found[what] = place.post(f"/{what}/filter", {})
    found["limits"] = place.post("/v2/concurrency_limits/filter", {})
    runs = place.post("/flow_runs/filter", {"sort": "ID_DESC"})
    found["runs"] = [{"id": run["id"]} for run in runs]
    return {
        what: sorted(({k: v for k, v in row.items() if k not in _VOLATILE} for row in its), key=lambda row: row["id"])
        for what, its in found.items()
    }


Run = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def run(place: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process, with other variables: its exit code, and its checks by name."""
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    for name, value in (environment(place.home) | place.variables | {"PYTHONPATH": str(ROOT)}).items():
        monkeypatch.setenv(name, value)

    def command(name: str, **variables: str) -> tuple[int, dict[str, dict[str, Any]]]:
        with monkeypatch.context() as around:
            for variable, value in variables.items():
                around.setenv(variable, value)
            code = commands.main([name, "--json", "--file", str(ROOT / "prefect.yaml")])
        return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    return command


@pytest.fixture
def doctor(run: Run) -> Callable[..., dict[str, str]]:
    """What is red, by name."""

    def examine(**variables: str) -> dict[str, str]:
        code, checks = run("doctor", **variables)
        red = {name: check["seen"] for name, check in checks.items() if check["ok"] is False}
        assert code == (1 if red else 0)
        return red

    return examine


# ------------------------------------------------------------------------------------------------ setup


def test_setup_a_second_time_says_unchanged_and_changes_no_row(place: Installation, run: Run) -> None:
    before = settled(place)
    code, checks = run("setup")
    assert (code, rows(place)) == (0, before)
    made = [check["seen"] for name, check in checks.items() if name in {"migrations", *AUTOMATIONS}]
    made += [check["seen"] for name, check in checks.items() if name.startswith(("deploy ", "work pool", "queues"))]
    assert len(made) == 14
    assert all(seen.startswith("unchanged") for seen in made)


def settled(place: Installation) -> dict[str, list[dict[str, Any]]]:
    """The rows once the scheduler has filled the next hour, which it does by itself."""

    def same() -> dict[str, list[dict[str, Any]]] | None:
        first = rows(place)
        return first if len(first["runs"]) > 20 and rows(place) == first else None

    found = wait_until(same, 90, "a scheduler that is done")
    assert found is not None
    return found


def test_prefect_deploy_alone_makes_what_setup_wants_and_writes_everything_anew(place: Installation, run: Run) -> None:
    """The second half is the naive control of the test above."""
    before = rows(place)["deployments"]
    done = place.run("prefect", "--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    after = rows(place)["deployments"]
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert after != before
    code, checks = run("deploy")
    assert code == 0
    assert {check["seen"] for name, check in checks.items() if name.startswith("deploy ")} == {"unchanged"}


def test_a_deployment_that_was_changed_by_hand_is_put_right(place: Installation, run: Run) -> None:
    (full,) = [row for row in place.post("/deployments/filter", {}) if row["name"] == "full"]
    mine = {"description": "mine", "concurrency_limit": 3}
    httpx.patch(f"{place.api}/deployments/{full['id']}", json=mine, timeout=20).raise_for_status()
    _, checks = run("deploy")
    assert checks["deploy full"]["seen"] == "changed: description, concurrency limit"
    assert checks["deploy incremental"]["seen"] == "unchanged"
    (full,) = [row for row in place.post("/deployments/filter", {}) if row["name"] == "full"]
    assert full["global_concurrency_limit"]["limit"] == 1


def test_the_server_really_schedules_runs_of_all_four(place: Installation) -> None:
    """The smoke test of the pins: with sqlalchemy 2.1 all else works and no run is ever created."""
    ids = {row["id"]: row["name"] for row in place.post("/deployments/filter", {})}

    def scheduled() -> set[str]:
        runs = place.post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return {ids[run["deployment_id"]] for run in runs if run["deployment_id"] in ids}

    wait_until(lambda: scheduled() == {"incremental", "full", "watch", "verify"}, 60, "scheduled runs of all four")


def test_automations_are_there_once_after_several_setups(place: Installation, run: Run) -> None:
    assert run("setup")[0] == run("setup")[0] == 0
    found = [row["name"] for row in place.post("/automations/filter", {})]
    assert sorted(found) == [f"organism-{name}" for name in AUTOMATIONS]


def test_a_webhook_is_told_by_a_block_whose_url_the_server_does_not_show(place: Installation) -> None:
    url = "https://hooks.example.org/services/canary-of-the-webhook"
    told = Installation(place.api, place.variables | {"SLACK_WEBHOOK_URL": url}, place.home)
    first, second = told.run("deployments", "setup", "--json"), told.run("deployments", "setup", "--json")
    assert [done.returncode for done in (first, second)] == [0, 0], first.stdout + second.stdout
    seen = {check["name"]: check["seen"] for check in json.loads(second.stdout)["checks"]}
    assert (seen["tell slack"], seen["pool-not-ready"]) == ("unchanged", "unchanged")
    (block,) = [b for b in place.post("/block_documents/filter", {}) if b["name"] == "organism-slack"]
    assert "canary" not in json.dumps(block) + first.stdout + second.stdout + first.stderr + second.stderr
    silent = [a for a in place.post("/automations/filter", {}) if a["name"] == "organism-incremental-silent"]
    assert silent[0]["actions"][0]["block_document_id"] == block["id"]


def test_the_pool_may_be_renamed(place: Installation, run: Run) -> None:
    try:
        code, _ = run("deploy", PREFECT_WORK_POOL_NAME="shared")
        assert code == 0
        assert {row["work_pool_name"] for row in place.post("/deployments/filter", {})} == {"shared"}
    finally:
        assert run("deploy")[0] == 0
        httpx.delete(f"{place.api}/work_pools/shared", timeout=20).raise_for_status()


# ------------------------------------------------------------------------------------------------ doctor


@pytest.fixture
def worker(place: Installation) -> None:
    """One that is seen to be alive."""
    beat = {"name": "w1", "heartbeat_interval_seconds": 300}
    place.post("/work_pools/organism/workers/heartbeat", beat)


def wait_for_schedules(place: Installation) -> None:
    """The server makes the runs of a new schedule in its own time."""
    body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "limit": 200}

    def scheduled() -> bool:
        runs = httpx.post(f"{place.api}/flow_runs/filter", json=body, timeout=20).json()
        return len({run["deployment_id"] for run in runs}) == 4

    wait_until(scheduled, 120, "a scheduled run of each deployment")


def test_without_a_worker_it_says_so(place: Installation, doctor: Callable[..., dict[str, str]]) -> None:
    wait_for_schedules(place)
    httpx.delete(f"{place.api}/work_pools/organism/workers/w1", timeout=20)
    assert doctor() == {"workers": "none online in organism"}


@pytest.mark.usefixtures("worker")
def test_a_whole_installation_is_green(place: Installation, doctor: Callable[..., dict[str, str]]) -> None:
    wait_for_schedules(place)
    assert doctor() == {}


@pytest.mark.usefixtures("worker")
def test_a_server_that_is_down(doctor: Callable[..., dict[str, str]]) -> None:
    red = doctor(PREFECT_API_URL=f"http://127.0.0.1:{_free_port()}/api")
    assert list(red) == ["Prefect API"]
    assert "ConnectError" in red["Prefect API"]


@contextmanager
def hanging() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        port: int = listener.getsockname()[1]
        yield port


def test_a_server_that_hangs_is_reported_and_not_waited_for(doctor: Callable[..., dict[str, str]]) -> None:
    with hanging() as port:
        red = doctor(PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
    assert list(red) == ["Prefect API"]
    assert "ReadTimeout" in red["Prefect API"]


@pytest.mark.usefixtures("worker")
def test_a_pool_that_does_not_exist(doctor: Callable[..., dict[str, str]]) -> None:
    red = doctor(PREFECT_WORK_POOL_NAME="elsewhere")
    assert red["work pool"] == "there is no pool elsewhere; there are: organism"
    assert red["deploy full"] == "not as in prefect.yaml: pool"


@pytest.mark.usefixtures("worker")
def test_a_redis_that_is_down(doctor: Callable[..., dict[str, str]]) -> None:
    red = doctor(ORGANISM_REDIS_URL=f"redis://127.0.0.1:{_free_port()}/0")
    assert list(red) == ["Redis"]
    assert "ConnectionError" in red["Redis"]


@pytest.mark.usefixtures("worker")
def test_a_wrong_password_of_the_graph(doctor: Callable[..., dict[str, str]]) -> None:
    red = doctor(ORGANISM_GRAPH_PASSWORD="canary-of-the-graph")
    assert list(red) == ["graph"]
    assert "ORGANISM_GRAPH_PASSWORD" in red["graph"]
    assert "canary" not in red["graph"]


@pytest.mark.usefixtures("worker")
def test_a_postgresql_that_is_read_only(embedded: wiring.Endpoints, doctor: Callable[..., dict[str, str]]) -> None:
    with psycopg.connect(embedded.postgres, autocommit=True) as connection:
        name = psycopg.sql.Identifier(connection.info.dbname)
        turn = psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        connection.execute(turn.format(name, True))
        try:
            red = doctor()
        finally:
            connection.execute(turn.format(name, False))
    assert list(red) == ["PostgreSQL"]
    assert red["PostgreSQL"].endswith("answers and is read-only")


@pytest.mark.usefixtures("worker")
def test_a_clock_that_is_off(doctor: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_now", lambda: datetime.now(UTC) + timedelta(seconds=90))
    red = doctor()
    assert set(red) == {"clock Redis", "clock PostgreSQL", "clock Prefect"}
    assert all(words.endswith("behind this machine") for words in red.values())


@pytest.mark.usefixtures("worker")
def test_a_slot_that_no_run_holds(place: Installation, doctor: Callable[..., dict[str, str]]) -> None:
    (row,) = [row for row in place.post("/deployments/filter", {}) if row["name"] == "incremental"]
    slot = {"names": [f"deployment:{row['id']}"], "slots": 1, "mode": "concurrency"}
    place.post("/v2/concurrency_limits/increment", slot)
    try:
        assert doctor() == {"slots": "held by no live run: incremental/incremental (1); new runs are refused"}
    finally:
        place.post("/v2/concurrency_limits/decrement", slot)


@pytest.mark.usefixtures("worker")
def test_a_server_that_forgets_its_leases(prefect_api: str, doctor: Callable[..., dict[str, str]]) -> None:
    """The naive control: Prefect as it comes."""
    assert doctor(PREFECT_API_URL=prefect_api)["slot leases"].startswith("in memory")
