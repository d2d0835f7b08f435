"""One look for all who want to know; who has waited long enough is given what was seen before."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.errors import TransientError
from pipelines.newest import Newest
from tests.support.wait import wait_until

MANY = 20


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Counts how often it is asked; keeps who asks waiting while the gate is closed."""

    def __init__(self) -> None:
        self.asked, self.gate, self.error = 0, threading.Event(), ""
        self.gate.set()

    def __call__(self) -> int:
        self.asked += 1
        assert self.gate.wait(60)
        if self.error:
            raise TransientError(self.error)
        return self.asked


def test_however_many_want_to_know_one_looks() -> None:
    store, clock = Store(), Clock()
    newest = Newest(store, 5.0, clock, patience_s=30)
    with ThreadPoolExecutor(MANY) as pool:
        found = list(pool.map(lambda _: newest.seen(), range(MANY)))
    assert [seen.value for seen in found if seen] == [1] * MANY
    assert store.asked == 1


def test_what_is_fresh_is_given_again_and_what_is_old_is_looked_at_anew() -> None:
    store, clock = Store(), Clock()
    newest = Newest(store, 5.0, clock, patience_s=30)
    ages = []
    for clock.now in (0.0, 4.9, 5.0):
        seen = newest.seen()
        assert seen
        ages.append((seen.value, seen.age_s))
    assert ages == [(1, 0.0), (1, 4.9), (2, 0.0)]


def test_a_store_that_hangs_holds_up_nobody_for_long() -> None:
    store, clock = Store(), Clock()
    newest = Newest(store, 5.0, clock, patience_s=0.01)
    wait_until(newest.seen, 30, "the first look")
    store.gate.clear()
    clock.now = 60.0
    for _ in range(3):
        seen = newest.seen()
        assert seen and (seen.value, seen.age_s) == (1, 60.0)
    assert store.asked == 2, "others wait for the same look"
    store.gate.set()
    wait_until(lambda: (seen := newest.seen()) and seen.value == 2, 30, "the second look")


def test_who_does_not_wait_is_given_what_there_is() -> None:
    store, clock = Store(), Clock()
    newest = Newest(store, 5.0, clock, patience_s=30)
    newest.seen()
    store.gate.clear()
    clock.now = 60.0
    seen = newest.seen(wait=False)
    assert seen and seen.value == 1
    store.gate.set()


def test_an_error_is_told_to_who_waits_and_what_was_seen_stays() -> None:
    store, clock = Store(), Clock()
    newest = Newest(store, 5.0, clock, patience_s=30)
    assert newest.last() is None
    newest.seen()
    store.error, clock.now = "away", 60.0
    with pytest.raises(TransientError, match="away"):
        newest.seen()
    last = newest.last()
    assert last and (last.value, last.age_s) == (1, 60.0)
    store.error = ""
    seen = newest.seen()
    assert seen and seen.value == 3
