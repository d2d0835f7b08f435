"""The life of one server: start, watch, start again when it dies, give up when that helps nothing.

Written as generators: the supervisor has one thread and three servers to start at the same time, so every wait here is
a `yield`.
"""

import logging
import os
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Protocol

from pipelines.embedded import locks, loopback
from pipelines.embedded.children import Process
from pipelines.embedded.errors import EmbeddedError, explained, problem
from pipelines.embedded.place import Place
from pipelines.embedded.server import Server

START_LIMIT_SECONDS = 20.0
_log = logging.getLogger(__name__)


class Service(Protocol):
    """What differs between the servers. `lock` is a descriptor that every process on the data must inherit."""

    @property
    def server(self) -> Server: ...
    @property
    def ports(self) -> tuple[str, ...]: ...
    def prepare(self, lock: int) -> Iterator[None]: ...
    def launch(self, ports: Mapping[str, int], lock: int) -> Process: ...
    def answers(self, process: Process) -> bool: ...
    def finish(self, ports: Mapping[str, int]) -> Iterator[None]: ...


class Patience:
    """How long to wait after a death: longer each time it dies young, and not for ever."""

    _WINDOW_SECONDS = 30.0
    _YOUNG_SECONDS = 2.0  # one that lived longer was not killed by its own start
    _WAITS = (0.1, 0.2, 0.5, 1.0)

    def __init__(self) -> None:
        self._deaths: list[float] = []

    def after_a_death(self, now: float, lived: float) -> float | None:
        """Seconds to wait before the next try; None after the fifth early death within the window."""
        if lived >= self._YOUNG_SECONDS:
            self._deaths = []
        self._deaths = [death for death in self._deaths if now - death < self._WINDOW_SECONDS] + [now]
        return self._WAITS[len(self._deaths) - 1] if len(self._deaths) <= len(self._WAITS) else None


class Life:
    """`pid` is there while the server answers; `problem` once it is given up. `advance` never waits."""

    def __init__(self, service: Service, place: Place, ports: dict[str, int]) -> None:
        self.server = service.server
        self.ports = ports
        self.pid: int | None = None
        self.problem: str | None = None
        self._service = service
        self._place = place
        self._has_answered = False
        self._started = 0.0
        self._patience = Patience()
        self._steps = self._live()

    @property
    def is_settled(self) -> bool:
        return self.pid is not None or self.problem is not None

    def advance(self) -> None:
        next(self._steps, None)

    def end(self) -> None:
        """Wherever it waits, it goes no further; what it holds for a moment only is given back."""
        self._steps.close()

    def _live(self) -> Generator[None, None, None]:
        try:
            with explained(self._place.root):
                while True:
                    process = yield from self._start()
                    yield from self._watch(process)
                    yield from self._recover(process)
        except EmbeddedError as error:
            self.problem = str(error)
            _log.error("gave up: %s", error)

    def _start(self) -> Generator[None, None, Process]:
        lock = locks.open_lock(self._place.lock(f"data-{self.server.value}"))
        try:
            yield from self._wait_for_the_last_one(lock)
            yield from self._service.prepare(lock)
            self._choose_ports()
            self._started = time.monotonic()
            process = self._service.launch(self.ports, lock)
        finally:
            os.close(lock)  # the server holds it now, and nobody else, for as long as it or a child of it lives
        yield from self._until_it_answers(process)
        return process

    def _wait_for_the_last_one(self, lock: int) -> Iterator[None]:
        """Two servers on one directory would destroy it; one whose supervisor was killed may still be ending."""
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while not locks.take(lock, shared=False):
            if time.monotonic() > deadline:
                raise problem(
                    f"an earlier {self.server.value} server still runs on {self._place.root}",
                    "its end",
                    "find it (ps) and end it, then start again",
                )
            yield

    def _choose_ports(self) -> None:
        """Once it has answered, clients know its ports, and it keeps them. Before, a port that is taken is replaced."""
        for name in self._service.ports:
            known = self.ports.get(name)
            if known is None or not (self._has_answered or loopback.is_free(known)):
                self.ports[name] = loopback.free_port(self.ports.values())

    def _until_it_answers(self, process: Process) -> Iterator[None]:
        """The limit is for silence: recovery after a crash may take longer, and says so in the log all the while."""
        log, said, since = self._place.log(self.server.value), 0, time.monotonic()
        while process.poll() is None and not self._service.answers(process):
            if log.stat().st_size != said:
                said, since = log.stat().st_size, time.monotonic()
            if time.monotonic() - since > START_LIMIT_SECONDS:
                process.kill()
                raise self._gave_up(f"{self.server.value} did not answer within {START_LIMIT_SECONDS:g} s")
            yield
        if process.poll() is None:
            yield from self._service.finish(self.ports)

    def _watch(self, process: Process) -> Iterator[None]:
        if process.poll() is None:
            self.pid, self._has_answered = process.pid, True
            _log.info("%s answers (process %s, port %s)", self.server.value, self.pid, self.ports[self.server.value])
        while process.poll() is None:
            yield
        self.pid = None

    def _recover(self, process: Process) -> Iterator[None]:
        _log.warning("%s ended (exit code %s)", self.server.value, process.returncode)
        wait = self._patience.after_a_death(time.monotonic(), time.monotonic() - self._started)
        if wait is None:
            raise self._gave_up(f"{self.server.value} ended five times in 30 s (exit code {process.returncode})")
        until = time.monotonic() + wait
        while time.monotonic() < until:
            yield

    def _gave_up(self, seen: str) -> EmbeddedError:
        log = self._place.log(self.server.value)
        return problem(
            seen,
            "a server that runs",
            f"read {log}; when its cause is gone, start again",
            self._place.log_tail(self.server.value),
        )
