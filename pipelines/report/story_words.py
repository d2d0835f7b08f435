"""The words of a story for a team lead: what a status means, what a check looks for, what the run comes to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.evidence import CheckResult, Finding, State, Status, SubjectKind
from pipelines.report import figures
from pipelines.report.story import Change, Level, Mark, Measure, ProposalTold, Standing, Story

ORGANISATION = "the whole organisation"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A status: sign and word for a quick look, and what it means for whoever wants to act."""

    sign: str
    word: str
    means: str


MEANINGS = {
    Status.CREDIBLE: Meaning(
        "✓", "credible", "The answer held against every check that could be run; a proposal may rest on it."
    ),
    Status.NO_EFFECT: Meaning(
        "=", "no effect", "An effect large enough to matter would have been seen, and was not. Nothing to do here."
    ),
    Status.UNDERPOWERED: Meaning(
        "~", "too little data", "The data cannot tell an effect from none. That does not mean that there is none."
    ),
    Status.FEEDBACK_OR_CONFOUNDING: Meaning(
        "✗",
        "not a cause",
        "The result shows before its supposed cause, so something else moves both, or the result moves "
        "the cause. Only a trial in which some teams start later could tell.",
    ),
    Status.SPEC_SENSITIVE: Meaning(
        "✗",
        "depends on method",
        "Reasonable ways of counting give different answers, so none of them is to be relied on.",
    ),
    Status.POOR_OVERLAP: Meaning("✗", "no fair comparison", "There are too few comparable weeks with and without it."),
    Status.EXPLORATORY_PROXY: Meaning(
        "?",
        "a hint only",
        "The result was not measured: an index that nobody has validated stands in for it. A short survey "
        "would change that.",
    ),
    Status.TOO_FEW_CLUSTERS: Meaning(
        "~", "too few teams", "So few teams may agree by chance; no interval can be trusted."
    ),
    Status.NOT_ENOUGH_HISTORY: Meaning(
        "…", "too early", "There are not enough weeks yet to compare people with their own past."
    ),
    Status.SUPPRESSED: Meaning("▨", "not shown", "Too few people are behind it, so that it would be about somebody."),
}

CHECK_SIGNS = {CheckResult.PASSED: "✓", CheckResult.FAILED: "✗", CheckResult.NOT_RUN: "–"}
CHECK_WORDS = {CheckResult.PASSED: "held", CheckResult.FAILED: "failed", CheckResult.NOT_RUN: "not run"}

LEVEL_SIGNS = {Level.FAR_BELOW: "▼▼", Level.BELOW: "▼", Level.NORMAL: "·", Level.ABOVE: "▲", Level.FAR_ABOVE: "▲▲"}
LEVEL_WORDS = {
    Level.FAR_BELOW: "far below normal",
    Level.BELOW: "below normal",
    Level.NORMAL: "normal",
    Level.ABOVE: "above normal",
    Level.FAR_ABOVE: "far above normal",
}

MARK_SIGNS = {
    Mark.FOUND: "✓",
    Mark.SILENT: "✓",
    Mark.MISSED: "✗",
    Mark.OFF: "~",
    Mark.WRONG: "!",
    Mark.NOT_ANSWERED: "–",
}

#: What a state asks of the reader.
STATES = {
    State.DRAFT: "being written",
    State.BLOCKED: "blocked: a rule says no",
    State.SHADOW: "shadow: for practice, it cannot be approved",
    State.PENDING_APPROVAL: "waits for a decision",
    State.APPROVED: "approved",
    State.REJECTED: "rejected",
    State.EXPIRED: "expired without a decision",
    State.WITHDRAWN: "withdrawn: its reason is gone",
    State.EXECUTING: "being carried out",
    State.EXECUTED: "carried out",
    State.FAILED: "failed while being carried out",
    State.COMPENSATING: "being taken back",
    State.COMPENSATED: "taken back",
    State.STUCK: "stuck: a person has to look at it",
    State.MONITORING: "carried out; its effect is being watched",
    State.IMPROVED: "carried out; it helped",
    State.NO_CHANGE: "carried out; nothing changed",
    State.INCONCLUSIVE: "carried out; nobody can tell whether it helped",
    State.HARMFUL: "carried out; it did harm",
}


