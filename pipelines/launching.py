"""Processes that do runs in direct mode: one each, detached, so that it outlives whoever asked for it; and what they wrote.

The process itself is `pipelines.started`. A process that ends without a word leaves an open row; here that is seen at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

import psutil  # type: ignore[import-untyped]  # it ships no types

from pipelines import wiring
from pipelines.errors import OrganismError
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.operating import Line, Operating, Requests
from pipelines.log import redact
from pipelines.ports import Ledger, Orchestrator
from pipelines.runs import ErrorKind, Mode, Run, Status
from pipelines.settings import Settings

MODULE = "pipelines.started"
_KEPT_FILES = 200
_LARGEST_READ = 1_000_000  # bytes from the end of a file
#: How long a process that was interrupted may take to leave its step, before it is killed. It is safe to kill at any point.
_PATIENCE_S = 5.0
#: Four beats, or as long as a process needs to begin on a busy machine.
_SILENT = timedelta(minutes=1)
_MOST_OPEN = 1_000
#: Exit codes of one that said all there is to say: it is done, or a rule (such as: another process has this run) said no.
_QUIET = frozenset({0, 3})


def operating(
    config: Settings,
    ledger: Ledger,
    requests: Requests,
    orchestrator: Orchestrator | None,
    why_direct: Callable[[], str | None] | None = None,
) -> Operating:
    """What `jobs.operating` works with, on this machine."""
    its = Workers(wiring.state_dir(config) / "runs", ledger)
    return Operating(
        ledger, orchestrator, requests, its.launch, its.notes, its.end, its.settle, config.max_runs, why_direct
    )


class Workers:
    """The processes of runs that were launched on this machine. folder: one log a run."""

    def __init__(self, folder: Path, ledger: Ledger, command_line: Callable[[str], list[str]] | None = None) -> None:
        self._folder, self._ledger = folder, ledger
        self._command = command_line or _command

    def launch(self, run: Run) -> None:
        """Returns at once. A run that no process can be had for is closed, and says why."""
        try:
            with _log_file(self._folder, run.run_id) as log:
                process = subprocess.Popen(
                    self._command(run.run_id),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C at our terminal, and our end, are not its own
                )
        except OSError as error:
            self._close(run.run_id, Status.FAILED, ErrorKind.NEVER_STARTED, f"no process for it: {error.strerror}")
            return
        name = f"waits for {run.run_id}"
        threading.Thread(target=self._wait, args=(process, run.run_id), name=name, daemon=True).start()

    def end(self, run_id: str) -> None:
        """Nobody works on the run any more on this machine when this returns. As Ctrl-C; by force after some seconds."""
        for process in _processes(run_id):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(_PATIENCE_S)
                except psutil.TimeoutExpired:
                    process.kill()
                    process.wait(_PATIENCE_S)

    def settle(self, now: datetime) -> list[str]:
        """Close the runs that were launched here, have been silent and have no process any more; their ids.

        For those that nobody waits for, because who launched them was ended, too. What lives after all, in a container beside
        ours, is open again with its next beat.
        """
        at, settled = self._ledger.clock(now), list[str]()
        for row in self._ledger.find(statuses=(Status.SCHEDULED, Status.RUNNING), limit=_MOST_OPEN):
            silent = at - (row.heartbeat_at or row.started_at or row.created_at)
            ours = row.mode is Mode.DIRECT and _has_log(self._folder, row.run_id)
            if ours and silent > _SILENT and not _processes(row.run_id):
                self._close_dead(row, "nobody was there to see how")
                settled.append(row.run_id)
        return settled

    def notes(self, run_id: str, limit: int) -> list[Line]:
        """The last lines of the run's process, oldest first; none where it wrote none on this machine."""
        try:
            path = _path(self._folder, run_id)
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _LARGEST_READ))
                text = file.read(_LARGEST_READ).decode("utf-8", "replace")
                began = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        except (OSError, ValueError):
            return []
        return list(_lines(text.splitlines()[-limit:] if limit > 0 else [], began))

    def _wait(self, process: subprocess.Popen[bytes], run_id: str) -> None:
        """Until it has ended, which also keeps it from staying as a zombie. What it closed itself stays as it is."""
        code = process.wait()
        if code in _QUIET:  # it did what was to be done, or another process does
            return
        try:
            row = self._ledger.get(run_id)
        except OrganismError:  # the reaper will find it
            return
        if row is not None:
            self._close_dead(row, _in_words(code))

    def _close_dead(self, row: Run, how: str) -> None:
        """What has ended stays as it is."""
        if row.status is Status.SCHEDULED:
            words = f"its process ended ({how}) before it began; python -m pipelines.status says what is away"
            self._close(row.run_id, Status.FAILED, ErrorKind.NEVER_STARTED, words)
        elif row.status is Status.RUNNING:
            words = f"its process ended ({how}) without a word; what it had stored stays"
            self._close(row.run_id, Status.FAILED, ErrorKind.CRASHED, words)

    def _close(self, run_id: str, status: Status, kind: ErrorKind, words: str) -> None:
        """The watch tells people, as of every row that ended so."""
        with suppress(OrganismError):
            self._ledger.close(run_id, status, utc_now(), error=words, error_kind=kind)


def _command(run_id: str) -> list[str]:
    return [sys.executable, "-m", MODULE, run_id]


def _processes(run_id: str) -> list[psutil.Process]:
    """Those that surely do this run: by their command line, and ours. A process that ended and was not reaped has none."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = not hasattr(os, "getuid") or process.uids().real == os.getuid()
            if ours and process.cmdline()[-3:] == ["-m", MODULE, run_id]:
                found.append(process)
    return found


def _in_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


# ------------------------------------------------------------------------------------------------ what it writes


def _path(folder: Path, run_id: str) -> Path:
    return folder / f"{UUID(run_id)}.log"  # a run id of ours; anything else is no file name


def _has_log(folder: Path, run_id: str) -> bool:
    """Whether it was launched here. Who runs a flow at a terminal has another name for it, or none."""
    try:
        return _path(folder, run_id).exists()
    except ValueError:
        return False


def _log_file(folder: Path, run_id: str) -> IO[bytes]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.log"), key=_age)[: -(_KEPT_FILES - 1)]:
        old.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return open(os.open(_path(folder, run_id), flags, 0o600), "ab")


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # somebody else has removed it
        return 0.0


def _lines(lines: list[str], at: datetime) -> Iterator[Line]:
    """What is no record of the log (a sentence for people, a traceback) has the time of the record before it."""
    for line in lines:
        record = _record(line)
        if record is None:
            yield Line(at, "INFO", redact(line))
            continue
        at = datetime.fromisoformat(record["at"])
        yield Line(at, record["level"], redact("\n".join([record["message"], *record["error"].splitlines()])))


def _record(line: str) -> dict[str, str] | None:
    try:
        found = json.loads(line)
        record = {name: str(found[name]) for name in ("at", "level", "message")}
        timed = datetime.fromisoformat(record["at"]).tzinfo is not None
        return record | {"error": str(found.get("error", ""))} if timed else None
    except (ValueError, TypeError, KeyError):
        return None
