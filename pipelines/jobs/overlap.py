"""Doing two things at a time where the order does not matter: reading ahead, and finishing behind.

The servers are other processes; while one of them works we would only wait. `overlap` False does everything at once and
in order, for tests that count calls.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
#: Objects made and still alive before the collector of cycles looks at them. Three batches hold fewer, and no cycles.
_SELDOM = 50_000


@contextmanager
def seldom_collected() -> Iterator[None]:
    """While events stream through, the collector of cycles looks rarely, and not at what was there before.

    By default it looks each time 700 objects are alive more than before: a fifth of our processor time, and every thread
    waits for it. Reference counting frees what a batch leaves; memory stays as flat as it was.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class Behind:
    """Runs one thing behind the caller's back, in order: the archive takes over a batch while the graph takes the next.

    Safe because what is left to do after a commit may be done at any time, or again: the outbox has it. Leaving the
    `with` waits; an error comes out at the next call or there.
    """

    def __init__(self, overlap: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "behind") if overlap else None
        self._last: Future[None] | None = None

    def do(self, work: Callable[[], None]) -> None:
        if self._pool is None:
            work()
            return
        self.settle()
        self._last = self._pool.submit(work)

    def settle(self) -> None:
        """Wait for what was last asked for; its error comes out here."""
        last, self._last = self._last, None
        if last:
            last.result()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            if self._pool:
                self._pool.shutdown(wait=True)


class Ahead(Generic[T]):
    """Reads the next thing while the caller works on this one.

    Args:
        read: position -> what follows it.
        give_back: called with what was read ahead and not taken.
    """

    def __init__(self, overlap: bool, read: Callable[[str], T], give_back: Callable[[T], None]) -> None:
        self._pool = ThreadPoolExecutor(1, "ahead") if overlap else None
        self._read, self._give_back = read, give_back
        self._asked: Future[T] | None = None

    def ask(self, after: str) -> None:
        """Begin to read what follows `after`; the next `take` must ask for the same."""
        if self._pool:
            self._asked = self._pool.submit(self._read, after)

    def take(self, after: str) -> T:
        asked, self._asked = self._asked, None
        return asked.result() if asked else self._read(after)

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=True)
        if self._asked and not self._asked.exception():
            self._give_back(self._asked.result())
