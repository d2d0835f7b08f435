"""From findings and bands to proposals: which group, which practice, what to expect, how it will be judged. Pure.

Only a credible finding about a metric that is out of a group's normal band leads to a proposal. Where the evidence is
weaker, or a limit is reached, it is `blocked` and says what would unblock it; where there is nothing to mend, nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import isfinite
from zoneinfo import ZoneInfo

from pipelines.evidence import Finding, RuleRefusal, State, Status, SubjectKind
from pipelines.interventions import lifecycle, playbooks, policy
from pipelines.interventions.bands import Band, target_of
from pipelines.interventions.lifecycle import Actor
from pipelines.interventions.playbooks import Template
from pipelines.interventions.policy import Context
from pipelines.interventions.proposal import (
    Approval,
    CheckLine,
    Evidence,
    Expected,
    Impact,
    Limits,
    OutcomePlan,
    Playbook,
    Proposal,
    Target,
    TargetKind,
    digest,
    registered_hash,
)
from pipelines.interventions.shown import coarse

#: Below this share of a standard deviation an effect is not worth anybody's trouble (causal reference, section 7).
WORTH_DOING_SD = 0.05
#: With these refusals there is nothing to put forward, not even as blocked.
_SILENT = frozenset({"INSIDE_BAND", "GROUP_TOO_SMALL"})
_SILENT_STATUS = frozenset({Status.NO_EFFECT, Status.SUPPRESSED})
_COMPARISON = "the group's own 12 weeks before, beside the same weeks of the groups where nothing was changed"
_METHOD = "difference-in-differences, weekly, clustered by team"


@dataclass(frozen=True, slots=True)
class Case:
    """A group that is out of its band, and the best finding about the metric that is."""

    target: Target
    band: Band
    finding: Finding

    @property
    def order(self) -> tuple[bool, float, str, str, str]:
        """Credible ones come first, then by effect in standard deviations times people."""
        benefit = -_size(self.finding) * self.target.size
        return self.finding.status is not Status.CREDIBLE, benefit, *self.thing

    @property
    def thing(self) -> tuple[TargetKind, str, str]:
        return self.target.kind, self.target.key, self.band.found.metric


class SafeActionOrchestrator:
    """Weighs one run's findings. run: its id; window_end: end of its window; requested_by: who may not approve."""

    def __init__(self, run: str, window_end: datetime, requested_by: Sequence[str] = ()) -> None:
        self._run, self._window_end, self._requested_by = run, window_end, tuple(requested_by)

    def evaluate(self, findings: Sequence[Finding], bands: Sequence[Band], context: Context) -> list[Proposal]:
        """The proposals that should stand after this run, the most useful first; at most one per group and metric.

        One that is open already keeps its id, and its version unless it changed. The same input gives the same ids;
        empty input gives none. While interventions are halted there are none.
        """
        proposals: list[Proposal] = []
        if context.halted:
            return proposals
        cases = cases_of(findings, bands)
        waiting = {case.thing for case in cases}
        for case in cases:
            waiting.discard(case.thing)
            if proposal := self._weigh(case, without(waiting, context)):
                proposals.append(proposal)
                others = [p for p in context.standing if p.id != proposal.id]
                context = replace(context, standing=[*others, proposal])  # the next one finds the budget used
        return proposals

    def _weigh(self, case: Case, context: Context) -> Proposal | None:
        earlier = next((p for p in context.standing if p.thing == case.thing and p.state in lifecycle.OPEN), None)
        id_ = earlier.id if earlier else digest((*case.thing, self._window_end))[:16]
        if earlier and (earlier.state not in lifecycle.REVISABLE or not self._is_news(earlier, context)):
            return earlier
        if earlier is None and any(p.id == id_ for p in context.standing):
            return None  # this very window has been proposed, and the matter is closed
        drafts = (self._draft(case, template, id_, context) for template in _templates(case))
        return _settled(_first_free(drafts), earlier)

    def _is_news(self, earlier: Proposal, context: Context) -> bool:
        """Whether this run may say something else of it than the one that made it."""
        stale = policy.is_stale(self._window_end, context.now, context.rules)
        return not stale and earlier.window_end <= self._window_end

    def _draft(self, case: Case, template: Template, id_: str, context: Context) -> Proposal:
        """Version 1 with its refusals and the state they lead to."""
        preview, undo = template.in_words(case.target)
        evidence, playbook = _evidence(case.finding), _playbook(case, template)
        expected = _expected(case.finding, evidence, playbook)
        draft = Proposal(
            id=id_,
            version=1,
            target=case.target,
            finding=case.band.found,
            playbook=playbook,
            preview=preview,
            impact=template.impact,
            reversibility=undo,
            evidence=evidence,
            expected=expected,
            outcome_plan=_plan(expected, context),
            limits=Limits(0, None, False, 0),
            approval=_approval(case.target, context),
            state=State.DRAFT,
            refusals=(),
            run=self._run,
            requested_by=self._requested_by,
            window_end=self._window_end,
            created_at=context.now,
            changed_at=context.now,
            expires_at=None,
        )
        return _judged(_registered(draft), case.finding, context)


