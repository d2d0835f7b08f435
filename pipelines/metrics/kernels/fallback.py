"""The same kernels in numba, for a machine without a C compiler: about ten times slower, as fast as graph libraries."""

from __future__ import annotations

import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr, Index
from pipelines.metrics.kernels import numba_local, numba_sampling, numba_steps, numba_weighted
from pipelines.metrics.kernels.compiled import TIE


class Numba:
    """`Kernels` in numba."""

    name = "numba"
    slower = 10

    def betweenness(self, graph: Csr, into: Csr, sources: Index, total: Floats) -> None:
        numba_steps.betweenness(graph.indptr, graph.indices, into.indptr, into.indices, sources, total)

    def betweenness_weighted(
        self, graph: Csr, length: Floats, into: Csr, into_length: Floats, sources: Index, total: Floats
    ) -> None:
        arrays = (graph.indptr, graph.indices, length, into.indptr, into.indices, into_length)
        numba_weighted.betweenness_weighted(*arrays, sources, TIE, total)

    def harmonic(self, into: Csr, first: int, last: int, total: Floats) -> Index:
        farthest = np.zeros(last - first, dtype=np.int32)
        numba_steps.harmonic(into.indptr, into.indices, first, last, total, farthest)
        return farthest

    def triangles(self, graph: Csr, weights: Floats) -> tuple[Floats, Floats]:
        count, intensity = np.zeros(graph.n), np.zeros(graph.n)
        numba_local.triangles(graph.indptr, graph.indices, weights, count, intensity)
        return count, intensity

    def constraint(self, graph: Csr, weights: Floats) -> Floats:
        constraint, strengths = np.empty(graph.n), graph.strengths()
        per_strength = np.divide(1.0, strengths, out=np.zeros(graph.n), where=strengths > 0)
        # a copy: numba compiles once more for an array that is read-only
        numba_local.constraint(graph.indptr, graph.indices, weights.copy(), per_strength, constraint)
        return constraint

    def core(self, graph: Csr) -> Index:
        core = graph.degrees().astype(np.int32)
        numba_local.core(graph.indptr, graph.indices, np.argsort(core, kind="stable"), core)
        return core

    def sample_paths(self, graph: Csr, into: Csr, seed: int, first: int, last: int) -> Ints:
        count = np.zeros(graph.n, dtype=np.int64)
        numba_sampling.sample_paths(graph.indptr, graph.indices, into.indptr, into.indices, seed, first, last, count)
        return count

    def shortest_arcs(self, graph: Csr, length: Floats) -> Index:
        keep = np.empty(len(length), dtype=np.uint8)
        numba_local.shortest_arcs(graph.indptr, graph.indices, length, TIE, keep)
        return np.flatnonzero(keep).astype(np.int32)
