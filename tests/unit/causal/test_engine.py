"""The engine as a whole: what is there is found, what is not is not claimed, and too little is said to be too little."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pytest

from pipelines.causal.engine import CausalEngine
from pipelines.causal.panel import OutcomeRow, Panel
from pipelines.causal.questions import Question
from pipelines.causal.verdict import Thresholds
from pipelines.evidence import CheckResult, Finding, Status, SubjectKind
from tests.support import panels
from tests.support.panels import CATALOGUE, MONDAY, QUESTION, Drawn, World

ENGINE = CausalEngine(catalogue=CATALOGUE)
SMALL = World(people=100, weeks=16, effect=0.5)
ALONE = replace(QUESTION, by_team=False)


def analysed(drawn: Drawn, question: Question = ALONE) -> tuple[Finding, ...]:
    return ENGINE.analyse(drawn.panel(), [question])


@cache
def usual() -> tuple[Finding, ...]:
    return ENGINE.analyse(panels.drawn(SMALL, 3).panel(), [QUESTION])


def test_a_planted_effect_is_credible_and_its_interval_holds_the_truth() -> None:
    found = usual()[0]
    assert found.status is Status.CREDIBLE
    assert found.estimate is not None
    assert found.estimate.ci_low < SMALL.effect < found.estimate.ci_high
    assert found.subject_kind is SubjectKind.ORG
    assert (found.people, found.clusters, found.cluster_level) == (100, 10, "team")
    assert {spec.method for spec in found.specs} >= {"fe_dml", "twfe", "fe_dml_dynamic"}
    assert "wild cluster bootstrap" in " ".join(found.reasons)


def test_a_finding_says_what_a_change_within_the_observed_range_would_do() -> None:
    found = usual()[0]
    assert found.contrast is not None
    assert found.contrast_effect is not None
    assert found.estimate is not None
    assert found.contrast < 0
    effect, low, high = found.contrast_effect
    assert effect == pytest.approx(found.contrast * found.estimate.effect)
    assert low < effect < high < 0


def test_every_team_of_ten_has_a_shrunken_effect_and_rates_count_all_tests() -> None:
    teams = [f for f in usual() if f.subject_kind is SubjectKind.TEAM]
    assert len(teams) == 10
    assert all("Shrunk by" in " ".join(f.reasons) for f in teams)
    assert all(f.q_bh is not None and f.q_by is not None and f.q_by >= f.q_bh for f in usual())
    assert len({f.id for f in usual()}) == len(usual())


def test_the_same_panel_gives_the_same_findings_and_another_one_other_ids() -> None:
    again = ENGINE.analyse(panels.drawn(SMALL, 3).panel(), [QUESTION])
    assert again == usual()
    other = analysed(panels.drawn(replace(SMALL, weeks=6), 3))
    assert other[0].id != usual()[0].id


@pytest.mark.parametrize("world", [replace(SMALL, effect=0.0), replace(SMALL, team=5, effect=0.0, hidden=1.0)])
def test_nothing_is_claimed_where_nothing_is(world: World) -> None:
    assert all(f.status is not Status.CREDIBLE for f in analysed(panels.drawn(world, 1)))


def test_a_hidden_cause_is_not_called_an_effect() -> None:
    found = analysed(panels.drawn(replace(SMALL, team=5, hidden=1.0), 1))[0]
    assert found.status is Status.FEEDBACK_OR_CONFOUNDING


def test_an_operational_outcome_stays_exploratory() -> None:
    drawn = panels.drawn(SMALL, 3)
    rows = {(o.person, (o.time.date() - MONDAY).days // 7): o.value for o in drawn.outcomes}
    keys = zip(drawn.columns["person"], drawn.columns["week"], strict=True)
    drawn.columns["badge"] = [rows.get((p, (w - MONDAY).days // 7)) for p, w in keys]  # type: ignore[operator,call-overload]
    found = analysed(drawn, replace(ALONE, id="load.badge", outcome="badge"))[0]
    assert found.status is Status.EXPLORATORY_PROXY
    assert found.estimate is not None


def test_a_place_in_the_network_is_labelled_interference() -> None:
    drawn = panels.drawn(SMALL, 3)
    drawn.columns["hub"] = drawn.columns["load"]
    found = analysed(drawn, replace(ALONE, treatment="hub"))[0]
    assert found.interference
    assert found.status is Status.EXPLORATORY_PROXY


def test_an_effect_of_teammates_is_a_finding_of_its_own_that_proposes_nothing() -> None:
    found = analysed(panels.drawn(replace(SMALL, spill=1.5, leave=0.0), 1))
    spill = [f for f in found if f.question.endswith(".spillover")]
    assert [f.status for f in spill] == [Status.EXPLORATORY_PROXY]
    assert found[0].interference
    assert spill[0].interference
    assert spill[0].estimate is not None
    assert spill[0].estimate.effect == pytest.approx(1.5, abs=0.5)


# ------------------------------------------------------------------------------------------------ too little


def test_few_weeks_say_when_there_will_be_enough() -> None:
    found = analysed(panels.drawn(replace(SMALL, weeks=7), 1))[0]
    assert found.status is Status.NOT_ENOUGH_HISTORY
    assert found.estimate is None
    assert found.periods == 6
    assert found.enough_on == MONDAY + timedelta(weeks=9)  # weeks 7 and 8 have to be over


def test_monthly_surveys_are_waited_for_at_their_own_pace() -> None:
    drawn = panels.drawn(replace(SMALL, weeks=17), 1)
    monthly = [o for o in drawn.outcomes if (o.time.date() - MONDAY).days // 7 % 4 == 0]
    found = analysed(Drawn(drawn.columns, monthly))[0]
    assert found.status is Status.NOT_ENOUGH_HISTORY
    assert found.periods == 4  # weeks 4, 8, 12 and 16
    assert found.enough_on == MONDAY + timedelta(weeks=33)  # weeks 20, 24, 28 and 32


def test_no_answers_at_all_are_not_enough_history() -> None:
    drawn = panels.drawn(SMALL, 1)
    none = [o._replace(value=float("nan")) for o in drawn.outcomes]
    found = analysed(Drawn(drawn.columns, none))[0]
    assert found.status is Status.NOT_ENOUGH_HISTORY
    assert found.enough_on is None
    assert "There is no value of outcome:tired" in found.reasons[0]


def test_under_five_people_not_even_counts_are_given() -> None:
    drawn = panels.drawn(replace(SMALL, people=4, team=2), 1)
    found = analysed(drawn)[0]
    assert found.status is Status.SUPPRESSED
    assert (found.people, found.rows, found.clusters, found.periods) == (0, 0, 0, 0)


@pytest.mark.parametrize("team", [100, 12])
def test_one_team_or_few_are_too_few_clusters(team: int) -> None:
    found = analysed(panels.drawn(replace(SMALL, team=team), 1))[0]
    assert found.status is Status.TOO_FEW_CLUSTERS
    assert found.estimate is None


def test_a_single_team_whose_people_decide_for_themselves_has_clusters_enough() -> None:
    world = replace(SMALL, people=40, team=40)
    found = analysed(panels.drawn(world, 1), replace(ALONE, assigned="person"))[0]
    assert found.estimate is not None
    assert found.status is Status.UNDERPOWERED  # 40 people


def test_a_treatment_that_never_changes_has_nothing_to_compare() -> None:
    drawn = panels.drawn(SMALL, 1)
    drawn.columns["load"] = [3.0] * len(drawn.columns["load"])
    assert analysed(drawn)[0].status is Status.POOR_OVERLAP


def test_a_treatment_that_changes_for_all_alike_has_nothing_to_compare() -> None:
    drawn = panels.drawn(SMALL, 1)
    drawn.columns["load"] = [float(w.toordinal() % 5) for w in drawn.columns["week"]]  # type: ignore[attr-defined]
    assert analysed(drawn)[0].status is Status.POOR_OVERLAP


def test_unknown_numbers_drop_rows_and_break_nothing() -> None:
    drawn = panels.drawn(SMALL, 3)
    rng = np.random.default_rng(1)
    for name in ("load", "demand", "phase"):
        drawn.columns[name] = [None if rng.random() < 0.05 else v for v in drawn.columns[name]]
    found = analysed(drawn)[0]
    assert found.estimate is not None
    assert found.rows < usual()[0].rows
    assert abs(found.estimate.effect - SMALL.effect) < 4 * found.estimate.se


# ------------------------------------------------------------------------------------------------ how it is called


def test_progress_is_told_and_by_default_only_answerable_questions_are_asked() -> None:
    told: list[tuple[int, int, str]] = []
    tiny: Panel = panels.drawn(replace(SMALL, weeks=5), 1).panel()
    catalogue = replace(CATALOGUE, questions=(QUESTION, replace(QUESTION, id="other", treatment="hub")))
    found = CausalEngine(catalogue=catalogue).analyse(tiny, progress=lambda *step: told.append(step))
    assert [f.question for f in found] == ["load.tired"]
    assert told == [(0, 1, "load.tired"), (1, 1, "")]


def test_limits_are_passed_in() -> None:
    strict = CausalEngine(Thresholds(fewest_clusters=11), CATALOGUE)
    assert strict.analyse(panels.drawn(SMALL, 3).panel(), [ALONE])[0].status is Status.TOO_FEW_CLUSTERS


def test_no_finding_names_a_person() -> None:
    assert "p_0" not in repr(usual())


def test_outcomes_of_strangers_change_nothing_but_the_measure_is_known() -> None:
    drawn = panels.drawn(replace(SMALL, weeks=6), 1)
    stranger = OutcomeRow("p_ffff", drawn.outcomes[0].time, "tired", 1.0)
    assert Drawn(drawn.columns, [*drawn.outcomes, stranger]).panel().version == drawn.panel().version


def test_the_gate_is_in_every_finding_with_an_estimate() -> None:
    for finding in usual():
        assert any(c.name == "lead" and c.gate and c.result is not CheckResult.NOT_RUN for c in finding.checks)
