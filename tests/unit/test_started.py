"""The process of one run: what it writes and how long it takes are bounded."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines import launching, settings, started, wiring
from pipelines.errors import PermanentError, Refused, TransientError
from pipelines.jobs import startable
from pipelines.launching import LATE, End
from pipelines.runs import ErrorKind, Mode, Status
from pipelines.wiring import Endpoints
from tests.support.fakes_ledger import NOW, FakeLedger

WHERE = Endpoints("", "", "", "", "", "", "")
RUN = "6f1c0f0e-7d0e-4c44-8f5e-2f9d1a4b3c2d"


def test_there_is_a_way_to_do_every_flow_that_may_be_started() -> None:
    assert set(startable.STARTABLE) == set(started.RUNS)


def test_a_run_that_takes_longer_than_it_may_is_ended() -> None:
    with pytest.raises(TimeoutError), started._at_most(timedelta(milliseconds=20)):
        threading.Event().wait(30)
    with started._at_most(timedelta(milliseconds=20)):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_log_ends_with_a_line_that_says_so() -> None:
    most = started._AtMost(3)
    records = [logging.LogRecord("x", logging.INFO, "", 0, "line %d", (n,), None) for n in range(5)]
    said = [record.getMessage() for record in records if most.filter(record)]
    assert said == ["line 0", "line 1", "the log is full; nothing more is written"]


# ------------------------------------------------------------------------------------------------ stores that are away


class Store:
    """Away for the first calls, or for ever."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times = error, times

    def __call__(self) -> str:
        if self.times:
            self.times -= 1
            raise self.error
        return "here"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


def test_a_store_that_is_away_for_a_moment_does_not_cost_the_run(
    slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert started._patiently(Store(TransientError("postgres is away"), 3)) == "here"
    assert len(slept) == 3 and slept == sorted(slept)
    assert "postgres is away; once more in 1 s" in capsys.readouterr().err


def test_one_that_stays_away_does_after_half_a_minute(slept: list[float]) -> None:
    with pytest.raises(TransientError):
        started._patiently(Store(TransientError("postgres is away"), 100))
    assert 25 <= sum(slept) <= 40


@pytest.mark.parametrize("error", [Refused("TAKEN", "another process does it"), PermanentError("wrong password")])
def test_what_does_not_pass_is_not_tried_again(slept: list[float], error: Exception) -> None:
    with pytest.raises(type(error)):
        started._patiently(Store(error, 100))
    assert not slept


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLedger:
    """With one run that has begun."""
    its = FakeLedger()
    its.begin("incremental", RUN, Mode.DIRECT, NOW, parameters={})
    monkeypatch.setattr(wiring, "ledger", lambda _where: nullcontext(its))
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path))
    return its


ENDS = [End(Status.COMPLETED, NOW, words=LATE), End(Status.FAILED, NOW, ErrorKind.PERMANENT, "a broken query")]


@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_kept_no_account_is_closed(ledger: FakeLedger, end: End, tmp_path: Path) -> None:
    started._tell(settings.load(), WHERE, RUN, end)
    assert (ledger.runs[RUN].status, ledger.runs[RUN].error) == (end.status, end.words)
    assert not list(tmp_path.iterdir()), "the ledger knows it"


@pytest.mark.parametrize("end", ENDS)
def test_one_that_closed_itself_stays_as_it_is(ledger: FakeLedger, end: End) -> None:
    ledger.close(RUN, Status.COMPLETED, NOW, result={"applied": 3})
    before = ledger.runs[RUN]
    started._tell(settings.load(), WHERE, RUN, end)
    assert ledger.runs[RUN] == before


@pytest.mark.parametrize("end", ENDS)
def test_what_the_ledger_cannot_be_told_is_left_for_later(ledger: FakeLedger, end: End, tmp_path: Path) -> None:
    ledger.fails = TransientError("postgres is away")
    started._tell(settings.load(), WHERE, RUN, end)
    assert launching.end_of(tmp_path / "runs", RUN) == end


def test_a_full_disk_does_not_hide_how_the_run_ended(
    ledger: FakeLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.fails = TransientError("postgres is away")
    (tmp_path / "runs").write_text("in the way")
    started._tell(settings.load(), WHERE, RUN, ENDS[0])
    assert "could not be left" in caplog.text
