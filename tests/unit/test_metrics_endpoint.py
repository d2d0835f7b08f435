"""The numbers between the stores and Prometheus: fresh where they can be, old and honest about it where they cannot."""

from __future__ import annotations

import threading

from pipelines.errors import TransientError
from pipelines.metrics_endpoint import Latest
from tests.support.wait import wait_until


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_numbers_are_learned_when_they_are_asked_for_and_say_their_age() -> None:
    clock = Clock()
    latest = Latest(lambda: b"x 1\n", clock, patience_s=30)
    text = latest.text()
    assert text and text.startswith(b"x 1\n") and text.endswith(b"organism_age_seconds 0.0\n")


def test_who_asks_often_gets_the_same_numbers() -> None:
    clock, asked = Clock(), []
    latest = Latest(lambda: (asked.append(1), b"")[1], clock, patience_s=30, fresh_s=5)
    for _ in range(3):
        latest.text()
    assert len(asked) == 1
    clock.now += 6
    latest.text()
    assert len(asked) == 2


def test_while_the_stores_keep_silent_the_last_numbers_are_given_with_their_age() -> None:
    clock, gate, first = Clock(), threading.Event(), threading.Event()

    def ask() -> bytes:
        if first.is_set():
            assert gate.wait(60)
        first.set()
        return b"x 1\n"

    latest = Latest(ask, clock, patience_s=0.01, fresh_s=5)
    wait_until(latest.text, 30, "the first numbers")
    clock.now += 60
    for _ in range(2):
        text = latest.text()
        assert text and text.endswith(b"organism_age_seconds 60.0\n")
    gate.set()
    wait_until(lambda: (latest.text() or b"").endswith(b" 0.0\n"), 30, "fresh numbers")


def test_nothing_is_said_before_anything_was_learned() -> None:
    def ask() -> bytes:
        raise TransientError("away")

    assert Latest(ask, patience_s=30).text() is None
