"""What flows that people start share: that their steps are retried by the table, and the words that a run may keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines import policy_check as policy_check_command
from pipelines import steps
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import health, on_demand, planning, policy_check, startable
from pipelines.runs import Mode, Run, RunStep, Status
from tests.support.make import NOW


def test_each_of_their_steps_has_a_retry_policy() -> None:
    names = {f.__name__ for f in (health.check_health, policy_check.check_policy, planning.plan_interventions)}
    assert names <= set(steps.RETRIES)


def test_words_are_kept_short_and_on_one_line() -> None:
    assert on_demand.kept(["a\nb", "c" * 400]) == ["a b", "c" * 299 + "…"]
    many = on_demand.kept([str(n) for n in range(50)])
    assert (len(many), many[-1]) == (40, "and 11 more")


@pytest.mark.parametrize("leak", ["p_" + "0" * 32, "anna@example.org", "hunter2-the-secret"])
def test_a_person_or_a_secret_is_never_kept(leak: str) -> None:
    with pytest.raises(Refused) as caught:
        on_demand.kept(["fine", f"said {leak}"], ["hunter2-the-secret"])
    assert caught.value.code == "LEAK"
    assert leak not in str(caught.value)


def a_plan(k: int | None, **changes: Any) -> Run:
    step = RunStep("plan_interventions", 0, Status.COMPLETED, 1, NOW, 1.0, counts={"planned": 1})
    result = {"planned": 1, "words": ["Sales: -0.1"]} | ({"k": k} if k else {})
    made = Run(1, "intervention_planning", "r-1", Status.COMPLETED, Mode.DIRECT, NOW, result=result, steps=(step,))
    return replace(made, **changes)


def test_a_plan_is_told_again_as_long_as_k_is_not_larger() -> None:
    for told_under, now in ((5, 5), (8, 5), (8, 8)):
        assert on_demand.as_fit(a_plan(told_under), now) == a_plan(told_under)


@pytest.mark.parametrize("told_under", [5, None])
def test_under_a_larger_k_neither_words_nor_numbers_are(told_under: int | None) -> None:
    shown = on_demand.as_fit(a_plan(told_under), 8)
    assert set(shown.result) == {"withheld"} and not shown.steps[0].counts
    assert on_demand.as_fit(shown, 8) == shown


def test_of_a_run_that_told_nothing_nothing_is_withheld() -> None:
    refused = a_plan(None, status=Status.CANCELLED, result={}, steps=())
    assert on_demand.as_fit(refused, 8) == refused


DOCUMENT = '{"from": "canary@example.org"}'


def test_of_a_document_a_run_keeps_counts_and_takes_them_again_when_it_is_retried() -> None:
    kept = startable.checked("policy_check", {"document": DOCUMENT})
    assert kept == {"document": {"items": 1, "valid": 0, "RAW_IDENTIFIER": 1}}
    assert startable.checked("policy_check", kept) == kept


@pytest.mark.parametrize(
    ("flow", "given"),
    [
        ("health_monitoring", {"services": ["canary"]}),
        ("health_monitoring", {"check_type": "canary"}),
        ("policy_check", {}),
        ("policy_check", {"template_id": "canary", "team": "sales"}),
        ("policy_check", {"document": {"canary": 1}}),
        ("policy_check", {"document": ""}),
        ("intervention_planning", {}),
        ("intervention_planning", {"team_id": "canary@example.org"}),
        ("intervention_planning", {"team_id": "sales", "horizon": 0}),
    ],
)
def test_wrong_parameters_are_known_before_a_run_is_kept(flow: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        startable.checked(flow, given)
    assert "canary" not in str(caught.value)


def test_all_three_may_be_started() -> None:
    assert startable.checked("health_monitoring", {"services": ["redis"]}) == {"services": ["redis"]}
    plan = {"team_id": "sales", "horizon": 60, "effort_level": "low"}
    assert startable.checked("intervention_planning", plan) == plan
    assert startable.checked("policy_check", {"proposal": "0123456789abcdef"}) == {"proposal": "0123456789abcdef"}


def test_a_check_of_nothing_is_told_the_options_as_they_are_typed() -> None:
    with pytest.raises(InvalidInput, match=r"--proposal ID, or --playbook NAME with --team TEAM, or --document"):
        policy_check_command.main([])
