"""Where a proposal may go from where it stands, and who may send it there: one table, from which the docs are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pipelines.errors import Refused
from pipelines.evidence import State


class Actor(StrEnum):
    """PIPELINE: a run. APPROVER and OPERATOR: people. EXECUTOR: the service that carries out what was approved."""

    PIPELINE = "pipeline"
    APPROVER = "approver"
    OPERATOR = "operator"
    EXECUTOR = "executor"


_BY_RUN = frozenset({Actor.PIPELINE})
_BY_APPROVER = frozenset({Actor.APPROVER})
_BY_OPERATOR = frozenset({Actor.OPERATOR})
_BY_EXECUTOR = frozenset({Actor.EXECUTOR})
_BY_RUN_OR_OPERATOR = _BY_RUN | _BY_OPERATOR

#: Every version begins as a draft. What may still change goes back to draft, which makes decisions on it void.
TRANSITIONS: Mapping[tuple[State, State], frozenset[Actor]] = MappingProxyType(
    {
        (State.DRAFT, State.BLOCKED): _BY_RUN,
        (State.DRAFT, State.SHADOW): _BY_RUN,
        (State.DRAFT, State.PENDING_APPROVAL): _BY_RUN,
        (State.BLOCKED, State.DRAFT): _BY_RUN,
        (State.BLOCKED, State.WITHDRAWN): _BY_RUN_OR_OPERATOR,
        (State.SHADOW, State.DRAFT): _BY_RUN,
        (State.SHADOW, State.WITHDRAWN): _BY_RUN_OR_OPERATOR,
        (State.PENDING_APPROVAL, State.DRAFT): _BY_RUN,
        (State.PENDING_APPROVAL, State.APPROVED): _BY_APPROVER,
        (State.PENDING_APPROVAL, State.REJECTED): _BY_APPROVER,
        (State.PENDING_APPROVAL, State.EXPIRED): _BY_RUN_OR_OPERATOR,
        (State.PENDING_APPROVAL, State.WITHDRAWN): _BY_RUN_OR_OPERATOR,
        # Not in the contract's line, but until something executes it an approval must be retractable.
        (State.APPROVED, State.WITHDRAWN): _BY_OPERATOR,
        (State.APPROVED, State.EXECUTING): _BY_EXECUTOR,
        (State.EXECUTING, State.EXECUTED): _BY_EXECUTOR,
        (State.EXECUTING, State.FAILED): _BY_EXECUTOR,
        (State.FAILED, State.COMPENSATING): _BY_EXECUTOR,
        (State.COMPENSATING, State.COMPENSATED): _BY_EXECUTOR,
        (State.COMPENSATING, State.STUCK): _BY_EXECUTOR,
        (State.EXECUTED, State.MONITORING): _BY_EXECUTOR,
        (State.MONITORING, State.IMPROVED): _BY_RUN,
        (State.MONITORING, State.NO_CHANGE): _BY_RUN,
        (State.MONITORING, State.INCONCLUSIVE): _BY_RUN,
        (State.MONITORING, State.HARMFUL): _BY_RUN,
    }
)

#: A later run may still change these.
REVISABLE = frozenset({State.BLOCKED, State.SHADOW, State.PENDING_APPROVAL})
#: These stand in the way of a second proposal about the same thing. STUCK: nobody has cleared up after it yet.
OPEN = frozenset(source for source, _ in TRANSITIONS) - {State.DRAFT} | {State.STUCK}
#: These take up a group's attention, and so its budget.
ACTIVE = OPEN - {State.BLOCKED, State.SHADOW}


def move(state: State, to: State, actor: Actor) -> State:
    """`to`, if this actor may bring a proposal there from `state`.

    Raises:
        Refused: ILLEGAL_MOVE, nobody may; WRONG_ACTOR, somebody else may.
    """
    allowed = TRANSITIONS.get((state, to))
    if allowed is None:
        raise Refused("ILLEGAL_MOVE", f"a proposal does not go from {_words(state)} to {_words(to)}")
    if actor not in allowed:
        who = " or ".join(sorted(allowed))
        raise Refused("WRONG_ACTOR", f"from {_words(state)} to {_words(to)} only the {who} may, not the {actor}")
    return to


def drawing() -> str:
    """The table as a Mermaid state diagram, for the docs."""
    ends = sorted({to for _, to in TRANSITIONS} - {source for source, _ in TRANSITIONS})
    lines = ["stateDiagram-v2", f"    [*] --> {State.DRAFT}"]
    lines += [f"    {source} --> {to}: {' or '.join(sorted(actors))}" for (source, to), actors in TRANSITIONS.items()]
    lines += [f"    {state} --> [*]" for state in ends]
    return "\n".join(lines) + "\n"


def _words(state: State) -> str:
    return state.replace("_", " ")