def group(kind: SubjectKind, subject: str) -> str:
    """`Payments`, `Payments and Sales`, `the whole organisation`."""
    if kind is SubjectKind.ORG:
        return ORGANISATION
    return " and ".join(subject.split("|")) if kind is SubjectKind.TEAM_PAIR else subject


def plain(name: str) -> str:
    """A name of the data as words: `after_hours_share` is `after hours share`, `outcome:rest` is `rest`."""
    return name.rpartition(":")[2].replace("_", " ")


def number(value: float, places: int | None = None) -> str:
    """At most three digits that count, with a real minus: 1,234, 17.8, 0.082, −2; 0.000 is nearly nothing.

    places: decimals, where numbers stand below each other.
    """
    if not math.isfinite(value):
        return "not known" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if places is not None:
        return f"{value:,.{places}f}".replace("-", "−")
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return "0.000" if value > 0 else "−0.000"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    words = f"{abs(value):,.{places}f}"
    return ("−" if value < 0 else "") + (words.rstrip("0").rstrip(".") if "." in words else words)


def signed(value: float) -> str:
    return number(value) if value <= 0 else f"+{number(value)}"


def interval(effect: float, low: float, high: float) -> str:
    """`+0.12 (+0.08 to +0.16)`."""
    return f"{signed(effect)} ({signed(low)} to {signed(high)})"


def standing(its: Standing, measure: Measure, k: int) -> str:
    """One square of the change map in words."""
    if its.hidden:
        return few(k)
    if its.value is None:
        return "no value"
    value = f"{number(its.value)} {measure.unit}".strip()
    if its.low is None or its.high is None or its.level is None:
        return f"{value}; no normal range yet"
    return f"{value}; {LEVEL_WORDS[its.level]} ({number(its.low)} to {number(its.high)})"


def few(k: int) -> str:
    return f"not shown: fewer than {k} people, or beside such a group"


def change(its: Change, who: str = "") -> str:
    """`Payments: meeting hours 31.2 hours a week, normally 18 to 24`. who: how the group is called here."""
    at = its.standing
    who = who or its.subject or ORGANISATION
    value = f"{number(at.value or 0)} {its.measure.unit}".strip()
    return f"{who}: {its.measure.name.lower()} {value}, normally {number(at.low or 0)} to {number(at.high or 0)}"


def names(story: Story) -> dict[str, str]:
    """What views are called in the middle of a sentence."""
    return {measure.view: measure.name[:1].lower() + measure.name[1:] for measure in story.measures}


def effect(finding: Finding, called: Mapping[str, str]) -> str:
    """The effect with its interval, for a change that was really seen where one is given; empty without an estimate."""
    outcome = called.get(finding.outcome, plain(finding.outcome))
    treatment = called.get(finding.treatment, plain(finding.treatment))
    if finding.contrast_effect and finding.contrast:
        way = "less" if finding.contrast < 0 else "more"
        dose = f"{number(abs(finding.contrast))} {finding.treatment_unit} {way} of {treatment}"
        return f"{outcome} {interval(*finding.contrast_effect)} for {dose}"
    if its := finding.estimate:
        each = f"each one more ({finding.treatment_unit}) of {treatment}"
        return f"{outcome} {interval(its.effect, its.ci_low, its.ci_high)} for {each}"
    return ""


def checks(finding: Finding) -> str:
    """`4 of 5 checks held, failed: lead test`; `9 of 10 checks held, caution: spillover`. What refutes nothing, and only
    limits what may be concluded, is no failure."""
    run = [check for check in finding.checks if check.result is not CheckResult.NOT_RUN]
    missed = [check for check in run if check.result is CheckResult.FAILED]
    failed = ", ".join(check.name for check in missed if check.gate)
    caution = ", ".join(check.name for check in missed if not check.gate)
    held = sum(check.result is CheckResult.PASSED for check in run)
    words = (
        f"{held} of {figures.counted(len(finding.checks), 'check')} held" if finding.checks else "no checks were run"
    )
    not_run = len(finding.checks) - len(run)
    words += (f", failed: {failed}" if failed else "") + (f", caution: {caution}" if caution else "")
    return words + (f", {not_run} not run" if not_run else "")


