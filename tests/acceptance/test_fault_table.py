"""The fault table: what goes wrong, and what people are told of it, counted at receivers that speak the real protocols.

The servers, the stores and the receivers are real. `processes` in the table: whole programs were run, stopped and killed.
`simulated`: the same runs and turns of the watch in this process, by a clock that is moved. Beside each count stands what a
plain hook would have sent: a message for every run that fails, and nothing for one that was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from pipelines import settings, wiring
from pipelines.errors import TransientError
from pipelines.events.redis_client import open_redis
from pipelines.events.stream import RedisLease
from pipelines.graph import driver
from pipelines.runs import ErrorKind, Run, Status
from tests.conftest import opened
from tests.support import faults, make
from tests.support.faults import EACH_ONCE, NOTHING, Door, Place, PrefectServer, Table, eventually
from tests.support.sinks import Fault, MailFault

PROGRAM = ("-m", "tests.support.faults_program")
EACH_TWICE = {name: 2 * count for name, count in EACH_ONCE.items()}


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    table = Table()
    yield table
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{table.text()}\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with faults.prefect_server(tmp_path_factory.mktemp("prefect-faults")) as server:
        yield server


@pytest.fixture
def place(embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Empty stores but for one event, and nobody was told of anything."""
    with opened(embedded) as stores:
        stores.stream.append([make.event("a")])
    with faults.place(embedded, tmp_path, monkeypatch) as place:
        yield place


def row(place: Place) -> Run:
    """The only run of incremental, or the newest."""
    with wiring.ledger(place.where) as ledger:
        return ledger.find(flow_name="incremental", limit=1)[0]


# ------------------------------------------------------------------------------------------------ a step fails


