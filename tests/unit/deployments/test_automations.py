"""Automations: by name and never twice; a false alarm of the zombie trigger sends nothing."""

from __future__ import annotations

from typing import Any

import pytest

from deployments import automations
from tests.support.fakes_installation import FakeApi, installed

BLOCK, OTHER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
NAMES = ["organism-zombie", "organism-stuck-pending", "organism-pool-not-ready", "organism-incremental-silent"]


def kinds(spec: dict[str, Any]) -> list[str]:
    return [action["type"] for action in spec["actions"]]


def test_a_second_installation_changes_nothing() -> None:
    api, wanted = FakeApi(), automations.shipped("organism", [BLOCK])
    assert [c.seen for c in automations.install(api, wanted)] == ["created"] * 4
    api.written.clear()
    assert [c.seen for c in automations.install(api, wanted)] == ["unchanged"] * 4
    assert api.written == []


def test_the_naive_control_creating_them_again_makes_duplicates() -> None:
    api = installed()
    for spec in automations.shipped("organism"):
        api.post("/automations/", spec)
    assert [c.ok for c in automations.examine(api, "organism")] == [False] * 4


def test_duplicates_are_removed_and_a_changed_one_is_put_right() -> None:
    api = installed()
    api.own_automations.append({**api.own_automations[0], "id": "again", "created": "9999"})
    api.own_automations[1]["trigger"]["within"] = 5
    told = [c.seen for c in automations.install(api, automations.shipped("organism"))]
    assert told == ["changed: 1 duplicates removed", "changed", "unchanged", "unchanged"]
    assert [row["name"] for row in api.own_automations] == NAMES
    assert all(c.ok for c in automations.examine(api, "organism"))


def test_one_that_was_switched_off_is_switched_on_again_by_setup() -> None:
    api = installed()
    api.own_automations[0]["enabled"] = False
    assert automations.install(api, automations.shipped("organism"))[0].seen == "changed"


def test_what_can_fire_falsely_never_notifies() -> None:
    """The first heartbeat of a short run may come after its end; the state change is then refused, a message would go."""
    for spec in automations.shipped("organism", [BLOCK]):
        if spec["trigger"].get("after"):
            assert kinds(spec) == ["change-flow-run-state"], spec["name"]


def test_a_webhook_is_told_and_without_one_there_is_only_the_event() -> None:
    told = {spec["name"]: kinds(spec) for spec in automations.shipped("organism", [BLOCK, OTHER])}
    assert told["organism-pool-not-ready"] == ["send-notification"] * 2
    silent = {spec["name"]: kinds(spec) for spec in automations.shipped("organism")}
    assert silent["organism-incremental-silent"] == ["do-nothing"]


@pytest.mark.parametrize("name", NAMES[:2])
def test_states_are_changed_only_of_our_runs(name: str) -> None:
    (spec,) = [s for s in automations.shipped("organism") if s["name"] == name]
    assert spec["trigger"]["match_related"] == {
        "prefect.resource.role": "tag",
        "prefect.resource.id": "prefect.tag.organism",
    }


def test_the_pool_is_the_one_that_is_used() -> None:
    (spec,) = [s for s in automations.shipped("shared") if s["name"] == "organism-pool-not-ready"]
    assert spec["trigger"]["match"]["prefect.resource.name"] == "shared"


def test_the_zombie_waits_for_three_heartbeats_of_prefect_yaml() -> None:
    from deployments import manifest
    from tests.support.fakes_installation import FILE

    zombie = automations.shipped("organism")[0]
    beats = {int(d.work_pool.job_variables.env[manifest.HEARTBEAT]) for d in manifest.load(FILE).deployments}
    assert {zombie["trigger"]["within"]} == {3 * beat for beat in beats}


def test_a_run_that_a_rule_refused_is_no_silence() -> None:
    """Prefect names the event for the state's name, and a refused run's state is not called Completed."""
    from pipelines import skin
    from pipelines.errors import Refused

    silent = automations.shipped("organism")[3]["trigger"]
    ended_well = {"Completed", skin.skipped(Refused("WRITER_BUSY", "another one writes")).name}
    assert set(silent["expect"]) == {f"prefect.flow-run.{name}" for name in ended_well}


def test_only_those_notify_of_which_the_decision_says_so() -> None:
    told = {spec["name"] for spec in automations.shipped("organism", [BLOCK]) if "send-notification" in kinds(spec)}
    assert told == {"organism-pool-not-ready", "organism-incremental-silent"}


def test_one_that_tells_nobody_is_a_warning_with_what_to_set() -> None:
    told = {check.name: check for check in automations.examine(installed(), "organism")}
    assert told["pool-not-ready"].seen == "tells nobody: no webhook is configured"
    assert told["pool-not-ready"].ok and "SLACK_WEBHOOK_URL" in told["pool-not-ready"].fix, (
        "advice: it turns nothing red"
    )
    assert told["zombie"].fix == ""
