"""How the causal analysis did on a synthetic organisation whose effects are known: found, missed, wrongly claimed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.causal.panel import OUTCOME
from pipelines.causal.verdict import SPILLOVER
from pipelines.evidence import Finding, Status, SubjectKind
from pipelines.jobs import study
from pipelines.jobs.study import Planted, Truth
from pipelines.report import story
from pipelines.report.story import Mark


def marked(findings: Iterable[Finding], planted: Planted = study.PLANTED) -> list[story.Truth]:
    """Each planted truth with what became of it; about everybody, not about single teams."""
    of_all = [f for f in findings if f.subject_kind is SubjectKind.ORG]
    spilt = [_spillover(of_all, planted)] if planted.spillover else []
    return [*(_marked(truth, of_all) for truth in planted.truths), *spilt]


def right(truths: Iterable[story.Truth]) -> float:
    """Share of the truths that were found, or rightly not claimed."""
    marks = [truth.mark for truth in truths]
    return sum(mark in (Mark.FOUND, Mark.SILENT) for mark in marks) / len(marks)


def _marked(truth: Truth, findings: Sequence[Finding]) -> story.Truth:
    asked = (f for f in findings if (f.treatment, f.outcome) == (truth.treatment, OUTCOME + truth.outcome))
    finding = next((f for f in asked if not f.question.endswith(SPILLOVER)), None)
    planted = f"{truth.effect:+g} {truth.outcome} per unit" if truth.effect else "no effect" + ", a trap" * truth.trap
    return story.Truth(
        planted=planted,
        question=truth.words,
        said=finding.status if finding else None,
        mark=_mark(truth, finding),
        words=_words(truth, finding),
    )


def _mark(truth: Truth, finding: Finding | None) -> Mark:
    """Claimed is what is credible: only that leads anywhere."""
    claimed = finding is not None and finding.status is Status.CREDIBLE
    if not claimed:
        return Mark.MISSED if truth.effect else Mark.SILENT
    assert finding is not None
    assert finding.estimate is not None
    return Mark.FOUND if truth.effect * finding.estimate.effect > 0 else Mark.WRONG


def _words(truth: Truth, finding: Finding | None) -> str:
    if finding is None or finding.estimate is None:
        return "not asked, or not enough to answer"
    its = finding.estimate
    holds = "holds the truth" if its.ci_low <= truth.effect <= its.ci_high else "does not hold the truth"
    return f"{its.effect:+.3g} ({its.ci_low:.3g} to {its.ci_high:.3g}), which {holds}"


def _spillover(findings: Sequence[Finding], planted: Planted) -> story.Truth:
    """It must be called what it is, interference, and lead to no proposal."""
    seen = [
        f
        for f in findings
        if f.question.endswith(SPILLOVER) and (f.treatment, f.outcome) == ("after_hours_share", f"{OUTCOME}exhaustion")
    ]
    claimed = any(f.status is Status.CREDIBLE for f in seen)
    return story.Truth(
        planted=f"{planted.spillover:+g} exhaustion per unit of the team mates' late work",
        question="late work of team mates exhausts",
        said=seen[0].status if seen else None,
        mark=Mark.WRONG if claimed else Mark.FOUND if seen else Mark.MISSED,
        words="called interference, no proposal" if seen and not claimed else "",
    )
