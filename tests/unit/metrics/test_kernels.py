"""The engines beside each other: the same numbers, where f32 or one byte ends, on threads, interrupted, and absent."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats
from pipelines.metrics import centrality, kernels, sampling
from pipelines.metrics.csr import Csr
from pipelines.metrics.kernels import compiled
from pipelines.metrics.spread import processors, spread

SETS = compiled.names()
ENGINES = tuple(dict.fromkeys((kernels.engine(), "numba")))


def organisation(people: int = 600, directed: bool = False, seed: int = 5) -> Csr:
    """Teams of 12 with hubs, several components, weights with many ties of distance."""
    rng = np.random.default_rng(seed)
    src = (people * rng.random(people * 5) ** 2).astype(np.int64)
    dst = np.where(
        rng.random(len(src)) < 0.6, src // 12 * 12 + rng.integers(0, 12, len(src)), rng.integers(0, people, len(src))
    )
    make = Csr.directed if directed else Csr.undirected
    return make(people + 30, src, np.minimum(dst, people - 1), rng.integers(1, 9, len(src)))


METRICS: dict[str, Callable[[Csr, str], Floats]] = {
    "betweenness": lambda graph, engine: centrality.betweenness(graph, engine=engine),
    "weighted": lambda graph, engine: centrality.betweenness(graph, weighted=True, engine=engine),
    "harmonic": lambda graph, engine: centrality.harmonic(graph, engine=engine),
    "eccentricity": lambda graph, engine: centrality.eccentricities(graph, engine=engine).astype(np.float64),
    "kcore": lambda graph, engine: centrality.kcore(graph, engine=engine).astype(np.float64),
    "sampled": lambda graph, engine: sampling.betweenness(graph, epsilon=0.05, engine=engine).values,
}


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_every_instruction_set_gives_the_same_bits_and_numba_the_same_numbers(metric: str, directed: bool) -> None:
    graph = organisation(directed=directed)
    found = {engine: METRICS[metric](graph, engine) for engine in kernels.engines()}
    for engine in SETS:
        assert np.array_equal(found[engine], found[SETS[0]]), engine
    np.testing.assert_allclose(found["numba"], found[kernels.engine()], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("directed", [False, True])
def test_a_graph_whose_rows_are_fetched_ahead_gives_the_same_numbers(directed: bool) -> None:
    """From 40,000 nodes on; the last rows of the array have none ahead of them."""
    graph = organisation(41_000, directed=directed)
    sources = np.r_[0:16, graph.n - 46 : graph.n - 30].astype(np.int32)
    found = {engine: centrality.betweenness(graph, sources=sources, engine=engine) for engine in kernels.engines()}
    for engine in SETS:
        assert np.array_equal(found[engine], found[SETS[0]]), engine
    np.testing.assert_allclose(found["numba"], found[kernels.engine()], rtol=1e-6, atol=1e-9)
    assert found["numba"].max() > 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [126, 127, 128, 129, 300])
def test_paths_longer_than_one_byte_counts_are_exact(n: int, engine: str) -> None:
    path = Csr.undirected(n, range(n - 1), range(1, n))
    want = np.arange(n) * (n - 1 - np.arange(n))
    np.testing.assert_allclose(centrality.betweenness(path, engine=engine), want, rtol=1e-6)
    assert centrality.eccentricities(path, engine=engine).max() == n - 1


def layers(count: int, width: int) -> tuple[Csr, Floats]:
    """Layers in a row, each person tied to all of the next layer: width^(count - 1) paths. And its betweenness, by hand."""
    src, dst = zip(
        *((width * k + i, width * (k + 1) + j) for k in range(count - 1) for i in range(width) for j in range(width)),
        strict=True,
    )
    at = np.arange(count)
    # Pairs on both sides of a layer, and the pairs of each next layer, which meet in this one or in the one beyond.
    beyond = width * at * (count - 1 - at)
    half = (width - 1) / 4
    aside = sum(
        np.where((at + s < 0) | (at + s > count - 1), 0.0, np.where((at + s) % (count - 1) == 0, 2, 1) * half)
        for s in (-1, 1)
    )
    return Csr.undirected(count * width, src, dst), np.repeat(beyond + aside, width).astype(np.float64)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [10, 36, 45, 70])
def test_more_paths_than_a_float_counts_are_exact(count: int, engine: str) -> None:
    graph, want = layers(count, 8)
    np.testing.assert_allclose(centrality.betweenness(graph, engine=engine), want, rtol=1e-6)
    if count >= 45:
        with np.errstate(over="ignore"):
            assert np.isinf(np.float32(8) ** np.float32(count - 1)), "f32 would have done: nothing is tested"


@pytest.mark.parametrize("engine", ENGINES)
def test_more_paths_than_a_double_counts_are_refused_and_not_nan(engine: str) -> None:
    with pytest.raises(InvalidInput, match="more shortest paths"):
        centrality.betweenness(layers(345, 8)[0], sources=np.array([0]), engine=engine)


@pytest.mark.parametrize("weighted", [False, True])
def test_any_number_of_threads_gives_the_same_bits(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centrality, "_CHUNK_ARCS", {False: 1, True: 1})  # many chunks
    graph = organisation()
    alone = centrality.betweenness(graph, weighted=weighted, threads=1)
    for _ in range(3):
        assert np.array_equal(centrality.betweenness(graph, weighted=weighted, threads=4), alone)


def test_progress_is_told_as_a_growing_share_that_ends_at_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centrality, "_CHUNK_ARCS", {False: 1, True: 1})
    told: list[float] = []
    centrality.betweenness(organisation(), threads=2, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 10


def test_ctrl_c_ends_the_work_after_the_chunks_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centrality, "_CHUNK_ARCS", {False: 1, True: 1})
    told: list[float] = []

    def interrupt(share: float) -> None:
        told.append(share)
        if len(told) == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        centrality.betweenness(organisation(), threads=2, progress=interrupt)
    assert len(told) == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("metrics")], "threads are left behind"


def test_work_runs_on_as_many_threads_as_asked_for() -> None:
    seen: set[str] = set()
    together = threading.Barrier(3, timeout=10)

    def work(first: int, last: int) -> int:
        seen.add(threading.current_thread().name)
        together.wait()
        return last - first

    parts: list[int] = []
    spread(7, 3, work, parts.append, threads=3)
    assert (parts, len(seen)) == ([3, 3, 1], 3)
    assert processors() >= 1


@pytest.fixture
def another_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    compiled._library.cache_clear()
    kernels.load.cache_clear()
    yield monkeypatch
    compiled._library.cache_clear()
    kernels.load.cache_clear()


def test_without_a_library_numba_takes_over(another_library: pytest.MonkeyPatch) -> None:
    another_library.setattr(compiled, "LIBRARY", Path("nowhere.so"))
    assert kernels.engines() == ("numba",)
    assert kernels.load().name == kernels.engine() == "numba"


def test_a_library_of_another_version_is_not_used(another_library: pytest.MonkeyPatch) -> None:
    another_library.setattr(compiled, "_INTERFACE", -1)
    assert kernels.engine() == "numba"


def test_an_engine_that_is_not_here_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no graph engine 'gpu' here; there are .*numba"):
        kernels.load("gpu")


def test_the_library_is_built_where_there_is_a_compiler() -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("no C compiler here")
    assert kernels.engine().startswith("c ("), "the library is missing or old: run `pip install --no-deps -e .` again"


@pytest.mark.skipif(not SETS, reason="there is no compiled library here")
def test_numba_is_not_imported_when_the_library_is_there() -> None:
    words = "import sys, pipelines.metrics.centrality as c; c.kernels.load(); print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(not SETS, reason="there is no compiled library here")
def test_a_wrongly_typed_array_never_reaches_the_library() -> None:
    graph = organisation()
    with pytest.raises(Exception, match="argument"):
        kernels.load().betweenness(graph, graph, np.arange(3, dtype=np.int64), np.zeros(graph.n))  # type: ignore[arg-type]
