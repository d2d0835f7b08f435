"""The loops that numpy cannot say: compiled C where the install built it, numba otherwise, both under the same tests.

C comes in one library with three instruction sets, chosen when it is loaded; all three give the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr, Index
from pipelines.metrics.kernels import compiled


class Kernels(Protocol):
    """One engine. Every function adds to `total` or returns new arrays; all may run in several threads at once.

    `into` is `graph.reverse()`. Lengths stand beside the indices of their graph. MemoryError when there is none left.
    """

    name: str
    slower: int  #: roughly how many times slower than the best engine, for chunks that take as long

    def betweenness(self, graph: Csr, into: Csr, sources: Index, total: Floats) -> None:
        """total[v] += dependency of each source on v, ordered pairs; distinct sources."""

    def betweenness_weighted(
        self, graph: Csr, length: Floats, into: Csr, into_length: Floats, sources: Index, total: Floats
    ) -> None:
        """The same over the shortest sums of lengths; ties within a relative 1e-12."""

    def harmonic(self, into: Csr, first: int, last: int, total: Floats) -> Index:
        """total[v] += sum of 1/d(s, v) over sources first <= s < last. Returns the eccentricity of each."""

    def triangles(self, graph: Csr, weights: Floats) -> tuple[Floats, Floats]:
        """Triangles through each node, and the sum of the cube roots of their products of weights. Undirected."""

    def constraint(self, graph: Csr, weights: Floats) -> Floats:
        """Burt's constraint; NaN for a node without ties. Undirected."""

    def core(self, graph: Csr) -> Index:
        """Core numbers. Undirected, but a neighbour may stand in a row twice."""

    def sample_paths(self, graph: Csr, into: Csr, seed: int, first: int, last: int) -> Ints:
        """How many of the random shortest paths number first <= i < last run through each node; at least two nodes."""

    def shortest_arcs(self, graph: Csr, length: Floats) -> Index:
        """Positions of the arcs that no way over one other node undercuts: all others are on no shortest path."""


def engines() -> tuple[str, ...]:
    """What can run here, the best first: "c (avx512)", "c (avx2)", "c (portable)", "numba"."""
    return (*compiled.names(), "numba")


def engine() -> str:
    """The engine that is used when none is named."""
    return engines()[0]


@cache
def load(name: str | None = None) -> Kernels:
    """The kernels of an engine, the best by default. numba is imported, and compiles, only when it is asked for.

    Raises:
        InvalidInput: there is no such engine here.
    """
    chosen = name or engine()
    if chosen not in engines():
        raise InvalidInput(f"no graph engine {chosen!r} here; there are {', '.join(engines())}")
    if chosen != "numba":
        return compiled.Compiled(chosen)
    from pipelines.metrics.kernels.fallback import Numba

    return Numba()
