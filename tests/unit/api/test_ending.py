"""What the API does in the background, and that it ends when it is told to, whatever a store does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from pipelines.api import __main__ as command
from pipelines.api import repeating
from pipelines.api.repeating import repeated
from pipelines.api.vitals import Ready
from pipelines.errors import TransientError
from tests.support.wait import wait_until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """A store that hangs until the test is over."""
    found = threading.Event()
    yield found
    found.set()


def test_it_is_done_again_and_again_and_never_after_the_end() -> None:
    by: list[threading.Thread] = []
    with repeated(lambda: by.append(threading.current_thread()), 0.001):
        wait_until(lambda: len(by) > 2, 20, "the third time")
    assert len(set(by)) == 1 and not by[0].is_alive()


def test_what_hangs_is_not_waited_for_and_keeps_no_process(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeating, "_END_S", 0.01)
    inside: list[threading.Thread] = []

    def hang() -> None:
        inside.append(threading.current_thread())
        gate.wait(60)

    with repeated(hang, 1):
        wait_until(lambda: inside, 20, "the first time")
    assert inside[0].is_alive() and inside[0].daemon


def test_a_request_that_hangs_for_ever_keeps_no_process(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Exception):
        pass

    def gone(code: int) -> None:
        raise Gone(code)

    monkeypatch.setattr(os, "_exit", gone)
    monkeypatch.setattr(command, "_LEFT_S", 0.01)
    monkeypatch.setattr(command.logging, "shutdown", lambda: None)
    threading.Thread(target=gate.wait, args=(60,)).start()
    with pytest.raises(Gone, match="0"):
        command._leave(0)


def test_a_store_that_hangs_says_nothing_about_the_other(gate: threading.Event) -> None:
    def away() -> None:
        raise TransientError("away")

    def here() -> None:
        pass

    def hangs() -> None:
        gate.wait(60)

    assert Ready({"postgres": hangs, "redis": here}, patience_s=0.2).missing() == ("postgres",)
    assert Ready({"postgres": away, "redis": here}, patience_s=20).missing() == ("postgres",)
    assert Ready({"postgres": hangs, "redis": away}, patience_s=0.2).missing() == ("postgres", "redis")
    assert Ready({"postgres": here, "redis": here}, patience_s=20).missing() == ()
