"""Dated changes: the published formulas by csdid's numbers, what two-way fixed effects get wrong, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import chdtrc
from scipy.stats import t as student

from benchmarks.causal_golden import GOLDEN, noise, staggered_panel
from pipelines.causal import did, doubly_robust, two_way
from pipelines.causal.did import NEVER, Controls, DatedChange
from pipelines.causal.sufficient import Rows
from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import CheckResult


def change(covariate: bool = False, units: int = 80) -> DatedChange:
    panel = staggered_panel(units)
    first = panel["first"].reshape(units, -1)[:, 0]
    return DatedChange(
        units=tuple(f"team {n}" for n in range(units)),
        people=np.full(units, 8),
        first=np.where(first == 0, NEVER, first),
        periods=np.arange(1, 8),
        outcome=panel["y"].reshape(units, -1),
        covariates=panel["size"].reshape(units, -1)[:, :1] if covariate else None,
    )


@pytest.mark.parametrize("covariate", [False, True])
@pytest.mark.parametrize(("controls", "name"), [(Controls.NEVER, "nevertreated"), (Controls.NOT_YET, "notyettreated")])
def test_cells_averages_and_errors_are_csdids(covariate: bool, controls: Controls, name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["staggered"]
    expected = golden[f"{'y~size' if covariate else 'y~1'} {name}"]
    cells = did.group_time(change(covariate), controls, small_sample=False)
    np.testing.assert_allclose(cells.effect, expected["att"], atol=1e-11)
    np.testing.assert_allclose(did.errors(cells.influence, cells.cluster), expected["se"], rtol=1e-9)
    for average in (did.simple(cells), did.dynamic(cells), did.by_group(cells)):
        effect, error = expected[average.kind]
        assert average.overall.effect == pytest.approx(effect, abs=1e-11)
        assert average.overall.se == pytest.approx(error, rel=1e-9)


def test_without_covariates_the_doubly_robust_estimate_is_the_difference_of_means() -> None:
    moved, treated = noise(60, 1), np.arange(60) % 3 == 0
    plain = doubly_robust.att(moved, treated, np.ones((60, 1)), small_sample=False)
    general = doubly_robust.doubly_robust(moved, treated, np.ones((60, 1)))
    assert plain[0] == pytest.approx(general[0], rel=1e-12)
    np.testing.assert_allclose(plain[1], general[1], atol=1e-12)


def test_a_2x2_is_welchs_test_of_the_changes() -> None:
    base = change()
    first = np.where(np.arange(80) % 4 == 1, 5, NEVER)
    result = did.two_by_two(replace(base, first=first))
    moved = base.outcome[:, 4:].mean(axis=1) - base.outcome[:, :4].mean(axis=1)
    treated, rest = moved[first == 5], moved[first == NEVER]
    error = np.sqrt(treated.var(ddof=1) / len(treated) + rest.var(ddof=1) / len(rest))
    assert result.effect == pytest.approx(treated.mean() - rest.mean(), rel=1e-12)
    assert result.se == pytest.approx(error, rel=1e-12)
    half = student.ppf(0.975, len(treated) - 1) * error
    assert result.ci_high - result.ci_low == pytest.approx(2 * half, rel=1e-12)


def test_effects_that_grow_are_found_where_two_way_fixed_effects_are_far_off() -> None:
    units, periods = 120, np.arange(1, 13)
    first = np.array([3, 6, 9])[np.arange(units) % 3]  # everybody is treated in the end
    since = periods - first[:, None]
    effect = np.where(since >= 0, 1.0 + since, 0.0)
    outcome = noise(units, 1)[:, None] + 0.5 * periods + effect + 0.1 * noise(units * 12, 2).reshape(units, -1)
    panel = DatedChange(tuple(map(str, range(units))), np.full(units, 9), first, periods, outcome)
    result = did.staggered(panel)
    for at, found in zip(result.dynamic.at, result.dynamic.effects, strict=True):
        assert found == pytest.approx(max(0.0, 1.0 + at), abs=0.1)
    unit, period = np.repeat(np.arange(units), 12), np.tile(periods, units)
    rows = Rows(unit, period, unit, np.stack([outcome.ravel(), (since >= 0).ravel().astype(float)]))
    naive = two_way.fit_rows(rows, ["treated"]).coefficients[0]
    assert naive < 0.6 * result.simple.overall.effect


def test_teams_already_treated_or_treated_later_stay_out_of_the_way() -> None:
    base = change()
    last = replace(base, first=np.where(base.first == NEVER, 99, base.first))  # a date after the panel is not yet
    cells, expected = did.group_time(last), did.group_time(base)
    np.testing.assert_array_equal(cells.effect, expected.effect)
    from_the_start = replace(base, first=np.where(base.first == 6, 1, base.first))
    assert set(did.group_time(from_the_start).group.tolist()) == {3, 5}


def test_clusters_decided_together_widen_the_error() -> None:
    base = change()
    doubled = DatedChange(
        units=base.units + tuple(f"{name} again" for name in base.units),
        people=np.tile(base.people, 2),
        first=np.tile(base.first, 2),
        periods=base.periods,
        outcome=np.tile(base.outcome, (2, 1)),
    )
    together = replace(doubled, clusters=np.tile(np.arange(80), 2))
    one = did.simple(did.group_time(base, small_sample=False)).overall
    blind = did.simple(did.group_time(doubled, small_sample=False)).overall
    aware = did.simple(did.group_time(together, small_sample=False)).overall
    assert aware.se == pytest.approx(one.se, rel=1e-9)
    assert blind.se < 0.75 * one.se


def test_a_trend_before_the_change_is_seen() -> None:
    flat = change()
    kept = replace(flat, outcome=flat.outcome - staggered_panel()["size"].reshape(80, -1)[:, :1] * 0.1 * flat.periods)
    assert did.staggered(kept).pre_trend.result is CheckResult.PASSED
    drift = np.where(flat.first == NEVER, 0.0, 0.3)[:, None] * flat.periods
    found = did.staggered(replace(kept, outcome=kept.outcome + drift)).pre_trend
    assert found.result is CheckResult.FAILED
    assert found.gate
    assert found.p is not None
    assert found.p < 0.001


def test_without_periods_before_the_trend_check_says_that_it_did_not_run() -> None:
    base = change()
    short = replace(base, periods=base.periods[:3], outcome=base.outcome[:, :3], first=np.minimum(base.first, NEVER))
    cells = did.group_time(replace(short, first=np.where(short.first == 3, 2, NEVER)))
    assert did.pre_trend(cells).result is CheckResult.NOT_RUN


def test_the_band_of_the_event_study_is_wider_than_single_intervals_and_repeatable() -> None:
    first, second = did.staggered(change()).dynamic, did.staggered(change()).dynamic
    np.testing.assert_array_equal(first.low, second.low)
    assert ((first.high - first.effects) > 1.96 * first.errors).all()


def test_groups_below_k_or_of_one_team_are_refused() -> None:
    base = change()
    with pytest.raises(Refused, match="fewer than 5 people") as refusal:
        did.staggered(replace(base, people=np.where(base.first == 5, 0, 8)))
    assert refusal.value.code == "GROUP_TOO_SMALL"
    with pytest.raises(Refused, match="compared with those that changed"):
        did.staggered(replace(base, people=np.where(base.first == NEVER, 0, 8)), Controls.NEVER)
    lonely = np.where((base.first == 6) & (np.arange(80) > 5), NEVER, base.first)
    with pytest.raises(Refused, match="only one team") as refusal:
        did.staggered(replace(base, first=lonely))
    assert refusal.value.code == "TOO_FEW_UNITS"
    with pytest.raises(Refused, match="only one team"):
        did.two_by_two(replace(base, first=np.where(np.arange(80) == 3, 5, NEVER)))


def test_what_cannot_be_compared_is_refused() -> None:
    base = change(covariate=True)
    with pytest.raises(Refused, match="NO_CONTROLS"):
        did.staggered(replace(base, first=np.full(80, 4)))
    with pytest.raises(Refused, match="NO_BEFORE"):
        did.two_by_two(replace(base, first=np.where(np.arange(80) < 40, 1, NEVER)))
    apart = np.where(base.first == NEVER, 0.0, 1.0)[:, None] + 0.001 * noise(80, 4)[:, None]
    with pytest.raises(Refused, match="POOR_OVERLAP"):
        did.staggered(replace(base, covariates=apart), Controls.NEVER)


def test_wrong_input_is_refused() -> None:
    base = change()
    with pytest.raises(InvalidInput, match="one date of change, seen 3"):
        did.two_by_two(base)
    with pytest.raises(InvalidInput, match="1 units have missing values"):
        did.staggered(replace(base, outcome=np.where(base.outcome == base.outcome.max(), np.nan, base.outcome)))
    with pytest.raises(InvalidInput, match="need an outcome of that shape"):
        did.staggered(replace(base, outcome=base.outcome[:, 1:]))
    with pytest.raises(InvalidInput, match="periods must ascend"):
        did.staggered(replace(base, periods=base.periods[::-1]))


def test_few_treated_teams_do_not_raise_false_alarms_about_trends() -> None:
    rng, alarms, naive = np.random.default_rng(5), 0, 0
    first = np.repeat([4, 6, 8, NEVER], [2, 2, 2, 24])
    for _ in range(40):
        outcome = rng.standard_normal((30, 1)) + rng.standard_normal((30, 10))
        cells = did.group_time(
            DatedChange(tuple(map(str, range(30))), np.full(30, 8), first, np.arange(1, 11), outcome)
        )
        alarms += did.pre_trend(cells).result is CheckResult.FAILED
        before = cells.period < cells.group
        # The textbook test: every cell before the change, chi-square.
        bread = cells.influence[:, before].T @ cells.influence[:, before] / 30**2
        naive += chdtrc(before.sum(), cells.effect[before] @ np.linalg.pinv(bread) @ cells.effect[before]) < 0.05
    assert alarms <= 5
    assert naive >= 30
