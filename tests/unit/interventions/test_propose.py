"""What becomes a proposal, of which finding, and what is expected of it: nothing that the evidence does not say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence import Estimate, Finding, State, Status, SubjectKind
from pipelines.interventions import playbooks, policy
from pipelines.interventions.bands import Band, unnamed
from pipelines.interventions.policy import Blackout, Context
from pipelines.interventions.proposal import Halt, Impact, Proposal, TargetKind
from pipelines.interventions.propose import changes
from tests.support.fakes_proposals import LIVE, NOW, WINDOW_END, band, context, finding, orchestrator

TEAM = {"subject_kind": SubjectKind.TEAM, "subject": "team-a"}


def evaluate(
    findings: list[Finding] | None = None, bands: list[Band] | None = None, where: Context | None = None, **changes: Any
) -> list[Proposal]:
    given_findings = [finding()] if findings is None else findings
    given_bands = [band()] if bands is None else bands
    return orchestrator(**changes).evaluate(given_findings, given_bands, where or context())


def one(*args: Any, **changes: Any) -> Proposal:
    (made,) = evaluate(*args, **changes)
    return made


def codes(made: Proposal) -> list[str]:
    return [r.rule for r in made.refusals]


def test_a_credible_finding_about_a_metric_out_of_its_band_is_proposed() -> None:
    made = one()
    assert (made.state, made.refusals, made.version) == (State.PENDING_APPROVAL, (), 1)
    assert (made.target.key, made.playbook.template_id, made.impact) == ("team-a", "meeting_free_block", Impact.LOW)
    assert made.expires_at == NOW + timedelta(hours=24)
    assert policy.why_not(made, context()) == []


def test_the_expectation_is_the_contrast_scaled_to_the_assumed_change() -> None:
    made = one([finding(contrast=-1.0, contrast_effect=(-0.10, -0.14, -0.06))])
    assert made.playbook.params["change_assumed"] == -1.0  # the data show no more than one hour
    assert made.expected is not None
    assert (made.expected.metric, made.expected.horizon_days) == ("exhaustion", 7 * (8 + 4))
    assert [made.expected.effect, *made.expected.ci] == pytest.approx([-0.10, -0.14, -0.06])


@pytest.mark.parametrize(
    ("value", "contrast", "change"), [(14.0, -9.0, -3.0), (12.5, -9.0, -2.5), (14.0, -2.0, -2.0), (14.0, 2.0, -2.0)]
)
def test_no_more_change_is_assumed_than_playbook_data_and_need_allow(
    value: float, contrast: float, change: float
) -> None:
    effect = tuple(0.1 * contrast * f for f in (1.0, 1.2, 0.8))
    made = one([finding(contrast=contrast, contrast_effect=effect)], [band(value=value)])
    assert made.playbook.params["change_assumed"] == change
    assert made.expected is not None
    assert made.expected.effect == pytest.approx(0.1 * change)


def test_without_a_contrast_nothing_is_known_to_be_possible() -> None:
    made = one([finding(contrast=None, contrast_effect=None)])
    assert (made.state, codes(made)) == (State.BLOCKED, ["NO_IMPROVEMENT", "OUTSIDE_SUPPORTED_RANGE"])


@pytest.mark.parametrize(
    "status",
    [s for s in Status if s not in (Status.CREDIBLE, Status.NO_EFFECT, Status.SUPPRESSED)],
)
def test_weaker_evidence_is_blocked_and_says_what_would_unblock_it(status: Status) -> None:
    made = one([finding(status=status, reasons=("the lead test fails",))])
    assert made.state is State.BLOCKED
    assert "NOT_CREDIBLE" in codes(made)
    assert "the lead test fails" in made.refusals[0].words
    assert len(made.refusals[0].unblocks) > 10
    assert made.expires_at is None


def test_blocked_for_want_of_history_or_power_says_when_or_how_much() -> None:
    soon = one(
        [finding(status=Status.NOT_ENOUGH_HISTORY, enough_on=date(2026, 5, 4), estimate=None, contrast_effect=None)]
    )
    assert "2026-05-04" in soon.refusals[0].unblocks
    weak = one([finding(status=Status.UNDERPOWERED, mde=0.123)])
    assert "0.12" in weak.refusals[0].unblocks


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": Status.NO_EFFECT}, "no effect"),
        ({"status": Status.SUPPRESSED}, "too few people"),
        ({"effect_sd": 0.049}, "too small an effect"),
        ({"subject_kind": SubjectKind.PERSON, "subject": "p_1"}, "a person"),
        ({"treatment": "nothing_moves_it"}, "no playbook"),
        ({**TEAM, "subject": "team-z"}, "another team"),
    ],
)
def test_nothing_is_put_forward_where_there_is_nothing_to_do(changes: dict[str, Any], what: str) -> None:
    assert evaluate([finding(**changes)]) == [], what


@pytest.mark.parametrize("changes", [{"value": 10.0}, {"value": 3.0}, {"size": 4}, {"size": 0}])
def test_a_group_that_is_well_or_too_small_is_left_in_peace(changes: dict[str, Any]) -> None:
    assert evaluate(bands=[band(**changes)]) == []
    assert evaluate([finding(status=Status.UNDERPOWERED)], [band(**changes)]) == []


def test_who_is_a_hairs_breadth_off_has_nothing_to_mend() -> None:
    narrow = {"normal_low": 10.0, "normal_high": 10.0}
    assert evaluate(bands=[band(value=10.2, **narrow)]) == []
    assert len(evaluate(bands=[band(value=10.3, **narrow)])) == 1


def test_a_raised_k_silences_smaller_groups() -> None:
    assert evaluate(where=context(rules=replace(LIVE, k=21))) == []


def test_empty_input_proposes_nothing() -> None:
    assert evaluate([], []) == evaluate([]) == evaluate(None, []) == []


def test_a_halt_proposes_nothing() -> None:
    assert evaluate(where=context(halted=Halt("odd", "Eva", NOW))) == []


def test_an_estimate_that_is_no_number_is_none() -> None:
    bad = Estimate("FE-DML", float("nan"), 1.0, float("-inf"), float("inf"), 0.5)
    made = one(
        [finding(estimate=bad, contrast=None, contrast_effect=None, mde=float("inf"), status=Status.UNDERPOWERED)]
    )
    assert (made.evidence.effect, made.evidence.ci, made.evidence.mde) == (None, None, None)


def test_shadow_mode_shows_and_does_not_ask() -> None:
    made = one(where=context(rules=replace(LIVE, shadow=True)))
    assert (made.state, made.expires_at, made.refusals) == (State.SHADOW, None, ())


def test_advice_of_high_impact_never_waits_for_an_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is shipped; the rule is there for the one that will be."""
    advice = replace(playbooks.SHIPPED["meeting_free_block"], impact=Impact.HIGH)
    monkeypatch.setattr(playbooks, "SHIPPED", {advice.id: advice})
    assert (one().impact, one().state) == (Impact.HIGH, State.SHADOW)


