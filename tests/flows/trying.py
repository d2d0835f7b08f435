"""A work pool with deployments of a slow flow on a real Prefect server, and workers beside it that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil

from tests.flows.conftest import environment
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
OURS = ("-m", "deployments.worker")
PLAIN = ("-m", "prefect", "worker", "start", "--type", "process")
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass
class Pool:
    """One pool; everything in it is its own. folder: diaries, logs and the workers' temporary files."""

    api: str
    name: str
    folder: Path

    @property
    def diary(self) -> Path:
        return self.folder / "diary"

    def lines(self, what: str) -> list[str]:
        return [line for line in self.diary.read_text().splitlines() if what in line] if self.diary.exists() else []

    def post(self, path: str, **body: Any) -> Any:
        """A server on SQLite that is busy says 503 and has done nothing: it is asked again, as Prefect's client does."""

        def asked() -> list[httpx.Response]:
            answer = httpx.post(f"{self.api}{path}", json=body, timeout=20)
            return [] if answer.status_code == 503 else [answer]

        (answer,) = wait_until(asked, 60, "a server that has time")
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deploy(self, name: str, seconds: float = 60, collision: str | None = None, **rest: Any) -> str:
        """A deployment of the slow flow, and its id; with a collision strategy it may run once at a time."""
        flow = self.post("/flows/", name="slow")["id"]
        limit = {"collision_strategy": collision, "grace_period_seconds": 60}
        limited = {"concurrency_limit": 1, "concurrency_options": limit} if collision else {}
        body = {
            "name": f"{name}-{self.name}", "flow_id": flow, "work_pool_name": self.name, "pull_steps": [],
            "entrypoint": "tests.flows.slow_flow.slow", "parameters": {"seconds": seconds, "diary": str(self.diary)},
        }  # fmt: skip
        made: str = self.post("/deployments/", **body, **limited, **rest)["id"]
        return made

    def start(self, deployment: str) -> str:
        """As somebody does who presses the button."""
        run: str = self.post(f"/deployments/{deployment}/create_flow_run")["id"]
        return run

    def state(self, run: str) -> str:
        found: str = httpx.get(f"{self.api}/flow_runs/{run}", timeout=20).json()["state_type"]
        return found

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        wanted: dict[str, Any] = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        if states:
            wanted["flow_runs"] = {"state": {"type": {"any_": list(states)}}}
        found: list[dict[str, Any]] = self.post("/flow_runs/filter", **wanted)
        return found

    def slots(self, deployment: str) -> int:
        """How many of the deployment's slots are taken."""
        its = httpx.get(f"{self.api}/deployments/{deployment}", timeout=20).json()
        limit = its["global_concurrency_limit"]
        return int(limit["active_slots"])

    def until(self, run: str, state: str, seconds: float = 60) -> None:
        wait_until(lambda: self.state(run) == state, seconds, f"{state} of a run")

    def until_it_works(self, run: str) -> None:
        """The body of the flow, and not only its process."""
        self.until(run, "RUNNING")
        wait_until(lambda: self.lines("began"), 30, "the first line of the diary")

    @contextmanager
    def worker(self, command: Sequence[str] = OURS, limit: int = 4) -> Iterator[subprocess.Popen[bytes]]:
        """It, and whatever it started, has ended afterwards."""
        env = environment(self.folder / "home") | {"PREFECT_API_URL": self.api, "PYTHONPATH": str(ROOT)}
        env |= {"TMPDIR": str(self.folder / "tmp"), "PREFECT_WORKER_QUERY_SECONDS": "1", "DRAIN_SECONDS": "15"}
        (self.folder / "tmp").mkdir(exist_ok=True)
        with open(self.folder / "worker.log", "ab") as log:
            words = [sys.executable, *command, "--pool", self.name, "--limit", str(limit)]
            worker = subprocess.Popen(words, env=env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield worker
        finally:
            end_all(worker)
            self._end_orphans()

    def _end_orphans(self) -> None:
        """Runs whose worker was killed: by their diary's folder in the environment."""
        for process in psutil.process_iter():
            try:
                if process.environ().get("PREFECT_HOME") == str(self.folder / "home"):
                    process.kill()
            except psutil.Error:
                continue


def end_all(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    process.wait()


def runs_of(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of flow runs below a worker, however it was started."""
    below = psutil.Process(worker.pid).children(recursive=True)
    return [p for p in below if "PREFECT__FLOW_RUN_ID" in p.environ()]


@contextmanager
def pool(api: str, folder: Path) -> Iterator[Pool]:
    its = Pool(api, f"try-{uuid4().hex[:8]}", folder)
    its.post("/work_pools/", name=its.name, type="process")
    yield its
    httpx.delete(f"{api}/work_pools/{its.name}", timeout=20).raise_for_status()


def now() -> datetime:
    return datetime.now(UTC)


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
