"""Betweenness of organisations above `centrality.EXACT_PEOPLE`: sampled shortest paths with a stated error.

The promise (Riondato & Kornaropoulos 2014): with probability 1 - delta every estimate is within epsilon of the exact value,
all at once. What the estimates do not show is who comes before whom when two lie closer than 2 epsilon: `groups`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats, Ints
from pipelines.metrics import kernels
from pipelines.metrics.csr import Csr
from pipelines.metrics.spread import Progress, spread

_CHUNK = 2_000  # paths: about a tenth of a second at 150,000 people


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """values: share of the pairs of other people, float64, n. epsilon, delta: the promise. samples: paths drawn."""

    values: Floats
    epsilon: float
    delta: float
    samples: int

    def groups(self) -> Ints:
        """Group of each node, 0 the highest. Between groups the order is sure (probability 1 - delta), inside one unknown.

        A new group begins where the next lower estimate is more than 2 epsilon away. One group for all: nothing can be said.
        """
        return groups(self.values, self.epsilon)


def betweenness(
    graph: Csr,
    *,
    epsilon: float,
    delta: float = 0.1,
    seed: int = 1,
    threads: int | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Sampled:
    """Normalised betweenness over steps, of a directed or undirected graph. The same seed gives the same numbers.

    An epsilon as large as the greatest betweenness ranks nobody: a tenth of it is a sensible choice, 0.001 a usual one.

    Raises:
        InvalidInput: epsilon or delta outside (0, 1).
    """
    if not (0 < epsilon < 1 and 0 < delta < 1):
        raise InvalidInput(f"epsilon and delta are probabilities: {epsilon} and {delta} are not between 0 and 1")
    longest = longest_path(graph, engine)
    if longest < 3:
        return Sampled(np.zeros(graph.n), epsilon, delta, 0)
    per_other = graph.n / (graph.n - 2)  # the theorem counts pairs with the person itself among them
    samples = sample_size(epsilon / per_other, delta, longest)
    counts = _count(graph, samples, seed, threads, engine, progress)
    return Sampled(counts / samples * per_other, epsilon, delta, samples)


def sample_size(epsilon: float, delta: float, longest: int) -> int:
    """Paths for an error of epsilon with probability 1 - delta; longest: people on the longest shortest path, >= 3."""
    return math.ceil(0.5 / epsilon**2 * (math.floor(math.log2(longest - 2)) + 1 + math.log(1 / delta)))


def longest_path(graph: Csr, engine: str | None = None) -> int:
    """An upper bound of the people on any shortest path. Undirected: twice the steps from one person, in each component."""
    size, label = _components(graph)
    bound = 0
    for component in np.argsort(-size, kind="stable"):
        if size[component] <= bound:
            break
        bound = max(bound, int(size[component]) if graph.is_directed else _bound(graph, label == component, engine))
    return bound


def groups(values: Floats, epsilon: float) -> Ints:
    """As `Sampled.groups`: int64 of the length of `values`."""
    order = np.argsort(-values, kind="stable")
    new = np.diff(values[order], prepend=values[order][:1]) < -2 * epsilon
    result = np.empty(len(values), dtype=np.int64)
    result[order] = np.cumsum(new)
    return result


def _count(
    graph: Csr, samples: int, seed: int, threads: int | None, engine: str | None, progress: Progress | None
) -> Ints:
    kernel, into = kernels.load(engine), graph.reverse()
    total = np.zeros(graph.n, dtype=np.int64)

    def add(counts: Ints) -> None:
        np.add(total, counts, out=total)

    spread(
        samples, _CHUNK, lambda first, last: kernel.sample_paths(graph, into, seed, first, last), add, threads, progress
    )
    return total


def _components(graph: Csr) -> tuple[Ints, Ints]:
    """Sizes of the (weakly) connected components, and the component of each node."""
    ones = np.ones(len(graph.indices), dtype=np.int8)
    matrix = sparse.csr_array((ones, graph.indices, graph.indptr), shape=(graph.n, graph.n))
    _, label = csgraph.connected_components(matrix, directed=graph.is_directed, connection="weak")
    return np.bincount(label).astype(np.int64), label.astype(np.int64)


def _bound(graph: Csr, inside: np.ndarray[tuple[int], np.dtype[np.bool_]], engine: str | None) -> int:
    middle = int(np.argmax(np.where(inside, graph.degrees(), -1)))
    steps = int(kernels.load(engine).harmonic(graph, middle, middle + 1, np.zeros(graph.n))[0])
    return min(int(inside.sum()), 2 * steps + 1)
