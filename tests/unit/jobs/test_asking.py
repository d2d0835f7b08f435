"""What people are asked: what waits, may be shown and can be decided; the rest is a sentence without a group."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.model import ProposalFact
from pipelines.errors import TransientError
from pipelines.evidence import State
from pipelines.interventions.proposal import Proposal, TargetKind
from pipelines.interventions.shown import hidden
from pipelines.jobs import asking
from pipelines.jobs.asking import Asking
from pipelines.jobs.facts import Machine, Sources, gather
from tests.support.fakes_ledger import FakeLedger
from tests.support.fakes_proposals import NOW, FakeProposals, band, context, finding, orchestrator, proposal
from tests.support.make import raising

URL = "https://organism.example/"


def asked(*made: Proposal, k: int = 5, url: str = URL) -> tuple[ProposalFact, ...]:
    return asking.asked(Asking(_kept(*made), k, url), NOW)


def _kept(*made: Proposal) -> FakeProposals:
    kept = FakeProposals()
    kept.there = {p.id: p for p in made}
    return kept


def test_one_that_waits_is_asked_with_what_happens_how_it_is_undone_and_where_it_is_decided() -> None:
    made = proposal()
    (found,) = asked(made)
    assert found.asks is not None and not found.over
    assert (found.asks.id, found.asks.version, found.asks.about) == (made.id, made.version, "team-a")
    assert found.asks.happens.startswith(made.preview) and "nothing happens by itself" in found.asks.happens
    assert found.asks.undo == made.reversibility
    assert (found.asks.expires_at, found.since) == (made.expires_at, made.created_at)
    assert found.asks.link == f"https://organism.example/proposals/{made.id}"


def test_without_an_address_of_the_api_there_is_no_link() -> None:
    (found,) = asked(proposal(), url="")
    assert found.asks is not None and found.asks.link is None


@pytest.mark.parametrize("state", [s for s in State if s is not State.PENDING_APPROVAL])
def test_what_does_not_wait_is_not_asked_and_says_how_it_stands(state: State) -> None:
    (found,) = asked(proposal(state=state))
    assert found.asks is None
    assert state is State.EXPIRED or state.replace("_", " ") in found.over


def test_what_is_past_its_time_is_expired_before_a_run_says_so() -> None:
    (found,) = asked(proposal(expires_at=NOW))
    assert found.asks is None and "expired" in found.over
    (found,) = asked(proposal(expires_at=NOW + timedelta(minutes=1)))
    assert found.asks is not None


def test_what_is_not_shown_is_not_asked_by_the_rule_of_every_other_place() -> None:
    """Two teams and the organisation: who subtracts comes to a small group."""
    made = proposal()
    small = replace(made, id="small", target=replace(made.target, key="team-b", size=6))
    withheld = hidden([made, small], 10)
    assert set(withheld) == {"small"}, "the check can fail"
    facts = {found.id: found for found in asked(made, small, k=10)}
    assert facts[made.id].asks is not None
    assert facts["small"].asks is None and facts["small"].withheld
    assert "team-b" not in repr(facts["small"])


def test_a_team_that_is_named_like_a_person_is_not_asked_about() -> None:
    made = proposal()
    (found,) = asked(replace(made, target=replace(made.target, key="anna@example.org")))
    assert found.asks is None and "anna" not in repr(found)


def test_people_are_counted_down_to_fives_and_who_asked_for_it_is_not_in_it() -> None:
    (made,) = orchestrator(requested_by=("carl.requester",)).evaluate([finding()], [band(size=98_768)], context())
    (found,) = asked(made)
    assert found.asks is not None
    assert "at least 98765 people" in found.asks.happens
    assert "98768" not in repr(found.asks) and "carl" not in repr(found.asks)


def test_in_shadow_mode_nobody_is_asked_and_what_was_asked_is_over() -> None:
    assert asking.asked(Asking(None, 5, URL), NOW) == ()


class TestGathered:
    @staticmethod
    def gathered(of: Asking | None, **changes: object) -> object:
        sources = replace(Sources(ledger=FakeLedger(), asking=of), **changes)  # type: ignore[arg-type]
        return gather(sources, Machine(lambda: None, lambda: None, ""), NOW, None)

    def test_they_are_facts(self) -> None:
        found = self.gathered(Asking(_kept(proposal()), 5))
        assert [p.asks is not None for p in found.proposals] == [True]  # type: ignore[attr-defined]

    def test_those_that_cannot_be_read_are_none_and_their_store_says_why(self) -> None:
        away = FakeProposals()
        away.list = raising(TransientError("refused"))  # type: ignore[method-assign]
        found = self.gathered(Asking(away, 5))
        assert found.proposals is None  # type: ignore[attr-defined]
        assert {s.name: s.words for s in found.stores} == {"postgres": "refused"}  # type: ignore[attr-defined]

    def test_where_nobody_looks_for_them_they_are_none(self) -> None:
        assert self.gathered(None).proposals is None  # type: ignore[attr-defined]


def test_a_pair_is_named_in_words() -> None:
    made = proposal()
    (found,) = asked(replace(made, target=replace(made.target, kind=TargetKind.TEAM_PAIR, key="a|b")))
    assert found.asks is not None and found.asks.about == "a and b"
