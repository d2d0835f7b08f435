"""The flows that people start, on a real Prefect server: one task, a row in the ledger, a refusal that is no failure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines import wiring
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.flows.conftest import environment
from tests.support import full_runs, make
from tests.support.full_runs import ROOT, Site
from tests.support.wait import wait_until

TEAM = "team 0"


@dataclass(frozen=True)
class Place:
    """Stores with two teams of six, nothing analysed, and a Prefect server."""

    site: Site
    api: str

    def run(self, flow: str, *words: str, code: int = 0) -> dict[str, Any]:
        """What the command printed, which ran as a flow; after a failure its words."""
        env = environment(self.site.config.state_dir or Path()) | full_runs.environment(
            self.site, PREFECT_API_URL=self.api
        )
        line = [sys.executable, "-m", f"pipelines.{flow}", *words, "--json"]
        done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=170)
        assert done.returncode == code, done.stdout + done.stderr
        assert "as a Prefect flow" in done.stderr
        return json.loads(done.stdout) if done.stdout else {"error": " ".join(done.stderr.split())}

    def post(self, path: str, **body: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = httpx.post(f"{self.api}{path}", json=body, timeout=20).json()
        return answer

    def newest(self, flow: str) -> dict[str, Any]:
        named = {"name": {"any_": [flow]}}
        return self.post("/flow_runs/filter", flows=named, sort="START_TIME_DESC", limit=1)[0]

    def tasks(self, run: dict[str, Any]) -> set[str]:
        """Once they are there; the server hears of them late."""
        its = {"id": {"any_": [run["id"]]}}
        return wait_until(lambda: {t["name"] for t in self.post("/task_runs/filter", flow_runs=its)}, 30, "its tasks")

    def row(self, run: dict[str, Any]) -> Run:
        with wiring.ledger(self.site.where) as ledger:
            row = ledger.get(run["id"])
        assert row is not None and row.mode is Mode.PREFECT
        return row


@pytest.fixture(scope="module")
def place(embedded: wiring.Endpoints, prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    now = datetime.now(UTC)
    joined = [
        make.other("roster.joined", f"r{n}", time=now - timedelta(days=1), person=make.person(n), team=f"team {n % 2}")
        for n in range(12)
    ]
    with full_runs.site(embedded, tmp_path_factory.mktemp("on-demand-flows"), joined, now) as site:
        yield Place(site, prefect_api)


def test_health_is_a_flow_run_with_one_task_and_a_row(place: Place) -> None:
    found = place.run("health_monitoring", "redis", "postgres", "prefect_server", "work_pool", code=1)
    assert (found["redis"], found["postgres"], found["prefect_server"], found["work_pool"]) == (1, 1, 1, 0)
    run = place.newest("health_monitoring")
    assert (run["state_name"], run["name"]) == ("Completed", "health: 3 up, 0 degraded, 1 down")
    assert run["parameters"] == {
        "check_type": "quick",
        "services": ["redis", "postgres", "prefect_server", "work_pool"],
    }
    assert place.tasks(run) == {"check_health"}
    row = place.row(run)
    assert (row.status, row.result["down"], row.steps[0].counts["up"]) == (Status.COMPLETED, 1, 3)
    assert row.result["words"][0].startswith("work_pool is down")


def test_a_document_reaches_prefect_as_counts_only(place: Place, tmp_path: Path) -> None:
    document = tmp_path / "sample.json"
    document.write_bytes(b'{"who": "canary@example.org"}')
    found = place.run("policy_check", "--document", str(document), code=1)
    assert found["codes"] == ["RAW_IDENTIFIER"]
    run = place.newest("policy_check")
    assert (run["state_name"], run["name"]) == ("Completed", "policy: 11 of 12 rules pass")
    assert run["parameters"]["document"] == {"items": 1, "valid": 0, "RAW_IDENTIFIER": 1}
    logs = place.post("/logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})
    assert "canary" not in json.dumps([run, logs]) + str(place.row(run))
    assert place.tasks(run) == {"check_policy"}


def test_a_plan_without_an_analysis_is_a_completed_run_that_says_so(place: Place) -> None:
    found = place.run("intervention_planning", TEAM, "--horizon", "90", "--effort", "low")
    assert (found["planned"], found["horizon_days"], found["effort_most"]) == (0, 90, 2)
    assert "no full run has completed" in found["words"][0]
    run = place.newest("intervention_planning")
    assert (run["state_name"], run["name"]) == ("Completed", "plan: 0 of 5 practices")
    assert place.tasks(run) == {"plan_interventions"}
    assert place.row(run).result["words"] == found["words"]


def test_a_refusal_is_skipped_and_not_failed(place: Place) -> None:
    assert "GROUP_TOO_SMALL" in place.run("intervention_planning", "nobody", code=3)["error"]
    run = place.newest("intervention_planning")
    row = place.row(run)
    assert (run["state_name"], row.status, row.error_kind) == ("Skipped", Status.CANCELLED, ErrorKind.REFUSED)


def test_wrong_input_is_a_failed_run_of_its_own_kind(place: Place) -> None:
    assert "no such proposal" in place.run("policy_check", "--proposal", "0123456789abcdef", code=2)["error"]
    run = place.newest("policy_check")
    row = place.row(run)
    assert (run["state_type"], row.status, row.error_kind) == ("FAILED", Status.FAILED, ErrorKind.INPUT)
