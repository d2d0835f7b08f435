"""Which proposals people are to be asked about, as facts for the alert rules: nothing of those that may not be shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alerts.model import ProposalFact
from pipelines.evidence import State
from pipelines.interventions.proposal import Proposal
from pipelines.interventions.shown import hidden
from pipelines.jobs.deciding import page_of, waiting
from pipelines.jobs.proposal_words import spoken

_EXPIRED = "It expired: nobody decided in time."


class Listing(Protocol):
    """What is needed of `jobs.evaluate.Proposals`."""

    def list(self, states: Collection[State]) -> list[Proposal]: ...


@dataclass(frozen=True)
class Asking:
    """proposals: None in shadow mode, where nothing can be approved and so nobody is asked. k: no number is about fewer
    people. api_url: where people reach the API, empty where nobody said it.
    """

    proposals: Listing | None
    k: int
    api_url: str = ""


def asked(of: Asking, now: datetime) -> tuple[ProposalFact, ...]:
    """All there are, the oldest first.

    Raises:
        TransientError, PermanentError: of the store.
    """
    everything = of.proposals.list(list(State)) if of.proposals else []
    withheld = hidden(everything, of.k)
    return tuple(_fact(p, withheld, of.api_url, now) for p in everything)


def _fact(p: Proposal, withheld: Mapping[str, str], api_url: str, now: datetime) -> ProposalFact:
    if why := _why_not(p, withheld, now):
        return ProposalFact(p.id, p.version, p.created_at, over=why, withheld=p.id in withheld)
    return ProposalFact(p.id, p.version, p.created_at, asks=waiting(p, page_of(p.id, api_url)))


def _why_not(p: Proposal, withheld: Mapping[str, str], now: datetime) -> str:
    """Why nobody is asked about it; empty where people are."""
    if p.id in withheld:
        return f"It is not shown: it is {withheld[p.id]}."
    if p.state is State.EXPIRED:
        return _EXPIRED
    if p.state is not State.PENDING_APPROVAL:
        return f"It is {spoken(p.state)}."
    return _EXPIRED if p.expires_at and p.expires_at <= now else ""
