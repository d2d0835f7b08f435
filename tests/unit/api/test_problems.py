"""Every error in one form, and nothing in it that should not be."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.access.principals import Role
from pipelines.api.shell import LARGEST_BODY
from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from tests.support.api_app import Client, Site
from tests.support.fakes_proposals import proposal
from tests.support.make import raising

SECRET = "s3cr3t-passw0rd-of-anna"


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert set(said) >= {"type", "title", "status", "detail", "code"}
    assert (said["status"], said["code"]) == (status, code)
    assert said["type"] == f"urn:causal-organism:problem:{code.lower().replace('_', '-')}"
    return said


def test_an_unknown_path_and_a_wrong_method(client: Client) -> None:
    problem(client.get("/nowhere"), 404, "NOT_FOUND")
    answer = client.by("viewer").post("/workflows/health")
    problem(answer, 405, "WRONG_METHOD")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "body",
    [
        {"username": "anna", "password": [SECRET]},
        {"username": {"x": SECRET}, "password": SECRET},
        {"username": "anna", "password": SECRET * 100},
        {"username": "anna", "password": SECRET, "extra": SECRET},
        [SECRET],
        SECRET,
    ],
)
def test_what_was_given_is_not_repeated(client: Client, body: Any) -> None:
    answer = client.post("/api/v1/auth/login", body)
    said = problem(answer, 422, "INVALID_INPUT")
    assert SECRET not in answer.text and said["errors"][0]["where"].startswith("body")


def test_a_body_that_is_no_json(client: Client) -> None:
    answer = client.post("/api/v1/auth/login", SECRET.encode() + b"{", Content_Type="application/json")
    problem(answer, 422, "INVALID_INPUT")
    assert SECRET not in answer.text
    answer = client.post("/api/v1/auth/login", b"\xff\xfe{", Content_Type="application/json")
    assert answer.status_code in (400, 422) and answer.headers["content-type"] == "application/problem+json"


def test_a_body_without_its_kind_is_not_read(client: Client) -> None:
    """As a form of another site could send one."""
    answer = client.post("/api/v1/auth/login", b'{"username": "a", "password": "b"}', Content_Type="text/plain")
    problem(answer, 422, "INVALID_INPUT")


@pytest.mark.parametrize("path", ["/workflows/flows/watch/start", "/api/v1/automation/workflow"])
def test_a_start_without_its_kind_says_which_is_needed(client: Client, path: str) -> None:
    said = problem(client.by("operator").post(path, b'{"parameters": {}}'), 422, "INVALID_INPUT")
    assert "send Content-Type: application/json" in said["detail"]


@pytest.mark.parametrize(
    ("who", "path", "needed"),
    [("operator", "/interventions/halt", "with reason"),
     ("approver", "/interventions/p-1/approve", "with version and reason"),
     ("operator", "/api/v1/automation/workflow", "with workflow_type")],
)  # fmt: skip
def test_what_has_no_body_is_told_what_belongs_into_it(client: Client, who: str, path: str, needed: str) -> None:
    assert needed in problem(client.by(who).post(path), 422, "INVALID_INPUT")["detail"]


def test_broken_json_is_called_so(client: Client) -> None:
    answer = client.by("operator").post("/interventions/halt", b'{"reason": ', Content_Type="application/json")
    assert "this is no JSON" in problem(answer, 422, "INVALID_INPUT")["detail"]


def test_a_parameter_that_a_flow_does_not_take_is_named_and_its_value_is_not(client: Client) -> None:
    answer = client.by("operator").post("/workflows/flows/full/start", {"parameters": {"propse": SECRET}})
    assert "full does not take propse; it takes resume" in problem(answer, 422, "INVALID_INPUT")["detail"]
    assert SECRET not in answer.text
    answer = client.by("operator").post("/workflows/flows/full/start", {"parameters": {SECRET: 1}})
    assert SECRET not in answer.text


def test_a_plan_for_nobody_is_told_what_is_missing(its: Site, client: Client) -> None:
    its.let_in("both", Role.OPERATOR, Role.ANALYST)
    answer = client.by("both").post("/workflows/flows/intervention_planning/start", {"parameters": {}})
    assert "team_id is missing" in problem(answer, 422, "INVALID_INPUT")["detail"]


def test_a_mistyped_filter_is_named_and_does_not_mean_everything(client: Client) -> None:
    answer = client.by("viewer").get(f"/workflows/flows?stats={SECRET}&limit=5")
    said = problem(answer, 422, "INVALID_INPUT")
    assert [each["where"] for each in said["errors"]] == ["query.stats"] and "status" in said["detail"]
    assert SECRET not in answer.text
    assert client.by("viewer").get("/workflows/flows?status=failed&limit=5").status_code == 200
    problem(client.get("/workflows/flows?stats=failed"), 401, "NOT_LOGGED_IN")
    assert client.get("/healthz?probe=1").status_code == 200


def test_a_body_that_is_too_large_says_so_or_not(client: Client) -> None:
    large = b'"' + b"x" * LARGEST_BODY + b'"'
    problem(client.post("/api/v1/auth/login", large, Content_Type="application/json"), 413, "TOO_LARGE")
    sent = client.post("/api/v1/auth/login", large, Content_Type="application/json", Content_Length="17")
    problem(sent, 413, "TOO_LARGE")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refused("HALTED", "everything is halted"), 409, "HALTED"),
        (Refused("GROUP_TOO_SMALL", "it is about too few"), 404, "GROUP_TOO_SMALL"),
        (Refused("LEAK", "the text holds a pseudonym"), 500, "LEAK"),
        (InvalidInput("expected a number"), 422, "INVALID_INPUT"),
        (TransientError("postgres db:5432: OperationalError"), 503, "AWAY"),
        (PermanentError("postgres db:5432: the role has no rights"), 500, "DEFECT"),
        (RuntimeError(SECRET), 500, "DEFECT"),
    ],
)
def test_what_goes_wrong_inside_has_a_status(
    its: Site, client: Client, error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    its.ledger.find = raising(error)  # type: ignore[method-assign]
    answer = client.by("viewer").get("/workflows/flows")
    said = problem(answer, status, code)
    assert SECRET not in answer.text + caplog.text
    assert ("retry-after" in answer.headers) == (status == 503)
    if code == "DEFECT":
        assert "db:5432" not in answer.text
        assert "GET /workflows/flows" in caplog.text
    if status == 503:
        assert "postgres" in said["detail"]


def test_who_is_not_logged_in_is_not_told_what_is_away(its: Site, client: Client) -> None:
    its.access.login = raising(TransientError("postgres db:5432: OperationalError"))  # type: ignore[method-assign]
    answer = client.post("/api/v1/auth/login", {"username": "anna", "password": "x"})
    assert "db:5432" not in problem(answer, 503, "AWAY")["detail"]


def test_a_wrong_login_is_401(client: Client) -> None:
    answer = client.post("/api/v1/auth/login", {"username": "anna", "password": SECRET})
    problem(answer, 401, "WRONG_LOGIN")
    assert answer.headers["www-authenticate"] == "Bearer" and SECRET not in answer.text


def test_an_old_version_is_a_conflict(its: Site, client: Client) -> None:
    made = proposal()
    its.proposals.there[made.id] = made
    body = {"version": made.version + 1, "reason": "good"}
    said = problem(client.by("approver").post(f"/interventions/{made.id}/approve", body), 409, "OLD_VERSION")
    assert "read the proposal again" in said["fix"]
