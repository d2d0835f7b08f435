"""Teams and pairs of teams, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.metrics import teams
from pipelines.metrics.csr import Csr

#: Team 0: people 0-2, team 1: 3-4, team 2: 5 alone, 6 without a team. (actor, target, strength).
ARCS = [
    (0, 1, 2.0),
    (1, 0, 1.0),
    (0, 2, 1.0),
    (0, 3, 4.0),
    (3, 0, 2.0),
    (1, 4, 1.0),
    (4, 5, 3.0),
    (6, 0, 9.0),
    (6, 5, 9.0),
]
TEAM = np.array([0, 0, 0, 1, 1, 2, -1])


def graphs(arcs: list[tuple[int, int, float]] = ARCS) -> tuple[Csr, Csr]:
    columns = np.array(arcs).reshape(-1, 3)
    ends = columns[:, :2].astype(int)
    return (
        Csr.directed(7, ends[:, 0], ends[:, 1], columns[:, 2]),
        Csr.undirected(7, ends[:, 0], ends[:, 1], columns[:, 2]),
    )


@pytest.fixture
def sums() -> teams.Teams:
    return teams.teams(*graphs(), TEAM, 3)


@pytest.fixture
def pairs() -> teams.Pairs:
    return teams.pairs(graphs()[1], TEAM, 3)


def test_ties_are_counted_once_inside_and_for_both_teams_between(sums: teams.Teams) -> None:
    assert sums.people.tolist() == [3, 2, 1]
    assert sums.ties_inside.tolist() == [2, 0, 0]
    assert sums.ties_out.tolist() == [2, 3, 1]
    assert sums.strength_inside.tolist() == [4.0, 0.0, 0.0]
    assert sums.strength_out.tolist() == [7.0, 10.0, 3.0]


def test_density_is_of_pairs_of_members(sums: teams.Teams) -> None:
    assert teams.density(sums) == pytest.approx([2 / 3, 0.0, math.nan], nan_ok=True)


def test_reciprocity_is_of_arcs_inside(sums: teams.Teams) -> None:
    assert teams.reciprocity(sums) == pytest.approx([2 / 3, math.nan, math.nan], nan_ok=True)


def test_the_ei_index_of_a_team_counts_each_tie_once(sums: teams.Teams) -> None:
    assert teams.ei_index(sums).tolist() == [0.0, 1.0, 1.0]


def test_the_silo_index_is_zero_by_chance_and_one_when_closed() -> None:
    everyone = [(a, b, 1.0) for a in range(6) for b in range(6) if a < b]
    sums = teams.teams(*graphs(everyone), TEAM, 3)
    assert teams.silo_index(sums) == pytest.approx([0.0, 0.0, 0.0])
    closed = teams.teams(*graphs([(0, 1, 1.0), (3, 4, 1.0)]), TEAM, 3)
    assert teams.silo_index(closed) == pytest.approx([1.0, 1.0, math.nan], nan_ok=True)


def test_the_silo_index_of_a_large_and_a_small_team_can_be_compared(sums: teams.Teams) -> None:
    """The E-I index calls the larger team more closed, although everybody talks to everybody."""
    everyone = teams.teams(*graphs([(a, b, 1.0) for a in range(6) for b in range(a)]), TEAM, 3)
    assert np.ptp(teams.silo_index(everyone)) < 1e-12
    assert np.ptp(teams.ei_index(everyone)) > 0.4
    assert teams.silo_index(sums)[0] == pytest.approx((8 / 15 - 2 / 5) / (1 - 2 / 5))


def test_one_team_that_is_everybody_cannot_be_a_silo() -> None:
    sums = teams.teams(*graphs(), np.zeros(7, dtype=np.int64), 1)
    assert np.isnan(teams.silo_index(sums)).all()
    assert teams.ei_index(sums).tolist() == [-1.0]


def test_pairs_are_those_with_a_tie_in_order(pairs: teams.Pairs, sums: teams.Teams) -> None:
    assert list(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)) == [(0, 1), (1, 2)]
    assert pairs.ties.tolist() == [2, 1]
    assert pairs.strength.tolist() == [7.0, 3.0]
    assert teams.pair_density(pairs, sums) == pytest.approx([2 / 6, 1 / 2])
    assert teams.pair_share(pairs, sums) == pytest.approx([7 / (11 + 10 - 7), 3 / (10 + 3 - 3)])


def test_a_pair_hangs_on_whoever_has_most_of_it(pairs: teams.Pairs) -> None:
    assert teams.pair_hinge(pairs) == pytest.approx([6 / 7, 1.0])
    two_ways = teams.pairs(graphs([(0, 3, 1.0), (1, 4, 1.0)])[1], TEAM, 3)
    assert teams.pair_hinge(two_ways).tolist() == [0.5]


def test_members_are_counted_and_the_worst_loss_is_the_teams() -> None:
    flags = np.array([True, False, True, False, False, False, True])
    assert teams.counted(flags, TEAM, 3).tolist() == [2.0, 0.0, 0.0]
    lost = np.array([0.1, 0.3, np.nan, 0.0, 0.0, np.nan, 0.9])
    assert teams.most_lost(lost, TEAM, 3) == pytest.approx([0.3, 0.0, math.nan], nan_ok=True)


def test_without_teams_there_is_nothing_to_sum() -> None:
    nobody = np.full(7, -1)
    assert len(teams.teams(*graphs(), nobody, 0).people) == 0
    assert len(teams.pairs(graphs()[1], nobody, 0).one) == 0


def test_the_sums_do_not_depend_on_how_people_are_numbered() -> None:
    order = np.array([4, 2, 6, 0, 5, 1, 3])
    place = np.argsort(order)
    moved = [(int(place[a]), int(place[b]), w) for a, b, w in ARCS]
    other = teams.pairs(graphs(moved)[1], TEAM[order], 3)
    assert other.strength.tolist() == [7.0, 3.0]
    assert teams.pair_hinge(other) == pytest.approx([6 / 7, 1.0])
