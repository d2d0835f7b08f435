"""The dead man's loop: a look that hangs is ended and not counted, one that found something wrong counts."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployments import dead_man
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[3]
_HANG = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(60)"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def looked(code: str, longest_s: float = 20) -> int | None:
    with dead_man.Alarm() as alarm:
        return dead_man.look(alarm, turn(code), longest_s)


def turn(code: str) -> Sequence[str]:
    return [sys.executable, "-c", code]


def test_a_look_is_the_watch_without_prefect() -> None:
    assert dead_man.TURN[1:] == ("-m", "alerts", "watch", "--once")


@pytest.mark.parametrize("code", [0, 1, 2])
def test_how_a_look_ended_is_told(code: int) -> None:
    assert looked(f"raise SystemExit({code})") == code


def test_a_look_that_hangs_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert looked(_HANG, longest_s=0.2) is None
    assert "took longer than 0.2 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "notes"), [("pass", 2), ("raise SystemExit(1)", 2), ("raise SystemExit(2)", 1), (_HANG, 1)]
)
def test_only_a_look_that_looked_keeps_it_well(code: str, notes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first note is of the start. One look is taken, and then it is asked to stop."""
    noted: list[float] = []
    asked = iter([False, True])
    monkeypatch.setattr(dead_man, "_note", lambda _path, until: noted.append(until))
    monkeypatch.setattr(dead_man, "_asked_within", lambda _alarm, _seconds: next(asked))
    began = time.time()
    assert dead_man.main(["--every", "300"], turn(code), longest_s=5) == 0
    assert len(noted) == notes
    assert noted[0] >= began + 2 * 300


def test_it_is_well_for_as_long_as_two_looks_may_take(place: Path) -> None:
    assert dead_man.main(["--healthy"]) == 1, "the control: it was never started"
    dead_man._note(dead_man.mark(), 1_000.0)
    assert dead_man.is_well(dead_man.mark(), 999.0)
    assert not dead_man.is_well(dead_man.mark(), 1_000.0)
    dead_man.mark().write_text("half a num")
    assert not dead_man.is_well(dead_man.mark(), 0.0)


def test_it_ends_at_once_when_it_is_told_to(place: Path) -> None:
    words = [sys.executable, "-m", "deployments.dead_man", "--every", "600"]
    process = subprocess.Popen(words, cwd=ROOT, env={"TMPDIR": str(place), "PATH": ""})
    try:
        wait_until(lambda: dead_man.mark().exists(), 30, "its start")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
