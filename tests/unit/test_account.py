"""The frame around a run: once more for what may pass, never for a step that had its attempts, and who is told of what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipelines import account, settings, steps, wiring
from pipelines.account import Going, Origin
from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from pipelines.runs import ErrorKind, Mode, Status
from tests.support.fakes_ledger import FakeLedger

WHERE = wiring.Endpoints("", "", "", "", "", "", "")
Told = list[tuple[ErrorKind, str, str | None]]


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> FakeLedger:
    its = FakeLedger()

    @contextmanager
    def opened(*_: object) -> Iterator[Any]:
        yield its

    @contextmanager
    def servers(*_: object) -> Iterator[wiring.Endpoints]:
        yield WHERE

    monkeypatch.setattr(wiring, "ledger", opened)
    monkeypatch.setattr(wiring, "endpoints", servers)
    return its


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    seen: Told = []

    def tell(*args: Any) -> None:
        _config, _where, _flow, _origin, kind, words, *step = args
        seen.append((kind, words, step[0] if step else None))

    monkeypatch.setattr(account, "tell_failed", tell)
    return seen


def run(body: Callable[[Going], Any], mode: Mode = Mode.DIRECT) -> Any:
    policies = {"store_metrics": steps.Retry(attempts=4, base_s=0, factor=1, jitter=0, timeout_s=1)}
    config = settings.load(run_again_s=0)
    return account.run(config, "full", Origin(run_id="run", mode=mode), steps.directly(policies), body)


def failing(error: BaseException, times: int = 99) -> Callable[[Going], int]:
    """A body that fails outside any step."""

    def body(going: Going) -> int:
        if going.attempt <= times:
            raise error
        return going.attempt

    return body


def test_a_good_run_is_a_row_and_nobody_is_told(ledger: FakeLedger, told: Told) -> None:
    assert run(lambda going: going.attempt) == 1
    row = ledger.get("run")
    assert row is not None
    assert (row.status, row.attempts, told) == (Status.COMPLETED, 1, [])


def test_what_could_not_be_opened_is_tried_once_more_in_the_same_row(ledger: FakeLedger, told: Told) -> None:
    assert run(failing(TransientError("away"), times=1)) == 2
    row = ledger.get("run")
    assert row is not None
    assert (row.status, row.attempts, told) == (Status.COMPLETED, 2, [])


def test_away_twice_is_a_failure_that_is_told_once(ledger: FakeLedger, told: Told) -> None:
    with pytest.raises(TransientError):
        run(failing(TransientError("away")))
    row = ledger.get("run")
    assert row is not None
    assert (row.status, row.error_kind) == (Status.FAILED, ErrorKind.TRANSIENT)
    assert told == [(ErrorKind.TRANSIENT, "away", None)]


def test_a_step_that_had_all_its_attempts_is_not_begun_again_by_the_run(ledger: FakeLedger, told: Told) -> None:
    calls = []

    def store_metrics() -> None:
        calls.append(1)
        raise TransientError("away")

    with pytest.raises(TransientError):
        run(lambda going: going.step(store_metrics))
    assert len(calls) == 4
    assert told == [(ErrorKind.TRANSIENT, "away", "store_metrics")]


@pytest.mark.parametrize(
    ("error", "kind"), [(PermanentError("wrong"), ErrorKind.PERMANENT), (KeyError("content"), ErrorKind.DEFECT)]
)
def test_what_does_not_pass_is_told_at_once_and_content_is_not_quoted(
    error: Exception, kind: ErrorKind, ledger: FakeLedger, told: Told
) -> None:
    with pytest.raises(type(error)):
        run(failing(error))
    assert [t[0] for t in told] == [kind]
    assert "content" not in told[0][1]


@pytest.mark.parametrize("error", [Refused("NO", "no"), KeyboardInterrupt()])
def test_a_refusal_and_an_interruption_page_nobody(error: BaseException, ledger: FakeLedger, told: Told) -> None:
    with pytest.raises(type(error)):
        run(failing(error))
    row = ledger.get("run")
    assert row is not None
    assert (row.status, told) == (Status.CANCELLED, [])


def test_wrong_input_is_told_where_nobody_sits_at_the_terminal(ledger: FakeLedger, told: Told) -> None:
    with pytest.raises(InvalidInput):
        run(failing(InvalidInput("wrong")))
    assert told == []
    with pytest.raises(InvalidInput):
        run(failing(InvalidInput("wrong")), Mode.PREFECT)
    assert [t[0] for t in told] == [ErrorKind.INPUT]
