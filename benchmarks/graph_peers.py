"""The graph libraries beside which our metrics are measured; igraph (GPL) and networkit are not shipped.

Each peer is given the same graph before the clock starts, runs on one thread, and takes as many sources as it can in about a
second; betweenness and harmonic closeness are sums over sources, so that the rest is extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr

Work = Callable[[], Any]


@dataclass(frozen=True)
class Share:
    """What one call does: sources of how many; and what comes out, if it can be compared: our partial sum is the same."""

    sources: Ints
    work: Work
    values: Callable[[Any], Floats] | None = None


def spaced(n: int, count: int, run: int = 64) -> Ints:
    """count sources in runs of consecutive people, evenly spread: a run shares its frontiers, as in a whole computation."""
    if count >= n:
        return np.arange(n, dtype=np.int64)
    starts = np.linspace(0, n - run, max(1, count // run)).astype(np.int64) if count >= run else np.array([n // 2])
    return (starts[:, None] + np.arange(min(run, count))).ravel()


def few(n: int, small: int, middle: int, large: int) -> int:
    """How many sources: all of up to 2,000 people, then fewer."""
    return n if n <= small else middle if n <= 20_000 else large


class Igraph:
    """igraph, C: exact, with a tolerance for ties, on a subset of sources."""

    name = "igraph"

    def __init__(self, graph: Csr) -> None:
        import igraph

        self.n, rows = graph.n, graph.sources()
        once = rows < graph.indices
        assert graph.weights is not None
        self.graph = igraph.Graph(n=graph.n, edges=np.column_stack([rows[once], graph.indices[once]]))
        self.weights = graph.weights[once].tolist()
        self.lengths = (1 / graph.weights[once]).tolist()

    def betweenness(self) -> Share:
        sources = spaced(self.n, few(self.n, 2_000, 640, 192))
        return Share(sources, partial(self.graph.betweenness, sources=sources.tolist()), np.array)

    def weighted(self) -> Share:
        sources = spaced(self.n, few(self.n, 2_000, 192, 16))
        return Share(sources, partial(self.graph.betweenness, sources=sources.tolist(), weights=self.lengths), np.array)

    def harmonic(self) -> Share:
        sources = spaced(self.n, few(self.n, 2_000, 640, 64))
        return Share(sources, partial(self.graph.harmonic_centrality, sources.tolist()))

    def rest(self) -> dict[str, Work]:
        return {
            "clustering": partial(self.graph.transitivity_local_undirected, mode="zero"),
            "constraint": partial(self.graph.constraint, weights=self.weights),
            "PageRank": partial(self.graph.pagerank, weights=self.weights),
            "k-core": self.graph.coreness,
        }


class Networkx:
    """networkx, Python: the reference; ties of weighted paths by exact equality of floats."""

    name = "networkx"

    def __init__(self, graph: Csr) -> None:
        import networkx as nx

        assert graph.weights is not None
        self.nx, self.n = nx, graph.n
        self.graph = nx.Graph()
        self.graph.add_nodes_from(range(graph.n))
        for a, b, w in zip(graph.sources().tolist(), graph.indices.tolist(), graph.weights.tolist(), strict=True):
            if a < b:
                self.graph.add_edge(a, b, weight=w, length=1 / w)

    def betweenness(self) -> Share:
        return self._share(few(self.n, 2_000, 16, 2), None)

    def weighted(self) -> Share:
        return self._share(few(self.n, 0, 100 if self.n <= 2_000 else 6, 1), "length")

    def _share(self, count: int, length: str | None) -> Share:
        k = None if count == self.n else count
        work = partial(self.nx.betweenness_centrality, self.graph, k=k, weight=length, normalized=False, seed=1)
        return Share(np.arange(count), work, (lambda found: np.array(list(found.values()))) if k is None else None)

    def harmonic(self) -> Share:
        sources = spaced(self.n, few(self.n, 2_000, 16, 2), run=16)
        return Share(sources, partial(self.nx.harmonic_centrality, self.graph, nbunch=sources.tolist()))

    def rest(self) -> dict[str, Work]:
        if self.n > 20_000:
            return {}  # a minute together, and known to be slow
        return {
            "clustering": partial(self.nx.clustering, self.graph),
            "clustering weighted": partial(self.nx.clustering, self.graph, weight="weight"),
            "constraint": partial(self.nx.constraint, self.graph, weight="weight"),
            "effective size": partial(self.nx.effective_size, self.graph),
            "PageRank": partial(self.nx.pagerank, self.graph, tol=1e-10 / self.n, max_iter=1_000),
            "k-core": partial(self.nx.core_number, self.graph),
        }


class Networkit:
    """networkit, C++: optional, `pip install networkit` for this measurement. Compared where it takes all sources."""

    name = "networkit"

    def __init__(self, graph: Csr) -> None:
        import networkit

        networkit.setNumberOfThreads(1)
        networkit.setSeed(1, False)
        assert graph.weights is not None
        self.kit, self.n, rows = networkit, graph.n, graph.sources()
        once = rows < graph.indices
        ends = (rows[once].astype(np.uint64), graph.indices[once].astype(np.uint64))
        make = networkit.GraphFromCoo
        self.plain = make(ends, n=graph.n)
        self.lengths = make((1 / graph.weights[once], ends), n=graph.n, weighted=True)
        self.strong = make((graph.weights[once], ends), n=graph.n, weighted=True)

    def betweenness(self) -> Share:
        return self._share(self.plain, few(self.n, 2_000, 256, 16))

    def weighted(self) -> Share:
        return self._share(self.lengths, few(self.n, 2_000, 256, 16))

    def _share(self, graph: Any, count: int) -> Share:
        make = self.kit.centrality
        if count < self.n:
            return Share(np.arange(count), lambda: make.EstimateBetweenness(graph, count, False, False).run())
        # It counts ordered pairs: twice ours.
        return Share(np.arange(count), lambda: make.Betweenness(graph).run(), lambda r: np.array(r.scores()) / 2)

    def harmonic(self) -> Share | None:
        return (
            Share(np.arange(self.n), lambda: self.kit.centrality.HarmonicCloseness(self.plain, False).run())
            if self.n <= 2_000
            else None
        )

    def rest(self) -> dict[str, Work]:
        make = self.kit.centrality
        return {
            "clustering": lambda: make.LocalClusteringCoefficient(self.plain, turbo=True).run(),
            "PageRank": lambda: make.PageRank(self.strong, tol=1e-10).run(),
            "k-core": lambda: make.CoreDecomposition(self.plain).run(),
        }


def peers(graph: Csr) -> list[Any]:
    """Those that are installed."""
    found = []
    for peer in (Igraph, Networkx, Networkit):
        try:
            found.append(peer(graph))
        except ImportError:
            print(f"{peer.name} is not installed: not measured")
    return found
