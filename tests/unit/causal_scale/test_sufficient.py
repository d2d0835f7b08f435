"""The regression against a dense one, against pyfixest's numbers, and against itself split every way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.causal_golden import GOLDEN, Columns, weekly_panel
from pipelines.causal import sufficient, two_way
from pipelines.causal.sufficient import Rows
from pipelines.errors import InvalidInput, Refused

NAMES = ["d", "x"]
CLUSTERS = ["person", "team", "moving"]


def rows_of(panel: Columns, cluster: str = "team", names: Sequence[str] = NAMES) -> Rows:
    return Rows(panel["unit"], panel["week"], panel[cluster], np.stack([panel[name] for name in ("y", *names)]))


def pick(rows: Rows, chosen: Any) -> Rows:
    return Rows(rows.unit[chosen], rows.period[chosen], rows.cluster[chosen], rows.values[:, chosen])


def by_unit(rows: Rows, parts: int, seed: int) -> list[Rows]:
    """The rows in disorder, every unit's in one part."""
    rng = np.random.default_rng(seed)
    where = rng.integers(parts, size=rows.unit.max() + 1)[rows.unit]
    order = rng.permutation(len(rows.unit))
    return [pick(rows, order[where[order] == part]) for part in range(parts)]


def fit(parts: Sequence[Rows]) -> sufficient.Fit:
    return two_way.fit(parts, NAMES, load=lambda rows: rows)


def same(a: sufficient.Fit, b: sufficient.Fit, rtol: float) -> None:
    np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=rtol)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=rtol)
    np.testing.assert_allclose(a.within_sd, b.within_sd, rtol=rtol)
    assert (a.rows, a.units, a.periods, a.clusters) == (b.rows, b.units, b.periods, b.clusters)


