"""The C library beside this file, by ctypes: typed arrays in, an exception for a bad status out, the GIL released."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr, Index

LIBRARY = Path(__file__).with_name("organism_kernels.so")
#: Raised together with `organism_interface` when a signature changes: an old library beside new code is not used.
_INTERFACE = 1
_SETS = ("c (portable)", "c (avx2)", "c (avx512)")
TIE = 1e-12
_BUCKETS = 1 << 16

_int, _number, _set = ctypes.c_int64, ctypes.c_double, ctypes.c_int
_i64, _i32, _f64, _u8 = (
    np.ctypeslib.ndpointer(t, flags="C_CONTIGUOUS") for t in (np.int64, np.int32, np.float64, np.uint8)
)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "organism_betweenness": (_int, _i64, _i32, _i64, _i32, _int, _i32, _f64, _set),
    "organism_betweenness_weighted": (
        *(_int, _i64, _i32, _f64, _i64, _i32, _f64, _int, _i32),
        *(_number, _int, _number, _f64, _set),
    ),
    "organism_harmonic": (_int, _i64, _i32, _int, _int, _f64, _i32, _set),
    "organism_triangles": (_int, _i64, _i32, _f64, _f64, _f64),
    "organism_constraint": (_int, _i64, _i32, _f64, _f64),
    "organism_core": (_int, _i64, _i32, _i32),
    "organism_sample_paths": (_int, _i64, _i32, _i64, _i32, _int, _int, _int, _i64),
    "organism_shortest_arcs": (_int, _i64, _i32, _f64, _number, _u8),
}


def names() -> tuple[str, ...]:
    """The instruction sets that this library and this processor have, the best first. Empty without a library."""
    library = _library()
    return () if library is None else tuple(reversed(_SETS[: library.organism_isa() + 1]))


@cache
def _library() -> ctypes.CDLL | None:
    """None where the install built none, or one for another version or another machine."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        if library.organism_interface() != _INTERFACE:
            return None
        for name, arguments in _SIGNATURES.items():
            getattr(library, name).argtypes = arguments
    except (OSError, AttributeError):
        return None
    return library


def buckets(length: Floats) -> tuple[float, int]:
    """Width and number (a power of two) of the buckets of a weighted search.

    A sixteenth of the median length was fastest on organisation graphs of 1,000 to 100,000 people; it changes no result.
    """
    width = max(float(np.median(length)) / 16, float(length.max()) / (_BUCKETS - 4))
    return width, 1 << int(length.max() / width + 3).bit_length()


class Compiled:
    """`Kernels` in C, with one instruction set."""

    slower = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self._set = _SETS.index(name)

    def betweenness(self, graph: Csr, into: Csr, sources: Index, total: Floats) -> None:
        _call(
            "organism_betweenness",
            *(graph.n, graph.indptr, graph.indices, into.indptr, into.indices),
            *(len(sources), sources, total, self._set),
        )

    def betweenness_weighted(
        self, graph: Csr, length: Floats, into: Csr, into_length: Floats, sources: Index, total: Floats
    ) -> None:
        if not len(length):
            return
        _call(
            "organism_betweenness_weighted",
            *(graph.n, graph.indptr, graph.indices, length, into.indptr, into.indices, into_length),
            *(len(sources), sources, *buckets(length), TIE, total, self._set),
        )

    def harmonic(self, into: Csr, first: int, last: int, total: Floats) -> Index:
        farthest = np.zeros(last - first, dtype=np.int32)
        _call("organism_harmonic", into.n, into.indptr, into.indices, first, last, total, farthest, self._set)
        return farthest

    def triangles(self, graph: Csr, weights: Floats) -> tuple[Floats, Floats]:
        count, intensity = np.zeros(graph.n), np.zeros(graph.n)
        _call("organism_triangles", graph.n, graph.indptr, graph.indices, weights, count, intensity)
        return count, intensity

    def constraint(self, graph: Csr, weights: Floats) -> Floats:
        constraint = np.empty(graph.n)
        _call("organism_constraint", graph.n, graph.indptr, graph.indices, weights, constraint)
        return constraint

    def core(self, graph: Csr) -> Index:
        core = np.empty(graph.n, dtype=np.int32)
        _call("organism_core", graph.n, graph.indptr, graph.indices, core)
        return core

    def sample_paths(self, graph: Csr, into: Csr, seed: int, first: int, last: int) -> Ints:
        count = np.zeros(graph.n, dtype=np.int64)
        _call(
            "organism_sample_paths",
            *(graph.n, graph.indptr, graph.indices, into.indptr, into.indices, seed, first, last, count),
        )
        return count

    def shortest_arcs(self, graph: Csr, length: Floats) -> Index:
        keep = np.empty(len(length), dtype=np.uint8)
        _call("organism_shortest_arcs", graph.n, graph.indptr, graph.indices, length, TIE, keep)
        return np.flatnonzero(keep).astype(np.int32)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_library(), name)(*arguments) != 0:
        raise MemoryError(f"{name}: no memory for a graph of {arguments[0]} nodes")
