"""The truth of simulated organisations is found by the main specification, and by it only where the world bends."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.causal import design, estimators
from pipelines.causal.design import Design
from pipelines.causal.estimators import Main
from pipelines.causal.partialling import dealt
from pipelines.evidence import Ints
from tests.support import panels
from tests.support.panels import World

BENT = World(people=150, team=5)


@cache
def rows_of(world: World, seed: int = 1) -> Design:
    return panels.design_of(world, seed)


@cache
def main_of(world: World, seed: int = 1) -> Main:
    rows = rows_of(world, seed)
    return estimators.fe_dml(rows, estimators.scale_of(rows))


def off(estimate: float, world: World, se: float) -> float:
    return abs(estimate - world.effect) / se


def test_the_truth_is_within_three_standard_errors_where_correlation_and_plain_effects_are_far_off() -> None:
    found = main_of(BENT).estimate
    assert off(found.effect, BENT, found.se) < 3
    for wrong in (estimators.naive(rows_of(BENT)), estimators.twfe(rows_of(BENT))):
        assert off(wrong.effect, BENT, wrong.se) > 3
    assert main_of(BENT).better > 0.01


def test_in_a_linear_world_plain_effects_are_right_and_the_main_specification_agrees() -> None:
    world = replace(BENT, bends=False)
    linear = estimators.twfe(rows_of(world))
    found = main_of(world).estimate
    assert off(linear.effect, world, linear.se) < 3
    assert off(found.effect, world, found.se) < 3
    assert main_of(world).better < 0.01


def test_the_dynamic_specification_mends_feedback_that_biases_the_others() -> None:
    world = replace(BENT, feedback=0.5)
    rows, found = rows_of(world), main_of(world).estimate
    dynamic = estimators.dynamic(rows, estimators.scale_of(rows))
    assert dynamic is not None
    assert off(found.effect, world, found.se) > 3
    assert off(dynamic.effect, world, dynamic.se) < 3


def test_team_shocks_make_intervals_by_person_too_narrow() -> None:
    rows = rows_of(World(people=240, team=6, team_shocks=1.2))
    scale = estimators.scale_of(rows)
    by_team = estimators.fe_dml(rows, scale, trees=False, names=False).estimate
    by_person = estimators.fe_dml(replace(rows, cluster=rows.unit), scale, trees=False, names=False).estimate
    assert by_team.se > 1.4 * by_person.se


def scrambled(rows: Design, order: Ints) -> Design:
    """The same rows under other names of people, teams and weeks, and in another order."""
    rng = np.random.default_rng(5)
    names = [rng.permutation(int(codes.max()) + 1)[codes][order] for codes in (rows.unit, rows.week, rows.cluster)]
    return design.arrange(
        rows.y[order], rows.d[order], rows.held[order], rows.held_names,
        names[0], names[1], names[2], rows.team[order], rows.team_names,
    )  # fmt: skip


def test_other_names_of_people_weeks_and_teams_and_another_order_change_nothing() -> None:
    rows = rows_of(World(people=60, team=5))
    other = scrambled(rows, np.random.default_rng(6).permutation(rows.rows))
    one, two = (estimators.fe_dml(r, estimators.scale_of(r)).estimate for r in (rows, other))
    for name in ("effect", "se", "ci_low", "ci_high", "p"):  # 12 clusters: bootstrap weights and folds are the same too
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-9)


def test_units_of_treatment_and_outcome_only_scale_the_answer() -> None:
    rows = rows_of(World(people=60, team=5))
    scaled = replace(rows, y=rows.y * 1000.0, d=rows.d / 60.0)
    one, two = (estimators.fe_dml(r, estimators.scale_of(r)) for r in (rows, scaled))
    assert two.estimate.effect == pytest.approx(60_000 * one.estimate.effect, rel=1e-6)
    assert two.estimate.p == pytest.approx(one.estimate.p, abs=1e-6)
    assert two.by_metric["demand"] == pytest.approx(one.by_metric["demand"], rel=1e-4)
    linear = [estimators.twfe(r).effect for r in (rows, scaled)]
    assert linear[1] == pytest.approx(60_000 * linear[0], rel=1e-9)


def test_unknown_covariates_do_not_stop_an_estimate() -> None:
    rows = rows_of(BENT)
    held = rows.held.copy()
    held[np.random.default_rng(1).random(held.shape) < 0.02] = np.nan
    held[:, 0] = np.nan
    found = estimators.fe_dml(replace(rows, held=held), estimators.scale_of(rows), trees=False).estimate
    assert np.isfinite([found.effect, found.se]).all()


def test_nothing_held_is_plain_two_way_effects() -> None:
    rows = replace(rows_of(BENT), held=np.empty((rows_of(BENT).rows, 0)), held_names=())
    found = estimators.fe_dml(rows, estimators.scale_of(rows)).estimate
    linear = estimators.twfe(rows)
    assert found.effect == pytest.approx(linear.effect, rel=1e-9)
    assert found.se == pytest.approx(linear.se, rel=1e-9)


def test_covariates_that_repeat_each_other_or_never_change_leave_one_answer() -> None:
    rows = rows_of(BENT)
    doubled = np.column_stack([rows.held, 2 * rows.held[:, 0] + rows.held[:, 1], np.ones(rows.rows)])
    one, two = estimators.twfe(rows), estimators.twfe(replace(rows, held=doubled))
    assert two.effect == pytest.approx(one.effect, rel=1e-9)


def test_folds_are_whole_clusters_of_about_equal_size() -> None:
    cluster = np.repeat(np.arange(40), np.random.default_rng(1).integers(5, 30, 40))
    fold = dealt(cluster, 5)
    assert all(len(set(fold[cluster == c])) == 1 for c in range(40))
    sizes = np.bincount(fold)
    assert sizes.max() < 1.3 * sizes.min()


def test_the_interval_spans_what_the_specifications_say() -> None:
    main = main_of(BENT).estimate
    far = replace(main, effect=main.ci_high + 1)
    assert estimators.widened(main, (main, far)).ci_high == far.effect
    assert estimators.widened(main, (main, far)).ci_low == main.ci_low