def seen(finding: Finding) -> str:
    """How much was looked at: people, weeks, and what could have been seen."""
    if finding.status is Status.SUPPRESSED:
        return ""
    least = "" if finding.subject_kind is SubjectKind.ORG else "at least "
    words = f"{least}{figures.counted(finding.people, 'person', 'people')}, {figures.counted(finding.periods, 'week')}"
    if finding.mde is not None:
        words += f"; an effect of {number(finding.mde)} or more would have been seen"
    if finding.enough_on:
        words += f"; enough on {figures.day(finding.enough_on)}"
    return words


def expected(proposal: ProposalTold) -> str:
    """What it should bring, with its interval."""
    if proposal.expected is None:
        return ""
    when = f" within {figures.counted(proposal.horizon_days, 'day')}" if proposal.horizon_days else ""
    return f"{interval(*proposal.expected)} {proposal.unit}".rstrip() + when


# ------------------------------------------------------------------------------------------------ in short


def in_short(story: Story) -> list[str]:
    """Two to five sentences: what a director reads if they read nothing else."""
    if is_empty(story):
        return ["This is a first run, and there is nothing to tell yet: come back when some weeks have been counted."]
    told = [_changes(story), _findings(story), _proposals(story)]
    if hidden := len(story.hidden_teams):
        told.append(
            f"{figures.counted(hidden, 'team')} cannot be shown in full, to protect groups of fewer than {story.run.k}."
        )
    if story.notes:
        told.append(f"{figures.counted(len(story.notes), 'thing')} missing or out of date; see below.")
    return [sentence for sentence in told if sentence]


def is_empty(story: Story) -> bool:
    return not (story.rows or story.findings or story.proposals or story.graph)


def _changes(story: Story) -> str:
    known = [row for row in story.rows if row.kind is SubjectKind.TEAM and any(c.level is not None for c in row.cells)]
    if not known:
        return "No team has a normal range yet, so nothing can be called a change." if story.rows else ""
    teams = {its.subject for its in story.changes} - {""}
    if not story.changes:
        return f"Nothing unusual: all {figures.counted(len(known), 'team')} are within their own normal range."
    said = f"{len(teams)} of {figures.counted(len(known), 'team')} {'is' if len(teams) == 1 else 'are'} outside"
    return f"{said} their own normal range; the furthest is {change(story.changes[0])}."


def _findings(story: Story) -> str:
    if not story.findings:
        return ""
    found = Counter(finding.status for finding in story.findings)
    credible, none = found[Status.CREDIBLE], found[Status.NO_EFFECT]
    rest = len(story.findings) - credible - none
    asked = (
        f"{figures.counted(len(story.findings), 'question')} {'was' if len(story.findings) == 1 else 'were'} weighed"
    )
    parts = (
        [f"{credible or 'none'} with a credible answer", f"{none} without an effect"]
        if none
        else [f"{credible or 'none'} with a credible answer"]
    )
    if rest:
        parts.append(f"{rest} that nobody should act on yet")
    return f"{asked}: {', '.join(parts)}."


def _proposals(story: Story) -> str:
    if not story.proposals:
        return "Nothing is proposed." if story.findings else ""
    found = Counter(proposal.state for proposal in story.proposals)
    words = [f"{count} {_STATE_SHORT.get(state, state.value.replace('_', ' '))}" for state, count in found.items()]
    return f"{figures.counted(len(story.proposals), 'proposal')}: {', '.join(words)}."


_STATE_SHORT = {State.PENDING_APPROVAL: "waiting for a decision", State.SHADOW: "shown for practice only"}


def score(story: Story) -> str:
    """`9 of 10 planted truths: 6 found, 3 rightly silent, 1 missed`."""
    found = Counter(truth.mark for truth in story.truths)
    right = found[Mark.FOUND] + found[Mark.SILENT]
    parts = [f"{found[mark]} {mark.value}" for mark in Mark if found[mark]]
    return f"{right} of {figures.counted(len(story.truths), 'planted truth')}: {', '.join(parts)}"
