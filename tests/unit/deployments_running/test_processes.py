"""Children: who is still there, when one is started again, what of its log is shown, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deployments import processes
from deployments.processes import Alarm, end, is_gone, keep_small, pause_after, still_there, tail
from tests.support.wait import wait_until

SECRETS = "failed: postgresql://organism:hunter2@127.0.0.1/x for p_0123456789abcdef0123 at ann@example.org"
DEAF = "import signal,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
WITH_CHILD = f"import subprocess,sys; subprocess.Popen([sys.executable, '-c', '''{DEAF}''']).wait()"


def test_the_watchdog_knows_who_was_left() -> None:
    told = ["+ 11 5\n", "+ 12 40\n", "- 11 0\n", "+ 13 7.5\n"]
    assert still_there(iter(told)) == [(12, 40.0), (13, 7.5)]


def test_an_orderly_end_leaves_nobody() -> None:
    assert still_there(iter(["+ 11 5\n", "- 11 0\n"])) == []


@pytest.mark.parametrize(
    ("deaths", "pause"),
    [([100], 1), ([95, 100], 2), ([90, 95, 100], 5), ([85, 90, 95, 100], 10), ([80, 85, 90, 95, 100], None)],
)
def test_the_pause_grows_until_it_is_given_up(deaths: list[float], pause: float | None) -> None:
    assert pause_after(deaths, 100) == pause


def test_deaths_of_long_ago_are_forgotten() -> None:
    assert pause_after([1, 2, 3, 4, 5, 6, 1_000], 1_000) == 1


def test_the_end_of_a_log_is_shown_without_secrets_and_people(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("\n".join(f"line {n}" for n in range(5_000)) + f"\n\n{SECRETS}\n")
    shown = tail(log)
    assert len(shown) == 12
    assert shown[0] == "line 4989"
    assert not [word for word in ("hunter2", "p_0123", "ann@") if word in shown[-1]]


def test_a_log_that_is_not_there_has_no_end(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log") == []


def test_a_log_that_has_grown_is_put_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"a" * 100)
        keep_small(log, limit=100)
        assert log.stat().st_size == 100
        os.write(descriptor, b"b")
        keep_small(log, limit=100)
        os.write(descriptor, b"c")
    finally:
        os.close(descriptor)
    assert log.read_bytes() == b"c"
    aside = tmp_path / "x.log.1"
    assert aside.read_bytes() == b"a" * 100 + b"b"
    assert aside.stat().st_mode & 0o777 == 0o600


def test_a_child_that_does_not_listen_is_killed_with_all_below_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", WITH_CHILD], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        below = psutil.Process(child.pid).children(recursive=True)
        below[0].send_signal(signal.SIGTERM)  # to no effect
        child.send_signal(signal.SIGSTOP)  # nor does this one hear
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED, 5, "it to stop")
        end(psutil.Process(child.pid), 0.1, lambda: child.poll() is not None)
        assert child.returncode == -signal.SIGKILL
        wait_until(lambda: is_gone(below[0]), 5, "the end of the child's child")
    finally:
        if child.stdout:
            child.stdout.close()


def test_who_is_impatient_does_not_wait() -> None:
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    try:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        end(psutil.Process(child.pid), 3_600, lambda: child.poll() is not None, lambda: True, hurry_s=0.1)
        assert child.returncode == -signal.SIGKILL
    finally:
        if child.stdout:
            child.stdout.close()


def test_an_alarm_counts_who_asks_and_leaves_the_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Alarm() as alarm:
        os.kill(os.getpid(), signal.SIGTERM)
        alarm.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        alarm.wait(5)
        assert alarm.asked == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_child_finds_our_packages_wherever_it_works() -> None:
    env = processes._with_our_code({"PYTHONPATH": "/theirs", "A": "b"})
    assert env == {"PYTHONPATH": f"{Path(processes.__file__).parents[1]}{os.pathsep}/theirs", "A": "b"}


ORPHAN = f"import subprocess,sys; subprocess.Popen([sys.executable, '-c', '''{DEAF}'''], process_group=0).wait()"


def test_what_a_killed_child_leaves_in_its_session_is_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        orphan = psutil.Process(child.pid).children()[0]
        child.kill()
        child.wait()
        assert not is_gone(orphan)
        processes.clear_session(child.pid)
        wait_until(lambda: is_gone(orphan), 5, "the end of the orphan")
    finally:
        if child.stdout:
            child.stdout.close()
