"""What a start may be told: every flow by its table, and nothing that PostgreSQL or Prefect would choke on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.errors import InvalidInput
from pipelines.jobs import startable
from pipelines.jobs.flows import BY_NAME, FLOWS


def test_every_flow_of_the_schedule_may_be_started_and_only_flows() -> None:
    assert {flow.name for flow in FLOWS} <= set(startable.STARTABLE) <= set(BY_NAME)


def test_an_unknown_flow_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as caught:
        startable.checked("incremntal", {})
    assert all(name in str(caught.value) for name in startable.STARTABLE)
    assert "incremntal" not in str(caught.value)


@pytest.mark.parametrize(
    ("flow", "given", "kept"),
    [
        ("incremental", {}, {}),
        ("incremental", {"accept_invalid": True, "budget_s": 5}, {"accept_invalid": True, "budget_s": 5}),
        ("incremental", {"budget_s": 0.5}, {"budget_s": 0.5}),
        ("incremental", {"budget_s": None}, {}),
        (
            "full",
            {"resume": "full-2026-03-02T06", "propose": False},
            {"resume": "full-2026-03-02T06", "propose": False},
        ),
        ("watch", {}, {}),
        ("verify", {}, {}),
    ],
)
def test_what_the_table_allows_is_kept_as_it_was_given(flow: str, given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert startable.checked(flow, given) == kept


@pytest.mark.parametrize(
    ("flow", "given"),
    [
        ("incremental", {"accept_invalid": 1}),
        ("incremental", {"accept_invalid": None}),
        ("incremental", {"accept_invalid": "true"}),
        ("incremental", {"budget_s": True}),
        ("incremental", {"budget_s": 0}),
        ("incremental", {"budget_s": math.nan}),
        ("incremental", {"budget_s": math.inf}),
        ("incremental", {"budget_s": 10**400}),
        ("incremental", {"budget_s": "5"}),
        ("incremental", {"resume": None}),
        ("full", {"resume": ""}),
        ("full", {"resume": "full-2026-13-02T06"}),
        ("full", {"resume": "full-2026-03-02T06\n"}),
        ("full", {"resume": "full-٢٠٢٦-03-02T06"}),
        ("full", {"resume": "full-2026-03-02T06\0"}),
        ("full", {"resume": ["full-2026-03-02T06"]}),
        ("full", {"by": "somebody else"}),
        ("watch", {"once": True}),
        ("verify", {"": 1}),
    ],
)
def test_anything_else_is_refused_in_words_that_say_what_is_expected(flow: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"expected|takes"):
        startable.checked(flow, given)


def test_what_was_given_is_not_repeated_in_the_refusal() -> None:
    for given in ({"resume": "canary"}, {"propse": "canary"}, {"canary 7": 1}, {"canary@example.org": 1}):
        with pytest.raises(InvalidInput) as caught:
            startable.checked("full", given)
        assert "canary" not in str(caught.value)


def test_a_mistyped_parameter_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"full does not take propse; it takes resume \(text\), propose"):
        startable.checked("full", {"propse": True})


@pytest.mark.parametrize("value", ["a\0b", "\ud800", {"a": ["\0"]}, {"a": math.nan}, {1, 2}])
def test_what_cannot_be_stored_is_no_value_of_any_kind(value: Any) -> None:
    assert not startable.Parameter(type(value), None, "anything").takes(value)


@pytest.mark.parametrize("value", ["a b", "ü", {"a": [1, None]}])
def test_what_can_be_stored_is(value: Any) -> None:
    assert startable.Parameter(type(value), None, "anything").takes(value)


def test_services_are_kept_once_and_in_one_order_and_not_by_the_thousand() -> None:
    given = {"services": ["redis", "disk", "redis", "graph"]}
    assert startable.checked("health_monitoring", given) == {"services": ["redis", "graph", "disk"]}
    assert startable.checked("health_monitoring", {"services": []}) == {"services": []}
    with pytest.raises(InvalidInput, match="at most 50"):
        startable.checked("health_monitoring", {"services": ["redis"] * 6_000})


def test_what_a_run_keeps_is_at_most_four_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a parameter whose own check has no end."""
    words = startable.Parameter(str, "", "anything")
    monkeypatch.setattr(startable, "STARTABLE", {"verify": {"words": words}})
    assert startable.checked("verify", {"words": "x" * 4_000})
    with pytest.raises(InvalidInput, match="4,096"):
        startable.checked("verify", {"words": "x" * 4_096})
