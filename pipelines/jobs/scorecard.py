"""How the causal analysis did on a synthetic organisation whose effects are known: found, missed, wrongly claimed.

Silence counts only where the question was answered; a claim counts only where it has the right sign and its interval holds
the truth; and every claim counts, also about single teams and about what nobody planted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipelines.causal.panel import OUTCOME
from pipelines.causal.verdict import SPILLOVER
from pipelines.evidence import Estimate, Finding, Status, SubjectKind
from pipelines.jobs import study
from pipelines.jobs.study import Planted, Truth
from pipelines.report import story
from pipelines.report.story import Mark

#: What spills over: treatment and outcome.
SPILT = ("after_hours_share", "exhaustion")


def marked(findings: Iterable[Finding], planted: Planted = study.PLANTED) -> list[story.Truth]:
    """Each planted truth with what became of it; then every further claim that is not true, as wrongly claimed."""
    told = list(findings)
    spilt = [_spillover(told, planted)] if planted.spillover else []
    return [*(_marked(truth, _answer(told, truth)) for truth in planted.truths), *spilt, *_unfounded(told, planted)]


def right(truths: Iterable[story.Truth]) -> float:
    """Share of all truths, untrue claims among them, that were found or rightly not claimed; 0 of none."""
    marks = [truth.mark for truth in truths]
    return sum(mark in (Mark.FOUND, Mark.SILENT) for mark in marks) / max(len(marks), 1)


def _answer(findings: Sequence[Finding], truth: Truth) -> Finding | None:
    """The finding about everybody's own treatment."""
    return next((f for f in findings if _about(f, truth) and not _is_part(f)), None)


def _about(finding: Finding, truth: Truth) -> bool:
    return (finding.treatment, finding.outcome) == (truth.treatment, OUTCOME + truth.outcome)


def _is_part(finding: Finding) -> bool:
    return finding.subject_kind is not SubjectKind.ORG or finding.question.endswith(SPILLOVER)


def _marked(truth: Truth, finding: Finding | None) -> story.Truth:
    planted = f"{truth.effect:+g} {truth.outcome} per unit" if truth.effect else "no effect" + ", a trap" * truth.trap
    mark, words = Mark.NOT_ANSWERED, "not asked"
    if finding is not None:
        words = finding.reasons[0] if finding.reasons else "not enough to answer"
        if finding.estimate is not None:
            mark, words = _mark(truth, finding.status, finding.estimate), _words(truth.effect, finding.estimate)
    return story.Truth(planted, truth.words, finding.status if finding else None, mark, words)


def _mark(truth: Truth, status: Status, its: Estimate) -> Mark:
    """Claimed is what is credible: only that leads anywhere. Off: there is such an effect, and its interval is beside it."""
    if status is not Status.CREDIBLE:
        return Mark.MISSED if truth.effect else Mark.SILENT
    if truth.effect and _holds(truth.effect, its):
        return Mark.FOUND
    near = bool(truth.effect) and 0.5 <= its.effect / truth.effect <= 2
    return Mark.OFF if near else Mark.WRONG


def _holds(truth: float, its: Estimate) -> bool:
    return its.ci_low <= truth <= its.ci_high


def _words(truth: float, its: Estimate) -> str:
    holds = "holds the truth" if _holds(truth, its) else "does not hold the truth"
    return f"{its.effect:+.3g} ({its.ci_low:.3g} to {its.ci_high:.3g}), which {holds}"


def _spillover(findings: Sequence[Finding], planted: Planted) -> story.Truth:
    """It must be seen with its sign, be called what it is, interference, and lead to no proposal."""
    own = Truth(*SPILT, planted.spillover, "")
    whole = [f for f in findings if _about(f, own) and f.subject_kind is SubjectKind.ORG]
    finding = next((f for f in whole if f.question.endswith(SPILLOVER)), None)
    mark, words = Mark.NOT_ANSWERED, "not asked, or not enough to answer"
    if any(f.estimate is not None for f in whole):
        mark, words = Mark.MISSED, "not seen"
    if finding is not None and finding.estimate is not None:
        signed = finding.estimate.effect * planted.spillover > 0
        seen = signed and finding.status is Status.EXPLORATORY_PROXY
        mark = Mark.WRONG if finding.status is Status.CREDIBLE else Mark.FOUND if seen else Mark.MISSED
        words = _words(planted.spillover, finding.estimate) + "; called interference, no proposal" * seen
    return story.Truth(
        planted=f"{planted.spillover:+g} exhaustion per unit of the team mates' late work",
        question="late work of team mates exhausts",
        said=finding.status if finding else None,
        mark=mark,
        words=words,
    )


def _unfounded(findings: Sequence[Finding], planted: Planted) -> Iterator[story.Truth]:
    """Claims that no truth above is about: of single teams, of pairs that nobody planted, of neighbours."""
    listed = [_answer(findings, truth) for truth in planted.truths]
    for finding in (f for f in findings if f.status is Status.CREDIBLE and f.estimate is not None):
        spilt = finding.question.endswith(SPILLOVER)
        own = Truth(*SPILT, planted.spillover, "")
        if any(finding is other for other in listed) or (spilt and planted.spillover and _about(finding, own)):
            continue
        truth = 0.0 if spilt else next((t.effect for t in planted.truths if _about(finding, t)), 0.0)
        assert finding.estimate is not None
        if finding.estimate.effect * truth <= 0:
            yield _untrue(finding, finding.estimate, truth)


def _untrue(finding: Finding, its: Estimate, truth: float) -> story.Truth:
    where = f", team {finding.subject}" if finding.subject_kind is SubjectKind.TEAM else ""
    return story.Truth(
        planted=f"{truth:+g} per unit" if truth else "nothing",
        question=f"{finding.treatment} and {finding.outcome.removeprefix(OUTCOME)}{where}",
        said=finding.status,
        mark=Mark.WRONG,
        words=_words(truth, its),
    )
