"""The retry table, what settings may change of it, and that nothing is tried more often than it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pipelines import command, settings, steps
from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError


@dataclass
class Failing:
    """A step that fails so often."""

    error: Exception
    times: int
    calls: int = 0
    __name__ = "store_metrics"

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.calls


@pytest.fixture
def at_once() -> steps.Step:
    quick = steps.Retry(attempts=4, base_s=0, factor=1, jitter=0, timeout_s=1)
    return steps.directly({"store_metrics": quick})


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_up_to_three_failures_that_may_pass_end_well(times: int, at_once: steps.Step) -> None:
    assert at_once(Failing(TransientError("away"), times)) == times + 1


def test_the_fourth_failure_is_the_last(at_once: steps.Step) -> None:
    step = Failing(TransientError("away"), 4)
    with pytest.raises(TransientError):
        at_once(step)
    assert step.calls == 4


@pytest.mark.parametrize(
    "error", [PermanentError("wrong"), InvalidInput("wrong"), Refused("NO", "no"), ValueError("x")]
)
def test_what_trying_again_does_not_change_is_tried_once(error: Exception, at_once: steps.Step) -> None:
    step = Failing(error, 1)
    with pytest.raises(type(error)):
        at_once(step)
    assert step.calls == 1


def test_every_step_has_three_retries_with_longer_and_longer_waits_and_some_chance() -> None:
    once = {"check_health"}  # a store that is away is what it is to find
    for name, policy in steps.RETRIES.items():
        assert policy.attempts == (1 if name in once else 4), name
        if name in once:
            continue
        delays = policy.delays()
        assert delays == sorted(delays)
        assert delays[-1] == 4 * delays[0]
        assert policy.jitter > 0


def changed(monkeypatch: pytest.MonkeyPatch, value: object) -> Callable[[], object]:
    monkeypatch.setenv("ORGANISM_RETRIES", json.dumps(value))
    return lambda: command.policies(settings.load())


def test_settings_change_one_step_and_leave_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = changed(monkeypatch, {"store_metrics": {"attempts": 7}})()
    assert policies == {**steps.RETRIES, "store_metrics": steps.Retry(7, 5, 2, 0.5, 300)}


@pytest.mark.parametrize(
    "value", [{"stor_metrics": {"attempts": 7}}, {"store_metrics": {"atempts": 7}}, {"store_metrics": {"attempts": 0}}]
)
def test_a_mistyped_retry_is_an_error_that_names_it(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="ORGANISM_RETRIES"):
        changed(monkeypatch, value)()
