"""ArcadeDB, which speaks Bolt as Neo4j does: a Python process around the native library of the package arcadedb."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.embedded.children import Children, Process, Program, tell
from pipelines.embedded.place import Place
from pipelines.embedded.server import Server

# Its default limit is half of the memory of the machine. It grows only with use: 73 MB after the start, about 150 MB
# with 150,000 relationships.
_HEAP_LIMIT = "-Xmx1g"


class Arcade:
    server = Server.GRAPH
    ports: tuple[str, ...] = ("graph", "graph_http")

    def __init__(self, place: Place, password: str, children: Children) -> None:
        self._place = place
        self._password = password
        self._children = children

    def prepare(self, lock: int) -> Iterator[None]:
        for folder in (self._place.data(self.server), self._place.data(self.server) / "log"):
            folder.mkdir(mode=0o700, exist_ok=True)
        yield

    def launch(self, ports: Mapping[str, int], lock: int) -> Process:
        root = self._place.data(self.server)
        process = self._children.start(
            Program(
                [sys.executable, "-P", Path(__file__).with_name("graph_child.py")],
                log=self._place.log(self.server.value),
                stop=signal.SIGTERM,
                cwd=root,  # in spite of every setting some part of it may write ./log
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                keep_open=(lock,),
                env=(
                    ("PYTHONPATH", os.environ.get("PYTHONPATH", "")),
                    ("ARCADEDB_LOG_DIR", str(root / "log")),
                    ("ARCADEDB_LOG_CONSOLE", "0"),
                    ("ARCADEDB_NATIVE_ISOLATE_ARGS", _HEAP_LIMIT),
                ),
            )
        )
        self._introduce(process, root, ports)
        return process

    def _introduce(self, process: Process, root: Path, ports: Mapping[str, int]) -> None:
        """One line with all it must know. Its input stays open: when that ends, the supervisor is gone."""
        if process.stdout:
            os.set_blocking(process.stdout.fileno(), False)
        told = {"root": str(root), "bolt": ports["graph"], "http": ports["graph_http"], "password": self._password}
        tell(process, json.dumps(told).encode() + b"\n")

    def answers(self, process: Process) -> bool:
        """It says so itself, once: its port is open a moment before its database is there."""
        return bool(process.stdout and process.stdout.read())

    def finish(self, ports: Mapping[str, int]) -> Iterator[None]:
        yield from ()
