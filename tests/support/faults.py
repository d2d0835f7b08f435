"""What the fault table needs: a clock that can be moved, doors to stores that can be shut, a Prefect server that can be
killed, receivers with a count for each, and the naive hook beside them; and the table itself.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest

from pipelines import account, incremental, settings, steps, watch, wiring
from pipelines import command as frame
from pipelines.account import Origin
from pipelines.errors import OrganismError, Refused
from tests.conftest import as_environment
from tests.flows.conftest import _free_port, environment
from tests.support.sinks import Sinks, WebhookSink, sinks
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent
CHANNELS = ("slack", "webhook", "sentry", "mail")
NOTHING = dict.fromkeys(CHANNELS, 0)
EACH_ONCE = dict.fromkeys(CHANNELS, 1)
MINUTE = timedelta(minutes=1)
#: A server that forgets nothing, and finds out within seconds that a worker is gone.
_QUICK = {
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
}


# ------------------------------------------------------------------------------------------------ time


class Clock:
    """Now, or later."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, minutes: float) -> None:
        self.ahead += minutes * MINUTE


# ------------------------------------------------------------------------------------------------ doors


class Door:
    """A port on loopback that leads to a server. Shut, it refuses connections, and those that stood are broken."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._port = 0
        self._server: _Passage | None = None
        self.open()

    @property
    def url(self) -> str:
        user, at, _ = self._url.netloc.rpartition("@")
        return urlunsplit(self._url._replace(netloc=f"{user}{at}127.0.0.1:{self._port}"))

    def open(self) -> None:
        self._server = _Passage(("127.0.0.1", self._port), _Pump)
        self._server.target = (self._url.hostname or "", self._url.port or 0)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="door", daemon=True).start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.over.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Passage(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    target: tuple[str, int]

    def __init__(self, *args: Any) -> None:
        self.over = threading.Event()
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what a door is for."""


