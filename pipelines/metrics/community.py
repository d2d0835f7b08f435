"""Communities: groups that talk more among themselves than chance would have it, and how well the graph falls into them."""

from __future__ import annotations

import graspologic_native
import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr

#: One pass stops some percent short of what the method reaches; from the fifth on there is next to nothing to gain.
_PASSES = 5
_SEED = 20_260_302


def leiden(graph: Csr, order: Ints | None = None) -> Ints:
    """The Leiden partition by weighted modularity (Traag, Waltman, van Eck 2019): int64, n, one label a node.

    Deterministic. Labels count from 0 in the order of each community's first member; a node without ties is alone.

    Args:
        order: nodes in an order that does not depend on how they are numbered (by pseudonym). The method's result depends
            on the numbering; given an order, it does not.
    """
    order = np.arange(graph.n, dtype=np.int64) if order is None else order
    if graph.m == 0:  # the engine refuses an empty graph
        return _by_first_member(np.arange(graph.n, dtype=np.int64), order)
    turned = _renumbered(graph, order)
    _, found = graspologic_native.leiden_csr(
        turned.indptr, turned.indices, _weights(turned), turned.n, iterations=_PASSES, seed=_SEED
    )
    labels = np.empty(graph.n, dtype=np.int64)
    labels[order[np.fromiter(found.keys(), np.int64, graph.n)]] = np.fromiter(found.values(), np.int64, graph.n)
    return _by_first_member(labels, order)


def modularity(graph: Csr, labels: Ints) -> float:
    """Weighted modularity Q of a partition of an undirected graph (Newman 2004), resolution 1; NaN without ties."""
    if graph.m == 0:
        return float("nan")
    weights, source = _weights(graph), labels[graph.sources()]
    total = float(weights.sum())
    within = float(weights[source == labels[graph.indices]].sum()) / total
    shares = np.bincount(source, weights=weights) / total
    return within - float(shares @ shares)


def _renumbered(graph: Csr, order: Ints) -> Csr:
    rank = np.empty(graph.n, dtype=np.int64)
    rank[order] = np.arange(graph.n)
    once = graph.sources() < graph.indices
    return Csr.undirected(graph.n, rank[graph.sources()[once]], rank[graph.indices[once]], _weights(graph)[once])


def _weights(graph: Csr) -> Floats:
    return np.ones(len(graph.indices)) if graph.weights is None else graph.weights


def _by_first_member(labels: Ints, order: Ints) -> Ints:
    """The same partition with labels that say nothing but who is together."""
    _, first, inverse = np.unique(labels[order], return_index=True, return_inverse=True)
    named = np.empty(len(first), dtype=np.int64)
    named[np.argsort(first)] = np.arange(len(first))
    result = np.empty(len(labels), dtype=np.int64)
    result[order] = named[inverse]
    return result
