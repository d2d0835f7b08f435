"""Runs of direct mode in processes of their own: whoever is killed, the account tells the truth and the next run works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines import embedded, launching, settings, started, wiring
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import operating, startable
from pipelines.jobs.operating import Operating
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.conftest import as_environment, fresh_place, opened
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent
SILENT, UNSTARTED = timedelta(minutes=4), timedelta(minutes=35)
SECONDS = 90
#: As `pipelines.started`, with an incremental flow that hangs in a step; what is hung at is said in a file.
HANGS = """
import os, sys, time
from pathlib import Path
from pipelines import account, command, incremental, started, wiring

def hang(config, step, origin, watch, **asked):
    def update_graph_incremental():
        Path(os.environ["HANGS_AT"]).write_text(str(os.getpid()))
        if os.environ.get("DEAF"):
            import signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        time.sleep(600)
    def body(going):
        with wiring.stores(config, going.where) as stores:
            assert stores.lease.acquire(origin.run_id) is None
            try:
                going.step(update_graph_incremental)
            finally:
                stores.lease.release()
    return account.run(config, "incremental", origin, step, body)

incremental.run_once = hang
raise SystemExit(command.run(lambda: started.main(sys.argv[3:])))
"""
#: Asks for a run as the API does, says its id, and waits to be killed.
ASKS = """
import os, sys, time
from datetime import UTC, datetime
from pipelines import launching, settings, wiring
from pipelines.jobs import operating
if script := os.environ.get("SCRIPT"):
    launching._command = lambda run_id: [sys.executable, "-c", script, "-m", launching.MODULE, run_id]
config = settings.load()
with wiring.endpoints(config) as where, wiring.ledger(where) as ledger, wiring.requests(where) as requests:
    op = launching.operating(config, ledger, requests, None)
    print(operating.start(op, sys.argv[1], {}, "ada", None, datetime.now(UTC)).run.run_id, flush=True)
    time.sleep(600)
"""


@dataclass
class Site:
    """Real stores and what operates runs on them. hangs: a mark that a hanging run leaves."""

    op: Operating
    where: wiring.Endpoints
    folder: Path

    @property
    def hangs(self) -> Path:
        return self.folder / "hangs"

    def start(self, flow: str = "incremental", **asked: Any) -> Run:
        return operating.start(self.op, flow, asked, "ada", None, now()).run

    def row(self, run_id: str) -> Run:
        run = self.op.ledger.get(run_id)
        assert run is not None
        return run

    def until(self, run_id: str, *statuses: Status) -> Run:
        wait_until(lambda: self.row(run_id).status in statuses, SECONDS, f"{statuses} of a run")
        return self.row(run_id)

    def until_it_hangs(self) -> psutil.Process:
        wait_until(lambda: self.hangs.exists() and self.hangs.read_text(), SECONDS, "the run to be at work")
        return psutil.Process(int(self.hangs.read_text()))


def children() -> set[int]:
    """Of this process, zombies included. Some are of other tests: servers that last for the session."""
    return {child.pid for child in psutil.Process().children()}


def now(later: timedelta = timedelta(0)) -> datetime:
    return datetime.now(UTC) + later


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    where: wiring.Endpoints = request.getfixturevalue("embedded")
    own = {"ORGANISM_STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "HANGS_AT": str(tmp_path / "hangs")}
    for name, value in {**as_environment(where), **own}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with opened(where), wiring.ledger(where) as ledger, wiring.requests(where) as requests:
        site = Site(launching.operating(settings.load(), ledger, requests, None), where, tmp_path)
        yield site
        for run in ledger.find(statuses=[Status.SCHEDULED, Status.RUNNING]):
            site.op.end(run.run_id)


@pytest.fixture
def hanging(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Processes hang in their step. They are known by the end of their command line all the same."""
    monkeypatch.setenv("SCRIPT", HANGS)  # for a launcher that is a process itself
    monkeypatch.setattr(
        launching, "_command", lambda run_id: [sys.executable, "-c", HANGS, "-m", launching.MODULE, run_id]
    )
    site.op = launching.operating(settings.load(), site.op.ledger, site.op.requests, None)
    return site


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


# ------------------------------------------------------------------------------------------------ what goes well


@pytest.mark.parametrize(
    ("flow", "asked"),
    [
        ("incremental", {"accept_invalid": True, "budget_s": 30}),
        ("full", {"propose": False}),
        ("watch", {}),
        ("verify", {}),
    ],
)
def test_every_flow_can_be_done_by_such_a_process(site: Site, flow: str, asked: dict[str, Any]) -> None:
    others = children()
    run = site.start(flow, **asked)
    done = site.until(run.run_id, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
    wait_until(lambda: children() <= others, 20, "the end of its process")
    said = "\n".join(line.text for line in operating.logs(site.op, run.run_id, 100))
    assert (done.status, done.mode, done.attempts) == (Status.COMPLETED, Mode.DIRECT, 1), f"{done.error}\n{said}"
    assert asked.items() <= done.parameters.items()
    assert f"{flow} began as run {run.id}, direct mode" in said and f"{flow} ended" in said
    assert (site.folder / "last-run.html").exists() == (flow == "full")


def test_there_is_a_way_to_do_every_flow_that_may_be_started() -> None:
    assert set(startable.STARTABLE) == set(started.RUNS)


def test_its_log_is_private_and_says_each_step(site: Site) -> None:
    run = site.start()
    site.until(run.run_id, Status.COMPLETED)
    (log,) = (site.folder / "runs").iterdir()
    assert (log.name, log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (
        f"{run.run_id}.log",
        0o600,
        0o700,
    )
    wait_until(lambda: "incremental ended" in log.read_text(), 20, "the last line")
    lines = operating.logs(site.op, run.run_id, 100)
    assert any("fetch_interactions started" in line.text for line in lines)
    assert all(line.at.tzinfo for line in lines)


def test_no_zombie_is_left(site: Site) -> None:
    others = children()
    run = site.start("watch")
    site.until(run.run_id, Status.COMPLETED)
    wait_until(lambda: children() <= others, 20, "the process to be reaped")


def test_a_second_process_for_the_run_leaves_and_changes_nothing(hanging: Site) -> None:
    run = hanging.start()
    first = hanging.until_it_hangs()
    second = subprocess.run(launching._command(run.run_id), capture_output=True, text=True, timeout=SECONDS)
    assert second.returncode == 3 and "NOT_SCHEDULED" in second.stderr
    assert first.is_running() and hanging.row(run.run_id).status is Status.RUNNING


def test_of_two_that_come_at_once_one_is_told_that_the_other_has_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = Operating(site.op.ledger, None, site.op.requests, lambda _run: None, site.op.notes)
    run = operating.start(op, "watch", {}, "ada", None, now()).run
    assert started.take_up(site.where, run.run_id).run_id == run.run_id
    with pytest.raises(Refused, match="TAKEN"):
        started.take_up(site.where, run.run_id)


@pytest.mark.parametrize("mode", [None, Mode.PREFECT])
def test_what_is_no_run_of_direct_mode_is_no_ones(site: Site, mode: Mode | None) -> None:
    if mode:
        site.op.ledger.schedule("watch", "r1", mode, now(), parameters={})
    with pytest.raises(InvalidInput):
        started.take_up(site.where, "r1")


# ------------------------------------------------------------------------------------------------ what dies


def test_a_run_that_was_killed_is_crashed_at_once_where_its_launcher_lives(hanging: Site) -> None:
    run = hanging.start()
    hanging.until_it_hangs().kill()
    row = hanging.until(run.run_id, Status.FAILED)
    assert (row.error_kind, "signal 9" in str(row.error)) == (ErrorKind.CRASHED, True)
    assert [step.status for step in row.steps] == [Status.FAILED]


def test_a_run_that_was_killed_with_its_launcher_is_crashed_within_two_looks_of_the_watch(hanging: Site) -> None:
    with launcher() as (asked, run_id):
        process = hanging.until_it_hangs()
        asked.kill()
        asked.wait()
        process.kill()
        wait_until(lambda: gone(process), 20, "its end")
    ledger = hanging.op.ledger
    assert hanging.row(run_id).status is Status.RUNNING, "nobody could say anything"
    for minutes, found in ((0, []), (5, []), (10, [run_id])):  # two looks of the watch, five minutes apart
        at = now(timedelta(minutes=minutes))
        ledger.begin("watch", f"w{minutes}", Mode.DIRECT, at, parameters={})
        assert [run.run_id for run in ledger.reap(SILENT, UNSTARTED, at)] == found
        ledger.close(f"w{minutes}", Status.COMPLETED, at)
    row = hanging.row(run_id)
    assert (row.status, row.error_kind) == (Status.FAILED, ErrorKind.CRASHED)


def test_the_run_goes_on_when_whoever_launched_it_is_killed(site: Site) -> None:
    with launcher("verify") as (asked, run_id):
        asked.kill()
        asked.wait()
        assert site.row(run_id).status in (Status.SCHEDULED, Status.RUNNING), "it ended before it could be tried"
        assert site.until(run_id, Status.COMPLETED, Status.FAILED).status is Status.COMPLETED


@contextmanager
def launcher(flow: str = "incremental") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that asks for a run as the API does, and the run's id."""
    words = [sys.executable, "-c", ASKS, flow]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_with_it_go_on_the_embedded_servers_that_were_started_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else uses them: they end with the run, and not with whoever asked for it."""
    state = fresh_place()
    for name, value in {"ORGANISM_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    with launcher("verify") as (asked, run_id):
        asked.kill()
    with wiring.endpoints(settings.load()) as where, wiring.ledger(where) as ledger:
        wait_until(lambda: ledger.get(run_id).status is Status.COMPLETED, SECONDS, "the run")  # type: ignore[union-attr]
    wait_until(lambda: not embedded.pids(state), SECONDS, "the end of the servers")


def test_a_process_that_dies_before_it_begins_does_not_leave_a_scheduled_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORGANISM_BATCH_SIZE", "many")
    run = site.start()
    row = site.until(run.run_id, Status.FAILED)
    assert (row.error_kind, "exit code 2" in str(row.error)) == (ErrorKind.NEVER_STARTED, True)
    assert any("ORGANISM_BATCH_SIZE" in line.text for line in operating.logs(site.op, run.run_id, 100))


def test_without_a_process_the_run_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_command", lambda _run_id: [str(site.folder / "nothing")])
    site.op = launching.operating(settings.load(), site.op.ledger, site.op.requests, None)
    run = site.start()
    assert (run.status, run.error_kind) == (Status.FAILED, ErrorKind.NEVER_STARTED)
    assert "No such file" in str(run.error)


def test_a_run_that_fails_before_its_account_begins_is_closed_by_its_process(site: Site) -> None:
    run = site.start("full", resume="full-2020-01-01T00")
    row = site.until(run.run_id, Status.FAILED)
    assert (row.error_kind, "left nothing behind" in str(row.error)) == (ErrorKind.INPUT, True)


# ------------------------------------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("deaf", [False, True], ids=["in a step", "deaf to it"])
def test_who_is_cancelled_is_gone_when_it_is_said_and_the_next_run_works(
    hanging: Site, deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if deaf:
        monkeypatch.setenv("DEAF", "1")
        monkeypatch.setattr(launching, "_PATIENCE_S", 1.0)
    run = hanging.start()
    process = hanging.until_it_hangs()
    row = operating.cancel(hanging.op, run.run_id, "ada", "too late", now())
    assert gone(process)
    assert (row.status, row.error, row.error_kind) == (
        Status.CANCELLED,
        "cancelled by ada: too late",
        ErrorKind.INTERRUPTED,
    )
    assert [step.status for step in hanging.row(run.run_id).steps] == [Status.CANCELLED]
    with wiring.stores(settings.load(), hanging.where) as stores:
        assert (stores.lease.acquire("next") is None) is not deaf, "who is killed keeps its lease until it expires"
        stores.lease.release()


def test_after_a_cancel_the_same_can_be_asked_for_again(hanging: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hanging.start(budget_s=30)
    hanging.until_it_hangs()
    operating.cancel(hanging.op, run.run_id, "ada", "", now())
    monkeypatch.undo()
    for name, value in {**as_environment(hanging.where), "ORGANISM_STATE_DIR": str(hanging.folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    hanging.op = launching.operating(settings.load(), hanging.op.ledger, hanging.op.requests, None)
    again = operating.retry(hanging.op, run.run_id, "bob", None, now()).run
    done = hanging.until(again.run_id, Status.COMPLETED, Status.FAILED)
    assert (done.status, done.parameters["budget_s"]) == (Status.COMPLETED, 30), done.error


def test_what_was_cancelled_before_its_process_came_never_begins(site: Site) -> None:
    op = Operating(site.op.ledger, None, site.op.requests, lambda _run: None, site.op.notes)
    run = operating.start(op, "incremental", {}, "ada", None, now()).run
    operating.cancel(op, run.run_id, "ada", "", now())
    done = subprocess.run(launching._command(run.run_id), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 3
    assert site.row(run.run_id).started_at is None


def test_a_process_of_another_run_or_program_is_not_touched(site: Site) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "other-run"]) as other:
        try:
            site.op.end("other-run")
            assert other.poll() is None
        finally:
            other.kill()


# ------------------------------------------------------------------------------------------------ who may not approve


def test_whoever_asked_is_who_the_proposals_are_asked_by(site: Site) -> None:
    import psycopg

    run = site.start("full")
    row = site.until(run.run_id, Status.COMPLETED, Status.FAILED)
    assert row.status is Status.COMPLETED, row.error
    with psycopg.connect(site.where.postgres) as connection:
        begun = "SELECT payload FROM step_results WHERE run = %s AND step = 'begin'"
        found = connection.execute(begun, (row.correlation_id,)).fetchone()
    assert found is not None and bytes(found[0]) == b"ada"
    assert "ada" not in json.dumps(dict(row.parameters)) + json.dumps(dict(row.result), default=str)
