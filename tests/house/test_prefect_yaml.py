"""prefect.yaml equals the code: its flows, their schedules and time-outs, the queues, the pins. No server is asked."""

from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from cronsim import CronSim

from deployments import ground, manifest
from deployments.manifest import Deployment
from pipelines.jobs import flows

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "prefect.yaml"
DEPLOYMENTS = manifest.load(FILE).deployments
SCHEDULED = [its for its in DEPLOYMENTS if its.schedules]
_START = datetime(2026, 3, 2, tzinfo=UTC)


def starts(its: Deployment, span: timedelta) -> list[datetime]:
    """Every start within a span, in UTC."""
    found: list[datetime] = []
    for schedule in its.schedules:
        for at in CronSim(schedule.cron, _START):
            if at >= _START + span:
                break
            found.append(at)
    return sorted(found)


def test_there_is_no_mistake_in_it() -> None:
    assert [str(wrong) for wrong in manifest.mistakes(FILE)] == []


def test_what_runs_on_a_schedule_and_what_people_start_is_what_the_code_says() -> None:
    assert {its.name for its in DEPLOYMENTS} == set(flows.BY_NAME)
    assert {its.name for its in SCHEDULED} == {flow.name for flow in flows.FLOWS}
    assert {its.name for its in DEPLOYMENTS if not its.schedules} == {flow.name for flow in flows.ON_DEMAND}


@pytest.mark.parametrize("its", SCHEDULED, ids=lambda its: its.name)
def test_schedules_are_those_of_the_code(its: Deployment) -> None:
    every = flows.BY_NAME[its.name].every
    assert every is not None
    times = starts(its, 4 * every)
    assert {later - earlier for earlier, later in pairwise(times)} == {every}
    assert {schedule.timezone for schedule in its.schedules} == {"UTC"}


@pytest.mark.parametrize("its", DEPLOYMENTS, ids=lambda its: its.name)
def test_timeouts_are_those_of_the_code_and_end_a_light_run_before_the_next(its: Deployment) -> None:
    module, _, name = its.entrypoint.rpartition(".")
    timeout = timedelta(seconds=getattr(importlib.import_module(module), name).timeout_seconds)
    every = flows.BY_NAME[its.name].every
    assert timeout == flows.BY_NAME[its.name].timeout
    assert every is None or timeout < every


def test_what_takes_long_waits_in_a_queue_of_its_own() -> None:
    queues = {its.name: its.work_pool.work_queue_name for its in DEPLOYMENTS}
    assert {name for name, queue in queues.items() if queue == "organism-heavy"} == {"full", "verify"}
    assert queues == {name: flow.queue for name, flow in flows.BY_NAME.items()}
    assert set(queues.values()) == set(manifest.QUEUES)


def test_a_missed_light_run_is_dropped_and_an_analysis_waits() -> None:
    strategies = {its.name: its.concurrency_limit.collision_strategy for its in DEPLOYMENTS}
    assert {its.concurrency_limit.limit for its in DEPLOYMENTS} == {1}
    assert (strategies["incremental"], strategies["full"]) == ("CANCEL_NEW", "ENQUEUE")
    assert {strategies[flow.name] for flow in flows.ON_DEMAND} == {"ENQUEUE"}, "whoever asks gets an answer"


def test_the_watch_never_starts_in_the_minute_of_an_incremental_run() -> None:
    by_name = {its.name: set(starts(its, timedelta(hours=1))) for its in DEPLOYMENTS}
    assert not by_name["watch"] & by_name["incremental"]


def test_nothing_of_a_machine_is_stored_with_a_deployment() -> None:
    text = re.sub(r"(?m)#.*$", "", FILE.read_text("utf-8"))
    assert "{{" not in text
    assert not re.search(r"[\s\"'](/|~|[A-Z]:\\)", text)
    assert yaml.safe_load(text)["pull"] == [{"deployments.pull.checkout": {}}]


def test_the_pins_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for name, pin in ground.PINS.items():
        assert re.search(rf'"{name}(\[\w+\])?{re.escape(pin)}"', text), name
    assert yaml.safe_load(FILE.read_text("utf-8"))["prefect-version"] == ground.PINS["prefect"]


def test_the_pins_refuse_what_breaks_scheduling() -> None:
    """Both ran here: with fastapi 0.165 the server does not start, with sqlalchemy 2.1 no scheduled run ever appears."""
    assert not ground.fits("0.165.0", ground.PINS["fastapi"])
    assert not ground.fits("2.1.9", ground.PINS["sqlalchemy"])
    assert ground.about_versions().ok


@pytest.mark.parametrize("name", ["deploy.sh", "deploy.bat"])
def test_the_scripts_are_thin(name: str) -> None:
    lines = (ROOT / "deployments" / name).read_text("utf-8").splitlines()
    assert len(lines) <= 10
    assert "-m deployments setup" in lines[-1]
