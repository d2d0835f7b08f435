"""How ties are spread: against networkx, and on graphs small enough to count by hand."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest

from pipelines.metrics import cohesion
from pipelines.metrics.csr import Csr
from tests.support.snapshots import published

NAMES = ["karate", "kite", "florentine", "g14"]


def undirected(graph: nx.Graph) -> Csr:
    edges = np.array(graph.edges(), dtype=np.int64).reshape(-1, 2)
    return Csr.undirected(len(graph), edges[:, 0], edges[:, 1])


def directed(graph: nx.DiGraph) -> Csr:
    edges = np.array(graph.edges(), dtype=np.int64).reshape(-1, 2)
    return Csr.directed(len(graph), edges[:, 0], edges[:, 1])


@pytest.mark.parametrize("seed", range(10))
def test_reciprocity_is_that_of_networkx_and_nan_without_ties(seed: int) -> None:
    graph = nx.gnp_random_graph(25, 0.08, seed=seed, directed=True)
    graph.add_node(25)
    found = cohesion.reciprocity(directed(graph))
    expected = [nx.reciprocity(graph, v) if graph.degree(v) else math.nan for v in graph]
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-12)
    assert math.isnan(found[25])


def test_an_arc_is_mutual_when_the_other_one_is_there() -> None:
    graph = Csr.directed(4, [0, 1, 0, 3], [1, 0, 2, 0])
    ends = zip(graph.sources().tolist(), graph.indices.tolist(), strict=True)
    assert dict(zip(ends, cohesion.mutual(graph).tolist(), strict=True)) == {
        (0, 1): True,
        (1, 0): True,
        (0, 2): False,
        (3, 0): False,
    }


def test_the_ei_index_counts_ties_by_side() -> None:
    graph = Csr.undirected(6, [0, 0, 0, 0, 4], [1, 2, 3, 4, 5], [9.0, 1.0, 1.0, 1.0, 1.0])
    team = np.array([0, 0, 1, 1, -1, 1])
    found = cohesion.ei_index(graph, team)
    assert found[:4].tolist() == [pytest.approx(1 / 3), -1.0, 1.0, 1.0]
    assert np.isnan(found[4:]).all(), "without a team, and with ties to nobody whose team is known"


@pytest.mark.parametrize("name", NAMES)
def test_assortativity_is_that_of_networkx(name: str) -> None:
    graph = published(name)
    expected = nx.degree_assortativity_coefficient(graph)
    assert cohesion.assortativity(undirected(graph)) == pytest.approx(expected, abs=1e-12)


def test_among_equals_there_is_no_assortativity() -> None:
    assert math.isnan(cohesion.assortativity(undirected(nx.cycle_graph(5))))
    assert math.isnan(cohesion.assortativity(Csr.undirected(3, [], [])))


def test_components_are_numbered_by_size() -> None:
    graph = Csr.undirected(8, [0, 2, 3, 5], [1, 3, 4, 6])
    assert cohesion.components(graph).tolist() == [1, 1, 0, 0, 0, 2, 2, 3]
    assert cohesion.components(Csr.undirected(0, [], [])).tolist() == []


# ------------------------------------------------------------------------------------------------ burstiness


def burstiness(*gaps: list[float]) -> list[float]:
    offsets = np.cumsum([0, *map(len, gaps)])
    return cohesion.burstiness(np.array([g for one in gaps for g in one], dtype=float), offsets).tolist()


def test_a_clock_is_minus_one_and_all_but_one_at_once_is_one() -> None:
    for n in (2, 5, 100):
        assert burstiness([7.0] * n, [0.0] * (n - 1) + [5.0]) == [pytest.approx(-1.0), pytest.approx(1.0)]


def test_the_unit_of_time_does_not_matter() -> None:
    gaps = [1.0, 2.0, 9.0, 0.5]
    assert burstiness(gaps) == pytest.approx(burstiness([g * 3_600_000 for g in gaps]))


def test_too_few_gaps_or_no_time_at_all_have_no_burstiness() -> None:
    assert np.isnan(burstiness([], [3.0], [0.0, 0.0])).all()
    assert not np.isnan(burstiness([3.0, 4.0])).any()


@pytest.mark.parametrize("events", [4, 10, 50])
def test_chance_is_zero_however_few_the_acts(events: int) -> None:
    """The control is the formula without the correction: more than twice as far from 0, a quarter at four acts."""
    rng = np.random.default_rng(3)
    gaps = np.diff(np.sort(rng.random((4_000, events)), axis=1), axis=1)
    found = np.array(burstiness(*gaps.tolist()))
    variation = gaps.std(axis=1) / gaps.mean(axis=1)
    uncorrected = ((variation - 1) / (variation + 1)).mean()
    assert abs(found.mean()) < 0.08
    assert uncorrected < -2 * abs(found.mean())