@pytest.mark.parametrize("key", ["p_0123456789abcdef", "P_0123456789ABCDEF", "A|B", " "])
def test_a_name_that_cannot_be_used_stops_nobody_else(key: str) -> None:
    assert [p.target.key for p in evaluate(None, [band(key), band("team-b")])] == ["team-b"]
    (refusal,) = unnamed([band(key), band(key, metric="fragmentation"), band("team-b"), band(size=4)])
    assert (refusal.rule, key.strip() in refusal.words) == ("UNSAFE_NAME", not key.strip())


def test_an_old_window_opens_nothing_and_changes_nothing_that_stands() -> None:
    later = NOW + timedelta(days=13)
    made = one(where=context(now=later))
    assert (made.state, codes(made)) == (State.BLOCKED, ["STALE_WINDOW"])
    shadow = one(where=context(rules=replace(LIVE, shadow=True)))
    where = context(rules=replace(LIVE, shadow=True), standing=[shadow], now=later)
    assert evaluate([finding(status=Status.SPEC_SENSITIVE)], where=where) == [shadow]
    assert one(where=replace(where, standing=[made]), window_end=later).state is State.SHADOW, "the next run mends it"


@pytest.mark.parametrize(("size", "needed"), [(5, 2), (29, 2), (30, 1)])
def test_a_group_under_thirty_needs_two_approvers(size: int, needed: int) -> None:
    made = one(bands=[band(size=size)], where=context(rules=replace(LIVE, two_persons_below=30)))
    assert made.approval.needed == needed


def test_credible_beats_the_rest_and_the_groups_own_beats_that_of_all() -> None:
    own = finding(id="own", data_version="own", **TEAM)
    weak = finding(id="weak", data_version="weak", status=Status.UNDERPOWERED, effect_sd=9.0, **TEAM)
    assert one([finding(), own, weak]).evidence.data_version == "own"
    assert one([weak, finding()]).evidence.data_version == "d1"
    assert one([weak]).state is State.BLOCKED


