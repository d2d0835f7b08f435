"""Proposals: look at them, decide on them, stop everything. The rules are those of `python -m pipelines.review`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from pipelines.access.principals import Principal
from pipelines.api import decisions, runs
from pipelines.api.automation import Asks, The, Who
from pipelines.api.decisions import Wanted
from pipelines.api.desk import Desk
from pipelines.api.document import documented
from pipelines.api.shapes import Asked, Reason, Shape, Text
from pipelines.evidence import State
from pipelines.interventions.proposal import Choice, Proposal, as_document
from pipelines.interventions.shown import coarse
from pipelines.jobs import deciding
from pipelines.privacy.traces import check_text, mask

router = APIRouter(prefix="/interventions", tags=["interventions"])
_VIA = "api"
_LEAKS = "withheld: something in it must not leave"
_ID = Path(min_length=1, max_length=100, description="of the proposal")
Id = Annotated[str, _ID]


class Halted(Shape):
    reason: str
    by: str
    at: str


class Hidden(Shape):
    """One that is about too few people to show."""

    id: str
    state: State
    words: str


class Proposals(Shape):
    halted: Halted | None = Field(description="since when nothing goes on; null: it does")
    withheld: int = Field(description="how many are only said to be there")
    hidden: list[Hidden]
    proposals: list[dict[str, Any]] = Field(description="version 1 of the contract; undecided ones first")
    next: str | None


class Decided(Asked):
    version: int = Field(ge=1, le=2**31 - 1, description="the one that was looked at", examples=[1])
    reason: Text = Field(examples=["agreed with the team lead"])


class Standing(Shape):
    id: str
    state: State
    version: int
    agreed: int = Field(description="approvals of this version so far")
    needed: int


class Switched(Shape):
    state: str = Field(description="halted or running", examples=["halted"])
    changed: bool = Field(description="false: it was so already")


@router.get("", summary="Proposals", response_model=Proposals)
def list_proposals(
    its: The,
    everything: Annotated[bool, Query(alias="all", description="also what is over")] = False,
    limit: runs.Limit = 50,
    before: Annotated[
        str | None, Query(max_length=100, description="the id of the last one of the page before")
    ] = None,
) -> Response:
    """What is proposed; of what is about too few people only that it is there."""
    listed = deciding.listed(its.proposals, its.config.min_group_size, over=everything)
    ids = [p.id for p in listed.found]
    start = ids.index(before) + 1 if before in ids else 0 if before is None else len(ids)
    page = deciding.Listed(listed.found[start : start + limit], listed.withheld, listed.halt)
    more = start + limit < len(ids)
    chosen = "all=true&" if everything else ""
    following = f"/interventions?{chosen}limit={limit}&before={page.found[-1].id}" if more else None
    return its.guarded(_without_leaks(deciding.as_json(page), its.forbidden) | {"next": following})


def _without_leaks(body: dict[str, Any], forbidden: tuple[str, ...]) -> dict[str, Any]:
    """One that must not leave is only said to be there, and does not take the others with it."""
    leaks = [p for p in body["proposals"] if check_text(json.dumps(p, ensure_ascii=False), forbidden)]
    hidden = [{"id": mask(p["id"], forbidden), "state": p["state"], "words": _LEAKS} for p in leaks]
    told = {name: mask(words, forbidden) for name, words in (body["halted"] or {}).items()}
    return {
        "halted": told or None,
        "withheld": body["withheld"] + len(leaks),
        "hidden": body["hidden"] + hidden,
        "proposals": [p for p in body["proposals"] if p not in leaks],
    }


@router.get("/{proposal_id}", summary="One proposal", response_model=dict[str, Any], responses=documented(404))
def show_proposal(proposal_id: Id, its: The) -> Response:
    """With its evidence, and what exactly would happen. Version 1 of the contract."""
    return its.guarded(as_document(coarse(decisions.found(its, proposal_id))))


@router.post("/{proposal_id}/approve", summary="Agree to a proposal", responses=documented(404, 409))
def approve(proposal_id: Id, asked: Decided, its: The, who: Who, note: Asks) -> Standing:
    """409 with the code of the rule that says no: OLD_VERSION, EXPIRED, SELF_APPROVAL, HALTED and so on."""
    return _decide(its, who, note, proposal_id, asked, Choice.APPROVE)


@router.post("/{proposal_id}/reject", summary="Turn a proposal down", responses=documented(404, 409))
def reject(proposal_id: Id, asked: Decided, its: The, who: Who, note: Asks) -> Standing:
    """The proposal is closed as rejected, with name and reason. A later analysis may propose the same anew."""
    return _decide(its, who, note, proposal_id, asked, Choice.REJECT)


def _decide(its: Desk, who: Principal, note: Any, id_: str, asked: Decided, choice: Choice) -> Standing:
    return _standing(decisions.decide(its, who, note, Wanted(id_, asked.version, choice), asked.reason, _VIA))


def _standing(after: Proposal) -> Standing:
    agreed = len(after.approval.decisions)
    return Standing(id=after.id, state=after.state, version=after.version, agreed=agreed, needed=after.approval.needed)


@router.post("/{proposal_id}/withdraw", summary="Take a proposal back", responses=documented(404, 409))
def withdraw(proposal_id: Id, asked: Reason, its: The, who: Who, note: Asks) -> Standing:
    """Before anything is done. Also one that is not shown: taking it back asks nothing of anybody."""
    decisions.insist_on(its, proposal_id)
    note(proposal_id)
    return _standing(its.proposals.withdraw(proposal_id, who.name, mask(asked.reason), its.clock()))


@router.post("/halt", summary="Stop everything", responses=documented(409))
def halt(asked: Reason, its: The, who: Who, note: Asks) -> Switched:
    """When this is answered nothing begins any more: nothing is proposed, approved or executed until it is resumed."""
    note()
    return Switched(state="halted", changed=its.proposals.halt(who.name, mask(asked.reason), its.clock()))


@router.post("/resume", summary="Let it go on", responses=documented(409))
def resume(asked: Reason, its: The, who: Who, note: Asks) -> Switched:
    """After a halt."""
    note()
    return Switched(state="running", changed=its.proposals.resume(who.name, mask(asked.reason), its.clock()))
