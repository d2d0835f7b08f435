"""Communities against igraph, and that a label means nothing but who is together."""

from __future__ import annotations

import random

import igraph
import networkx as nx
import numpy as np
import pytest

from pipelines.evidence import Ints
from pipelines.metrics.community import leiden, modularity
from pipelines.metrics.csr import Csr


def csr(graph: nx.Graph) -> Csr:
    edges = np.array([(a, b, d.get("weight", 1.0)) for a, b, d in graph.edges(data=True)]).reshape(-1, 3)
    return Csr.undirected(len(graph), edges[:, 0].astype(int), edges[:, 1].astype(int), edges[:, 2])


def planted(seed: int, teams: int = 12, size: int = 15) -> nx.Graph:
    """Teams with heavy-tailed strengths inside and weak ties across."""
    rng = np.random.default_rng(seed)
    graph = nx.random_partition_graph([size] * teams, 0.35, 0.02, seed=seed)
    for a, b in graph.edges:
        graph.edges[a, b]["weight"] = float(rng.lognormal(1.0 if a // size == b // size else 0.0, 1.0))
    return nx.Graph(graph)


def igraph_modularity(graph: Csr) -> float:
    """What igraph's Leiden reaches when it runs until nothing changes."""
    once = graph.sources() < graph.indices
    other = igraph.Graph(graph.n, np.c_[graph.sources()[once], graph.indices[once]].tolist())
    weights = graph.weights[once].tolist()  # type: ignore[index]
    igraph.set_random_number_generator(random.Random(1))
    found = other.community_leiden("modularity", weights=weights, n_iterations=-1)
    return modularity(graph, np.array(found.membership))


def sets(labels: Ints) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize("graph", [nx.karate_club_graph(), *map(planted, range(5))], ids=lambda g: f"{len(g)} nodes")
def test_the_partition_is_as_good_as_that_of_igraph(graph: nx.Graph) -> None:
    found = csr(graph)
    assert modularity(found, leiden(found)) >= 0.98 * igraph_modularity(found)
    halves = (np.arange(found.n) % 2).astype(np.int64)
    assert modularity(found, halves) < 0.98 * igraph_modularity(found), "the control: any partition will not do"


def test_planted_teams_are_found() -> None:
    graph = nx.disjoint_union_all([nx.complete_graph(6)] * 4)
    graph.add_edges_from([(0, 6), (6, 12), (12, 18)])
    assert leiden(csr(graph)).tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6


@pytest.mark.parametrize("seed", range(5))
def test_modularity_is_that_of_networkx(seed: int) -> None:
    graph = planted(seed, teams=4)
    labels = np.random.default_rng(seed).integers(0, 5, len(graph))
    assert modularity(csr(graph), labels) == pytest.approx(nx.community.modularity(graph, sets(labels)), abs=1e-12)


def test_the_result_is_the_same_every_time_and_however_people_are_numbered() -> None:
    graph = planted(3)
    found = csr(graph)
    assert leiden(found).tolist() == leiden(found).tolist()
    order = np.random.default_rng(5).permutation(found.n)  # position -> node
    place = np.argsort(order)
    moved = csr(nx.relabel_nodes(graph, dict(enumerate(place.tolist()))))
    assert leiden(moved, order=place)[place].tolist() == leiden(found).tolist()


def test_strengths_decide_and_their_unit_does_not() -> None:
    square = nx.Graph(
        [(0, 1, {"weight": 9.0}), (1, 2, {"weight": 1.0}), (2, 3, {"weight": 9.0}), (3, 0, {"weight": 1.0})]
    )
    other = nx.Graph(
        [(0, 1, {"weight": 1.0}), (1, 2, {"weight": 9.0}), (2, 3, {"weight": 1.0}), (3, 0, {"weight": 9.0})]
    )
    assert sets(leiden(csr(square))) == {frozenset({0, 1}), frozenset({2, 3})}
    assert sets(leiden(csr(other))) == {frozenset({1, 2}), frozenset({0, 3})}
    graph = planted(4)
    faint = nx.Graph([(a, b, {"weight": d["weight"] * 2.0**-300}) for a, b, d in graph.edges(data=True)])
    faint.add_nodes_from(graph)
    assert leiden(csr(faint)).tolist() == leiden(csr(nx.Graph(graph))).tolist()


def test_labels_count_from_the_first_member_and_who_has_no_tie_is_alone() -> None:
    graph = nx.Graph([(1, 5), (5, 3), (1, 3), (2, 4)])
    graph.add_nodes_from(range(7))
    assert leiden(csr(graph)).tolist() == [0, 1, 2, 1, 2, 1, 3]


@pytest.mark.parametrize("people", [0, 1, 3])
def test_without_ties_everybody_is_alone_and_there_is_no_modularity(people: int) -> None:
    graph = Csr.undirected(people, [], [], [])
    labels = leiden(graph)
    assert labels.tolist() == list(range(people))
    assert np.isnan(modularity(graph, labels))
