"""Every convention that graph engines disagree on, against networkx, igraph, exact fractions and values known by hand.

"Trap n" is the number in the list of differences that was found by measuring a dozen engines beside each other.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import igraph
import networkx as nx
import numpy as np
import pytest

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats
from pipelines.metrics import centrality, kernels
from pipelines.metrics.csr import Csr

# One instruction set of C: test_kernels shows that the others give the same bits.
ENGINES = tuple(dict.fromkeys((kernels.engine(), "numba")))
DATA = Path(os.environ.get("ORGANISM_SHARED", Path(__file__).parents[4] / "shared")) / "data"


def values(found: dict[int, float]) -> Floats:
    return np.array([found[node] for node in range(len(found))], dtype=np.float64)


def csr(drawn: nx.Graph) -> Csr:
    rows = [(a, b, data.get("weight", 1)) for a, b, data in drawn.edges(data=True)]
    make = Csr.directed if drawn.is_directed() else Csr.undirected
    return make(len(drawn), *(np.array(rows).reshape(-1, 3).T))


def weighted(drawn: nx.Graph, seed: int = 0, most: int = 12) -> nx.Graph:
    rng = np.random.default_rng(seed)
    for _, _, data in drawn.edges(data=True):
        data["weight"] = int(rng.integers(1, most + 1))
        data["length"], data["exact"] = 1 / data["weight"], Fraction(1, data["weight"])
    return drawn


def drawn_graphs() -> Iterable[tuple[str, nx.Graph]]:
    """Undirected graphs with all that trips an engine: several components, isolates, stars, hardly any nodes."""
    yield "empty", nx.empty_graph(0)
    yield "one", nx.empty_graph(1)
    yield "two", nx.path_graph(2)
    yield "three apart", nx.empty_graph(3)
    yield "star", nx.star_graph(20)
    yield "path", nx.path_graph(9)
    yield "complete", nx.complete_graph(6)
    yield "two cycles and an isolate", nx.disjoint_union_all([nx.cycle_graph(4), nx.cycle_graph(5), nx.empty_graph(1)])
    for seed in range(3):
        yield f"sparse {seed}", nx.gnm_random_graph(40, 35, seed=seed)
        yield f"dense {seed}", nx.gnm_random_graph(33, 160, seed=seed)


GRAPHS = {name: weighted(graph) for name, graph in drawn_graphs()}
DIRECTED = {
    f"{ties} arcs": weighted(nx.gnm_random_graph(30, ties, seed=ties, directed=True)) for ties in (0, 20, 60, 200)
}
any_engine = pytest.mark.parametrize("engine", ENGINES)


# ------------------------------------------------------------------------------------------- all metrics


@any_engine
def test_betweenness_is_that_of_networkx(engine: str) -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        for normalized in (False, True):
            want = values(nx.betweenness_centrality(drawn, normalized=normalized))
            found = centrality.betweenness(csr(drawn), normalized=normalized, engine=engine)
            np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-12, err_msg=name)


@any_engine
def test_weighted_betweenness_is_that_of_exact_fractions(engine: str) -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        want = values(nx.betweenness_centrality(drawn, weight="exact", normalized=False))
        found = centrality.betweenness(csr(drawn), weighted=True, engine=engine)
        np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12, err_msg=name)


@any_engine
def test_harmonic_closeness_is_that_of_networkx(engine: str) -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        want = values(nx.harmonic_centrality(drawn))
        np.testing.assert_allclose(centrality.harmonic(csr(drawn), engine=engine), want, rtol=1e-12, err_msg=name)


@any_engine
def test_eccentricity_is_the_longest_of_the_shortest_paths_that_exist(engine: str) -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        want = [max(nx.single_source_shortest_path_length(drawn, node).values()) for node in range(len(drawn))]
        assert centrality.eccentricities(csr(drawn), engine=engine).tolist() == want, name


@any_engine
def test_clustering_is_that_of_networkx(engine: str) -> None:
    for name, drawn in GRAPHS.items():
        want = values(nx.clustering(drawn))
        np.testing.assert_allclose(centrality.clustering(csr(drawn), engine=engine), want, rtol=1e-12, err_msg=name)


@any_engine
def test_constraint_is_that_of_networkx_and_nan_for_who_has_no_ties(engine: str) -> None:
    """Trap 19: an isolate is NaN, in constraint and effective size, and nothing else is."""
    for name, drawn in GRAPHS.items():
        want = values(nx.constraint(drawn, weight="weight") if drawn else {})
        np.testing.assert_allclose(centrality.constraint(csr(drawn), engine=engine), want, rtol=1e-12, err_msg=name)


@any_engine
def test_effective_size_is_that_of_networkx_and_nan_for_who_has_no_ties(engine: str) -> None:
    for name, drawn in GRAPHS.items():
        want = values(nx.effective_size(drawn) if drawn else {})
        np.testing.assert_allclose(centrality.effective_size(csr(drawn), engine=engine), want, rtol=1e-12, err_msg=name)


@any_engine
def test_core_numbers_are_those_of_networkx(engine: str) -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        assert centrality.kcore(csr(drawn), engine=engine).tolist() == values(nx.core_number(drawn)).tolist(), name


def test_pagerank_is_that_of_networkx() -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        want = values(nx.pagerank(drawn, tol=1e-14, max_iter=1_000))
        np.testing.assert_allclose(centrality.pagerank(csr(drawn)), want, rtol=1e-8, atol=1e-10, err_msg=name)


# ------------------------------------------------------------------------------------------- the traps


@any_engine
def test_trap_1_a_distance_is_one_over_the_weight(engine: str) -> None:
    """From 0 to 2 straight on a weak tie, or over 1 on two strong ones: who takes the weight for a length goes straight."""
    graph = Csr.undirected(3, [0, 1, 0], [1, 2, 2], [4.0, 4.0, 1.0])
    assert centrality.betweenness(graph, weighted=True, engine=engine).tolist() == [0.0, 1.0, 0.0]
    naive = nx.betweenness_centrality(weighted_triangle(), weight="weight", normalized=False)
    assert values(naive).tolist() == [0.0, 0.0, 0.0]


def weighted_triangle() -> nx.Graph:
    triangle = nx.Graph()
    triangle.add_weighted_edges_from([(0, 1, 4.0), (1, 2, 4.0), (0, 2, 1.0)])
    return triangle


@any_engine
@pytest.mark.parametrize("seed", range(4))
def test_trap_2_no_tie_of_one_over_weights_is_lost_to_rounding(seed: int, engine: str) -> None:
    """Paths like 1/3 + 1/6 and 1/2 are one length; floats do not say so. networkx is the control that gets them wrong."""
    drawn = weighted(nx.gnm_random_graph(45, 160, seed=seed), seed)
    exact = values(nx.betweenness_centrality(drawn, weight="exact", normalized=False))
    found = centrality.betweenness(csr(drawn), weighted=True, engine=engine)
    naive = values(nx.betweenness_centrality(drawn, weight="length", normalized=False))
    assert int((np.abs(found - exact) > 1e-9).sum()) == 0
    assert int((np.abs(naive - exact) > 1e-9).sum()) > 5, "the naive control is right: there are no ties here"


@any_engine
def test_trap_3_an_undirected_pair_counts_once(engine: str) -> None:
    star = csr(nx.star_graph(49))
    assert centrality.betweenness(star, engine=engine)[0] == 49 * 48 / 2
    assert centrality.betweenness(star, normalized=True, engine=engine)[0] == pytest.approx(1, rel=1e-12)
    both_ways = csr(nx.star_graph(49).to_directed())
    assert centrality.betweenness(both_ways, engine=engine)[0] == 49 * 48


@any_engine
def test_trap_5_closeness_is_over_incoming_distances(engine: str) -> None:
    line = nx.DiGraph([(0, 1), (1, 2)])
    found = centrality.harmonic(csr(line), engine=engine)
    assert found.tolist() == [0.0, 1.0, 1.5]
    graph = igraph.Graph(n=3, edges=list(line.edges()), directed=True)
    assert (np.array(graph.harmonic_centrality(mode="in", normalized=False))).tolist() == found.tolist()
    assert (np.array(graph.harmonic_centrality(mode="out", normalized=False))).tolist() == [1.5, 1.0, 0.0]


@any_engine
def test_trap_6_disconnected_people_add_nothing_to_closeness_in_any_engine(engine: str) -> None:
    drawn = nx.disjoint_union_all([nx.path_graph(3), nx.complete_graph(4), nx.empty_graph(2)])
    found = centrality.harmonic(csr(drawn), engine=engine)
    peer = igraph.Graph(n=len(drawn), edges=list(drawn.edges())).harmonic_centrality(normalized=False)
    np.testing.assert_allclose(found, np.nan_to_num(np.array(peer, dtype=np.float64)))
    assert found[-1] == 0
    closeness = igraph.Graph(n=len(drawn), edges=list(drawn.edges())).closeness()
    assert not np.allclose(np.nan_to_num(closeness), values(nx.closeness_centrality(drawn))), "plain closeness differs"


@any_engine
def test_trap_7_weighted_clustering_is_onnelas_and_not_barrats(engine: str) -> None:
    drawn = weighted(nx.gnm_random_graph(30, 140, seed=1))
    found = centrality.clustering(csr(drawn), weighted=True, engine=engine)
    np.testing.assert_allclose(found, values(nx.clustering(drawn, weight="weight")), rtol=1e-12)
    barrat = peer(drawn).transitivity_local_undirected(mode="zero", weights="weight")
    assert not np.allclose(found, barrat, rtol=0.05)


@any_engine
def test_trap_8_clustering_below_two_contacts_is_zero(engine: str) -> None:
    drawn = nx.path_graph(4)
    assert centrality.clustering(csr(drawn), engine=engine).tolist() == [0.0] * 4
    assert np.isnan(peer(drawn).transitivity_local_undirected()[0]), "igraph's default"
    assert peer(drawn).transitivity_local_undirected(mode="zero") == [0.0] * 4


def peer(drawn: nx.Graph) -> igraph.Graph:
    graph = igraph.Graph(n=len(drawn), edges=list(drawn.edges()), directed=drawn.is_directed())
    graph.es["weight"] = [data.get("weight", 1) for _, _, data in drawn.edges(data=True)]
    return graph


def test_trap_9_pagerank_uses_weights_and_spreads_what_dangles() -> None:
    drawn = weighted(nx.gnm_random_graph(40, 60, seed=4, directed=True))
    assert min(degree for _, degree in drawn.out_degree()) == 0, "nobody dangles"
    found = centrality.pagerank(csr(drawn))
    np.testing.assert_allclose(found, peer(drawn).pagerank(weights="weight"), atol=1e-9)
    assert not np.allclose(found, peer(drawn).pagerank(), atol=1e-4), "igraph ignores weights unless they are named"
    assert found.sum() == pytest.approx(1, abs=1e-12)
    loose = values(nx.pagerank(drawn))
    assert np.abs(loose - found).max() > 1e-8, "networkx's default tolerance is good enough here"


@any_engine
def test_trap_10_a_mutual_tie_counts_twice_in_a_directed_core(engine: str) -> None:
    mutual, single = nx.complete_graph(4).to_directed(), nx.DiGraph(nx.complete_graph(4).edges())
    assert centrality.kcore(csr(mutual), engine=engine).tolist() == [6] * 4
    assert centrality.kcore(csr(single), engine=engine).tolist() == [3] * 4
    for drawn in (mutual, single):
        assert centrality.kcore(csr(drawn), engine=engine).tolist() == peer(drawn).coreness(mode="all")


@any_engine
def test_trap_11_self_loops_and_parallel_edges_change_no_metric(engine: str) -> None:
    drawn = weighted(nx.gnm_random_graph(25, 70, seed=2))
    plain = csr(drawn)
    a, b, w = np.array([(a, b, data["weight"]) for a, b, data in drawn.edges(data=True)]).T
    loops = np.arange(25)
    twice = Csr.undirected(25, [*a, *b, *loops], [*b, *a, *loops], [*(w / 4), *(w * 3 / 4), *(loops + 1)])
    for metric in METRICS:
        np.testing.assert_array_equal(metric(twice, engine), metric(plain, engine))
    with pytest.raises(nx.NetworkXNotImplemented):
        nx.core_number(nx.Graph([(0, 1), (1, 1)]))


METRICS: tuple[Callable[[Csr, str], Floats], ...] = (
    lambda graph, engine: centrality.betweenness(graph, engine=engine),
    lambda graph, engine: centrality.betweenness(graph, weighted=True, engine=engine),
    lambda graph, engine: centrality.harmonic(graph, engine=engine),
    lambda graph, engine: centrality.clustering(graph, engine=engine),
    lambda graph, engine: centrality.clustering(graph, weighted=True, engine=engine),
    lambda graph, engine: centrality.effective_size(graph, engine=engine),
    lambda graph, engine: centrality.constraint(graph, engine=engine),
    lambda graph, engine: centrality.kcore(graph, engine=engine).astype(np.float64),
    lambda graph, _: centrality.pagerank(graph),
)


@any_engine
def test_trap_13_a_cycle_on_which_easygraph_is_wrong(engine: str) -> None:
    """Lengths .3 .4 .5 2.0: both long ways round go through two people, so that the sum is 2 and not 3.5."""
    lengths = (0.3, 0.4, 0.5, 2.0)
    graph = Csr.undirected(4, [0, 1, 2, 3], [1, 2, 3, 0], [1 / length for length in lengths])
    assert centrality.betweenness(graph, weighted=True, engine=engine).tolist() == [0.0, 2.0, 2.0, 0.0]


@any_engine
def test_trap_16_parts_over_disjoint_sources_add_up_to_the_whole(engine: str) -> None:
    for name, drawn in (GRAPHS | DIRECTED).items():
        graph = csr(drawn)
        for by_weight in (False, True):
            whole = centrality.betweenness(graph, weighted=by_weight, engine=engine)
            parts = [
                centrality.betweenness(graph, weighted=by_weight, sources=np.arange(first, graph.n, 3), engine=engine)
                for first in range(3)
            ]
            np.testing.assert_allclose(sum(parts, np.zeros(graph.n)), whole, rtol=1e-6, atol=1e-12, err_msg=name)


@any_engine
def test_trap_17_the_ends_of_a_path_are_not_between(engine: str) -> None:
    assert centrality.betweenness(csr(nx.path_graph(2)), engine=engine).tolist() == [0.0, 0.0]
    assert centrality.betweenness(csr(nx.path_graph(4)), engine=engine).tolist() == [0.0, 2.0, 2.0, 0.0]


def test_trap_18_weighted_unweighted_and_directed_are_three_metrics() -> None:
    drawn = weighted(nx.gnm_random_graph(40, 200, seed=3, directed=True))
    graph = csr(drawn)
    found = [
        centrality.betweenness(graph, normalized=True),
        centrality.betweenness(graph, normalized=True, weighted=True),
        centrality.betweenness(graph.as_undirected(), normalized=True),
    ]
    assert all(np.abs(a - b).max() > 0.01 for i, a in enumerate(found) for b in found[:i])


@any_engine
def test_directed_constraint_is_that_of_the_undirected_view(engine: str) -> None:
    drawn = weighted(nx.gnm_random_graph(30, 150, seed=5, directed=True))
    want = values(nx.constraint(drawn, weight="weight"))
    np.testing.assert_allclose(centrality.constraint(csr(drawn).as_undirected(), engine=engine), want, rtol=1e-12)


@pytest.mark.parametrize("metric", [centrality.clustering, centrality.effective_size, centrality.constraint])
def test_a_metric_of_mutual_ties_refuses_a_directed_graph(metric: Callable[[Csr], Floats]) -> None:
    with pytest.raises(InvalidInput, match="as_undirected"):
        metric(Csr.directed(2, [0], [1]))


def test_weights_too_far_apart_to_tell_ties_are_refused() -> None:
    with pytest.raises(InvalidInput, match="nine orders"):
        centrality.betweenness(Csr.undirected(3, [0, 1], [1, 2], [1.0, 2e9]), weighted=True)
    assert centrality.betweenness(Csr.undirected(3, [0, 1], [1, 2], [1.0, 1e9]), weighted=True)[1] == 1


def test_pagerank_that_does_not_settle_says_so() -> None:
    with pytest.raises(InvalidInput, match="3 rounds"):
        centrality.pagerank(csr(nx.gnm_random_graph(30, 60, seed=1, directed=True)), most_rounds=3)


# ------------------------------------------------------------------------------------------- known graphs


def small(name: str) -> nx.Graph:
    """A small graph of the literature, its nodes numbered as they come; the names are in the attribute `name`."""
    path = DATA / "small_graphs" / f"{name}.csv"
    if not path.exists():
        pytest.skip("the small graphs are not here; put the shared folder beside the repository")
    drawn = nx.Graph()
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines, skipinitialspace=True):
            drawn.add_edge(row["from"], row["to"], weight=float(row.get("weight") or 1))
    return drawn


@any_engine
@pytest.mark.parametrize("name", ["karate", "krackhardt_kite", "florentine_families", "g14_edgelist"])
def test_a_graph_of_the_literature_has_the_values_of_networkx(name: str, engine: str) -> None:
    drawn = nx.convert_node_labels_to_integers(small(name))
    for _, _, data in drawn.edges(data=True):
        data["exact"] = 1 / Fraction(data["weight"])
    graph = csr(drawn)
    for found, want in (
        (centrality.betweenness(graph, engine=engine), nx.betweenness_centrality(drawn, normalized=False)),
        (
            centrality.betweenness(graph, weighted=True, normalized=True, engine=engine),
            nx.betweenness_centrality(drawn, weight="exact"),
        ),
        (centrality.harmonic(graph, engine=engine), nx.harmonic_centrality(drawn)),
        (centrality.clustering(graph, weighted=True, engine=engine), nx.clustering(drawn, weight="weight")),
        (centrality.constraint(graph, engine=engine), nx.constraint(drawn, weight="weight")),
        (centrality.effective_size(graph, engine=engine), nx.effective_size(drawn)),
        (centrality.pagerank(graph), nx.pagerank(drawn, tol=1e-14, max_iter=1_000)),
        (centrality.kcore(graph, engine=engine), nx.core_number(drawn)),
    ):
        np.testing.assert_allclose(found, values(want), rtol=1e-6, atol=1e-10)


@any_engine
@pytest.mark.parametrize(
    ("name", "person", "betweenness", "harmonic"),
    [
        ("krackhardt_kite", "7", 14.0, 3 + 6 / 2),
        ("krackhardt_kite", "5", 25 / 3, None),
        ("krackhardt_kite", "3", 11 / 3, None),
        ("florentine_families", "Medici", 47.5, None),
        ("florentine_families", "Guadagni", 23 + 1 / 6, None),
        ("florentine_families", "Pazzi", 0.0, None),
        ("karate", "Mr Hi", 231 + 1 / 14, None),
        ("karate", "John A", 160 + 11 / 20 + 1 / 900 + 1 / 2100, None),
    ],
)
def test_values_that_are_known_by_hand_or_from_the_book(
    name: str, person: str, betweenness: float, harmonic: float | None, engine: str
) -> None:
    """Krackhardt (1990): Heather, 7, is between; Padgett & Ansell (1993): the Medici; Zachary (1977): the instructor."""
    drawn = small(name)
    graph, node = csr(nx.convert_node_labels_to_integers(drawn)), list(drawn).index(person)
    assert centrality.betweenness(graph, engine=engine)[node] == pytest.approx(betweenness, rel=1e-4)
    if harmonic is not None:
        assert centrality.harmonic(graph, engine=engine)[node] == pytest.approx(harmonic, rel=1e-9)


def mail() -> Csr:
    path = DATA / "manufacturing_email" / "communication.csv.gz"
    if not path.exists():
        pytest.skip("the manufacturing e-mail is not here; put the shared folder beside the repository")
    with gzip.open(path, "rt") as lines:
        rows = list(csv.reader(lines, delimiter=";"))[1:]
    names = {name: number for number, name in enumerate(sorted({end for row in rows for end in row[:2]}))}
    return Csr.undirected(len(names), [names[row[0]] for row in rows], [names[row[1]] for row in rows])


def test_nine_months_of_company_mail_have_the_published_shape() -> None:
    graph = mail()
    assert (graph.n, graph.m) == (167, 3_250)
    assert round(2 * graph.m / (graph.n * (graph.n - 1)), 5) == 0.23447
    degrees = graph.degrees()
    assert round(float(np.corrcoef(degrees[graph.sources()], degrees[graph.indices])[0, 1]), 5) == -0.29518
    for engine in ENGINES:
        assert round(float(centrality.clustering(graph, engine=engine).mean()), 5) == 0.59186
        steps = centrality.eccentricities(graph, engine=engine)
        assert (steps.min(), steps.max()) == (3, 5)
