"""What one person types takes no page away from the others, names nobody in an answer, and is short in the audit log."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.interventions.proposal import Decision
from pipelines.runs import ErrorKind, Mode, Status
from tests.support import page_gallery
from tests.support.api_app import Client, Site
from tests.support.fakes_proposals import NOW, proposal
from tests.support.page_site import Browser, World, world
from tests.unit.api.test_table import keep_story

HEX = "0123456789abcdef01"
TYPED = {
    f"ticket P_{HEX.upper()}": HEX.upper(),
    f"ticket person_p_{HEX}": HEX,
    "asked by anna%40example.org": "anna%40",
    "asked by anna&#64;example.org": "anna&",
    "asked by 100%anna@example.org": "anna@",
    f"see p_0123\u200b{HEX[4:]}": HEX[4:],
    "said hunter2secret": "hunter2",
}
LOOKS = ("/", "/runs", "/runs/1", "/runs/1/logs", "/proposals", "/letters")
ROUTES = ("/workflows/flows", "/workflows/flows/1/status", "/workflows/flows/1/logs", "/workflows/flows/1/report")


@pytest.fixture
def place(tmp_path: Path) -> World:
    return world(tmp_path)


def entered(its: World, name: str) -> Browser:
    browser = Browser(its.app())
    assert browser.login(name).status_code == 303
    return browser


@pytest.mark.parametrize("typed", TYPED)
def test_a_reason_that_names_somebody_takes_no_page_away(place: World, typed: str) -> None:
    place.ledger.begin("incremental", "r-1", Mode.DIRECT, NOW, parameters={})
    ben, anna = entered(place, "ben"), entered(place, "anna")
    assert ben.send("/runs/1/cancel", reason=typed).status_code == 303
    assert ben.post("/switch/halt", ben.form("/switch") | {"reason": typed}).status_code == 303
    place.standing = page_gallery.standing(list(place.ledger.runs.values()))
    for path in (*LOOKS, "/switch"):
        answer = anna.get(path)
        assert answer.status_code == 200, path
        assert TYPED[typed] not in answer.text, path


@pytest.mark.parametrize("typed", TYPED)
def test_what_was_kept_before_it_was_masked_takes_no_page_away(place: World, typed: str) -> None:
    place.ledger.begin("incremental", "r-1", Mode.DIRECT, NOW, parameters={"team": typed})
    place.ledger.close("r-1", Status.CANCELLED, NOW, error=typed, error_kind=ErrorKind.INTERRUPTED)
    place.proposals.halt("ben", typed, NOW)
    place.standing = page_gallery.standing(list(place.ledger.runs.values()))
    anna = entered(place, "anna")
    for path in (*LOOKS, "/switch"):
        answer = anna.get(path)
        assert answer.status_code == 200, path
        assert TYPED[typed] not in answer.text, path


@pytest.mark.parametrize("typed", [typed for typed in TYPED if "hunter2" not in typed])
def test_no_answer_holds_what_somebody_typed_of_a_person(its: Site, client: Client, typed: str) -> None:
    its.ledger.begin("incremental", "r-1", Mode.DIRECT, NOW, parameters={"team": typed})
    its.ledger.close("r-1", Status.CANCELLED, NOW, error=typed, error_kind=ErrorKind.INTERRUPTED)
    its.proposals.halt("ben", typed, NOW)
    viewer = client.by("viewer")
    for path in (*ROUTES, "/workflows/flows/1/report?format=html", "/interventions"):
        answer = viewer.get(path)
        assert answer.status_code == 200, path
        assert TYPED[typed] not in answer.text.replace("\\u200b", ""), path


def test_a_secret_of_ours_in_a_row_takes_neither_the_list_nor_the_story_away(its: Site, client: Client) -> None:
    one, other = proposal(), replace(proposal(), id="other", preview="said hunter2secret")
    its.proposals.there |= {one.id: one, other.id: other}
    its.proposals.halt("ben", "said hunter2secret", NOW)
    its.ledger.begin("incremental", "r-1", Mode.DIRECT, NOW, parameters={})
    its.ledger.close("r-1", Status.FAILED, NOW, error="said hunter2secret", error_kind=ErrorKind.PERMANENT)
    said = client.by("viewer").get("/interventions")
    assert (said.status_code, "hunter2" in said.text) == (200, False)
    assert [p["id"] for p in said.json()["proposals"]] == [one.id]
    assert [p["id"] for p in said.json()["hidden"]] == ["other"]
    page = client.by("viewer").get("/workflows/flows/1/report?format=html")
    assert (page.status_code, "hunter2" in page.text) == (200, False)


def test_a_reason_of_a_decision_does_not_hide_the_proposal(its: Site, client: Client) -> None:
    made = proposal()
    decision = Decision(
        by="anna",
        role="approver",
        at=NOW,
        decision="approved",
        reason=f"as P_{HEX.upper()} said",
        via="api",
        account="anna",
    )
    kept = replace(made, approval=replace(made.approval, decisions=(decision,)))
    its.proposals.there[made.id] = kept
    said = client.by("viewer").get("/interventions")
    assert [p["id"] for p in said.json()["proposals"]] == [made.id]
    assert HEX.upper() not in said.text


# ------------------------------------------------------------------------------------------------ the audit log


def noted(its: World) -> str:
    return json.dumps([its.audit.rows, its.audit.details], default=str, ensure_ascii=False)


def test_who_asks_about_somebody_leaves_no_name_in_the_audit_log(its: Site, client: Client) -> None:
    keep_story(its)
    for path in ("/findings", "/points"):
        assert client.by("analyst").get(f"{path}?team=anna@example.org").status_code == 200
    assert [detail["team"] for detail in its.audit.details] == ["[redacted]"] * 2


def test_a_rule_that_cannot_be_set_leaves_no_row(its: Site, client: Client) -> None:
    path = "/workflows/flows/incremental/alerts"
    for body in ({"code": f"P_{HEX}"}, {"code": "ENTRIES_LOST", "enabled": False}, {"code": "nothing", "reset": True}):
        assert client.by("operator").post(path, body).status_code == 422
    assert its.audit.rows == []


def test_the_row_of_a_rule_holds_what_was_set(its: Site, client: Client) -> None:
    path, until = "/workflows/flows/incremental/alerts", NOW + timedelta(hours=2)
    body = {"code": "SLOW_RUN", "threshold": 60, "severity": "warning", "muted_until": until.isoformat()}
    assert client.by("operator").post(path, body | {"note": "asked by anna@example.org"}).status_code == 200
    assert client.by("operator").post(path, {"code": "SLOW_RUN", "reset": True}).status_code == 200
    set_, cleared = ({k: v for k, v in row.items() if k != "credential"} for row in its.audit.details)
    assert set_ == {
        "code": "SLOW_RUN", "enabled": True, "threshold": 60, "severity": "warning", "muted_until": until.isoformat(),
        "note": "asked by [redacted]", "cleared": False,
    }  # fmt: skip
    assert cleared == {"code": "SLOW_RUN", "cleared": True}
    assert its.rules.kept == {}


def test_a_note_full_of_addresses_is_kept_as_long_as_it_may_be(its: Site, client: Client) -> None:
    answer = client.by("operator").post(
        "/workflows/flows/incremental/alerts", {"code": "SLOW_RUN", "note": "a@b.co " * 28}
    )
    assert answer.status_code == 200
    assert "a@b" not in answer.text


def test_a_decision_on_what_is_not_there_leaves_no_row(place: World) -> None:
    anna = entered(place, "anna")
    fields = {"csrf": anna.form("/proposals")["csrf"], "version": 1, "reason": "because"}
    for path in (f"/proposals/anna@example.org/{verb}" for verb in ("approve", "reject")):
        assert anna.post(path, fields).status_code in (404, 422)
    assert len(place.audit.rows) == 1  # the login


def test_a_replay_is_noted_short_and_only_where_there_is_something_to_replay(place: World) -> None:
    place.letters.add("1-0")
    ben = entered(place, "ben")
    form = ben.form("/letters/replay?id=1-0")
    reason = f"for P_{HEX.upper()} " + "x" * 40_000
    assert ben.post("/letters/replay", form | {"reason": reason, "id": "anna@example.org"}).status_code == 422
    assert len(place.audit.rows) == 1
    assert ben.post("/letters/replay", form | {"reason": reason}).status_code == 200
    assert place.audit.details[-1]["reason"].startswith("for [redacted] x")
    assert len(noted(place)) < 1_000


def test_a_start_is_noted_short_and_without_people(its: Site, client: Client) -> None:
    body = {"parameters": {"template_id": "meeting_diet", "team": "x" * 900 + " anna@example.org"}}
    client.by("operator").post("/workflows/flows/policy_check/start", body)
    assert "anna" not in noted(its)
    assert len(noted(its)) < 1_000
