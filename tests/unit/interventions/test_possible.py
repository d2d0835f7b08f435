"""Drafts for one team: every playbook is asked, nothing is kept, and what could not be drafted says why."""

from __future__ import annotations

from dataclasses import replace

from pipelines.evidence import State, Status
from pipelines.interventions import playbooks
from pipelines.interventions.possible import Draft, Drafting
from pipelines.interventions.proposal import TargetKind
from tests.support.fakes_proposals import WINDOW_END, band, context, finding, proposal

TEAM = "team-a"


def drafts(**changes: object) -> dict[str, Draft]:
    values: dict[str, object] = {"findings": [finding()], "bands": [band()], "context": context()} | changes
    made = Drafting("run-1", WINDOW_END).of_team(TEAM, **values)  # type: ignore[arg-type]
    assert [d.template for d in made] == [t for t in playbooks.SHIPPED.values() if TargetKind.TEAM in t.kinds]
    return {draft.template.id: draft for draft in made}


def codes(draft: Draft) -> list[str]:
    return [refusal.rule for refusal in draft.refusals]


def test_every_practice_of_a_metric_is_drafted_and_not_only_the_first() -> None:
    found = drafts()
    assert codes(found["meeting_free_block"]) == codes(found["shorter_meetings"]) == []
    one, other = found["meeting_free_block"].proposal, found["shorter_meetings"].proposal
    assert one and other and one.id == other.id, "they are about the same thing, and only one of them can be proposed"


def test_a_draft_is_what_a_run_would_propose() -> None:
    assert drafts()["meeting_free_block"].proposal == proposal()


def test_what_could_not_be_drafted_says_why() -> None:
    assert codes(drafts()["quiet_hours"]) == ["NO_BAND"]
    late = band(metric="after_hours_share", value=0.4, normal_low=0.1, normal_high=0.2)
    assert codes(drafts(bands=[band(), late])["quiet_hours"]) == ["NO_EVIDENCE"]
    assert codes(drafts(bands=[])["meeting_free_block"]) == ["NO_BAND"]


def test_bands_of_other_groups_count_for_nothing() -> None:
    found = drafts(bands=[band("team-b"), band("", kind=TargetKind.ORG, size=400)])
    assert codes(found["meeting_free_block"]) == ["NO_BAND"]


def test_weak_evidence_is_drafted_with_its_refusal() -> None:
    weak = drafts(findings=[finding(status=Status.UNDERPOWERED)])["meeting_free_block"]
    assert weak.proposal is not None
    assert codes(weak) == ["NOT_CREDIBLE"]


def test_what_stands_about_the_metric_is_named_and_uses_up_no_budget_while_it_is_undecided() -> None:
    standing = proposal()
    found = drafts(context=context(standing=[standing]))["shorter_meetings"]
    assert found.standing == standing and found.proposal and found.proposal.id == standing.id
    assert codes(found) == []


def test_another_that_was_approved_uses_up_the_teams_budget() -> None:
    other = replace(proposal(), id="other", state=State.APPROVED)
    other = replace(other, finding=replace(other.finding, metric="after_hours_share"))
    assert codes(drafts(context=context(standing=[other]))["meeting_free_block"]) == ["TEAM_BUDGET"]
