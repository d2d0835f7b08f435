"""The process of one run: what it writes and how long it takes are bounded."""

from __future__ import annotations

import logging
import signal
import threading
from datetime import timedelta

import pytest

from pipelines import started
from pipelines.jobs import startable


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
