"""Everything on one machine: it comes up from nothing, looks after its children, and ends all of it, however it is ended.

The tests of one `serve` follow each other on one state directory, because its first start takes half a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines import embedded
from pipelines.embedded.loopback import free_port
from pipelines.jobs.flows import BY_NAME, FLOWS
from tests.conftest import fresh_place
from tests.flows import trying
from tests.flows.conftest import environment
from tests.flows.trying import Pool
from tests.support.wait import wait_until

pytestmark = pytest.mark.prefect
_STARTS_S = 150
_ENDS_S = 60


@dataclass
class Served:
    """One running `serve`."""

    process: subprocess.Popen[bytes]
    state: Path
    port: int
    said: Path

    @property
    def pool(self) -> Pool:
        return Pool(f"http://127.0.0.1:{self.port}/api", "organism", self.state / "tried")

    def words(self) -> str:
        return self.said.read_text("utf-8")

    def below(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def worker(self) -> psutil.Process | None:
        children = psutil.Process(self.process.pid).children()
        return next((p for p in children if "deployments.worker" in words(p)), None)


def words(process: psutil.Process) -> list[str]:
    """Its command line; none of one that has ended."""
    try:
        found: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return found


@pytest.fixture(scope="module")
def state() -> Path:
    place = fresh_place()
    (place / "tried").mkdir()
    return place


@contextmanager
def serving(state: Path, port: int, wait: bool = True) -> Iterator[Served]:
    said = state / "said"
    env = environment(state / "home") | {"ORGANISM_STATE_DIR": str(state), "PYTHONPATH": str(trying.ROOT)}
    with open(said, "wb") as log:
        command = [sys.executable, "-m", "deployments", "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=state, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    its = Served(process, state, port, said)
    try:
        if wait:
            wait_until(lambda: "Ctrl-C" in its.words() or process.poll() is not None, _STARTS_S, "serve to be up")
            assert process.poll() is None, its.words()
        yield its
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(_ENDS_S)


@pytest.fixture(scope="module")
def served(state: Path) -> Iterator[Served]:
    with serving(state, free_port()) as its:
        yield its


def left(state: Path) -> list[str]:
    """Processes that have to do with this directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(state) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_from_an_empty_directory_to_every_deployment_and_four_of_them_scheduled(served: Served) -> None:
    pool = served.pool
    assert httpx.get(f"http://127.0.0.1:{served.port}/", timeout=10).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{served.port}/ui-settings", timeout=10).json()["api_url"] == pool.api
    found = {row["name"]: row["id"] for row in pool.post("/deployments/filter")}
    assert set(found) == set(BY_NAME)
    assert {name for name, id_ in found.items() if pool.runs(id_)} == {flow.name for flow in FLOWS}


@pytest.mark.parametrize("flow", ["incremental", "full"])
def test_a_run_that_somebody_starts_in_the_interface_completes(served: Served, flow: str) -> None:
    deployment = httpx.get(f"{served.pool.api}/deployments/name/{flow}/{flow}", timeout=10).json()["id"]
    served.pool.until(served.pool.start(deployment), "COMPLETED", 120)


def test_no_secret_of_the_stores_is_in_the_command_line_of_a_child_or_in_what_the_server_shows(served: Served) -> None:
    secret = (served.state / "password").read_text().strip()
    assert not [p for p in served.below() if secret in " ".join(words(p))]
    shown = [served.pool.post(f"/{what}/filter") for what in ("deployments", "flow_runs", "work_pools", "logs")]
    assert secret not in str(shown)
    assert secret not in served.words()
    worker = served.worker()
    assert worker
    assert secret not in str(worker.environ())


def test_the_database_of_the_server_is_postgresql_and_its_leases_are_on_disk(served: Served) -> None:
    settings = httpx.get(f"{served.pool.api}/admin/settings", timeout=10).json()["server"]
    assert settings["concurrency"]["lease_storage"].endswith("filesystem")
    assert not list(served.state.rglob("*.db"))  # what SQLite would have left


def test_another_page_in_the_same_browser_may_not_ask(served: Served) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    api = f"{served.pool.api}/flows/"
    assert httpx.options(api, headers={"Origin": "https://elsewhere.example", **asked}).status_code == 400
    own = {"Origin": f"http://localhost:{served.port}", **asked}
    assert httpx.options(api, headers=own).status_code == 200
    plain = {"Content-Type": "text/plain"}  # what a page may send without asking first
    assert httpx.post(api, content='{"name": "x"}', headers=plain).status_code == 422


