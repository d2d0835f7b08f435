"""Findings, bands and proposals for tests, valid unless a test says otherwise; and a store of proposals in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import Check, CheckResult, Estimate, Finding, State, Status, SubjectKind
from pipelines.interventions import approval, audit, lifecycle, policy, propose
from pipelines.interventions.approval import Attempt
from pipelines.interventions.audit import AuditReport
from pipelines.interventions.bands import Band
from pipelines.interventions.lifecycle import Actor
from pipelines.interventions.policy import Context, Rules
from pipelines.interventions.proposal import (
    AuditLink,
    Choice,
    FindingRef,
    Halt,
    Proposal,
    TargetKind,
    body,
    canonical,
    digest_of,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WINDOW_END = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
KEY = b"a key for tests"
TABLES = "proposals, proposal_decisions, interventions_switch, audit_log, audit_head"
#: Out of shadow mode, and one approver is enough for the team of the tests.
LIVE = Rules(shadow=False, two_persons_below=10)


def finding(**changes: Any) -> Finding:
    """Meetings wear people out: credible, for all."""
    values: dict[str, Any] = {
        "id": "f1",
        "question": "meetings.survey",
        "words": "Do more meeting hours lead to more exhaustion four weeks later?",
        "treatment": "meeting_h",
        "treatment_unit": "hours a week",
        "outcome": "exhaustion",
        "outcome_kind": "survey",
        "lag_weeks": 4,
        "subject_kind": SubjectKind.ORG,
        "subject": "",
        "people": 400,
        "periods": 26,
        "rows": 10_000,
        "clusters": 40,
        "cluster_level": "team",
        "estimate": Estimate("FE-DML", 0.10, 0.02, 0.06, 0.14, 1e-6),
        "specs": (),
        "checks": (Check("lead test", CheckResult.PASSED, "Next month's meetings do not predict it.", gate=True),),
        "status": Status.CREDIBLE,
        "reasons": (),
        "data_version": "d1",
        "mde": 0.05,
        "effect_sd": 0.2,
        "contrast": -2.0,
        "contrast_effect": (-0.20, -0.28, -0.12),
    }
    return Finding(**values | changes)


def band(key: str = "team-a", **changes: Any) -> Band:
    """A team of 20 with 14 meeting hours a week, where 8 to 12 are normal."""
    values: dict[str, Any] = {
        "metric": "meeting_h",
        "value": 14.0,
        "normal_low": 8.0,
        "normal_high": 12.0,
        "since": date(2026, 2, 9),
        "coverage": 1.0,
    }
    kind, size = changes.pop("kind", TargetKind.TEAM), changes.pop("size", 20)
    return Band(kind, key, size, FindingRef(**values | changes))


def context(**changes: Any) -> Context:
    return Context(**{"now": NOW, "rules": LIVE} | changes)


def orchestrator(**changes: Any) -> propose.SafeActionOrchestrator:
    return propose.SafeActionOrchestrator(**{"run": "run-1", "window_end": WINDOW_END} | changes)


def proposal(rules: Rules = LIVE, **changes: Any) -> Proposal:
    """One that waits for an approval, made by the real orchestrator, then changed."""
    (made,) = orchestrator().evaluate([finding()], [band()], context(rules=rules))
    return replace(made, **changes)


def attempt(made: Proposal, by: str = "Anna Berg", **changes: Any) -> Attempt:
    values = {"id": made.id, "version": made.version, "choice": Choice.APPROVE, "reason": "worth a try", "via": "test"}
    return Attempt(**{**values, "by": by} | changes)


class FakeProposals:
    """`jobs.evaluate.Proposals` in memory, with one lock where the database has one."""

    def __init__(self, rules: Rules = LIVE, key: bytes = KEY) -> None:
        self.rules, self._key = rules, key
        self.rows: list[audit.Row] = []
        self.there: dict[str, Proposal] = {}
        self._halt: Halt | None = None
        self._lock = threading.RLock()

    def get(self, id_: str) -> Proposal | None:
        return self.there.get(id_)

    def list(self, states: Collection[State]) -> list[Proposal]:
        return sorted((p for p in self.there.values() if p.state in states), key=lambda p: (p.created_at, p.id))

    def halted(self) -> Halt | None:
        return self._halt

    def propose(
        self, weigh: Callable[[Context], Sequence[Proposal]], window_end: datetime, run: str, now: datetime
    ) -> propose.Saved:
        with self._lock:
            if words := policy.halted_words(self._halt):
                raise Refused("HALTED", words)
            expired = self.expire(now)
            where = self._context(now)
            done = propose.changes(weigh(where), where.standing, window_end)
            for old in done.stale:
                self._move(old, State.WITHDRAWN, Actor.PIPELINE, "pipeline", "withdrawn", now)
            for old, new in done.revised:
                lifecycle.move(old.state, State.DRAFT, Actor.PIPELINE)
                self._put(new, Actor.PIPELINE, "pipeline", "revised", now)
            for new in done.fresh:
                self._put(new, Actor.PIPELINE, "pipeline", "proposed", now)
            return propose.counted(done, expired)

    def expire(self, now: datetime, by: str = "pipeline") -> int:
        actor = Actor.PIPELINE if by == "pipeline" else Actor.OPERATOR
        with self._lock:
            late = [p for p in self.list([State.PENDING_APPROVAL]) if p.expires_at and p.expires_at <= now]
            for old in late:
                self._move(old, State.EXPIRED, actor, by, "expired", now)
            return len(late)

    def decide(self, attempt: Attempt, now: datetime) -> Proposal:
        with self._lock:
            after = approval.decide(self._must_get(attempt.id), attempt, self._context(now))
            return self._put(after, Actor.APPROVER, attempt.by, attempt.choice.value, now)

    def withdraw(self, id_: str, by: str, reason: str, now: datetime) -> Proposal:
        _insist(by, reason)
        with self._lock:
            return self._move(self._must_get(id_), State.WITHDRAWN, Actor.OPERATOR, by, "withdrawn", now)

    def halt(self, by: str, reason: str, now: datetime) -> bool:
        _insist(by, reason)
        changed = self._halt is None
        self._halt = self._halt or Halt(reason, by, now)
        return changed

    def resume(self, by: str, reason: str, now: datetime) -> bool:
        _insist(by, reason)
        changed, self._halt = self._halt is not None, None
        return changed

    def verify_audit(self, anchor: tuple[int, str] | None = None) -> AuditReport:
        problems: list[audit.BadRow] = []
        rows = list(audit.watched(self._key, self.rows, problems))
        last = (rows[-1].seq, rows[-1].hash) if rows else (0, audit.GENESIS)
        return AuditReport(len(rows), last, problems[0] if problems else None)

    def _context(self, now: datetime) -> Context:
        entries = [row.entry for row in self.rows]
        taken_back = frozenset(e.subject for e in entries if e.action == "withdrawn" and e.role == Actor.OPERATOR)
        standing = list(self.there.values())
        return Context(now=now, rules=self.rules, standing=standing, halted=self._halt, taken_back=taken_back)

    def _must_get(self, id_: str) -> Proposal:
        if id_ not in self.there:
            raise InvalidInput(f"there is no proposal {id_!r}")
        return self.there[id_]

    def _move(self, old: Proposal, to: State, actor: Actor, by: str, action: str, now: datetime) -> Proposal:
        return self._put(
            replace(old, state=lifecycle.move(old.state, to, actor), changed_at=now), actor, by, action, now
        )

    def _put(self, new: Proposal, actor: Actor, by: str, action: str, now: datetime) -> Proposal:
        detail = canonical({"to": new.state, "body": digest_of(body(new))}).decode()
        entry = audit.Entry(
            at=now, role=actor, who=by, action=action, subject=new.id, version=new.version, detail=detail
        )
        before = self.rows[-1].hash if self.rows else audit.GENESIS
        self.rows.append(audit.chained(self._key, len(self.rows) + 1, before, entry))
        self.there[new.id] = replace(new, audit=AuditLink(before, self.rows[-1].hash))
        return self.there[new.id]


def _insist(by: str, reason: str) -> None:
    if not (by.strip() and reason.strip()):
        raise InvalidInput("a name and a reason are needed")
