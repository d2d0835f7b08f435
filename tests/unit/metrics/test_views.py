"""The views against networkx, what they say where there is nothing to say, and what is computed again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest

from pipelines.evidence import Series, SubjectKind
from pipelines.metrics import centrality, person_views
from pipelines.metrics import snapshot as snapshots
from pipelines.metrics.snapshot import Part, Snapshot
from pipelines.metrics.view import View
from pipelines.metrics.views import VIEWS, MaterializedViewManager
from tests.support.make import person
from tests.support.snapshots import END_MS, START_MS, of_networkx, published, taken, tie

NAMES = ["karate", "kite", "florentine", "g14"]


def computed(snapshot: Snapshot) -> dict[str, Series]:
    return {s.view: s for s in MaterializedViewManager().refresh(snapshot, {})}


def by_number(series: Series, count: int) -> list[float]:
    """Values by the number of the person."""
    at = dict(zip(series.subjects, series.values.tolist(), strict=True))
    return [at[person(i)] for i in range(count)]


def lengths(graph: nx.Graph, number: type = Fraction) -> nx.Graph:
    """With `length` = 1/weight on every edge: fractions, because networkx compares paths for equality."""
    other = nx.Graph(graph)
    for a, b, d in graph.edges(data=True):
        other.edges[a, b]["length"] = 1 / number(d.get("weight", 1.0))
    return other


#: View of a person -> the same by networkx, on a graph with `weight` and `length` on every edge.
REFERENCES: dict[str, Callable[[nx.Graph], dict[int, float]]] = {
    "degree": lambda g: dict(g.degree()),
    "strength": lambda g: dict(g.degree(weight="weight")),
    "betweenness": nx.betweenness_centrality,
    "betweenness_weighted": lambda g: nx.betweenness_centrality(g, weight="length"),
    "harmonic": lambda g: {v: x / (len(g) - 1) for v, x in nx.harmonic_centrality(g).items()},
    "clustering": nx.clustering,
    "clustering_weighted": lambda g: nx.clustering(g, weight="weight"),
    "constraint": lambda g: nx.constraint(g, weight="weight"),
    "effective_size": nx.effective_size,
    "kcore": nx.core_number,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("view", REFERENCES)
def test_views_of_people_are_those_of_networkx(name: str, view: str) -> None:
    graph = published(name)
    expected = REFERENCES[view](lengths(graph))
    found = by_number(computed(of_networkx(graph))[view], len(graph))
    close = 1e-7 if view == "betweenness" else 1e-12  # paths are counted in single precision
    assert found == pytest.approx([expected[v] for v in range(len(graph))], abs=close)


@pytest.mark.parametrize("name", ["karate", "g14"])
def test_paths_of_equal_length_are_not_lost_to_rounding(name: str) -> None:
    """The control is networkx itself with floats for lengths: 1/2 + 1/3 is not always 1/3 + 1/2 to it."""
    exact, rounded = (
        nx.betweenness_centrality(lengths(published(name), n), weight="length") for n in (Fraction, float)
    )
    found = by_number(computed(of_networkx(published(name)))["betweenness_weighted"], len(exact))
    assert found == pytest.approx([exact[v] for v in range(len(exact))], abs=1e-12)
    assert found != pytest.approx([rounded[v] for v in range(len(exact))], abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_views_of_the_organisation_are_those_of_networkx(name: str) -> None:
    graph = published(name)
    found = {view: s.values[0] for view, s in computed(of_networkx(graph)).items() if s.kind is SubjectKind.ORG}
    largest = graph.subgraph(max(nx.connected_components(graph), key=len))
    assert found["org_people"] == len(graph)
    assert found["org_ties"] == graph.number_of_edges()
    assert found["org_density"] == pytest.approx(nx.density(graph))
    assert found["org_clustering"] == pytest.approx(nx.average_clustering(graph))
    assert found["org_assortativity"] == pytest.approx(nx.degree_assortativity_coefficient(graph))
    assert (found["org_radius"], found["org_diameter"]) == (nx.radius(largest), nx.diameter(largest))
    assert found["org_largest_component"] == pytest.approx(len(largest) / len(graph))


def test_direction_matters_where_it_should() -> None:
    graph = nx.gnp_random_graph(20, 0.15, seed=4, directed=True)
    for i, (a, b) in enumerate(graph.edges):
        graph.edges[a, b]["weight"] = 1.0 + i % 5
    found = computed(taken(((a, b, d["weight"]) for a, b, d in graph.edges(data=True)), 20))
    assert by_number(found["strength_out"], 20) == [graph.out_degree(v, weight="weight") for v in range(20)]
    assert by_number(found["strength_in"], 20) == [graph.in_degree(v, weight="weight") for v in range(20)]
    rank = nx.pagerank(graph, tol=1e-13, weight="weight")
    assert by_number(found["pagerank"], 20) == pytest.approx([rank[v] for v in range(20)], abs=1e-9)
    assert found["org_reciprocity"].values[0] == pytest.approx(nx.overall_reciprocity(graph))


def test_paths_of_an_organisation_that_is_too_large_are_sampled_and_the_weighted_ones_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = of_networkx(nx.karate_club_graph())
    exact = computed(graph)["betweenness"].values
    monkeypatch.setattr(centrality, "EXACT_PEOPLE", 10)
    monkeypatch.setattr(person_views, "_EPSILON", 0.02)
    found = computed(graph)
    sampled = found["betweenness"].values
    assert 0 < np.abs(sampled - exact).max() < 0.02
    assert np.isnan(found["betweenness_weighted"].values).all()


def test_the_kite_by_hand() -> None:
    """Krackhardt's kite: the node with most ties, the one between most, and the tail that hangs on it differ."""
    found = computed(of_networkx(published("kite")))
    assert [int(np.argmax(by_number(found[view], 10))) for view in ("degree", "betweenness")] == [3, 7]
    assert by_number(found["betweenness"], 10)[7] == pytest.approx(14 / 36)
    assert by_number(found["kcore"], 10) == [3, 3, 3, 3, 3, 3, 3, 2, 1, 1]
    assert found["org_diameter"].values[0] == 4