def without(waiting: Collection[tuple[TargetKind, str, str]], context: Context) -> Context:
    """What is still to be weighed again uses up no budget yet: else a second turn of a run would judge another way."""
    keeps = [p for p in context.standing if p.thing not in waiting or p.state not in lifecycle.REVISABLE]
    return replace(context, standing=keeps)


# ------------------------------------------------------------------------------------------------ which case


def cases_of(findings: Sequence[Finding], bands: Sequence[Band]) -> list[Case]:
    """In the order in which they are to be weighed; one for each group and metric."""
    about: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.subject_kind is not SubjectKind.PERSON:
            about.setdefault(finding.treatment, []).append(finding)
    cases: dict[tuple[TargetKind, str, str], Case] = {}
    for band in bands:
        target = target_of(band)
        if target and (best := _best(about.get(band.found.metric, ()), band)):
            case = Case(target, band, best)
            cases.setdefault(case.thing, case)
    return sorted(cases.values(), key=lambda case: case.order)


def _best(findings: Iterable[Finding], band: Band) -> Finding | None:
    """Credible before all else, then about this group before about all, then the larger one.

    What holds for all is not held against a group for which the same was looked for and is not there.
    """
    fitting = [f for f in findings if _is_about(f, band)]
    absent = {f.outcome for f in fitting if f.subject and f.status is Status.NO_EFFECT}
    left = [f for f in fitting if f.outcome not in absent and _may_lead_somewhere(f)]
    return max(left, default=None, key=lambda f: (f.status is Status.CREDIBLE, f.subject != "", _size(f), f.id))


def _may_lead_somewhere(finding: Finding) -> bool:
    small = finding.effect_sd is not None and abs(finding.effect_sd) < WORTH_DOING_SD
    return finding.status not in _SILENT_STATUS and not small


def _is_about(finding: Finding, band: Band) -> bool:
    if finding.subject_kind is SubjectKind.ORG:
        return True
    return finding.subject_kind.value == band.kind.value and finding.subject == band.key


def _size(finding: Finding) -> float:
    """In standard deviations; 0 where it is not known."""
    size = abs(finding.effect_sd or 0.0)
    return size if isfinite(size) else 0.0


def _templates(case: Case) -> list[Template]:
    """Those that are worth the trouble: whoever is a hair's breadth off the middle has nothing to mend."""
    away = _away(case.band)
    return [t for t in playbooks.moving(case.band.found.metric, case.target.kind) if away >= t.least]


def _away(band: Band) -> float:
    """Distance to the middle of the normal band."""
    return abs(band.found.value - (band.found.normal_low + band.found.normal_high) / 2)


# ------------------------------------------------------------------------------------------------ what to expect


