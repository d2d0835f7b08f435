"""What the doctor sees: a right installation is green, and each thing that is wrong is red with its own cause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from deployments import doctor, ground, manifest, setup, stores
from deployments.checks import Check, Question, bad, good, is_green, run
from deployments.rest import Api
from pipelines import settings
from pipelines.errors import PermanentError, TransientError
from pipelines.wiring import Endpoints
from tests.support.fakes_installation import DOWN, FILE, NOW, FakeApi, installed
from tests.support.fakes_installation import run as flow_run

WHERE = Endpoints("redis://r", "redis://r", "bolt://g", "neo4j", "", "neo4j", "postgresql://p")


@pytest.fixture(autouse=True)
def _stores_are_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_WORK_POOL_NAME", raising=False)
    monkeypatch.setattr(stores, "about_redis", lambda url, name="Redis", **_: good(name, "answers"))
    monkeypatch.setattr(stores, "about_graph", lambda where: good("graph", "answers"))
    monkeypatch.setattr(stores, "about_postgres", lambda url: good("PostgreSQL", "answers"))
    monkeypatch.setattr(stores, "about_migrations", lambda url: good("migrations", "all applied"))
    monkeypatch.setattr(stores, "redis_clock", lambda url: NOW)
    monkeypatch.setattr(stores, "postgres_clock", lambda url: NOW)
    monkeypatch.setattr(ground, "about_package", lambda: good("package", "found"))


def examined(api: Api, minutes: float = 0) -> list[Check]:
    around = doctor.Around(api, WHERE, settings.load(), FILE, lambda: NOW + timedelta(minutes=minutes))
    return run(doctor.questions(around))


def red(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.seen for check in checks if check.ok is False}


def test_a_right_installation_is_green() -> None:
    checks = examined(installed())
    assert is_green(checks), red(checks)


# ------------------------------------------------------------------------------------------------ one cause each


def no_pool(api: FakeApi) -> None:
    api.own_pools = {"default": {"name": "default", "type": "process", "is_paused": False}}


def pool_of_another_type(api: FakeApi) -> None:
    api.own_pools["organism"]["type"] = "docker"


def paused_pool(api: FakeApi) -> None:
    api.own_pools["organism"]["is_paused"] = True


def worker_down(api: FakeApi) -> None:
    api.own_workers[0]["status"] = "OFFLINE"


def queue_gone(api: FakeApi) -> None:
    del api.own_queues["organism-heavy"]


def queue_paused(api: FakeApi) -> None:
    api.own_queues["organism-heavy"]["is_paused"] = True


def queues_turned_round(api: FakeApi) -> None:
    api.own_queues["organism-default"]["priority"] = 3


def limit_gone(api: FakeApi) -> None:
    api.own_deployments["incremental/incremental"]["global_concurrency_limit"] = None


def not_deployed(api: FakeApi) -> None:
    del api.own_deployments["full/full"]


def schedule_paused(api: FakeApi) -> None:
    api.own_deployments["full/full"]["schedules"][0]["active"] = False


def no_runs_created(api: FakeApi) -> None:
    api.own_runs = {}


def runs_are_late(api: FakeApi) -> None:
    api.own_runs["id-0"].insert(0, flow_run("SCHEDULED", NOW - timedelta(minutes=40)))


def leases_in_memory(api: FakeApi) -> None:
    api.told_settings["server"]["concurrency"]["lease_storage"] = "prefect.server.concurrency.lease_storage.memory"


def slot_leaked(api: FakeApi) -> None:
    api.own_deployments["incremental/incremental"]["global_concurrency_limit"]["active_slots"] = 1


def automation_gone(api: FakeApi) -> None:
    api.own_automations.pop(0)


def automation_twice(api: FakeApi) -> None:
    api.own_automations.append({**api.own_automations[0], "id": "again"})


def automation_off(api: FakeApi) -> None:
    api.own_automations[0]["enabled"] = False


def automation_changed(api: FakeApi) -> None:
    api.own_automations[0]["trigger"]["within"] = 30


def server_too_new(api: FakeApi) -> None:
    api.told_version = "3.10.1"


def server_clock_off(api: FakeApi) -> None:
    api.time = NOW + timedelta(minutes=3)


CAUSES: list[tuple[Callable[[FakeApi], None], str, str]] = [
    (no_pool, "work pool", "there is no pool organism; there are: default"),
    (pool_of_another_type, "work pool", "organism is of type docker, expected process"),
    (paused_pool, "work pool", "organism is paused: nothing is started"),
    (worker_down, "workers", "none online in organism; the last one was seen at 2026-03-02 06:01 UTC"),
    (queue_gone, "queues", "there is no organism-heavy"),
    (queue_paused, "queues", "paused: organism-heavy"),
    (queues_turned_round, "queues", "the heavy queue is served first: short runs would wait for long ones"),
    (limit_gone, "deploy incremental", "not as in prefect.yaml: concurrency limit"),
    (not_deployed, "deploy full", "not deployed"),
    (schedule_paused, "deploy full", "its schedule is paused"),
    (no_runs_created, "schedule", "the server has created no run of incremental, full, watch, verify"),
    (runs_are_late, "schedule", "late: incremental by 40 min"),
    (
        leases_in_memory,
        "slot leases",
        "in memory: after a restart of the server the slots of killed runs are taken for ever",
    ),
    (slot_leaked, "slots", "held by no live run: incremental/incremental (1); new runs are refused"),
    (automation_gone, "zombie", "not installed"),
    (automation_twice, "zombie", "installed 2 times: each of them acts"),
    (automation_off, "zombie", "switched off"),
    (automation_changed, "zombie", "not as this version ships it"),
    (server_too_new, "Prefect API", "version 3.10.1, needed >=3.8.8,<3.10"),
    (server_clock_off, "clock Prefect", "180 s ahead of this machine"),
]


@pytest.mark.parametrize(("breaks", "name", "seen"), CAUSES, ids=[cause.__name__ for cause, _, _ in CAUSES])
def test_each_cause_is_red_alone_and_says_what_to_do(breaks: Callable[[FakeApi], None], name: str, seen: str) -> None:
    api = installed()
    breaks(api)
    checks = examined(api)
    assert red(checks) == {name: seen}
    assert all(check.fix for check in checks if check.ok is False)


def test_without_a_server_nothing_is_guessed_about_it_and_the_stores_are_still_examined() -> None:
    api = installed()
    api.down = DOWN
    checks = examined(api)
    assert red(checks) == {"Prefect API": str(DOWN)}
    unasked = {check.name for check in checks if check.ok is None}
    assert {"server", "work pool", "workers", "schedule", "automations", "slots", "clock Prefect"} <= unasked
    assert {"Redis", "graph", "PostgreSQL", "clock Redis"} <= {check.name for check in checks if check.ok}


@pytest.mark.parametrize(
    ("store", "name"), [("about_redis", "Redis"), ("about_graph", "graph"), ("about_postgres", "PostgreSQL")]
)
def test_a_store_that_is_away_is_red_and_its_clock_is_not_asked(
    store: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> Check:
        raise TransientError(f"{name.lower()} host:1: gone; is the server up?")

    monkeypatch.setattr(stores, store, away)
    checks = examined(installed())
    assert list(red(checks)) == [name]
    unasked = {check.name for check in checks if check.ok is None}
    assert unasked == {"graph": set(), "Redis": {"clock Redis"}, "PostgreSQL": {"migrations", "clock PostgreSQL"}}[name]


def test_a_wrong_password_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> Check:
        raise PermanentError("graph host:7687: Neo.ClientError.Security.Unauthorized; check ORGANISM_GRAPH_PASSWORD")

    monkeypatch.setattr(stores, "about_graph", refused)
    assert "Unauthorized" in red(examined(installed()))["graph"]


def test_a_machine_whose_clock_is_off_differs_from_all() -> None:
    assert {"clock Redis", "clock PostgreSQL", "clock Prefect"} <= set(red(examined(installed(), minutes=2)))


def test_a_run_that_ends_while_the_slots_are_counted_is_no_leak() -> None:
    api = installed()
    slot_leaked(api)
    api.own_runs["id-0"].append(flow_run("RUNNING", NOW, "works"))
    answers = iter([api.own_runs["id-0"], []])  # it was there before the slots were read, and is gone after

    def runs(deployment: str, *states: str, after: object = None) -> list[dict[str, object]]:
        return [r for r in next(answers) if r["state"] in states] if deployment == "id-0" else []

    api.runs = runs  # type: ignore[method-assign]
    assert doctor.about_slots(api).ok


#: Where no webhook is configured.
TELL_NOBODY = {"incremental-silent", "pool-not-ready"}


def test_advice_turns_nothing_red() -> None:
    api = installed()
    api.told_settings["server"]["services"]["db_vacuum"]["enabled"] = ["events"]
    api.told_settings["server"]["database"] = {"connection_url": None, "driver": None}
    checks = examined(api)
    assert is_green(checks)
    assert {c.name for c in checks if c.fix} == {"retention", "server database", *TELL_NOBODY}


def test_a_mistyped_setting_is_red_here_and_advice_in_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANISM_REDIS_ULR", "redis://x")
    assert red(examined(installed())) == {"settings": "ORGANISM_REDIS_ULR is not a setting; ORGANISM_REDIS_URL is"}
    assert ground.about_settings(settings.load(), strict=False).ok


@pytest.mark.parametrize("version", ["2.1.0", "1.4.54", "2.1.0b1"])
def test_a_version_that_breaks_the_scheduler_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground.metadata, "version", lambda name: version if name == "sqlalchemy" else "3.8.8")
    check = ground.about_versions({name: ground.PINS[name] for name in ("prefect", "sqlalchemy")})
    assert (check.ok, check.seen) == (False, f"sqlalchemy {version} (needed >=2.0,<2.1)")


def test_the_package_must_be_found_without_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    blind = tmp_path / "python"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    assert ground.about_package(str(blind)) == bad(
        "package", "this Python finds it only from the checkout: every run would fail", "pip install -e ."
    )


# ------------------------------------------------------------------------------------------------ setup, on the same server


def test_setup_makes_what_is_not_there_and_a_second_time_writes_nothing() -> None:
    api = FakeApi()
    first = [setup.made_pool(api, "organism"), setup.made_queues(api, "organism")]
    assert [check.seen for check in first] == [
        "created: organism, type process",
        "changed: organism-default made, organism-heavy made",
    ]
    api.written.clear()
    again = [setup.made_pool(api, "organism"), setup.made_queues(api, "organism")]
    assert all(check.seen.startswith("unchanged") for check in again)
    assert api.written == []


def test_setup_puts_queues_right_and_leaves_a_paused_one_paused() -> None:
    api = installed()
    queues_turned_round(api)
    queue_paused(api)
    assert setup.made_queues(api, "organism").seen == "changed: priorities changed"
    assert setup.in_order(api.own_queues)
    assert api.own_queues["organism-heavy"]["is_paused"]


def test_setup_does_not_take_a_pool_of_another_type() -> None:
    api = installed()
    pool_of_another_type(api)
    assert setup.made_pool(api, "organism").ok is False
    assert api.written == []


def test_setup_deploys_nothing_while_prefect_yaml_is_wrong(tmp_path: Path) -> None:
    data = yaml.safe_load(FILE.read_text("utf-8"))
    data["deployments"][0]["concurency_limit"] = {}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(data))
    asked = setup.questions(installed(), settings.load(), tmp_path / "prefect.yaml", lambda: NOW)
    done = Question("migrations", lambda: good("migrations", "unchanged"))
    kept = [done if question.name == "migrations" else question for question in asked]
    checks = {check.name: check for check in run(kept)}
    assert checks["prefect.yaml"].ok is False
    assert checks["deployments"].ok is None
    assert manifest.POOL in checks["work pool"].seen


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("zone", "Mars", "ORGANISM_ZONE"),
        ("blackout", "soon", "is not a blackout, such as"),
        ("retries", {"no_step": {"attempts": 3}}, "ORGANISM_RETRIES names no_step"),
    ],
)
def test_what_is_understood_only_where_it_is_used_is_found_by_the_doctor(name: str, value: object, words: str) -> None:
    config = settings.load(**{name: value})
    (check,) = run([Question("settings", lambda: ground.about_settings(config))])
    assert check.ok is False and words in check.seen
