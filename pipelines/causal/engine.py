"""The causal engine: a panel and questions in, findings out. Pure; the same panel gives the same findings.

One question is studied after the other (estimates, checks, teams); only then are all tests of the run judged together,
because false discoveries are counted over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import blake2b

import numpy as np

from pipelines.causal import checks, design, estimators, teams, two_way
from pipelines.causal.design import Design
from pipelines.causal.estimators import Main, Scale
from pipelines.causal.multiplicity import benjamini_hochberg, benjamini_yekutieli
from pipelines.causal.panel import Panel
from pipelines.causal.questions import Catalogue, Question, load
from pipelines.causal.verdict import SPILLOVER, Thresholds, judge, resting_on_the_whole
from pipelines.causal.within import Fit
from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import Check, CheckResult, Estimate, Finding, Ints, Status, SubjectKind

Progress = Callable[[int, int, str], None]


def _silent(done: int, total: int, words: str) -> None:
    """Nobody is watching."""


class CausalEngine:
    """Answers questions about a panel. Holds no state between calls.

    Args:
        fit: the regression core; `DistributedCausalEngine` passes one that works on a cluster.
        thresholds: what is asked of a finding.
        catalogue: metrics, drawing and questions; the one that comes with the program by default.
    """

    def __init__(
        self, thresholds: Thresholds | None = None, catalogue: Catalogue | None = None, fit: Fit = two_way.fit_rows
    ) -> None:
        self.thresholds = thresholds or Thresholds()
        self.catalogue = catalogue or load()
        self._fit = fit

    def analyse(
        self, panel: Panel, questions: Sequence[Question] | None = None, progress: Progress = _silent
    ) -> tuple[Finding, ...]:
        """One finding for each question, and each team, and each spillover that was seen; judged together.

        Args:
            questions: those of the catalogue whose columns the panel has, when None.

        A question whose numbers cannot be computed becomes a finding that says so; the others are answered all the same.

        Raises:
            InvalidInput: a question names a column that the panel has not.
        """
        asked = self._answerable(panel) if questions is None else tuple(questions)
        drafts: list[Finding] = []
        for done, question in enumerate(asked):
            progress(done, len(asked), question.id)
            drafts += self._study(panel, question)
        progress(len(asked), len(asked), "")
        return tuple(self._judged(drafts))

    def _answerable(self, panel: Panel) -> tuple[Question, ...]:
        return tuple(q for q in self.catalogue.asked_of(panel) if _has_columns(q, panel, self.catalogue))

    def _study(self, panel: Panel, question: Question) -> list[Finding]:
        rows = design.build(panel, question, self.catalogue)
        frame = _Frame(panel, question, self.catalogue, rows, self.thresholds)
        if refused := _too_little(frame):
            return [refused]
        try:
            with np.errstate(over="raise", invalid="raise"):
                return self._computed(frame)
        except (InvalidInput, ArithmeticError, np.linalg.LinAlgError) as error:
            # One question that cannot be computed must not take the answers of all others with it.
            return [_refused(frame, Status.UNDERPOWERED, f"It cannot be computed from these values: {error}.")]

    def _computed(self, frame: _Frame) -> list[Finding]:
        scale, limits = estimators.scale_of(frame.rows), self.thresholds
        if refused := _never_changes(frame, scale):
            return [refused]
        try:
            return _findings(frame, scale, self._fit)
        except Refused as refusal:
            check = checks.overlap(scale, 1.0, limits.within_share, limits.most_explained)
            return [_refused(frame, Status.POOR_OVERLAP, refusal.sentence, checks=(check,))]

    def _judged(self, drafts: Sequence[Finding]) -> list[Finding]:
        """False discovery rates over everything that was tested, then a status for each."""
        tested = [i for i, f in enumerate(drafts) if f.estimate is not None and np.isfinite(f.estimate.p)]
        p = np.array([f.estimate.p for f in drafts if f.estimate is not None and np.isfinite(f.estimate.p)])
        bh, by = benjamini_hochberg(p), benjamini_yekutieli(p)
        judged = list(drafts)
        for at, q_bh, q_by in zip(tested, bh, by, strict=True):
            judged[at] = replace(judged[at], q_bh=float(q_bh), q_by=float(q_by))
        return resting_on_the_whole([_with_status(finding, self.thresholds) for finding in judged])


def _with_status(finding: Finding, limits: Thresholds) -> Finding:
    status, reasons = judge(finding, limits)
    return replace(finding, status=status, reasons=reasons)


def _has_columns(question: Question, panel: Panel, catalogue: Catalogue) -> bool:
    needed = [question.treatment, *question.held]
    if not catalogue.metric(question.outcome).parts:
        needed.append(question.outcome)
    return all(name in panel.columns for name in needed) and _outcome_exists(question, panel, catalogue)


def _outcome_exists(question: Question, panel: Panel, catalogue: Catalogue) -> bool:
    try:
        catalogue.outcome_values(question, panel)
    except InvalidInput:
        return False
    return True


# ------------------------------------------------------------------------------------------------ before any estimate


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """What all findings of one question share."""

    panel: Panel
    question: Question
    catalogue: Catalogue
    rows: Design
    limits: Thresholds
    left_out: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "left_out", self.catalogue.outcome_values(self.question, self.panel)[1])


def _too_little(frame: _Frame) -> Finding | None:
    """The finding that says what there is too little of for an estimate; None when there is enough."""
    rows, limits = frame.rows, frame.limits
    waves = np.bincount(rows.week).size if rows.rows else 0
    if waves < limits.periods:
        return _not_enough_history(frame)
    if rows.people < limits.k:
        return _refused(frame, Status.SUPPRESSED, f"Fewer than {limits.k} people have what it needs.", hidden=True)
    if rows.clusters < limits.fewest_clusters:
        level = f"{frame.question.assigned}s"
        words = f"{rows.clusters} {level} decide the treatment; {limits.fewest_clusters} are needed for any interval."
        return _refused(frame, Status.TOO_FEW_CLUSTERS, words)
    return None


def _never_changes(frame: _Frame, scale: Scale) -> Finding | None:
    for size, name in ((scale.d, frame.question.treatment), (scale.y, frame.question.outcome)):
        if size == 0.0:
            return _refused(frame, Status.POOR_OVERLAP, f"{name} never changes within a person.")
    return None


def _not_enough_history(frame: _Frame) -> Finding:
    panel, question, limits = frame.panel, frame.question, frame.limits
    values, _ = frame.catalogue.outcome_values(question, panel)
    weeks = np.unique(panel.week[~np.isnan(values)])
    usable = int(np.unique(frame.rows.week).size)
    enough = _enough_on(panel, weeks, usable, limits.periods, question.first_lag + question.lag_weeks)
    if not weeks.size:
        words = f"There is no value of {question.outcome}; {limits.periods} weeks of it are needed, of the same people."
    else:
        words = f"{usable} usable weeks of {question.outcome}; {limits.periods} are needed."
    return _refused(frame, Status.NOT_ENOUGH_HISTORY, words, enough_on=enough, hidden=frame.rows.people < limits.k)


def _enough_on(panel: Panel, weeks: Ints, usable: int, needed: int, lags: int) -> date | None:
    """The day on which the last missing week is over, if outcomes go on to come as often as so far; None without any."""
    if not weeks.size:
        return None
    apart = int(np.median(np.diff(weeks))) if weeks.size > 1 else 1
    last = int(weeks[-1])
    found, week = usable, last
    while found < needed:
        week += apart
        found += week >= lags  # its treated weeks are in the panel
    return panel.date_of(max(week, panel.weeks - 1)) + timedelta(weeks=1)


def _refused(
    frame: _Frame,
    status: Status,
    words: str,
    *,
    hidden: bool = False,
    enough_on: date | None = None,
    checks: tuple[Check, ...] = (),
) -> Finding:
    """hidden: so few people that not even counts are given."""
    draft = _draft(frame, None, (), checks, hidden=hidden)
    return replace(draft, status=status, reasons=(words, *draft.reasons), enough_on=enough_on)


# ------------------------------------------------------------------------------------------------ one question


def _findings(frame: _Frame, scale: Scale, fit: Fit) -> list[Finding]:
    """The finding of all people, of each large enough team, and of the teammates' treatments where they matter."""
    rows, limits, question = frame.rows, frame.limits, frame.question
    main = estimators.fe_dml(rows, scale, fit)
    spill, of_others, own = checks.spillover(rows, limits.alpha, fit)
    specs = _specifications(frame, scale, main, own, fit)
    network = frame.catalogue.metric(question.treatment).network
    found = _checks(frame, scale, main, specs, spill, network, fit)
    robust, strength, benchmark = checks.robustness(main, rows.clusters, limits.robustness)
    estimate = estimators.widened(main.estimate, specs)
    draft = _draft(frame, estimate, specs, (*found, robust))
    org = replace(
        draft,
        **_sizes(estimate, main.estimate.se, rows.clusters, scale, question),  # type: ignore[arg-type]
        robustness=strength,
        robustness_benchmark=max(limits.robustness, benchmark),
        interference=network or spill.result is CheckResult.FAILED,
    )
    drafts = [org, *_team_findings(frame, org, main, scale)]
    if of_others is not None and spill.result is CheckResult.FAILED:
        drafts.append(_spillover_finding(frame, org, of_others, scale))
    return drafts


