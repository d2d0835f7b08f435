"""Each rule says no for its own reason and for no other, and to nothing that is in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipelines.errors import InvalidInput
from pipelines.evidence import State, Status
from pipelines.interventions import policy
from pipelines.interventions.policy import Blackout, Context, Rules, why_not
from pipelines.interventions.proposal import Halt, Proposal, Target, TargetKind, registered_hash
from tests.support.fakes_proposals import LIVE, NOW, context, proposal

DAY = timedelta(days=1)


def with_found(**changes: Any) -> Proposal:
    made = proposal()
    return replace(made, finding=replace(made.finding, **changes))


def with_evidence(**changes: Any) -> Proposal:
    made = proposal()
    return replace(made, evidence=replace(made.evidence, **changes))


def with_expected(**changes: Any) -> Proposal:
    """Registered anew, so that only the expectation is wrong."""
    made = proposal()
    assert made.expected is not None
    return registered(replace(made, expected=replace(made.expected, **changes)))


def with_params(**changes: Any) -> Proposal:
    made = proposal()
    return registered(replace(made, playbook=replace(made.playbook, params={**made.playbook.params, **changes})))


def registered(made: Proposal) -> Proposal:
    assert made.outcome_plan is not None
    plan = replace(made.outcome_plan, registered_hash=registered_hash(made.outcome_plan, made))
    return replace(made, outcome_plan=plan)


def other(state: State = State.APPROVED, key: str = "team-b", days_ago: float = 0, **changes: Any) -> Proposal:
    made = proposal(id=f"other-{key}", state=state, target=Target(TargetKind.TEAM, key, 20))
    return replace(made, changed_at=NOW - days_ago * DAY, **changes)


def rules(**changes: Any) -> Context:
    return context(rules=replace(LIVE, **changes))


def codes(made: Proposal, where: Context | None = None) -> set[str]:
    return {refusal.rule for refusal in why_not(made, where or context())}


_REFUSED: dict[str, Callable[[], set[str]]] = {
    "HALTED": lambda: codes(proposal(), context(halted=Halt("odd numbers", "Eva", NOW))),
    "STALE_WINDOW": lambda: codes(proposal(window_end=NOW - timedelta(hours=24, seconds=1))),
    "NOT_CREDIBLE": lambda: codes(with_evidence(verdict=Status.UNDERPOWERED.value)),
    "GROUP_TOO_SMALL": lambda: codes(proposal(), rules(k=21)),
    "LOW_COVERAGE": lambda: codes(with_found(coverage=0.89)),
    "INSIDE_BAND": lambda: codes(with_found(value=12.0)),
    "OUTSIDE_SUPPORTED_RANGE": lambda: codes(with_params(change_supported=1.9)),
    "EFFECT_NOT_FROM_EVIDENCE": lambda: codes(with_expected(effect=-0.21)),
    "COOLDOWN": lambda: codes(proposal(), context(standing=[other(State.REJECTED, "team-a", 27)])),
    "BLACKOUT": lambda: codes(proposal(), rules(blackout=(Blackout(NOW.date(), NOW.date(), "year end"),))),
    "TEAM_BUDGET": lambda: codes(proposal(), context(standing=[other(key="team-a", finding=with_found().finding)])),
    "BUDGET": lambda: codes(proposal(), replace(rules(open_in_all=1), standing=[other()])),
    "NO_PLAN": lambda: codes(proposal(outcome_plan=None)),
}


@pytest.mark.parametrize("code", _REFUSED)
def test_the_rule_says_no_and_the_others_do_not(code: str) -> None:
    assert _REFUSED[code]() == {code}


def test_a_proposal_in_order_is_refused_by_no_rule() -> None:
    assert why_not(proposal(), context()) == []


def test_every_rule_can_say_no() -> None:
    """Two more than above: NO_IMPROVEMENT and PLAYBOOK_CHANGED, which never come alone, have tests of their own."""
    assert len(policy.RULES) == len(_REFUSED) + 2


def test_all_reasons_are_given_at_once_each_with_what_would_change_it() -> None:
    made = replace(with_found(coverage=0.5), evidence=with_evidence(verdict="too_few_clusters").evidence)
    found = why_not(made, rules(k=30))
    assert [r.rule for r in found] == ["NOT_CREDIBLE", "GROUP_TOO_SMALL", "LOW_COVERAGE"]
    assert all(r.words and r.unblocks for r in found)
    assert policy.in_words(found).count("unblocked by") == 3


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.CREDIBLE])
def test_nothing_but_credible_is_credible(status: Status) -> None:
    assert "NOT_CREDIBLE" in codes(with_evidence(verdict=status.value))


@pytest.mark.parametrize("change", [{"ci": (-0.28, 0.01)}, {"effect": 0.2, "ci": (0.12, 0.28)}, {"metric": "fame"}])
def test_an_effect_that_may_be_bad_or_that_nobody_has_called_good_is_refused(change: dict[str, Any]) -> None:
    assert "NO_IMPROVEMENT" in codes(with_expected(**change))
    assert "NO_IMPROVEMENT" in codes(proposal(expected=None))


def test_an_installation_says_which_way_its_own_measures_improve() -> None:
    made, wrong = with_expected(metric="survey:pain"), rules(better=policy.directions("pain=more; fame=less"))
    assert "NO_IMPROVEMENT" in codes(made)
    assert "NO_IMPROVEMENT" not in codes(made, rules(better=policy.directions("pain=less")))
    assert "NO_IMPROVEMENT" in codes(made, wrong)


@pytest.mark.parametrize("text", ["pain", "pain=good", "=less", "pain:less"])
def test_a_direction_that_says_nothing_is_bad_input(text: str) -> None:
    with pytest.raises(InvalidInput, match="which way"):
        policy.directions(text)


def test_a_plan_or_expectation_that_was_changed_afterwards_is_refused() -> None:
    made = proposal()
    assert made.outcome_plan is not None
    assert codes(replace(made, outcome_plan=replace(made.outcome_plan, harm_bound=99.0))) == {"PLAN_CHANGED"}
    assert "PLAN_CHANGED" in codes(replace(made, target=Target(TargetKind.TEAM, "team-b", 20)))


@pytest.mark.parametrize("change", [{"version": 99}, {"template_id": "nobody_knows"}])
def test_a_playbook_that_is_not_shipped_is_refused(change: dict[str, Any]) -> None:
    made = proposal()
    assert "PLAYBOOK_CHANGED" in codes(replace(made, playbook=replace(made.playbook, **change)))


@pytest.mark.parametrize("change", [-0.2, -3.1, 2.0, 0.0])
def test_a_change_beyond_playbook_or_data_or_the_wrong_way_is_refused(change: float) -> None:
    assert "OUTSIDE_SUPPORTED_RANGE" in codes(with_params(change_assumed=change, change_supported=9.0))


def test_a_value_beyond_the_band_on_the_good_side_needs_nothing() -> None:
    assert codes(with_found(value=1.0)) == {"INSIDE_BAND"}


@pytest.mark.parametrize(("coverage", "refused"), [(0.9, False), (0.9 - 1e-9, True)])
def test_nine_tenths_of_the_data_are_enough(coverage: float, refused: bool) -> None:
    assert ("LOW_COVERAGE" in codes(with_found(coverage=coverage))) is refused


@pytest.mark.parametrize(
    ("state", "days_ago", "rests"),
    [
        (State.REJECTED, 27.9, True),
        (State.REJECTED, 28.0, False),
        (State.HARMFUL, 20, True),
        (State.EXPIRED, 6.9, True),
        (State.EXPIRED, 7.0, False),
        (State.WITHDRAWN, 0, False),
    ],
)
def test_what_was_turned_down_rests(state: State, days_ago: float, rests: bool) -> None:
    where = context(standing=[other(state, "team-a", days_ago)])
    assert codes(proposal(), where) == ({"COOLDOWN"} if rests else set())
    assert codes(proposal(), context(standing=[other(state, "team-b", days_ago)])) == set()


@pytest.mark.parametrize(("days_ago", "rests"), [(0, True), (27.9, True), (28.0, False)])
def test_what_people_took_back_rests_and_what_a_run_took_back_does_not(days_ago: float, rests: bool) -> None:
    gone = other(State.WITHDRAWN, "team-a", days_ago)
    by_people = context(standing=[gone], taken_back=frozenset({gone.id}))
    assert codes(proposal(), by_people) == ({"COOLDOWN"} if rests else set())
    assert codes(proposal(), context(standing=[gone])) == set()


def test_a_window_grows_stale_before_it_is_proposed_and_not_while_it_waits() -> None:
    made = proposal(window_end=NOW - timedelta(hours=24))
    assert codes(made, context(now=NOW + timedelta(hours=23))) == set()
    assert "pipelines.full" in why_not(proposal(window_end=NOW - 13 * DAY), context())[0].unblocks


def test_a_cooldown_says_until_when_in_the_local_zone() -> None:
    where = replace(rules(zone="Pacific/Auckland"), standing=[other(State.REJECTED, "team-a", 1)])
    assert policy.cooldown_until(proposal(), where) == date(2026, 3, 30)  # 2026-03-29 12:00 UTC is 01:00 on the 30th


@pytest.mark.parametrize(
    ("zone", "now", "black"),
    [
        ("UTC", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), False),
        ("UTC", datetime(2027, 1, 1, 0, 0, tzinfo=UTC), True),
        ("Europe/Berlin", datetime(2026, 12, 31, 23, 0, tzinfo=UTC), True),
        ("Europe/Berlin", datetime(2026, 12, 31, 22, 59, tzinfo=UTC), False),
        ("America/Los_Angeles", datetime(2027, 1, 1, 7, 59, tzinfo=UTC), False),
        ("America/Los_Angeles", datetime(2027, 1, 1, 8, 0, tzinfo=UTC), True),
        ("America/Los_Angeles", datetime(2027, 1, 3, 7, 59, tzinfo=UTC), True),
        ("America/Los_Angeles", datetime(2027, 1, 3, 8, 0, tzinfo=UTC), False),
    ],
)
def test_blackout_dates_are_local_dates(zone: str, now: datetime, black: bool) -> None:
    days = (Blackout(date(2027, 1, 1), date(2027, 1, 2), "new year"),)
    where = replace(rules(zone=zone, blackout=days), now=now)
    found = policy.blacked_out(proposal(), where)
    assert (found is not None) is black
    assert found is None or found.unblocks == "2027-01-03"


def test_a_blackout_ends_on_its_local_day_also_when_the_clock_changes() -> None:
    days = (Blackout(date(2026, 3, 29), date(2026, 3, 29), "the short day"),)  # 23 hours in Berlin
    where = rules(zone="Europe/Berlin", blackout=days)
    ends = [datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)]
    minute = timedelta(minutes=1)
    told = [
        policy.blacked_out(proposal(), replace(where, now=at)) is not None for end in ends for at in (end - minute, end)
    ]
    assert told == [False, True, True, False]


def test_a_proposal_for_all_and_one_for_a_pair_use_up_a_teams_budget() -> None:
    for target in (Target(TargetKind.ORG, "", 400), Target(TargetKind.TEAM_PAIR, "team-a|team-z", 20)):
        assert codes(proposal(), context(standing=[replace(other(), target=target)])) == {"TEAM_BUDGET"}


@pytest.mark.parametrize("state", [State.BLOCKED, State.SHADOW, State.WITHDRAWN, State.IMPROVED])
def test_what_asks_nothing_of_anybody_uses_no_budget(state: State) -> None:
    same = other(state, "team-a", finding=with_found(metric="after_hours_share").finding)
    assert codes(proposal(), context(standing=[same])) == set()


def test_a_proposal_does_not_stand_in_its_own_way() -> None:
    assert codes(proposal(), replace(rules(open_in_all=1), standing=[proposal()])) == set()


def test_limits_tell_how_things_stand() -> None:
    where = context(standing=[other(), other(State.REJECTED, "team-a", 1)])
    told = policy.limits(proposal(), where)
    assert (told.open_for_team, told.cooldown_until, told.blackout, told.budget_left) == (
        0,
        date(2026, 3, 29),
        False,
        9,
    )


def test_k_may_be_raised_and_not_lowered() -> None:
    assert Rules(k=6).k == 6
    with pytest.raises(InvalidInput, match="raised"):
        Rules(k=4)


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match="Nowhere/Land"):
        Rules(zone="Nowhere/Land")
    with pytest.raises(InvalidInput, match="before it begins"):
        Blackout(date(2027, 1, 2), date(2027, 1, 1), "backwards")


def test_blackouts_are_read_from_a_setting() -> None:
    read = policy.blackouts("2026-12-24/2027-01-01 year end;2027-05-01;")
    assert read == (
        Blackout(date(2026, 12, 24), date(2027, 1, 1), "year end"),
        Blackout(date(2027, 5, 1), date(2027, 5, 1), "no reason given"),
    )
    assert policy.blackouts(" ") == ()


@pytest.mark.parametrize("text", ["soon", "2026-12-24/soon", "2026-13-01 x", "2027-01-02/2027-01-01 x"])
def test_a_blackout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        policy.blackouts(text)


def test_a_new_installation_starts_in_shadow_mode() -> None:
    assert Rules().shadow
