"""The privacy and evidence policy, asked as of now about one thing: a proposal, a playbook for a team, or a document.

A rule that says no is what was found, and no failure. Nothing is decided, changed or kept besides the run's own account.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import K_FLOOR, RuleRefusal, State
from pipelines.interventions import lifecycle, playbooks, policy, propose
from pipelines.interventions.policy import Context
from pipelines.interventions.possible import Draft, Drafting, Seen, under_way
from pipelines.interventions.proposal import Proposal, Target, TargetKind
from pipelines.interventions.shown import hidden
from pipelines.jobs import documents
from pipelines.jobs.evaluate import Proposals
from pipelines.jobs.proposal_words import spoken
from pipelines.model import Code

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
#: What is wrong with an event or a mapping that a code refuses, and what mends it; never what it read.
_OF_CODES: Mapping[Code, tuple[str, str]] = {
    Code.BAD_ENCODING: ("are not UTF-8", "text in UTF-8"),
    Code.BAD_JSON: ("are not one JSON object", "one object an event"),
    Code.FORBIDDEN_CONTENT: ("carry or name content, such as a text or a subject", "a source that leaves it out"),
    Code.RAW_IDENTIFIER: ("name a person otherwise than by a pseudonym", "python -m pipelines.pseudonymise"),
    Code.UNKNOWN_VERSION: ("are of another version of the contract", "docs/data.md"),
    Code.UNKNOWN_TYPE: ("are of a type that the contract does not know", "docs/data.md"),
    Code.MISSING_FIELD: ("lack a field", "docs/data.md"),
    Code.BAD_FORMAT: ("have a field of another form", "docs/data.md"),
    Code.SELF_ONLY: ("are of a person with nobody but themselves", "at least one other person"),
    Code.TOO_MANY_TARGETS: ("have too many targets", "a broadcast, or fewer targets"),
    Code.BAD_DURATION: ("have a duration that cannot be", "seconds, where the type has a duration"),
    Code.FROM_FUTURE: ("are from the future", "clocks that are right, times with a zone"),
}


@dataclass(frozen=True, slots=True)
class OfProposal:
    id: str


@dataclass(frozen=True, slots=True)
class OfPlaybook:
    template_id: str
    team: str


@dataclass(frozen=True, slots=True)
class OfDocument:
    """counts: as `documents.judged` made them."""

    counts: Mapping[str, int]


Asked = OfProposal | OfPlaybook | OfDocument


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says. rule: its name. refusal: with its code; None where it passes."""

    rule: str
    refusal: RuleRefusal | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """How many rules were asked, and how many pass. about: what was checked, in words. verdicts: one for each rule."""

    rules: int
    passed: int
    refused: int
    about: str = ""
    verdicts: tuple[Verdict, ...] = ()


def asked(parameters: Mapping[str, Any]) -> Asked:
    """What people give, as what is asked.

    Raises:
        InvalidInput: not exactly one of the three, or one that cannot be; what was given is not repeated.
    """
    given = {name: parameters[name] for name in ("proposal", "template_id", "team", "document") if parameters.get(name)}
    if set(given) == {"proposal"}:
        return OfProposal(_id_of(given["proposal"]))
    if set(given) == {"template_id", "team"}:
        return OfPlaybook(_template_of(given["template_id"]), team_of(given["team"]))
    if set(given) == {"document"}:
        return OfDocument(documents.counts(given["document"]))
    raise InvalidInput("give one of: proposal; template_id and team; document")


def _id_of(given: Any) -> str:
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise InvalidInput("this is no id of a proposal; python -m pipelines.review list shows which there are")
    return given


def _template_of(given: Any) -> str:
    if given not in playbooks.SHIPPED:
        raise InvalidInput(f"there is no such playbook; expected one of {', '.join(playbooks.SHIPPED)}")
    return str(given)


def team_of(given: Any) -> str:
    """A name that a team can have.

    Raises:
        InvalidInput: it cannot, as a pseudonym or an address; it is not repeated.
    """
    if not isinstance(given, str) or len(given) > 64 or "@" in given or not given.isprintable():
        raise InvalidInput("this is no name of a team")
    return Target(TargetKind.TEAM, given, K_FLOOR).key


@dataclass(frozen=True)
class Library:
    """What is looked at, each asked only where it is needed. seen: what the last full run left."""

    proposals: Proposals
    context: Callable[[], Context]
    seen: Callable[[], Seen]


def check_policy(wanted: Asked, library: Library) -> Checked:
    """Ask every rule.

    Raises:
        InvalidInput: there is no such proposal.
        Refused: GROUP_TOO_SMALL, it is about fewer people than may be told of.
        TransientError, PermanentError: of a store.
    """
    if isinstance(wanted, OfProposal):
        return _of_proposal(wanted, library)
    if isinstance(wanted, OfPlaybook):
        return _of_playbook(wanted, library)
    return _of_document(wanted.counts)


