"""One real Prefect server for the session, on a free port of loopback, with a home of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.wait import wait_until


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of its API."""
    home = tmp_path_factory.mktemp("prefect")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [
        str(Path(sys.executable).with_name("prefect")),
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with open(home / "server.log", "wb") as log:
        server = subprocess.Popen(command, env=environment(home), stdout=log, stderr=log)
    try:
        wait_until(lambda: _healthy(url, server), 120, "the Prefect server")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def environment(home: Path) -> dict[str, str]:
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
    return {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | quiet


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _healthy(url: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "the Prefect server ended"
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
