"""The full flow on a real Prefect server: four named tasks in order, what is retried, what is skipped; and without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines import wiring
from pipelines.privacy.traces import check_text
from tests.flows.conftest import environment
from tests.support import full_runs, make
from tests.support.full_runs import ROOT, STEPS, Site
from tests.support.wait import wait_until

_HOUR = timedelta(hours=1)
PROPOSED = '"step": "evaluate_interventions"'


@pytest.fixture(scope="module")
def site(embedded: wiring.Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two teams whose people wrote to each other an hour ago."""
    now = datetime.now(UTC)
    joined = [
        make.other("roster.joined", f"r{n}", time=now - 24 * _HOUR, person=make.person(n), team=f"team {n % 2}")
        for n in range(12)
    ]
    said = [make.event(f"e{n}", make.person(n), [make.person((n + 5) % 12)], time=now - _HOUR) for n in range(12)]
    with full_runs.site(embedded, tmp_path_factory.mktemp("full-flow"), [*joined, *said], now) as site:
        yield site


def program(site: Site, module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    home = site.config.state_dir or Path()
    env = environment(home) | full_runs.environment(site, **variables)
    return subprocess.run(
        [sys.executable, *module.split(), *arguments],
        cwd=home, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=170,
    )  # fmt: skip


def full(site: Site, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return program(site, "-m pipelines.full", *arguments, **variables)


def found(api: str, what: str, **body: Any) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = httpx.post(f"{api}/{what}/filter", json=body, timeout=10).json()
    return answer


def newest(api: str) -> dict[str, Any]:
    """The last run of the flow."""
    flow = {"name": {"any_": ["full"]}}
    return found(api, "flow_runs", flows=flow, sort="START_TIME_DESC", limit=1)[0]


def tasks(api: str, run: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The task runs of a run in the order in which they began, once so many have ended; the server hears of them late."""

    def ended() -> list[dict[str, Any]]:
        its = found(api, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
        return its if sum(t["end_time"] is not None for t in its) >= count else []

    return sorted(wait_until(ended, 30, f"{count} tasks on the server"), key=lambda task: str(task["start_time"]))


def test_a_run_is_a_flow_run_with_the_four_steps_as_tasks_in_order(site: Site, prefect_api: str) -> None:
    done = full(site, "--json", PREFECT_API_URL=prefect_api)
    assert done.returncode == 0, done.stderr
    assert "as a Prefect flow" in done.stderr
    story = json.loads(done.stdout)
    assert [step["name"] for step in story["steps"]] == list(STEPS)
    assert story["steps"][0]["counts"]["people"] == 12
    run = newest(prefect_api)
    assert (run["state_name"], run["state_type"]) == ("Completed", "COMPLETED")
    assert [task["name"] for task in tasks(prefect_api, run, 4)] == list(STEPS)


def test_nobody_is_named_in_what_prefect_is_told_or_writes(site: Site, prefect_api: str) -> None:
    done = full(site, PREFECT_API_URL=prefect_api, ORGANISM_LOG_LEVEL="DEBUG", PREFECT_LOGGING_LEVEL="DEBUG")
    assert done.returncode == 0, done.stderr
    run = newest(prefect_api)
    logs = found(prefect_api, "logs", logs={"flow_run_id": {"any_": [run["id"]]}})
    kept = json.dumps([run, tasks(prefect_api, run, 4), logs])
    people = [make.person(n) for n in range(12)]
    assert check_text("\n".join((done.stdout, done.stderr, kept)), [*people, site.where.graph_password]) == []
    assert "evaluate_interventions" in kept


def test_a_refused_run_is_skipped_and_not_failed(site: Site, prefect_api: str) -> None:
    with site.stores() as stores, stores.alone() as ours:
        assert ours
        done = full(site, PREFECT_API_URL=prefect_api)
    assert done.returncode == 3, done.stderr
    assert "refused: RUN_BUSY: another full run is at work" in done.stderr
    run = newest(prefect_api)
    assert (run["state_name"], run["state_type"]) == ("Skipped", "COMPLETED")
    assert found(prefect_api, "task_runs", flow_runs={"id": {"any_": [run["id"]]}}) == []


def test_what_cannot_be_resumed_fails_with_the_code_of_wrong_input(site: Site, prefect_api: str) -> None:
    done = full(site, "--resume", "yesterday", PREFECT_API_URL=prefect_api)
    assert done.returncode == 2, done.stderr
    assert "error: 'yesterday' is not a run; a name looks like full-2026-03-02T06" in done.stderr
    assert newest(prefect_api)["state_name"] == "Failed"


@pytest.mark.parametrize(
    ("kind", "times", "state", "code", "attempts"),
    [
        ("transient", 3, "Completed", 0, {STEPS[2]: 4, STEPS[3]: 1}),
        ("transient", 4, "Failed", 1, {STEPS[2]: 4}),
        ("permanent", 1, "Failed", 1, {STEPS[2]: 1}),
    ],
)
def test_only_what_may_pass_is_tried_again_and_nothing_is_proposed_after_a_failure(
    kind: str, times: int, state: str, code: int, attempts: dict[str, int], site: Site, prefect_api: str
) -> None:
    arguments = ("failing", kind, str(times))
    done = program(site, "-m tests.support.full_runs", *arguments, PREFECT_API_URL=prefect_api)
    assert done.returncode == code, done.stderr
    run = newest(prefect_api)
    assert run["state_name"] == state
    wanted = {STEPS[0]: 1, STEPS[1]: 1} | attempts
    assert {task["name"]: task["run_count"] for task in tasks(prefect_api, run, len(wanted))} == wanted


def test_without_an_answer_from_prefect_the_run_is_direct_and_says_so(site: Site) -> None:
    done = full(site, "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 0, done.stderr
    assert "direct mode (the Prefect API at 127.0.0.1:" in done.stderr
    assert [step["name"] for step in json.loads(done.stdout)["steps"]] == list(STEPS)


def test_direct_mode_does_not_import_prefect_even_where_its_server_answers(site: Site, prefect_api: str) -> None:
    done = program(site, "-X importtime -m pipelines.full", "--direct", PREFECT_API_URL=prefect_api)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "psycopg" in imported  # or the list is not what it is taken for
    assert "prefect" not in imported


@pytest.mark.parametrize("mode", ["direct", "prefect"])
def test_json_is_one_object_and_the_page_is_written_where_it_was_asked_for(
    mode: str, site: Site, prefect_api: str, tmp_path: Path
) -> None:
    variables = {"PREFECT_API_URL": prefect_api} if mode == "prefect" else {}
    page = tmp_path / "page.html"
    done = full(site, "--json", "--html", str(page), **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["k"] == 5
    assert len(done.stdout.splitlines()) == 1
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("mode", ["direct", "prefect"])
def test_without_proposing_the_last_step_does_nothing_and_can_be_resumed(
    mode: str, site: Site, prefect_api: str
) -> None:
    site.clear()
    variables = {"PREFECT_API_URL": prefect_api} if mode == "prefect" else {}
    story = json.loads(full(site, "--json", "--no-propose", **variables).stdout)
    assert not any(story["steps"][3]["counts"].values())
    left = site.dump()
    assert (left["proposals"], left["audit_log"]) == ([], [])
    assert PROPOSED not in "".join(left["step_results"])
    again = json.loads(full(site, "--json", "--resume", story["run"]["id"], **variables).stdout)
    assert [step["outcome"] for step in again["steps"]] == ["resumed", "resumed", "resumed", "done"]
    assert PROPOSED in "".join(site.dump()["step_results"])


def test_the_page_is_left_in_the_state_directory_and_named_on_the_terminal(site: Site) -> None:
    done = full(site, "--direct")
    page = Path(str(site.config.state_dir)) / "last-run.html"
    assert str(page) in done.stdout
    assert page.stat().st_size > 5_000
    assert len(done.stdout.splitlines()) <= 40
    assert ROOT.name not in done.stdout.splitlines()[0]
