"""A proposal can only be made about a group, and its JSON says the same every time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.errors import InvalidInput
from pipelines.evidence import K_FLOOR, State, SubjectKind
from pipelines.interventions.proposal import (
    AuditLink,
    Choice,
    Decision,
    Target,
    TargetKind,
    as_document,
    body,
    canonical,
    from_body,
    registered_hash,
)
from tests.support.fakes_proposals import NOW, proposal

_CONTRACT = {
    "": "id version target finding playbook preview impact reversibility evidence expected outcome_plan limits approval"
    " audit",
    "target": "kind key size",
    "finding": "metric value normal_low normal_high since coverage",
    "playbook": "template_id version params",
    "evidence": "question method units periods effect ci checks mde data_version verdict",
    "expected": "metric horizon_days effect ci",
    "outcome_plan": "metric comparison method check_dates harm_bound registered_hash",
    "limits": "open_for_team cooldown_until blackout budget_left",
    "approval": "policy needed decisions",
    "audit": "prev_hash hash",
}
#: What we add, each with its reason in the docstring of Proposal.
_OURS = {"": "state refusals run requested_by window_end created_at changed_at expires_at"}


def test_a_person_is_not_a_kind() -> None:
    assert {kind.value for kind in SubjectKind} - {kind.value for kind in TargetKind} == {"person"}
    with pytest.raises(InvalidInput):
        Target("person", "p_" + "0" * 32, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [-1, 0, 1, K_FLOOR - 1])
@pytest.mark.parametrize(("kind", "key"), [("team", "a"), ("team_pair", "a|b"), ("org", "")])
def test_no_group_under_five_can_be_named(kind: str, key: str, size: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        Target(TargetKind(kind), key, size)
    assert "a|b" not in str(refused.value)
    assert Target(TargetKind(kind), key, K_FLOOR).size == K_FLOOR


@pytest.mark.parametrize("key", ["p_" + "ab" * 16, "P_0123456789ABCDEF", "the p_0123456789abcdefs"])
def test_a_team_that_is_really_a_pseudonym_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Target(TargetKind.TEAM, key, 9)
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("team", ""),
        ("team", "  "),
        ("team", "a|b"),
        ("team_pair", "a|b|c"),
        ("team_pair", "|a"),
        ("team_pair", "a"),
        ("team_pair", "b|a"),
        ("team_pair", "a|a"),
        ("org", "a"),
    ],
)
def test_a_key_has_to_fit_its_kind(kind: str, key: str) -> None:
    with pytest.raises(InvalidInput):
        Target(TargetKind(kind), key, 9)


def test_targets_touch_when_they_share_people() -> None:
    a, b, pair, everybody = (
        Target(TargetKind.TEAM, "a", 9),
        Target(TargetKind.TEAM, "b", 9),
        Target(TargetKind.TEAM_PAIR, "a|c", 9),
        Target(TargetKind.ORG, "", 9),
    )
    assert [x.touches(y) for x, y in ((a, a), (a, pair), (pair, a), (a, everybody), (everybody, b))] == [True] * 5
    assert [x.touches(y) for x, y in ((a, b), (b, pair))] == [False] * 2


def test_the_document_has_the_fields_of_the_contract() -> None:
    document = as_document(replace(proposal(), audit=AuditLink("", "ab")))
    for part, names in _CONTRACT.items():
        wanted = set(names.split()) | set(_OURS.get(part, "").split())
        assert set(document[part] if part else document) == wanted, part
    assert [set(check) for check in document["evidence"]["checks"]] == [{"name", "verdict", "words"}]


def test_a_body_comes_back_and_equal_values_give_equal_bytes() -> None:
    made = proposal()
    again = from_body(body(made))
    assert replace(again, state=made.state) == made
    assert body(again) == body(made) == body(from_body(body(again)))
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})


def test_state_decisions_and_audit_are_no_part_of_the_body() -> None:
    made = proposal()
    decided = replace(made.approval, decisions=(Decision("approver", Choice.APPROVE, "why", NOW, "test", "Anna"),))
    later = replace(made, state=State.APPROVED, approval=decided, audit=AuditLink("a", "b"), changed_at=NOW)
    assert body(later) == body(made)
    assert body(replace(made, preview="something else")) != body(made)


def test_a_body_about_too_few_people_is_not_read() -> None:
    text = body(proposal()).replace(b'"size":20', b'"size":4')
    with pytest.raises(InvalidInput):
        from_body(text)


def test_the_registered_hash_covers_the_plan_the_expectation_and_what_is_done() -> None:
    made = proposal()
    plan, expected = made.outcome_plan, made.expected
    assert plan is not None
    assert expected is not None
    hashes = {
        registered_hash(plan, made),
        registered_hash(replace(plan, harm_bound=plan.harm_bound + 1), made),
        registered_hash(replace(plan, check_dates=plan.check_dates[:1]), made),
        registered_hash(plan, replace(made, version=2)),
        registered_hash(plan, replace(made, expected=replace(expected, effect=-9.0))),
        registered_hash(plan, replace(made, playbook=replace(made.playbook, params={}))),
        registered_hash(plan, replace(made, target=Target(TargetKind.TEAM, "team-b", 20))),
    }
    assert len(hashes) == 7
    assert plan.registered_hash in hashes
