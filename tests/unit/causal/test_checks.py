"""The lead test refuses feedback and hidden causes; what is called a sanity check does not see them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.causal import checks, estimators
from pipelines.causal.design import Design, Extra
from pipelines.causal.estimators import Main, Scale
from pipelines.causal.within import Groups, regress
from pipelines.evidence import Check, CheckResult, Estimate
from tests.support import panels
from tests.support.panels import World

CLEAN = World(people=150, team=5)
HIDDEN = replace(CLEAN, hidden=0.8)
FEEDBACK = replace(CLEAN, feedback=0.5)


@cache
def rows_of(world: World, seed: int = 1) -> Design:
    return panels.design_of(world, seed)


def lead(world: World, seed: int = 1) -> Check:
    rows = rows_of(world, seed)
    return checks.lead(rows, estimators.scale_of(rows), 0.05)


@cache
def main_of(world: World) -> Main:
    rows = rows_of(world)
    return estimators.fe_dml(rows, estimators.scale_of(rows), trees=False)


@pytest.mark.parametrize("world", [HIDDEN, FEEDBACK])
def test_the_lead_test_refuses_what_placebo_common_cause_and_subset_let_pass(world: World) -> None:
    assert lead(world).result is CheckResult.FAILED
    assert lead(world).gate
    main, rows = main_of(world), rows_of(world)
    assert abs(main.estimate.effect - world.effect) > 3 * main.estimate.se  # it is wrong
    for check in (checks.placebo(main, rows), checks.random_common_cause(main, rows), checks.subset(main, rows)):
        assert check.result is CheckResult.PASSED
        assert not check.gate
        assert "a test of the code, not of the finding" in check.words


def test_the_lead_test_seldom_refuses_a_clean_panel() -> None:
    assert sum(lead(replace(CLEAN, people=100), seed).result is CheckResult.FAILED for seed in range(6)) <= 1


def test_the_lead_test_says_what_it_cannot_see() -> None:
    words = lead(CLEAN).words
    assert "cannot tell feedback from a hidden cause" in words
    assert "would have missed a lead of under" in words


def test_without_a_later_treatment_the_gate_is_not_run_and_not_passed() -> None:
    rows = replace(rows_of(CLEAN), extra=Extra())
    found = checks.lead(rows, estimators.scale_of(rows), 0.05)
    assert found.result is CheckResult.NOT_RUN
    assert found.gate


def test_a_negative_control_that_moves_refuses_and_a_still_one_does_not() -> None:
    rows = rows_of(CLEAN)
    noise = np.random.default_rng(1).normal(size=rows.rows)
    still, moved = (replace(rows, extra=replace(rows.extra, control=c)) for c in (noise, noise + 0.3 * rows.d))
    assert checks.negative_control(still, 0.05).result is CheckResult.PASSED
    assert checks.negative_control(moved, 0.05).result is CheckResult.FAILED
    assert checks.negative_control(rows, 0.05).result is CheckResult.NOT_RUN


def test_an_effect_of_the_teammates_is_seen_and_told_from_ones_own() -> None:
    rows = rows_of(World(people=200, team=5, spill=1.2, leave=0.0))
    check, of_others, own = checks.spillover(rows, 0.05)
    assert check.result is CheckResult.FAILED
    assert of_others is not None
    assert own is not None
    assert abs(of_others.effect - 1.2) < 3 * of_others.se
    assert abs(own.effect - 0.3) < 3 * own.se
    assert checks.spillover(rows_of(CLEAN), 0.05)[0].result is CheckResult.PASSED


def test_the_placebo_notices_standard_errors_that_are_too_small() -> None:
    rows = rows_of(CLEAN)
    rng = np.random.default_rng(1)
    drift = np.cumsum(rng.normal(size=(2, rows.people, rows.periods)), axis=2)[:, rows.unit, rows.week]
    main = replace(main_of(CLEAN), y=drift[0], d=drift[1])
    as_if_independent = replace(rows, cluster=np.arange(rows.rows))
    assert checks.placebo(main, as_if_independent).result is CheckResult.FAILED
    assert checks.placebo(main, rows).result is CheckResult.PASSED


def of(effect: float, se: float, d: float = 1.0, r2: float = 0.1) -> Main:
    """A main specification with this partial R2 of treatment and outcome."""
    rng = np.random.default_rng(1)
    x, e = (c / np.sqrt(c @ c) for c in np.linalg.qr(rng.normal(size=(500, 2)))[0].T)
    y = np.sqrt(r2) * x + np.sqrt(1 - r2) * e
    estimate = Estimate("fe_dml", effect, se, effect - 2 * se, effect + 2 * se, 0.01)
    return Main(estimate, y, x * d, 0.2, {"weak": (0.01, 0.01), "strong": (0.3, 0.2)}, 0.0)


def test_the_robustness_value_is_that_of_the_paper() -> None:
    """Cinelli & Hazlett 2020, table 1: t = 4.18 with 783 degrees of freedom gives RV 13.9 % and RV at 5 % 7.6 %."""
    r2 = 4.18**2 / (4.18**2 + 783)
    value, of_interval = checks.robustness_value(of(0.097, 0.097 / 4.18, r2=r2), 784)
    assert value == pytest.approx(0.139, abs=0.001)
    assert of_interval == pytest.approx(0.076, abs=0.001)


def test_an_interval_around_zero_has_no_robustness() -> None:
    assert checks.robustness_value(of(0.1, 0.1), 100)[1] == 0.0


def test_the_benchmark_is_the_strongest_covariate_on_the_same_scale() -> None:
    name, strength = checks.strongest_observed(of(0.1, 0.01))
    assert name == "strong"
    assert strength**2 / (1 - strength) == pytest.approx(0.3 * 0.2 / 0.8)
    weak, _, _ = checks.robustness(of(0.1, 0.01, r2=0.02), 100, 0.05)
    strong, _, _ = checks.robustness(of(0.1, 0.001, r2=0.3), 100, 0.05)
    assert (weak.result, strong.result) == (CheckResult.FAILED, CheckResult.PASSED)


@pytest.mark.parametrize(
    ("share", "explained", "result"),
    [(0.5, 0.5, CheckResult.PASSED), (0.04, 0.5, CheckResult.FAILED), (0.5, 0.96, CheckResult.FAILED)],
)
def test_there_must_be_something_to_compare(share: float, explained: float, result: CheckResult) -> None:
    assert checks.overlap(Scale(1, 1, share, -1, 1), explained, 0.05, 0.95).result is result


def spec(method: str, effect: float) -> Estimate:
    return Estimate(method, effect, 0.01, effect - 0.02, effect + 0.02, 0.01)


@pytest.mark.parametrize(
    ("method", "effect", "better", "result"),
    [
        ("fe_dml_dynamic", 0.12, 0.0, CheckResult.PASSED),
        ("fe_dml_dynamic", 0.20, 0.0, CheckResult.FAILED),
        ("fe_dml_dynamic", 0.20, 0.5, CheckResult.FAILED),
        ("twfe", 0.30, 0.0, CheckResult.FAILED),
        ("twfe", 0.30, 0.5, CheckResult.PASSED),  # bends that it cannot follow
        ("twfe", -0.30, 0.5, CheckResult.FAILED),  # but not another sign
    ],
)
def test_specifications_agree_or_are_named(method: str, effect: float, better: float, result: CheckResult) -> None:
    main = replace(of(0.1, 0.01), better=better)
    found = checks.agreement(main, (main.estimate, spec(method, effect)), 0.5)
    assert found.result is result
    assert (method in found.words) == (result is CheckResult.FAILED)


def test_a_lead_test_that_could_not_have_seen_enough_is_not_passed() -> None:
    rows = rows_of(CLEAN)
    found = checks.lead(rows, estimators.scale_of(rows), 0.05, least=0.01)
    assert found.result is CheckResult.NOT_RUN
    assert "too much beside this effect" in found.words


def test_the_size_that_is_said_to_be_visible_is_seen_four_times_in_five() -> None:
    """200 panels with an effect of just that size; half of it, the control, is seen far less often."""
    rng = np.random.default_rng(5)
    unit, week = (codes.ravel() for codes in np.indices((90, 6)))
    groups = Groups(unit, week, unit // 3)
    seen = {1.0: 0, 0.5: 0}
    for _ in range(200):
        d, noise = (rng.normal(size=540) + rng.normal(size=(30, 6))[unit // 3, week] for _ in range(2))
        size = checks.visible(regress(noise, d[:, None], groups, "").se, 30)
        for share in seen:
            seen[share] += regress(noise + share * size * d, d[:, None], groups, "").p < 0.05
    assert 0.72 < seen[1.0] / 200 < 0.88
    assert seen[0.5] / 200 < 0.45
