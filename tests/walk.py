"""`python -m tests.walk`: the walk of the first seed over HTTP, against a running API: log in, start, follow, cancel, repeat.

With --url, against yours. Without, it brings its own: embedded stores and an API in direct mode, then the same with a real
Prefect server and worker (`deployments serve`). Each line is one thing that must be so, and what was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.support import api_site
from tests.support.wait import wait_until

_ENDS_S = 240
ENDED = {"completed", "failed", "cancelled"}
STARTED = {
    "status", "workflow_id", "run_id", "workflow_type", "execution_mode", "message", "traceable", "status_endpoint",
}  # fmt: skip
OVERVIEW = {
    "automation_system", "external_services", "available_workflows", "status", "recent_executions", "total_executions",
}  # fmt: skip
SYSTEM = {"prefect_available", "server_health", "execution_mode"}
EXECUTION = {
    "workflow_id", "run_id", "flow_name", "status", "started_at", "completed_at", "duration_seconds", "parameters",
}  # fmt: skip
STATUS = {
    "status", "workflow_id", "state", "parameters", "started_at", "completed_at", "duration_seconds", "database_record",
}  # fmt: skip
RECORD = {"id", "flow_name", "deployment_name", "result", "error"}
WORKFLOW = "/api/v1/automation/workflow"


@dataclass
class Walk:
    """One walk. operator: what may start runs. prefect: the API of the server that must have the runs; "" in direct mode."""

    url: str
    user: str
    password: str
    prefect: str = ""
    failed: list[str] = field(default_factory=list)
    passed: int = 0

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @property
    def mode(self) -> str:
        return "prefect" if self.prefect else "direct"

    def check(self, what: str, good: object, seen: object = "") -> None:
        print(f"  {'ok  ' if good else 'FAIL'} {what}" + (f": {seen}" if seen != "" else ""), flush=True)
        if good:
            self.passed += 1
        else:
            self.failed.append(what)

    def has(self, what: str, answer: Mapping[str, Any], names: set[str]) -> None:
        missing = sorted(names - set(answer))
        self.check(f"{what} has its {len(names)} fields", not missing, f"missing {missing}" if missing else "")

    # -------------------------------------------------------------------------------------------- the walk

    def walk(self) -> None:
        self.closed()
        self.log_in()
        run_id = self.starts()
        self.is_followed(run_id)
        self.is_listed(run_id)
        self.has_its_account(run_id)
        self.refuses()
        self.is_cancelled_and_repeated()
        self.tells_its_health()

    def closed(self) -> None:
        for method, path in (("GET", "/api/v1/automation/status"), ("POST", WORKFLOW), ("GET", "/workflows/flows")):
            code = self.http.request(method, path, json={} if method == "POST" else None).status_code
            self.check(f"without a login {method} {path} is refused", code == 401, code)
        wrong = self.http.post("/api/v1/auth/login", json={"username": self.user, "password": "not the password"})
        self.check("a wrong password is refused", wrong.status_code == 401, wrong.json().get("code"))

    def log_in(self) -> None:
        answer = self.http.post("/api/v1/auth/login", json={"username": self.user, "password": self.password})
        self.check("login gives a token", answer.status_code == 200 and "access_token" in answer.json())
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def start(self, kind: str, key: str | None = None, **parameters: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post(WORKFLOW, json={"workflow_type": kind, "parameters": parameters}, headers=headers)

    def starts(self) -> str:
        key = uuid4().hex
        answer = self.start("incremental", key)
        said = answer.json()
        self.check("a start is answered", answer.status_code == 200, said.get("message"))
        self.has("the answer", said, STARTED)
        run_id = str(said["run_id"])
        self.check("it is traceable", said["traceable"] is True and isinstance(said["workflow_id"], int))
        self.check("it runs as it should", said["execution_mode"] == self.mode, said["execution_mode"])
        endpoint = f"{WORKFLOW}/{run_id}/status"
        self.check("status_endpoint is where it should be", said["status_endpoint"] == endpoint)
        self.check("status_endpoint answers at once", self.http.get(endpoint).status_code == 200)
        again = self.start("incremental", key).json()
        self.check("the same request with the same key is the same run", again["run_id"] == run_id)
        other = self.start("verify", key)
        self.check("the same key for another request is refused", other.status_code == 409, other.json().get("code"))
        return run_id

    def is_followed(self, run_id: str) -> None:
        said = self.ended(run_id)
        self.has("the status", said, STATUS)
        self.has("its database_record", said["database_record"], RECORD)
        self.check("it completed", said["status"] == "completed", said["database_record"]["error"] or said["status"])
        self.check("times are known", said["started_at"] and said["completed_at"] and said["duration_seconds"] >= 0)
        if self.prefect:
            name = wait_until(lambda: self.completed_in_prefect(run_id), 30, "Prefect to say the same")
            state = self.ended(run_id)["state"]  # our row closes a moment before Prefect is told
            self.check("Prefect has the same run", name == state == "Completed", state)

    def completed_in_prefect(self, run_id: str) -> str | None:
        seen = httpx.get(f"{self.prefect}/flow_runs/{run_id}", timeout=10).raise_for_status().json()
        name = (seen.get("state") or {}).get("name")
        return name if name == "Completed" else None

    def ended(self, run_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            answer = self.http.get(f"{WORKFLOW}/{run_id}/status")
            time.sleep(float(answer.headers.get("Retry-After", 0.3)))  # we may ask ten times a second, not a hundred
            return answer.json() if answer.status_code == 200 and answer.json()["status"] in ENDED else None

        return wait_until(look, _ENDS_S, f"run {run_id} to end")

    def is_listed(self, run_id: str) -> None:
        said = self.http.get("/api/v1/automation/status").json()
        self.has("the overview", said, OVERVIEW)
        self.has("automation_system", said["automation_system"], SYSTEM)
        self.check("it says how it runs", said["automation_system"]["execution_mode"] == self.mode)
        rows = {row["run_id"]: row for row in said["recent_executions"]}
        self.check("the run is among recent_executions", run_id in rows, f"{len(rows)} of {said['total_executions']}")
        self.has("each execution", rows[run_id], EXECUTION)
        found = self.http.get("/workflows/flows", params={"flow": "incr*", "status": "completed", "limit": 1}).json()
        self.check("runs are found by pattern and status", [r["flow_name"] for r in found["runs"]] == ["incremental"])

    def has_its_account(self, run_id: str) -> None:
        base = f"/workflows/flows/{run_id}"
        steps = self.http.get(f"{base}/metrics").json()["steps"]
        names = [step["name"] for step in steps]
        wanted = ["fetch_interactions", "update_graph_incremental"]
        self.check("metrics name the steps", set(wanted) <= set(names), ", ".join(names))
        lines = self.http.get(f"{base}/logs").json()["lines"]
        self.check("there is a log", len(lines) > 0, f"{len(lines)} lines")
        self.check("there is a report", self.http.get(f"{base}/report").json()["run_id"] == run_id)
        page = self.http.get(f"{base}/report", headers={"Accept": "text/html"})
        self.check("and as a page", page.headers["content-type"].startswith("text/html") and "<h1" in page.text)
        rules = self.http.get(f"{base}/alerts")
        self.check("alert rules of its flow can be read", rules.status_code == 200, rules.status_code)

    def refuses(self) -> None:
        answer = self.start("pdf_compliance")
        known = {"incremental", "full", "health_monitoring", "policy_check", "intervention_planning"}
        self.check("an unknown type is 422", answer.status_code == 422, answer.json().get("code"))
        self.check("and lists the known ones", all(name in answer.text for name in known))
        wrong = self.start("full", propose="perhaps")
        self.check("a wrong parameter is 422", wrong.status_code == 422, wrong.json().get("detail"))
        gone = self.http.get(f"{WORKFLOW}/{uuid4()}/status")
        self.check("an unknown run is 404", gone.status_code == 404, gone.headers["content-type"])

    def is_cancelled_and_repeated(self) -> None:
        first = self.start("full", propose=False).json()["run_id"]
        answer = self.http.post(f"/workflows/flows/{first}/cancel", json={"reason": "walk"})
        self.check("a run can be cancelled", answer.status_code == 200, answer.json().get("status"))
        self.check("and ends so", self.ended(first)["status"] == "cancelled")
        late = self.http.post(f"/workflows/flows/{first}/cancel", json={"reason": "walk"})
        self.check("twice is refused", late.status_code == 409, late.json().get("code"))
        again = self.http.post(f"/workflows/flows/{first}/retry")
        self.check("it can be repeated", again.status_code == 200, again.json().get("message", again.text))
        second = again.json()["run_id"]
        end = self.ended(second)
        good = end["status"] == "completed" and second != first
        self.check("as a new run, which completes", good, end["database_record"]["error"] or end["status"])

    def tells_its_health(self) -> None:
        said = self.http.get("/workflows/health").json()
        self.check("health is told", said["status"] in {"healthy", "degraded"}, said["status"])
        run = self.start("health_monitoring", check_type="quick").json()
        end = self.ended(run["run_id"])
        self.check("health_monitoring runs", end["status"] == "completed", json.dumps(end["database_record"]["result"]))
        self.check("the document lists the routes", len(self.http.get("/openapi.json").json()["paths"]) > 20)
        self.check("Swagger UI is at /docs", "swagger" in self.http.get("/docs").text.lower())


def walked(url: str, user: str, password: str, prefect: str = "") -> Walk:
    print(f"{'Prefect' if prefect else 'direct'} mode, {url}", flush=True)
    its = Walk(url, user, password, prefect)
    its.walk()
    return its


def _own() -> list[Walk]:
    """On servers of our own, in both modes; the ledger of the first is still there in the second."""
    with api_site.folder() as folder:
        with api_site.running(folder) as site:
            direct = walked(site.url, site.user, site.password)
            before = site.total()
        with api_site.serving(folder) as served, api_site.running(folder, served.url, known=site) as later:
            total = later.total()
            direct.check("the runs outlive a restart", total >= before, f"{before} before, {total} after")
            return [direct, walked(later.url, later.user, later.password, served.url)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.walk", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", help="of an API that runs; the password is read from WALK_PASSWORD")
    parser.add_argument("--user", default="walk", help="with the roles viewer and operator (default walk)")
    parser.add_argument("--prefect", default="", help="URL of Prefect's API, when that is the mode")
    wanted = parser.parse_args()
    if wanted.url and "WALK_PASSWORD" not in os.environ:
        parser.error("WALK_PASSWORD is not set: the password of --user")
    walks = [walked(wanted.url, wanted.user, os.environ["WALK_PASSWORD"], wanted.prefect)] if wanted.url else _own()
    failed = [what for its in walks for what in its.failed]
    print(
        f"{sum(its.passed for its in walks)} passed, {len(failed)} failed" + "".join(f"\n  {what}" for what in failed)
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
