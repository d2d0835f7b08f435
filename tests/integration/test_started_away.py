"""Runs of direct mode while PostgreSQL is away: what was good stays good, and nobody hears of a crash that was none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from pipelines import launching, settings, wiring
from pipelines.errors import OrganismError
from pipelines.jobs import operating
from pipelines.launching import LATE
from pipelines.runs import ErrorKind, Run, Status
from tests.integration.test_started import SECONDS, Site, now, site
from tests.support.cut_off import Cuttable, cuttable
from tests.support.wait import wait_until

__all__ = ["site"]
#: As `pipelines.started`, with an incremental flow that is at work until a file says how it ends.
WAITS = """
import os, sys, time
from pathlib import Path
from pipelines import account, command, incremental, postgres, started
from pipelines.errors import PermanentError, Refused
from pipelines.jobs.recording import recorded

given = postgres._given
postgres._given = lambda size: given(size) | {"timeout": 0.5}  # as patient as ever, in less time
recorded.__wrapped__.__kwdefaults__["pauses"] = (0.1, 0.1)

def work(config, step, origin, watch, **asked):
    def body(going):
        Path(os.environ["HANGS_AT"]).write_text(str(os.getpid()))
        ends = Path(os.environ["HANGS_AT"] + ".how")
        while not ends.exists():
            time.sleep(0.05)
        if error := ends.read_text():
            raise (Refused("WRITER_BUSY", error) if "writes" in error else PermanentError(error))
    return account.run(config, "incremental", origin, step, body)

incremental.run_once = work
raise SystemExit(command.run(lambda: started.main(sys.argv[3:])))
"""


@dataclass
class Away:
    """PostgreSQL can be cut off from the processes of runs, not from who looks at them. url: the way through the proxy."""

    site: Site
    proxy: Cuttable
    url: str

    def start(self) -> Run:
        self.site.op = launching.operating(settings.load(), self.site.op.ledger, self.site.op.requests, None)
        return self.site.start()

    def end_while_cut_off(self, run: Run, how: str) -> None:
        process = self.site.until_it_hangs()
        self.proxy.cut()
        draft = self.site.folder / "how"
        draft.write_text(how)
        draft.rename(self.site.folder / "hangs.how")
        wait_until(lambda: not process.is_running() or process.status() == "zombie", SECONDS, "the end of its process")

    def said(self, run: Run) -> str:
        return "\n".join(line.text for line in operating.logs(self.site.op, run.run_id, 100))


@pytest.fixture
def away(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    with cuttable(site.where.postgres) as (proxy, url):
        monkeypatch.setenv("ORGANISM_POSTGRES_URL", url)
        yield Away(site, proxy, url)


@pytest.fixture
def working(away: Away, monkeypatch: pytest.MonkeyPatch) -> Away:
    line = [sys.executable, "-c", WAITS, "-m", launching.MODULE]
    monkeypatch.setattr(launching, "_command", lambda run_id: [*line, run_id])
    return away


@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ("", (Status.COMPLETED, None, LATE)),
        ("a broken query", (Status.FAILED, ErrorKind.PERMANENT, "a broken query")),
        ("another run writes", (Status.CANCELLED, ErrorKind.REFUSED, "WRITER_BUSY: another run writes")),
    ],
    ids=["completed", "failed", "refused"],
)
def test_a_run_that_could_not_say_how_it_ended_is_told_as_what_it_was(
    working: Away, how: str, ends: tuple[Status, ErrorKind | None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching.Workers, "_account_for", lambda *_: None)  # the API that launched it has ended, too
    run = working.start()
    working.end_while_cut_off(run, how)
    assert working.site.row(run.run_id).status is Status.RUNNING, working.said(run)
    assert working.site.op.settle(now(timedelta(minutes=2))) == [run.run_id]
    row = working.site.row(run.run_id)
    assert (row.status, row.error_kind, row.error) == ends, working.said(run)
    assert working.site.op.settle(now(timedelta(minutes=2))) == []


@pytest.mark.parametrize(
    ("killed", "ends"),
    [(False, (Status.COMPLETED, LATE)), (True, (Status.FAILED, "signal 9"))],
    ids=["completed", "killed"],
)
def test_its_launcher_tells_it_when_postgres_is_back(
    working: Away, monkeypatch: pytest.MonkeyPatch, killed: bool, ends: tuple[Status, str]
) -> None:
    tried, told = threading.Event(), launching.Workers._account_for

    def tell(its: launching.Workers, run_id: str, code: int, at: datetime) -> None:
        """Through the wire that is cut."""
        with noting(tried), wiring.ledger_at(working.url) as ledger:
            told(launching.Workers(its._folder, ledger), run_id, code, at)

    monkeypatch.setattr(launching.Workers, "_account_for", tell)
    run = working.start()
    process = working.site.until_it_hangs()
    if killed:
        working.proxy.cut()
        process.kill()
    else:
        working.end_while_cut_off(run, "")
    wait_until(tried.is_set, SECONDS, "its launcher to have tried in vain")
    if killed:
        assert working.site.op.settle(now(timedelta(minutes=2))) == [], "there is somebody who knows how it ended"
    assert working.site.row(run.run_id).status is Status.RUNNING
    working.proxy.restore()
    row = working.site.until(run.run_id, Status.COMPLETED, Status.FAILED)
    assert row.status is ends[0] and ends[1] in str(row.error)


@contextmanager
def noting(tried: threading.Event) -> Iterator[None]:
    """Says that it did not work, and lets it be seen."""
    try:
        yield
    except OrganismError:
        tried.set()
        raise


def test_a_run_that_is_started_while_postgres_is_away_begins_when_it_is_back(away: Away) -> None:
    away.proxy.cut()
    run = away.start()
    wait_until(lambda: "once more in" in away.said(run), SECONDS, "its process to have tried in vain")
    assert away.site.row(run.run_id).status is Status.SCHEDULED
    away.proxy.restore()
    row = away.site.until(run.run_id, Status.COMPLETED, Status.FAILED)
    assert (row.status, row.attempts) == (Status.COMPLETED, 1), f"{row.error}\n{away.said(run)}"
