"""What one thread learns in the background, however many want to know it: a store that hangs holds up nobody for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
#: Who asks waits so long after a look began, and is then given the one before.
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    value: T
    age_s: float


class Newest(Generic[T]):
    """The newest look at something. fresh_s: for so long nobody looks again."""

    def __init__(
        self,
        ask: Callable[[], T],
        fresh_s: float,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._ask, self._fresh, self._clock, self._patience = ask, fresh_s, clock, patience_s
        self._lock = threading.Lock()
        self._last: tuple[T, float] | None = None
        self._asking: futures.Future[T] | None = None
        self._began = 0.0

    def seen(self, *, wait: bool = True) -> Seen[T] | None:
        """None: nothing was ever seen, and somebody still looks. wait: for a look that began a moment ago.

        Raises:
            OrganismError: what this look, and none before it, came to.
        """
        asking, left = self._begin()
        if asking is not None and (wait or self._last is None):
            futures.wait([asking], max(0.0, left))
            if asking.done():
                asking.result()
        return self.last()

    def last(self) -> Seen[T] | None:
        """What was seen last, however old. Asks nobody."""
        last = self._last
        return None if last is None else Seen(last[0], self._clock() - last[1])

    def _begin(self) -> tuple[futures.Future[T] | None, float]:
        """The look that is under way, and how long to wait for it; none while the last one is fresh."""
        with self._lock:
            now = self._clock()
            if self._asking is None or self._asking.done():
                if self._last is not None and now - self._last[1] < self._fresh:
                    return None, 0.0
                self._asking, self._began = futures.Future(), now
                threading.Thread(target=self._look, args=(self._asking,), daemon=True).start()
            return self._asking, self._began + self._patience - now

    def _look(self, asked: futures.Future[T]) -> None:
        try:
            found = self._ask()
        except BaseException as error:  # noqa: BLE001  # told to whoever waits for it, and not to the thread's own log
            asked.set_exception(error)
        else:
            self._last = found, self._clock()
            asked.set_result(found)