def _specifications(frame: _Frame, scale: Scale, main: Main, own: Estimate | None, fit: Fit) -> tuple[Estimate, ...]:
    rows = frame.rows
    lagged = estimators.dynamic(rows, scale, fit) if rows.periods >= frame.limits.dynamic_periods else None
    return tuple(spec for spec in (main.estimate, estimators.twfe(rows, fit), lagged, own) if spec is not None)


def _checks(
    frame: _Frame, scale: Scale, main: Main, specs: tuple[Estimate, ...], spill: Check, network: bool, fit: Fit
) -> tuple[Check, ...]:
    rows, limits = frame.rows, frame.limits
    sight = limits.lead_sight * abs(main.estimate.effect) * scale.d / scale.y
    words = "The treatment is a place in the network, which others change too: interference."
    return (
        checks.lead(rows, scale, limits.alpha, sight, fit),
        checks.negative_control(rows, limits.alpha, fit),
        checks.overlap(scale, main.explained, limits.within_share, limits.most_explained),
        checks.odd_answers(main, rows, scale, limits.agreement, limits.k, fit),
        checks.agreement(main, specs, limits.agreement),
        spill,
        *((Check("network", CheckResult.FAILED, words),) if network else ()),
        checks.placebo(main, rows, fit),
        checks.random_common_cause(main, rows, fit),
        checks.subset(main, rows, fit),
    )


