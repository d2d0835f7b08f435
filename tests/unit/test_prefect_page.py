"""The page of a run is decoration: neither a server that hangs nor one that says no may hold up or fail the work."""

from __future__ import annotations

import threading

import httpx
import pytest

from pipelines import prefect_page


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_page, "_given_up", threading.Event())
    monkeypatch.setattr(prefect_page, "_PATIENCE_S", 0.05)


def test_what_is_written_comes_back() -> None:
    assert prefect_page._write(lambda: 7) == 7


def test_a_server_that_hangs_is_waited_for_once_and_never_again() -> None:
    hangs, asked = threading.Event(), []

    def request() -> None:
        asked.append(1)
        hangs.wait(5)

    assert prefect_page._write(request) is None
    assert prefect_page._write(request) is None
    hangs.set()
    assert len(asked) == 1


def test_a_server_that_says_no_is_asked_no_more() -> None:
    def request() -> None:
        raise httpx.ConnectError("no")

    assert prefect_page._write(request) is None
    assert prefect_page._write(lambda: 7) is None


def test_text_that_must_not_leave_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(prefect_page, "create_table_artifact", lambda **given: sent.append(given))
    prefect_page.table("key", [{"who": "p_0123456789abcdef0123"}], "words")
    assert sent == []


def test_one_bar_is_made_for_all_pieces_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    made, updates, now = [], [], [0.0]
    bar = "00000000-0000-0000-0000-000000000001"

    def make(percent: float, description: str) -> str:
        made.append(description)
        return bar

    monkeypatch.setattr(prefect_page, "create_progress_artifact", make)
    monkeypatch.setattr(
        prefect_page, "update_progress_artifact", lambda _id, p, description: updates.append((p, description))
    )
    with prefect_page.progress(lambda: now[0]) as show:
        for piece in range(40):
            now[0] += 3
            show(f"piece_{piece}", 0.5)
    assert made == ["piece 0"]
    assert updates[-1] == (100.0, "done")
    assert len(updates) == 40


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("incremental: 5,208 applied", "incremental: 5,208 applied"),
        ("n" * 100, "n" * 100),
        ("n" * 101, "n" * 99 + "…"),
        ("full: " + "one more finding, " * 9, "full: " + "one more finding, " * 4 + "one more finding…"),
    ],
)
def test_the_name_of_a_run_fits_into_a_line(words: str, name: str) -> None:
    assert prefect_page._fitting(words) == name
    assert len(name) <= 100
