"""What people are asked: each proposal that waits for a decision, told once, and once more when it no longer waits.

Nobody is reminded. A proposal that nobody decides on is not done, which harms nobody, and a later run may propose it anew;
who is pressed in its last hours decides in a hurry. The message says until when, and the status page shows what waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from alerts.model import QUESTIONS, Code, Facts, Problem, ProposalFact, Severity, Waiting
from alerts.rules.limits import Limits
from alerts.rules.words import clock


def waiting(facts: Facts, _limits: Limits) -> Iterator[Problem]:
    """One for each version. Its words are whole, for who decides has to know exactly what will happen."""
    for its in facts.proposals or ():
        if its.asks is not None:
            yield Problem(
                code=Code.PROPOSAL_WAITING,
                subject=_subject(its),
                severity=Severity.INFO,
                what=_words(its.asks),
                since=its.since,
                lost="",
                fix=f"python -m pipelines.review show {its.id}",
                link=its.asks.link,
                event=_subject(its),
                asks=its.asks,
            )


def ended(problem: Problem, facts: Facts) -> Problem:
    """How it is told that a problem is over. Of a proposal why it no longer waits; of any other what it was.

    What may not be shown any more is not said again.
    """
    if problem.code not in QUESTIONS:
        return problem
    id_, _, version = problem.subject.rpartition(":")
    its = next((p for p in facts.proposals or () if p.id == id_), None)
    about = problem.asks.about if problem.asks else "a group"
    if its is not None and its.withheld:
        return replace(problem, what=f"The proposal no longer waits. {its.over}", asks=None)
    return replace(problem, what=f"The proposal about {about} no longer waits. {_why(its, version)}".strip())


def _why(its: ProposalFact | None, version: str) -> str:
    if its is None:
        return ""
    return its.over if str(its.version) == version else f"Version {its.version} of it has taken its place."


def _subject(its: ProposalFact) -> str:
    return f"{its.id}:{its.version}"


def _words(asks: Waiting) -> str:
    until = f" until {clock(asks.expires_at)}" if asks.expires_at else ""
    parts = (f"A proposal about {asks.about} waits for a decision{until}.", f"What happens: {asks.happens}")
    return " ".join((*parts, f"To undo it: {asks.undo}"))
