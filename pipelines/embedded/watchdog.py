"""Ends the servers when the supervisor is gone, for systems whose kernel does not do that for us (macOS).

A script of its own: it imports nothing of ours, so that it stays small. It reads `+ PID SIGNAL` and `- PID SIGNAL` from
the supervisor; the end of the input means that the supervisor is gone, and whoever is still on the list is ended.
"""

import os
import signal
import sys
import time

_GRACE_SECONDS = 10.0


def read_until_the_end() -> dict[int, int]:
    """The processes, with their signals, that were still running when the supervisor ended."""
    running: dict[int, int] = {}
    for line in sys.stdin:
        sign, pid, stop = line.split()
        if sign == "+":
            running[int(pid)] = int(stop)
        else:
            running.pop(int(pid), None)
    return running


def tell(pid: int, number: int) -> bool:
    """Sends the signal (0: only asks); says whether the process was there to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    left = [pid for pid, stop in read_until_the_end().items() if tell(pid, stop)]
    deadline = time.monotonic() + _GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [pid for pid in left if tell(pid, 0)]
    for pid in left:
        tell(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