def _sizes(estimate: Estimate, error: float, clusters: int, scale: Scale, question: Question) -> dict[str, object]:
    """Smallest effect that could be seen, size in SD, and what a change within the observed range would do."""
    change = max(scale.low, -scale.d) if question.reduce else min(scale.high, scale.d)
    ends = sorted((change * estimate.ci_low, change * estimate.ci_high))
    return {
        "mde": checks.visible(error, clusters),
        "effect_sd": estimate.effect * scale.d / scale.y,
        "contrast": change,
        "contrast_effect": (change * estimate.effect, ends[0], ends[1]),
    }


def _team_findings(frame: _Frame, org: Finding, main: Main, scale: Scale) -> list[Finding]:
    """Teams with enough people, shrunk; with the checks of the whole, which are about the same comparison."""
    if not frame.question.by_team:
        return []
    found = teams.by_team(main, frame.rows, frame.limits.team_people)
    return [_team_finding(frame, org, main, scale, effect, found) for effect in found.effects]


def _team_finding(
    frame: _Frame, org: Finding, main: Main, scale: Scale, effect: teams.TeamEffect, all_: teams.Heterogeneity
) -> Finding:
    assert org.estimate is not None
    below, above = main.estimate.ci_low - org.estimate.ci_low, org.estimate.ci_high - main.estimate.ci_high
    one = effect.estimate
    estimate = replace(one, ci_low=one.ci_low - below, ci_high=one.ci_high + above)
    name = frame.rows.team_names[effect.team]
    words = (
        f"Shrunk by {effect.shrunk:.0%} towards the effect of all teams; that teams differ at all has p = {all_.p:.2f}.",
        *org.reasons,
    )
    return replace(
        org,
        id=_id(frame, SubjectKind.TEAM, name, ""),
        subject_kind=SubjectKind.TEAM,
        subject=name,
        people=effect.people,
        periods=effect.periods,
        rows=effect.rows,
        estimate=estimate,
        specs=(one,),
        reasons=words,
        **_sizes(estimate, one.se, frame.rows.clusters, scale, frame.question),  # type: ignore[arg-type]
    )


