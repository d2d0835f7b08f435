"""Who holds the graph together: the people without whom some others could not reach each other any more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from pipelines.evidence import Floats, Ints
from pipelines.metrics.cohesion import components, share
from pipelines.metrics.csr import Csr

Flags = NDArray[np.bool_]


def bridges(graph: Csr) -> tuple[Flags, Floats]:
    """For each node: is it an articulation point, and what is lost without it.

    Lost: the share of the others in its component who are no longer in that component's largest piece once the node is
    gone: 0 for a node that is no articulation point, NaN for one without ties. Hopcroft and Tarjan 1973 (low points).
    """
    if graph.m == 0:
        return np.zeros(graph.n, dtype=np.bool_), np.full(graph.n, np.nan)
    component = components(graph)
    others = np.bincount(component)[component] - 1
    parent, behind, cut_off = _search(graph, component)
    child = np.flatnonzero(cut_off)
    pieces = np.bincount(parent[child], minlength=graph.n)
    largest = np.zeros(graph.n, dtype=np.int64)
    np.maximum.at(largest, parent[child], behind[child])
    rest = others - np.bincount(parent[child], weights=behind[child], minlength=graph.n)  # 0 for the root of a search
    points: Flags = pieces >= np.where(parent < 0, 2, 1)
    lost = share(np.where(points, others - np.maximum(rest, largest), 0.0), others)
    return points, lost


def _search(graph: Csr, component: Ints) -> tuple[Ints, Ints, Flags]:
    """A depth-first search of every component.

    Returns:
        parent of each node (-1 for the first of a component), how many nodes stand at and behind it in the search tree, and
        whether all of these lose contact without the parent.
    """
    order, parent = _depth_first(graph, component)
    position = np.empty(graph.n, dtype=np.int64)
    position[order] = np.arange(graph.n)
    low, behind = _lowest_neighbour(graph, parent, position).tolist(), [1] * graph.n
    above = parent.tolist()
    for node in reversed(order.tolist()):  # children before parents; a loop, because each step needs the one before
        up = above[node]
        if up >= 0:
            behind[up] += behind[node]
            low[up] = min(low[up], low[node])
    cut_off: Flags = (parent >= 0) & (np.array(low) >= position[np.maximum(parent, 0)])
    return parent, np.array(behind, dtype=np.int64), cut_off


def _depth_first(graph: Csr, component: Ints) -> tuple[Ints, Ints]:
    """Nodes in the order of the search, and their parents: one search, from a node that is tied to each component."""
    _, first = np.unique(component, return_index=True)
    source = np.concatenate([graph.sources(), np.full(len(first), graph.n)])
    target = np.concatenate([graph.indices, first])
    shape = (graph.n + 1, graph.n + 1)
    matrix = sparse.csr_array((np.ones(len(source), dtype=np.int8), (source, target)), shape=shape)
    order, parent = csgraph.depth_first_order(matrix, graph.n, directed=True, return_predecessors=True)
    parent = parent[:-1].astype(np.int64)
    return order[1:].astype(np.int64), np.where(parent == graph.n, -1, parent)


def _lowest_neighbour(graph: Csr, parent: Ints, position: Ints) -> Ints:
    """The earliest of each node and its neighbours in the order of the search, the parent left out."""
    seen = np.where(graph.indices == parent[graph.sources()], graph.n, position[graph.indices])
    lowest = position.copy()
    rows = np.flatnonzero(graph.degrees())
    lowest[rows] = np.minimum(position[rows], np.minimum.reduceat(seen, graph.indptr[rows]))
    return lowest
