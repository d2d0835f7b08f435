"""Graphs for the tests of views: from edges of small numbers to a snapshot, and the published ones as networkx has them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import networkx as nx
import pytest

from pipelines.metrics import snapshot as snapshots
from pipelines.metrics.snapshot import Snapshot
from pipelines.model import Tie
from tests.support.make import NOW_MS, person

START_MS, END_MS = NOW_MS - 84 * 86_400_000, NOW_MS
Edge = tuple[int, int] | tuple[int, int, float]


def tie(actor: int | str, target: int | str, strength: float = 1.0, medium: str = "message", last: int = NOW_MS) -> Tie:
    ends = [person(end) if isinstance(end, int) else end for end in (actor, target)]
    return Tie(ends[0], ends[1], medium, 1, 0, strength, last, last)


def taken(
    edges: Iterable[Edge], people: int | Sequence[int], teams: Mapping[int, str] | None = None, scale: float = 1.0
) -> Snapshot:
    """Edges (actor, target[, strength]) between numbered people, `people` of them or these."""
    who = range(people) if isinstance(people, int) else people
    roster = [(person(i), (teams or {}).get(i)) for i in who]
    return snapshots.take((tie(*edge) for edge in edges), roster, START_MS, END_MS, scale)


def of_networkx(graph: nx.Graph, teams: Mapping[int, str] | None = None) -> Snapshot:
    """Nodes 0..n-1. An undirected tie becomes one arc, from the smaller to the larger."""
    return taken(((a, b, d.get("weight", 1.0)) for a, b, d in graph.edges(data=True)), len(graph), teams)


def shared(*path: str) -> Path:
    """A file of the shared data, or a skip that says how to get it."""
    root = Path(os.environ.get("ORGANISM_SHARED", Path(__file__).parents[3] / "shared"))
    file = root.joinpath("data", *path)
    if not file.exists():
        pytest.skip(f"no {file}; set ORGANISM_SHARED to the folder that holds data/")
    return file


def g14() -> nx.Graph:
    """The weighted graph of 14 people of the ONA handbook."""
    graph: nx.Graph = nx.Graph()
    with shared("small_graphs", "g14_edgelist.csv").open(newline="") as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            graph.add_edge(int(row["from"]) - 1, int(row["to"]) - 1, weight=float(row["weight"]))
    return graph


def published(name: str) -> nx.Graph:
    graphs = {
        "karate": nx.karate_club_graph,
        "kite": nx.krackhardt_kite_graph,
        "florentine": nx.florentine_families_graph,
        "g14": g14,
    }
    return nx.convert_node_labels_to_integers(graphs[name](), ordering="sorted")
