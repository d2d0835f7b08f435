"""May a proposal be put before people? One rule per function, each pure: a refusal with what would unblock it, or None.

All rules are asked every time, so that somebody who mends one reason does not run into the next. Whether a person may
decide it is asked in `approval`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isclose
from zoneinfo import ZoneInfo

from pipelines.errors import InvalidInput
from pipelines.evidence import K_FLOOR, RuleRefusal, State, Status
from pipelines.interventions import lifecycle, playbooks
from pipelines.interventions.proposal import (
    Halt,
    Limits,
    Proposal,
    Target,
    registered_hash,
)
from pipelines.privacy.traces import mask

#: What an expected effect may differ by from the evidence: rounding, nothing else.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Blackout:
    """Days on which nothing new is proposed or approved: local dates of the zone of the rules, both included."""

    first: date
    last: date
    words: str

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise InvalidInput(f"a blackout ends before it begins: {self.first} to {self.last}")


def blackouts(text: str) -> tuple[Blackout, ...]:
    """Of a setting such as `2026-12-24/2027-01-01 year end; 2027-05-01 a holiday`.

    Raises:
        InvalidInput: a part is not one or two dates and words.
    """
    return tuple(_blackout(part.strip()) for part in text.split(";") if part.strip())


def _blackout(text: str) -> Blackout:
    days, _, words = text.partition(" ")
    first, _, last = days.partition("/")
    try:
        return Blackout(
            date.fromisoformat(first), date.fromisoformat(last or first), words.strip() or "no reason given"
        )
    except ValueError:
        raise InvalidInput(f"'{text}' is not a blackout, such as 2026-12-24/2027-01-01 year end") from None


def directions(text: str) -> tuple[tuple[str, int], ...]:
    """Which way own measures improve, of a setting such as `focus=more; pain=less`.

    Raises:
        InvalidInput: a part is not a measure and `more` or `less`.
    """
    said = []
    for part in filter(None, map(str.strip, text.split(";"))):
        measure, _, way = map(str.strip, part.partition("="))
        if not measure or way not in ("more", "less"):
            raise InvalidInput(f"'{part}' does not say which way a measure improves; say focus=more or pain=less")
        said.append((measure, 1 if way == "more" else -1))
    return tuple(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits in force; from the settings. A raised k hides what was proposed under a lower one.

    shadow: proposals are shown and cannot be approved; so a new installation starts. zone: IANA name, for blackout dates.
    open_per_team, open_in_all: proposals that people may have on their hands at once. two_persons_below: smaller groups
    need two different approvers (causal reference, section 6). window_valid: a run whose window ended longer ago than that
    speaks of another time. better: which way measures improve that the playbooks do not
    know, 1 more of it, -1 less.
    """

    k: int = K_FLOOR
    shadow: bool = True
    zone: str = "UTC"
    blackout: tuple[Blackout, ...] = ()
    better: tuple[tuple[str, int], ...] = ()
    min_coverage: float = 0.9
    open_per_team: int = 1
    open_in_all: int = 10
    cooldown: timedelta = timedelta(days=28)
    rest_after_expiry: timedelta = timedelta(days=7)
    window_valid: timedelta = timedelta(hours=24)
    two_persons_below: int = 30
    expires_after: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if self.k < K_FLOOR:
            raise InvalidInput(f"k may be raised, not lowered below {K_FLOOR}")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            words = f"{self.zone!r} is not the IANA name of a time zone, such as Europe/Berlin; check ORGANISM_ZONE"
            raise InvalidInput(words) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the rules look at besides the proposal. now: aware UTC. standing: every proposal that is open or ended lately.

    taken_back: ids of those among them that people withdrew; a run's own withdrawals are not there.
    """

    now: datetime
    rules: Rules
    standing: Sequence[Proposal] = ()
    halted: Halt | None = None
    taken_back: frozenset[str] = frozenset()

    @property
    def today(self) -> date:
        """The date where the blackout dates are meant."""
        return self.now.astimezone(ZoneInfo(self.rules.zone)).date()


Rule = Callable[[Proposal, Context], RuleRefusal | None]

# ------------------------------------------------------------------------------------- may it be put before people?


def halted(_proposal: Proposal, context: Context) -> RuleRefusal | None:
    words = halted_words(context.halted)
    return RuleRefusal("HALTED", words, "somebody resumes them") if words else None


def halted_words(halt: Halt | None) -> str:
    """Why nothing may go on; empty when it may."""
    return f"interventions are halted since {halt.at:%Y-%m-%d %H:%M} UTC: {mask(halt.reason)}" if halt else ""


def is_stale(window_end: datetime, at: datetime, rules: Rules) -> bool:
    """Whether a window ended too long before `at` for what was seen in it to be put before people then."""
    return at - window_end > rules.window_valid


def stale_window(proposal: Proposal, context: Context) -> RuleRefusal | None:
    """By when it was made: while it waits for a decision its window grows older, and that is what the expiry is for."""
    if not is_stale(proposal.window_end, proposal.created_at, context.rules):
        return None
    words = f"the window of its run ended at {proposal.window_end:%Y-%m-%d %H:%M} UTC, too long before it was made"
    return RuleRefusal("STALE_WINDOW", words, "a new run, over a window that ends now: python -m pipelines.full")


_WHAT_UNBLOCKS: dict[str, str] = {
    Status.UNDERPOWERED: "more weeks or more people, until an effect of this size can be told from chance",
    Status.FEEDBACK_OR_CONFOUNDING: "a pilot in which the start is drawn by lot or staggered between teams",
    Status.SPEC_SENSITIVE: "specifications that agree, or a pilot",
    Status.POOR_OVERLAP: "comparable people or weeks with and without it, or a pilot",
    Status.EXPLORATORY_PROXY: "an outcome that people report themselves, such as a short survey",
    Status.TOO_FEW_CLUSTERS: "more teams; with few, differences between teams pass for effects",
    Status.NOT_ENOUGH_HISTORY: "more weeks of history",
}


def not_credible(proposal: Proposal, _context: Context) -> RuleRefusal | None:
    verdict = proposal.evidence.verdict
    if verdict == Status.CREDIBLE:
        return None
    unblocks = _WHAT_UNBLOCKS.get(verdict, "nothing: there is nothing to act on")
    return RuleRefusal("NOT_CREDIBLE", f"the evidence is {verdict.replace('_', ' ')}, not credible", unblocks)


def group_too_small(proposal: Proposal, context: Context) -> RuleRefusal | None:
    if proposal.target.size >= context.rules.k:
        return None
    return RuleRefusal("GROUP_TOO_SMALL", f"the group is smaller than {context.rules.k}", "a larger group")


def low_coverage(proposal: Proposal, context: Context) -> RuleRefusal | None:
    coverage, needed = proposal.finding.coverage, context.rules.min_coverage
    if coverage >= needed:
        return None
    words = f"data cover {coverage:.0%} of the group and its weeks, {needed:.0%} are needed"
    return RuleRefusal("LOW_COVERAGE", words, "the missing sources or people in the data")


def inside_band(proposal: Proposal, _context: Context) -> RuleRefusal | None:
    """Outside on the side that the playbook mends: nobody has to cut down on what is already below normal."""
    found, template = proposal.finding, playbooks.SHIPPED.get(proposal.playbook.template_id)
    direction = template.direction if template else 0
    if (direction < 0 and found.value > found.normal_high) or (direction > 0 and found.value < found.normal_low):
        return None
    words = f"{found.metric} of the group is within its normal band, or beyond it on the good side"
    return RuleRefusal("INSIDE_BAND", words, "nothing has to be done")


def no_improvement(proposal: Proposal, context: Context) -> RuleRefusal | None:
    expected = proposal.expected
    if expected is None:
        return RuleRefusal("NO_IMPROVEMENT", "no effect could be estimated", "enough data for an estimate")
    measure = playbooks.measure(expected.metric)
    better = dict(context.rules.better).get(measure) or playbooks.better(measure)
    if better is None:
        words = f"nobody has said which way {measure} improves"
        return RuleRefusal("NO_IMPROVEMENT", words, f"ORGANISM_BETTER={measure}=more, or {measure}=less")
    if min(better * expected.ci[0], better * expected.ci[1]) > 0:
        return None
    words = f"the interval of the expected effect on {measure} does not lie wholly on the good side"
    return RuleRefusal("NO_IMPROVEMENT", words, "evidence that it helps")


def outside_supported_range(proposal: Proposal, _context: Context) -> RuleRefusal | None:
    """The change that is assumed must be one that was seen in the data, and one that the playbook can bring about."""
    template = playbooks.SHIPPED.get(proposal.playbook.template_id)
    change, seen = (float(proposal.playbook.params.get(name, 0)) for name in ("change_assumed", "change_supported"))
    if template and template.least <= abs(change) <= min(template.most, seen) and change * template.direction > 0:
        return None
    least, most = (template.least, template.most) if template else (0, 0)
    words = (
        f"a change of {change:.2g} is assumed; the playbook moves {least:g} to {most:g}, the data support {seen:.2g}"
    )
    return RuleRefusal("OUTSIDE_SUPPORTED_RANGE", words, "data in which the metric moved that much")


def effect_not_from_evidence(proposal: Proposal, _context: Context) -> RuleRefusal | None:
    """The expected effect and its interval are those of the evidence times the assumed change: nobody has typed them."""
    expected, found, interval = proposal.expected, proposal.evidence.effect, proposal.evidence.ci
    if expected is None or found is None or interval is None:
        return None  # no_improvement has refused it
    change = float(proposal.playbook.params.get("change_assumed", 0))
    pairs = zip((expected.effect, *expected.ci), (found * change, *sorted(x * change for x in interval)), strict=True)
    if all(isclose(said, given, rel_tol=_ROUNDING, abs_tol=_ROUNDING) for said, given in pairs):
        return None
    words = f"{expected.effect:g} is expected, the evidence gives {found * change:g}"
    return RuleRefusal("EFFECT_NOT_FROM_EVIDENCE", words, "an expectation that is calculated from the evidence")


def cooling_down(proposal: Proposal, context: Context) -> RuleRefusal | None:
    until = cooldown_until(proposal, context)
    if until is None:
        return None
    words = f"the same was put to this group lately; it rests until {until:%Y-%m-%d}"
    return RuleRefusal("COOLDOWN", words, f"{until:%Y-%m-%d}")


def blacked_out(_proposal: Proposal, context: Context) -> RuleRefusal | None:
    dates = next((b for b in context.rules.blackout if b.first <= context.today <= b.last), None)
    if dates is None:
        return None
    after = dates.last + timedelta(days=1)
    return RuleRefusal("BLACKOUT", f"no interventions from {dates.first} to {dates.last}: {dates.words}", f"{after}")


def team_has_enough(proposal: Proposal, context: Context) -> RuleRefusal | None:
    busy = open_for(proposal.target, _others(proposal, context))
    if busy < context.rules.open_per_team:
        return None
    words = f"the group has {busy} under way, at most {context.rules.open_per_team} at a time"
    return RuleRefusal("TEAM_BUDGET", words, "one of them ends")


def budget_is_spent(proposal: Proposal, context: Context) -> RuleRefusal | None:
    busy, most = len(_others(proposal, context)), context.rules.open_in_all
    if busy < most:
        return None
    return RuleRefusal("BUDGET", f"{busy} proposals are under way, at most {most} at a time", "some of them end")


def plan_changed(proposal: Proposal, _context: Context) -> RuleRefusal | None:
    plan = proposal.outcome_plan
    if plan is None:
        return RuleRefusal("NO_PLAN", "it is not fixed how it would be judged", "an effect that can be measured")
    if plan.registered_hash == registered_hash(plan, proposal):
        return None
    return RuleRefusal("PLAN_CHANGED", "the plan is not the one that was registered", "a new version of the proposal")


def playbook_changed(proposal: Proposal, _context: Context) -> RuleRefusal | None:
    template = playbooks.SHIPPED.get(proposal.playbook.template_id)
    if template and template.version == proposal.playbook.version:
        return None
    words = f"playbook {proposal.playbook.template_id} {proposal.playbook.version} is not in use (any more)"
    return RuleRefusal("PLAYBOOK_CHANGED", words, "a new version of the proposal")


RULES: tuple[Rule, ...] = (
    halted,
    stale_window,
    not_credible,
    group_too_small,
    low_coverage,
    inside_band,
    no_improvement,
    outside_supported_range,
    effect_not_from_evidence,
    cooling_down,
    blacked_out,
    team_has_enough,
    budget_is_spent,
    plan_changed,
    playbook_changed,
)


def why_not(proposal: Proposal, context: Context) -> list[RuleRefusal]:
    """Every rule that says no to putting it before people; empty: it may be."""
    return [refusal for rule in RULES if (refusal := rule(proposal, context))]


def in_words(refusals: Sequence[RuleRefusal]) -> str:
    """All of them as one sentence."""
    return "; ".join(r.words + (f" (unblocked by: {r.unblocks})" if r.unblocks else "") for r in refusals)


# ------------------------------------------------------------------------------------- limits

_RESTS = {State.REJECTED, State.IMPROVED, State.NO_CHANGE, State.INCONCLUSIVE, State.HARMFUL, State.COMPENSATED}


def cooldown_until(proposal: Proposal, context: Context) -> date | None:
    """The local date from which the same may be put to the group again; None: now."""
    ends = [_rested(p, context) for p in context.standing if p.thing == proposal.thing and p.id != proposal.id]
    until = max((end for end in ends if end and end > context.now), default=None)
    return until.astimezone(ZoneInfo(context.rules.zone)).date() if until else None


def _rested(earlier: Proposal, context: Context) -> datetime | None:
    if earlier.state is State.EXPIRED:
        return earlier.changed_at + context.rules.rest_after_expiry
    rests = earlier.state in _RESTS or (earlier.state is State.WITHDRAWN and earlier.id in context.taken_back)
    return earlier.changed_at + context.rules.cooldown if rests else None


def open_for(target: Target, standing: Iterable[Proposal]) -> int:
    """How many proposals that are under way touch some of the same people."""
    return sum(p.target.touches(target) for p in standing)


def limits(proposal: Proposal, context: Context) -> Limits:
    """How the limits stand for it now."""
    others = _others(proposal, context)
    return Limits(
        open_for(proposal.target, others),
        cooldown_until(proposal, context),
        blacked_out(proposal, context) is not None,
        max(0, context.rules.open_in_all - len(others)),
    )


def _others(proposal: Proposal, context: Context) -> list[Proposal]:
    return [p for p in context.standing if p.state in lifecycle.ACTIVE and p.id != proposal.id]