def _evidence(finding: Finding) -> Evidence:
    effect, interval = _per_unit(finding)
    checks = [CheckLine(check.name, check.result.value, check.words) for check in finding.checks]
    if finding.interference:
        words = "people influence one another, so part of the effect may be that of their neighbours"
        checks.append(CheckLine("interference", "not_run", words))
    return Evidence(
        question=finding.words,
        method=finding.estimate.method if finding.estimate else "none",
        units=finding.people,
        periods=finding.periods,
        effect=effect,
        ci=interval,
        checks=tuple(checks),
        mde=finding.mde if finding.mde is not None and isfinite(finding.mde) else None,
        data_version=finding.data_version,
        verdict=finding.status.value,
    )


def _per_unit(finding: Finding) -> tuple[float | None, tuple[float, float] | None]:
    """Effect per unit of the treatment: of the contrast where there is one, because a team's is shrunken there."""
    if finding.contrast_effect and finding.contrast:
        effect, one, other = (value / finding.contrast for value in finding.contrast_effect)
    elif finding.estimate:
        effect, one, other = finding.estimate.effect, finding.estimate.ci_low, finding.estimate.ci_high
    else:
        return None, None
    return (effect, (min(one, other), max(one, other))) if all(map(isfinite, (effect, one, other))) else (None, None)


def _playbook(case: Case, template: Template) -> Playbook:
    """With the change of the metric that is assumed: what the playbook can move and the data has shown, and no further
    than back to the middle of the normal band.

    The contrast counts in both directions: the main specification is linear, and within-person changes go up and down.
    """
    supported = abs(case.finding.contrast or 0.0)
    change = template.direction * min(template.most, supported, _away(case.band))
    return Playbook(
        template.id, template.version, {**template.params, "change_assumed": change, "change_supported": supported}
    )


def _expected(finding: Finding, evidence: Evidence, playbook: Playbook) -> Expected | None:
    if evidence.effect is None or evidence.ci is None:
        return None
    change, weeks = float(playbook.params["change_assumed"]), int(playbook.params["weeks"])
    low, high = sorted(bound * change for bound in evidence.ci)
    return Expected(finding.outcome, 7 * (weeks + finding.lag_weeks), evidence.effect * change, (low, high))