@pytest.fixture(params=["direct", "prefect"])
def mode(request: pytest.FixtureRequest, place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "prefect":
        url = request.getfixturevalue("server").url
        place.environment["PREFECT_API_URL"] = url
    return str(request.param)


def test_a_step_that_fails_three_times_and_then_works_is_told_to_nobody(place: Place, mode: str, table: Table) -> None:
    assert place.done(*PROGRAM, "failing", mode, "1", "2", "3") == 0, place.log.read_text()
    assert row(place).mode.value == mode
    assert row(place).steps[0].attempts == 4, "it did fail"
    place.turn()
    assert place.told() == NOTHING
    table.row(f"a step fails 1, 2, 3 times ({mode})", "processes", place)


def test_a_step_that_fails_four_times_is_told_once_on_each_channel(place: Place, mode: str, table: Table) -> None:
    assert place.done(*PROGRAM, "failing", mode, "4") == 1, place.log.read_text()
    assert place.told() == EACH_ONCE
    assert place.news() == [("opened", "FLOW_FAILED")]
    failed = row(place)
    if mode == "prefect":
        assert place.done(*PROGRAM, "hooks", failed.run_id) == 0, place.log.read_text()
    place.turn()
    assert place.told() == EACH_ONCE, "hooks that run again, and the watch, tell nothing new"
    assert row(place).error_kind is ErrorKind.TRANSIENT
    assert place.incidents() == [("FLOW_FAILED:incremental", False)]
    table.row(f"a step fails 4 times, then hooks twice ({mode})", "processes", place)


# ------------------------------------------------------------------------------------------------ SIGSTOP


def test_a_run_that_is_stopped_for_twenty_minutes_is_one_incident_that_ends(place: Place, table: Table) -> None:
    process = place.program(*PROGRAM, "waiting", "direct", str(place.folder))
    eventually((place.folder / "there").exists, "the run to be at work")
    stopped = row(place).run_id
    os.killpg(process.pid, signal.SIGSTOP)
    failed = place.hour(20)
    assert failed == []
    with wiring.ledger(place.where) as ledger:
        dead = ledger.get(stopped)
        assert dead and (dead.status, dead.error_kind) == (Status.FAILED, ErrorKind.CRASHED)
        assert place.told() == EACH_ONCE
        os.killpg(process.pid, signal.SIGCONT)
        eventually(lambda: (its := ledger.get(stopped)) and its.status is Status.RUNNING, "the row that lives again")
        (place.folder / "go").touch()
        assert process.wait(60) == 0, place.log.read_text()
        done = ledger.get(stopped)
    assert done and (done.status, done.error) == (Status.COMPLETED, None)
    place.hour(5)
    assert place.news() == [("opened", "ZOMBIE_RUN"), ("recovered", "ZOMBIE_RUN")]
    assert place.told() == EACH_TWICE
    table.row("SIGSTOP for 20 minutes, then SIGCONT (direct)", "process stopped, time simulated", place)


# ------------------------------------------------------------------------------------------------ a store is away


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph's driver tries again for half a minute before it says that nobody is there: fourteen times a test."""
    whole = driver.GraphDatabase.driver

    def impatient(*args: Any, **options: Any) -> Any:
        return whole(*args, **options | {"max_transaction_retry_time": 0.1})

    monkeypatch.setattr(driver.GraphDatabase, "driver", impatient)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("name", ["redis", "graph", "postgres"])
def test_a_store_that_is_away_for_an_hour_is_one_thread(
    name: str, embedded: wiring.Endpoints, place: Place, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(getattr(embedded, name))
    monkeypatch.setenv(f"ORGANISM_{name.upper()}_URL", door.url)
    for key, value in place.sinks.bot.items():
        monkeypatch.setenv(key, value)
    try:
        assert place.hour(10) == [], "all is well at first"
        assert place.told() == NOTHING
        door.shut()
        failed = place.hour(70)
        door.open()
        assert place.hour(30) == []
    finally:
        door.shut()
    assert len(failed) == 14 and all(isinstance(error, TransientError) for error in failed)
    (first, *answers) = place.sinks.slack.messages.values()
    assert first.thread is None and {answer.thread for answer in answers} == {first.ts}, "one thread"
    assert len(answers) == 2, "that it is escalated, and that it is over"
    assert len(first.versions) > 1, "edited"
    changes = [change for change, _ in place.news()]
    assert (changes.count("opened"), changes.count("escalated"), changes.count("recovered")) == (1, 1, 1)
    told = place.told()
    assert (told["slack"], told["sentry"], told["mail"]) == (3, 3, 3)
    assert place.incidents() == [(f"STORE_DOWN:{name}", True)]
    assert place.naively == 14
    table.row(f"{name} away for 70 minutes", "simulated", place)


# ------------------------------------------------------------------------------------------------ a receiver is away


@pytest.mark.parametrize("name", faults.CHANNELS)
def test_what_a_receiver_missed_for_an_hour_it_gets_once(name: str, place: Place, table: Table) -> None:
    sink = getattr(place.sinks, name)
    sink.fault = MailFault.DOWN if name == "mail" else Fault.DOWN
    assert place.done(*PROGRAM, "failing", "direct", "4") == 1, place.log.read_text()
    assert place.told() == EACH_ONCE | {name: 0}
    for _ in range(5):
        place.clock.forward(11)
        place.turn()
    assert place.told()[name] == 0
    sink.fault = None
    for _ in range(2):  # the pauses have become as long as an hour
        place.clock.forward(62)
        place.turn()
    assert opened_in(place) == EACH_ONCE
    table.row(f"{name} away for 55 minutes", "failure a process, hour simulated", place)


def opened_in(place: Place) -> dict[str, int]:
    """How often each channel was told that the failure began: later news of the same hour count for themselves."""
    words = "Critical: FLOW_FAILED"
    slack = sum(words in str(post) for post in place.sinks.slack.posts)
    sentry = sum(e["tags"]["change"] == "opened" for e in place.sinks.sentry.events if "FLOW_FAILED" in str(e))
    mail = sum(words in m.readable and "Re: " not in m.message["Subject"] for m in place.sinks.mail.mails)
    webhook = place.news().count(("opened", "FLOW_FAILED"))
    return dict(zip(faults.CHANNELS, (slack, webhook, sentry, mail), strict=True))


# ------------------------------------------------------------------------------------------------ what pages nobody


def test_refused_runs_and_interrupts_page_nobody(place: Place, mode: str, table: Table) -> None:
    with open_redis(place.where.redis) as client:
        lease = RedisLease(client, place.where.redis, wiring.NAMES, 60 * faults.MINUTE)
        assert lease.acquire("a run elsewhere") is None
        extra = ["--direct"] if mode == "direct" else []
        assert place.done("-m", "pipelines.incremental", *extra) == 3, place.log.read_text()
        assert (row(place).status, row(place).error_kind) == (Status.CANCELLED, ErrorKind.REFUSED)
        lease.release()
    with wiring.full_stores(settings.load(), place.where) as stores, stores.alone() as ours:
        assert ours
        assert place.done("-m", "pipelines.full", *extra) == 3, place.log.read_text()
    assert "RUN_BUSY" in place.log.read_text()
    process = place.program(*PROGRAM, "waiting", mode, str(place.folder))
    eventually((place.folder / "there").exists, "the run to be at work")
    process.send_signal(signal.SIGINT)
    if mode == "prefect":
        (place.folder / "go").touch()
    code = process.wait(60)
    assert code != 0, place.log.read_text()
    assert (row(place).status, row(place).error_kind) == (Status.CANCELLED, ErrorKind.INTERRUPTED)
    place.turn()
    assert place.told() == NOTHING
    table.row(f"WRITER_BUSY, RUN_BUSY, Ctrl-C ({mode})", "processes", place)


# ------------------------------------------------------------------------------------------------ killed


@dataclass
class Crew:
    """A work pool with one deployment of a run that hangs, on the module's server."""

    place: Place
    server: PrefectServer
    pool: str
    deployment: str

    @property
    def mark(self) -> Path:
        return self.place.folder / "hangs"

    def worker(self) -> subprocess.Popen[bytes]:
        words = ("-m", "prefect", "worker", "start", "--type", "process", "--pool", self.pool, "--name", "w")
        quick = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_HEARTBEAT_SECONDS": "1"}
        return self.place.program(*words, **quick)

    def start(self) -> str:
        run: str = self.post(f"/deployments/{self.deployment}/create_flow_run")["id"]
        return run

    def state(self, run: str) -> str:
        return str(httpx.get(f"{self.server.url}/flow_runs/{run}", timeout=20).json()["state_type"])

    def online(self) -> bool:
        rows = self.post(f"/work_pools/{self.pool}/workers/filter")
        return any(row["status"] == "ONLINE" for row in rows)

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.server.url}{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture
def crew(place: Place, server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    name = f"faults-{uuid4().hex[:8]}"
    variables = {"PREFECT_API_URL": server.url, "PREFECT_WORK_POOL_NAME": name}
    variables["HANGS_AT"] = str(place.folder / "hangs")
    place.environment.update(variables)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    crew = Crew(place, server, name, "")
    crew.post("/work_pools/", name=name, type="process")
    about = {"name": name, "flow_id": crew.post("/flows/", name="incremental")["id"], "work_pool_name": name}
    entry = "tests.support.faults_program.hanging"
    crew.deployment = crew.post("/deployments/", **about, entrypoint=entry, pull_steps=[])["id"]
    yield crew
    place.close()
    for run in crew.post("/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}):
        body = {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True}
        crew.post(f"/flow_runs/{run['id']}/set_state", **body)
    httpx.delete(f"{server.url}/work_pools/{name}", timeout=20).raise_for_status()


def kill_run(worker: subprocess.Popen[bytes]) -> None:
    """The process of the flow run below a worker."""
    below = psutil.Process(worker.pid).children(recursive=True)
    for process in [p for p in below if "PREFECT__FLOW_RUN_ID" in p.environ()]:
        process.kill()


def test_a_run_that_is_killed_with_nobody_to_tell_is_told_by_the_watch(place: Place, crew: Crew, table: Table) -> None:
    run = crew.start()
    crew.post(f"/flow_runs/{run}/set_state", state={"type": "PENDING", "name": "Pending"})
    process = place.program("-m", "prefect.engine", run)
    eventually(crew.mark.exists, "the run to be at work")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert (place.told(), crew.state(run)) == (NOTHING, "RUNNING"), "nobody knows"
    worker = crew.worker()
    eventually(crew.online, "a worker, so that only the run is gone")
    assert psutil.pid_exists(worker.pid)
    for _ in range(3):
        place.clock.forward(4.5)
        place.turn()
    assert place.news() == [("opened", "ZOMBIE_RUN")]
    assert place.told() == EACH_ONCE
    assert place.incidents() == [("ZOMBIE_RUN:incremental", False)]
    assert crew.state(run) == "CRASHED"
    table.row("kill -9 of the run, nobody to tell", "processes, watch 13.5 simulated minutes", place)


def test_a_run_that_is_killed_below_a_worker_is_told_once_by_hook_and_watch(
    place: Place, crew: Crew, table: Table
) -> None:
    worker = crew.worker()
    run = crew.start()
    eventually(crew.mark.exists, "the run to be at work")
    kill_run(worker)
    eventually(lambda: any(place.told().values()), "the hook in the worker's process")
    eventually(lambda: place.told() == EACH_ONCE, "the hook's other channels")
    assert crew.state(run) == "CRASHED"
    dead = row(place)
    assert (dead.run_id, dead.status, dead.error_kind) == (run, Status.FAILED, ErrorKind.CRASHED)
    place.turn()
    place.clock.forward(4.5)
    place.turn()
    assert place.done(*PROGRAM, "hooks", run) == 0, place.log.read_text()
    assert place.told() == EACH_ONCE, "the same run"
    assert place.news() == [("opened", "ZOMBIE_RUN")]
    assert place.incidents() == [("ZOMBIE_RUN:incremental", False)]
    table.row("kill -9 of the run, worker alive; then watch and hooks", "processes", place)


def test_a_worker_and_a_server_that_are_killed_are_told_once_and_recover(
    place: Place, crew: Crew, table: Table
) -> None:
    first = crew.worker()
    eventually(crew.online, "the worker")
    assert place.incremental() is None, "nothing waits on the stream"
    assert place.turn() == {}
    os.killpg(first.pid, signal.SIGKILL)
    eventually(lambda: not crew.online(), "a worker that is offline")
    for _ in range(3):
        place.clock.forward(4)
        assert place.turn() == {"NO_WORKER": 1}
    assert place.told() == EACH_ONCE
    second = crew.worker()
    eventually(crew.online, "the worker")
    assert place.turn() == {}
    worker_news = [("opened", "NO_WORKER"), ("recovered", "NO_WORKER")]
    assert (place.news(), place.told()) == (worker_news, EACH_TWICE)
    table.row("kill -9 of the worker, started again", "processes, 12 minutes simulated", place)
    assert place.incremental() is None, "nor was it long ago that a run began"
    crew.server.kill()
    try:
        for _ in range(3):
            place.clock.forward(4)
            assert place.turn() == {"PREFECT_DOWN": 1}
        assert place.told() == dict.fromkeys(faults.CHANNELS, 3)
    finally:
        crew.server.start()
    eventually(crew.online, "the worker, at the server")
    assert second.poll() is None
    assert place.turn() == {}
    assert place.news() == [*worker_news, ("opened", "PREFECT_DOWN"), ("recovered", "PREFECT_DOWN")]
    assert place.told() == dict.fromkeys(faults.CHANNELS, 4)
    table.row("then kill -9 of the server, started again (sums)", "processes, 12 minutes simulated", place)