class _Pump(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        passage = cast("_Passage", self.server)
        with socket.create_connection(passage.target, timeout=5) as there:
            ways = {self.request: there, there: self.request}
            while not passage.over.is_set():
                for one in select.select(list(ways), [], [], 0.05)[0]:
                    if not (data := one.recv(65_536)):
                        return
                    ways[one].sendall(data)


# ------------------------------------------------------------------------------------------------ Prefect


class PrefectServer:
    """A real one with a home of its own, which keeps its port and its database when it is killed and started again."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home, self._variables = home, variables
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    @property
    def database(self) -> Path:
        return self.home / "prefect.db"

    def start(self) -> None:
        words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        env = environment(self.home) | _QUICK | self._variables
        with open(self.home / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words], env=env, cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._healthy, 120, "the Prefect server")

    def kill(self) -> None:
        """Without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait(30)
            self._process = None

    def _healthy(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "the Prefect server ended"
        user, _, password = self._variables.get("PREFECT_SERVER_API_AUTH_STRING", "").partition(":")
        try:
            answer = httpx.get(f"{self.url}/health", timeout=2, auth=(user, password) if user else None)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200


@contextmanager
def prefect_server(home: Path, **variables: str) -> Iterator[PrefectServer]:
    server = PrefectServer(home, **variables)
    try:
        server.start()
        yield server
    finally:
        server.stop()


# ------------------------------------------------------------------------------------------------ a place where faults happen


@dataclass
class Place:
    """Stores, receivers and the settings that lead to them, here and in processes. naive: gets a message from a plain hook
    for every run that fails.
    """

    where: wiring.Endpoints
    folder: Path
    sinks: Sinks
    naive: WebhookSink
    clock: Clock
    environment: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    # -------------------------------------------------------------------------------------------- runs

    def incremental(self) -> OrganismError | None:
        """A run in direct mode in this process, at the clock's time; what it raised, if it failed."""
        config = settings.load()
        try:
            step = steps.directly(frame.policies(config))
            incremental.run_once(config, step, Origin(), lambda _done, _left: None)
        except Refused:
            return None
        except OrganismError as error:
            self._naively(error)
            return error
        return None

    def turn(self) -> Counter[str]:
        """A turn of the watch at the clock's time; the codes of what it found."""
        found = watch.run_once(settings.load(), Origin())
        return Counter(problem.code.value for problem in found.problems)

    def hour(self, minutes: int = 60, every: int = 5) -> list[OrganismError]:
        """incremental and watch every five minutes for so long; what the runs raised."""
        failed = []
        for _ in range(minutes // every):
            self.clock.forward(every)
            if error := self.incremental():
                failed.append(error)
            self.turn()
        return failed

    def _naively(self, error: Exception) -> None:
        httpx.post(self.naive.url, json={"text": f"a run failed: {type(error).__name__}"}).raise_for_status()

    # -------------------------------------------------------------------------------------------- processes

    def program(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        """Python with these words, from the start with the settings of this place; its output in `log`."""
        env = environment(self.folder / "home") | self.environment | variables
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def done(self, *words: str, **variables: str) -> int:
        """The exit code of a program."""
        return self.program(*words, **variables).wait(170)

    @property
    def log(self) -> Path:
        return self.folder / "processes.log"

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    # -------------------------------------------------------------------------------------------- what came of it

    def told(self) -> dict[str, int]:
        """Messages that arrived, by channel; an edit is none."""
        slack = self.sinks.slack
        posts = len(slack.posts) + len(slack.messages)
        heard = (posts, len(self.sinks.webhook.requests), len(self.sinks.sentry.events), len(self.sinks.mail.mails))
        return dict(zip(CHANNELS, heard, strict=True))

    def news(self) -> list[tuple[str, str]]:
        """(change, code) of what the webhook got, which is told of everything that is not merely informative."""
        bodies = (request.json for request in self.sinks.webhook.requests)
        return [(body["change"], body["problem"]["code"]) for body in bodies]

    def incidents(self) -> list[tuple[str, bool]]:
        """(key, whether it recovered) of every incident in PostgreSQL."""
        with psycopg.connect(self.where.postgres) as connection:
            query = "SELECT key, recovered_at IS NOT NULL FROM alert_incidents ORDER BY opened_at"
            return [(str(key), bool(over)) for key, over in connection.execute(query)]

    @property
    def naively(self) -> int:
        return len(self.naive.requests)


@contextmanager
def place(where: wiring.Endpoints, folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[Place]:
    """variables: more settings, or other ones."""
    with sinks() as receivers, _closing(WebhookSink()) as naive:
        for name in ("home", "state"):
            (folder / name).mkdir()
        own = {"ORGANISM_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT), "ALERT_DIGEST": "never"}
        own |= {"NAIVE_URL": naive.url, "ORGANISM_PSEUDONYM_KEY": "a key for faults"}
        env = {**as_environment(where), **receivers.environment, **own, **variables}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        clock = Clock()
        monkeypatch.setattr(account, "utc_now", clock)
        monkeypatch.setattr(watch, "utc_now", clock)
        its = Place(where, folder, receivers, naive, clock, env)
        try:
            yield its
        finally:
            its.close()


@contextmanager
def _closing(sink: WebhookSink) -> Iterator[WebhookSink]:
    try:
        yield sink
    finally:
        sink.close()


# ------------------------------------------------------------------------------------------------ the table


@dataclass
class Table:
    """What was sent, fault by fault."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    def row(self, fault: str, how: str, place: Place, naive: int | str | None = None) -> None:
        """how: whole processes, or simulated time."""
        told, edits = place.told(), sum(len(m.versions) - 1 for m in place.sinks.slack.messages.values())
        cells = [f"{count}" for count in told.values()]
        cells[0] += f" +{edits} edits" if edits else ""
        news = ", ".join(f"{change} {code}" for change, code in place.news()) or "-"
        self.rows.append((fault, how, *cells, str(place.naively if naive is None else naive), news))

    def text(self) -> str:
        head = ("fault", "how", *CHANNELS, "naive", "what was told (webhook)")
        widths = [max(len(row[i]) for row in (head, *self.rows)) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in (head, *self.rows)]  # fmt: skip
        return "\n".join(lines)


def eventually(predicate: Callable[[], Any], what: str, seconds: float = 150) -> Any:
    return wait_until(predicate, seconds, what)


def lines(path: Path) -> Sequence[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []
