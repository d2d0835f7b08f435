"""A process that keeps its account in PostgreSQL, and is killed, cancelled or stopped in the middle of a step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pipelines import migrate, wiring
from pipelines.ledger.store import PostgresLedger
from pipelines.postgres import open_pool
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent
SILENT, UNSTARTED, HOUR = timedelta(seconds=60), timedelta(minutes=15), timedelta(hours=1)
#: A run that works until somebody ends it, with a heartbeat ten times a second.
RUN = """
import signal, sys, time
from datetime import UTC, datetime, timedelta
from pipelines import command
from pipelines.jobs.recording import recorded
from pipelines.ledger.store import PostgresLedger
from pipelines.postgres import open_pool
from pipelines.runs import Mode

def refresh_materialized_views():
    print("at work", flush=True)
    time.sleep(600)

def main():
    with open_pool(sys.argv[1]) as pool:
        now = lambda: datetime.now(UTC)
        every = timedelta(seconds=0.1)
        with recorded(PostgresLedger(pool), "full", "r1", Mode.DIRECT, now, parameters={}, beat_every=every) as record:
            record.step(lambda function, *args: function(*args))(refresh_materialized_views)
    return 0

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background ignores it
raise SystemExit(command.run(main))
"""


@pytest.fixture
def ledger(embedded: wiring.Endpoints) -> Iterator[PostgresLedger]:
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
        connection.execute("TRUNCATE workflow_runs, workflow_steps")
    with open_pool(embedded.postgres) as pool:
        yield PostgresLedger(pool)


@contextmanager
def at_work(embedded: wiring.Endpoints, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of a step."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, embedded.postgres],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "at work\n"
            yield process
        finally:
            process.kill()


def row(ledger: PostgresLedger) -> Run:
    run = ledger.get("r1")
    assert run is not None
    return run


def heard(ledger: PostgresLedger, at: datetime) -> None:
    """Somebody else's account was taken at this time."""
    ledger.begin("watch", "w1", Mode.DIRECT, at, parameters={})
    assert ledger.close("w1", Status.COMPLETED, at)


def beating(ledger: PostgresLedger) -> bool:
    run = row(ledger)
    return run.heartbeat_at is not None and run.heartbeat_at > run.created_at


def test_who_was_killed_in_a_step_is_found_and_the_row_tells_the_truth(
    embedded: wiring.Endpoints, ledger: PostgresLedger, tmp_path: Path
) -> None:
    with at_work(embedded, tmp_path) as process:
        wait_until(lambda: beating(ledger), 10, "a beat")
        alive = row(ledger)
        assert (alive.status, [s.status for s in alive.steps]) == (Status.RUNNING, [Status.RUNNING])
        assert ledger.reap(SILENT, UNSTARTED, datetime.now(UTC)) == []
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    silent = row(ledger)
    assert silent.status is Status.RUNNING  # nobody could say anything
    assert silent.heartbeat_at is not None
    assert ledger.reap(SILENT, UNSTARTED, silent.heartbeat_at + 2 * SILENT) == [], "perhaps the ledger was away"
    heard(ledger, silent.heartbeat_at + SILENT)
    (found,) = ledger.reap(SILENT, UNSTARTED, silent.heartbeat_at + 2 * SILENT)
    assert (found.status, found.error_kind) == (Status.FAILED, ErrorKind.CRASHED)
    assert found.error is not None
    assert f"{silent.heartbeat_at:%H:%M:%S} UTC" in found.error
    assert [(s.name, s.status) for s in found.steps] == [("refresh_materialized_views", Status.FAILED)]


def test_who_is_cancelled_in_the_ledger_is_interrupted_in_its_step(
    embedded: wiring.Endpoints, ledger: PostgresLedger, tmp_path: Path
) -> None:
    with at_work(embedded, tmp_path) as process:
        assert ledger.close("r1", Status.CANCELLED, datetime.now(UTC), error="by an operator")
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said.strip().splitlines()[-1]) == (130, "interrupted")
    run = row(ledger)
    assert (run.status, run.error, [s.status for s in run.steps]) == (
        Status.CANCELLED,
        "by an operator",
        [Status.CANCELLED],
    )


def test_ctrl_c_is_in_the_ledger_as_an_interruption(
    embedded: wiring.Endpoints, ledger: PostgresLedger, tmp_path: Path
) -> None:
    with at_work(embedded, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert (row(ledger).status, row(ledger).error_kind) == (Status.CANCELLED, ErrorKind.INTERRUPTED)


def test_who_was_only_stopped_comes_back_from_the_dead(
    embedded: wiring.Endpoints, ledger: PostgresLedger, tmp_path: Path
) -> None:
    with at_work(embedded, tmp_path) as process:
        wait_until(lambda: beating(ledger), 10, "a beat")
        process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        heard(ledger, datetime.now(UTC) + HOUR / 2)
        (found,) = ledger.reap(SILENT, UNSTARTED, datetime.now(UTC) + HOUR)
        assert found.error_kind is ErrorKind.CRASHED
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: row(ledger).status is Status.RUNNING, 20, "it to be running again")
        run = row(ledger)
        assert (run.error, run.error_kind, run.completed_at, run.attempts) == (None, None, None, 1)


def test_a_ledger_whose_connections_are_cut_hears_of_the_end_all_the_same(
    embedded: wiring.Endpoints, ledger: PostgresLedger, tmp_path: Path
) -> None:
    with at_work(embedded, tmp_path) as process:
        with psycopg.connect(embedded.postgres, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND application_name = 'causal-organism'"
            )
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert row(ledger).status is Status.CANCELLED
