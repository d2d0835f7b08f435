"""Graph metrics beside igraph, networkx and networkit, in one run: `python -m benchmarks.metrics`.

Seconds are CPU seconds of this process on one thread. Engines take turns inside every repeat; figures are medians. Who
would take hours gets some sources and is extrapolated (marked *): betweenness and harmonic closeness are sums over sources.
Limit A is the faster of two plain breadth-first searches in C, once per source: what only looking at every tie costs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import graph_peers
from benchmarks.graph_peers import Share, few, spaced
from benchmarks.organisation_graph import Organisation, organisation, pairs
from pipelines.metrics import centrality, kernels, sampling
from pipelines.metrics.csr import Csr, team_order
from pipelines.metrics.snapshot import Snapshot, take, with_acts
from pipelines.metrics.views import VIEWS, MaterializedViewManager
from pipelines.model import Tie

OURS = "ours"
_DAY = 86_400_000


@dataclass
class Line:
    """One engine at one metric: CPU seconds for everybody, from `sources` of them. error: greatest difference / value."""

    people: int
    metric: str
    engine: str
    seconds: float
    sources: int
    error: float | None = None


# ------------------------------------------------------------------------------------------------ graphs


def graph_of(made: Organisation) -> Csr:
    """The undirected graph, people numbered by team as the pipeline does it."""
    number = np.argsort(team_order([f"{team:06d}" for team in made.team]))
    a, b, w = pairs(made)
    return Csr.undirected(made.n, number[a], number[b], w)


def snapshot_of(made: Organisation) -> Snapshot:
    """The same organisation as the views read it, with 50 acts a person in twelve weeks."""
    rng = np.random.default_rng(2)
    names, end = [f"p_{i:06d}" for i in range(made.n)], 100 * _DAY
    columns = (made.src.tolist(), made.dst.tolist(), made.weight.tolist())
    ties = (Tie(names[a], names[b], "message", int(w), 0, w, 50 * _DAY, end) for a, b, w in zip(*columns, strict=True))
    people = ((name, f"t{team}") for name, team in zip(names, made.team.tolist(), strict=True))
    snapshot = take(ties, people, end - 84 * _DAY, end, 1.0)
    actor = np.repeat(np.arange(made.n), 50)
    return with_acts(snapshot, [(names, actor, rng.integers(end - 84 * _DAY, end, len(actor)))])


# ------------------------------------------------------------------------------------------------ measuring


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def in_turns(shares: dict[str, Share], n: int, repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Median CPU seconds of each engine for all n sources, and what each gave last."""
    spent: dict[str, list[float]] = {name: [] for name in shares}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, share in shares.items():
            seconds, results[name] = cpu(share.work)
            spent[name].append(seconds / len(share.sources) * n)
    return {name: statistics.median(s) for name, s in spent.items()}, results


def against_peers(
    graph: Csr, metric: str, ours: Callable[..., Any], shares: dict[str, Share], repeats: int
) -> list[Line]:
    """All engines in turns; then each peer's values against ours over the same sources, which is not timed."""
    seconds, results = in_turns(shares, graph.n, repeats)
    lines = []
    for name, share in shares.items():
        line = Line(graph.n, metric, name, seconds[name], len(share.sources))
        if share.values is not None:
            theirs, own = share.values(results[name]), ours(sources=share.sources)
            line.error = float(np.abs(theirs - own).max() / theirs.max())
        lines.append(line)
    return lines


def betweenness(graph: Csr, beside: list[Any], weighted: bool, repeats: int) -> list[Line]:
    n = graph.n
    count = few(n, 2_000, 1_600, 64) if weighted else few(n, 2_000, 10_000, 16_384)  # fixed costs are extrapolated too
    metric = "betweenness weighted" if weighted else "betweenness"
    ours = partial(centrality.betweenness, graph, weighted=weighted, threads=1)
    shares = {OURS: Share(spaced(n, count), partial(ours, sources=spaced(n, count)))}
    for engine in kernels.engines()[1:]:
        some = spaced(n, min(count, few(n, 2_000, 640, 64)))
        partial(ours, engine=engine)(sources=some[:1])  # numba compiles at first use
        shares[f"ours, {engine}"] = Share(some, partial(ours, sources=some, engine=engine))
    shares |= {peer.name: peer.weighted() if weighted else peer.betweenness() for peer in beside}
    return against_peers(graph, metric, ours, shares, repeats)


def harmonic(graph: Csr, beside: list[Any], repeats: int) -> list[Line]:
    shares = {OURS: Share(np.arange(graph.n), partial(centrality.harmonic, graph, threads=1))}
    shares |= {peer.name: share for peer in beside if (share := peer.harmonic()) is not None}
    return against_peers(graph, "harmonic closeness", centrality.harmonic, shares, repeats)


def rest(graph: Csr, beside: list[Any], repeats: int) -> list[Line]:
    """The metrics of one pass: whole, whoever has them."""
    ours: dict[str, Callable[[], Any]] = {
        "clustering": partial(centrality.clustering, graph),
        "clustering weighted": partial(centrality.clustering, graph, weighted=True),
        "constraint": partial(centrality.constraint, graph),
        "effective size": partial(centrality.effective_size, graph),
        "PageRank": partial(centrality.pagerank, graph),
        "k-core": partial(centrality.kcore, graph),
    }
    everybody, lines = np.arange(graph.n), []
    theirs = {peer.name: peer.rest() for peer in beside}
    for metric, work in ours.items():
        shares = {OURS: Share(everybody, work)}
        shares |= {name: Share(everybody, works[metric]) for name, works in theirs.items() if metric in works}
        lines += against_peers(graph, metric, work, shares, repeats)
    return lines


