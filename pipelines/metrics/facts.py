"""What several views of one snapshot share: each is computed when it is first asked for, and once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics import bridges, centrality, cohesion, community, teams
from pipelines.metrics.csr import Csr
from pipelines.metrics.snapshot import Snapshot
from pipelines.metrics.teams import Pairs, Teams

_WIDEST = 5e8
#: Radius and diameter cost as much as closeness, a search from everybody: a second up to here, and it grows with the square.
_EXACT_PATHS = 20_000


class Facts:
    """A snapshot with sums over it.

    progress: told the share that is done by a long computation; what it raises ends it. Set by who computes.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.progress: Callable[[float], None] = lambda _share: None
        self.n = snapshot.n
        self.graph = snapshot.undirected
        self.arcs = snapshot.directed

    @cached_property
    def communities(self) -> Ints:
        return community.leiden(self.graph, self.snapshot.by_id())

    @cached_property
    def components(self) -> Ints:
        return cohesion.components(self.graph)

    @cached_property
    def clustering(self) -> Floats:
        return centrality.clustering(self.graph)

    @cached_property
    def bridges(self) -> tuple[cohesion.Flags, Floats]:
        return bridges.bridges(self.graph)

    @cached_property
    def teams(self) -> Teams:
        graph = self.snapshot
        return teams.teams(self.arcs, self.graph, graph.team, len(graph.teams))

    @cached_property
    def pairs(self) -> Pairs:
        return teams.pairs(self.graph, self.snapshot.team, len(self.snapshot.teams))

    @cached_property
    def pair_names(self) -> tuple[str, ...]:
        names = self.snapshot.teams
        return tuple(f"{names[a]}|{names[b]}" for a, b in zip(self.pairs.one, self.pairs.other, strict=True))

    @cached_property
    def pair_sizes(self) -> Ints:
        """The smaller team of each pair: that is who could be recognised."""
        people = self.teams.people
        smaller: Ints = np.minimum(people[self.pairs.one], people[self.pairs.other])
        return smaller

    @cached_property
    def eccentricities(self) -> Ints:
        """Of the people in the largest component; empty when nobody has a tie, or the graph is too large for two numbers."""
        if self.n > _EXACT_PATHS:
            return np.empty(0, dtype=np.int64)
        largest = (self.components == 0) & (self.graph.degrees() > 0)
        reached: Ints = centrality.eccentricities(self.graph, progress=self.progress)[largest]
        return reached

    @cached_property
    def lengths(self) -> Csr:
        """The graph for paths along strong ties: no tie counts as more than 5e8 times as long as the shortest.

        Beyond that range path lengths lose their last digits; so weak a tie is on a path only where there is no other.
        """
        weights = self.graph.weights
        assert weights is not None, "a snapshot has weights"
        floor = weights.max(initial=0.0) / _WIDEST
        return Csr(self.graph.indptr, self.graph.indices, np.maximum(weights, floor), is_directed=False)
