"""The servers of one campaign, in a directory of their own: how to reach them, how to kill one, when it is back."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pipelines import embedded, settings, wiring
from pipelines.embedded import Server
from pipelines.wiring import Endpoints

if TYPE_CHECKING:
    from tests.support.neo4j_server import Neo4jServer

EMBEDDED, NEO4J = "embedded", "neo4j"


class Servers:
    """Three servers that come back on the same port after each kill: the embedded ones by their supervisor."""

    def __init__(self, folder: Path, endpoints: Endpoints, neo4j: Neo4jServer | None) -> None:
        self.endpoints = endpoints
        self._state, self._neo4j = folder / "state", neo4j
        self._restart: threading.Thread | None = None
        self._killed: dict[Server, int] = {}

    def kill(self, server: Server) -> bool:
        """SIGKILL, and back to work. False when it is not up again since the last one."""
        if server is Server.GRAPH and self._neo4j:
            return self._kill_neo4j(self._neo4j)
        pid = embedded.pids(self._state).get(server)
        if pid is None or pid == self._killed.get(server):
            return False
        self._killed[server] = pid
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def _kill_neo4j(self, neo4j: Neo4jServer) -> bool:
        if self._restart and self._restart.is_alive():
            return False
        neo4j.kill()
        self._restart = threading.Thread(target=neo4j.restart, name="restart of Neo4j")
        self._restart.start()
        return True

    def are_up(self) -> bool:
        if self._restart and self._restart.is_alive():
            return False
        wanted = set(Server) - ({Server.GRAPH} if self._neo4j else set())
        found = embedded.pids(self._state)
        return wanted <= found.keys() and not set(found.items()) & set(self._killed.items())

    def wait_for_restart(self) -> None:
        if self._restart:
            self._restart.join()


@contextmanager
def running(folder: Path, graph: str) -> Iterator[Servers]:
    """Fresh servers with their data under `folder`."""
    config = settings.load(state_dir=folder / "state", _env_file=None)
    with ExitStack() as stack:
        neo4j = stack.enter_context(_neo4j(folder)) if graph == NEO4J else None
        if neo4j:
            config = config.model_copy(update={"graph_url": neo4j.url})
        endpoints = stack.enter_context(wiring.endpoints(config))
        if neo4j:
            endpoints = replace(endpoints, graph_user=neo4j.user, graph_password=neo4j.password)
        servers = Servers(folder, endpoints, neo4j)
        stack.callback(servers.wait_for_restart)  # a restart under way would outlive the server's end
        yield servers


@contextmanager
def _neo4j(folder: Path) -> Iterator[Neo4jServer]:
    from tests.support import neo4j_server

    with neo4j_server.neo4j_server(folder / "neo4j") as server:
        yield server


def why_not_neo4j() -> str | None:
    """None when a real Neo4j can be run here, else why not."""
    from tests.support import neo4j_server

    return neo4j_server.why_not()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A directory that is gone afterwards. Open to be walked through: as root, PostgreSQL runs as the user nobody."""
    root = Path("/var/tmp") if os.geteuid() == 0 else Path(os.environ.get("TMPDIR", "/tmp"))
    folder = root / f"organism-chaos-{uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
