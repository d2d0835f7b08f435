"""One suite over the fake and the real graph: what stands on the nodes after a refresh, and what the marker promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import pytest

from pipelines.archive import effects
from pipelines.events import schema
from pipelines.graph.builder import EventDrivenGraphBuilder
from pipelines.graph.metrics_store import Neo4jMetrics
from pipelines.model import Event
from pipelines.ports import Graph
from tests.conftest import KINDS, opened, where
from tests.support import fakes, make
from tests.support.fakes_metrics import FakeMetrics, Marker
from tests.support.make import person

VIEWS = {"degree": "1:aa", "strength": "1:bb"}


@dataclass(frozen=True)
class Place:
    graph: Graph
    metrics: FakeMetrics | Neo4jMetrics
    nodes: Callable[[], dict[str, dict[str, float]]]


@pytest.fixture(params=["fake", *KINDS])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        world = fakes.World()
        metrics = FakeMetrics(world, Marker())
        yield Place(fakes.stores(world).graph, metrics, metrics.nodes)
        return
    at = where(request, request.param)
    with (
        opened(at) as stores,
        closing(Neo4jMetrics(at.graph, at.graph_user, at.graph_password, at.graph_database)) as store,
    ):
        store.prepare()
        yield Place(stores.graph, store, lambda: _nodes(store))


def _nodes(store: Neo4jMetrics) -> dict[str, dict[str, float]]:
    """Properties that a refresh writes, of people who have any."""
    records = store._driver.execute_query("MATCH (n:Employee) RETURN n.id AS id, properties(n) AS p").records
    wanted = ("m_", "metrics_", "refreshed_")
    found = {r["id"]: {k: v for k, v in r["p"].items() if k.startswith(wanted)} for r in records}
    return {person: values for person, values in found.items() if values}


def people(place: Place, *numbers: int) -> None:
    place.graph.write(lambda writer: writer.add_people([person(i) for i in numbers]))


def test_values_stand_on_the_nodes_with_their_version_and_time(place: Place) -> None:
    people(place, 1, 2)
    place.metrics.put([(person(1), {"m_degree": 3.0, "m_harmonic": 0.1 + 0.2})], 7, 1_772_000_000_000)
    assert place.nodes() == {
        person(1): {
            "m_degree": 3.0,
            "m_harmonic": 0.1 + 0.2,
            "metrics_version": 7,
            "refreshed_at": 1_772_000_000_000,
        }
    }


def test_writing_twice_changes_nothing(place: Place) -> None:
    people(place, 1, 2)
    for _ in range(2):
        place.metrics.put([(person(i), {"m_degree": float(i)}) for i in (1, 2)], 7, 5)
        first = place.nodes()
    assert place.nodes() == first
    assert {p for p, _ in place.graph.people()} == {person(1), person(2)}


def test_a_value_that_is_none_is_taken_away_and_others_stay(place: Place) -> None:
    people(place, 1)
    place.metrics.put([(person(1), {"m_degree": 1.0, "m_constraint": 0.5})], 7, 5)
    place.metrics.put([(person(1), {"m_constraint": None})], 7, 6)
    assert place.nodes() == {person(1): {"m_degree": 1.0, "metrics_version": 7, "refreshed_at": 6}}


def test_nobody_is_made_by_a_value(place: Place) -> None:
    place.metrics.put([(person(9), {"m_degree": 1.0})], 7, 5)
    assert list(place.graph.people()) == []


def test_values_do_not_disturb_ties_and_teams(place: Place) -> None:
    people(place, 1, 2)
    before = (sorted(place.graph.people()), list(place.graph.ties()))
    place.metrics.put([(person(1), {"m_degree": 1.0})], 7, 5)
    assert (sorted(place.graph.people()), list(place.graph.ties())) == before


def test_what_an_earlier_refresh_left_on_others_is_cleared(place: Place) -> None:
    people(place, 1, 2, 3)
    place.metrics.put([(person(i), {"m_degree": 1.0}) for i in (1, 2)], 7, 5)
    place.metrics.put([(person(1), {"m_degree": 2.0})], 7, 6)
    assert [place.metrics.clear(["m_degree"], 6), place.metrics.clear(["m_degree"], 6)] == [1, 0]
    assert place.nodes() == {person(1): {"m_degree": 2.0, "metrics_version": 7, "refreshed_at": 6}}


def test_without_a_marker_nothing_is_current(place: Place) -> None:
    assert place.metrics.current("run 1") == {}


def test_the_marker_tells_its_own_run_only_of_what_that_left_alone(place: Place) -> None:
    people(place, 1)
    place.metrics.put([(person(1), {"m_degree": 1.0})], 7, 5)
    place.metrics.note("run 1", 1, VIEWS, {"degree": "1:0"}, "f" * 32, 5)
    assert place.metrics.current("run 1") == {"degree": "1:0"}
    assert place.metrics.current("run 2") == VIEWS
    place.metrics.note("run 2", 1, {}, {}, "f" * 32, 6)
    assert place.metrics.current("run 3") == {}


@pytest.mark.parametrize("gone", ["wiped", "erased"])
def test_the_marker_does_not_outlive_the_nodes(place: Place, gone: str) -> None:
    people(place, 1, 2)
    place.metrics.put([(person(i), {"m_degree": 1.0}) for i in (1, 2)], 7, 5)
    place.metrics.note("run 1", 2, VIEWS, {}, "f" * 32, 5)
    if gone == "wiped":
        place.graph.wipe()
    else:
        place.graph.write(lambda writer: writer.forget_people([person(2)]))
    people(place, 1, 2)
    assert place.metrics.current("run 2") == {}


def test_an_ingest_beside_it_loses_nothing_and_counts_nothing_twice(place: Place) -> None:
    """Both change the same nodes; the lock keeps them apart, whoever has to try again."""
    if isinstance(place.metrics, FakeMetrics):
        pytest.skip("the fake knows one thread")
    people(place, *range(1, 21))
    builder = EventDrivenGraphBuilder(place.graph, effects.pack)
    batches = [[_event(batch, i) for i in range(60)] for batch in range(3)]
    with ThreadPoolExecutor(1) as pool:
        ingest = pool.submit(lambda: [builder.apply(batch, make.NOW_MS) for batch in batches])
        for value in (1, 2, 3):  # not without end: without turns the shorter transactions would starve the ingest
            place.metrics.put([(person(i), {"m_degree": float(value)}) for i in range(1, 21)], 7, value)
        assert sum(len(applied.fresh) for applied in ingest.result()) == 180
    ties = list(place.graph.ties())
    assert sum(tie.n for tie in ties) == 180
    assert len({tie.ends for tie in ties}) == len(ties)
    assert {values["m_degree"] for values in place.nodes().values()} == {3.0}


def _event(batch: int, number: int) -> Event:
    actor, target = 1 + number % 20, 1 + (number + 1 + batch) % 20
    event, _ = schema.parse(make.event(f"{batch}-{number}", person(actor), [person(target)]))
    assert isinstance(event, Event)
    return event