# ------------------------------------------------------------------------------------------------ the limit


def limit(graph: Csr, repeats: int) -> Line | None:
    """Limit A; None without a C compiler."""
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        print("no C compiler: Limit A is not measured")
        return None
    with tempfile.TemporaryDirectory() as folder:
        target, flags = Path(folder) / "bfs.so", ("-O3", "-march=native", "-fPIC", "-shared")
        subprocess.run([compiler, *flags, str(Path(__file__).with_name("bfs.c")), "-o", str(target)], check=True)
        library = ctypes.CDLL(str(target))
    sources = spaced(graph.n, few(graph.n, 2_000, 10_000, 256)).astype(np.int32)
    shares = {
        name: Share(sources, partial(_search, library, name, graph, sources)) for name in ("top_down", "both_ways")
    }
    seconds, reached = in_turns(shares, graph.n, repeats)
    assert len(set(reached.values())) == 1, "the two searches differ"
    return Line(graph.n, "betweenness", "Limit A", min(seconds.values()), len(sources))


def _search(library: ctypes.CDLL, name: str, graph: Csr, sources: np.ndarray[Any, np.dtype[np.int32]]) -> int:
    function = getattr(library, f"bfs_{name}")
    function.restype = ctypes.c_int64
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (graph.indptr, graph.indices, sources)]
    return int(function(ctypes.c_int64(graph.n), *pointers[:2], ctypes.c_int64(len(sources)), pointers[2]))


# ------------------------------------------------------------------------------------------------ the whole set, and samples


def whole_set(made: Organisation, weighted: bool) -> list[Line]:
    """Every view of the pipeline, all sources, measured from end to end."""
    snapshot = snapshot_of(made)
    views = [view for view in VIEWS if weighted or view.name != "betweenness_weighted"]
    begun, spent = {}, {}

    def watch(view: str, share: float) -> None:
        begun.setdefault(view, time.process_time())
        if share == 1.0:
            spent[view] = time.process_time() - begun[view]

    seconds, _ = cpu(lambda: MaterializedViewManager(views).refresh(snapshot, {}, watch))
    name = "whole set" if weighted else "whole set but weighted betweenness"
    slowest = sorted(spent.items(), key=lambda item: -item[1])[:8]
    return [
        Line(made.n, name, OURS, seconds, made.n),
        *(Line(made.n, name, f"view {v}", s, made.n) for v, s in slowest),
    ]


def sampled(graph: Csr, epsilon: float) -> Line:
    """The sampler that takes over above 150,000 people, here where the exact values are known up to 10,000."""
    seconds, found = cpu(lambda: sampling.betweenness(graph, epsilon=epsilon, threads=1))
    error = None
    if graph.n <= 20_000:
        error = float(np.abs(found.values - centrality.betweenness(graph, normalized=True)).max())
    return Line(
        graph.n, f"sampled betweenness, epsilon {epsilon} (error: absolute)", OURS, seconds, found.samples, error
    )


# ------------------------------------------------------------------------------------------------ command


def campaign(n: int, repeats: int, whole: bool) -> list[Line]:
    made = organisation(n)
    graph = graph_of(made)
    beside = graph_peers.peers(graph)
    lines = betweenness(graph, beside, False, repeats)
    lines += [line] if (line := limit(graph, repeats)) else []
    show(lines)
    for more in (
        lambda: betweenness(graph, beside, True, repeats),
        lambda: harmonic(graph, beside, repeats),
        lambda: rest(graph, beside, repeats),
        lambda: [sampled(graph, 0.01)],
        lambda: whole_set(made, weighted=n <= 20_000) if whole else [],
    ):
        part = more()
        show(part)
        lines += part
    return lines


def show(lines: list[Line]) -> None:
    for metric in dict.fromkeys(line.metric for line in lines if line.engine == OURS):
        group = [line for line in lines if line.metric == metric]
        ours = next(line.seconds for line in group if line.engine == OURS)
        print(f"\n{group[0].people:,} people, {metric}")
        for line in (line for line in group if not line.engine.startswith("view ")):
            mark = "*" if line.sources < line.people else " "
            beside = f"x{line.seconds / ours:.2f} of ours"
            error = "" if line.error is None else f"   error {line.error:.1e}"
            print(f"  {line.engine:20s} {line.seconds:12.4f} s{mark} {beside:>18s}   {line.sources:,} sources{error}")
    for line in lines:
        if line.engine.startswith("view "):
            print(f"    {line.engine:30s} {line.seconds:10.4f} s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-whole-set", action="store_true", help="skip the whole set (minutes at 100,000 people)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(
        f"{machine}; {kernels.engine()}; CPU seconds for all sources, one thread; * extrapolated from the sources named"
    )
    lines = [line for n in options.sizes for line in campaign(n, options.repeats, not options.no_whole_set)]
    if options.json:
        figures = {"machine": machine, "engine": kernels.engine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        options.json.write_text(json.dumps(figures | {"lines": [asdict(line) for line in lines]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
