"""Every pair of states and every actor: what the contract allows is possible, and nothing else."""

from __future__ import annotations

from itertools import product

import pytest

from pipelines.errors import Refused
from pipelines.evidence import State
from pipelines.interventions import lifecycle
from pipelines.interventions.lifecycle import TRANSITIONS, Actor, move

#: The lines of the contract, in its own words, and below them what we added, each with its reason in the table.
_CONTRACT = """
draft -> blocked | shadow | pending_approval
pending_approval -> approved | rejected | expired | withdrawn
approved -> executing
executing -> executed | failed
failed -> compensating
compensating -> compensated | stuck
executed -> monitoring
monitoring -> improved | no_change | inconclusive | harmful
"""
_ADDED = """
blocked -> draft | withdrawn
shadow -> draft | withdrawn
pending_approval -> draft
approved -> withdrawn
"""


def _pairs(text: str) -> set[tuple[State, State]]:
    lines = [line.split(" -> ") for line in text.strip().splitlines()]
    return {(State(source), State(to)) for source, ends in lines for to in ends.split(" | ")}


def test_the_table_is_the_contract_and_what_we_say_we_added() -> None:
    assert set(TRANSITIONS) == _pairs(_CONTRACT) | _pairs(_ADDED)
    assert not _pairs(_CONTRACT) & _pairs(_ADDED)


@pytest.mark.parametrize("actor", Actor)
def test_every_other_move_is_refused(actor: Actor) -> None:
    refused = {"ILLEGAL_MOVE": 0, "WRONG_ACTOR": 0}
    for pair in product(State, State):
        if actor in TRANSITIONS.get(pair, ()):
            assert move(*pair, actor) is pair[1]
            continue
        with pytest.raises(Refused) as error:
            move(*pair, actor)
        assert error.value.code == ("WRONG_ACTOR" if pair in TRANSITIONS else "ILLEGAL_MOVE")
        refused[error.value.code] += 1
    assert refused["ILLEGAL_MOVE"] == len(State) ** 2 - len(TRANSITIONS)


def test_only_an_approver_approves_and_no_machine_does() -> None:
    assert [pair for pair in TRANSITIONS if pair[1] is State.APPROVED] == [(State.PENDING_APPROVAL, State.APPROVED)]
    assert TRANSITIONS[State.PENDING_APPROVAL, State.APPROVED] == {Actor.APPROVER}


def test_nothing_is_executed_that_was_not_approved() -> None:
    before = {State.EXECUTING}
    while more := {source for source, to in TRANSITIONS if to in before} - before - {State.APPROVED}:
        before |= more
    assert before == {State.EXECUTING}


def test_every_state_can_be_reached() -> None:
    reached = {State.DRAFT}
    while more := {to for source, to in TRANSITIONS if source in reached} - reached:
        reached |= more
    assert reached == set(State)


def test_what_is_over_stays_over() -> None:
    over = {State.REJECTED, State.EXPIRED, State.WITHDRAWN, State.COMPENSATED, State.IMPROVED, State.NO_CHANGE}
    over |= {State.INCONCLUSIVE, State.HARMFUL}
    assert set(State) - lifecycle.OPEN - {State.DRAFT} == over
    assert lifecycle.REVISABLE < lifecycle.OPEN
    assert lifecycle.OPEN - {State.BLOCKED, State.SHADOW} == lifecycle.ACTIVE


def test_the_drawing_shows_every_move_once() -> None:
    lines = lifecycle.drawing().splitlines()
    assert lines[0] == "stateDiagram-v2"
    drawn = [tuple(line.split(":")[0].split()[::2]) for line in lines if ":" in line]
    assert sorted(drawn) == sorted((source.value, to.value) for source, to in TRANSITIONS)
    assert "    pending_approval --> approved: approver" in lines
