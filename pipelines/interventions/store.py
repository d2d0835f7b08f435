"""Proposals in PostgreSQL. Every change is one transaction with its row of the audit log; the rules are asked inside it.

Writers come one at a time (a lock of the database, held for some milliseconds): that is what makes one of a thousand
simultaneous approvals the only one, keeps the audit log one chain, and makes a halt complete when it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipelines import queries
from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import State
from pipelines.interventions import approval, audit_store, lifecycle, policy, propose
from pipelines.interventions.approval import Attempt
from pipelines.interventions.audit import AuditReport
from pipelines.interventions.lifecycle import Actor
from pipelines.interventions.policy import Context, Rules
from pipelines.interventions.proposal import (
    AuditLink,
    Choice,
    Decision,
    Halt,
    Proposal,
    body,
    canonical,
    digest_of,
    from_body,
    mirrored,
)
from pipelines.postgres import Connection, Pool, runner, transaction

_Q = queries.load("pipelines.interventions", "queries.sql")
_run = runner(_Q)
#: How long an ended proposal is looked at again: longer than any cool-down.
_REMEMBERED = timedelta(days=400)
_LOCK = "one_at_a_time"
#: The name under which a run writes.
_RUN = "pipeline"


class PostgresProposals:
    """`ports.Proposals`. key: of the audit log, kept outside the database. rules: those in force, noted in the log."""

    def __init__(self, pool: Pool, key: bytes, rules: Rules) -> None:
        self._pool, self._key, self._rules = pool, key, rules

    # -------------------------------------------------------------------------------------------- looking

    def get(self, id_: str) -> Proposal | None:
        with transaction(self._pool) as connection:
            return self._get(connection, id_)

    def list(self, states: Collection[State]) -> list[Proposal]:
        """Those in one of these states, oldest first."""
        with transaction(self._pool) as connection:
            return [_proposal(row) for row in _run(connection, "list", states=[s.value for s in states])]

    def halted(self) -> Halt | None:
        """The kill switch, as it is now. To be read before every step that has an effect."""
        with transaction(self._pool) as connection:
            return _halted(connection)

    def verify_audit(self, anchor: tuple[int, str] | None = None) -> AuditReport:
        """Check the log, and the tables against it. anchor: row number and hash that were noted outside before."""
        with transaction(self._pool) as connection:
            return audit_store.verify(connection, self._key, anchor)

    # -------------------------------------------------------------------------------------------- a run

    def propose(
        self, weigh: Callable[[Context], Sequence[Proposal]], window_end: datetime, run: str, now: datetime
    ) -> propose.Saved:
        """Make the open proposals what `weigh` wants of them: all in one transaction, or nothing. Repeatable.

        Raises:
            Refused: HALTED.
        """
        with self._writing() as connection:
            if stopped := policy.halted_words(_halted(connection)):
                raise Refused("HALTED", stopped)
            expired = self._expire(connection, now, Actor.PIPELINE, _RUN)
            context = self._context(connection, now)
            done = propose.changes(weigh(context), context.standing, window_end)
            for old in done.stale:
                self._withdraw(connection, old, now, Actor.PIPELINE, _RUN, f"run {run} finds no reason for it any more")
            for old, new in done.revised:
                self._save(connection, new, old, now)
            for new in done.fresh:
                self._save(connection, new, None, now)
            return propose.counted(done, expired)

    def expire(self, now: datetime, by: str = _RUN) -> int:
        """Close what waited for too long. How many."""
        actor = Actor.PIPELINE if by == _RUN else Actor.OPERATOR
        with self._writing() as connection:
            return self._expire(connection, now, actor, by)

    # -------------------------------------------------------------------------------------------- people

    def decide(self, attempt: Attempt, now: datetime) -> Proposal:
        """The proposal after the decision. Of many at the same moment exactly as many succeed as are needed.

        Raises:
            InvalidInput: there is no such proposal.
            Refused: with the code of the rule that says no.
        """
        with self._writing() as connection:
            before = self._must_get(connection, attempt.id)
            after = approval.decide(before, attempt, self._context(connection, now))
            decision = after.approval.decisions[-1]
            columns = {name: getattr(decision, name) for name in Decision.__dataclass_fields__}
            _run(connection, "add_decision", **columns, proposal=after.id, version=after.version)
            action = "rejected" if attempt.choice is Choice.REJECT else "approved"
            said = {
                "decision": attempt.choice,
                "reason": decision.reason,
                "via": decision.via,
                "account": decision.account,
            }
            return self._move(connection, before, after, now, Actor.APPROVER, decision.by, action, **said)

    def withdraw(self, id_: str, by: str, reason: str, now: datetime) -> Proposal:
        """Take an open proposal back before it is executed.

        Raises:
            InvalidInput: no such proposal, no reason.
            Refused: ILLEGAL_MOVE, it is too late for that.
        """
        _insist(by, reason)
        with self._writing() as connection:
            return self._withdraw(connection, self._must_get(connection, id_), now, Actor.OPERATOR, by, reason)

    def halt(self, by: str, reason: str, now: datetime) -> bool:
        """Stop everything: when this returns, no step begins any more. False: it was halted already, and stays so."""
        return self._switch(True, by, reason, now)

    def resume(self, by: str, reason: str, now: datetime) -> bool:
        """Let it go on. False: it was not halted."""
        return self._switch(False, by, reason, now)

    # -------------------------------------------------------------------------------------------- inside a transaction

    def _switch(self, halted: bool, by: str, reason: str, now: datetime) -> bool:
        _insist(by, reason)
        with self._writing() as connection:
            if (_halted(connection) is not None) == halted:
                return False
            _run(connection, "switch", halted=halted, by=by, reason=reason, at=now)
            action = "halted" if halted else "resumed"
            said: dict[str, Any] = {"halted": halted, "reason": reason}
            # A halt must not fail because the log was tampered with; `verify` will name the row all the same.
            audit_store.append(connection, self._key, now, Actor.OPERATOR, by, action, anyway=halted, **said)
            return True

    def _expire(self, connection: Connection, now: datetime, actor: Actor, by: str) -> int:
        waiting = [_proposal(row) for row in _run(connection, "list", states=[State.PENDING_APPROVAL.value])]
        late = [p for p in waiting if p.expires_at and p.expires_at <= now]
        for old in late:
            new = replace(old, state=lifecycle.move(old.state, State.EXPIRED, actor), changed_at=now)
            self._move(connection, old, new, now, actor, by, "expired")
        return len(late)

    def _withdraw(
        self, connection: Connection, old: Proposal, now: datetime, actor: Actor, by: str, reason: str
    ) -> Proposal:
        new = replace(old, state=lifecycle.move(old.state, State.WITHDRAWN, actor), changed_at=now)
        return self._move(connection, old, new, now, actor, by, "withdrawn", reason=reason)

    def _save(self, connection: Connection, new: Proposal, old: Proposal | None, now: datetime) -> None:
        """A first version, or the next version of an open one."""
        if old:
            lifecycle.move(old.state, State.DRAFT, Actor.PIPELINE)
        action = "revised" if old else "proposed"
        link = self._note(
            connection, new, now, Actor.PIPELINE, _RUN, action, proposal=new
        )  # every version stays in the log
        columns = _columns(new, link)
        if old is None:
            _run(connection, "insert", **columns)
        else:
            columns |= {"old_version": old.version, "old_state": old.state}
            _insist_one(connection.execute(_Q["revise"], columns).rowcount)

    def _move(
        self,
        connection: Connection,
        old: Proposal,
        new: Proposal,
        now: datetime,
        actor: Actor,
        by: str,
        action: str,
        **detail: Any,
    ) -> Proposal:
        """The same version in another state (or with one more decision)."""
        link = self._note(connection, new, now, actor, by, action, **{"from": old.state}, **detail)
        columns = _columns(new, link)
        _insist_one(connection.execute(_Q["set_state"], {**columns, "old_state": old.state}).rowcount)
        return replace(new, audit=link)

    def _note(
        self, connection: Connection, new: Proposal, now: datetime, actor: Actor, by: str, action: str, **detail: Any
    ) -> AuditLink:
        said = {"to": new.state, "body": digest_of(body(new)), **detail}
        return audit_store.append(
            connection, self._key, now, actor, by, action, subject=new.id, version=new.version, **said
        )

    def _context(self, connection: Connection, now: datetime) -> Context:
        self._note_rules(connection, now)
        found = _run(connection, "standing", open=[s.value for s in lifecycle.OPEN], since=now - _REMEMBERED)
        return Context(
            now=now,
            rules=self._rules,
            standing=[_proposal(row) for row in found],
            halted=_halted(connection),
            taken_back=frozenset(id_ for (id_,) in _run(connection, "taken_back", since=now - _REMEMBERED)),
        )

    def _must_get(self, connection: Connection, id_: str) -> Proposal:
        if found := self._get(connection, id_):
            return found
        raise InvalidInput(f"there is no proposal {id_!r}; `review list --all` shows which there are")

    def _get(self, connection: Connection, id_: str) -> Proposal | None:
        rows = _run(connection, "get", id=id_)
        return _proposal(rows[0]) if rows else None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One at a time, from here to the commit; all of it or nothing."""
        with transaction(self._pool) as connection:
            _run(connection, _LOCK)
            yield connection

    def _note_rules(self, connection: Connection, now: datetime) -> None:
        """The rules in force go into the log whenever they are others than last time: nobody loosens them unseen."""
        last = _run(connection, "last_rules")
        said = canonical({"rules": self._rules}).decode()
        if not last or last[0][0] != said:
            audit_store.append(
                connection, self._key, now, Actor.PIPELINE, _RUN, "rules", subject="rules", rules=self._rules
            )


