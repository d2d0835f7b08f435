"""`python -m deployments serve`: everything on one machine without Docker, until Ctrl-C.

The embedded stores, a Prefect server on the embedded PostgreSQL, the deployments, and a worker that runs them. It looks
after the server and the worker as the embedded supervisor looks after the stores, and ends all of it in order: runs,
worker, server, stores. When it is killed itself, its watchdog does that (deployments.processes).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from rich.console import Console
from rich.markup import escape

from deployments import processes, server, trigrams, worker
from deployments.processes import Alarm, Child, Children, Program
from pipelines import command, embedded, settings, wiring
from pipelines.embedded import Server, locks
from pipelines.embedded.place import Place, claim
from pipelines.errors import InvalidInput, OrganismError, PermanentError, TransientError
from pipelines.report.progress import waiting
from pipelines.settings import Settings

#: What runs read besides the settings of the pipelines: where alerts go.
_OURS = ("ORGANISM_", "SLACK_", "SENTRY_", "ALERT_")
_LOOK_S = 2.0
_SERVER_STARTS_S = 120.0  # an empty database takes 12 s on an idle machine
_SERVER_STOPS_S = 15.0
_SETUP_TAKES_S = 300.0


class Interrupted(OrganismError):
    """Somebody asked us to stop. No failure."""


@dataclass(frozen=True)
class Site:
    """One state directory and what is run on it. lock: a descriptor that every child inherits."""

    place: Place
    port: int
    limit: int
    lock: int

    @property
    def home(self) -> Path:
        return self.place.root / "prefect"

    def environment(self) -> dict[str, str]:
        """Of setup, the worker and its runs: where the stores are, and never their passwords. Runs of an embedded store
        ask its directory; had they a URL, they would take the store for a server of the user's own."""
        around = {**from_file(Path(".env")), **os.environ, "ORGANISM_STATE_DIR": str(self.place.root)}
        return server.client_environment(around, self.home, self.port)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the alarm is set, stops as Ctrl-C does
    server.refuse_a_taken_port(options.port)
    _say_what_is_not_used()
    with _explained(), _site(config, options.port, options.limit) as site:
        return run(config, site)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments serve",
        description="Stores, Prefect server, deployments and worker on this machine, until Ctrl-C.",
    )
    parser.add_argument(
        "--port", type=_port, default=server.PORT, help=f"of the user interface (default {server.PORT})"
    )
    parser.add_argument("--limit", type=_count, default=2, help="runs at the same time (default 2)")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of runs, at least 1")
    return value


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to 65535")
    return int(text)


def run(config: Settings, site: Site) -> int:
    """From the first store to the last; 0 when it was asked to stop."""
    _say_where_nobody_sees("starting the embedded stores")
    with wiring.endpoints(config), embedded.running(site.place.root, frozenset({Server.POSTGRES})) as urls:
        database = server.own_database(urls.postgres or "")
        trigrams.stand_in(database, site.place.root / "prefect-database")
        with Alarm() as alarm, _children(site, alarm) as children:
            try:
                start(site, children, alarm, database)
                show(config, site)
                look_after(site, children, alarm)
            except Interrupted:
                command.say("stopping: runs, worker, server, stores; once more Ctrl-C makes it quick")
    command.say("stopped")
    return command.GOOD


# ------------------------------------------------------------------------------------------------ starting


def start(site: Site, children: Children, alarm: Alarm, database: str) -> None:
    """The server, what it must know, and the worker, each once the one before is there."""
    with _stage("starting the Prefect server (longer the first time: its database is made)"):
        first = children.start(_server(site, database))
        _until_it_answers(site, first, alarm)
    with _stage("setting up the pool, the limits and the deployments"):
        _set_up(site, children, alarm)
    children.start(_worker(site))


@contextmanager
def _stage(words: str) -> Iterator[None]:
    _say_where_nobody_sees(words)
    with waiting(words):
        yield


def _say_where_nobody_sees(words: str) -> None:
    """On a terminal the line is shown while it lasts; a log has one for each stage, so that a minute of silence is none."""
    if not sys.stderr.isatty():
        command.say(words)


def _server(site: Site, database: str) -> Program:
    env = server.environment(os.environ, site.home, database, site.port)
    words = server.command(port=site.port)
    return Program("Prefect server", words, env, site.place.log("prefect-server"), _SERVER_STOPS_S, (site.lock,))


def _worker(site: Site) -> Program:
    words = [sys.executable, "-m", "deployments.worker", "--limit", str(site.limit), "--name", "serve"]
    log, patience = site.place.log("worker"), worker.LONGEST_STOP_S + 5
    return Program("worker", words, site.environment(), log, patience, (site.lock,))


def _until_it_answers(site: Site, child: Child, alarm: Alarm) -> None:
    deadline = time.monotonic() + _SERVER_STARTS_S
    while not server.answers(site.port):
        _stop_if_asked(alarm)
        if child.has_ended():
            raise _failed("the Prefect server ended while it started", child)
        if time.monotonic() > deadline:
            raise _failed(f"the Prefect server did not answer within {_SERVER_STARTS_S:g} s", child)
        alarm.wait(0.2)


