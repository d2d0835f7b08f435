"""The process that owns the servers of one state directory: it starts what somebody wants, starts again what dies, and
ends everything when no client is left. `python -m pipelines.embedded.supervisor STATE` is run by the first client.

What keeps it right, all by locks that the kernel drops when their holder dies:
  supervisor   held exclusively by the one supervisor, from before it was started (it inherits the descriptor);
  clients      held shared by every client. Whoever gets it exclusively knows that there is none, and no new one can
               come before it is released: the supervisor takes it and keeps it until it has ended, so a client that
               comes while it stops waits for that end, and then starts a fresh one;
  want-NAME    held shared by every client that wants that server;
  data-NAME    held exclusively by the server itself and its children.
"""

import argparse
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.embedded import locks
from pipelines.embedded.arcade import Arcade
from pipelines.embedded.children import Children
from pipelines.embedded.life import Life, Service
from pipelines.embedded.place import Place
from pipelines.embedded.postgres import Postgres
from pipelines.embedded.record import STOPPED, STOPPING, UP, Record, read, replace_privately, write
from pipelines.embedded.server import Server
from pipelines.embedded.valkey import Valkey

_SERVICES: dict[Server, Callable[[Place, str, Children], Service]] = {
    Server.REDIS: Valkey,
    Server.GRAPH: Arcade,
    Server.POSTGRES: Postgres,
}
_STOP_LIMIT_SECONDS = 10.0
# How soon it sees that a client came or went. A child that dies wakes it at once.
_TICK_SECONDS = 0.1
_TICK_WHILE_STARTING_SECONDS = 0.01
_log = logging.getLogger(__name__)


class Supervisor:
    """One turn of `run` is a look at everything; nothing in it waits but the last line."""

    def __init__(self, place: Place, *, watchdog: bool) -> None:
        self._place = place
        self._password = _password(place)
        self._ports = dict(read(place.record).ports)
        self._children = Children(watchdog=watchdog)
        self._lives: dict[Server, Life] = {}
        self._written: Record | None = None
        self._clients = locks.open_lock(place.lock("clients"))
        self._wants = {server: locks.open_lock(place.lock(f"want-{server.value}")) for server in Server}
        self._alarm = Alarm()

    def run(self) -> None:
        try:
            while not self._is_over():
                self._welcome_the_wanted()
                for life in self._lives.values():
                    life.advance()
                self._write_record(UP)
                self._alarm.wait(self._tick())
        finally:
            self._stop()

    def _is_over(self) -> bool:
        """Told to stop, or no client is left. In that case the lock stays ours until this process ends."""
        return self._alarm.told_to_stop or locks.take(self._clients, shared=False)

    def _welcome_the_wanted(self) -> None:
        for server in Server:
            if server not in self._lives and self._is_wanted(server):
                service = _SERVICES[server](self._place, self._password, self._children)
                self._lives[server] = Life(service, self._place, self._ports)

    def _is_wanted(self, server: Server) -> bool:
        if not locks.take(self._wants[server], shared=False):
            return True
        locks.release(self._wants[server])
        return False

    def _tick(self) -> float:
        settled = all(life.is_settled for life in self._lives.values())
        return _TICK_SECONDS if settled else _TICK_WHILE_STARTING_SECONDS

    def _write_record(self, state: str) -> None:
        record = Record(
            state=state,
            supervisor=os.getpid(),
            ports=dict(self._ports),
            pids={server.value: life.pid for server, life in self._lives.items() if life.pid},
            problems={server.value: life.problem for server, life in self._lives.items() if life.problem},
        )
        if record != self._written:
            write(self._place.record, record)
            self._written = record

    def _stop(self) -> None:
        """Orderly, and complete even if the record cannot be written (a full disk)."""
        _log.info("stopping: %s", "told to" if self._alarm.told_to_stop else "no client is left")
        try:
            self._write_record(STOPPING)
        finally:
            for life in self._lives.values():
                life.end()
            self._children.stop_all(_STOP_LIMIT_SECONDS)
        write(self._place.record, Record(state=STOPPED, ports=dict(self._ports)))
        _log.info("stopped")


class Alarm:
    """Sleeps until something happens: a child that dies, a signal to stop, or the time is over."""

    def __init__(self) -> None:
        self.told_to_stop = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with no handler it would not wake us
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)

    def wait(self, seconds: float) -> None:
        if select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def _stop(self, *_: object) -> None:
        self.told_to_stop = True


def _password(place: Place) -> str:
    """One for all servers of this directory, made at its first start. URL-safe, 192 bits."""
    if not place.password.exists():
        replace_privately(place.password, os.urandom(24).hex().encode())
    return place.password.read_text().strip()


def _detach() -> None:
    """The client waits for the first process only, which ends here; so we are no child of the client's, and a zombie
    of nobody's. That first process was made the leader of a session of its own: a Ctrl-C there is not for us."""
    if os.fork():
        os._exit(0)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.supervisor")
    parser.add_argument("state", type=Path)
    parser.add_argument("--lock", type=int, required=True, help="inherited descriptor that holds the supervisor's lock")
    parser.add_argument("--watchdog", action="store_true", help="use the watchdog process on Linux too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    arguments = _arguments(argv)
    os.set_inheritable(arguments.lock, False)
    _detach()
    logging.basicConfig(level=logging.INFO, format="%(asctime)sZ %(levelname)s %(message)s")
    logging.Formatter.converter = time.gmtime
    watchdog = arguments.watchdog or sys.platform != "linux"
    Supervisor(Place(arguments.state), watchdog=watchdog).run()


if __name__ == "__main__":
    main(sys.argv[1:])
