"""A proposal in words, for terminal, API and page: the same facts in the same order. Only what `coarse` leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pipelines.evidence import State
from pipelines.interventions.proposal import Proposal

#: Said wherever somebody decides: what is described above it is not started by the decision.
BY_PEOPLE = "by people, once it is approved; nothing happens by itself"


def facts(p: Proposal) -> Iterator[tuple[str, str]]:
    """(what, words), in the order in which somebody who decides wants to read them. p: as `shown.coarse` has it."""
    f, e = p.finding, p.evidence
    normal = f"normal is {number(f.normal_low)} to {number(f.normal_high)}"
    yield "about", f"{p.target} (at least {p.target.size} people)"
    yield "finding", f"{f.metric} {number(f.value)}, {normal}; since {f.since}; data cover {f.coverage:.0%}"
    yield "what happens", p.preview
    yield "to undo it", p.reversibility
    yield "impact", p.impact
    data = f"at least {e.units} people, {e.periods} weeks"
    yield "evidence", f"{e.question} {spoken(e.verdict)}: {e.method}, {data}{_effect(p)}"
    for check in e.checks:
        yield "check", f"{check.name} {spoken(check.verdict)}: {check.words}"
    if p.expected:
        yield (
            "expected",
            f"{p.expected.metric} {_interval(p.expected.effect, p.expected.ci)} in {p.expected.horizon_days} days",
        )
    if plan := p.outcome_plan:
        dates = " and ".join(map(str, plan.check_dates))
        yield "judged by", f"{plan.method}: {plan.comparison}; on {dates}; harm from {number(plan.harm_bound)}"
    yield "carried out", BY_PEOPLE
    yield "needs", f"{p.approval.policy}, {len(p.approval.decisions)} of {p.approval.needed} so far"
    for d in p.approval.decisions:
        yield d.decision, f"{d.by}, {minute(d.at)}: {d.reason}"
    for refusal in p.refusals:
        yield "blocked", refusal.words + (f"; unblocked by: {refusal.unblocks}" if refusal.unblocks else "")
    if p.expires_at and p.state is State.PENDING_APPROVAL:
        yield "expires", minute(p.expires_at)


def standing(after: Proposal) -> str:
    """How it stands after a decision, in a line."""
    missing = after.approval.needed - len(after.approval.decisions)
    more = f"; {missing} more to agree" if after.state is State.PENDING_APPROVAL else ""
    return f"{after.id} version {after.version}: {spoken(after.state)}{more}"


def _effect(p: Proposal) -> str:
    e = p.evidence
    return f", {_interval(e.effect, e.ci)} per unit" if e.effect is not None and e.ci else ""


def _interval(effect: float, ci: tuple[float, float]) -> str:
    return f"{number(effect)} (95 % interval {number(ci[0])} to {number(ci[1])})"


def number(value: float) -> str:
    """Two digits: more would promise more than there is."""
    return f"{float(f'{value:.2g}'):g}"


def spoken(name: str) -> str:
    return name.replace("_", " ")


def minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