def _set_up(site: Site, children: Children, alarm: Alarm) -> None:
    words = [sys.executable, "-m", "deployments", "setup"]
    child = children.start(Program("setup", words, site.environment(), site.place.log("setup"), 5.0, (site.lock,)))
    deadline = time.monotonic() + _SETUP_TAKES_S
    while not child.has_ended():
        _stop_if_asked(alarm)
        if time.monotonic() > deadline:
            raise _failed(f"setup did not end within {_SETUP_TAKES_S:g} s", child)
        alarm.wait(0.2)
    if child.process.returncode:
        raise _failed("setup failed", child)
    children.stop(child, lambda: True)


def _stop_if_asked(alarm: Alarm) -> None:
    if alarm.asked:
        raise Interrupted


# ------------------------------------------------------------------------------------------------ running


def look_after(site: Site, children: Children, alarm: Alarm) -> None:
    """Until somebody asks us to stop.

    Raises:
        Interrupted: that.
        TransientError: a child dies again and again, or the stores have ended.
    """
    while True:
        _stop_if_asked(alarm)
        children.mind_the_watchdog()
        for child in children:
            processes.keep_small(child.program.log)
            _look_at(child, children, time.monotonic())
        if not embedded.pids(site.place.root):
            raise TransientError(f"the embedded servers have ended; see {site.place.log('supervisor')}")
        alarm.wait(_LOOK_S)


def _look_at(child: Child, children: Children, now: float) -> None:
    """Starts it again after a pause; longer each time, and not for ever."""
    if not child.has_ended():
        return
    if child.again_at is None:
        child.deaths.append(now)
        pause = processes.pause_after(child.deaths, now)
        if pause is None:
            raise _failed(f"the {child.program.name} ended {len(child.deaths)} times", child)
        child.again_at = now + pause
        _tell_of(child, f"the {child.program.name} ended (exit code {child.process.returncode}); again in {pause:g} s")
    elif now >= child.again_at:
        children.again(child)


def _tell_of(child: Child, words: str) -> None:
    command.say(words)
    for line in processes.tail(child.program.log):
        command.say(f"  | {line}")


def _failed(seen: str, child: Child) -> TransientError:
    error = TransientError(f"{seen}; its log is {child.program.log}")
    for line in processes.tail(child.program.log):
        error.add_note(f"  | {line}")
    return error


# ------------------------------------------------------------------------------------------------ ending


@contextmanager
def _children(site: Site, alarm: Alarm) -> Iterator[Children]:
    """They have ended when this has. Impatient is who asks a second time."""
    children = Children(site.place.root)
    try:
        yield children
    finally:
        children.close(lambda: alarm.asked > 1)


# ------------------------------------------------------------------------------------------------ one place, once


@contextmanager
def _site(config: Settings, port: int, limit: int) -> Iterator[Site]:
    """The state directory for us alone: its lock is held by us and our children until the last of them has ended."""
    place = claim(wiring.state_dir(config), frozenset(Server))
    lock = locks.open_lock(place.lock("serve"))
    try:
        if not locks.take_within(lock, 1.0, shared=False):
            raise InvalidInput(f"another serve runs on {place.root}{_of(place)}; stop it first")
        site = Site(place, port, limit, lock)
        site.home.mkdir(mode=0o700, exist_ok=True)
        _note(place).write_text(json.dumps({"pid": os.getpid(), "ui": server.ui_url(port)}), "utf-8")
        yield site
        _note(place).unlink(missing_ok=True)  # a good end: who finds the note later knows that we should be running
    finally:
        os.close(lock)


def _note(place: Place) -> Path:
    return place.root / "serve.json"


def _of(place: Place) -> str:
    try:
        found = json.loads(_note(place).read_text("utf-8"))
        return f" (process {found['pid']}, {found['ui']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except embedded.EmbeddedError as error:
        raise PermanentError(str(error)) from error


def from_file(path: Path) -> dict[str, str]:
    """What .env says of our own settings: a run starts in another directory and would not find it."""
    found: Mapping[str, str | None] = dotenv_values(path)
    return {name: value for name, value in found.items() if value is not None and name.startswith(_OURS)}


# ------------------------------------------------------------------------------------------------ telling


def _say_what_is_not_used() -> None:
    if os.environ.get("PREFECT_API_URL"):
        command.say(
            "PREFECT_API_URL is set and not used: serve brings its own server. To deploy to that one, run"
            " python -m deployments setup, and python -m deployments.worker beside it."
        )


def show(config: Settings, site: Site) -> None:
    rows = {
        "user interface": server.ui_url(site.port),
        "stores": wiring.which(config),
        "Prefect database": "embedded PostgreSQL",
        "state": str(site.place.root),
        "logs": str(site.place.log("worker").parent),
        "other commands": f"with ORGANISM_STATE_DIR={site.place.root} PREFECT_API_URL={server.ui_url(site.port)}/api",
        "stop": "Ctrl-C",
    }
    console = Console(highlight=False, soft_wrap=True)
    for name, value in rows.items():
        console.print(f"[bold]{name:17}[/] {escape(value)}")


if __name__ == "__main__":
    raise SystemExit(command.run(main))
