"""Who holds the graph together: every answer checked by taking the person away."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest

from pipelines.metrics.bridges import bridges
from pipelines.metrics.csr import Csr
from tests.support.snapshots import published


def csr(graph: nx.Graph) -> Csr:
    edges = np.array(graph.edges(), dtype=np.int64).reshape(-1, 2)
    return Csr.undirected(len(graph), edges[:, 0], edges[:, 1])


def lost_without(graph: nx.Graph, node: int) -> float:
    """By definition: take the node away and look."""
    others = nx.node_connected_component(graph, node) - {node}
    if not others:
        return math.nan
    left = max(map(len, nx.connected_components(graph.subgraph(others))))
    return (len(others) - left) / len(others)


def check(graph: nx.Graph) -> None:
    points, lost = bridges(csr(graph))
    assert set(np.flatnonzero(points).tolist()) == set(nx.articulation_points(graph))
    assert lost == pytest.approx([lost_without(graph, v) for v in range(len(graph))], nan_ok=True)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_of_every_density(seed: int) -> None:
    people = 1 + seed % 30
    check(nx.gnp_random_graph(people, (0.02, 0.05, 0.08, 0.12, 0.3)[seed % 5], seed=seed))


@pytest.mark.parametrize("name", ["karate", "kite", "florentine", "g14"])
def test_published_graphs(name: str) -> None:
    check(published(name))


@pytest.mark.parametrize("tree", [nx.path_graph(9), nx.star_graph(6), nx.balanced_tree(2, 4), nx.barbell_graph(5, 1)])
def test_trees_and_two_halves_that_one_person_joins(tree: nx.Graph) -> None:
    check(tree)


def test_a_planted_bridge_is_found_and_gone_when_a_second_one_is_there() -> None:
    halves = nx.disjoint_union(nx.complete_graph(5), nx.complete_graph(5))
    halves.add_edges_from([(10, 0), (10, 5)])
    points, lost = bridges(csr(halves))
    assert points[10]
    assert lost[10] == 0.5
    halves.add_edge(1, 6)
    points, lost = bridges(csr(halves))
    assert not points.any()
    assert np.nanmax(lost) == 0.0


def test_nobody_holds_a_graph_without_ties() -> None:
    for people in (0, 1, 3):
        points, lost = bridges(Csr.undirected(people, [], []))
        assert not points.any()
        assert np.isnan(lost).all()


def test_a_long_chain_is_no_deeper_than_the_machine_can_go() -> None:
    points, lost = bridges(csr(nx.path_graph(20_000)))
    assert points.sum() == 19_998
    assert lost[10_000] == pytest.approx(0.5, abs=1e-4)
