"""The nouns of an intervention proposal, version 1 of the contract, and how they become JSON.

A proposal is addressed to a group and a practice. There is no kind `person`, and no group under five can be named: both
are refused when the value is made, so that no later rule has to remember it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec

from pipelines.errors import InvalidInput
from pipelines.evidence import K_FLOOR, RuleRefusal, State

#: In any case of letters, as the guard of what is printed looks for it.
_PSEUDONYM = re.compile(r"(?<![0-9a-z])[px]_[0-9a-f]{16,40}(?![0-9a-f])", re.IGNORECASE)


class TargetKind(StrEnum):
    TEAM = "team"
    TEAM_PAIR = "team_pair"
    ORG = "org"


class Impact(StrEnum):
    """HIGH is advice only: it is shown, and can be neither approved nor executed."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Choice(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom it is about. key: the team; "A|B" with A < B for a pair; "" for the organisation.

    size: people in it; for a pair, of its smaller team.

    Raises:
        InvalidInput: not a group, or a group under five. The message does not name it.
    """

    kind: TargetKind
    key: str
    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.kind, TargetKind):
            raise InvalidInput(
                "a proposal is about a team, a pair of teams or the organisation; nothing else is a kind"
            )
        if self.size < K_FLOOR:
            raise InvalidInput(f"a proposal needs a group of at least {K_FLOOR} people")
        if _PSEUDONYM.search(self.key):
            raise InvalidInput("a proposal names a group; this key is a pseudonym of a person")
        if not _fits(self.kind, self.key):
            raise InvalidInput(
                f"this key does not fit the kind {self.kind}: expected a team, 'A|B' in order, or nothing"
            )

    @property
    def teams(self) -> frozenset[str]:
        """The teams it touches; empty for the organisation, which touches all."""
        return frozenset(self.key.split("|")) if self.kind is TargetKind.TEAM_PAIR else frozenset({self.key} - {""})

    def touches(self, other: Target) -> bool:
        """Whether some people are in both."""
        return TargetKind.ORG in (self.kind, other.kind) or bool(self.teams & other.teams)

    def __str__(self) -> str:
        return " and ".join(self.key.split("|")) if self.key else "the organisation"


def _fits(kind: TargetKind, key: str) -> bool:
    if kind is TargetKind.ORG:
        return key == ""
    if kind is TargetKind.TEAM:
        return bool(key.strip()) and "|" not in key  # it would be taken for two teams
    one, _, other = key.partition("|")
    return bool(one.strip() and other.strip()) and one < other and key.count("|") == 1


@dataclass(frozen=True, slots=True)
class FindingRef:
    """What stands out in the group: its value of a metric beside its own normal band.

    coverage: share (0-1) of the group's people and weeks that the value and the band rest on.
    """

    metric: str
    value: float
    normal_low: float
    normal_high: float
    since: date
    coverage: float


@dataclass(frozen=True, slots=True)
class Playbook:
    """Which template, and the values it is carried out with."""

    template_id: str
    version: int
    params: Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class CheckLine:
    """A test that could have refuted the evidence, in words."""

    name: str
    verdict: str
    words: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why it should help. effect, ci: outcome per unit of the metric; None where too little could be estimated."""

    question: str
    method: str
    units: int
    periods: int
    effect: float | None
    ci: tuple[float, float] | None
    checks: tuple[CheckLine, ...]
    mde: float | None
    data_version: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What should happen to the outcome `metric`, in its own units: calculated from the evidence, never typed."""

    metric: str
    horizon_days: int
    effect: float
    ci: tuple[float, float]


@dataclass(frozen=True, slots=True)
class OutcomePlan:
    """How it will be judged. harm_bound: a change of the outcome, with its sign, from which on it counts as harm."""

    metric: str
    comparison: str
    method: str
    check_dates: tuple[date, ...]
    harm_bound: float
    registered_hash: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How the limits stood when it was proposed. budget_left: before this one."""

    open_for_team: int
    cooldown_until: date | None
    blackout: bool
    budget_left: int


