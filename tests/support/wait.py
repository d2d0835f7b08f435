"""The only way to wait in a test: for something, with a limit, and with a name for the failure."""

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")
_POLL_SECONDS = 0.01


def wait_until(predicate: Callable[[], _Found], timeout: float, what: str) -> _Found:
    """Returns the first truthy result of `predicate`; AssertionError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}, and it did not happen (last: {found!r})")
        time.sleep(_POLL_SECONDS)