# ------------------------------------------------------------------------------------------------ nothing to say


EDGES = [(0, 1, 1.0), (1, 0, 2.0), (1, 2, 1.0), (2, 3, 4.0), (4, 3, 1.0)]
ODD: dict[str, Snapshot] = {
    "nobody": taken([], 0),
    "one person": taken([], 1, {0: "red"}),
    "two people": taken([(0, 1)], 2, {0: "red", 1: "blue"}),
    "no ties": taken([], 5, {0: "red", 1: "red", 2: "blue"}),
    "nobody has a team": taken(EDGES, 6),
    "everybody in one team": taken(EDGES, 6, dict.fromkeys(range(6), "red")),
    "teams of one": taken(EDGES, 6, {i: f"team {i}" for i in range(6)}),
    "faint ties": taken([(0, 1, 1e-300), (1, 2, 1e-6), (2, 3, 1e5), (3, 0, 1e5)], 5, {0: "red", 1: "red"}),
}


@pytest.mark.parametrize("odd", ODD)
def test_every_view_has_an_answer_for_every_graph(odd: str) -> None:
    """Warnings are errors: no view divides by nothing on the way."""
    snapshot = snapshots.with_acts(ODD[odd], [])
    for series in computed(snapshot).values():
        assert len(series.subjects) == len(series.values) == len(series.sizes)
        assert series.values.dtype == np.float64
        assert not np.isinf(series.values).any()
        assert series.time_ms == END_MS


def test_who_has_no_ties_has_no_value_where_there_is_nothing_to_divide_by() -> None:
    found = {view: by_number(s, 6)[5] for view, s in computed(ODD["nobody has a team"]).items() if len(s.values) == 6}
    undefined = {view for view, value in found.items() if math.isnan(value)}
    assert undefined == {"reciprocity", "constraint", "effective_size", "community", "ei_index", "external_share"}
    nothing = {view for view, value in found.items() if value == 0.0}
    assert nothing == found.keys() - undefined - {"pagerank"}


def test_values_of_groups_carry_the_people_behind_them() -> None:
    found = computed(taken(EDGES, 6, {0: "red", 1: "red", 2: "red", 3: "blue", 4: "blue", 5: "grey"}))
    assert (found["team_density"].subjects, found["team_density"].sizes.tolist()) == (
        ("blue", "grey", "red"),
        [2, 1, 3],
    )
    assert (found["pair_strength"].subjects, found["pair_strength"].sizes.tolist()) == (("blue|red",), [2])
    assert (found["org_density"].subjects, found["org_density"].sizes.tolist()) == (("",), [6])
    assert set(found["degree"].sizes.tolist()) == {1}


def test_teams_of_one_are_computed_and_left_to_the_privacy_sink() -> None:
    found = computed(ODD["teams of one"])
    assert found["team_ei_index"].values.tolist()[:5] == [1.0] * 5
    assert np.isnan(found["team_density"].values).all()
    assert found["pair_hinge"].values.tolist() == [1.0] * 4


def test_a_range_of_strengths_that_no_path_can_hold_is_narrowed_and_not_refused() -> None:
    found = by_number(computed(ODD["faint ties"])["betweenness_weighted"], 5)
    assert found[3] > 0.0


def test_external_share_is_of_all_strength() -> None:
    outside = "x_" + "0" * 32
    ties = [tie(0, 1, 3.0), tie(0, outside, 1.0)]
    found = computed(snapshots.take(ties, [(person(0), None), (person(1), None)], START_MS, END_MS, 1.0))
    assert by_number(found["external_share"], 2) == [0.25, 0.0]


# ------------------------------------------------------------------------------------------------ what is computed again


