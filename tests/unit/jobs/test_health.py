"""The health of each service: what is asked, what a service that is away means for the others, and what is a number."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from alerts import rules
from alerts.rules import Limits
from pipelines.errors import InvalidInput, TransientError
from pipelines.jobs import health
from pipelines.jobs.facts import Machine, Sources
from pipelines.jobs.health import SERVICES, Examined, asked, check_health
from pipelines.model import StreamState
from pipelines.runs import PrefectQueue, PrefectWorker
from tests.support.fakes_ledger import FakeLedger
from tests.support.fakes_orchestrator import NOW, FakeOrchestrator
from tests.unit.jobs.test_facts import MACHINE, Store, sources

JUDGE = partial(rules.problems, limits=Limits())


def whole() -> Sources:
    api = FakeOrchestrator()
    api.asked["organism"] = [PrefectQueue("organism-default", NOW, NOW)]
    api.online["organism"] = [PrefectWorker("w1", "organism", True, NOW)]
    return sources(orchestrator=api)


def check(of: Sources, *services: str, check_type: str = "quick", machine: Machine = MACHINE) -> Examined:
    return check_health(asked({"check_type": check_type, "services": list(services)}), of, machine, JUDGE, NOW)


def told(found: Examined) -> dict[str, str]:
    return {answer.service: str(answer.health) for answer in found.answers}


@pytest.mark.parametrize("check_type", ["quick", "full"])
def test_all_are_up_when_all_is_well(check_type: str) -> None:
    found = check(whole(), check_type=check_type)
    assert told(found) == dict.fromkeys(SERVICES, "up")
    assert (found.services, found.up, found.degraded, found.down, found.absent) == (9, 9, 0, 0, 0)
    assert health.words(found) == []
    assert health.numbers(found)["redis"] == 1.0


def test_only_what_is_named_is_asked() -> None:
    nothing: Any = object()  # whoever asks it anything fails
    of = Sources(nothing, nothing, nothing, nothing, nothing)
    assert told(check(of, "memory", "disk")) == {"disk": "up", "memory": "up"}


@pytest.mark.parametrize("check_type", ["quick", "full"])
def test_a_store_that_is_away_is_down_and_no_failure(check_type: str) -> None:
    away: Any = Store(TransientError("refused"))
    found = check(sources(stream=away, letters=away), "redis", "graph", "postgres", "stream", check_type=check_type)
    assert told(found) == {"redis": "down", "graph": "up", "postgres": "up", "stream": "down"}
    assert health.words(found) == ["redis is down: refused", "stream is down: it lies in redis: refused"]
    assert (found.down, health.numbers(found)["redis"], health.numbers(found)["graph"]) == (2, 0.0, 1.0)


@pytest.mark.parametrize("check_type", ["quick", "full"])
def test_a_ledger_that_is_away_is_a_postgresql_that_is_down(check_type: str) -> None:
    ledger = FakeLedger()
    ledger.fails = TransientError("refused")
    assert told(check(sources(ledger=ledger), "postgres", check_type=check_type)) == {"postgres": "down"}
    assert told(check(Sources(away={"postgres": "refused"}), "postgres", check_type=check_type)) == {"postgres": "down"}


class TestPrefect:
    @pytest.mark.parametrize("check_type", ["quick", "full"])
    def test_a_server_that_is_away_takes_pool_and_workers_with_it(self, check_type: str) -> None:
        api = FakeOrchestrator()
        api.fails = TransientError("refused")
        found = check(sources(orchestrator=api), "prefect_server", "work_pool", "workers", check_type=check_type)
        assert told(found) == dict.fromkeys(("prefect_server", "work_pool", "workers"), "down")
        assert health.words(found)[1] == "work_pool is down: the Prefect server cannot be asked: refused"

    def test_where_there_is_none_it_is_absent_and_has_no_number(self) -> None:
        found = check(sources(orchestrator=None), "prefect_server", "workers", "redis")
        assert told(found) == {"redis": "up", "prefect_server": "absent", "workers": "absent"}
        assert (found.absent, found.down) == (2, 0)
        assert "workers" not in health.numbers(found)

    def test_a_pool_without_workers(self) -> None:
        of = whole()
        of.orchestrator.online.clear()  # type: ignore[union-attr]
        assert told(check(of, "work_pool", "workers")) == {"work_pool": "up", "workers": "down"}

    def test_a_pool_that_does_not_exist(self) -> None:
        of = whole()
        of.orchestrator.asked.clear()  # type: ignore[union-attr]
        assert told(check(of, "work_pool")) == {"work_pool": "down"}

    def test_a_queue_that_no_worker_serves_degrades_the_pool(self) -> None:
        of = whole()
        unserved = [PrefectQueue("organism-heavy", NOW - timedelta(hours=1))]
        of.orchestrator.asked["organism"] = unserved  # type: ignore[union-attr]
        assert told(check(of, "work_pool", "workers")) == {"work_pool": "degraded", "workers": "up"}


class Waiting(Store):
    """Entries wait, and nothing was applied for an hour."""

    def state(self) -> StreamState:
        at = NOW - timedelta(hours=1)
        return StreamState(9, 9, 4, 5, 2, oldest_unread_ms=int(at.timestamp() * 1000))


def test_a_stream_that_nobody_reads_is_degraded() -> None:
    waiting: Any = Waiting()
    of = sources(stream=waiting, letters=waiting, graph=None)
    assert told(check(of, "redis", "stream")) == {"redis": "up", "stream": "degraded"}


def test_a_disk_that_fills_is_degraded_and_a_memory_that_nobody_knows_is_absent() -> None:
    machine = Machine(lambda: None, lambda: 0.97, "the state directory")
    found = check(sources(), "disk", "memory", machine=machine)
    assert told(found) == {"disk": "degraded", "memory": "absent"}
    assert health.numbers(found) == {"services": 2, "up": 0, "degraded": 1, "down": 0, "absent": 1, "disk": 0.5}


def test_services_come_once_and_in_their_order() -> None:
    assert asked({"services": ["stream", "redis", "stream"]}).services == ("redis", "stream")
    assert asked({}).services == SERVICES


@pytest.mark.parametrize(
    "parameters", [{"services": ["redis", "mongo"]}, {"services": "redis"}, {"services": [["redis"]]}]
)
def test_a_service_that_nobody_knows_is_wrong_input_that_lists_the_known(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="prefect_server, work_pool") as caught:
        asked(parameters)
    assert "mongo" not in str(caught.value)


@pytest.mark.parametrize("kind", ["deep", 3, ["quick"]])
def test_a_check_that_nobody_knows_is_wrong_input(kind: Any) -> None:
    with pytest.raises(InvalidInput, match="quick or full"):
        asked({"check_type": kind})
