"""The processes that the supervisor starts: as whom, with what they may inherit, and that they die with it.

On Linux the kernel tells a child that its parent is gone. Elsewhere a small watchdog process does: it holds the other
end of a pipe, and the pipe closes when the supervisor dies.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.embedded.place import Account

_PR_SET_PDEATHSIG = 1
# Nothing of the user's environment reaches a foreign binary: PGHOST, PGOPTIONS and the like would change what it does.
_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Program:
    """What to run and how. `stop` is the signal for an orderly end; `keep_open` are descriptors that it inherits."""

    command: Sequence[str | Path]
    log: Path
    stop: signal.Signals = signal.SIGTERM
    cwd: Path = Path("/")
    stdin: int = subprocess.DEVNULL
    stdout: int | None = None
    run_as: Account | None = None
    keep_open: tuple[int, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


def tell(process: Process, line: bytes) -> None:
    """Writes to its standard input. A process that is already gone is noticed elsewhere, as one that died."""
    with contextlib.suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.write(line)
            process.stdin.flush()


def tell_all(process: Process, text: bytes) -> None:
    """The same, and that was all: its input ends."""
    tell(process, text)
    with contextlib.suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.close()


class Children:
    """All processes of one supervisor. Single-threaded: the kernel ties a child to the thread that started it."""

    def __init__(self, *, watchdog: bool) -> None:
        self._running: list[tuple[Process, signal.Signals]] = []
        self._watchdog = _start_watchdog() if watchdog else None

    def start(self, program: Program) -> Process:
        descriptor = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab") as log:
            process = _spawn(program, log.fileno(), tied=self._watchdog is None)
        self._forget_the_dead()
        self._running.append((process, program.stop))
        self._tell_watchdog("+", process.pid, program.stop)
        return process

    def stop_all(self, seconds: float) -> None:
        """Asks every process to end, waits that long, and then makes them."""
        for process, stop in self._running:
            if process.poll() is None:
                process.send_signal(stop)
        deadline = time.monotonic() + seconds
        while self._forget_the_dead() and time.monotonic() < deadline:
            time.sleep(0.01)
        for process, _ in self._running:
            process.kill()
            process.wait()
        self._forget_the_dead()
        self._release_watchdog()

    def _forget_the_dead(self) -> bool:
        """Drops the processes that ended; says whether any is left."""
        for process, _ in [entry for entry in self._running if entry[0].poll() is not None]:
            self._tell_watchdog("-", process.pid, signal.SIGTERM)
        self._running = [entry for entry in self._running if entry[0].returncode is None]
        return bool(self._running)

    def _tell_watchdog(self, sign: str, pid: int, stop: signal.Signals) -> None:
        if self._watchdog:
            tell(self._watchdog, f"{sign} {pid} {int(stop)}\n".encode())

    def _release_watchdog(self) -> None:
        if self._watchdog:
            tell_all(self._watchdog, b"")
            self._watchdog.wait()
            self._watchdog = None


def _spawn(program: Program, log: int, *, tied: bool) -> Process:
    who = program.run_as
    return subprocess.Popen(
        program.command,
        cwd=program.cwd,
        stdin=program.stdin,
        stdout=log if program.stdout is None else program.stdout,
        stderr=log,
        env={name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(program.env),
        user=who.uid if who else None,
        group=who.gid if who else None,
        extra_groups=[] if who else None,
        pass_fds=program.keep_open,
        umask=0o077,
        # Runs after the change of user, which would have cleared it again; safe because we have no threads.
        preexec_fn=_die_with_parent(program.stop) if tied else None,
    )


def _die_with_parent(stop: signal.Signals) -> Callable[[], None]:
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_the_kernel


def _start_watchdog() -> Process:
    script = Path(__file__).with_name("watchdog.py")
    # A session of its own, so that what ends the supervisor does not end it as well.
    return subprocess.Popen([sys.executable, "-P", script], stdin=subprocess.PIPE, cwd="/", start_new_session=True)