class Counting:
    """All views, each counting how often it is computed."""

    def __init__(self, views: Iterable[View] = VIEWS) -> None:
        self.names: list[str] = []
        self.manager = MaterializedViewManager([replace(v, function=self._counted(v)) for v in views])

    def _counted(self, view: View) -> Callable[..., object]:
        def function(facts: object) -> object:
            self.names.append(view.name)
            return view.function(facts)  # type: ignore[arg-type]

        return function

    def after(self, before: Snapshot, now: Snapshot) -> set[str]:
        """What is computed for `now` when the values stored are those of `before`."""
        self.names.clear()
        self.manager.refresh(now, self.manager.keys(before))
        return set(self.names)


TEAMS = {0: "red", 1: "red", 2: "blue", 3: "blue"}


def test_an_unchanged_graph_is_not_computed_again() -> None:
    counting = Counting()
    one, same = taken(EDGES, 6, TEAMS), taken(reversed(EDGES), 6, TEAMS, scale=0.5)
    assert counting.after(one, same) == set()
    counting.manager.refresh(same, {})
    assert len(counting.names) == len(counting.manager.keys(same)), "the control: without the keys all is computed"


def test_a_stronger_tie_leaves_paths_and_cores_alone() -> None:
    again = Counting().after(taken(EDGES, 6, TEAMS), taken([*EDGES, (0, 1, 1.0)], 6, TEAMS))
    assert again == {v.name for v in VIEWS if Part.STRENGTH in v.parts}
    assert not again & {"betweenness", "harmonic", "kcore", "clustering", "team_density"}
    assert {"betweenness_weighted", "community", "pair_strength"} <= again


def test_a_change_of_team_computes_no_path_again() -> None:
    again = Counting().after(taken(EDGES, 6, TEAMS), taken(EDGES, 6, {**TEAMS, 4: "red"}))
    fading = {v.name for v in VIEWS if v.fades}
    assert again == {v.name for v in VIEWS if Part.TEAMS in v.parts} | fading


def test_what_fades_is_always_as_of_the_same_time_as_what_was_computed_with_it() -> None:
    """Otherwise a strength from last week would stand beside the time of today's refresh."""
    fading = {"strength", "strength_in", "strength_out", "pair_strength"}
    assert {v.name for v in VIEWS if v.fades} == fading
    assert fading <= Counting().after(taken(EDGES, 6, TEAMS), taken(EDGES, 6, {**TEAMS, 4: "red"}))


def test_a_new_version_is_computed_again_and_nothing_else_of_people() -> None:
    snapshot = taken(EDGES, 6, TEAMS)
    newer = [replace(v, version=2) if v.name == "kcore" else v for v in VIEWS]
    counting = Counting(newer)
    counting.manager.refresh(snapshot, MaterializedViewManager().keys(snapshot))
    assert {n for n in counting.names if "strength" not in n} == {"kcore"}
    assert counting.manager.version == MaterializedViewManager().version + 1


def test_renumbering_by_team_changes_no_value_of_a_person() -> None:
    one, other = (computed(taken(EDGES, 6, t)) for t in (TEAMS, {0: "z", 1: "a", 2: "m", 5: "a"}))
    for view in VIEWS:
        if view.kind is SubjectKind.PERSON and Part.TEAMS not in view.parts and view.name in one:
            found = [by_number(s[view.name], 6) for s in (one, other)]
            assert found[0] == pytest.approx(found[1], nan_ok=True, rel=1e-12), view.name


def test_views_of_acts_wait_for_the_acts() -> None:
    snapshot = taken(EDGES, 6)
    assert "burstiness" not in computed(snapshot)
    acts = [((person(0),), np.zeros(4, dtype=np.int64), START_MS + np.arange(4) * 3_600_000)]
    found = by_number(computed(snapshots.with_acts(snapshot, acts))["burstiness"], 6)
    assert found == pytest.approx([-1.0, *[math.nan] * 5], nan_ok=True)


def test_the_watcher_hears_of_every_view_and_can_stop_the_work() -> None:
    heard: list[tuple[str, float]] = []
    MaterializedViewManager().refresh(taken(EDGES, 6), {}, lambda view, share: heard.append((view, share)))
    names = [v.name for v in VIEWS if v.name != "burstiness"]
    assert [view for view, share in heard if share == 0.0] == names
    assert heard[-1] == (names[-1], 1.0)

    def stop(view: str, _share: float) -> None:
        if view == "constraint":
            raise KeyboardInterrupt

    counting = Counting()
    with pytest.raises(KeyboardInterrupt):
        counting.manager.refresh(taken(EDGES, 6), {}, stop)
    assert "constraint" not in counting.names
    assert "degree" in counting.names


def test_every_view_says_what_it_means_under_a_name_of_its_own() -> None:
    assert len({v.name for v in VIEWS}) == len(VIEWS)
    for view in VIEWS:
        assert view.meaning.endswith(".")
        assert view.unit
        assert view.parts
        assert view.version >= 1
