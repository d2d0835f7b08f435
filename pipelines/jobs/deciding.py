"""Looking at proposals and deciding on them, the same from the terminal, over HTTP and on the page: what is shown, what is
only said to be there, and what is insisted on before somebody may agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from alerts.model import Waiting
from pipelines.errors import InvalidInput, PermanentError, Refused
from pipelines.evidence import State
from pipelines.interventions import lifecycle
from pipelines.interventions.approval import Attempt
from pipelines.interventions.audit import AuditReport
from pipelines.interventions.proposal import Choice, Halt, Proposal, as_document
from pipelines.interventions.shown import coarse, hidden
from pipelines.jobs.evaluate import Proposals
from pipelines.jobs.proposal_words import BY_PEOPLE
from pipelines.privacy.traces import mask

#: In the state directory: the end of the audit log as it was last seen, noted outside the database.
ANCHOR = "audit.head"


@dataclass(frozen=True, slots=True)
class Listed:
    """found: exact, undecided ones first; to be shown only as `coarse` has them. withheld: of all there are, the ids that are
    not shown, each with the reason.
    """

    found: tuple[Proposal, ...]
    withheld: Mapping[str, str]
    halt: Halt | None


def listed(proposals: Proposals, k: int, *, over: bool = False) -> Listed:
    """What is open; with `over` also what is not. k: no number is about fewer people."""
    everything = proposals.list(list(State))
    found = [p for p in everything if over or p.state in lifecycle.OPEN]
    found.sort(key=lambda p: p.state is not State.PENDING_APPROVAL)
    return Listed(tuple(found), hidden(everything, k), proposals.halted())


def as_json(its: Listed) -> dict[str, Any]:
    """For `json.dumps`."""
    kept = [without(p, its.withheld[p.id]) for p in its.found if p.id in its.withheld]
    shown = [as_document(coarse(p)) for p in its.found if p.id not in its.withheld]
    return {"halted": halted(its.halt), "withheld": len(kept), "hidden": kept, "proposals": shown}


def halted(halt: Halt | None) -> dict[str, str] | None:
    """Since when nothing goes on, why, and who said so."""
    if halt is None:
        return None
    return {"reason": mask(halt.reason), "by": mask(halt.by), "at": halt.at.isoformat()}


def without(p: Proposal, words: str) -> dict[str, str]:
    """What is told of one that is not shown."""
    return {"id": p.id, "state": p.state.value, "words": words}


def document(proposals: Proposals, p: Proposal, k: int) -> dict[str, Any]:
    """It as JSON, or what is told of it."""
    words = hidden(proposals.list(list(State)), k).get(p.id)
    return without(p, words) if words else as_document(coarse(p))


def found(proposals: Proposals, id_: str, k: int) -> Proposal:
    """It, exact; to be shown only as `coarse` has it.

    Raises:
        InvalidInput: there is none. Refused: GROUP_TOO_SMALL.
    """
    its, withheld = looked_up(proposals, id_, k)
    if withheld:
        state = its.state.replace("_", " ")
        raise Refused("GROUP_TOO_SMALL", f"proposal {id_} ({state}) is not shown: it is {withheld}")
    return its


def looked_up(proposals: Proposals, id_: str, k: int) -> tuple[Proposal, str]:
    """And why it is not shown; empty where it is. Raises InvalidInput: there is none."""
    its = proposals.get(id_)
    if its is None:
        raise InvalidInput(f"there is no proposal {id_}; `review list --all` shows which there are")
    return its, hidden(proposals.list(list(State)), k).get(id_, "")


# ------------------------------------------------------------------------------------------------ asking


def waiting(exact: Proposal, link: str | None = None) -> Waiting:
    """A proposal that may be shown, for a message that asks for a decision. link: of its page."""
    p = coarse(exact)
    expires = p.expires_at if p.state is State.PENDING_APPROVAL else None
    return Waiting(
        p.id, p.version, str(p.target), f"{p.preview} Carried out {BY_PEOPLE}.", p.reversibility, expires, link
    )


def page_of(id_: str, api_url: str) -> str | None:
    """Where people look at a proposal and decide on it; None where nobody said how they reach the API."""
    return f"{api_url.rstrip('/')}/proposals/{id_}" if api_url else None


# ------------------------------------------------------------------------------------------------ deciding


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Who answers for a decision and why. via: how they said so. account: the login that they used."""

    by: str
    account: str
    reason: str
    via: str


def decide(
    proposals: Proposals, shown: Proposal, version: int, choice: Choice, signed: Signed, anchor: Path, now: datetime
) -> Proposal:
    """The proposal after the decision. shown: as `found` gave it. version: the one that they looked at.

    Raises:
        Refused: AUDIT_BROKEN, or the code of the rule that says no.
    """
    if choice is Choice.APPROVE:
        insist_on_log(proposals, anchor)
    attempt = Attempt(
        id=shown.id,
        version=version,
        choice=choice,
        by=signed.by,
        reason=mask(signed.reason),
        via=signed.via,
        account=signed.account,
    )
    return proposals.decide(attempt, now)


def insist_on_log(proposals: Proposals, anchor: Path) -> None:
    """Raises Refused: AUDIT_BROKEN."""
    if bad := checked(proposals, anchor).bad:
        raise Refused("AUDIT_BROKEN", f"nothing is approved while the audit log does not hold: {bad.words}")


# ------------------------------------------------------------------------------------------------ the audit log


def checked(proposals: Proposals, anchor: Path, given: tuple[int, str] | None = None) -> AuditReport:
    """Verify against what was noted before, and note the new end when all is well. given: an end that was noted elsewhere."""
    noted = _noted(anchor)
    report = proposals.verify_audit(given or noted)
    if report.bad is None:
        _note(anchor, f"{report.head[0]}:{report.head[1]}\n")
    return report


def head(text: str) -> tuple[int, str]:
    """An end of the log as it is noted. Raises ValueError: it is not ROW:HASH."""
    row, colon, hash_ = text.strip().partition(":")
    if not (colon and row.isdigit()):
        raise ValueError("expected ROW:HASH, as `audit verify` prints it")
    return int(row), hash_


def _note(anchor: Path, end: str) -> None:
    """Whole or not at all: half a line would read as a damaged note."""
    try:
        anchor.parent.mkdir(parents=True, exist_ok=True)
        draft = anchor.with_name(f".{anchor.name}.{uuid4().hex}")
        draft.write_text(end, encoding="ascii")
        draft.replace(anchor)
    except OSError as error:
        raise PermanentError(f"cannot write {anchor} ({error.strerror}); set ORGANISM_STATE_DIR") from error


def _noted(anchor: Path) -> tuple[int, str] | None:
    try:
        return head(anchor.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise PermanentError(f"{anchor} is not ROW:HASH as we wrote it; find out why, then remove it") from None
