"""What the rules look at besides a proposal, read and not written: every proposal that stands, the switch, the rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pipelines.evidence import State
from pipelines.interventions import lifecycle, store
from pipelines.interventions.lifecycle import Actor
from pipelines.interventions.policy import Context
from pipelines.interventions.proposal import Proposal
from pipelines.interventions.store import PostgresProposals
from pipelines.postgres import transaction


def context(proposals: PostgresProposals, now: datetime) -> Context:
    """As a run or an approval would find it at this moment. Asking locks, notes and expires nothing: it is read-only.

    Raises:
        TransientError, PermanentError: of PostgreSQL.
    """
    since, open_ = now - store._REMEMBERED, [state.value for state in lifecycle.OPEN]
    with transaction(proposals._pool) as connection:
        store._run(connection, "one_moment")
        found = [store._proposal(row) for row in store._run(connection, "standing", open=open_, since=since)]
        taken_back = frozenset(id_ for (id_,) in store._run(connection, "taken_back", since=since))
        halted = store._halted(connection)
    standing = [expired(p, now) for p in found]
    return Context(now=now, rules=proposals._rules, standing=standing, halted=halted, taken_back=taken_back)


def expired(proposal: Proposal, now: datetime) -> Proposal:
    """It, as the next run will leave it if it has waited for too long."""
    if proposal.state is not State.PENDING_APPROVAL or proposal.expires_at is None or proposal.expires_at > now:
        return proposal
    state = lifecycle.move(proposal.state, State.EXPIRED, Actor.PIPELINE)
    return replace(proposal, state=state, changed_at=now)
