"""The graph value: what it drops, what it adds up, and what it promises about its arrays."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import InvalidInput
from pipelines.metrics.csr import Csr, team_order


def arcs(graph: Csr) -> dict[tuple[int, int], float]:
    weights = np.ones(len(graph.indices)) if graph.weights is None else graph.weights
    return {(int(a), int(b)): float(w) for a, b, w in zip(graph.sources(), graph.indices, weights, strict=True)}


def test_self_loops_are_dropped_because_engines_count_them_differently() -> None:
    graph = Csr.undirected(3, [0, 1, 1], [0, 1, 2], [5, 5, 2])
    assert (graph.m, arcs(graph)) == (1, {(1, 2): 2.0, (2, 1): 2.0})


def test_parallel_edges_and_both_directions_are_summed_into_one_edge() -> None:
    graph = Csr.undirected(3, [0, 1, 0], [1, 0, 1], [1, 2, 4])
    assert (graph.m, arcs(graph)) == (1, {(0, 1): 7.0, (1, 0): 7.0})


def test_a_directed_graph_keeps_its_two_directions_apart() -> None:
    graph = Csr.directed(3, [0, 1, 0], [1, 0, 1], [1, 2, 4])
    assert (graph.m, arcs(graph)) == (2, {(0, 1): 5.0, (1, 0): 2.0})


def test_ties_without_weight_are_dropped_not_turned_into_a_distance_of_one_over_zero() -> None:
    graph = Csr.undirected(4, [0, 1, 2, 0], [1, 2, 3, 2], [0.0, -1.0, 1e-320, 3.0])
    assert arcs(graph) == {(0, 2): 3.0, (2, 0): 3.0}


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_finite_number_is_refused(weight: float) -> None:
    with pytest.raises(InvalidInput, match="not finite"):
        Csr.undirected(2, [0], [1], [weight])


@pytest.mark.parametrize(("src", "dst"), [([0], [2]), ([-1], [0])])
def test_a_tie_to_nobody_is_refused(src: list[int], dst: list[int]) -> None:
    with pytest.raises(InvalidInput, match=r"outside 0\.\.1"):
        Csr.directed(2, src, dst)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidInput, match="differ in length"):
        Csr.directed(2, [0], [1, 1])


def test_weights_are_exactly_symmetric_whatever_the_order_of_the_sums() -> None:
    rng = np.random.default_rng(7)
    a, b, w = rng.integers(0, 30, 5_000), rng.integers(0, 30, 5_000), rng.random(5_000)
    found = arcs(Csr.undirected(30, a, b, w))
    assert all(found[x, y] == found[y, x] for x, y in found)
    # The naive way: each direction summed by itself, then the two added.
    sums = {(x, y): sum(w[(a == x) & (b == y)]) + sum(w[(a == y) & (b == x)]) for x, y in list(found)[:200] if x < y}
    assert any(found[x, y] != s for (x, y), s in sums.items()), "floats do not depend on order here: the test is idle"


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_a_graph_without_ties_has_its_nodes(n: int) -> None:
    graph = Csr.undirected(n, [], [])
    assert (graph.n, graph.m, graph.degrees().tolist(), graph.strengths().tolist()) == (n, 0, [0] * n, [0.0] * n)


def test_arrays_have_the_promised_types_and_cannot_be_written() -> None:
    graph = Csr.undirected(3, [2, 0], [0, 1], [1, 1])
    assert (graph.indptr.dtype, graph.indices.dtype, graph.degrees().dtype) == (np.int64, np.int32, np.int64)
    assert graph.indices.tolist() == [1, 2, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        graph.indices[0] = 2


def test_a_graph_without_weights_has_degrees_for_strengths() -> None:
    graph = Csr.undirected(3, [0, 0], [1, 2])
    assert graph.weights is None
    assert graph.strengths().tolist() == [2.0, 1.0, 1.0]
    assert Csr.directed(3, [0, 0], [1, 2], [2, 3]).strengths().tolist() == [5.0, 0.0, 0.0]


def test_reverse_turns_every_arc_and_undirected_sums_both_ways() -> None:
    graph = Csr.directed(3, [0, 1, 1], [1, 0, 2], [1, 2, 4])
    assert arcs(graph.reverse()) == {(1, 0): 1.0, (0, 1): 2.0, (2, 1): 4.0}
    assert arcs(graph.as_undirected()) == {(0, 1): 3.0, (1, 0): 3.0, (1, 2): 4.0, (2, 1): 4.0}
    assert graph.as_undirected().reverse().as_undirected().m == 2


def test_people_are_sorted_by_team_and_those_without_one_come_last() -> None:
    teams = ["b", None, "a", "b", "", "a"]
    assert [teams[i] for i in team_order(teams)] == ["", "a", "a", "b", "b", None]
    assert team_order(teams).tolist() == [4, 2, 5, 0, 3, 1]
    assert team_order([]).tolist() == []
