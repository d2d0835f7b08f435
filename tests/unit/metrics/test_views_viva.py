"""The views beside the peer's own: the definitions of vivainsights 0.4.3 on the person-to-person sample that it ships.

Its `network_p2p` hands the ties to igraph, undirected for communities, and its `network_summary` takes igraph's degree,
betweenness and PageRank as they come. Its closeness (within a component) and eigenvector centrality have no view here.
"""

from __future__ import annotations

import csv
import gzip
import random

import igraph
import numpy as np
import pytest

from pipelines.evidence import Series
from pipelines.metrics.community import modularity
from pipelines.metrics.snapshot import Snapshot
from pipelines.metrics.views import MaterializedViewManager
from tests.support.make import person
from tests.support.snapshots import shared, taken


@pytest.fixture(scope="module")
def edges() -> list[tuple[int, int, float]]:
    with gzip.open(shared("vivainsights", "p2p_data.csv.gz"), "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    number: dict[str, int] = {}
    ends = ("PrimaryCollaborator_PersonId", "SecondaryCollaborator_PersonId")
    return [(*(number.setdefault(r[e], len(number)) for e in ends), float(r["Strong_tie_score"])) for r in rows]  # type: ignore[misc]


@pytest.fixture(scope="module")
def peer(edges: list[tuple[int, int, float]]) -> igraph.Graph:
    return igraph.Graph.TupleList(edges, directed=True, weights=True)


@pytest.fixture(scope="module")
def ours(edges: list[tuple[int, int, float]], peer: igraph.Graph) -> tuple[Snapshot, dict[str, Series]]:
    snapshot = taken(edges, peer.vcount())
    return snapshot, {s.view: s for s in MaterializedViewManager().refresh(snapshot, {})}


def column(ours: tuple[Snapshot, dict[str, Series]], view: str, peer: igraph.Graph) -> list[float]:
    values = dict(zip(ours[0].people, ours[1][view].values.tolist(), strict=True))
    return [values[person(name)] for name in peer.vs["name"]]


def test_the_sample_is_the_one_we_know(peer: igraph.Graph) -> None:
    assert (peer.vcount(), peer.ecount()) == (3_783, 2_014)


def test_degree_and_betweenness_are_the_peers_on_its_undirected_graph(
    ours: tuple[Snapshot, dict[str, Series]], peer: igraph.Graph
) -> None:
    other = peer.as_undirected()
    pairs = (peer.vcount() - 1) * (peer.vcount() - 2) / 2
    assert column(ours, "degree", peer) == other.degree()
    assert column(ours, "betweenness", peer) == pytest.approx(
        [b / pairs for b in other.betweenness()], rel=1e-6, abs=1e-15
    )


def test_pagerank_is_the_peers_with_strengths_for_weights(
    ours: tuple[Snapshot, dict[str, Series]], peer: igraph.Graph
) -> None:
    assert column(ours, "pagerank", peer) == pytest.approx(peer.pagerank(weights="weight"), rel=1e-6)
    assert column(ours, "pagerank", peer) != pytest.approx(peer.pagerank(), rel=1e-6), "its default ignores them"


def test_communities_are_at_least_as_good_as_igraphs(
    ours: tuple[Snapshot, dict[str, Series]], peer: igraph.Graph
) -> None:
    other = peer.as_undirected(combine_edges="sum")
    igraph.set_random_number_generator(random.Random(1))
    found = other.community_leiden("modularity", weights="weight", n_iterations=-1)
    order = {name: i for i, name in enumerate(other.vs["name"])}
    numbers = [order[int(p[2:], 16)] for p in ours[0].people]
    theirs = modularity(ours[0].undirected, np.array(found.membership)[numbers])
    assert ours[1]["org_modularity"].values[0] >= 0.98 * theirs
