"""What a process of a run wrote, read back: with times, without secrets, without a way out of the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines import launching
from pipelines.jobs.operating import Line
from pipelines.launching import Workers
from pipelines.runs import ErrorKind, Mode, Status
from tests.support.fakes_ledger import FakeLedger

AT = datetime(2026, 3, 2, 12, 0, 0, 500_000, UTC)


def record(message: str, **rest: Any) -> str:
    return json.dumps({"at": AT.isoformat(), "level": "WARNING", "logger": "pipelines", "message": message, **rest})


def notes(folder: Path, *lines: str, limit: int = 100) -> list[Line]:
    run_id = str(uuid4())
    (folder / f"{run_id}.log").write_text("\n".join(lines), "utf-8")
    return Workers(folder, FakeLedger()).notes(run_id, limit)


def test_records_come_back_as_they_were_and_other_lines_with_the_time_before_them(tmp_path: Path) -> None:
    found = notes(tmp_path, record("a step failed", error="Traceback\n  at"), "full: full-2026-03-02T12")
    assert found == [
        Line(AT, "WARNING", "a step failed\nTraceback\n  at"),
        Line(AT, "INFO", "full: full-2026-03-02T12"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "1",
        '{"at": 1}',
        '{"at": "2026"}',
        '{"at": "2026-03-02T12:00:00Z"}',
        '{"at": "2026-03-02T12:00:00", "level": "INFO", "message": ""}',
        "\ufffd",
    ],
)
def test_what_is_no_record_is_a_line(tmp_path: Path, line: str) -> None:
    (found,) = notes(tmp_path, line)
    assert (found.text, found.level) == (line, "INFO")


def test_secrets_and_people_are_not_read_back(tmp_path: Path) -> None:
    url = "postgresql://u:s3cret@host/db"
    found = notes(tmp_path, record(f"{url} p_0123456789abcdef"), f"at {url}", record("x", error=f"at {url}"))
    assert not any(canary in str(found) for canary in ("s3cret", "p_0123"))


def test_the_last_lines_are_read(tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(30)]
    assert [line.text for line in notes(tmp_path, *lines, limit=2)] == ["line 28", "line 29"]
    assert notes(tmp_path, *lines, limit=0) == []


def test_of_a_large_file_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_LARGEST_READ", 20)
    assert [line.text for line in notes(tmp_path, "x" * 1_000, "the end")][-1] == "the end"


@pytest.mark.parametrize(
    "run_id", ["../outside", "/etc/passwd", "r1", "", "6f1c0f0e-7d0e-4c44-8f5e-2f9d1a4b3c2d", "\0"]
)
def test_another_name_is_no_file(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "outside.log").write_text("canary")
    folder = tmp_path / "runs"
    folder.mkdir()
    assert Workers(folder, FakeLedger()).notes(run_id, 100) == []


def test_old_logs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_KEPT_FILES", 3)
    made = [str(uuid4()) for _ in range(5)]
    for n, run_id in enumerate(made):
        launching._log_file(tmp_path, run_id).close()
        os.utime(tmp_path / f"{run_id}.log", (n, n))
    assert {path.stem for path in tmp_path.iterdir()} == set(made[-3:])


def test_a_log_follows_no_link(tmp_path: Path) -> None:
    run_id, target = str(uuid4()), tmp_path / "target"
    (tmp_path / f"{run_id}.log").symlink_to(target)
    with pytest.raises(OSError):
        launching._log_file(tmp_path, run_id)
    assert not target.exists()


# ------------------------------------------------------------------------------------------------ processes that are gone


@dataclass
class Launched:
    """A run of direct mode that began a while ago. log: whether it was launched in this folder."""

    folder: Path
    ledger: FakeLedger = field(default_factory=FakeLedger)
    run_id: str = field(default_factory=lambda: str(uuid4()))

    def begin(self, ago: timedelta, *, log: bool = True, mode: Mode = Mode.DIRECT, started: bool = True) -> None:
        at = AT - ago
        self.ledger.schedule("incremental", self.run_id, mode, at, parameters={})
        if started:
            self.ledger.begin("incremental", self.run_id, mode, at, parameters={})
        if log:
            launching._log_file(self.folder, self.run_id).close()

    def settled(self) -> tuple[bool, Status, ErrorKind | None]:
        told = Workers(self.folder, self.ledger).settle(AT)
        row = self.ledger.get(self.run_id)
        assert row is not None
        return told == [self.run_id], row.status, row.error_kind


@pytest.fixture
def launched(tmp_path: Path) -> Launched:
    return Launched(tmp_path)


LONG = timedelta(minutes=2)


def test_a_run_whose_process_is_gone_is_closed_and_said(launched: Launched) -> None:
    launched.begin(LONG)
    assert launched.settled() == (True, Status.FAILED, ErrorKind.CRASHED)
    assert launched.settled() == (False, Status.FAILED, ErrorKind.CRASHED)


def test_one_that_never_began_is_told_as_that(launched: Launched) -> None:
    launched.begin(LONG, started=False)
    assert launched.settled() == (True, Status.FAILED, ErrorKind.NEVER_STARTED)


@pytest.mark.parametrize(
    "how",
    [{"ago": timedelta(seconds=50)}, {"log": False}, {"mode": Mode.PREFECT}],
    ids=["heard a moment ago", "begun elsewhere", "of Prefect"],
)
def test_any_other_run_is_left_alone(launched: Launched, how: dict[str, Any]) -> None:
    launched.begin(**{"ago": LONG} | how)
    assert launched.settled() == (False, Status.RUNNING, None)


def test_a_process_that_is_there_keeps_its_run_open_however_silent(launched: Launched) -> None:
    launched.begin(LONG)
    command = [sys.executable, "-c", "input()", "-m", launching.MODULE, launched.run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert launched.settled() == (False, Status.RUNNING, None)
        process.kill()
    assert launched.settled() == (True, Status.FAILED, ErrorKind.CRASHED)


def test_a_run_that_has_another_kind_of_name_is_nothing_of_ours(launched: Launched) -> None:
    launched.run_id = "../run"
    launched.begin(LONG, log=False)
    assert launched.settled() == (False, Status.RUNNING, None)
