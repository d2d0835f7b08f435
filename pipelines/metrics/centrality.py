"""Who is in between, who is near, who is embedded: centralities of a `Csr`, with one convention each, named and tested.

Weights are strengths, distance is 1/weight. Undirected betweenness counts unordered pairs. Closeness is harmonic and, in a
directed graph, over incoming distances. Weighted clustering is Onnela's, not Barrat's. A person without ties has no
constraint and no effective size: NaN. All as networkx, an oracle of the tests together with igraph.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats, Ints
from pipelines.metrics import kernels
from pipelines.metrics.csr import Csr, Index
from pipelines.metrics.spread import Progress, spread

#: Exact betweenness up to so many people; above, `sampling`.
EXACT_PEOPLE = 150_000
#: Longest to shortest distance that a tie tolerance of 1e-12 can still tell apart along a path.
_WIDEST_RANGE = 1e9
# Arcs times batches in a chunk of work: at most half a second on one core, which is how fast Ctrl-C is heard. Smaller chunks
# cost: every one starts with memory that is not in the cache.
_CHUNK_ARCS = {False: 24_000_000, True: 8_000_000}
_HARMONIC_ARCS = 4_000_000


def betweenness(
    graph: Csr,
    *,
    weighted: bool = False,
    normalized: bool = False,
    sources: Ints | None = None,
    threads: int | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Floats:
    """Shortest paths between two others through each node, exact: float64, n (Freeman 1977; Brandes 2001).

    Args:
        weighted: over distances 1/weight, ties within a relative 1e-12; else every tie is one step.
        normalized: a share of the pairs of other people, (n-1)(n-2) directed and half of that undirected; else counts.
        sources: only these sources' part, unscaled: parts over disjoint sources add up to the whole. Distinct.
        progress: told the share of sources that is done; what it raises ends the work.

    Raises:
        InvalidInput: weights that span more than nine orders of magnitude, or no such engine.
    """
    chosen = np.arange(graph.n, dtype=np.int32) if sources is None else np.asarray(sources, dtype=np.int32)
    kernel = kernels.load(engine)
    part, lanes = (_weighted if weighted else _plain)(graph, chosen, kernel)
    chunk = lanes * max(1, _CHUNK_ARCS[weighted] // (kernel.slower * max(1, len(graph.indices))))
    return _sum(graph.n, len(chosen), chunk, part, threads, progress) * _scale(graph, normalized)


Part = Callable[[int, int], Floats]


def _plain(graph: Csr, sources: Index, engine: kernels.Kernels) -> tuple[Part, int]:
    into = graph.reverse()

    def part(first: int, last: int) -> Floats:
        total = np.zeros(graph.n)
        engine.betweenness(graph, into, sources[first:last], total)
        return total

    return part, 16


def _weighted(graph: Csr, sources: Index, engine: kernels.Kernels) -> tuple[Part, int]:
    ways = _shortest(graph, engine)
    into = ways.reverse()
    length, into_length = 1 / _weights(ways), 1 / _weights(into)

    def part(first: int, last: int) -> Floats:
        total = np.zeros(graph.n)
        engine.betweenness_weighted(ways, length, into, into_length, sources[first:last], total)
        return total

    return part, 8


def _shortest(graph: Csr, engine: kernels.Kernels) -> Csr:
    """The graph without the arcs that no shortest path can use: the same distances and the same ties, a quarter faster."""
    weights = _weights(graph)
    if len(weights) and weights.max() > _WIDEST_RANGE * weights.min():
        raise InvalidInput(
            "weights span more than nine orders of magnitude: distances cannot be told from ties any more"
        )
    kept = engine.shortest_arcs(graph, 1 / weights)
    indptr = np.searchsorted(kept, graph.indptr).astype(np.int64)
    return Csr(indptr, graph.indices[kept], weights[kept], graph.is_directed)


def _sum(n: int, count: int, chunk: int, part: Part, threads: int | None, progress: Progress | None) -> Floats:
    total = np.zeros(n)

    def add(values: Floats) -> None:
        np.add(total, values, out=total)

    spread(count, chunk, part, add, threads, progress)
    if not np.isfinite(total).all():
        raise InvalidInput("more shortest paths than a double can count; this is no graph of people")
    return total


def _scale(graph: Csr, normalized: bool) -> float:
    """From ordered pairs to what was asked for."""
    if normalized:
        return 1 / ((graph.n - 1) * (graph.n - 2)) if graph.n > 2 else 1.0
    return 1.0 if graph.is_directed else 0.5


def _weights(graph: Csr) -> Floats:
    return np.ones(len(graph.indices)) if graph.weights is None else graph.weights


def harmonic(
    graph: Csr, *, threads: int | None = None, engine: str | None = None, progress: Progress | None = None
) -> Floats:
    """Harmonic closeness (Rochat 2009): sum of 1/steps over everybody who reaches the person; float64, n, not normalised.

    Works on disconnected graphs as it stands: who does not reach the person adds nothing.
    """
    return _reach(graph, threads, engine, progress)[0]


def eccentricities(
    graph: Csr, *, threads: int | None = None, engine: str | None = None, progress: Progress | None = None
) -> Ints:
    """Steps to the farthest person that can be reached from each: int64, n; 0 for who reaches nobody."""
    return _reach(graph, threads, engine, progress)[1]


def _reach(graph: Csr, threads: int | None, engine: str | None, progress: Progress | None) -> tuple[Floats, Ints]:
    kernel, into = kernels.load(engine), graph.reverse()
    nearness, farthest = np.zeros(graph.n), np.zeros(graph.n, dtype=np.int64)

    def part(first: int, last: int) -> tuple[int, Floats, Index]:
        total = np.zeros(graph.n)
        return first, total, kernel.harmonic(into, first, last, total)

    def add(values: tuple[int, Floats, Index]) -> None:
        first, total, steps = values
        np.add(nearness, total, out=nearness)
        farthest[first : first + len(steps)] = steps

    chunk = 512 * max(1, _HARMONIC_ARCS // max(1, len(graph.indices)))
    spread(graph.n, chunk, part, add, threads, progress)
    return nearness, farthest


def pagerank(graph: Csr, *, damping: float = 0.85, tolerance: float = 1e-10, most_rounds: int = 500) -> Floats:
    """PageRank over strengths (all 1 without weights), float64, n, sums to 1. Dangling people spread evenly, as networkx.

    tolerance: L1 change of the last round; networkx stops at n * 1e-6, which is too early to rank by.

    Raises:
        InvalidInput: not converged after `most_rounds` rounds.
    """
    if graph.n == 0:
        return np.zeros(0)
    strengths = graph.strengths()
    per_strength = np.divide(1.0, strengths, out=np.zeros(graph.n), where=strengths > 0)
    shares = _weights(graph) * np.repeat(per_strength, graph.degrees())
    flow = sparse.csr_array((shares, graph.indices, graph.indptr), shape=(graph.n, graph.n)).T.tocsr()
    dangling = strengths == 0
    rank: Floats = np.full(graph.n, 1 / graph.n)
    for _ in range(most_rounds):
        last = rank
        rank = damping * (flow @ last + last[dangling].sum() / graph.n) + (1 - damping) / graph.n
        if np.abs(rank - last).sum() < tolerance:
            return np.asarray(rank / rank.sum())
    raise InvalidInput(f"PageRank has not settled to {tolerance} in {most_rounds} rounds")


def clustering(graph: Csr, *, weighted: bool = False, engine: str | None = None) -> Floats:
    """Share of the pairs of contacts who are in contact (Watts & Strogatz 1998): float64, n; 0 below two contacts.

    Weighted (Onnela et al. 2005): each such triangle counts the cube root of the product of its three weights, each
    divided by the greatest weight of the graph.
    """
    weights = _undirected_weights(graph)
    triangles, intensity = kernels.load(engine).triangles(graph, weights / weights.max(initial=0.0))
    degrees = graph.degrees().astype(np.float64)
    return _ratio(2 * (intensity if weighted else triangles), degrees * (degrees - 1))


def effective_size(graph: Csr, *, engine: str | None = None) -> Floats:
    """Contacts less what they share among themselves (Burt 1992), without weights: float64, n, NaN without ties.

    degree - 2 * triangles / degree (Borgatti 1997).
    """
    triangles, _ = kernels.load(engine).triangles(graph, np.ones(len(_undirected_weights(graph))))
    degrees = graph.degrees().astype(np.float64)
    return np.where(degrees > 0, degrees - _ratio(2 * triangles, degrees), np.nan)


def constraint(graph: Csr, *, engine: str | None = None) -> Floats:
    """Burt's constraint (1992) over strengths: float64, n, NaN without ties. Low is rich in structural holes."""
    return kernels.load(engine).constraint(graph, _undirected_weights(graph))


def kcore(graph: Csr, *, engine: str | None = None) -> Ints:
    """The greatest k such that the person is in a group where everybody has k ties inside: int64, n (Seidman 1983).

    Directed: incoming and outgoing ties both count, a mutual tie twice, as networkx.
    """
    return kernels.load(engine).core(_both_ways(graph)).astype(np.int64)


def _both_ways(graph: Csr) -> Csr:
    """Rows of a directed graph with out- and in-neighbours; who is both stands twice."""
    if not graph.is_directed:
        return graph
    into = graph.reverse()
    rows = np.concatenate([graph.sources(), into.sources()])
    order = np.argsort(rows, kind="stable")
    both: Index = np.concatenate([graph.indices, into.indices])[order]
    return Csr(graph.indptr + into.indptr, both, None, is_directed=True)


def _undirected_weights(graph: Csr) -> Floats:
    if graph.is_directed:
        raise InvalidInput("this metric is defined for undirected graphs here; take graph.as_undirected()")
    return np.ones(len(graph.indices)) if graph.weights is None else graph.weights


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)
