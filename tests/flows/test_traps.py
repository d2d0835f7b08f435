"""Traps of Prefect, each with its cure, and beside it the same without the cure. Those that take minutes: tests/traps.py."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.flows import trying
from tests.flows.conftest import environment
from tests.flows.trying import ENDED, OURS, PLAIN, Pool, runs_of
from tests.support.wait import wait_until

pytestmark = pytest.mark.prefect


@pytest.fixture
def pool(prefect_api: str, tmp_path: Path) -> Iterator[Pool]:
    with trying.pool(prefect_api, tmp_path) as pool:
        yield pool


def stopped(pool: Pool, command: tuple[str, ...], deployment: str) -> str:
    """A run whose worker got SIGTERM in the middle of it, as `docker stop` sends."""
    run = pool.start(deployment)
    with pool.worker(command) as worker:
        pool.until_it_works(run)
        its = [process.pid for process in runs_of(worker)]
        worker.send_signal(signal.SIGTERM)
        worker.wait(40)
        assert its
        wait_until(lambda: all(map(trying.has_ended, its)), 10, "the end of the run's process")
    return run


def test_a_worker_that_is_told_to_stop_ends_its_runs_and_frees_their_slots(pool: Pool) -> None:
    deployment = pool.deploy("ours", collision="CANCEL_NEW")
    run = stopped(pool, OURS, deployment)
    assert pool.state(run) == "CRASHED"
    assert pool.slots(deployment) == 0
    assert list((pool.folder / "tmp").iterdir()) == []


def test_a_plain_worker_leaves_its_run_running_for_ever_and_its_slot_taken(pool: Pool) -> None:
    """The control: nothing ever says so, and no process is left."""
    deployment = pool.deploy("plain", collision="CANCEL_NEW")
    run = stopped(pool, PLAIN, deployment)
    assert pool.state(run) == "RUNNING"
    assert pool.slots(deployment) == 1


def test_a_second_signal_makes_the_end_quick(pool: Pool) -> None:
    run = pool.start(pool.deploy("quick"))
    with pool.worker() as worker:
        pool.until_it_works(run)
        for process in runs_of(worker):
            process.suspend()  # it cannot hear that it should end
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)
        worker.wait(12)
    assert pool.state(run) == "CRASHED"


def test_a_killed_run_is_reported_by_its_worker_and_frees_its_slot(pool: Pool) -> None:
    deployment = pool.deploy("killed", collision="CANCEL_NEW")
    run = pool.start(deployment)
    with pool.worker() as worker:
        pool.until_it_works(run)
        for process in runs_of(worker):
            process.kill()
        pool.until(run, "CRASHED", 20)
        wait_until(lambda: pool.slots(deployment) == 0, 20, "the slot")


def test_a_killed_worker_and_run_leave_a_run_that_only_others_can_see(pool: Pool) -> None:
    """What the watch flow, the automations and the check without Prefect are for."""
    deployment = pool.deploy("both-killed", collision="CANCEL_NEW")
    run = pool.start(deployment)
    with pool.worker() as worker:
        pool.until_it_works(run)
        trying.end_all(worker)
        assert pool.state(run) == "RUNNING"
        assert pool.slots(deployment) == 1
    pool.post(f"/flow_runs/{run}/set_state", state={"type": "CRASHED", "name": "Zombie"}, force=True)
    assert pool.slots(deployment) == 0  # that is all a cure has to do


def test_a_run_beside_a_longer_one_is_cancelled(pool: Pool) -> None:
    deployment = pool.deploy("alone", seconds=8, collision="CANCEL_NEW")
    with pool.worker():
        first = pool.start(deployment)
        pool.until_it_works(first)
        second = pool.start(deployment)
        pool.until(second, "CANCELLED")
        pool.until(first, "COMPLETED")
    assert len(pool.lines("began")) == 1


def test_without_a_limit_it_runs_beside_it(pool: Pool) -> None:
    """The control."""
    deployment = pool.deploy("together", seconds=8)
    with pool.worker():
        for run in [pool.start(deployment) for _ in range(2)]:
            pool.until(run, "COMPLETED")
    (began, ended) = (sorted(float(line.split()[2]) for line in pool.lines(what)) for what in ("began", "ended"))
    assert began[1] < ended[0]


def missed(pool: Pool, collision: str) -> str:
    """A deployment all of whose twelve runs were missed."""
    rule = f"DTSTART:{trying.now():%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;COUNT=14"
    schedules = [{"schedule": {"rrule": rule, "timezone": "UTC"}, "active": True}]
    deployment = pool.deploy("missed", seconds=0.2, collision=collision, schedules=schedules)
    pool.post(f"/deployments/{deployment}/schedule", min_runs=20, max_runs=20)
    last = trying.now() + timedelta(seconds=15)
    wait_until(lambda: trying.now() > last, 20, "runs that nobody takes")
    return deployment


def all_ended(pool: Pool, deployment: str) -> bool:
    return all(run["state_type"] in ENDED for run in pool.runs(deployment))


@pytest.mark.parametrize("collision", ["CANCEL_NEW", "ENQUEUE"])
def test_what_was_missed_while_no_worker_was_there_becomes_one_run(pool: Pool, collision: str) -> None:
    deployment = missed(pool, collision)
    with pool.worker(limit=1):
        wait_until(lambda: all_ended(pool, deployment), 60, "the end of all late runs")
    assert len(pool.runs(deployment)) >= 10
    assert len(pool.runs(deployment, "COMPLETED")) == 1
    assert {run["state_name"] for run in pool.runs(deployment, "CANCELLED")} == {"Missed"}


def test_with_a_plain_worker_they_run_again_and_again(pool: Pool) -> None:
    """The control: the limit alone does not do it."""
    missed(pool, "CANCEL_NEW")
    with pool.worker(PLAIN, limit=1):
        wait_until(lambda: len(pool.lines("began")) > 1, 60, "a second catch-up run")


def test_scheduled_runs_appear(pool: Pool) -> None:
    """With sqlalchemy 2.1 beside prefect 3.8.8 all else works, and this does not."""
    deployment = pool.deploy("scheduled", schedules=[{"schedule": {"cron": "*/5 * * * *"}, "active": True}])
    pool.post(f"/deployments/{deployment}/schedule", min_runs=3)
    assert len(pool.runs(deployment, "SCHEDULED")) >= 3


# ------------------------------------------------------------------------------------------------ without a server


def loaded(statement: str) -> set[str]:
    """The modules that are there after it, in a fresh Python."""
    words = [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(words, cwd=trying.ROOT, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


HEAVY = {"scipy", "sklearn", "numba", "duckdb", "dask", "distributed"}


@pytest.mark.parametrize("flow", ["pipelines.incremental", "pipelines.watch"])
def test_a_run_does_not_load_statistics_before_it_needs_them(flow: str) -> None:
    assert HEAVY & loaded(f"import {flow}") == set()


def test_nor_does_the_worker_load_prefect() -> None:
    assert "prefect" not in loaded("import deployments.worker")
    assert "prefect" in loaded("import pipelines.incremental")  # the control: it can be seen


def walks(api: str, home: Path, how: str) -> dict[str, int]:
    env = environment(home) | {"PREFECT_API_URL": api, "PYTHONPATH": str(trying.ROOT)}
    words = [sys.executable, str(Path(__file__).with_name("handle_flow.py")), how]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_prefect_does_not_walk_through_what_our_steps_are_given(prefect_api: str, tmp_path: Path) -> None:
    assert walks(prefect_api, tmp_path, "ours")["given"] == 0
    assert walks(prefect_api, tmp_path, "plain")["given"] > 0  # the control