def test_what_holds_for_all_is_not_held_against_a_group_where_it_was_not_found() -> None:
    absent = finding(id="absent", status=Status.NO_EFFECT, **TEAM)
    (made,) = evaluate([finding(), absent], [band("team-a"), band("team-b")])
    assert made.target.key == "team-b"


def test_there_is_one_proposal_for_a_group_and_metric_whatever_the_number_of_findings() -> None:
    several = [finding(id=str(n), outcome=name, effect_sd=0.1 * n) for n, name in enumerate(("stress", "burnout"), 1)]
    assert one(several).expected == replace(one([several[1]]).expected)  # type: ignore[type-var]


def test_the_best_goes_first_when_the_budget_is_short() -> None:
    where = context(rules=replace(LIVE, open_in_all=1))
    made = evaluate(None, [band("team-a", size=9), band("team-b", size=40), band("team-c", size=20)], where)
    assert [(p.target.key, p.state) for p in made] == [
        ("team-b", State.PENDING_APPROVAL),
        ("team-c", State.BLOCKED),
        ("team-a", State.BLOCKED),
    ]
    assert [codes(p) for p in made] == [[], ["BUDGET"], ["BUDGET"]]


def test_one_team_is_asked_for_one_thing_at_a_time() -> None:
    late = finding(id="f2", treatment="after_hours_share", contrast=-0.1, effect_sd=0.1)
    bands = [band(), band(metric="after_hours_share", value=0.3, normal_low=0.05, normal_high=0.1)]
    made = evaluate([finding(), late], bands)
    assert [(p.finding.metric, codes(p)) for p in made] == [("meeting_h", []), ("after_hours_share", ["TEAM_BUDGET"])]


def test_low_coverage_is_blocked_and_a_blackout_too() -> None:
    assert codes(one(bands=[band(coverage=0.5)])) == ["LOW_COVERAGE"]
    days = (Blackout(NOW.date(), NOW.date(), "year end"),)
    made = one(where=context(rules=replace(LIVE, blackout=days)))
    assert (made.state, codes(made), made.limits.blackout) == (State.BLOCKED, ["BLACKOUT"], True)


def test_an_outcome_that_would_get_worse_is_not_proposed() -> None:
    assert codes(one([finding(outcome="engagement")])) == ["NO_IMPROVEMENT"]
    assert one([finding(outcome="engagement", contrast_effect=(0.2, 0.1, 0.3))]).state is State.PENDING_APPROVAL


def test_interference_is_said() -> None:
    assert [c.name for c in one([finding(interference=True)]).evidence.checks] == ["lead test", "interference"]


def test_the_plan_is_fixed_before_anybody_can_approve() -> None:
    made = one()
    assert made.outcome_plan is not None
    assert made.expires_at is not None
    assert all(day > made.expires_at.date() and day.weekday() == 0 for day in made.outcome_plan.check_dates)
    assert made.outcome_plan.harm_bound == pytest.approx(0.1)  # less exhaustion is hoped for: more of it is harm
    assert len(made.outcome_plan.registered_hash) == 64


def test_every_shipped_playbook_can_be_proposed() -> None:
    for template in playbooks.SHIPPED.values():
        kind = next(iter(sorted(template.kinds)))
        key = {TargetKind.TEAM: "a", TargetKind.TEAM_PAIR: "a|b", TargetKind.ORG: ""}[kind]
        sign = -template.direction  # out of the band on the bad side
        contrast = template.direction * template.most
        found = finding(treatment=template.treatment, contrast=contrast, contrast_effect=(-0.2, -0.3, -0.1))
        apart = band(key, kind=kind, metric=template.treatment, value=10 + sign * 9.0, normal_low=9.0, normal_high=11.0)
        only_it = {template.id: template}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(playbooks, "SHIPPED", only_it)
            made = one([found], [apart])
        assert (made.playbook.template_id, made.refusals) == (template.id, ())


# ------------------------------------------------------------------------------------------------ again


def test_the_same_input_makes_the_same_proposals_in_the_same_order() -> None:
    bands = [band("team-b"), band("team-a", size=30), band("team-c")]
    assert evaluate(None, bands) == evaluate(None, bands[::-1])
    assert len({p.id for p in evaluate(None, bands)}) == 3


