"""Two-way effects against dense dummies, and the bootstrap against what it is for: few clusters."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.causal.within import Demeaning, Groups, bootstrap, bootstrap_p, regress, regression
from pipelines.errors import Refused
from pipelines.evidence import Floats, Ints


def unbalanced(seed: int = 1, units: int = 30, weeks: int = 9) -> tuple[Groups, Floats, Floats]:
    rng = np.random.default_rng(seed)
    unit, week = np.nonzero(rng.random((units, weeks)) < 0.7)
    x = rng.normal(size=(len(unit), 3)) + unit[:, None] / 10 + week[:, None] ** 2 / 20
    y = x @ [0.5, -1.0, 0.2] + unit + np.sin(week) * 3 + rng.normal(size=len(unit))
    return Groups(unit, week, unit // 3), y, x


def dummies(unit: Ints, week: Ints) -> Floats:
    return np.column_stack([np.eye(int(unit.max()) + 1)[unit], np.eye(int(week.max()) + 1)[week]])


def test_effects_are_those_of_dense_dummies_to_nine_digits() -> None:
    groups, y, x = unbalanced()
    dense = np.column_stack([x, dummies(groups.unit, groups.week)])
    expected = np.linalg.lstsq(dense, y, rcond=None)[0][:3]
    assert np.allclose(regression(y, x, groups).coefficients, expected, rtol=0, atol=1e-9)
    assert not np.allclose(np.linalg.lstsq(x, y, rcond=None)[0], expected, atol=0.05)  # without effects it is another


def test_the_error_is_the_clustered_sandwich_of_dense_dummies() -> None:
    groups, y, x = unbalanced()
    dense = np.column_stack([x, dummies(groups.unit, groups.week)])
    residual = y - dense @ np.linalg.lstsq(dense, y, rcond=None)[0]
    left = x - dense[:, 3:] @ np.linalg.lstsq(dense[:, 3:], x, rcond=None)[0]
    bread = np.linalg.inv(left.T @ left)
    scores = np.array([left[groups.cluster == g].T @ residual[groups.cluster == g] for g in range(10)])
    rows, parameters = len(y), 3 + int(groups.week.max()) + 1
    factor = 10 / 9 * (rows - 1) / (rows - parameters)
    expected = np.sqrt(factor * np.diag(bread @ scores.T @ scores @ bread))
    assert np.allclose(np.sqrt(np.diag(regression(y, x, groups).covariance)), expected, rtol=1e-9)


def test_demeaning_leaves_nothing_that_units_or_weeks_explain() -> None:
    groups, y, x = unbalanced()
    left = Demeaning(groups.unit, groups.week).demean(np.column_stack([y, x]))
    assert np.abs(dummies(groups.unit, groups.week).T @ left).max() < 1e-9


def test_a_panel_in_two_parts_without_a_common_week_is_demeaned_too() -> None:
    unit, week = np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6)
    week[unit > 2] += 3
    y = np.random.default_rng(1).normal(size=18)
    left = Demeaning(unit, week).demean(y)
    assert np.abs(dummies(unit, week).T @ left).max() < 1e-9


def test_a_column_without_change_within_units_is_refused() -> None:
    groups, y, _ = unbalanced()
    with pytest.raises(Refused, match="COLLINEAR"):
        regress(y, groups.unit[:, None].astype(float), groups, "x")


def test_with_few_clusters_the_bootstrap_holds_its_level_where_the_sandwich_does_not() -> None:
    """Twelve teams of very different size with shocks to whole teams, and no effect."""
    rng = np.random.default_rng(2)
    sizes = np.array([60, 40, 20, *[6] * 9])
    unit = np.repeat(np.arange(sizes.sum()), 4)
    week = np.tile(np.arange(4), sizes.sum())
    groups = Groups(unit, week, np.repeat(np.arange(12), sizes)[unit])
    cell = groups.cluster * 4 + week
    person, team, drawn = [], [], []
    for _ in range(100):
        y, x = (rng.normal(size=48)[cell] + 0.3 * rng.normal(size=len(unit)) for _ in range(2))
        for found, by in ((person, Groups(unit, week, unit)), (team, groups)):
            fit = regression(y, x[:, None], by)
            found.append(abs(fit.coefficients[0]) > 1.96 * np.sqrt(fit.covariance[0, 0]))
        drawn.append(bootstrap_p(y, x[:, None], groups) < 0.05)
    assert np.mean(person) > 0.5
    assert np.mean(team) > 0.12
    assert np.mean(drawn) < 0.11


def test_the_interval_of_the_bootstrap_ends_where_its_test_begins_to_reject() -> None:
    groups, y, x = unbalanced()
    found = regress(y, x, groups, "x")  # ten clusters
    for end in (found.ci_low, found.ci_high):
        shifted = regress(y - end * x[:, 0], x, groups, "x")
        assert shifted.p == pytest.approx(0.05, abs=0.003)
    assert found.ci_low < 0.5 < found.ci_high


def test_the_bootstrap_gives_the_same_p_every_time() -> None:
    groups, y, x = unbalanced()
    estimate = regress(y, x, groups, "x")
    assert bootstrap(y, x, groups, estimate) == estimate
