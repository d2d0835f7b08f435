"""Which practices a team could try within a horizon and an effort: the best set of what the rules allow today.

Makes and changes no proposal. What is in and what is out is said with its reason; where nothing is credible, so is that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from pipelines.errors import InvalidInput
from pipelines.evidence import RuleRefusal, State
from pipelines.interventions import lifecycle, policy
from pipelines.interventions.plan import Chosen, Option, Room, best, gain_of, why_out
from pipelines.interventions.policy import Context
from pipelines.interventions.possible import Draft, Drafting, Seen
from pipelines.interventions.proposal import Impact, Proposal, Target, TargetKind
from pipelines.interventions.shown import HIDDEN, hidden
from pipelines.jobs.evaluate import Proposals
from pipelines.jobs.policy_check import insist_enough, team_of
from pipelines.jobs.proposal_words import number, spoken

HORIZON, MOST_DAYS = 120, 730


class EffortLevel(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


#: Points of `playbooks.EFFORTS` that all practices of a plan may ask for together: one that needs decisions; and a habit
#: besides; two habits.
EFFORT: Mapping[EffortLevel, int] = {EffortLevel.LOW: 2, EffortLevel.MEDIUM: 4, EffortLevel.HIGH: 6}


@dataclass(frozen=True, slots=True)
class Asked:
    team: str
    horizon: timedelta
    effort: EffortLevel


@dataclass(frozen=True, slots=True)
class Line:
    """One practice: in, from `starts` on; or out, with the rules and limits that say so. words: a sentence of it."""

    template_id: str
    metric: str
    effort: int
    words: str
    starts: date | None = None
    refusals: tuple[RuleRefusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """How many practices are in, and of how many that were looked at. credible: those with credible evidence. allowed: those
    that no rule refuses. effort: what the plan asks for, of effort_most. run: the full run whose findings were used.
    """

    planned: int
    candidates: int
    credible: int
    allowed: int
    effort: int
    effort_most: int
    horizon_days: int
    run: str | None = None
    team: str = ""
    lines: tuple[Line, ...] = ()


def asked(parameters: Mapping[str, Any]) -> Asked:
    """What people give, as what is asked.

    Raises:
        InvalidInput: a team that cannot be, a horizon or an effort that is none; the team is not repeated.
    """
    if not parameters.get("team_id"):
        raise InvalidInput("team_id is missing: the name of the team")
    horizon, effort = parameters.get("horizon", HORIZON), parameters.get("effort_level") or EffortLevel.MEDIUM
    if not isinstance(horizon, int) or isinstance(horizon, bool) or not 1 <= horizon <= MOST_DAYS:
        raise InvalidInput(f"horizon is a number of days from 1 to {MOST_DAYS}")
    if effort not in list(EffortLevel):
        raise InvalidInput(f"effort_level is none that is known; expected {', '.join(EffortLevel)}")
    return Asked(team_of(parameters.get("team_id")), timedelta(days=horizon), EffortLevel(effort))


@dataclass(frozen=True)
class Table:
    """What is planned with. seen: what the last full run left."""

    proposals: Proposals
    context: Callable[[], Context]
    seen: Callable[[], Seen]


def plan_interventions(wanted: Asked, table: Table) -> Planned:
    """The best set for the team. The same stores and the same day give the same plan.

    Raises:
        Refused: GROUP_TOO_SMALL, the team has fewer people than may be told of, or nobody knows it.
        TransientError, PermanentError: of a store.
    """
    seen, context = table.seen(), table.context()
    insist_enough(seen, wanted.team, context.rules.k)
    drafts = Drafting(seen.run or "", seen.window_end).of_team(wanted.team, seen.findings, seen.bands, context)
    told = _against(drafts, table.proposals.list(list(State)), context)
    allowed = {option.name: option for draft in drafts if not told[draft.template.id] and (option := _option(draft))}
    room = _room(wanted, seen, context)
    chosen = best(list(allowed.values()), room)
    lines = tuple(_line(draft, told[draft.template.id], allowed, chosen, room, context) for draft in drafts)
    return Planned(
        planned=len(chosen),
        candidates=len(drafts),
        credible=sum(_is_credible(draft) for draft in drafts),
        allowed=len(allowed),
        effort=sum(c.option.effort for c in chosen),
        effort_most=room.effort,
        horizon_days=room.days,
        run=seen.run,
        team=wanted.team,
        lines=tuple(sorted(lines, key=lambda line: (line.starts is None, line.starts or date.min, line.template_id))),
    )


# ------------------------------------------------------------------------------------------------ what may be chosen


def _against(drafts: Sequence[Draft], everything: Sequence[Proposal], context: Context) -> dict[str, list[RuleRefusal]]:
    """By playbook, what speaks against it today whatever else is planned."""
    made = [draft.proposal for draft in drafts if draft.proposal]
    ids = {id_ for proposal in made for id_ in hidden([*everything, proposal], context.rules.k) if id_ == proposal.id}
    return {draft.template.id: list(_reasons(draft, ids)) for draft in drafts}


def _reasons(draft: Draft, withheld: set[str]) -> Iterator[RuleRefusal]:
    if draft.proposal and draft.proposal.id in withheld:
        yield RuleRefusal("GROUP_TOO_SMALL", f"it is {HIDDEN}", "a larger group")
        return  # what else the rules say would tell of them
    yield from draft.refusals
    if draft.template.impact is Impact.HIGH:
        yield RuleRefusal("ADVICE_ONLY", "its impact is high: it is advice and never carried out")
    if not draft.refusals and _gain(draft) <= 0:
        yield RuleRefusal("NO_IMPROVEMENT", "its interval promises nothing", "evidence that it helps")


def _option(draft: Draft) -> Option | None:
    its, template = draft.proposal, draft.template
    if its is None or its.expected is None:
        return None
    return Option(
        template.id, template.treatment, template.effort, template.impact, its.expected.horizon_days, _gain(draft)
    )


def _gain(draft: Draft) -> float:
    if draft.proposal is None or draft.finding is None or draft.proposal.expected is None:
        return 0.0
    expected, params = draft.proposal.expected, draft.proposal.playbook.params
    supported = float(params["change_supported"])
    share = float(params["change_assumed"]) / supported if supported else 0.0
    return gain_of(draft.finding.effect_sd or 0.0, share, expected.effect, expected.ci)


def _room(wanted: Asked, seen: Seen, context: Context) -> Room:
    """What is under way keeps its place until it ends; what is only proposed to the team does not: the plan may choose it."""
    target = Target(TargetKind.TEAM, wanted.team, seen.people[wanted.team])
    busy = [p for p in context.standing if p.state in lifecycle.ACTIVE and not _is_only_proposed(p, wanted.team)]
    free = min(context.rules.open_per_team - policy.open_for(target, busy), context.rules.open_in_all - len(busy))
    return Room(EFFORT[wanted.effort], wanted.horizon.days, max(0, free))


def _is_only_proposed(proposal: Proposal, team: str) -> bool:
    is_theirs = proposal.target.kind is TargetKind.TEAM and proposal.target.key == team
    return is_theirs and proposal.state in lifecycle.REVISABLE


def _is_credible(draft: Draft) -> bool:
    return draft.proposal is not None and not any(r.rule == "NOT_CREDIBLE" for r in draft.refusals)


# ------------------------------------------------------------------------------------------------ in words


def _line(
    draft: Draft,
    against: Sequence[RuleRefusal],
    allowed: Mapping[str, Option],
    chosen: Sequence[Chosen],
    room: Room,
    context: Context,
) -> Line:
    template = draft.template
    place = next((c for c in chosen if c.option.name == template.id), None)
    if place is not None:
        starts = context.today + timedelta(days=place.day)
        return Line(template.id, template.treatment, template.effort, _in(draft, place), starts)
    option = allowed.get(template.id)
    refusals = (why_out(option, chosen, room),) if option else tuple(against)
    return Line(template.id, template.treatment, template.effort, policy.in_words(refusals), None, refusals)


def _in(draft: Draft, place: Chosen) -> str:
    assert draft.proposal is not None and draft.proposal.expected is not None
    expected, standing = draft.proposal.expected, draft.standing
    how = (
        f"stands as proposal {standing.id} ({spoken(standing.state)})"
        if _is_that(draft) and standing
        else "not proposed yet"
    )
    low, high = expected.ci
    return (
        f"{expected.metric} {number(expected.effect)} (95 % interval {number(low)} to {number(high)}), judged after"
        f" {place.option.days} days; effort {place.option.effort}; {how}"
    )


def _is_that(draft: Draft) -> bool:
    return draft.standing is not None and draft.standing.playbook.template_id == draft.template.id


def numbers(found: Planned) -> dict[str, Any]:
    """What the ledger keeps: the counts, and the codes of what kept practices out."""
    names = ("planned", "candidates", "credible", "allowed", "effort", "effort_most", "horizon_days")
    codes = sorted({refusal.rule for line in found.lines for refusal in line.refusals})
    return {**{name: getattr(found, name) for name in names}, "codes": codes}


def words(found: Planned) -> list[str]:
    """The plan as sentences: what it comes to, then each practice, those that are in first."""
    return [headline(found), *(f"{'in' if line.starts else 'out'}: {sentence(line)}" for line in found.lines)]


def headline(found: Planned) -> str:
    of = f"for {found.team} within {found.horizon_days} days"
    if found.planned:
        return f"{found.planned} practices {of}, effort {found.effort} of {found.effort_most}; by {found.run}"
    if found.run is None:
        return f"nothing to plan {of}: no full run has completed; python -m pipelines.full"
    if not found.credible:
        return f"nothing credible to plan {of}, by {found.run}; each practice says what it would need"
    return f"nothing to plan {of}, by {found.run}; each practice says why"


def sentence(line: Line) -> str:
    when = f" from {line.starts}" if line.starts else ""
    return f"{line.template_id}{when}: {line.words}"
