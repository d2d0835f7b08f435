"""A running API with a user of its own, over HTTP: what walks, fuzzes and loads it starts here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from pipelines.embedded.loopback import free_port
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
_STARTS_S = 180
ROLES = ("viewer", "operator", "analyst")


@dataclass(frozen=True)
class Site:
    """One API. process: the one that listens."""

    url: str
    user: str
    password: str
    state: Path
    process: subprocess.Popen[bytes]
    said: Path

    def login(self) -> dict[str, str]:
        """The header that every request needs."""
        asked = {"username": self.user, "password": self.password}
        answer = httpx.post(f"{self.url}/api/v1/auth/login", json=asked, timeout=30)
        answer.raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def total(self) -> int:
        """Runs in the ledger."""
        answer = httpx.get(f"{self.url}/api/v1/automation/status", headers=self.login(), timeout=30)
        return int(answer.raise_for_status().json()["total_executions"])


@dataclass(frozen=True)
class Served:
    """url: of the Prefect server's API. process: of `serve`, below which all of it is."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def folder() -> Iterator[Path]:
    """A new one, which is gone afterwards. Open to be entered: under root the embedded PostgreSQL runs as somebody else."""
    with TemporaryDirectory(prefix="organism", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def environment(state: Path, prefect: str = "", **more: str) -> dict[str, str]:
    """Of a program of ours on this state directory, with no setting of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ORGANISM_", "PREFECT_", "SLACK_", "ALERT_"))}
    ours = {"ORGANISM_STATE_DIR": str(state), "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(state / "prefect")}
    return kept | ours | ({"PREFECT_API_URL": prefect} if prefect else {}) | more


def create_user(environment: Mapping[str, str], name: str, roles: tuple[str, ...]) -> str:
    """By the command that people use; its password."""
    command = [sys.executable, "-m", "pipelines.users", "create", name, "--password-stdin"]
    command += [part for role in roles for part in ("--role", role)]
    password = os.urandom(12).hex()
    done = subprocess.run(
        command, input=password, env=dict(environment), cwd=ROOT, capture_output=True, text=True, timeout=_STARTS_S
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return password


@contextmanager
def running(
    folder: Path, prefect: str = "", *, known: Site | None = None, roles: tuple[str, ...] = ROLES, **more: str
) -> Iterator[Site]:
    """`python -m pipelines.api` on the embedded stores of a folder. known: an earlier one whose user is there already."""
    state, port = folder / "state", free_port()
    env = environment(state, prefect, **more)
    said = folder / f"api-{port}.txt"
    with open(said, "wb") as log:
        command = [sys.executable, "-m", "pipelines.api", "--port", str(port)]
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: ready(url, process, said), _STARTS_S, "the API")
        user = known.user if known else "walk"
        password = known.password if known else create_user(env, user, roles)
        yield Site(url, user, password, state, process, said)
    finally:
        process.terminate()
        process.wait(60)


def ready(url: str, process: subprocess.Popen[bytes], said: Path) -> bool:
    assert process.poll() is None, said.read_text("utf-8", "replace")
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """`python -m deployments serve` on the same folder."""
    state, port, said = folder / "state", free_port(), folder / "serve.txt"
    command = [sys.executable, "-m", "deployments", "serve", "--port", str(port)]
    with open(said, "wb") as log:
        process = subprocess.Popen(
            command, env=environment(state), cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        wait_until(lambda: "Ctrl-C" in said.read_text("utf-8") or process.poll() is not None, _STARTS_S, "serve")
        assert process.poll() is None, said.read_text("utf-8")
        yield Served(f"http://127.0.0.1:{port}/api", process)
    finally:
        process.terminate()
        process.wait(90)
