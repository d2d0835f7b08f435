"""The graph as arrays: compressed sparse rows, made once and read by every metric.

What a metric must never meet is removed here: self-loops, parallel edges, ties without weight (engines differ on all three).
Number the people in the order of `team_order`, so that teammates are neighbours in memory; results come back in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats, Ints

Index = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Csr:
    """A graph of nodes 0..n-1. The arrays are read-only; rows are sorted by neighbour.

    indptr: int64, n + 1. indices: int32, the out-neighbours of node v at indptr[v]:indptr[v + 1]; an undirected edge stands
    in both rows. weights: float64 beside `indices`, strengths (never lengths), > 0, exactly symmetric when undirected; None
    when the graph has no weights.
    """

    indptr: Ints
    indices: Index
    weights: Floats | None
    is_directed: bool

    def __post_init__(self) -> None:
        for array in (self.indptr, self.indices, self.weights):
            if array is not None:
                array.flags.writeable = False

    @classmethod
    def undirected(cls, n: int, src: ArrayLike, dst: ArrayLike, w: ArrayLike | None = None) -> Csr:
        """A graph of unordered pairs: a -> b and b -> a are one edge, whose weight is the sum.

        Raises:
            InvalidInput: a node outside 0..n-1, columns of different length, or a weight that is not finite.
        """
        matrix = _matrix(n, *_ends(n, src, dst, w), fold=True)
        return cls._of(matrix + matrix.T, weighted=w is not None, is_directed=False)

    @classmethod
    def directed(cls, n: int, src: ArrayLike, dst: ArrayLike, w: ArrayLike | None = None) -> Csr:
        """A graph of arcs src -> dst; parallel arcs are summed. Raises as `undirected`."""
        return cls._of(_matrix(n, *_ends(n, src, dst, w)), weighted=w is not None, is_directed=True)

    @classmethod
    def _of(cls, matrix: sparse.csr_array, *, weighted: bool, is_directed: bool) -> Csr:
        matrix.sort_indices()
        weights = matrix.data.astype(np.float64) if weighted else None
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), weights, is_directed)

    @property
    def n(self) -> int:
        """Nodes, those without a tie included."""
        return len(self.indptr) - 1

    @property
    def m(self) -> int:
        """Edges: pairs of an undirected graph, arcs of a directed one."""
        return len(self.indices) if self.is_directed else len(self.indices) // 2

    def degrees(self) -> Ints:
        """Neighbours of each node (out-neighbours when directed): int64, n."""
        return np.diff(self.indptr)

    def strengths(self) -> Floats:
        """Sum of weights of each node's ties (outgoing when directed): float64, n. The degree where there are no weights."""
        if self.weights is None:
            return self.degrees().astype(np.float64)
        return np.bincount(self.sources(), weights=self.weights, minlength=self.n).astype(np.float64)

    def sources(self) -> Index:
        """The row of each entry of `indices`: int32, so that (sources, indices, weights) are the arcs."""
        return np.repeat(np.arange(self.n, dtype=np.int32), self.degrees())

    def reverse(self) -> Csr:
        """The graph with all arcs turned round: rows are in-neighbours. An undirected graph is its own reverse."""
        if not self.is_directed:
            return self
        return Csr.directed(self.n, self.indices, self.sources(), self.weights)

    def as_undirected(self) -> Csr:
        """The undirected view: weights of both directions summed."""
        return Csr.undirected(self.n, self.sources(), self.indices, self.weights) if self.is_directed else self


def team_order(teams: Sequence[str | None]) -> Ints:
    """Positions that sort people by team, stable inside a team, people without a team last: int64.

    `people = [people[i] for i in team_order(teams)]`, then number them 0..n-1. Betweenness is about a tenth faster so.
    """
    return np.array(sorted(range(len(teams)), key=lambda i: (teams[i] is None, teams[i] or "")), dtype=np.int64)


def _ends(n: int, src: ArrayLike, dst: ArrayLike, w: ArrayLike | None) -> tuple[Ints, Ints, Floats]:
    """Checked columns without self-loops and without ties of no weight."""
    a, b = np.asarray(src, dtype=np.int64).ravel(), np.asarray(dst, dtype=np.int64).ravel()
    weight = np.ones(len(a)) if w is None else np.asarray(w, dtype=np.float64).ravel()
    if not len(a) == len(b) == len(weight):
        raise InvalidInput(f"the columns of a graph differ in length: {len(a)}, {len(b)}, {len(weight)}")
    if len(a) and not (min(a.min(), b.min()) >= 0 and max(a.max(), b.max()) < n):
        raise InvalidInput(f"a graph of {n} nodes has ties to nodes outside 0..{n - 1}")
    if not np.isfinite(weight).all():
        raise InvalidInput("a graph has weights that are not finite numbers")
    # Below the smallest normal number 1/w is not finite: such a tie is as good as none.
    keep = (a != b) & (weight >= np.finfo(np.float64).tiny)
    return a[keep], b[keep], weight[keep]


def _matrix(n: int, a: Ints, b: Ints, w: Floats, fold: bool = False) -> sparse.csr_array:
    """Parallel edges summed. Folded to a < b first, because a sum of floats depends on the order: else w[a, b] != w[b, a]."""
    rows, columns = (np.minimum(a, b), np.maximum(a, b)) if fold else (a, b)
    matrix = sparse.coo_array((w, (rows, columns)), shape=(n, n)).tocsr()
    matrix.sum_duplicates()
    return matrix
