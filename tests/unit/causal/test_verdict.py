"""Every status, and what comes first when several apply."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.causal.verdict import Thresholds, judge, resting_on_the_whole
from pipelines.errors import InvalidInput
from pipelines.evidence import Check, CheckResult, Estimate, Finding, Status, SubjectKind

LIMITS = Thresholds()
GATES = ("lead", "overlap", "agreement", "robustness")


def checks(failed: tuple[str, ...] = (), not_run: tuple[str, ...] = ()) -> tuple[Check, ...]:
    def result(name: str) -> CheckResult:
        return CheckResult.FAILED if name in failed else CheckResult.NOT_RUN if name in not_run else CheckResult.PASSED

    names = dict.fromkeys((*GATES, *failed, *not_run))
    return tuple(Check(name, result(name), "", gate=name not in ("placebo", "network")) for name in names)


def finding(effect: float = 0.3, se: float = 0.03, **changes: object) -> Finding:
    estimate = Estimate("fe_dml", effect, se, effect - 2 * se, effect + 2 * se, 1e-6 if abs(effect) > 2 * se else 0.5)
    base = Finding(
        id="f", question="q", words="", treatment="t", treatment_unit="", outcome="o", outcome_kind="survey",
        lag_weeks=4, subject_kind=SubjectKind.ORG, subject="", people=300, periods=20, rows=5000, clusters=30,
        cluster_level="team", estimate=estimate, specs=(estimate,), checks=checks(), status=Status.SUPPRESSED,
        reasons=(), data_version="v", mde=2.8 * se, effect_sd=effect, q_bh=estimate.p, q_by=estimate.p,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (finding(), Status.CREDIBLE),
        (finding(checks=checks(failed=("placebo",))), Status.CREDIBLE),  # not a gate
        (finding(checks=checks(failed=("lead",))), Status.FEEDBACK_OR_CONFOUNDING),
        (finding(checks=checks(failed=("negative_control",))), Status.FEEDBACK_OR_CONFOUNDING),
        (finding(checks=checks(not_run=("lead",))), Status.UNDERPOWERED),
        (finding(checks=checks(failed=("overlap",))), Status.POOR_OVERLAP),
        (finding(checks=checks(failed=("agreement",))), Status.SPEC_SENSITIVE),
        (finding(checks=checks(failed=("robustness",))), Status.SPEC_SENSITIVE),
        (finding(checks=checks(failed=("outliers", "lead"))), Status.SPEC_SENSITIVE),
        (finding(effect=0.01, checks=checks(failed=("outliers",))), Status.SPEC_SENSITIVE),  # and not "no effect"
        (finding(outcome_kind="proxy"), Status.EXPLORATORY_PROXY),
        (finding(outcome_kind="operational"), Status.EXPLORATORY_PROXY),
        (finding(outcome_kind="event"), Status.CREDIBLE),
        (finding(people=99), Status.UNDERPOWERED),
        (finding(people=12, subject_kind=SubjectKind.TEAM, subject="A"), Status.CREDIBLE),
        (finding(effect=0.01, se=0.03), Status.NO_EFFECT),
        (finding(effect=0.01, se=0.08), Status.UNDERPOWERED),
        (finding(q_bh=0.2), Status.UNDERPOWERED),  # alone it was seen: "would have been seen" would be untrue
        (finding(effect=0.02, se=0.002), Status.NO_EFFECT),  # there, and too small
        (finding(question="q.spillover", interference=True), Status.EXPLORATORY_PROXY),
        (finding(interference=True), Status.CREDIBLE),
        (finding(interference=True, checks=checks(failed=("network",))), Status.EXPLORATORY_PROXY),
        (finding(outcome_kind="proxy", checks=checks(failed=("lead",))), Status.EXPLORATORY_PROXY),
    ],
)
def test_what_a_finding_is_worth(given: Finding, status: Status) -> None:
    assert judge(given, LIMITS)[0] is status
    assert judge(given, LIMITS)[1]


def test_an_interval_that_reaches_zero_through_another_specification_is_not_credible() -> None:
    found = finding()
    assert found.estimate is not None
    wide = replace(found, estimate=replace(found.estimate, ci_low=-0.01))
    assert judge(wide, LIMITS)[0] is Status.UNDERPOWERED


def test_the_deciding_reason_comes_first_and_the_others_follow() -> None:
    status, reasons = judge(finding(checks=checks(failed=("lead", "robustness")), reasons=("12 clusters.",)), LIMITS)
    assert status is Status.FEEDBACK_OR_CONFOUNDING
    assert "feedback or a hidden cause" in reasons[0]
    assert "no stronger than the known ones" in reasons[1]
    assert reasons[-1] == "12 clusters."


def test_a_null_is_not_blamed_for_what_could_undo_an_effect() -> None:
    _, reasons = judge(finding(effect=0.01, checks=checks(failed=("robustness",))), LIMITS)
    assert not any("undo" in words for words in reasons)
    assert "would have been seen" in reasons[0]


def test_without_an_estimate_the_refusal_stands() -> None:
    refused = finding(estimate=None, status=Status.TOO_FEW_CLUSTERS, reasons=("4 teams",))
    assert judge(refused, LIMITS) == (Status.TOO_FEW_CLUSTERS, ("4 teams",))


@pytest.mark.parametrize("limit", [{"k": 4}, {"team_people": 4}])
def test_the_least_group_cannot_be_lowered_below_five(limit: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="no group under 5"):
        Thresholds(**limit)


def test_a_team_is_never_surer_than_everybody() -> None:
    team = finding(people=12, subject_kind=SubjectKind.TEAM, subject="A", status=Status.CREDIBLE)
    for status in Status:
        _, found = resting_on_the_whole([finding(status=status), team])
        assert found.status is status
    (alone,) = resting_on_the_whole([team])
    assert alone.status is Status.UNDERPOWERED
    assert "everybody" in alone.reasons[0]
