"""May this person decide this proposal now? One rule per function, and what a decision makes of the proposal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pipelines.errors import Refused
from pipelines.evidence import RuleRefusal, State
from pipelines.interventions import lifecycle
from pipelines.interventions.lifecycle import Actor
from pipelines.interventions.policy import Context, in_words, why_not
from pipelines.interventions.proposal import Choice, Decision, Impact, Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody wants to decide. version: the one that was shown to them. by: their name; account: the login used.

    Neither proves a person. So whoever is the same by one of the two is taken for the same.
    """

    id: str
    version: int
    choice: Choice
    by: str
    reason: str
    via: str
    account: str = ""

    def decision(self, at: datetime) -> Decision:
        """What is kept of it, once it is allowed."""
        by, account = self.by.strip(), self.account.strip()
        return Decision(Actor.APPROVER.value, self.choice, self.reason.strip(), at, self.via, by, account)


DecisionRule = Callable[[Proposal, Attempt, Context], RuleRefusal | None]


def not_waiting(proposal: Proposal, _attempt: Attempt, _context: Context) -> RuleRefusal | None:
    if proposal.state is State.PENDING_APPROVAL:
        return None
    state = proposal.state.replace("_", " ")
    return RuleRefusal("NOT_PENDING", f"it does not wait for a decision: it is {state}")


def old_version(proposal: Proposal, attempt: Attempt, _context: Context) -> RuleRefusal | None:
    if attempt.version == proposal.version:
        return None
    words = f"version {attempt.version} was looked at, there is a version {proposal.version} now"
    return RuleRefusal("OLD_VERSION", words, "look at the new version")


def expired(proposal: Proposal, _attempt: Attempt, context: Context) -> RuleRefusal | None:
    if proposal.expires_at is None or context.now < proposal.expires_at:
        return None
    return RuleRefusal(
        "EXPIRED", f"it expired at {proposal.expires_at:%Y-%m-%d %H:%M} UTC", "a later run proposes it anew"
    )


def no_reason(_proposal: Proposal, attempt: Attempt, _context: Context) -> RuleRefusal | None:
    if attempt.reason.strip() and attempt.by.strip():
        return None
    return RuleRefusal("NO_REASON", "a decision needs a name and a reason", "say who and why")


def is_advice_only(proposal: Proposal, _attempt: Attempt, _context: Context) -> RuleRefusal | None:
    if proposal.impact is not Impact.HIGH:
        return None
    return RuleRefusal("ADVICE_ONLY", "its impact is high: it is advice and never carried out")


def shadow_mode(_proposal: Proposal, _attempt: Attempt, context: Context) -> RuleRefusal | None:
    if not context.rules.shadow:
        return None
    return RuleRefusal(
        "SHADOW_MODE", "this installation only watches (shadow mode)", "ORGANISM_SHADOW=false, and a restart"
    )


def own_proposal(proposal: Proposal, attempt: Attempt, context: Context) -> RuleRefusal | None:
    if _same(attempt.decision(context.now).who, proposal.requested_by):
        return RuleRefusal(
            "SELF_APPROVAL", "whoever started the run cannot approve what it proposes", "another approver"
        )
    return None


def said_so_before(proposal: Proposal, attempt: Attempt, context: Context) -> RuleRefusal | None:
    made = (name for d in proposal.approval.decisions for name in d.who)
    if _same(attempt.decision(context.now).who, made):
        words = "this person, or somebody with this login, has approved it already; two are needed"
        return RuleRefusal("SAME_PERSON", words, "another approver, with a login of their own")
    return None


#: For every decision. A rejection takes nothing on, so nothing else stands in its way.
DECISION_RULES: tuple[DecisionRule, ...] = (not_waiting, old_version, expired, no_reason)
APPROVAL_RULES: tuple[DecisionRule, ...] = (is_advice_only, shadow_mode, own_proposal, said_so_before)


def why_not_decide(proposal: Proposal, attempt: Attempt, context: Context) -> list[RuleRefusal]:
    """Every rule that says no to this decision now; an approval also has to pass every rule of `why_not`."""
    approving = attempt.choice is Choice.APPROVE
    rules = DECISION_RULES + (APPROVAL_RULES if approving else ())
    refusals = [refusal for rule in rules if (refusal := rule(proposal, attempt, context))]
    return refusals + (why_not(proposal, context) if approving else [])


def decide(proposal: Proposal, attempt: Attempt, context: Context) -> Proposal:
    """The proposal with the decision: approved once enough people agree, rejected by the first who does not.

    Raises:
        Refused: with the code of the first rule that says no, and the sentences of all.
    """
    if refusals := why_not_decide(proposal, attempt, context):
        raise Refused(refusals[0].rule, in_words(refusals))
    decision = attempt.decision(context.now)
    approval = replace(proposal.approval, decisions=(*proposal.approval.decisions, decision))
    return replace(
        proposal, approval=approval, state=_decided(proposal, attempt, len(approval.decisions)), changed_at=context.now
    )


def _decided(proposal: Proposal, attempt: Attempt, agreed: int) -> State:
    if attempt.choice is Choice.REJECT:
        return lifecycle.move(proposal.state, State.REJECTED, Actor.APPROVER)
    if agreed < proposal.approval.needed:
        return proposal.state
    return lifecycle.move(proposal.state, State.APPROVED, Actor.APPROVER)


def _same(names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a name is one of the others, however they are typed: case, spacing and Unicode form do not count."""
    return not {_folded(name) for name in names}.isdisjoint(_folded(other) for other in others)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
