"""prefect.yaml is read strictly: each mistake that `prefect deploy` swallows is told with its line and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployments import manifest
from pipelines.errors import InvalidInput

FLOWS = '''"""Flows of the tests."""
from prefect import flow


@flow(name="incremental", timeout_seconds=240)
def incremental(accept_invalid: bool = False) -> None:
    """One."""


@flow(name="endless")
def endless() -> None:
    """No time-out."""
'''
GOOD = """\
name: try
prefect-version: ">=3.8.8,<3.10"
build: null
push: null
pull:
  - deployments.pull.checkout: {}
deployments:
  - name: incremental
    entrypoint: flows_of_the_tests.incremental
    description: The stream into the graph.
    tags: [organism]
    parameters:
      accept_invalid: false
    schedules:
      - slug: every-5-minutes
        cron: "*/5 * * * *"
        timezone: UTC
    concurrency_limit:
      limit: 1
      collision_strategy: CANCEL_NEW
      grace_period_seconds: 60
    work_pool:
      name: organism
      work_queue_name: organism-default
      job_variables:
        env:
          PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"
"""


@pytest.fixture(autouse=True)
def _flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flows_of_the_tests.py").write_text(FLOWS)
    monkeypatch.syspath_prepend(str(tmp_path))


def mistakes(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "prefect.yaml").write_text(text)
    return [str(wrong) for wrong in manifest.mistakes(tmp_path / "prefect.yaml")]


def test_a_right_file_has_none(tmp_path: Path) -> None:
    assert mistakes(tmp_path, GOOD) == []


#: What is put in place of what, the line of the mistake, and words of what was meant.
SWALLOWED = [
    ("concurrency_limit:", "concurency_limit:", 18, "did you mean concurrency_limit?"),
    ("      limit: 1", "      limt: 1", 19, "did you mean limit?"),
    ("grace_period_seconds", "grace_period", 21, "did you mean grace_period_seconds?"),
    ("      accept_invalid: false", "      acept_invalid: false", 12, "did you mean accept_invalid?"),
    ("      accept_invalid: false", "      accept_invalid: [1]", 12, "refuses its parameters"),
    ("organism-default", "organism-defualt", 24, "is not a queue of ours"),
    ("      name: organism", "      name: default", 23, "no worker looks there"),
    ("tags: [organism]", "tags: [pipeline]", 11, "lacks the tag organism"),
    ("tags:", "tag:", 11, "did you mean tags?"),
    ("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "PREFECT_FLOW_HEARTBEAT", 22, "sets no PREFECT_FLOWS_HEARTBEAT_FREQUENCY"),
    ("job_variables:", "job_variable:", 25, "did you mean job_variables?"),
    ("pull:\n  - deployments.pull.checkout: {}\n", "", 1, "has no pull"),
    ("    description:", "    descripton:", 10, "did you mean description?"),
    ("flows_of_the_tests.incremental", "flows_of_the_tests.endless", 9, "has no timeout_seconds"),
]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "words"), SWALLOWED, ids=[w.strip()[:30] for _, w, _, _ in SWALLOWED]
)
def test_what_prefect_swallows_is_told_with_its_line(
    right: str, wrong: str, line: int, words: str, tmp_path: Path
) -> None:
    assert right in GOOD
    found = mistakes(tmp_path, GOOD.replace(right, wrong, 1))
    assert any(f.startswith(f"line {line}: ") and words in f for f in found), found


@pytest.mark.parametrize(
    ("right", "wrong"), [pair[:2] for pair in SWALLOWED], ids=[w.strip()[:30] for _, w, _, _ in SWALLOWED]
)
def test_the_naive_control_prefects_own_model_takes_all_of_them(right: str, wrong: str) -> None:
    from prefect.cli.deploy._models import PrefectYamlModel

    PrefectYamlModel.model_validate(yaml.safe_load(GOOD.replace(right, wrong, 1)))


LOUD = [
    ("*/5 * * * *", "*/5 * * *", 16, "is not a cron expression"),
    ("*/5 * * * *", "61 * * * *", 16, "is not a cron expression"),
    ("timezone: UTC", "timezone: Europe/Berln", 17, "is not an IANA zone"),
    ("        timezone: UTC\n", "", 15, "has no timezone"),
    (
        "        timezone: UTC",
        "        timezone: UTC\n        max_scheduled_runs: 5",
        18,
        "max_scheduled_runs is no key",
    ),
    ("CANCEL_NEW", "CANCEL_OLD", 20, "'CANCEL_NEW' or 'ENQUEUE'"),
    ("flows_of_the_tests.incremental", "flows_of_the_tests.py:incremental", 9, "is not a module path"),
    (
        "flows_of_the_tests.incremental",
        "flows_of_the_tests.incremental_",
        9,
        "did you mean flows_of_the_tests.incremental?",
    ),
    ("flows_of_the_tests.incremental", "flow_of_the_tests.incremental", 9, "cannot be imported"),
    ("    tags: [organism]", "    tags: [organism]\n    tags: []", 12, "given twice"),
    ("limit: 1", 'limit: "1"', 19, "valid integer"),
    ("limit: 1", "limit: 0", 19, "greater than or equal to 1"),
    ("name: try", "name: [", 3, "not YAML"),
]


@pytest.mark.parametrize(("right", "wrong", "line", "words"), LOUD, ids=[w.strip()[:30] for _, w, _, _ in LOUD])
def test_other_mistakes_are_told_alike(right: str, wrong: str, line: int, words: str, tmp_path: Path) -> None:
    assert right in GOOD
    found = mistakes(tmp_path, GOOD.replace(right, wrong, 1))
    assert any(f.startswith(f"line {line}: ") and words in f for f in found), found


def test_a_deployment_without_a_limit_or_a_schedule_is_a_mistake(tmp_path: Path) -> None:
    data = yaml.safe_load(GOOD)
    del data["deployments"][0]["concurrency_limit"], data["deployments"][0]["schedules"]
    found = mistakes(tmp_path, yaml.safe_dump(data))
    assert sorted(f.rpartition(" ")[2] for f in found) == ["concurrency_limit", "schedules"]


def test_two_deployments_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    assert any(
        "two deployments incremental" in f for f in mistakes(tmp_path, GOOD + GOOD.partition("deployments:\n")[2])
    )


def test_the_pool_may_have_another_name_on_this_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_WORK_POOL_NAME", "shared")
    assert mistakes(tmp_path, GOOD) == []
    assert [d.work_pool.name for d in manifest.load(tmp_path / "prefect.yaml").deployments] == ["shared"]


def test_no_file_and_a_wrong_file_are_the_users_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="run this where"):
        manifest.mistakes(tmp_path / "prefect.yaml")
    mistakes(tmp_path, GOOD.replace("tags:", "tag:"))
    with pytest.raises(InvalidInput, match="line 11"):
        manifest.load(tmp_path / "prefect.yaml")