def _insist(by: str, reason: str) -> None:
    if not (by.strip() and reason.strip()):
        raise InvalidInput("a name and a reason are needed: they are what the audit log keeps")


def _insist_one(changed: int) -> None:
    """Compare and set. The lock makes this unreachable; without it nobody would notice that the lock is gone."""
    if changed != 1:
        raise Refused("CHANGED_MEANWHILE", "somebody else changed this proposal at the same moment; look at it again")


def _halted(connection: Connection) -> Halt | None:
    rows = _run(connection, "halted")
    return Halt(*rows[0]) if rows else None


def _columns(proposal: Proposal, link: AuditLink) -> dict[str, Any]:
    return {
        **mirrored(proposal),
        "state": proposal.state,
        "changed_at": proposal.changed_at,
        "body": body(proposal).decode(),
        "prev_hash": link.prev_hash,
        "hash": link.hash,
    }


def _proposal(row: tuple[Any, ...]) -> Proposal:
    text, state, changed_at, prev_hash, hash_, decisions = row
    found = from_body(text)
    made = tuple(
        Decision(role, Choice(choice), reason, datetime.fromisoformat(at), via, by, account)
        for role, choice, reason, at, via, by, account in decisions
    )
    agreed = replace(found.approval, decisions=made)
    link = AuditLink(prev_hash, hash_)
    return replace(found, state=State(state), changed_at=changed_at, approval=agreed, audit=link)
