"""How things stand, as `python -m pipelines.status` asks it: for everybody who looks within some seconds, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipelines import status, wiring_watch
from pipelines.report.standing import Standing
from pipelines.settings import Settings

#: Every look opens the stores anew, as one that is away must be seen; ten people who look are no reason to do so ten times.
_FRESH_S = 3.0


class Glance:
    """Stores that are away are in what comes back, and raise nothing. One caller asks at a time; who comes meanwhile is given
    what was seen before, so that a store that hangs holds up one thread and not all.
    """

    def __init__(self, ask: Callable[[], Standing], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock, self._lock = ask, clock, threading.Lock()
        self._last: Standing | None = None
        self._until = float("-inf")

    def __call__(self) -> Standing:
        last = self._last
        if last is not None and (self._clock() < self._until or self._lock.locked()):
            return last
        with self._lock:
            if self._last is None or self._clock() >= self._until:
                self._last = self._ask()
                self._until = self._clock() + _FRESH_S
            return self._last


def of(config: Settings) -> Glance:
    def ask() -> Standing:
        with wiring_watch.watching(config) as watched:
            return status.standing(config, watched)

    return Glance(ask)
