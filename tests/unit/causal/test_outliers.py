"""One mistyped answer, or a survey on a new scale, is seen for what it is, and becomes neither an effect nor none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.causal import design, estimators, outliers, panel
from pipelines.causal.design import Design, Extra
from pipelines.causal.engine import CausalEngine
from pipelines.causal.panel import OutcomeRow
from pipelines.evidence import Check, CheckResult, Finding, Status
from tests.support import panels
from tests.support.panels import CATALOGUE, MONDAY, QUESTION, World

WORLD = World(people=100, team=5, weeks=14, effect=0.0)
SEEN = replace(WORLD, effect=0.5)
Change = Callable[[int, OutcomeRow], float]


@cache
def drawn(world: World) -> panels.Drawn:
    return panels.drawn(world, 2)


def changed(change: Change, world: World) -> panel.Panel:
    answers = [row._replace(value=float(change(n, row))) for n, row in enumerate(drawn(world).outcomes)]
    return panel.build(drawn(world).columns, answers)


def analysed(change: Change, world: World) -> Finding:
    return CausalEngine(catalogue=CATALOGUE).analyse(changed(change, world), [replace(QUESTION, by_team=False)])[0]


def rows_of(change: Change, world: World = WORLD) -> Design:
    return design.build(changed(change, world), QUESTION, CATALOGUE)


def check_of(finding: Finding) -> Check:
    (found,) = (check for check in finding.checks if check.name == "outliers")
    return found


def as_it_is(_: int, row: OutcomeRow) -> float:
    return row.value


def one(value: float) -> Change:
    return lambda n, row: value if n == 500 else row.value


def week_of(row: OutcomeRow) -> int:
    return (row.time.date() - MONDAY).days // 7


def rescaled(since: int) -> Change:
    """From about 0-7 to sixteen times as much, from a week on."""
    return lambda _, row: 16 * (row.value + 3) if week_of(row) >= since else row.value + 3


# ------------------------------------------------------------------------------------------------ what is odd


@pytest.mark.parametrize("value", [100.0, -100.0, 1e4, 1e9, 1e12])
def test_one_mistyped_answer_is_odd_and_no_other(value: float) -> None:
    rows = rows_of(one(value))
    assert rows.y[outliers.odd(rows)].tolist() == [value]


def test_in_a_clean_panel_nothing_is_odd() -> None:
    assert not outliers.odd(rows_of(as_it_is)).any()


@pytest.mark.parametrize("change", [as_it_is, one(1e9)])
def test_the_standard_deviation_is_that_of_the_clean_panel(change: Change) -> None:
    clean = estimators.scale_of(rows_of(as_it_is)).y
    assert estimators.scale_of(rows_of(change)).y == pytest.approx(clean, rel=0.01)
    assert (np.std(rows_of(change).y) > 1e6) == (change is not as_it_is)  # the control: the plain one is ruined


@pytest.mark.parametrize("since", [4, 7, 11])
def test_of_two_scales_the_one_with_fewer_answers_is_odd(since: int) -> None:
    rows = rows_of(rescaled(since))
    odd = outliers.odd(rows)
    assert odd.mean() == pytest.approx(min(since - 1, 14 - since) / 13, abs=0.04)
    assert (rows.y[odd].mean() > rows.y[~odd].mean()) == (since >= 8)


def test_teams_that_change_their_scale_one_after_the_other_are_seen() -> None:
    team = dict(zip(drawn(WORLD).columns["person"], drawn(WORLD).columns["team"], strict=True))
    since = {name: 4 + n % 7 for n, name in enumerate(sorted(set(map(str, team.values()))))}
    rows = rows_of(lambda n, row: rescaled(since[str(team[row.person])])(n, row))
    same = float((outliers.odd(rows) == (rows.y > 20)).mean())
    assert max(same, 1 - same) > 0.9  # which of the two is the other one, numbers decide


def made(y: np.ndarray[tuple[int], np.dtype[np.float64]], weeks: int) -> Design:
    codes = np.arange(len(y))
    unit, week, team = codes // weeks, codes % weeks, codes // weeks // 10
    empty = np.empty((len(y), 0))
    return Design(y, np.ones(len(y)), empty, (), unit, week, team, team, ("a",) * 20, Extra())


def test_rare_events_and_coarse_answers_are_not_odd() -> None:
    rng = np.random.default_rng(1)
    rare = (rng.random(200 * 20) < 0.01).astype(float)
    days = rare * rng.integers(1, 6, len(rare))
    coarse = rng.integers(1, 8, len(rare)).astype(float)
    busy = np.where(np.arange(len(rare)) % 20 < 8, 2.0, 0.0) + rng.normal(size=len(rare))
    for values in (rare, days, coarse, busy, np.zeros(len(rare))):
        assert not outliers.odd(made(values, 20)).any()


# ------------------------------------------------------------------------------------------------ what is said of it


def test_without_a_mistype_the_effect_is_credible() -> None:
    assert analysed(as_it_is, SEEN).status is Status.CREDIBLE


@pytest.mark.parametrize("value", [700.0, 1e9])
def test_one_mistyped_answer_makes_no_null_of_an_effect(value: float) -> None:
    found = analysed(one(value), SEEN)
    assert found.status is Status.SPEC_SENSITIVE
    assert check_of(found).result is CheckResult.FAILED
    assert "Fewer than 5 of" in check_of(found).words


def test_an_answer_that_decides_nothing_fails_nothing() -> None:
    wild = check_of(analysed(one(25.0), SEEN))
    assert wild.result is CheckResult.PASSED
    assert "change little" in wild.words


def test_a_new_scale_is_not_called_no_effect() -> None:
    found = analysed(rescaled(8), WORLD)
    assert found.status is Status.SPEC_SENSITIVE
    assert "another scale" in check_of(found).words


@pytest.mark.parametrize("value", [1e160, 1e300])
def test_a_number_beyond_all_computing_is_a_finding_without_an_estimate(value: float) -> None:
    found = analysed(one(value), SEEN)
    assert (found.status, found.estimate) == (Status.UNDERPOWERED, None)
    assert "cannot be computed" in found.reasons[0]
