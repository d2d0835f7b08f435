"""Who may decide, and what a decision does. Each rule refuses for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.evidence import State
from pipelines.interventions.approval import Attempt, decide, why_not_decide
from pipelines.interventions.policy import Context
from pipelines.interventions.proposal import Choice, Halt, Impact, Proposal
from tests.support.fakes_proposals import LIVE, NOW, attempt, context, proposal

LATE = NOW + LIVE.expires_after


def codes(made: Proposal, tried: Attempt | None = None, where: Context | None = None) -> set[str]:
    return {r.rule for r in why_not_decide(made, tried or attempt(made), where or context())}


def agreed(made: Proposal, by: str, **changes: Any) -> Proposal:
    return decide(replace(made, approval=replace(made.approval, needed=2)), attempt(made, by, **changes), context())


_REFUSED: dict[str, Callable[[], set[str]]] = {
    "NOT_PENDING": lambda: codes(proposal(state=State.REJECTED)),
    "OLD_VERSION": lambda: codes(proposal(), attempt(proposal(), version=0)),
    "EXPIRED": lambda: codes(proposal(), where=context(now=LATE)),
    "NO_REASON": lambda: codes(proposal(), attempt(proposal(), reason=" \t")),
    "ADVICE_ONLY": lambda: codes(proposal(impact=Impact.HIGH)),
    "SHADOW_MODE": lambda: codes(proposal(), where=context(rules=replace(LIVE, shadow=True))),
    "SELF_APPROVAL": lambda: codes(proposal(requested_by=("Bo", "Anna Berg"))),
    "SAME_PERSON": lambda: codes(agreed(proposal(), "Anna Berg")),
    "HALTED": lambda: codes(proposal(), where=context(halted=Halt("odd numbers", "Eva", NOW))),
    "LOW_COVERAGE": lambda: codes(proposal(finding=replace(proposal().finding, coverage=0.1))),
}


@pytest.mark.parametrize("code", _REFUSED)
def test_an_approval_is_refused_for_its_reason_and_no_other(code: str) -> None:
    assert _REFUSED[code]() == {code}


def test_an_approval_in_order_goes_through_and_is_kept_with_name_reason_and_time() -> None:
    after = decide(proposal(), attempt(proposal(), "  Anna Berg "), context())
    assert (after.state, after.version, after.changed_at) == (State.APPROVED, 1, NOW)
    (decision,) = after.approval.decisions
    assert (decision.by, decision.role, decision.at, decision.reason) == ("Anna Berg", "approver", NOW, "worth a try")


@pytest.mark.parametrize("state", [s for s in State if s is not State.PENDING_APPROVAL])
@pytest.mark.parametrize("choice", Choice)
def test_only_what_waits_can_be_decided(state: State, choice: Choice) -> None:
    with pytest.raises(Refused, match="NOT_PENDING"):
        decide(proposal(state=state), attempt(proposal(), choice=choice), context())


@pytest.mark.parametrize("name", ["anna berg", "ANNA  BERG", " Anna Berg", "Ａnna Berg", "Anna\u00a0Berg"])
def test_the_same_name_typed_differently_is_the_same_person(name: str) -> None:
    assert "SELF_APPROVAL" in codes(proposal(requested_by=("Anna Berg",)), attempt(proposal(), name))
    assert "SAME_PERSON" in codes(agreed(proposal(), "Anna Berg"), attempt(proposal(), name))


@pytest.mark.parametrize("login", ["anna", "ANNA", " anna "])
@pytest.mark.parametrize("name", ["A. Berg", "somebody else", "anna"])
def test_whoever_started_the_run_is_known_by_name_or_login(name: str, login: str) -> None:
    made = proposal(requested_by=("anna",))
    assert codes(made, attempt(made, name, account=login)) == {"SELF_APPROVAL"}
    assert codes(made, attempt(made, login, account="root")) == {"SELF_APPROVAL"}
    assert codes(made, attempt(made, "Bo", account="bo")) == set()


def test_two_names_under_one_login_are_not_two_people() -> None:
    once = agreed(proposal(), "Anna Berg", account="ops")
    assert once.approval.decisions[0].account == "ops"
    assert codes(once, attempt(once, "Bo", account=" OPS")) == {"SAME_PERSON"}
    assert codes(once, attempt(once, "Bo", account="bo")) == set()


def test_a_login_that_is_not_known_is_not_everybodys() -> None:
    once = agreed(proposal(), "Anna Berg")
    assert codes(once, attempt(once, "Bo")) == set()


def test_the_last_moment_counts_and_the_next_does_not() -> None:
    assert codes(proposal(), where=context(now=LATE - timedelta(microseconds=1))) == set()
    assert codes(proposal(), where=context(now=LATE)) == {"EXPIRED"}


def test_two_people_are_needed_where_two_are_asked_for() -> None:
    once = agreed(proposal(), "Anna Berg")
    assert (once.state, len(once.approval.decisions)) == (State.PENDING_APPROVAL, 1)
    twice = decide(once, attempt(once, "Bo"), context())
    assert (twice.state, [d.by for d in twice.approval.decisions]) == (State.APPROVED, ["Anna Berg", "Bo"])


@pytest.mark.parametrize(
    "where",
    [
        {"halted": Halt("odd numbers", "Eva", NOW)},
        {"rules": replace(LIVE, shadow=True)},
        {"rules": replace(LIVE, open_in_all=0)},
    ],
)
def test_what_stands_in_the_way_of_an_approval_does_not_of_a_rejection(where: dict[str, Any]) -> None:
    made = proposal(requested_by=("Anna Berg",))
    with pytest.raises(Refused):
        decide(made, attempt(made), context(**where))
    assert decide(made, attempt(made, choice=Choice.REJECT), context(**where)).state is State.REJECTED


def test_the_refusal_names_every_reason() -> None:
    made = proposal(state=State.EXPIRED, requested_by=("Anna Berg",))
    with pytest.raises(Refused, match=r"NOT_PENDING.*expired.*cannot approve"):
        decide(made, attempt(made), context())
