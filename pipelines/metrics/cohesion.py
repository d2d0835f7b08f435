"""How a person's ties are spread, and how the graph hangs together: everything that numpy does in one pass or a few.

Where there is nothing to divide by, the value is NaN and not 0: nobody without ties is "0 % reciprocal".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr

Flags = NDArray[np.bool_]


def share(part: Floats | Ints, whole: Floats | Ints) -> Floats:
    """part / whole, NaN where whole is 0."""
    result = np.full(len(part), np.nan)
    np.divide(part, whole, out=result, where=np.asarray(whole) != 0)
    return result


def mutual(graph: Csr) -> Flags:
    """For each arc of a directed graph, whether there is one the other way; in the order of `indices`."""
    there = graph.sources().astype(np.int64) * graph.n + graph.indices  # ascending: rows and columns are sorted
    back = graph.indices.astype(np.int64) * graph.n + graph.sources()
    at = np.searchsorted(there, back)
    found: Flags = there[np.minimum(at, max(len(there) - 1, 0))] == back
    return found


def reciprocity(graph: Csr) -> Floats:
    """2 x people in both directions / (people turned to + people who turn to them), per node, as networkx; NaN if none."""
    sources, back = graph.sources(), mutual(graph)
    both = np.bincount(sources[back], minlength=graph.n)
    ends = np.bincount(sources, minlength=graph.n) + np.bincount(graph.indices, minlength=graph.n)
    return share(2 * both, ends)


def ei_index(graph: Csr, team: Ints) -> Floats:
    """(E - I) / (E + I) of each node's ties, E outside and I inside its team (Krackhardt and Stern 1988): -1 to 1.

    Ties count, not their strength. A tie with somebody whose team is not known counts on neither side; NaN for people
    whose own team is not known, or without a tie that counts.
    """
    mine, theirs = team[graph.sources()], team[graph.indices]
    known = (mine >= 0) & (theirs >= 0)
    inside = np.bincount(graph.sources()[known & (mine == theirs)], minlength=graph.n)
    outside = np.bincount(graph.sources()[known & (mine != theirs)], minlength=graph.n)
    return share(outside - inside, outside + inside)


def burstiness(gaps: Floats, offsets: Ints) -> Floats:
    """How uneven a person's gaps between acts are: -1 like a clock, 0 like chance, 1 all but one at once.

    Goh and Barabasi 2008, corrected for few events as Kim and Jo 2016 do: with n gaps and their coefficient of variation r
    it is (sqrt(n+1) r - sqrt(n-1)) / ((sqrt(n+1) - 2) r + sqrt(n-1)). Why these roots: r is sqrt(n-1) at the most, and about
    sqrt((n-1)/(n+1)) when the acts fall at random.

    Args:
        gaps: times between one act and the next, any unit; person i's stand at offsets[i]:offsets[i + 1].

    Returns:
        NaN for people with fewer than two gaps, or with all acts at one time.
    """
    n = np.diff(offsets)
    person = np.repeat(np.arange(len(n)), n)
    mean = share(np.bincount(person, weights=gaps, minlength=len(n)), n)
    squared = np.bincount(person, weights=(gaps - mean[person]) ** 2, minlength=len(n))
    variation = share(np.sqrt(share(squared, n)), mean)
    high, low = np.sqrt(n + 1.0), np.sqrt(np.maximum(n - 1.0, 0.0))
    value = share(high * variation - low, (high - 2.0) * variation + low)
    return np.where((n >= 2) & (mean > 0), value, np.nan)


# ------------------------------------------------------------------------------------------------ the whole graph


def components(graph: Csr) -> Ints:
    """The component of each node, numbered by size, largest first (0); int64, n."""
    ones = np.ones(len(graph.indices), dtype=np.int8)
    matrix = sparse.csr_array((ones, graph.indices, graph.indptr), shape=(graph.n, graph.n))
    _, found = csgraph.connected_components(matrix, directed=False)
    size_order = np.argsort(-np.bincount(found, minlength=1), kind="stable")
    rank = np.empty_like(size_order)
    rank[size_order] = np.arange(len(size_order))
    numbered: Ints = rank[found].astype(np.int64)
    return numbered


def assortativity(graph: Csr) -> float:
    """Correlation of the degrees at the two ends of a tie (Newman 2002); NaN when all are alike or there are no ties."""
    degree = graph.degrees().astype(np.float64)
    one, other = degree[graph.sources()], degree[graph.indices]
    if not len(one) or one.min() == one.max():
        return float("nan")
    centred = one - one.mean()  # both ends have the same mean: every tie stands in both directions
    return float(centred @ (other - one.mean()) / (centred @ centred))
