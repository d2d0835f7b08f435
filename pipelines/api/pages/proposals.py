"""Proposals as the pages and the buttons show and decide them: the words and the hiding rules of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.api.pages.views import Ask
from pipelines.errors import InvalidInput
from pipelines.evidence import State
from pipelines.interventions.proposal import Choice, Proposal
from pipelines.interventions.shown import coarse
from pipelines.jobs import deciding, proposal_words
from pipelines.privacy.traces import mask, seen
from pipelines.report.story_words import STATES

#: What a confirm page says before everything else.
_SAID_ABOVE = ("about", "what happens", "to undo it", "needs")
_GOOD = (State.APPROVED, State.EXECUTED, State.MONITORING, State.IMPROVED)
_BAD = (State.BLOCKED, State.FAILED, State.STUCK, State.HARMFUL)


@dataclass(frozen=True, slots=True)
class Told:
    """A proposal for a page; of one that is withheld only the id, the state and why."""

    id: str
    mark: tuple[str, str, str]
    withheld: str = ""
    version: int = 0
    about: str = ""
    preview: str = ""
    undo: str = ""
    expires: datetime | None = None
    waits: bool = False
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def needs(self) -> str:
        """Who has to agree, and how many have."""
        return next((words for name, words in self.facts if name == "needs"), "")


def told(exact: Proposal, withheld: str) -> Told:
    mark = _mark(exact.state)
    if withheld:
        return Told(exact.id, mark, withheld)
    p = coarse(exact)
    return Told(
        id=p.id,
        mark=mark,
        version=p.version,
        about=str(p.target),
        preview=p.preview,
        undo=p.reversibility,
        expires=p.expires_at if p.state is State.PENDING_APPROVAL else None,
        waits=p.state is State.PENDING_APPROVAL,
        facts=tuple(proposal_words.facts(p)),
    )


def _mark(state: State) -> tuple[str, str, str]:
    words = STATES[state]
    if state is State.PENDING_APPROVAL:
        return "?", words, "live"
    return ("✓", words, "good") if state in _GOOD else ("✗", words, "bad") if state in _BAD else ("·", words, "")


def listed(its: deciding.Listed) -> list[Told]:
    """Undecided ones first, as they come."""
    return [told(p, its.withheld.get(p.id, "")) for p in its.found]


def reason_of(text: str) -> str:
    """As it is kept. Raises InvalidInput: there is none."""
    if not seen(text).strip():
        raise InvalidInput("a reason is needed; it is kept with your name")
    return mask(text.strip(), most=500)


def asked(p: Told, choice: Choice) -> Ask:
    """The page before a decision: exactly what will happen, and how it is undone."""
    approving = choice is Choice.APPROVE
    yes = (p.preview, f"It is carried out {proposal_words.BY_PEOPLE}. To be approved it needs {p.needs}.")
    no = ("Nothing is done. The proposal is closed as rejected, with your name and reason.",)
    return Ask(
        title=f"{'Approve' if approving else 'Reject'} the proposal about {p.about}?",
        happens=yes if approving else no,
        undo=p.undo if approving else "A decision is not taken back. A later analysis may propose the same anew.",
        action=f"/proposals/{p.id}/{choice.value}",
        button="Approve it" if approving else "Reject it",
        back=f"/proposals/{p.id}",
        fields=(("version", str(p.version)),),
        facts=tuple(fact for fact in p.facts if fact[0] not in _SAID_ABOVE),
        danger=not approving,
    )


def after(p: Proposal) -> Sequence[str]:
    """What a decision made of it, in sentences."""
    missing = p.approval.needed - len(p.approval.decisions)
    if p.state is State.PENDING_APPROVAL:
        return (
            f"Your approval is kept. {missing} more {'has' if missing == 1 else 'have'} to agree before anything happens.",
        )
    return (f"It is {STATES[p.state]} now.",)
