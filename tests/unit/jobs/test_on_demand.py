"""What flows that people start share: that their steps are retried by the table, and the words that a run may keep."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import policy_check as policy_check_command
from pipelines import steps
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import health, on_demand, planning, policy_check, startable


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
