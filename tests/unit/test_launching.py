"""What a process of a run wrote, read back: with times, without secrets, without a way out of the folder."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines import launching
from pipelines.jobs.operating import Line
from pipelines.launching import Workers
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