def test_what_stands_is_kept_as_it_is() -> None:
    before = one()
    later = context(standing=[before], now=NOW + timedelta(hours=6))
    assert evaluate(where=later, window_end=WINDOW_END + timedelta(hours=6), run="run-2") == [before]


def test_a_change_in_the_third_digit_is_no_change() -> None:
    before = one()
    moved = finding(contrast_effect=(-0.2001, -0.2801, -0.1201), data_version="d2", people=403, mde=0.0501)
    third = band(value=14.04, normal_low=8.01, coverage=0.999)
    assert evaluate([moved], [third], where=context(standing=[before])) == [before]


@pytest.mark.parametrize(
    "changed",
    [
        {"findings": [finding(contrast_effect=(-0.3, -0.4, -0.2))]},
        {"findings": [finding(status=Status.SPEC_SENSITIVE)]},
        {"findings": [finding(people=440)]},
        {"findings": [finding(mde=0.06)]},
        {"bands": [band(size=21)]},
        {"bands": [band(value=35.0)]},
        {"bands": [band(normal_low=7.0)]},
        {"bands": [band(normal_high=11.0)]},
        {"bands": [band(since=date(2026, 2, 16))]},
        {"where": context(rules=replace(LIVE, shadow=True))},
    ],
)
def test_what_an_approver_would_want_to_know_is_a_new_version(changed: dict[str, Any]) -> None:
    before = one()
    where = replace(changed.pop("where", context()), standing=[before])
    after = one(where=where, **changed)
    fresh = one(where=replace(where, standing=()), **changed)
    assert (after.id, after.version) == (before.id, 2)
    assert (after.finding, after.evidence) == (fresh.finding, fresh.evidence), "what is shown is this run's"
    assert "PLAN_CHANGED" not in codes(after)
    assert policy.plan_changed(after, where) is None


def test_what_is_under_way_is_left_alone() -> None:
    under_way = replace(one(), state=State.MONITORING)
    assert evaluate([finding(status=Status.SPEC_SENSITIVE)], where=context(standing=[under_way])) == [under_way]


def test_a_window_that_was_proposed_and_closed_is_not_proposed_again() -> None:
    closed = replace(one(), state=State.WITHDRAWN)
    assert evaluate(where=context(standing=[closed])) == []
    assert len(evaluate(where=context(standing=[closed]), window_end=WINDOW_END + timedelta(hours=1))) == 1


def test_an_older_window_does_not_overwrite_a_newer_one() -> None:
    newer = one(window_end=WINDOW_END + timedelta(hours=6))
    assert evaluate([finding(status=Status.SPEC_SENSITIVE)], where=context(standing=[newer])) == [newer]
    assert changes([], [newer], WINDOW_END).stale == ()


def test_what_a_run_changes_is_found_by_comparing() -> None:
    kept, gone, old = evaluate(None, [band("a"), band("b"), band("c")], context())
    revised, fresh = replace(old, version=2), replace(kept, id="fresh")
    under_way = replace(gone, id="under-way", state=State.APPROVED)
    done = changes([kept, revised, fresh], [kept, gone, old, under_way], WINDOW_END)
    assert (done.unchanged, done.revised, done.fresh, done.stale) == ((kept,), ((old, revised),), (fresh,), (gone,))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60), st.floats(0, 30), st.floats(0, 1)), max_size=8),
    st.lists(st.tuples(st.sampled_from(Status), st.sampled_from(["", "a", "b"]), st.floats(-3, 3)), max_size=5),
)
def test_whatever_comes_in_only_what_every_rule_lets_through_is_put_before_people(
    groups: list[tuple[str, int, float, float]], found: list[tuple[Status, str, float]]
) -> None:
    bands = [band(key, size=size, value=value, coverage=coverage) for key, size, value, coverage in groups]
    findings = [
        finding(
            id=str(n),
            status=status,
            subject=key,
            subject_kind=SubjectKind.TEAM if key else SubjectKind.ORG,
            contrast_effect=(effect, effect - 0.1, effect + 0.1),
        )
        for n, (status, key, effect) in enumerate(found)
    ]
    made = evaluate(findings, bands)
    assert len({p.thing for p in made}) == len(made)
    for place, p in enumerate(made):
        assert p.target.size >= 5
        refused = [r.rule for r in policy.why_not(p, context(standing=made[:place]))]
        assert refused == codes(p)
        assert p.state is (State.BLOCKED if refused else State.PENDING_APPROVAL)
