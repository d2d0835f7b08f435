"""Stores of the API are opened when they are needed; one that hangs while it is opened does not keep the API from ending."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pipelines import wiring_api
from pipelines.errors import TransientError
from pipelines.wiring_api import Door


class Store:
    """Keeps whoever opens it waiting while the gate is closed."""

    def __init__(self) -> None:
        self.gate, self.opening, self.open = threading.Event(), threading.Event(), False

    @contextmanager
    def __call__(self) -> Iterator[str]:
        self.opening.set()
        assert self.gate.wait(60)
        self.open = True
        yield "a store"
        self.open = False


def test_what_hangs_while_it_is_opened_is_not_waited_for_and_is_closed_when_it_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiring_api, "_END_S", 0.01)
    store = Store()
    door = Door(store)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(door)
        assert store.opening.wait(60)
        door.close()
        assert not asked.done(), "it was waited for"
        store.gate.set()
        with pytest.raises(TransientError, match="ending"):
            asked.result(60)
    assert not store.open


def test_what_is_open_is_closed_and_does_not_open_again() -> None:
    store = Store()
    store.gate.set()
    door = Door(store)
    assert door() == "a store"
    assert store.open
    door.close()
    assert not store.open
    with pytest.raises(TransientError):
        door()
    assert not store.open