def dense(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and unscaled sandwich of a regression on a column for every unit and every period."""
    dummies = [(key == value).astype(float) for key in (rows.unit, rows.period) for value in np.unique(key)]
    design = np.column_stack([*rows.values[1:], *dummies])
    b = np.linalg.lstsq(design, rows.values[0], rcond=None)[0]
    residual = rows.values[0] - design @ b
    fixed = np.column_stack(dummies)
    left = rows.values[1:].T - fixed @ np.linalg.lstsq(fixed, rows.values[1:].T, rcond=None)[0]
    scores = np.stack([(left * residual[:, None])[rows.cluster == c].sum(axis=0) for c in np.unique(rows.cluster)])
    bread = np.linalg.inv(left.T @ left)
    p = len(rows.values) - 1
    return b[:p], np.sqrt(np.diag(bread @ scores.T @ scores @ bread))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_an_unbalanced_panel_gives_what_a_dense_dummy_regression_gives(cluster: str) -> None:
    rows = rows_of(weekly_panel(), cluster)
    result = two_way.fit_rows(rows, NAMES)
    b, unscaled = dense(rows)
    n, g = result.rows, result.clusters
    nested = cluster != "moving"
    parameters = 2 + result.periods + (0 if nested else result.units - 1)
    scale = np.sqrt(g / (g - 1) * (n - 1) / (n - parameters))
    np.testing.assert_allclose(result.coefficients, b, rtol=1e-9)
    np.testing.assert_allclose(sufficient.se(result), scale * unscaled, rtol=1e-9)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_coefficients_errors_and_p_are_pyfixests(cluster: str) -> None:
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))["two_way"][cluster]
    result = two_way.fit_rows(rows_of(weekly_panel(), cluster), NAMES)
    np.testing.assert_allclose(result.coefficients, expected["b"], rtol=1e-9)
    np.testing.assert_allclose(sufficient.se(result), expected["se"], rtol=1e-9)
    p = [two_way.estimate(result, name, "twfe").p for name in NAMES]
    np.testing.assert_allclose(p, expected["p"], rtol=1e-9, atol=1e-12)
    assert result.rows == expected["rows"] < len(weekly_panel()["unit"]), "units and weeks of one row are left out"


def test_a_live_pyfixest_agrees() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyfixest = pytest.importorskip("pyfixest", reason="pyfixest is a cross-check, not a dependency")
        pandas = pytest.importorskip("pandas")
        panel = weekly_panel(units=90)
        demeaner = pyfixest.MapDemeaner(fixef_tol=1e-14, fixef_maxiter=1_000_000)
        model = pyfixest.feols("y ~ d + x | unit + week", pandas.DataFrame(panel), {"CRV1": "team"}, demeaner=demeaner)
    result = two_way.fit_rows(rows_of(panel), NAMES)
    np.testing.assert_allclose(result.coefficients, model.coef().to_numpy(), rtol=1e-9)
    np.testing.assert_allclose(sufficient.se(result), model.se().to_numpy(), rtol=1e-9)


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("parts", [2, 7, 40])
def test_splitting_by_unit_and_merging_in_any_order_changes_nothing(cluster: str, parts: int) -> None:
    rows = rows_of(weekly_panel(), cluster)
    whole = two_way.fit_rows(rows, NAMES)
    split = by_unit(rows, parts, seed=parts)
    same(fit(split), whole, rtol=1e-12)
    same(fit(split[::-1]), whole, rtol=1e-12)


def test_a_cluster_may_go_on_in_another_part() -> None:
    rows = rows_of(weekly_panel(), "team")
    whole = two_way.fit_rows(rows, NAMES)
    halves = [pick(rows, rows.unit % 2 == side) for side in (0, 1)]
    assert set(halves[0].cluster) & set(halves[1].cluster), "the split must cut through teams"
    same(fit(halves), whole, rtol=1e-12)
    # The naive way, squares added part by part, does not survive such a split.
    solution = sufficient.solve(sufficient.merge(*map(sufficient.part_stats, halves)), NAMES)
    meats = [sufficient.part_meat(half, solution) for half in halves]
    naive = sum(meat.scores.T @ meat.scores for meat in meats)
    full = sufficient.merge(*meats).scores
    assert abs(naive / (full.T @ full) - 1).max() > 0.05


def test_a_unit_in_two_parts_is_refused() -> None:
    rows = rows_of(weekly_panel())
    early = rows.period < 7
    with pytest.raises(InvalidInput, match="one unit lie in two parts"):
        fit([pick(rows, early), pick(rows, ~early)])
    # The naive sum without that check: another coefficient, silently.
    parts = [sufficient.part_stats(pick(rows, side)) for side in (early, ~early)]
    renamed = replace(parts[1], units=parts[1].units + 1_000)
    naive = sufficient.solve(sufficient.merge(parts[0], renamed), NAMES).coefficients
    assert abs(naive - two_way.fit_rows(rows, NAMES).coefficients).max() > 1e-3


def test_the_order_of_rows_and_the_kind_of_key_change_nothing() -> None:
    rows = rows_of(weekly_panel())
    whole = two_way.fit_rows(rows, NAMES)
    shuffled = pick(rows, np.random.default_rng(2).permutation(len(rows.unit)))
    same(two_way.fit_rows(shuffled, NAMES), whole, rtol=1e-12)
    named = Rows(
        np.array([f"p_{u}" for u in rows.unit], dtype=object),
        rows.period * 10_000_000 + 5,
        np.array([f"team {c}" for c in rows.cluster], dtype=object),
        rows.values,
    )
    same(two_way.fit_rows(named, NAMES), whole, rtol=1e-12)


def test_fixed_levels_of_units_and_periods_do_not_matter() -> None:
    rows = rows_of(weekly_panel())
    level = 1e4 * (rows.unit % 7) + 30 * rows.period
    moved = Rows(rows.unit, rows.period, rows.cluster, rows.values + level)
    np.testing.assert_allclose(
        two_way.fit_rows(moved, NAMES).coefficients, two_way.fit_rows(rows, NAMES).coefficients, rtol=1e-8
    )


def test_parts_of_the_panel_without_a_common_unit_get_a_reference_each() -> None:
    panel = weekly_panel()
    rows = rows_of(panel)
    apart = pick(rows, ((rows.unit < 30) == (rows.period < 7)) & (rows.period < 13))
    result = two_way.fit_rows(apart, NAMES)
    many = np.bincount(apart.unit)[apart.unit] > 1
    np.testing.assert_allclose(result.coefficients, dense(pick(apart, many))[0], rtol=1e-9)


def test_twenty_thousand_units_with_a_strong_season_keep_ten_digits() -> None:
    """The closed form of a balanced panel; a pseudo-inverse of all period dummies lost the fourth digit at such sizes."""
    rng = np.random.default_rng(4)
    units, weeks = 20_000, 12
    unit, week = np.repeat(np.arange(units), weeks), np.tile(np.arange(weeks), units)
    season = 30 * rng.standard_normal(weeks)[week]
    d = rng.standard_normal(len(unit)) + season
    y = 0.12 * d + season + rng.standard_normal(len(unit))
    rows = Rows(unit, week, unit, np.stack([y, d]))
    stats = sufficient.part_stats(rows)
    cube = rows.values.reshape(2, units, weeks)
    centred = (cube - cube.mean(axis=2, keepdims=True) - cube.mean(axis=1, keepdims=True)).reshape(2, -1)
    centred -= centred.mean(axis=1, keepdims=True)
    exact = centred[0] @ centred[1] / (centred[1] @ centred[1])
    assert sufficient.solve(stats, ["d"]).coefficients[0] == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p["unit"] * 3.7, "nothing of z is left"),
        (lambda p: np.sin(p["week"]) * 1e6, "nothing of z is left"),
        (lambda p: p["unit"] * 1e9 + p["week"] * 0.1, "nothing of z is left"),
        (lambda p: np.full(len(p["unit"]), 2.0), "nothing of z is left"),
        (lambda p: 2 * p["d"] - 0.5 * p["x"] + p["unit"] - np.sqrt(p["week"]), "z is a combination of d, x"),
        (lambda p: -1e-6 * p["x"], "z is a combination of x"),
    ],
)
def test_a_collinear_column_is_refused_by_name(make: Any, words: str) -> None:
    panel = weekly_panel()
    panel["z"] = make(panel)
    with pytest.raises(Refused, match=words) as refusal:
        two_way.fit_rows(rows_of(panel, names=["d", "x", "z"]), ["d", "x", "z"])
    assert refusal.value.code == "COLLINEAR"


def test_a_column_on_another_scale_is_not_called_collinear() -> None:
    panel = weekly_panel()
    panel["z"] = 1e-9 * np.cos(panel["unit"] * 13.0 + panel["week"] ** 2)
    result = two_way.fit_rows(rows_of(panel, names=["d", "x", "z"]), ["d", "x", "z"])
    assert np.isfinite(sufficient.se(result)).all()


def test_one_week_or_only_singletons_or_one_cluster_is_refused() -> None:
    rows = rows_of(weekly_panel())
    with pytest.raises(Refused, match="TOO_FEW_ROWS"):
        two_way.fit_rows(pick(rows, rows.period == 3), NAMES)
    with pytest.raises(Refused, match="TOO_FEW_ROWS"):
        two_way.fit_rows(pick(rows, rows.unit == 50), NAMES)
    with pytest.raises(Refused, match="TOO_FEW_CLUSTERS"):
        two_way.fit_rows(pick(rows, rows.cluster == 2), NAMES)
    few = pick(rows, np.isin(rows.unit, [3, 9]) & np.isin(rows.period, [1, 2, 4]))
    with pytest.raises(Refused, match="TOO_FEW_ROWS"):
        two_way.fit_rows(few, NAMES)


def test_rows_that_are_no_panel_are_refused() -> None:
    rows = rows_of(weekly_panel())
    twice = pick(rows, np.append(np.arange(len(rows.unit)), 5))
    with pytest.raises(InvalidInput, match="two rows in one period"):
        two_way.fit_rows(twice, NAMES)
    with pytest.raises(InvalidInput, match="missing or not finite"):
        two_way.fit_rows(replace(rows, values=np.where(rows.values > 2, np.nan, rows.values)), NAMES)
    with pytest.raises(InvalidInput, match="columns of one length"):
        two_way.fit_rows(replace(rows, period=rows.period[1:]), NAMES)
    with pytest.raises(InvalidInput, match="names for"):
        two_way.fit_rows(rows, ["d"])
    with pytest.raises(InvalidInput, match="at least one part"):
        fit([])


def test_the_callers_rows_are_left_as_they_were() -> None:
    rows = rows_of(weekly_panel())
    before = rows.values.copy()
    two_way.fit_rows(rows, NAMES)
    np.testing.assert_array_equal(rows.values, before)


def test_merging_in_process_holds_a_result_a_level_not_one_a_part() -> None:
    alive, most = 0, 0

    def load(part: int) -> list[int]:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return [part]

    def merge(a: list[int], b: list[int]) -> list[int]:
        nonlocal alive
        alive -= 1
        return a + b

    runner = two_way.InProcess()
    merged = runner.tree_reduce(merge, runner.map(load, range(1000)))
    assert sorted(merged) == list(range(1000))
    assert most <= 12
