"""`python -m pipelines.api` as a process: a migration that is under way, and embedded servers that end under it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from pipelines import migrate, wiring
from pipelines.embedded.loopback import free_port
from pipelines.embedded.place import Place
from pipelines.embedded.record import read
from pipelines.errors import TransientError
from tests import conftest
from tests.support import api_site
from tests.support.wait import wait_until


class Api:
    """One that may not be ready for a long time."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], said: Path, state: Path) -> None:
        self._url, self.process, self._said, self._state = url, process, said, state

    def missing(self) -> list[str] | None:
        """None: it does not listen."""
        assert self.process.poll() is None, self.said()
        try:
            return list(httpx.get(f"{self._url}/readyz", timeout=9).json()["missing"])
        except httpx.TransportError:
            return None

    def said(self) -> str:
        return self._said.read_text("utf-8", "replace")

    def supervisor(self) -> int | None:
        return read(Place(self._state).record).supervisor


@pytest.fixture(scope="module")
def api(embedded: wiring.Endpoints) -> Iterator[Api]:
    """While a migration is under way in PostgreSQL. Redis is its own, of the stores that which starts soonest."""
    named = {name: value for name, value in conftest.as_environment(embedded).items() if name != "ORGANISM_REDIS_URL"}
    with api_site.folder() as folder, psycopg.connect(embedded.postgres) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (migrate._LOCK,))
        with started(folder, api_site.environment(folder / "state", **named)) as its:
            yield its


@contextmanager
def started(folder: Path, env: Mapping[str, str]) -> Iterator[Api]:
    port, said = free_port(), folder / "said.txt"
    with open(said, "wb") as log:
        command = [sys.executable, "-m", "pipelines.api", "--port", str(port)]
        process = subprocess.Popen(command, env=dict(env), cwd=api_site.ROOT, stdout=log, stderr=log)
    try:
        yield Api(f"http://127.0.0.1:{port}", process, said, folder / "state")
    finally:
        process.kill()
        process.wait(20)


def test_while_a_migration_is_under_way_it_listens_and_says_what_is_missing_and_why(api: Api) -> None:
    assert wait_until(api.missing, 60, "readiness") == ["postgres"]
    wait_until(lambda: "api: postgres: a migration is under way" in api.said(), 20, "the reason")


def test_a_command_gives_up_as_well_and_says_why(api: Api, embedded: wiring.Endpoints) -> None:
    with pytest.raises(TransientError, match=r"a migration is under way.*try again"):
        wiring.bring_up_to_date(embedded.postgres, patience_s=0.1)


def test_embedded_servers_whose_supervisor_was_killed_are_started_again(api: Api) -> None:
    wait_until(lambda: api.missing() == ["postgres"], 60, "Redis")
    killed = api.supervisor()
    os.kill(killed or 0, signal.SIGKILL)
    wait_until(lambda: "the embedded servers are there again" in api.said(), 30, "that it is said")
    assert api.supervisor() not in (None, killed)
    wait_until(lambda: api.missing() == ["postgres"], 20, "Redis")


def test_it_ends_when_it_is_told_to_while_a_migration_is_under_way(api: Api) -> None:
    wait_until(lambda: api.missing() is not None, 60, "the API")
    api.process.terminate()
    assert api.process.wait(20) == 0
    assert "api: stopped" in api.said()