def _plan(expected: Expected | None, context: Context) -> OutcomePlan | None:
    """Fixed before anybody approves: half-way and at the end, counted from the Monday after the last possible approval."""
    if expected is None:
        return None
    start = _monday_after((context.now + context.rules.expires_after).astimezone(ZoneInfo(context.rules.zone)).date())
    days = (expected.horizon_days // 2, expected.horizon_days)
    dates = tuple(start + timedelta(days=n) for n in days)
    # Harm: it moves the wrong way by half of what it was to move the right way.
    return OutcomePlan(expected.metric, _COMPARISON, _METHOD, dates, -expected.effect / 2, "")


def _monday_after(day: date) -> date:
    return day + timedelta(days=7 - day.weekday())


def _registered(draft: Proposal) -> Proposal:
    if draft.outcome_plan is None:
        return draft
    fixed = replace(draft.outcome_plan, registered_hash=registered_hash(draft.outcome_plan, draft))
    return replace(draft, outcome_plan=fixed)


def _approval(target: Target, context: Context) -> Approval:
    below = context.rules.two_persons_below
    if target.size < below:
        return Approval(f"two persons (the group is under {below})", 2)
    return Approval("one person", 1)


# ------------------------------------------------------------------------------------------------ which state


def _judged(draft: Proposal, finding: Finding, context: Context) -> Proposal:
    refusals = tuple(explained(r, finding) for r in policy.why_not(draft, context))
    state = lifecycle.move(State.DRAFT, _state(draft, refusals, context), Actor.PIPELINE)
    expires = context.now + context.rules.expires_after if state is State.PENDING_APPROVAL else None
    limits = policy.limits(draft, context)
    return replace(draft, refusals=refusals, state=state, expires_at=expires, limits=limits)


def _state(draft: Proposal, refusals: Sequence[RuleRefusal], context: Context) -> State:
    if refusals:
        return State.BLOCKED
    advice = draft.impact is Impact.HIGH
    return State.SHADOW if context.rules.shadow or advice else State.PENDING_APPROVAL


def explained(refusal: RuleRefusal, finding: Finding) -> RuleRefusal:
    """The refusal of weak evidence with what this finding says about it."""
    if refusal.rule != "NOT_CREDIBLE":
        return refusal
    said = "; ".join(reason.rstrip(".") for reason in finding.reasons)
    words = f"{refusal.words}: {said}" if said else refusal.words
    unblocks = refusal.unblocks
    if finding.enough_on:
        unblocks += f", enough on {finding.enough_on}"
    if finding.status is Status.UNDERPOWERED and finding.mde is not None:
        unblocks += f" (this data could have shown {finding.mde:.2g})"
    return RuleRefusal(refusal.rule, words, unblocks)


def _first_free(drafts: Iterable[Proposal]) -> Proposal | None:
    """The first that no rule refuses, else the first at all; None where there is nothing to put forward."""
    tried = []
    for draft in drafts:
        if not draft.refusals:
            return draft
        tried.append(draft)
    told = [draft for draft in tried if not _SILENT & {r.rule for r in draft.refusals}]
    return told[0] if told else None


def _settled(draft: Proposal | None, earlier: Proposal | None) -> Proposal | None:
    """The open one as it is while nothing changed that matters; else its next version."""
    if draft is None or earlier is None:
        return draft
    if _what_matters(draft) == _what_matters(earlier):
        return earlier
    return _registered(replace(draft, version=earlier.version + 1))


def _what_matters(proposal: Proposal) -> str:
    """What an approver decides by, as they see it: without what only says which run it was, and with coarse numbers. A
    value that moves in the third digit is no other proposal.
    """
    its = coarse(proposal)
    rules, checks = [r.rule for r in its.refusals], [(c.name, c.verdict) for c in its.evidence.checks]
    evidence = replace(its.evidence, data_version="", checks=())
    what = (proposal.target, its.finding, evidence, checks, its.expected, its.playbook, its.impact)
    return digest((*what, its.approval.needed, its.state, rules))


# ------------------------------------------------------------------------------------------------ what a run changes


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run has to write. revised: each with the version it replaces. stale: open, and no longer supported."""

    fresh: tuple[Proposal, ...]
    revised: tuple[tuple[Proposal, Proposal], ...]
    unchanged: tuple[Proposal, ...]
    stale: tuple[Proposal, ...]


def changes(wanted: Sequence[Proposal], standing: Sequence[Proposal], window_end: datetime) -> Changes:
    """What turns the standing proposals into those that a run of this window wants. A second time it changes nothing."""
    known = {p.id: p for p in standing}
    kept = {p.id for p in wanted}
    return Changes(
        tuple(p for p in wanted if p.id not in known),
        tuple((known[p.id], p) for p in wanted if p.id in known and p.version == known[p.id].version + 1),
        tuple(p for p in wanted if p.id in known and p.version == known[p.id].version),
        tuple(
            p for p in standing if p.state in lifecycle.REVISABLE and p.id not in kept and p.window_end <= window_end
        ),
    )


@dataclass(frozen=True, slots=True)
class Saved:
    """What a run did to the proposals, and how those that it wants stand now."""

    fresh: int = 0
    revised: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    expired: int = 0
    pending: int = 0
    shadow: int = 0
    blocked: int = 0


def counted(done: Changes, expired: int) -> Saved:
    wanted = [*done.fresh, *(new for _, new in done.revised), *done.unchanged]
    states = [p.state for p in wanted]
    changed = len(done.fresh), len(done.revised), len(done.unchanged), len(done.stale), expired
    return Saved(*changed, *(states.count(its) for its in (State.PENDING_APPROVAL, State.SHADOW, State.BLOCKED)))