def test_a_second_one_on_the_same_directory_is_refused(served: Served) -> None:
    env = environment(served.state / "home") | {"ORGANISM_STATE_DIR": str(served.state), "PYTHONPATH": str(trying.ROOT)}
    command = [sys.executable, "-m", "deployments", "serve", "--port", str(free_port())]
    done = subprocess.run(command, cwd=served.state, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"process {served.process.pid}" in done.stderr


def test_a_taken_port_is_refused_before_anything_is_started(served: Served, tmp_path: Path) -> None:
    env = environment(tmp_path) | {"ORGANISM_STATE_DIR": str(tmp_path / "other"), "PYTHONPATH": str(trying.ROOT)}
    command = [sys.executable, "-m", "deployments", "serve", "--port", str(served.port)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {served.port}" in done.stderr
    assert not (tmp_path / "other").exists()


def test_a_worker_that_was_killed_is_replaced_and_leaves_no_second_one(served: Served) -> None:
    before = served.worker()
    assert before
    inner = wait_until(before.children, 20, "the Prefect worker")[0]
    before.kill()
    wait_until(lambda: (now := served.worker()) is not None and now.pid != before.pid, 30, "another worker")
    wait_until(lambda: not inner.is_running() or inner.status() == psutil.STATUS_ZOMBIE, 10, "the end of the first")
    assert "the worker ended (exit code -9); again in 1 s" in served.words()


def test_a_server_that_was_killed_is_replaced_and_remembers(served: Served) -> None:
    count = len(served.pool.post("/deployments/filter"))
    server = next(p for p in served.below() if {"server", "prefect"} <= set(words(p)))
    server.kill()
    wait_until(lambda: "the Prefect server ended" in served.words(), 30, "it to be noticed")
    wait_until(lambda: _answers(served), 90, "another server")
    assert len(served.pool.post("/deployments/filter")) == count


def _answers(served: Served) -> bool:
    try:
        return httpx.get(f"{served.pool.api}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_ctrl_c_ends_runs_worker_server_and_stores(served: Served) -> None:
    pool = served.pool
    run = pool.start(pool.deploy("interrupted"))
    pool.until_it_works(run)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(_ENDS_S) == 0
    assert left(served.state) == []
    assert embedded.pids(served.state) == {}


def test_after_kill_9_nothing_is_left_and_the_next_one_knows_how_the_runs_ended(state: Path) -> None:
    """By the watchdog: it ends them in the same order, so that the run of the test before, and this one, are known."""
    (state / "tried" / "diary").unlink(missing_ok=True)
    with serving(state, free_port()) as first:
        run = first.pool.start(first.pool.deploy("killed"))
        first.pool.until_it_works(run)
        first.process.kill()
        first.process.wait()
        wait_until(lambda: left(state) == [], _ENDS_S, "the end of everything")
    with serving(state, free_port()) as second:
        assert second.pool.state(run) == "CRASHED"
        assert second.pool.post("/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}}) == []
        second.process.terminate()
        assert second.process.wait(_ENDS_S) == 0
    assert left(state) == []


def test_a_second_ctrl_c_is_quick_and_still_says_how_the_runs_ended(state: Path) -> None:
    (state / "tried" / "diary").unlink(missing_ok=True)
    with serving(state, free_port()) as first:
        run = first.pool.start(first.pool.deploy("deaf"))
        first.pool.until_it_works(run)
        for process in trying.runs_of(first.process):
            process.suspend()  # it cannot hear that it should end
        first.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in first.words(), 10, "the first to be heard")
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(_ENDS_S) == 0
    assert left(state) == []
    with serving(state, free_port()) as second:
        assert second.pool.state(run) == "CRASHED"


def test_an_interrupt_while_it_starts_leaves_nothing(state: Path) -> None:
    with serving(state, free_port(), wait=False) as its:
        wait_until(lambda: any("prefect" in words(p) for p in its.below()), 60, "the Prefect server to start")
        its.process.send_signal(signal.SIGINT)
        assert its.process.wait(_ENDS_S) == 0
    assert left(state) == []
