"""What the routes answer, over stores in memory: the seed's fields, paging, repeats, what is hidden."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs import released
from pipelines.jobs.health import Health
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.support.api_app import Client, Site, examined, site
from tests.support.fakes_ledger import step
from tests.support.fakes_proposals import NOW, proposal
from tests.unit.api.test_table import keep_story

WORKFLOW = "/api/v1/automation/workflow"


def ran(its: Site, run_id: str = "r-1", flow: str = "incremental", **parameters: Any) -> None:
    """A run that completed, with a step."""
    its.ledger.begin(flow, run_id, Mode.DIRECT, NOW, parameters=parameters)
    its.ledger.note_step(run_id, step(attempts=2))
    its.ledger.close(run_id, Status.COMPLETED, NOW + timedelta(seconds=3), result={"applied": 7})


# ------------------------------------------------------------------------------------------------ automation


def test_a_start_has_the_fields_of_the_seed_and_its_row_is_there(its: Site, client: Client) -> None:
    said = client.by("operator").post(WORKFLOW, {"workflow_type": "incremental", "parameters": {"budget_s": 10}}).json()
    assert set(said) == {
        "status", "workflow_id", "run_id", "workflow_type", "execution_mode", "message", "traceable", "status_endpoint",
    }  # fmt: skip
    row = its.ledger.runs[said["run_id"]]
    assert (said["workflow_id"], said["status"], said["execution_mode"]) == (row.id, row.status.value, "direct")
    assert said["traceable"] is True and its.launched == [row.run_id] and row.parameters == {"budget_s": 10}
    assert client.by("viewer").get(said["status_endpoint"]).status_code == 200


def test_the_same_request_with_the_same_key_is_one_run(its: Site, client: Client) -> None:
    one, two = (
        client.by("operator").post("/workflows/flows/verify/start", {}, Idempotency_Key="k").json() for _ in range(2)
    )
    assert one["run_id"] == two["run_id"] and (one["repeated"], two["repeated"]) == (False, True)
    other = client.by("operator").post("/workflows/flows/full/start", {}, Idempotency_Key="k")
    assert (other.status_code, other.json()["code"]) == (409, "KEY_REUSED") and len(its.launched) == 1


def test_a_start_that_failed_at_once_says_so(its: Site) -> None:
    def fails(run: Run) -> None:
        words = "no process could be started: postgresql://anna:hunter2secret@db/x"
        its.ledger.close(run.run_id, Status.FAILED, NOW, error=words, error_kind=ErrorKind.PERMANENT)

    whole = its.operating
    its.operating = lambda: replace(whole(), launch=fails)  # type: ignore[method-assign]
    for path, body in (("/workflows/flows/verify/start", {}), (WORKFLOW, {"workflow_type": "verify"})):
        said = Client(its.whole(), "operator").post(path, body).json()
        assert said["status"] == "failed"
        assert "has ended already, failed: no process could be started" in said["message"]
        assert "runs in a process" not in said["message"] and "hunter2" not in said["message"]


def test_an_unknown_flow_or_parameter_starts_and_notes_nothing(its: Site, client: Client) -> None:
    for body in ({"workflow_type": "pdf"}, {"workflow_type": "verify", "parameters": {"x": 1}}):
        answer = client.by("operator").post(WORKFLOW, body)
        assert answer.status_code == 422 and its.launched == [] and its.audit.rows == []
    assert "incremental" in client.by("operator").post(WORKFLOW, {"workflow_type": "pdf"}).json()["detail"]


def test_the_overview_has_the_fields_of_the_seed(its: Site, client: Client) -> None:
    ran(its)
    said = client.by("viewer").get("/api/v1/automation/status").json()
    assert set(said) == {
        "automation_system", "external_services", "available_workflows", "status", "recent_executions",
        "total_executions",
    }  # fmt: skip
    assert set(said["automation_system"]) == {"prefect_available", "server_health", "execution_mode"}
    (run,) = said["recent_executions"]
    assert set(run) == {
        "workflow_id", "run_id", "flow_name", "status", "started_at", "completed_at", "duration_seconds", "parameters",
    }  # fmt: skip
    assert (run["started_at"], run["duration_seconds"]) == ("2026-03-02T12:00:00Z", 3.0)
    assert said["external_services"] == {"redis": "up", "graph": "up", "postgres": "up"}


def test_a_failed_run_says_why_and_never_with_a_secret(its: Site, client: Client) -> None:
    its.ledger.begin("full", "f-1", Mode.DIRECT, NOW, parameters={"note": "p_0123456789abcdef of x@example.org"})
    its.ledger.close("f-1", Status.FAILED, NOW, error="redis://u:pw@h/0 is away", error_kind=ErrorKind.TRANSIENT)
    answer = client.by("viewer").get(f"{WORKFLOW}/f-1/status")
    said = answer.json()
    assert set(said["database_record"]) == {"id", "flow_name", "deployment_name", "result", "error"}
    assert said["error"] == said["database_record"]["error"] == "redis://[redacted]@h/0 is away"
    assert "p_0123456789abcdef" not in answer.text and "example.org" not in answer.text


@pytest.mark.parametrize("given", ["r-1", "1"])
def test_a_run_is_found_by_either_of_its_ids(its: Site, client: Client, given: str) -> None:
    ran(its)
    assert client.by("viewer").get(f"/workflows/flows/{given}/status").json()["run_id"] == "r-1"


@pytest.mark.parametrize("given", ["nope", "2", "0", "9" * 30, "%00", "-1", "1e3", "٣"])
def test_a_run_that_is_not_there_is_404(its: Site, client: Client, given: str) -> None:
    ran(its)
    for what in ("status", "metrics", "report", "logs"):
        answer = client.by("viewer").get(f"/workflows/flows/{given}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


# ------------------------------------------------------------------------------------------------ flows


def test_flows_say_when_and_how_they_run(its: Site, client: Client) -> None:
    ran(its)
    flows = {f["flow_type"]: f for f in client.by("viewer").get("/workflows/flows").json()["flows"]}
    assert flows["incremental"]["every_seconds"] == 300 and flows["incremental"]["last_run"]["run_id"] == "r-1"
    assert flows["incremental"]["deployment"] == "incremental/incremental"
    assert {p["name"]: p["type"] for p in flows["full"]["parameters"]} == {"resume": "string", "propose": "boolean"}


def test_pages_of_runs_follow_one_another(its: Site, client: Client) -> None:
    for n in range(5):
        ran(its, f"r-{n}")
    ran(its, "v-1", "verify")
    path: str | None = "/workflows/flows?flow=incr*&status=completed&status=failed&since=2026-03-02T00:00:00Z&limit=2"
    seen = []
    while path:
        page = client.by("viewer").get(path).json()
        seen += [run["run_id"] for run in page["runs"]]
        path = page["next"]
    assert seen == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    until = client.by("viewer").get("/workflows/flows?until=2026-03-02T12:00:00Z").json()
    assert until["runs"] == [] and until["next"] is None
    assert client.by("viewer").get("/workflows/flows?since=2026-03-02T00:00:00").status_code == 422
    assert client.by("viewer").get("/workflows/flows?limit=201").status_code == 422


def test_a_run_is_cancelled_once_and_repeated(its: Site, client: Client) -> None:
    operator = client.by("operator")
    first = operator.post("/workflows/flows/verify/start").json()["run_id"]
    said = operator.post(f"/workflows/flows/{first}/cancel", {"reason": "by mistake"}).json()
    assert said["status"] == "cancelled" and "by mistake" in said["error"]
    assert operator.post(f"/workflows/flows/{first}/cancel").json()["code"] == "ENDED"
    second = operator.post(f"/workflows/flows/{first}/retry").json()
    assert second["run_id"] != first
    assert operator.get(f"/workflows/flows/{second['run_id']}/status").json()["retry_of"] == first
    related = operator.get(f"/workflows/flows/{second['run_id']}/report").json()["related"]
    assert [(r["run_id"], r["why"]) for r in related] == [(first, "repeated by this one")]


def test_metrics_stand_beside_those_of_the_flow(its: Site, client: Client) -> None:
    ran(its)
    its.now = NOW + timedelta(minutes=1)
    said = client.by("viewer").get("/workflows/flows/r-1/metrics").json()
    assert (said["retries"], said["cpu_seconds"], said["peak_bytes"]) == (1, 0.5, 1_000_000)
    flow = said["flow"]
    assert (flow["runs"], flow["success_rate"], flow["median_seconds"], flow["days"]) == (1, 1.0, 3.0, 30)


def test_the_story_of_a_run_is_told_as_json_and_as_a_page(its: Site, client: Client) -> None:
    its.ledger.begin("full", "f-1", Mode.DIRECT, NOW, parameters={"propose": True})
    its.ledger.correlate("f-1", "full-2026-03-02T06")
    its.ledger.note_step("f-1", step("refresh_materialized_views", status=Status.FAILED))
    its.ledger.close("f-1", Status.FAILED, NOW, error="the graph <b>is</b> away", error_kind=ErrorKind.TRANSIENT)
    said = client.by("viewer").get("/workflows/flows/f-1/report").json()
    assert said["ending"] == "It failed after 0.0 s: the graph <b>is</b> away."
    assert "python -m pipelines.full --resume full-2026-03-02T06" in said["to_do"]
    assert "with propose = True" in said["asked"]
    for asked in (
        client.by("viewer").get("/workflows/flows/f-1/report?format=html"),
        client.by("viewer").get("/workflows/flows/f-1/report", Accept="text/html"),
    ):
        assert asked.headers["content-type"].startswith("text/html")
        assert "script-src" not in asked.headers["content-security-policy"] and "<script" not in asked.text
        assert "the graph &lt;b&gt;is&lt;/b&gt; away" in asked.text and "refresh_materialized_views" in asked.text
    both = client.by("viewer").get("/workflows/flows/f-1/report", Accept="text/html, application/json")
    assert both.headers["content-type"] == "application/json"


def test_alert_rules_are_set_for_a_flow_and_forgotten_again(its: Site, client: Client) -> None:
    path = "/workflows/flows/incremental/alerts"
    said = client.by("operator").post(path, {"code": "SLOW_RUN", "threshold": 60}).json()
    assert {r["code"]: r["threshold"] for r in said["rules"]}["SLOW_RUN"] == 60
    assert client.by("operator").post(path, {"code": "SLOW_RUN", "reset": True}).status_code == 200
    assert {r["code"]: r["threshold"] for r in client.by("viewer").get(path).json()["rules"]}["SLOW_RUN"] is None
    assert client.by("operator").post(path, {"code": "ENTRIES_LOST", "enabled": False}).status_code == 422


# ------------------------------------------------------------------------------------------------ health


@pytest.mark.parametrize(
    ("health", "overall"),
    [
        ({}, "healthy"),
        ({"prefect_server": Health.ABSENT}, "healthy"),
        ({"workers": Health.DOWN}, "degraded"),
        ({"disk": Health.DEGRADED}, "degraded"),
        ({"redis": Health.DOWN}, "degraded"),
        ({"postgres": Health.DOWN}, "down"),
    ],
)
def test_degraded_is_told_from_down(its: Site, health: dict[str, Health], overall: str) -> None:
    its.looks = examined(**health)
    client = Client(its.whole(), "viewer")
    assert client.get("/workflows/health").json()["status"] == overall
    ready = client.by("").get("/readyz")
    missing = [name for name in ("postgres", "redis") if health.get(name)]
    assert ready.json()["missing"] == missing and ready.status_code == (503 if missing else 200)
    assert client.by("").get("/healthz").status_code == 200


def test_prometheus_is_answered(client: Client) -> None:
    answer = client.by("viewer").get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4") and "organism_up 1" in answer.text


# ------------------------------------------------------------------------------------------------ proposals


def test_a_decision_carries_the_name_of_who_was_let_in(its: Site, client: Client) -> None:
    made = proposal()
    its.proposals.there[made.id] = made
    said = client.by("approver").post(f"/interventions/{made.id}/approve", {"version": 1, "reason": "worth a try"})
    assert said.json() == {"id": made.id, "state": "approved", "version": 1, "agreed": 1, "needed": 1}
    (decision,) = its.proposals.there[made.id].approval.decisions
    assert (decision.by, decision.account, decision.via) == ("approver", "approver", "api")


def test_who_asked_for_the_run_may_not_approve_what_came_of_it(its: Site, client: Client) -> None:
    made = replace(proposal(), requested_by=("approver",))
    its.proposals.there[made.id] = made
    said = client.by("approver").post(f"/interventions/{made.id}/approve", {"version": 1, "reason": "mine"})
    assert (said.status_code, said.json()["code"]) == (409, "SELF_APPROVAL")


def test_a_decision_needs_the_version_that_was_looked_at(its: Site, client: Client) -> None:
    made = proposal()
    its.proposals.there[made.id] = made
    assert client.by("approver").post(f"/interventions/{made.id}/reject", {"reason": "no"}).status_code == 422
    said = client.by("approver").post(f"/interventions/{made.id}/reject", {"version": 7, "reason": "no"})
    assert (said.status_code, said.json()["code"]) == (409, "OLD_VERSION")


def test_what_is_about_too_few_people_is_only_said_to_be_there(its: Site, client: Client) -> None:
    its.config = its.config.model_copy(update={"min_group_size": 50})
    made = proposal()
    its.proposals.there[made.id] = made
    its.whole()
    said = client.by("viewer").get("/interventions").json()
    assert said["proposals"] == [] and [h["id"] for h in said["hidden"]] == [made.id] and said["withheld"] == 1
    answer = client.by("viewer").get(f"/interventions/{made.id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "GROUP_TOO_SMALL")
    body = {"version": 1, "reason": "good"}
    assert client.by("approver").post(f"/interventions/{made.id}/approve", body).status_code == 409
    assert made.preview not in answer.text


def test_everything_is_halted_and_goes_on(its: Site, client: Client) -> None:
    assert client.by("operator").post("/interventions/halt", {"reason": "fire"}).json()["changed"] is True
    assert client.by("admin").post("/interventions/halt", {"reason": "fire"}).json()["changed"] is False
    assert client.by("viewer").get("/interventions").json()["halted"]["by"] == "operator"
    assert client.by("approver").post("/interventions/resume", {"reason": "out"}).json()["state"] == "running"


def test_pages_of_proposals_follow_one_another(its: Site, client: Client) -> None:
    for n in range(3):
        made = replace(proposal(), id=f"p{n}")
        its.proposals.there[made.id] = made
    path: str | None = "/interventions?all=true&limit=2"
    seen = []
    while path:
        page = client.by("viewer").get(path).json()
        seen += [p["id"] for p in [*page["proposals"], *page["hidden"]]]
        path = page["next"]
    assert sorted(seen) == ["p0", "p1", "p2"]


# ------------------------------------------------------------------------------------------------ letters and numbers


def test_letters_are_listed_without_what_was_in_them_and_replayed_once(its: Site, client: Client) -> None:
    its.letters.add("1-0")
    its.letters.add("2-0", kept="no", fields={})
    answer = client.by("operator").get("/dead-letters?limit=1")
    said = answer.json()
    assert said["letters"][0]["payload_bytes"] == 23 and "content of a letter" not in answer.text
    assert client.by("operator").get(said["next"]).json()["letters"][0]["id"] == "2-0"
    body = {"ids": ["1-0", "2-0", "3-0"]}
    said = client.by("operator").post("/dead-letters/replay", body).json()
    assert (said["replayed"], said["gone"], [h["id"] for h in said["held"]]) == (1, ["3-0"], ["2-0"])
    assert client.by("operator").post("/dead-letters/replay", body).json()["replayed"] == 0
    assert its.letters.replayed == ["1-0"]
    for wrong in ({}, {"ids": ["1-0"], "code": "BAD_FORMAT"}, {"ids": ["x"]}):
        assert client.by("operator").post("/dead-letters/replay", wrong).status_code == 422


def test_numbers_are_those_of_the_report_and_the_reading_is_noted(its: Site, client: Client) -> None:
    assert client.by("analyst").get("/findings").status_code == 404
    keep_story(its)
    said = client.by("analyst").get("/points").json()
    assert said["run"] and said["k"] == 5 and {p["kind"] for p in said["points"]} <= {"team", "org"}
    hidden = [p for p in said["points"] if p["hidden"]]
    assert hidden and all(p["value"] is p["low"] is p["high"] is None for p in hidden)
    one = client.by("analyst").get(f"/points?view={said['points'][0]['view']}").json()["points"]
    assert 0 < len(one) < len(said["points"])
    found = client.by("analyst").get("/findings").json()["findings"]
    suppressed = [f for f in found if f["status"] == "suppressed"]
    assert found and all(f["estimate"] is None and f["people"] == 0 for f in suppressed)
    assert {row[2] for row in its.audit.rows} == {"asks GET /points", "asks GET /findings"}


def test_numbers_told_under_a_lower_k_are_told_no_more(tmp_path: Path) -> None:
    with site(tmp_path, min_group_size=15) as its:
        keep_story(its)
        analyst = Client(its.whole(), "analyst")
        for path in ("/points", "/findings", "/points?run=full-2026-03-02T06", "/findings?run=full-2026-03-02T06"):
            answer = analyst.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), path
            assert "lower k" in answer.json()["fix"] and "run full again" in answer.json()["fix"]
        assert its.audit.rows == []


def test_an_older_run_of_a_k_that_is_high_enough_is_told_instead(tmp_path: Path) -> None:
    with site(tmp_path, min_group_size=15) as its:
        keep_story(its)
        story = dict(released.of(its.results, "full-2026-03-02T06") or {})
        older = story | {"run": story["run"] | {"id": "full-2026-03-01T06", "k": 15}}
        released.keep(its.results, "full-2026-03-01T06", older, NOW)
        its.ledger.begin("full", "e", Mode.DIRECT, NOW - timedelta(days=1), parameters={})
        its.ledger.correlate("e", "full-2026-03-01T06")
        its.ledger.close("e", Status.COMPLETED, NOW)
        assert Client(its.whole(), "analyst").get("/points").json()["run"] == "full-2026-03-01T06"


# ------------------------------------------------------------------------------------------------ the document


def test_the_document_is_valid_and_complete(client: Client) -> None:
    from openapi_spec_validator import validate

    said = client.get("/openapi.json").json()
    validate(said)
    twice = [name for name in said["components"]["schemas"] if "__" in name]
    assert twice == [], "two shapes of one name: generators of clients drop one of them"
    for path, operations in said["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"] and operation["description"] and operation["tags"], where
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")) and path != "/readyz":
                    assert "application/problem+json" in response["content"], f"{where} {status}"


def test_swagger_ui_loads_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/docs")
    assert "swagger-ui-bundle.js" in page.text and "http" not in page.text.replace('lang="en"', "")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js"):
        assert client.get(f"/docs/{name}").status_code == 200, name
    for name in ("..%2f..%2fapp.py", "core.py", "%2e%2e"):
        assert client.get(f"/docs/{name}").status_code == 404
