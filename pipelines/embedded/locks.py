"""Advisory locks on files (flock). The kernel drops them when their holder dies, however it dies: everything that must
not outlive a process is built on that. They do not work across machines, nor does anything else in this package.
"""

import fcntl
import os
import time
from pathlib import Path

# A low number could be taken for standard input, output or error by a process that was started with one of them closed.
_LOWEST_DESCRIPTOR = 10


def open_lock(path: Path) -> int:
    """A descriptor to lock with. It is not inherited by other programs; closing it drops the lock."""
    low = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
    finally:
        os.close(low)


def take(descriptor: int, *, shared: bool) -> bool:
    """Takes the lock if that is possible at once; says whether it did."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_within(descriptor: int, seconds: float, *, shared: bool) -> bool:
    """Like `take`, but tries for `seconds`. Polled, because flock knows no time limit."""
    deadline = time.monotonic() + seconds
    while not take(descriptor, shared=shared):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def release(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_held(path: Path, *, by_one_alone: bool = False) -> bool:
    """True while somebody else holds the lock (`by_one_alone`: exclusively). Takes it for an instant to see."""
    descriptor = open_lock(path)
    try:
        return not take(descriptor, shared=by_one_alone)
    finally:
        os.close(descriptor)
