"""Processes that do runs in direct mode: one each, detached, so that it outlives whoever asked for it; and what they wrote.

The process itself is `pipelines.started`. One that ends without a word leaves an open row; here that is seen at once. One
that the ledger could not hear leaves its end beside its log; here that is told later.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

import psutil  # type: ignore[import-untyped]  # it ships no types

from pipelines import command, wiring
from pipelines.errors import OrganismError
from pipelines.jobs import flows
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.operating import Line, Operating, Requests
from pipelines.log import redact
from pipelines.ports import Ledger, Orchestrator
from pipelines.runs import ENDED, ErrorKind, Mode, Run, Status
from pipelines.settings import Settings

MODULE = "pipelines.started"
_KEPT_FILES = 200
#: No run takes so long: a log that was written to since then may be of one that is at work, or has not been settled.
_YOUNG = 2 * max(flow.timeout for flow in flows.BY_NAME.values())
_LARGEST_READ = 1_000_000  # bytes from the end of a file
#: How long a process that was interrupted may take to leave its step, before it is killed. It is safe to kill at any point.
_PATIENCE_S = 5.0
#: Four beats, or as long as a process needs to begin on a busy machine.
_SILENT = timedelta(minutes=1)
_MOST_OPEN = 1_000
#: Seconds between attempts to tell the ledger how a process ended; ten minutes in all.
_PAUSES = (1.0, 2.0, 5.0, 10.0, 15.0, *[30.0] * 19)
#: What is said of a run that completed and could not say so itself.
LATE = "its end was told late, because the ledger was away when it ended; what it counted is not known"


@dataclass(frozen=True)
class End:
    """How a run ended, and when by this machine's clock."""

    status: Status
    at: datetime
    kind: ErrorKind | None = None
    words: str | None = None


def operating(
    config: Settings,
    ledger: Ledger,
    requests: Requests,
    orchestrator: Orchestrator | None,
    why_direct: Callable[[], str | None] | None = None,
) -> Operating:
    """What `jobs.operating` works with, on this machine."""
    its = Workers(folder_of(config), ledger)
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
            words = f"no process for it: {error.strerror}"
            with suppress(OrganismError):
                self._close(run.run_id, End(Status.FAILED, utc_now(), ErrorKind.NEVER_STARTED, words))
            return
        name = _waiter(run.run_id)
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
        """Tell the ends that were left, and close the runs that were launched here, have been silent and have no process any
        more; their ids.

        For those that nobody waits for, because who launched them was ended, too. What lives after all, in a container beside
        ours, is open again with its next beat.
        """
        settled = [run_id for run_id, end in _ends(self._folder) if self._tell(run_id, end)]
        waiting = {thread.name for thread in threading.enumerate()}  # first: who ends now has closed what is read next
        at = self._ledger.clock(now)
        for row in self._ledger.find(statuses=(Status.SCHEDULED, Status.RUNNING), limit=_MOST_OPEN):
            silent = at - (row.heartbeat_at or row.started_at or row.created_at)
            ours = row.mode is Mode.DIRECT and _has_log(self._folder, row.run_id)
            alone = ours and silent > _SILENT and _waiter(row.run_id) not in waiting
            if alone and not _processes(row.run_id):
                self._close_dead(row, "nobody was there to see how", now)
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
        """Until it has ended, which also keeps it from staying as a zombie, and the ledger knows how."""
        code, at = process.wait(), utc_now()
        for pause in (*_PAUSES, 0.0):
            try:
                self._account_for(run_id, code, at)
                return
            except OrganismError:  # away; after the last pause it is for `settle`, or for the reaper
                time.sleep(pause)

    def _account_for(self, run_id: str, code: int, at: datetime) -> None:
        """What it closed itself stays as it is. A refusal it has told or left; any other one means that another process has
        the run.
        """
        end = end_of(self._folder, run_id)
        if end is None and code == command.GOOD:
            end = End(Status.COMPLETED, at, words=LATE)
        if end is not None:
            self._tell(run_id, end)
        elif code != command.REFUSED and (row := self._ledger.get(run_id)) is not None:
            self._close_dead(row, _in_words(code), at)

    def _tell(self, run_id: str, end: End) -> bool:
        """True: the row was open, or somebody had said of it what an onlooker can say."""
        closed = self._close(run_id, end)
        with suppress(OSError):  # then it is told once more, which changes nothing
            _path(self._folder, run_id, "end").unlink(missing_ok=True)
        return closed

    def _close_dead(self, row: Run, how: str, at: datetime) -> None:
        """What has ended stays as it is."""
        if row.status is Status.SCHEDULED:
            words = f"its process ended ({how}) before it began; python -m pipelines.status says what is away"
            self._close(row.run_id, End(Status.FAILED, at, ErrorKind.NEVER_STARTED, words))
        elif row.status is Status.RUNNING:
            words = f"its process ended ({how}) without a word; what it had stored stays"
            self._close(row.run_id, End(Status.FAILED, at, ErrorKind.CRASHED, words))

    def _close(self, run_id: str, end: End) -> bool:
        """The watch tells people, as of every row that ended so."""
        return self._ledger.close(run_id, end.status, end.at, error=end.words, error_kind=end.kind)


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


def _waiter(run_id: str) -> str:
    """The name of the thread that waits for its process. Of the whole program: each request has `Workers` of its own."""
    return f"waits for {run_id}"


def _in_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


# ------------------------------------------------------------------------------------------------ what it writes


def folder_of(config: Settings) -> Path:
    return wiring.state_dir(config) / "runs"


def _path(folder: Path, run_id: str, kind: str = "log") -> Path:
    return folder / f"{UUID(run_id)}.{kind}"  # a run id of ours; anything else is no file name


def _has_log(folder: Path, run_id: str) -> bool:
    """Whether it was launched here. Who runs a flow at a terminal has another name for it, or none."""
    try:
        return _path(folder, run_id).exists()
    except ValueError:
        return False


def _log_file(folder: Path, run_id: str) -> IO[bytes]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    young = (utc_now() - _YOUNG).timestamp()
    for old in sorted(folder.glob("*.log"), key=_age)[: -(_KEPT_FILES - 1)]:
        if _age(old) < young:
            old.unlink(missing_ok=True)
            old.with_suffix(".end").unlink(missing_ok=True)
    return open(_path(folder, run_id), "ab", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # somebody else has removed it
        return 0.0


def leave(folder: Path, run_id: str, end: End) -> None:
    """For whoever can tell the ledger later.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(_path(folder, run_id, "end"), "w", encoding="utf-8", opener=_private) as file:
        file.write(json.dumps(asdict(end) | {"at": end.at.isoformat()}))


def end_of(folder: Path, run_id: str) -> End | None:
    """What was left of a run; None where nothing was, or it is not written to its end."""
    try:
        found = json.loads(_path(folder, run_id, "end").read_text("utf-8"))
        kind = None if found["kind"] is None else ErrorKind(found["kind"])
        words = None if found["words"] is None else str(found["words"])
        end = End(Status(found["status"]), datetime.fromisoformat(found["at"]), kind, words)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    possible = end.status in ENDED and (kind is None or end.status is not Status.COMPLETED)
    return end if possible and end.at.tzinfo else None


def _ends(folder: Path) -> Iterator[tuple[str, End]]:
    for path in sorted(folder.glob("*.end")):
        if end := end_of(folder, path.stem):
            yield path.stem, end


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
