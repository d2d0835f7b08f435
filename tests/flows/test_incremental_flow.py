"""The Prefect skin on a real server: what is recorded, what is retried and what is not, and the direct mode beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines import wiring
from pipelines.events.redis_client import open_redis
from pipelines.events.stream import RedisLease
from tests.conftest import as_environment, opened
from tests.flows.conftest import environment
from tests.support import make
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent


def python(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = environment(home) | variables | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=home, env=env, capture_output=True, text=True, timeout=170)


def found(api: str, what: str, **body: Any) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = httpx.post(f"{api}/{what}/filter", json=body, timeout=10).json()
    return answer


def test_a_run_is_a_flow_run_with_two_named_tasks(embedded: wiring.Endpoints, prefect_api: str, tmp_path: Path) -> None:
    with opened(embedded) as stores:
        stores.stream.append([make.event("a"), b"bad"])
    variables = as_environment(embedded) | {"PREFECT_API_URL": prefect_api}
    done = python("-m", "pipelines.incremental", "--json", home=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert "as a Prefect flow" in done.stderr
    report = json.loads(done.stdout)
    assert (report["read"], report["applied"], report["dead_letters"]) == (2, 1, 1)
    names = {"fetch_interactions", "update_graph_incremental"}
    wait_until(lambda: {t["name"] for t in found(prefect_api, "task_runs")} >= names, 30, "both tasks on the server")
    (run,) = found(prefect_api, "flow_runs", flows={"name": {"any_": ["incremental"]}})
    assert run["state_name"] == "Completed"


def test_a_refused_run_is_skipped_and_not_failed(embedded: wiring.Endpoints, prefect_api: str, tmp_path: Path) -> None:
    with opened(embedded):
        pass
    client = open_redis(embedded.redis)
    lease = RedisLease(client, embedded.redis, wiring.NAMES, make.NOW - make.NOW.replace(hour=0))
    assert lease.acquire("a run elsewhere") is None
    variables = as_environment(embedded) | {"PREFECT_API_URL": prefect_api}
    done = python("-m", "pipelines.incremental", home=tmp_path, **variables)
    lease.release()
    assert done.returncode == 3, done.stderr
    assert "a run elsewhere" in done.stderr
    names = [r["state_name"] for r in found(prefect_api, "flow_runs", flows={"name": {"any_": ["incremental"]}})]
    assert "Skipped" in names


@pytest.mark.parametrize(
    ("kind", "times", "state", "calls"),
    [("transient", 3, "Completed", 4), ("transient", 4, "Failed", 4), ("permanent", 1, "Failed", 1)],
)
def test_only_what_may_pass_is_tried_again_and_three_times_at_most(
    kind: str, times: int, state: str, calls: int, prefect_api: str, tmp_path: Path
) -> None:
    script = str(Path(__file__).with_name("failing_flow.py"))
    done = python(script, kind, str(times), home=tmp_path, PREFECT_API_URL=prefect_api)
    assert json.loads(done.stdout.splitlines()[-1]) == {"state": state, "calls": calls}, done.stderr


def test_a_run_that_fails_is_called_by_its_flow_and_the_kind_of_failure(
    embedded: wiring.Endpoints, prefect_api: str, tmp_path: Path
) -> None:
    away = {"ORGANISM_REDIS_URL": "redis://127.0.0.1:9/0", "PREFECT_API_URL": prefect_api}
    done = python("-m", "pipelines.incremental", home=tmp_path, **as_environment(embedded) | away)
    assert done.returncode == 1, done.stderr
    runs = found(prefect_api, "flow_runs", flows={"name": {"any_": ["incremental"]}})
    failed = [run["name"] for run in runs if run["state_type"] == "FAILED"]
    assert "incremental: failed: transient" in failed


def test_without_an_answer_from_prefect_the_run_is_direct_and_says_so(
    embedded: wiring.Endpoints, tmp_path: Path
) -> None:
    with opened(embedded) as stores:
        stores.stream.append([make.event("a")])
    variables = as_environment(embedded) | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = python("-m", "pipelines.incremental", "--json", home=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert "direct mode (the Prefect API at 127.0.0.1:" in done.stderr
    assert json.loads(done.stdout)["applied"] == 1


def test_direct_mode_does_not_import_prefect(embedded: wiring.Endpoints, tmp_path: Path) -> None:
    with opened(embedded):
        pass
    done = python("-X", "importtime", "-m", "pipelines.incremental", home=tmp_path, **as_environment(embedded))
    assert done.returncode == 0, done.stderr
    assert "prefect" not in {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize("where", ["step", "body"])
def test_prefect_is_never_told_the_text_of_an_error_that_is_not_ours(
    where: str, prefect_api: str, embedded: wiring.Endpoints, tmp_path: Path
) -> None:
    words = f"canary-{where} {make.person(1)} anna@example.org"
    (tmp_path / "words").write_text(words)
    script = str(Path(__file__).with_name("hostile_flow.py"))
    variables = as_environment(embedded) | {"PREFECT_API_URL": prefect_api, "PREFECT_LOGGING_LEVEL": "DEBUG"}
    done = python(script, where, str(tmp_path / "words"), home=tmp_path, **variables)
    assert "Failed" in done.stdout, done.stderr
    run = found(prefect_api, "flow_runs", flows={"name": {"any_": ["verify"]}}, sort="START_TIME_DESC", limit=1)[0]
    own = {"flow_run_id": {"any_": [run["id"]]}}
    wait_until(lambda: found(prefect_api, "logs", logs=own), 30, "the log of the run")
    kept = json.dumps([run, found(prefect_api, "logs", logs=own), done.stdout, done.stderr])
    assert "Error at pipelines" in kept or "Error" in kept  # its kind is told
    for part in (*words.split(), "canary"):
        assert part not in kept
