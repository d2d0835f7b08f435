"""What a thread of the API does again and again. It may have to wait for a store, and the API ends without waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: What is at work when all ends is given so long: time for a statement, none for a store that hangs.
_END_S = 1.0


@contextmanager
def repeated(what: Callable[[], None], every_s: float) -> Iterator[None]:
    """Now, and again that long after each time, while the block lasts."""
    over = threading.Event()

    def turns() -> None:
        what()
        while not over.wait(every_s):
            what()

    thread = threading.Thread(target=turns, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_END_S)
