"""The watch on a real Prefect server and real stores: what was killed, what never began, what holds a slot for nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts import rules
from alerts.model import Code
from pipelines import settings, wiring, wiring_watch
from pipelines.jobs import watch
from pipelines.jobs.facts import Machine, Sources
from pipelines.orchestrator.store import PrefectApi, opened
from pipelines.runs import ErrorKind, Mode, Status
from tests.conftest import as_environment
from tests.conftest import opened as opened_stores
from tests.flows.conftest import _free_port, environment
from tests.support.wait import wait_until
from tests.unit.jobs.test_watch import Told

ROOT = Path(__file__).parent.parent.parent
NAME = "incremental/hanging"
LIMIT = f"deployment:{NAME}"
JUDGE = watch.Judge(partial(rules.problems, limits=rules.Limits(digest="never")), rules.unknown)
MACHINE = Machine(lambda: None, lambda: None, "")


@pytest.fixture
def api(prefect_api: str) -> Iterator[PrefectApi]:
    """With a deployment of one slot, which nothing holds at the start."""
    with opened(prefect_api) as api:
        flow = api._rest.post("/flows/", {"name": "incremental"})["id"]
        about = {"entrypoint": "tests.flows.hanging_flow.hanging", "pull_steps": [], "enforce_parameter_schema": False}
        slot = {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}}
        api._rest.post("/deployments/", {"name": "hanging", "flow_id": flow, **about, **slot})
        yield api
        for run in api.runs({"SCHEDULED", "PENDING", "RUNNING"}):
            api.set_state(run.run_id, "CANCELLED", "Cancelled", "the test is over")


@pytest.fixture
def stores(embedded: wiring.Endpoints) -> wiring.Endpoints:
    with opened_stores(embedded):
        pass
    return embedded


@pytest.fixture
def sources(stores: wiring.Endpoints, api: PrefectApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    for name, value in as_environment(stores).items():
        monkeypatch.setenv(name, value)
    with wiring_watch.watching(settings.load()) as watched:
        found = watched.sources
        yield Sources(found.ledger, found.stream, found.letters, found.graph, api, pool="organism")


def active(api: PrefectApi) -> int:
    return {limit.name: limit.active for limit in api.limits()}[LIMIT]


def now(minutes: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def turn(sources: Sources, at: datetime, told: Told | None = None) -> watch.Turn:
    return watch.turn(sources, JUDGE, told or Told(), MACHINE, at, me="me")


class Later(PrefectApi):
    """The same server some minutes from now."""

    def clock(self) -> datetime:
        return super().clock() + timedelta(minutes=11)


def execute(api: PrefectApi, url: str, stores: wiring.Endpoints, home: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """A run of the deployment in a process of its own, at work, as a worker that was killed with it would leave it."""
    run, mark = api.start(NAME, {}), home / "hangs"
    api.set_state(run.run_id, "PENDING", "Pending", "")
    own = {"PREFECT_API_URL": url, "PYTHONPATH": str(ROOT), "HANGS_AT": str(mark), "ORGANISM_STATE_DIR": str(home)}
    env = environment(home) | as_environment(stores) | own
    command = [sys.executable, "-m", "prefect.engine", run.run_id]
    with open(home / "run.log", "wb") as log:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(mark.exists, 120, "the run to be at work")
    except AssertionError:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError((home / "run.log").read_text()) from None
    return run.run_id, process


def test_a_killed_run_is_crashed_everywhere_and_its_slot_is_free_after_the_turn_that_can_know_it(
    sources: Sources, api: PrefectApi, prefect_api: str, stores: wiring.Endpoints, tmp_path: Path
) -> None:
    run_id, process = execute(api, prefect_api, stores, tmp_path)
    ledger = sources.ledger
    assert ledger is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    before, there = ledger.get(run_id), api.run(run_id)
    assert before and there and (before.status, there.state_type, active(api)) == (Status.RUNNING, "RUNNING", 1)
    assert turn(sources, now(1)).crashed == (), "its last sign of life is fresh"
    assert turn(sources, now(5)).crashed == (), "nobody else was heard since: perhaps it was the ledger that was away"
    ledger.begin("incremental", "another", Mode.DIRECT, now(3), parameters={})
    ledger.close("another", Status.COMPLETED, now(3))
    told = Told()
    done = turn(sources, now(5), told)
    row, there = ledger.get(run_id), api.run(run_id)
    assert row and there
    assert (row.status, row.error_kind, row.prefect_state) == (Status.FAILED, ErrorKind.CRASHED, "Zombie")
    assert (there.state_type, there.state_name) == ("CRASHED", "Zombie")
    assert active(api) == 0 and done.crashed == (run_id,)
    assert Code.ZOMBIE_RUN in {p.code for p in told.problems}
    quiet = turn(sources, now(5))
    assert (quiet.crashed, quiet.reaped, quiet.released) == ((), (), {})


def test_a_run_that_never_began_is_ended_and_the_next_one_gets_its_slot(
    sources: Sources, api: PrefectApi, prefect_api: str
) -> None:
    run = api.start(NAME, {})
    api.set_state(run.run_id, "PENDING", "Pending", "")
    assert turn(sources, now()).crashed == ()
    told, later = Told(), Later(prefect_api)
    done = turn(Sources(sources.ledger, orchestrator=later, pool="organism"), now(11), told)
    later.close()
    found = api.run(run.run_id)
    assert done.crashed == (run.run_id,) and found and found.state_name == "StuckPending"
    assert Code.NEVER_STARTED in {p.code for p in told.problems}
    again = api.start(NAME, {})
    api.set_state(again.run_id, "PENDING", "Pending", "")
    assert active(api) == 1


def test_a_leaked_slot_is_found_told_and_given_back(sources: Sources, api: PrefectApi, prefect_api: str) -> None:
    id_ = api._rest.get(f"/deployments/name/{NAME}")["id"]
    wait_until(lambda: active(api) == 0, 30, "a free slot")
    api._rest.post("/v2/concurrency_limits/increment", {"slots": 1, "names": [f"deployment:{id_}"]})
    told, later = Told(), Later(prefect_api)  # runs of other tests ended some minutes ago, and have no lease any more
    done = turn(Sources(sources.ledger, orchestrator=later, pool="organism"), now(), told)
    later.close()
    assert done.released == {LIMIT: 1} and active(api) == 0
    assert (Code.SLOT_LEAKED, LIMIT) in {(p.code, p.subject) for p in told.problems}


def test_a_server_that_is_down_is_told_and_nothing_of_it_recovers(sources: Sources) -> None:
    told = Told()
    with opened(f"http://127.0.0.1:{_free_port()}/api") as nobody:
        turn(Sources(sources.ledger, orchestrator=nobody, pool="organism"), now(), told)
    assert [p.code for p in told.problems] == [Code.PREFECT_DOWN]
    assert {Code.SLOT_LEAKED, Code.NO_WORKER, Code.QUEUE_LONG, Code.NEVER_STARTED} <= set(told.unknown)


# ------------------------------------------------------------------------------------------------ the command and the flow


def command(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = environment(home) | {"ORGANISM_STATE_DIR": str(home / "state")} | variables | {"PYTHONPATH": str(ROOT)}
    call = [sys.executable, *arguments]
    return subprocess.run(call, cwd=home, env=env, capture_output=True, text=True, timeout=170, check=False)


def test_the_command_does_without_prefect_and_keeps_its_account(stores: wiring.Endpoints, tmp_path: Path) -> None:
    done = command(
        tmp_path, "-m", "pipelines.watch", "--once", "--json", **as_environment(stores), ALERT_DIGEST="never"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["problems"] == []
    with wiring.ledger(stores) as ledger:
        (run,) = ledger.find(flow_name="watch")
    assert (run.status, run.mode, run.result["problems"]) == (Status.COMPLETED, Mode.DIRECT, 0)


def test_with_every_store_away_it_says_so_of_each_and_keeps_the_alerts(tmp_path: Path) -> None:
    away = f"127.0.0.1:{_free_port()}"
    urls = {
        "ORGANISM_REDIS_URL": f"redis://:s3cret-Canary@{away}/0",
        "ORGANISM_GRAPH_URL": f"bolt://{away}",
        "ORGANISM_GRAPH_PASSWORD": "s3cret-Canary",
        "ORGANISM_POSTGRES_URL": f"postgresql://u:s3cret-Canary@{away}/d",
        "PREFECT_API_URL": f"http://{away}/api",
        "ALERT_DIGEST": "never",
    }
    done = command(tmp_path, "-m", "pipelines.watch", "--json", **urls)
    assert done.returncode == 1, done.stderr
    found = {(p["code"], p["subject"]) for p in json.loads(done.stdout)["problems"]}
    down = {("STORE_DOWN", name) for name in ("redis", "graph", "postgres")}
    assert found == down | {("PREFECT_DOWN", "prefect")}
    assert "Canary" not in done.stdout + done.stderr
    kept = [p for p in (tmp_path / "state").rglob("*") if p.is_file()]
    assert kept and not any(b"Canary" in p.read_bytes() for p in kept)


def test_embedded_servers_that_nobody_started_are_not_started(tmp_path: Path) -> None:
    done = command(tmp_path, "-m", "pipelines.watch", "--once")
    assert done.returncode == 0, done.stderr
    assert "not running" in done.stdout
    assert not (tmp_path / "state").exists()


def test_as_a_flow_it_is_a_run_of_its_own_in_both_accounts(
    stores: wiring.Endpoints, prefect_api: str, tmp_path: Path
) -> None:
    script = "from pipelines.watch import watch; print(watch(return_state=True).name)"
    variables = as_environment(stores) | {"PREFECT_API_URL": prefect_api, "ALERT_DIGEST": "never"}
    done = command(tmp_path, "-c", script, **variables)
    assert done.stdout.split()[-1:] == ["Completed"], done.stderr
    with wiring.ledger(stores) as ledger:
        (run,) = ledger.find(flow_name="watch")
    there: dict[str, Any] = httpx.get(f"{prefect_api}/flow_runs/{run.run_id}", timeout=10).json()
    assert (run.mode, run.status, there["state_name"]) == (Mode.PREFECT, Status.COMPLETED, "Completed")
