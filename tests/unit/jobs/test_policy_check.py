"""The policy asked about one thing: what passes, what says no and what would unblock it; nothing of small groups."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import State, Status
from pipelines.interventions import policy
from pipelines.interventions.possible import Seen
from pipelines.interventions.proposal import Proposal
from pipelines.jobs import policy_check
from pipelines.jobs.policy_check import Checked, Library, asked, check_policy
from tests.support.fakes_proposals import LIVE, NOW, WINDOW_END, FakeProposals, band, finding, proposal

SEEN = Seen("full-2026-03-02T06", WINDOW_END, [finding()], [band()], {"team-a": 20, "": 400, "few": 3})


def library(*there: Proposal, seen: Seen = SEEN, **rules: Any) -> Library:
    store = FakeProposals(replace(LIVE, **rules))
    store.there = {p.id: p for p in there}
    return Library(store, lambda: store._context(NOW), lambda: seen)


def check(library: Library, **parameters: Any) -> Checked:
    return check_policy(asked(parameters), library)


def codes(found: Checked) -> list[str]:
    codes: list[str] = policy_check.numbers(found)["codes"]
    return codes


class TestProposals:
    def test_every_rule_passes_one_that_waits(self) -> None:
        made = proposal()
        found = check(library(made), proposal=made.id)
        assert (found.rules, found.passed, found.refused) == (len(policy.RULES), len(policy.RULES), 0)
        assert policy_check.words(found) == [
            f"proposal {made.id}, version 1: pending approval; from there to draft (by pipeline), approved (by approver),"
            " rejected (by approver), expired (by operator or pipeline), withdrawn (by operator or pipeline)"
        ]

    def test_it_is_asked_as_of_now_and_all_reasons_come_with_what_unblocks_them(self) -> None:
        made = proposal()
        blackout = (policy.Blackout(NOW.date(), NOW.date(), "a holiday"),)
        other = replace(proposal(), id="other", state=State.APPROVED)
        found = check(library(made, other, blackout=blackout), proposal=made.id)
        assert codes(found) == ["BLACKOUT", "TEAM_BUDGET"]
        assert found.refused == 2 and found.passed == len(policy.RULES) - 2
        assert "BLACKOUT: no interventions from 2026-03-02 to 2026-03-02: a holiday (unblocked by: 2026-03-03)" in (
            policy_check.words(found)
        )

    def test_what_is_over_is_told_to_be(self) -> None:
        made = proposal(state=State.REJECTED)
        assert check(library(made), proposal=made.id).about.endswith("rejected; that is its end")

    def test_one_that_nobody_knows_is_wrong_input(self) -> None:
        with pytest.raises(InvalidInput, match="no such proposal"):
            check(library(), proposal="0123456789abcdef")

    def test_of_one_that_is_not_shown_nothing_is_told(self) -> None:
        made = proposal()
        with pytest.raises(Refused) as caught:
            check(library(made, k=30), proposal=made.id)
        assert caught.value.code == "GROUP_TOO_SMALL"
        assert "team-a" not in str(caught.value)


class TestPlaybooks:
    def test_a_playbook_for_a_team_is_asked_as_a_run_would_propose_it(self) -> None:
        found = check(library(), template_id="shorter_meetings", team="team-a")
        assert (found.rules, found.refused) == (len(policy.RULES) + 1, 0)
        assert found.about == "shorter_meetings for team-a, by full-2026-03-02T06"

    def test_a_window_that_is_too_old_says_no(self) -> None:
        old = replace(SEEN, window_end=NOW - timedelta(days=3))
        assert codes(check(library(seen=old), template_id="shorter_meetings", team="team-a")) == ["STALE_WINDOW"]

    def test_weak_evidence_says_what_it_would_need(self) -> None:
        weak = replace(SEEN, findings=[finding(status=Status.UNDERPOWERED, reasons=("too few weeks",))])
        (refused,) = [
            v for v in check(library(seen=weak), template_id="shorter_meetings", team="team-a").verdicts if v.refusal
        ]
        assert refused.rule == "not_credible" and refused.refusal is not None
        assert "too few weeks" in refused.refusal.words
        assert "more weeks or more people" in refused.refusal.unblocks

    def test_without_evidence_that_is_what_is_said(self) -> None:
        assert codes(check(library(), template_id="quiet_hours", team="team-a")) == ["NO_BAND"]

    def test_what_stands_about_the_same_is_not_in_its_way_and_what_is_approved_is(self) -> None:
        asked_of = {"template_id": "shorter_meetings", "team": "team-a"}
        assert codes(check(library(proposal()), **asked_of)) == []
        approved = proposal(state=State.APPROVED, id="other")
        assert codes(check(library(approved), **asked_of)) == ["UNDER_WAY"]

    @pytest.mark.parametrize("team", ["few", "nobody knows it"])
    def test_a_team_that_is_too_small_and_one_that_nobody_knows_get_the_same_answer(self, team: str) -> None:
        with pytest.raises(Refused) as caught:
            check(library(), template_id="shorter_meetings", team=team)
        assert str(caught.value) == "GROUP_TOO_SMALL: no team of that name has 5 people or more"


class TestDocuments:
    def test_a_document_is_told_by_its_counts(self) -> None:
        found = check(library(), document={"items": 3, "valid": 1, "FORBIDDEN_CONTENT": 2})
        assert (found.refused, codes(found)) == (1, ["FORBIDDEN_CONTENT"])
        assert policy_check.words(found)[0] == "a document: 1 of 3 items would be accepted"
        assert "2 items carry or name content" in policy_check.words(found)[1]

    def test_every_code_has_words(self) -> None:
        assert set(policy_check._OF_CODES) == set(policy_check.documents.CODES)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"proposal": "a", "document": {"items": 1, "valid": 1}},
        {"template_id": "shorter_meetings"},
        {"team": "team-a"},
        {"proposal": "canary@example.org"},
        {"proposal": "../canary"},
        {"template_id": "canary", "team": "team-a"},
        {"template_id": "shorter_meetings", "team": "p_" + "0" * 32},
        {"template_id": "shorter_meetings", "team": "canary@example.org"},
        {"template_id": "shorter_meetings", "team": "canary|other"},
        {"template_id": "shorter_meetings", "team": 7},
        {"document": '{"canary": 1}'},
    ],
)
def test_wrong_parameters_are_refused_and_not_repeated(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked(parameters)
    assert not any(word in str(caught.value) for word in ("canary", "p_0"))
