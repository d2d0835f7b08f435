"""`python -m deployments.worker`: a Prefect worker that leaves no run behind when it is told to stop.

A plain `prefect worker start` that gets SIGTERM (docker stop, a rolling update) kills its runs without a word, and the
server shows them as running for ever, with their slots. Here the runs are asked first, while the worker still looks after
them. It never imports Prefect: it must be there at once, be small, and may be process 1 of a container.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

from deployments import missed
from deployments.processes import Alarm

POOL = "organism"
#: Runs that have not ended by then are killed, which the worker then reports.
DRAIN_S = 20.0
#: After the last run: the worker tells the server how it ended and runs the hooks.
_QUIET_S = 2.0
_STOP_S = 10.0
#: All of it at most: what a `stop_grace_period` must exceed.
LONGEST_STOP_S = DRAIN_S + 2 * _QUIET_S + _STOP_S
_TICK_S = 0.1
_PREFIX = "organism-worker-"
#: Longer than any flow may take: an orphaned run may still use the folder.
_STALE_S = 2 * 3_600
_HEALTH_PORT = 8080


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.healthy:
        return 0 if is_healthy(options.health_port or _HEALTH_PORT) else 1
    clear_leftovers(Path(tempfile.gettempdir()), time.time())
    if words := missed.main(options.pool):
        _say(words)
    with _scratch() as scratch, Alarm() as alarm:
        worker = subprocess.Popen(
            command(options),
            env=environment(os.environ, scratch, options.health_port),
            stdin=subprocess.DEVNULL,
            process_group=0,  # a Ctrl-C in the terminal is for us; and not a session of its own, by which serve finds it
        )
        while worker.poll() is None and not alarm.asked:
            alarm.wait(1.0)
            _reap(worker.pid)
        if worker.poll() is not None:
            _say(f"the Prefect worker ended by itself (exit code {worker.returncode})")
            return worker.returncode or 1
        drain(worker, alarm, options.drain_seconds)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description="A Prefect worker that drains.")
    parser.add_argument("--pool", default=os.environ.get("PREFECT_WORK_POOL_NAME") or POOL)
    parser.add_argument("--queue", action="append", default=[], help="only this queue; repeatable (default: all)")
    parser.add_argument("--limit", type=int, default=2, help="runs at the same time (default 2)")
    parser.add_argument("--name", help="as which it is listed (default: made up by Prefect)")
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=float(os.environ.get("DRAIN_SECONDS") or DRAIN_S),
        help=f"how long runs may take to end when told to stop ($DRAIN_SECONDS, default {DRAIN_S:g})",
    )
    port = os.environ.get("PREFECT_WORKER_WEBSERVER_PORT")
    parser.add_argument(
        "--health-port", type=int, default=int(port) if port else None, help="answer GET /health there (default: no)"
    )
    parser.add_argument("--healthy", action="store_true", help="exit code 0 if the worker here is well, and no more")
    return parser


def command(options: argparse.Namespace) -> list[str]:
    words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", options.pool, "--type", "process"]
    words += [word for queue in options.queue for word in ("--work-queue", queue)]
    words += ["--limit", str(options.limit), *(["--name", options.name] if options.name else [])]
    return words + (["--with-healthcheck"] if options.health_port else [])


def environment(around: Mapping[str, str], scratch: Path, health_port: int | None) -> dict[str, str]:
    """Of the worker and its runs. Prefect leaves folders with their whole environment in TMPDIR when it is killed."""
    health = {"PREFECT_WORKER_WEBSERVER_PORT": str(health_port)} if health_port else {}
    host = {"PREFECT_WORKER_WEBSERVER_HOST": around.get("PREFECT_WORKER_WEBSERVER_HOST", "127.0.0.1")}
    return {**around, **health, **host, "TMPDIR": str(scratch)}


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# ------------------------------------------------------------------------------------------------ ending


def drain(worker: subprocess.Popen[bytes], alarm: Alarm, seconds: float) -> None:
    """Ends the runs, then the worker. A second signal makes it short."""
    _say("told to stop: ending the runs first")
    since = time.monotonic()
    told: set[int] = set()
    quiet_since = since
    while worker.poll() is None:
        late = alarm.asked > 1 or time.monotonic() - since > seconds
        runs = list(_children(worker.pid))
        if runs:
            quiet_since = time.monotonic()
        for run in runs:
            _ask(run, told, kill=late)
        if time.monotonic() - quiet_since > _QUIET_S or time.monotonic() - since > seconds + 2 * _QUIET_S:
            break
        alarm.wait(_TICK_S)
        _reap(worker.pid)
    _say(f"{len(told)} runs ended in {time.monotonic() - since:.0f} s; stopping the worker")
    _stop(worker)


def _ask(run: psutil.Process, told: set[int], *, kill: bool) -> None:
    """Asks each run once; also one that the worker took up meanwhile. Hooks of a run that ended are left to finish."""
    with suppress(psutil.Error):
        if kill:
            run.kill()
        elif run.pid not in told and not is_hook(run.cmdline()):
            run.terminate()
            told.add(run.pid)


def is_hook(words: Iterable[str]) -> bool:
    return "hook" in list(words)[:8]


def _children(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        yield from (c for c in psutil.Process(pid).children() if c.status() != psutil.STATUS_ZOMBIE)


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        for left in [*_children(worker.pid)]:
            with suppress(psutil.Error):
                left.kill()
        worker.kill()
        worker.wait()


def _reap(but_not: int) -> None:
    """As process 1 we inherit what others leave; the worker's own end stays for whoever asks after it."""
    if os.getpid() != 1:
        return
    with suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid != but_not:
            os.waitpid(found.si_pid, 0)


# ------------------------------------------------------------------------------------------------ its folder


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for temporary files of the worker and its runs, readable by us alone, gone when we are."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(where: Path, now: float) -> list[Path]:
    """Removes the folders of workers that were killed, once no run of theirs can be alive; says which."""
    stale = [f for f in where.glob(f"{_PREFIX}*") if _is_left(f) and now - f.stat().st_mtime > _STALE_S]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return stale


def _is_left(folder: Path) -> bool:
    """Ours, and nobody holds its lock."""
    try:
        if folder.lstat().st_uid != os.geteuid() or folder.is_symlink():
            return False
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def _say(words: str) -> None:
    print(f"worker: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
