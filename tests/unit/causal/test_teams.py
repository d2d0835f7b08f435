"""Teams are shrunk: equal ones to the same, different ones towards their truth."""

from __future__ import annotations

from functools import cache

import numpy as np

from pipelines.causal import estimators, teams
from pipelines.causal.design import Design
from pipelines.causal.estimators import Main
from pipelines.causal.teams import Heterogeneity
from tests.support import panels
from tests.support.panels import World

EQUAL, DIFFERENT = World(people=300, bends=False), World(people=300, bends=False, spread=0.25)


@cache
def studied(world: World) -> tuple[Main, Design, Heterogeneity]:
    rows = panels.design_of(world, 2)
    main = estimators.fe_dml(rows, estimators.scale_of(rows), trees=False, names=False)
    return main, rows, teams.by_team(main, rows, 10)


def raw(main: Main, rows: Design) -> dict[int, float]:
    of_team = {int(t): np.flatnonzero(rows.team == t) for t in np.unique(rows.team)}
    return {t: float(np.polyfit(main.d[r], main.y[r], 1)[0]) for t, r in of_team.items()}


def test_equal_teams_have_the_same_effect_although_the_raw_worst_looks_bad() -> None:
    main, rows, found = studied(EQUAL)
    assert found.p > 0.01
    assert max(abs(e.estimate.effect - 0.3) for e in found.effects) < 0.06
    assert max(abs(effect - 0.3) for effect in raw(main, rows).values()) > 0.10


def test_different_teams_are_nearer_to_their_truth_shrunk_than_raw_or_pooled() -> None:
    main, rows, found = studied(DIFFERENT)
    truth = panels.drawn(DIFFERENT, 2).team_effects
    place = {name: number for number, name in enumerate(rows.team_names)}
    assert [place[f"team-{t:03d}"] for t in range(30)] == list(range(30))
    shrunk = np.array([e.estimate.effect - truth[e.team] for e in found.effects])
    unshrunk = np.array([effect - truth[team] for team, effect in raw(main, rows).items()])
    assert found.p < 0.01
    assert 0.1 < np.sqrt(found.tau2) < 0.4
    assert (shrunk**2).mean() < (unshrunk**2).mean()
    assert (shrunk**2).mean() < ((main.estimate.effect - truth) ** 2).mean()
    covered = [e.estimate.ci_low <= truth[e.team] <= e.estimate.ci_high for e in found.effects]
    assert np.mean(covered) >= 0.8


def test_teams_under_the_limit_have_no_effect_of_their_own() -> None:
    main, rows, _ = studied(EQUAL)
    assert teams.by_team(main, rows, 11).effects == ()
    smaller = rows.take(np.flatnonzero((rows.team != 0) | (rows.unit % 2 == 0)))
    again = estimators.fe_dml(smaller, estimators.scale_of(smaller), trees=False, names=False)
    assert 0 not in {e.team for e in teams.by_team(again, smaller, 10).effects}
    assert len(teams.by_team(again, smaller, 10).effects) == 29


def test_one_team_is_not_compared_with_itself() -> None:
    main, rows, _ = studied(EQUAL)
    only = np.flatnonzero(rows.team == 3)
    part = rows.take(only)
    scale = estimators.scale_of(part)
    assert scale.d > 0
    alone = estimators.Main(main.estimate, part.y, part.d, 0.0, {}, 0.0)
    assert teams.by_team(alone, part, 10).effects == ()
