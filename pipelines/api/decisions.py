"""A decision on a proposal, the same by a route, a page and a button: it is there and may be seen, is noted, then decided."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.access.principals import Principal
from pipelines.api.desk import Desk
from pipelines.api.problems import absent
from pipelines.api.security import Note
from pipelines.interventions.proposal import Choice, Proposal
from pipelines.jobs import deciding
from pipelines.jobs.deciding import Signed

_IDS = re.compile(r"[0-9A-Za-z_.:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A decision that somebody asks for. version: the one that was shown to them."""

    id: str
    version: int
    choice: Choice


def insist_on(its: Desk, id_: str) -> None:
    """Raises Problem: 404, no proposal is called so; where none can be, no store is asked."""
    if not _IDS.fullmatch(id_) or its.proposals.get(id_) is None:
        raise absent("such proposal", "GET /interventions lists them")


def found(its: Desk, id_: str) -> Proposal:
    """It, exact. Raises Problem: 404. Refused: GROUP_TOO_SMALL."""
    insist_on(its, id_)
    return deciding.found(its.proposals, id_, its.config.min_group_size)


def decide(its: Desk, who: Principal, note: Note, wanted: Wanted, reason: str, via: str) -> Proposal:
    """The proposal after the decision, by the same rules as everywhere. via: how they said it.

    Raises:
        Problem: 404. Refused: as `jobs.deciding`.
    """
    shown = found(its, wanted.id)
    note(shown.id, who=who, choice=wanted.choice.value, version=wanted.version)
    signed = Signed(by=who.name, account=who.name, reason=reason, via=via)
    anchor = its.state / deciding.ANCHOR
    return deciding.decide(its.proposals, shown, wanted.version, wanted.choice, signed, anchor, its.clock())
