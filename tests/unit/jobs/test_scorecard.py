"""What counts as right: found with its truth, silent when it was asked; nothing else, and every claim counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.causal.panel import OUTCOME
from pipelines.causal.verdict import SPILLOVER
from pipelines.evidence import Estimate, Finding, Status, SubjectKind
from pipelines.jobs import scorecard
from pipelines.jobs.study import NOTHING, PLANTED, TRUTHS, Planted, Truth
from pipelines.report.story import Mark
from tests.support.fakes_proposals import finding

EFFECT, NULL = TRUTHS[0], TRUTHS[3]
WITHOUT_ESTIMATE = (Status.TOO_FEW_CLUSTERS, Status.NOT_ENOUGH_HISTORY, Status.SUPPRESSED, Status.POOR_OVERLAP)


def said(truth: Truth, status: Status, effect: float = 0.0, half: float = 0.1, **changes: object) -> Finding:
    """A finding about the pair of this truth, with this interval."""
    estimate = Estimate("fe_dml", effect, half / 2, effect - half, effect + half, 0.001)
    base = replace(
        finding(), id="", question="q", treatment=truth.treatment, outcome=OUTCOME + truth.outcome, status=status,
        estimate=estimate, reasons=("why",),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def mark_of(truth: Truth, *findings: Finding) -> Mark:
    (found,) = scorecard.marked(findings, Planted((truth,), 0.0))
    return found.mark


def perfect() -> list[Finding]:
    of_each = [said(t, Status.CREDIBLE if t.effect else Status.NO_EFFECT, t.effect) for t in TRUTHS]
    return [*of_each, spilt(Status.EXPLORATORY_PROXY, PLANTED.spillover)]


def spilt(status: Status, effect: float) -> Finding:
    return said(EFFECT, status, effect, question="q" + SPILLOVER, interference=True)


def test_everything_right_is_right() -> None:
    assert scorecard.right(scorecard.marked(perfect())) == 1.0
    assert len(scorecard.marked(perfect())) == len(TRUTHS) + 1


def test_an_analysis_that_says_nothing_is_right_about_nothing() -> None:
    marks = scorecard.marked([])
    assert {truth.mark for truth in marks} == {Mark.NOT_ANSWERED}
    assert scorecard.right(marks) == 0.0


@pytest.mark.parametrize("status", WITHOUT_ESTIMATE)
@pytest.mark.parametrize("truth", [EFFECT, NULL])
def test_too_little_to_answer_is_not_rightly_silent(truth: Truth, status: Status) -> None:
    assert mark_of(truth, said(truth, status, estimate=None)) is Mark.NOT_ANSWERED


@pytest.mark.parametrize(
    ("truth", "status", "effect", "mark"),
    [
        (EFFECT, Status.CREDIBLE, 3.05, Mark.FOUND),
        (EFFECT, Status.CREDIBLE, -3.0, Mark.WRONG),
        (EFFECT, Status.CREDIBLE, 300.0, Mark.WRONG),  # the sign alone is not the truth
        (EFFECT, Status.CREDIBLE, 2.5, Mark.OFF),
        (EFFECT, Status.UNDERPOWERED, 3.0, Mark.MISSED),
        (EFFECT, Status.NO_EFFECT, 0.0, Mark.MISSED),
        (NULL, Status.CREDIBLE, 0.05, Mark.WRONG),
        (NULL, Status.CREDIBLE, 9.0, Mark.WRONG),
        (NULL, Status.NO_EFFECT, 0.0, Mark.SILENT),
        (NULL, Status.FEEDBACK_OR_CONFOUNDING, 9.0, Mark.SILENT),
    ],
)
def test_a_claim_is_found_only_with_its_sign_and_the_truth_in_its_interval(
    truth: Truth, status: Status, effect: float, mark: Mark
) -> None:
    assert mark_of(truth, said(truth, status, effect)) is mark


@pytest.mark.parametrize(
    ("status", "effect", "mark"),
    [
        (Status.EXPLORATORY_PROXY, 2.0, Mark.FOUND),
        (Status.EXPLORATORY_PROXY, -9.0, Mark.MISSED),
        (Status.NO_EFFECT, 2.5, Mark.MISSED),
        (Status.UNDERPOWERED, 2.5, Mark.MISSED),
        (Status.FEEDBACK_OR_CONFOUNDING, 2.5, Mark.MISSED),
        (Status.CREDIBLE, 2.5, Mark.WRONG),
    ],
)
def test_a_spillover_is_found_with_its_sign_and_as_what_it_is(status: Status, effect: float, mark: Mark) -> None:
    assert scorecard.marked([spilt(status, effect)])[-1].mark is mark


def test_a_spillover_is_missed_only_where_it_was_looked_for() -> None:
    assert scorecard.marked([said(EFFECT, Status.CREDIBLE, 3.0)])[-1].mark is Mark.MISSED
    assert scorecard.marked([said(EFFECT, Status.TOO_FEW_CLUSTERS, estimate=None)])[-1].mark is Mark.NOT_ANSWERED


TEAM = {"subject_kind": SubjectKind.TEAM, "subject": "team-a"}
UNPLANTED = Truth("received", "recovery", 0.0, "")


@pytest.mark.parametrize(
    "claim",
    [
        said(NULL, Status.CREDIBLE, 9.0, **TEAM),  # type: ignore[arg-type]
        said(EFFECT, Status.CREDIBLE, -3.0, **TEAM),  # type: ignore[arg-type]
        said(UNPLANTED, Status.CREDIBLE, 9.0),
        said(UNPLANTED, Status.CREDIBLE, 9.0, **TEAM),  # type: ignore[arg-type]
        said(NULL, Status.CREDIBLE, 9.0, question="q" + SPILLOVER),
        said(NULL, Status.CREDIBLE, 9.0, question="another"),
    ],
)
def test_every_untrue_claim_is_listed_as_wrong(claim: Finding) -> None:
    marks = scorecard.marked([*perfect(), claim])
    assert [truth.mark for truth in marks[len(TRUTHS) + 1 :]] == [Mark.WRONG]
    assert scorecard.right(marks) == pytest.approx(9 / 10)


@pytest.mark.parametrize(
    "finding_",
    [
        said(EFFECT, Status.CREDIBLE, 3.3, **TEAM),  # type: ignore[arg-type]
        said(UNPLANTED, Status.NO_EFFECT, 9.0),
        said(NULL, Status.UNDERPOWERED, 9.0, **TEAM),  # type: ignore[arg-type]
    ],
)
def test_what_is_true_or_not_claimed_is_not_listed(finding_: Finding) -> None:
    assert len(scorecard.marked([*perfect(), finding_])) == len(TRUTHS) + 1


def test_where_nothing_is_a_spillover_that_is_claimed_is_wrong() -> None:
    silent = [said(t, Status.NO_EFFECT) for t in NOTHING.truths]
    assert scorecard.right(scorecard.marked(silent, NOTHING)) == 1.0
    assert scorecard.marked([*silent, spilt(Status.CREDIBLE, 2.0)], NOTHING)[-1].mark is Mark.WRONG
