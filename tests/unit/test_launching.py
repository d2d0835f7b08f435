"""What a process of a run wrote, read back: with times, without secrets, without a way out of the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines import launching
from pipelines.errors import TransientError
from pipelines.jobs.operating import Line
from pipelines.launching import LATE, End, Workers
from pipelines.runs import ErrorKind, Mode, Status
from tests.support.fakes_ledger import FakeLedger

AT = datetime(2026, 3, 2, 12, 0, 0, 500_000, UTC)


DONE = End(Status.COMPLETED, AT, words=LATE)
AWAY = TransientError("postgres is away")


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


def test_what_may_be_at_work_keeps_its_log_however_many_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "_KEPT_FILES", 3)
    made = [str(uuid4()) for _ in range(5)]
    for run_id in made:
        launching._log_file(tmp_path, run_id).close()
    assert {path.stem for path in tmp_path.iterdir()} == set(made)


def test_with_a_log_goes_the_end_that_nobody_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_KEPT_FILES", 2)
    made = [str(uuid4()) for _ in range(3)]
    for n, run_id in enumerate(made):
        launching._log_file(tmp_path, run_id).close()
        launching.leave(tmp_path, run_id, DONE)
        os.utime(tmp_path / f"{run_id}.log", (n, n))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{id_}.{kind}" for id_ in made[1:] for kind in ("log", "end")
    }


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


# ------------------------------------------------------------------------------------------------ a ledger that is away


@dataclass
class Ended:
    """In place of a process that ended with this code."""

    code: int

    def wait(self) -> int:
        return self.code


@dataclass
class Pauses:
    """In place of `time.sleep`. after: so many of them the ledger is back."""

    ledger: FakeLedger
    after: int = 10**6
    slept: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) >= self.after:
            self.ledger.fails = None


@pytest.fixture
def waits(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pauses]:
    """The launcher waits for a process that ends with this code while the ledger is away for some pauses."""

    def wait(code: int, away: int) -> Pauses:
        pauses = Pauses(launched.ledger, away)
        launched.ledger.fails = AWAY if away else None
        monkeypatch.setattr("time.sleep", pauses)
        Workers(launched.folder, launched.ledger)._wait(Ended(code), launched.run_id)  # type: ignore[arg-type]
        return pauses

    return wait


@pytest.mark.parametrize("away", [0, 3])
@pytest.mark.parametrize(
    ("code", "started", "says"),
    [
        (0, True, (Status.COMPLETED, None, LATE)),
        (0, False, (Status.COMPLETED, None, LATE)),
        (-9, True, (Status.FAILED, ErrorKind.CRASHED, "signal 9")),
        (1, True, (Status.FAILED, ErrorKind.CRASHED, "exit code 1")),
        (1, False, (Status.FAILED, ErrorKind.NEVER_STARTED, "exit code 1")),
    ],
)
def test_how_a_process_ended_is_told_when_the_ledger_is_back(
    launched: Launched, waits: Callable[..., Pauses], code: int, started: bool, says: Any, away: int
) -> None:
    launched.begin(LONG, started=started)
    assert len(waits(code, away).slept) == away
    row = launched.ledger.runs[launched.run_id]
    assert (row.status, row.error_kind) == says[:2] and says[2] in str(row.error)


def test_a_launcher_that_was_never_heard_gives_up_after_ten_minutes(
    launched: Launched, waits: Callable[..., Pauses]
) -> None:
    launched.begin(LONG)
    slept = waits(0, 10**6).slept
    assert 600 <= sum(slept) <= 660 and slept[:3] == sorted(slept[:3])
    assert launched.ledger.runs[launched.run_id].status is Status.RUNNING


def test_who_was_refused_left_the_run_to_another_process(launched: Launched, waits: Callable[..., Pauses]) -> None:
    launched.begin(LONG)
    waits(3, 0)
    assert launched.ledger.runs[launched.run_id].status is Status.RUNNING


def test_what_closed_itself_stays_as_it_is(launched: Launched, waits: Callable[..., Pauses]) -> None:
    launched.begin(LONG)
    launched.ledger.close(launched.run_id, Status.COMPLETED, AT, result={"applied": 3})
    waits(0, 0)
    row = launched.ledger.runs[launched.run_id]
    assert (row.error, dict(row.result)) == (None, {"applied": 3})


def test_a_run_that_somebody_waits_for_is_not_settled_by_another_request(launched: Launched) -> None:
    launched.begin(LONG)
    over = threading.Event()
    waiter = threading.Thread(target=over.wait, args=(30,), name=launching._waiter(launched.run_id), daemon=True)
    waiter.start()
    assert launched.settled() == (False, Status.RUNNING, None)
    over.set()
    waiter.join()
    assert launched.settled() == (True, Status.FAILED, ErrorKind.CRASHED)


REFUSED = End(Status.CANCELLED, AT, ErrorKind.REFUSED, "WRITER_BUSY: another run writes")


@pytest.mark.parametrize("left", [DONE, REFUSED, End(Status.FAILED, AT, ErrorKind.PERMANENT, "a broken query")])
@pytest.mark.parametrize("reaped", [False, True], ids=["open", "said to be crashed"])
def test_what_a_process_left_is_told_by_a_later_api(launched: Launched, left: End, reaped: bool) -> None:
    launched.begin(timedelta(seconds=20))
    if reaped:
        launched.ledger.close(launched.run_id, Status.FAILED, AT, error="silent", error_kind=ErrorKind.CRASHED)
    launching.leave(launched.folder, launched.run_id, left)
    assert launched.settled() == (True, left.status, left.kind)
    row = launched.ledger.runs[launched.run_id]
    assert (row.error, row.completed_at, row.duration_seconds) == (left.words, AT, 20.0)
    assert not list(launched.folder.glob("*.end"))


def test_what_a_process_left_is_told_by_its_launcher(launched: Launched, waits: Callable[..., Pauses]) -> None:
    launched.begin(LONG)
    launching.leave(launched.folder, launched.run_id, REFUSED)
    waits(3, 2)
    assert launched.settled() == (False, Status.CANCELLED, ErrorKind.REFUSED)


def test_what_was_left_stays_until_the_ledger_has_heard_it(launched: Launched) -> None:
    launched.begin(LONG)
    launching.leave(launched.folder, launched.run_id, DONE)
    launched.ledger.fails = AWAY
    with pytest.raises(TransientError):
        launched.settled()
    launched.ledger.fails = None
    assert launched.settled() == (True, Status.COMPLETED, None)


def test_a_run_that_was_cancelled_meanwhile_stays_cancelled(launched: Launched) -> None:
    launched.begin(LONG)
    launching.leave(launched.folder, launched.run_id, DONE)
    launched.ledger.close(launched.run_id, Status.CANCELLED, AT, error_kind=ErrorKind.INTERRUPTED)
    assert launched.settled() == (False, Status.CANCELLED, ErrorKind.INTERRUPTED)


def test_an_end_is_private_follows_no_link_and_comes_back_as_it_was(tmp_path: Path) -> None:
    run_id = str(uuid4())
    launching.leave(tmp_path / "runs", run_id, REFUSED)
    (path,) = (tmp_path / "runs").iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == (f"{run_id}.end", 0o600)
    assert launching.end_of(tmp_path / "runs", run_id) == REFUSED
    (tmp_path / f"{run_id}.end").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        launching.leave(tmp_path, run_id, DONE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"status": "completed"}',
        '{"status": "better", "at": "2026-03-02T12:00:00+00:00", "kind": null, "words": null}',
        '{"status": "running", "at": "2026-03-02T12:00:00+00:00", "kind": null, "words": null}',
        '{"status": "completed", "at": "2026-03-02T12:00:00+00:00", "kind": "crashed", "words": null}',
        '{"status": "completed", "at": "2026-03-02T12:00:00", "kind": null, "words": null}',
    ],
)
def test_what_is_no_end_says_nothing(launched: Launched, text: str) -> None:
    launched.begin(timedelta(seconds=20))
    (launched.folder / f"{launched.run_id}.end").write_text(text)
    (launched.folder / "other.end").write_text("{}")
    assert launched.settled() == (False, Status.RUNNING, None)