def _spillover_finding(frame: _Frame, org: Finding, estimate: Estimate, scale: Scale) -> Finding:
    question = frame.question
    treatment = frame.catalogue.metric(question.treatment)
    return replace(
        org,
        id=_id(frame, SubjectKind.ORG, "", SPILLOVER),
        question=question.id + SPILLOVER,
        words=f"Does the teammates' {treatment.words} change {_outcome_words(frame)}?",
        estimate=estimate,
        specs=(estimate,),
        interference=True,
        **_sizes(estimate, estimate.se, frame.rows.clusters, scale, question),  # type: ignore[arg-type]
    )


# ------------------------------------------------------------------------------------------------ what all share


def _draft(
    frame: _Frame,
    estimate: Estimate | None,
    specs: tuple[Estimate, ...],
    found: tuple[Check, ...],
    hidden: bool = False,
) -> Finding:
    """A finding about everybody, not judged yet. hidden: without counts."""
    question, rows = frame.question, frame.rows
    treatment, outcome = frame.catalogue.metric(question.treatment), frame.catalogue.metric(question.outcome)
    span = f"over {question.lag_weeks} weeks" if question.lag_weeks > 1 else "in a week"
    return Finding(
        id=_id(frame, SubjectKind.ORG, "", ""),
        question=question.id,
        words=f"Does a rise in {treatment.words} {span} change {_outcome_words(frame)} after it?",
        treatment=question.treatment,
        treatment_unit=treatment.unit,
        outcome=question.outcome,
        outcome_kind=outcome.kind,
        lag_weeks=question.lag_weeks,
        subject_kind=SubjectKind.ORG,
        subject="",
        people=0 if hidden else rows.people,
        periods=0 if hidden else rows.periods,
        rows=0 if hidden else rows.rows,
        clusters=0 if hidden else rows.clusters,
        cluster_level=question.assigned,
        estimate=estimate,
        specs=specs,
        checks=found,
        status=Status.SUPPRESSED,
        reasons=_remarks(frame, estimate is not None),
        data_version=frame.panel.version,
    )


def _outcome_words(frame: _Frame) -> str:
    return frame.catalogue.metric(frame.question.outcome).words


def _remarks(frame: _Frame, estimated: bool) -> tuple[str, ...]:
    remarks = []
    if frame.left_out:
        remarks.append(f"Left out of the index, as counted from the same acts: {', '.join(frame.left_out)}.")
    if estimated and frame.rows.clusters < frame.limits.clusters:
        remarks.append(f"{frame.rows.clusters} clusters: interval and p are from the wild cluster bootstrap.")
    if estimated and frame.rows.periods < frame.limits.dynamic_periods:
        remarks.append(f"{frame.rows.periods} weeks are too few for the dynamic specification.")
    return tuple(remarks)


def _id(frame: _Frame, kind: SubjectKind, subject: str, suffix: str) -> str:
    """The same for the same question, version of the questions, subject and data."""
    said = (frame.question.id + suffix, str(frame.catalogue.version), kind.value, subject, frame.panel.version)
    return "f_" + blake2b("\0".join(said).encode(), digest_size=10).hexdigest()
