"""What a run says in words of a team or a proposal: who hears it, where, and who may ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.principals import Principal, Role
from pipelines.api import hearing
from pipelines.runs import ErrorKind, Mode, RunStep, Status
from tests.support.api_app import Client, Site, site
from tests.support.fakes_proposals import NOW

SAID = "in: quiet_hours: after_hours_share -0.12 (95 % interval -0.2 to -0.04)"
PLAN = {"team_id": "Platform"}
OF_PROPOSAL = {"proposal": "p-1"}
OF_TEAM = {"template_id": "quiet_hours", "team": "Platform"}
OF_DOCUMENT = {"document": {"items": 3, "valid": 3}}
START = "/workflows/flows/{}/start"
#: Every route that shows a run, by {id}.
SHOWN = (
    "/workflows/flows/{id}/status",
    "/workflows/flows/{id}/logs",
    "/workflows/flows/{id}/metrics",
    "/workflows/flows?limit=5",
    "/api/v1/automation/workflow/{id}/status",
    "/api/v1/automation/status",
    "/runs",
    "/runs/{id}",
    "/runs/{id}/logs",
    "/",
)


def said(
    its: Site, flow: str, parameters: Mapping[str, Any], status: Status = Status.COMPLETED, k: int | None = 5
) -> str:
    """k: under which it was told; None: nobody noted it, as in the first versions."""
    its.ledger.begin(flow, "r-1", Mode.DIRECT, NOW, parameters=dict(parameters))
    its.ledger.note_step("r-1", RunStep("tell", 0, Status.COMPLETED, 1, NOW, 1.0, counts={"planned": 7301}))
    why = {"error": "the graph is away", "error_kind": ErrorKind.TRANSIENT} if status is Status.FAILED else {}
    result = {"planned": 7301, "codes": ["NOT_CREDIBLE"], "words": [SAID]} | ({"k": k} if k else {})
    its.ledger.close("r-1", status, NOW, result=result, **why)
    return "r-1"


def heard(client: Client, path: str) -> bool:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return "after_hours_share" in answer.text


@pytest.mark.parametrize("path", SHOWN)
@pytest.mark.parametrize("flow", ["intervention_planning", "policy_check"])
def test_nobody_hears_the_words_where_runs_are_shown(its: Site, client: Client, flow: str, path: str) -> None:
    both = {"intervention_planning": PLAN, "policy_check": OF_PROPOSAL}
    run = said(its, flow, both[flow])
    its.let_in("all", *Role)
    for who in ("viewer", "operator", "admin", "all"):
        if who == "viewer" or path != "/":
            assert not heard(client.by(who), path.format(id=run)), who


def test_numbers_and_codes_are_for_all_who_look(its: Site, client: Client) -> None:
    run = said(its, "intervention_planning", PLAN)
    shown = client.by("operator").get(f"/workflows/flows/{run}/status").json()["result"]
    assert shown == {"planned": 7301, "codes": ["NOT_CREDIBLE"], "k": 5}


@pytest.mark.parametrize(
    ("flow", "parameters", "hear"),
    [
        ("intervention_planning", PLAN, {Role.ANALYST}),
        ("policy_check", OF_TEAM, {Role.ANALYST}),
        ("policy_check", OF_PROPOSAL, {Role.VIEWER, Role.APPROVER}),
    ],
)
def test_the_report_says_it_to_those_alone_who_may_hear_it_and_notes_that(
    its: Site, client: Client, flow: str, parameters: dict[str, Any], hear: set[Role]
) -> None:
    run = said(its, flow, parameters)
    for role in Role:
        its.audit.rows.clear()
        for form in ("json", "html"):
            assert heard(client.by(role.value), f"/workflows/flows/{run}/report?format={form}") == (role in hear), role
        noted = [("asks GET /workflows/flows/{flow_id}/report", run)] * 2 if role in hear else []
        assert [row[2:] for row in its.audit.rows] == noted


def test_words_that_cannot_be_noted_are_not_told(its: Site, client: Client) -> None:
    from tests.unit.api.test_table import table_away

    run = said(its, "intervention_planning", PLAN)
    its.audit.fails = table_away()
    assert client.by("analyst").get(f"/workflows/flows/{run}/report").status_code == 503
    assert client.by("viewer").get(f"/workflows/flows/{run}/report").status_code == 200


def test_words_of_services_and_of_documents_stay_for_all_who_look(its: Site, client: Client) -> None:
    assert heard(client.by("viewer"), f"/workflows/flows/{said(its, 'health_monitoring', {})}/status")
    assert hearing.readers("policy_check", OF_DOCUMENT) is None


#: Of what `said` says, what must not be in an answer.
TELLS = ("7,301", "7301", "NOT_CREDIBLE", "after_hours_share")


def told(its: Site, who: str, path: str) -> list[str]:
    answer = Client(its.whole(), who).get(path)
    assert answer.status_code == 200, answer.text
    return [part for part in TELLS if part in answer.text]


@pytest.mark.parametrize(("flow", "parameters"), [("intervention_planning", PLAN), ("policy_check", OF_PROPOSAL)])
@pytest.mark.parametrize("k", [5, None])
def test_what_was_told_under_a_smaller_k_is_told_to_nobody_again(
    tmp_path: Path, flow: str, parameters: dict[str, Any], k: int | None
) -> None:
    with site(tmp_path, min_group_size=8) as its:
        run = said(its, flow, parameters, k=k)
        its.let_in("all", *Role)
        for path in (*SHOWN, "/workflows/flows/{id}/report", "/workflows/flows/{id}/report?format=html"):
            assert told(its, "all", path.format(id=run)) == [], path
        assert its.audit.rows == []  # nobody has read it


@pytest.mark.parametrize("path", ["status", "logs", "metrics", "report"])
def test_under_the_same_k_it_is_told(its: Site, path: str) -> None:
    """What the test above looks for is there to be found."""
    run = said(its, "intervention_planning", PLAN)
    its.let_in("all", *Role)
    assert told(its, "all", f"/workflows/flows/{run}/{path}") != []


def test_why_it_is_not_told_is_said(tmp_path: Path) -> None:
    with site(tmp_path, min_group_size=8) as its:
        run, client = said(its, "intervention_planning", PLAN), Client(its.whole(), "viewer")
        report = client.get(f"/workflows/flows/{run}/report").json()
        assert "under a smaller k" in report["withheld"] and report["numbers"] == {} and report["words"] == []
        assert set(report["run"]["result"]) == {"withheld"}
        for page in ("/runs", "/runs/1", "/runs/1/logs", f"/workflows/flows/{run}/report?format=html"):
            assert "under a smaller k" in client.get(page).text, page


def test_of_a_failure_the_error_is_told_whatever_k_is(tmp_path: Path) -> None:
    with site(tmp_path, min_group_size=8) as its:
        run = said(its, "intervention_planning", PLAN, Status.FAILED)
        its.let_in("all", *Role)
        assert told(its, "all", f"/runs/{run}") == []
        assert "the graph is away" in Client(its.whole(), "all").get(f"/runs/{run}").text


def test_a_check_of_a_document_and_of_services_is_told_whatever_k_is(tmp_path: Path) -> None:
    for flow, parameters in (("policy_check", OF_DOCUMENT), ("health_monitoring", {})):
        with site(tmp_path, min_group_size=8) as its:
            assert told(its, "viewer", f"/workflows/flows/{said(its, flow, parameters, k=None)}/status") != []


@pytest.mark.parametrize(
    ("flow", "parameters", "needed"),
    [
        ("intervention_planning", PLAN, [Role.ANALYST]),
        ("policy_check", OF_TEAM, [Role.ANALYST]),
        ("policy_check", OF_PROPOSAL, [Role.VIEWER, Role.APPROVER]),
    ],
)
def test_who_asks_has_to_be_one_who_may_hear_it(
    its: Site, client: Client, flow: str, parameters: dict[str, Any], needed: list[Role]
) -> None:
    automation = {"workflow_type": flow, "parameters": parameters}
    its.let_in("other", Role.OPERATOR, *set(Role) - {Role.OPERATOR, *needed})
    for who in ("operator", "other"):
        for path, body in (
            (START.format(flow), {"parameters": parameters}),
            ("/api/v1/automation/workflow", automation),
        ):
            answer = client.by(who).post(path, body)
            assert (answer.status_code, answer.json()["code"]) == (403, "NOT_ALLOWED"), path
    assert its.launched == [] and its.audit.rows == []
    for role in needed:
        its.let_in("both", Role.OPERATOR, role)
        assert client.by("both").post(START.format(flow), {"parameters": parameters}).status_code == 200
    assert len(its.launched) == len(needed)


def test_nor_is_it_had_by_repeating_what_another_asked_for(its: Site, client: Client) -> None:
    run = said(its, "intervention_planning", PLAN, Status.FAILED)
    path = f"/workflows/flows/{run}/retry"
    assert client.by("operator").post(path).status_code == 403
    assert client.by("operator").get(f"/runs/{run}/retry").status_code == 403
    its.let_in("both", Role.OPERATOR, Role.ANALYST)
    assert client.by("both").post(path).status_code == 200


def test_what_is_about_nobody_takes_the_operator_alone(its: Site, client: Client) -> None:
    for flow in ("verify", "health_monitoring"):
        assert client.by("operator").post(START.format(flow)).status_code == 200
    hearing.insist_may_start(Principal("o", frozenset({Role.OPERATOR}), "k"), "policy_check", OF_DOCUMENT)
