"""Child processes that are started, looked after and ended in order, and that do not outlive their parent.

As a program (`python -m deployments.processes STATE`) it is the watchdog: it reads from the parent who runs, and when that
pipe closes although somebody still does, the parent was killed, and the watchdog ends them as the parent would have done.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

from pipelines import embedded, log

_POLL_S = 0.05
_HURRY_S = 8.0
_TAIL_BYTES, _TAIL_LINES = 20_000, 12
_LARGEST_LOG_BYTES = 5_000_000
#: Pauses before a child that died is started again; one more death within the window, and it is given up.
_PAUSES = (1.0, 2.0, 5.0, 10.0)
_WINDOW_S = 180.0


class Alarm:
    """Sleeps until a child ends, a signal asks us to stop, or the time is over. asked: how often we were asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._read, self._write = os.pipe()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Alarm:
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda *_: None)
        }  # with none it would not wake us
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() itself gave us
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float) -> None:
        if select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def _ask(self, *_: object) -> None:
        self.asked += 1


@dataclass(frozen=True)
class Program:
    """What to run. patience_s: how long it may take to end when it is asked to. keep_open: descriptors it inherits."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    patience_s: float
    keep_open: tuple[int, ...] = ()


@dataclass
class Child:
    """A program and the process that runs it now. deaths: when it ended without being asked."""

    program: Program
    process: subprocess.Popen[bytes]
    deaths: list[float] = field(default_factory=list)
    again_at: float | None = None

    def has_ended(self) -> bool:
        return self.process.poll() is not None


class Children:
    """All of them, in the order in which they were started. Ended in the opposite order."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._all: list[Child] = []
        self._watchdog = self._start_watchdog()

    def __iter__(self) -> Iterator[Child]:
        return iter(self._all)

    def start(self, program: Program) -> Child:
        child = Child(program, _spawn(program))
        self._all.append(child)
        self._tell(f"+ {child.process.pid} {program.patience_s:g}")
        return child

    def again(self, child: Child) -> None:
        """Starts one that ended once more."""
        clear_session(child.process.pid)
        self._tell(f"- {child.process.pid} 0")
        child.process, child.again_at = _spawn(child.program), None
        self._tell(f"+ {child.process.pid} {child.program.patience_s:g}")

    def stop(self, child: Child, is_impatient: Callable[[], bool]) -> None:
        end(psutil_of(child.process.pid), child.program.patience_s, child.has_ended, is_impatient)
        self._all.remove(child)
        self._tell(f"- {child.process.pid} 0")

    def close(self, is_impatient: Callable[[], bool]) -> None:
        """Ends all of them, the last one first; then the watchdog, which has nobody left to watch."""
        for child in reversed(list(self._all)):
            self.stop(child, is_impatient)
        if self._watchdog.stdin:
            self._watchdog.stdin.close()
        self._watchdog.wait()

    def mind_the_watchdog(self) -> None:
        """Starts it again if somebody ended it."""
        if self._watchdog.poll() is not None:
            self._watchdog = self._start_watchdog()
            for child in self._all:
                self._tell(f"+ {child.process.pid} {child.program.patience_s:g}")

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        # A session of its own, so that what ends the parent does not end it as well.
        command = [sys.executable, "-m", "deployments.processes", str(self._state_dir)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=_with_our_code(os.environ))

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # it is gone: the next look starts it again
            if self._watchdog.stdin:
                self._watchdog.stdin.write(f"{line}\n".encode())
                self._watchdog.stdin.flush()


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    """In a session of its own: a Ctrl-C in the terminal is for us alone, and we end them in order."""
    descriptor = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab") as file:
        return subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=_with_our_code(program.env),
            pass_fds=program.keep_open,
            start_new_session=True,
        )


def _with_our_code(env: Mapping[str, str]) -> dict[str, str]:
    """So that a child finds these packages wherever it works."""
    ours = str(Path(__file__).parents[1])
    others = [os.path.abspath(entry) for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {**env, "PYTHONPATH": os.pathsep.join(dict.fromkeys([ours, *others]))}


def psutil_of(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def end(
    process: psutil.Process | None,
    seconds: float,
    has_ended: Callable[[], bool],
    is_impatient: Callable[[], bool] = lambda: False,
    hurry_s: float = _HURRY_S,
) -> None:
    """Asks it to stop, waits that long, and kills it with everything below it. If somebody is impatient it is asked once
    more, which makes a worker and a server quick, and has `hurry_s` left."""
    if process is None:
        return
    _ask(process)
    deadline, hurried = time.monotonic() + seconds, False
    while not has_ended() and time.monotonic() < deadline:
        if not hurried and is_impatient():
            _ask(process)
            deadline, hurried = min(deadline, time.monotonic() + hurry_s), True
        time.sleep(_POLL_S)
    if not has_ended():
        for left in [*_below(process), process]:
            with suppress(psutil.Error):
                left.kill()
    while not has_ended():
        time.sleep(_POLL_S)
    clear_session(process.pid)


def _ask(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        process.send_signal(signal.SIGTERM)


def clear_session(leader: int) -> None:
    """Kills what a child of ours that is gone has left in its session: a worker beside its successor would take runs, too.
    A run is not in it; it finishes, and says so itself.
    """
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if pid != leader and os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


def pause_after(deaths: Sequence[float], now: float) -> float | None:
    """Seconds until the next try of a child that died at these times; None: it is given up."""
    recent = [death for death in deaths if now - death < _WINDOW_S]
    return _PAUSES[len(recent) - 1] if 0 < len(recent) <= len(_PAUSES) else None


def tail(path: Path, lines: int = _TAIL_LINES) -> list[str]:
    """The last lines of a log, without secrets and people."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [log.redact(line) for line in text.splitlines() if line.strip()][-lines:]


def keep_small(path: Path, limit: int = _LARGEST_LOG_BYTES) -> None:
    """Puts aside what a log holds once it has grown, keeping one old part. Its writer appends and notices nothing."""
    with suppress(OSError):
        if path.stat().st_size > limit:
            aside = path.with_name(path.name + ".1")
            aside.write_bytes(path.read_bytes())
            aside.chmod(0o600)
            os.truncate(path, 0)


# ------------------------------------------------------------------------------------------------ the watchdog


def still_there(lines: Iterator[str]) -> list[tuple[int, float]]:
    """Who was running when the parent's last word came, with their patience, in order of start."""
    running: dict[int, float] = {}
    for line in lines:
        sign, pid, seconds = line.split()
        if sign == "+":
            running[int(pid)] = float(seconds)
        else:
            running.pop(int(pid), None)
    return list(running.items())


def is_gone(process: psutil.Process | None) -> bool:
    try:
        return process is None or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


@contextmanager
def _holding_postgres(state_dir: Path) -> Iterator[None]:
    """The Prefect server needs its database until it has ended; the stores end when nobody holds them."""
    with ExitStack() as stack:
        with suppress(embedded.EmbeddedError):
            stack.enter_context(embedded.running(state_dir, frozenset({embedded.Server.POSTGRES})))
        yield


def main(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent does
    with _holding_postgres(Path(argv[0])):
        for pid, seconds in reversed(still_there(sys.stdin)):
            process = psutil_of(pid)
            end(process, seconds, lambda process=process: is_gone(process))  # type: ignore[misc]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
