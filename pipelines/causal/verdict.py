"""What a finding is worth: one set of thresholds, and one rule after the other. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipelines.errors import InvalidInput
from pipelines.evidence import K_FLOOR, CheckResult, Finding, Status, SubjectKind


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Hand-chosen limits and their reasons. Size and power of the lead test, the discovery rates, the shrinkage and the
    coverage of intervals are measured (`benchmarks/causal.py`); the rest is judgement.
    """

    #: Fewer people: intervals of this kind of panel were never checked on less.
    people: int = 100
    #: People behind any number about one team.
    team_people: int = 10
    #: People behind any number at all.
    k: int = 5
    #: Weeks with outcomes; with fewer a person's own mean is mostly noise.
    periods: int = 8
    #: Below, a bootstrap gives interval and p; below `fewest_clusters` nothing does.
    clusters: int = 30
    #: With 10 clusters the bootstrap still holds its level; fewer are a guess (Webb 2014).
    fewest_clusters: int = 10
    #: Share of the treatment's variance within persons and weeks: with less, noise in the measurement decides.
    within_share: float = 0.05
    #: Share of that which covariates predict: with more, what is left is odd weeks.
    most_explained: float = 0.95
    #: An effect of this size (SD) has to be visible before "no effect" may be said.
    mde_sd: float = 0.10
    #: Level of single tests: the effect, the lead, the negative control, the spillover.
    alpha: float = 0.05
    #: Share of the effect that the lead test must be able to see. A hidden cause that lasts leaves about half of its bias.
    lead_sight: float = 0.5
    #: Least strength of a hidden confounder that may undo the interval.
    robustness: float = 0.05
    #: False discovery rate over all tests of a run.
    discovery: float = 0.10
    #: Smaller effects (SD) are true at best and not worth anybody's habits.
    smallest_effect_sd: float = 0.05
    #: Below, the dynamic specification is biased by about 1 / periods (Nickell 1981) and left out.
    dynamic_periods: int = 15
    #: How far, as a share of the effect, specifications may differ.
    agreement: float = 0.50

    def __post_init__(self) -> None:
        if self.k < K_FLOOR or self.team_people < K_FLOOR:
            raise InvalidInput(f"no group under {K_FLOOR} people is ever shown; k and team_people cannot be lower")


Rule = Callable[[Finding, Thresholds], tuple[Status, str] | None]


def judge(finding: Finding, limits: Thresholds) -> tuple[Status, tuple[str, ...]]:
    """The status and every reason for it, the deciding one first.

    A finding without an estimate keeps the status that it was refused with.
    """
    if finding.estimate is None:
        return finding.status, finding.reasons
    found: list[tuple[Status, str]] = []
    for rule in _RULES:
        if answer := rule(finding, limits):
            found.append(answer)
            if rule in (_nothing, _too_small):
                break  # nothing that could be undone, and nothing that others could see otherwise
    found = found or [(Status.CREDIBLE, _CREDIBLE)]
    return found[0][0], tuple(dict.fromkeys([*(sentence for _, sentence in found), *finding.reasons]))


def resting_on_the_whole(findings: Sequence[Finding]) -> list[Finding]:
    """A part is never surer than the whole: its effect is shrunk towards that of all, and shares all of its checks."""
    whole = {f.question: f.status for f in findings if f.subject_kind is SubjectKind.ORG}
    return [_no_surer(finding, whole.get(finding.question, Status.UNDERPOWERED)) for finding in findings]


def _no_surer(finding: Finding, whole: Status) -> Finding:
    if finding.subject_kind is SubjectKind.ORG or finding.status is not Status.CREDIBLE or whole is Status.CREDIBLE:
        return finding
    words = f"It rests on the finding about everybody, which is not credible: {whole.value.replace('_', ' ')}."
    return replace(finding, status=whole, reasons=(words, *(r for r in finding.reasons if r != _CREDIBLE)))


def _proxy(finding: Finding, _: Thresholds) -> tuple[Status, str] | None:
    if finding.outcome_kind not in ("proxy", "operational"):
        return None
    what = "an index that nobody has validated" if finding.outcome_kind == "proxy" else "counted from work itself"
    words = f"The outcome is {what}, not an answer of the people concerned: a reason to ask them or to try, not to act."
    return Status.EXPLORATORY_PROXY, words