def _counted(about: str, verdicts: Sequence[Verdict]) -> Checked:
    refused = sum(v.refusal is not None for v in verdicts)
    return Checked(len(verdicts), len(verdicts) - refused, refused, about, tuple(verdicts))


# ------------------------------------------------------------------------------------------------ proposals, playbooks


def _of_proposal(wanted: OfProposal, library: Library) -> Checked:
    found, context = library.proposals.get(wanted.id), library.context()
    if found is None:
        raise InvalidInput("there is no such proposal; python -m pipelines.review list --all shows which there are")
    if wanted.id in hidden(library.proposals.list(list(State)), context.rules.k):
        raise Refused("GROUP_TOO_SMALL", "this proposal is not shown: it is about too few people")
    state = next((p.state for p in context.standing if p.id == found.id), found.state)
    about = f"proposal {found.id}, version {found.version}: {spoken(state)}{_next(state)}"
    return _counted(about, [Verdict(rule.__name__, rule(found, context)) for rule in policy.RULES])


def _next(state: State) -> str:
    """Where it may go from there, and who may send it."""
    moves = [(to, actors) for (source, to), actors in lifecycle.TRANSITIONS.items() if source is state]
    told = [f"{spoken(to)} (by {' or '.join(sorted(actors))})" for to, actors in moves]
    return f"; from there to {', '.join(told)}" if told else "; that is its end"


def _of_playbook(wanted: OfPlaybook, library: Library) -> Checked:
    seen, context = library.seen(), library.context()
    insist_enough(seen, wanted.team, context.rules.k)
    drafts = Drafting(seen.run or "", seen.window_end).of_team(wanted.team, seen.findings, seen.bands, context)
    draft = next(d for d in drafts if d.template.id == wanted.template_id)
    about = f"{wanted.template_id} for {wanted.team}, by {seen.run or 'no full run: none has completed yet'}"
    if draft.proposal is None:
        return _counted(about, [Verdict(r.rule.lower(), r) for r in draft.refusals])
    everything = [*library.proposals.list(list(State)), draft.proposal]
    if draft.proposal.id in hidden(everything, context.rules.k):
        raise Refused("GROUP_TOO_SMALL", "what the rules say of this team would tell of too few people")
    return _counted(about, _of_draft(draft, context))


def _of_draft(draft: Draft, context: Context) -> list[Verdict]:
    """As a run would ask them today; of weak evidence with what the finding says about it."""
    assert draft.proposal is not None and draft.finding is not None
    context = replace(context, standing=_without(draft.proposal, context))
    said = [(rule.__name__, rule(draft.proposal, context)) for rule in policy.RULES]
    told = [Verdict(name, refusal and propose.explained(refusal, draft.finding)) for name, refusal in said]
    return [*told, Verdict("under_way", under_way(draft.standing))]


def _without(proposal: Proposal, context: Context) -> list[Proposal]:
    """The draft stands in for what a run may still change of the same thing."""
    return [p for p in context.standing if p.thing != proposal.thing or p.state not in lifecycle.REVISABLE]


def insist_enough(seen: Seen, team: str, k: int) -> None:
    """The same answer for a team that is too small and for one that nobody knows: whether it exists is told of neither.

    Raises:
        Refused: GROUP_TOO_SMALL.
    """
    if seen.people.get(team, 0) < max(k, K_FLOOR):
        raise Refused("GROUP_TOO_SMALL", f"no team of that name has {max(k, K_FLOOR)} people or more")


# ------------------------------------------------------------------------------------------------ documents


def _of_document(counts: Mapping[str, int]) -> Checked:
    about = f"a document: {counts[documents.VALID]:,} of {counts[documents.ITEMS]:,} items would be accepted"
    return _counted(about, [_of_code(code, counts.get(code, 0)) for code in documents.CODES])


def _of_code(code: Code, count: int) -> Verdict:
    if not count:
        return Verdict(code.value.lower())
    what, unblocks = _OF_CODES[code]
    return Verdict(code.value.lower(), RuleRefusal(code.value, f"{count:,} items {what}", unblocks))


# ------------------------------------------------------------------------------------------------ telling


def numbers(found: Checked) -> dict[str, Any]:
    """What the ledger keeps: the counts, and the codes of the rules that say no."""
    codes = [v.refusal.rule for v in found.verdicts if v.refusal]
    return {"rules": found.rules, "passed": found.passed, "refused": found.refused, "codes": codes}


def words(found: Checked) -> list[str]:
    """What was checked, then one sentence for each rule that says no, with what would unblock it."""
    return [found.about, *(f"{v.refusal.rule}: {policy.in_words([v.refusal])}" for v in found.verdicts if v.refusal)]