@dataclass(frozen=True, slots=True)
class Decision:
    """by: the name of the operator as given. Operators answer for what they decide, so it is not a pseudonym.

    account: the login that it was made under; "" where none is known.
    """

    role: str
    decision: Choice
    reason: str
    at: datetime
    via: str
    by: str
    account: str = ""

    @property
    def who(self) -> tuple[str, ...]:
        """What tells one person from the next."""
        return (self.by, self.account) if self.account else (self.by,)


@dataclass(frozen=True, slots=True)
class Approval:
    """Who has to agree, and who did so on this version."""

    policy: str
    needed: int
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditLink:
    """The last row of the audit log about it: hexadecimal HMAC-SHA-256 values."""

    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One proposal in one version, as the contract has it.

    reversibility: what exactly is done to undo it. Added to the contract's fields: state; refusals (of a blocked one:
    which rules say no and what would unblock it); window_end of the analysis and the run that proposed it; requested_by,
    the people who may not approve it; created_at (of this version), changed_at, expires_at (only while it waits).
    """

    id: str
    version: int
    target: Target
    finding: FindingRef
    playbook: Playbook
    preview: str
    impact: Impact
    reversibility: str
    evidence: Evidence
    expected: Expected | None
    outcome_plan: OutcomePlan | None
    limits: Limits
    approval: Approval
    state: State
    refusals: tuple[RuleRefusal, ...]
    run: str
    requested_by: tuple[str, ...]
    window_end: datetime
    created_at: datetime
    changed_at: datetime
    expires_at: datetime | None
    audit: AuditLink | None = None

    @property
    def thing(self) -> tuple[TargetKind, str, str]:
        """What there may be only one open proposal about: a metric of a group."""
        return self.target.kind, self.target.key, self.finding.metric


@dataclass(frozen=True, slots=True)
class Halt:
    """The kill switch is on."""

    reason: str
    by: str
    at: datetime


def canonical(value: Any) -> bytes:
    """JSON of any of these values with sorted keys: equal values give equal bytes."""
    return msgspec.json.encode(value, order="sorted")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return digest_of(canonical(value))


def digest_of(text: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(text).hexdigest()


def body(proposal: Proposal) -> bytes:
    """The part of a version that never changes: without state, decisions and audit."""
    approval = replace(proposal.approval, decisions=())
    return canonical(
        replace(proposal, state=State.DRAFT, approval=approval, changed_at=proposal.created_at, audit=None)
    )


def from_body(text: bytes | str) -> Proposal:
    """The inverse of `body`.

    Raises:
        InvalidInput: a target in it may not be named.
        msgspec.ValidationError: it is not a proposal of version 1.
    """
    return msgspec.json.decode(text, type=Proposal)


def mirrored(proposal: Proposal) -> dict[str, Any]:
    """What of the body also stands in columns of its own, to be found and to be kept unique by."""
    return {
        "id": proposal.id,
        "version": proposal.version,
        "template_id": proposal.playbook.template_id,
        "target_kind": proposal.target.kind,
        "target_key": proposal.target.key,
        "target_size": proposal.target.size,
        "metric": proposal.finding.metric,
        "run": proposal.run,
        "window_end": proposal.window_end,
        "created_at": proposal.created_at,
        "expires_at": proposal.expires_at,
    }


def as_document(proposal: Proposal) -> dict[str, Any]:
    """The contract's JSON object."""
    document: dict[str, Any] = msgspec.to_builtins(proposal)
    return document


def registered_hash(plan: OutcomePlan, proposal: Proposal) -> str:
    """What fixes a plan before the approval: SHA-256 over the plan, the expectation and what is to be done."""
    fixed = (replace(plan, registered_hash=""), proposal.expected, proposal.target, proposal.playbook, proposal.id)
    return digest((*fixed, proposal.version))