def _of_neighbours(finding: Finding, _: Thresholds) -> tuple[Status, str] | None:
    if not finding.interference or not finding.question.endswith(SPILLOVER):
        return None
    return (
        Status.EXPLORATORY_PROXY,
        "An effect of other people's weeks (interference): it never opens a proposal by itself.",
    )


def _network(finding: Finding, _: Thresholds) -> tuple[Status, str] | None:
    if not finding.interference or not any(c.name == "network" for c in finding.checks):
        return None
    words = "The treatment is a place in the network: it changes with what others do, so that no effect stays alone."
    return Status.EXPLORATORY_PROXY, words


def _few_people(finding: Finding, limits: Thresholds) -> tuple[Status, str] | None:
    if finding.subject_kind is not SubjectKind.ORG or finding.people >= limits.people:
        return None
    return Status.UNDERPOWERED, f"{finding.people} people; {limits.people} are needed."


def _gate(name: str, status: Status, words: str) -> Rule:
    def rule(finding: Finding, _: Thresholds) -> tuple[Status, str] | None:
        failed = any(c.name == name and c.gate and c.result is CheckResult.FAILED for c in finding.checks)
        return (status, words) if failed else None

    return rule


def _gate_not_run(finding: Finding, _: Thresholds) -> tuple[Status, str] | None:
    missing = [c.name for c in finding.checks if c.gate and c.result is CheckResult.NOT_RUN]
    if not missing:
        return None
    return (
        Status.UNDERPOWERED,
        f"What could refute it was not run, or could not have seen enough: {', '.join(missing)}.",
    )


def _nothing(finding: Finding, limits: Thresholds) -> tuple[Status, str] | None:
    """Null results: was there nothing, or could nothing have been seen?"""
    if _stands_out(finding, limits):
        return None
    assert finding.mde is not None
    mde_sd = _in_sd(finding, finding.mde)
    if finding.estimate is not None and finding.estimate.p < limits.alpha:
        return (
            Status.UNDERPOWERED,
            "It stands out alone, but not beside all tests of the run and other ways to estimate it.",
        )
    if mde_sd > limits.mde_sd:
        words = f"Not told from zero; an effect under {mde_sd:.2f} SD would have been missed."
        return Status.UNDERPOWERED, words
    return Status.NO_EFFECT, f"Not told from zero, although an effect of {mde_sd:.2f} SD would have been seen."


def _stands_out(finding: Finding, limits: Thresholds) -> bool:
    estimate = finding.estimate
    assert estimate is not None
    sure = estimate.p < limits.alpha and (estimate.ci_low > 0 or estimate.ci_high < 0)
    return sure and (finding.q_bh is None or finding.q_bh <= limits.discovery)


def _too_small(finding: Finding, limits: Thresholds) -> tuple[Status, str] | None:
    if finding.effect_sd is None or abs(finding.effect_sd) >= limits.smallest_effect_sd:
        return None
    if not _stands_out(finding, limits):
        return None
    least = limits.smallest_effect_sd
    return Status.NO_EFFECT, f"An effect of {finding.effect_sd:.3f} SD; under {least} SD it is not worth acting on."


def _in_sd(finding: Finding, effect: float) -> float:
    """An effect of the finding's units in standard deviations."""
    if not finding.estimate or not finding.estimate.effect or finding.effect_sd is None:
        return float("inf")
    return abs(effect * finding.effect_sd / finding.estimate.effect)


_CREDIBLE = "Every check that could refute it was passed; it is still an observation, not an experiment."
#: Questions about teammates' treatments end with this.
SPILLOVER = ".spillover"

#: In this order: the first that answers gives the status, all that answer give reasons.
_RULES: tuple[Rule, ...] = (
    _gate("overlap", Status.POOR_OVERLAP, "There is too little to compare within persons and weeks."),
    _proxy,
    _of_neighbours,
    _gate("outliers", Status.SPEC_SENSITIVE, "A few answers that are on no scale with the others decide the estimate."),
    _gate("lead", Status.FEEDBACK_OR_CONFOUNDING, "What comes later already shows before: feedback or a hidden cause."),
    _gate("negative_control", Status.FEEDBACK_OR_CONFOUNDING, "Something changes that the treatment cannot change."),
    _network,
    _few_people,
    _nothing,
    _too_small,
    _gate_not_run,
    _gate("agreement", Status.SPEC_SENSITIVE, "Other ways to estimate it give another answer."),
    _gate("robustness", Status.SPEC_SENSITIVE, "A hidden cause no stronger than the known ones could undo it."),
)
