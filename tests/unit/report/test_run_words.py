"""A run in a few words: what counts of each flow, in order; never a raw counter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.report.run_words import in_short, outcome
from pipelines.runs import ErrorKind, Mode, Run, Status

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def run(flow: str, result: dict[str, Any], status: Status = Status.COMPLETED, **rest: Any) -> Run:
    return replace(Run(1, flow, "run-1", status, Mode.DIRECT, NOW), result=result, **rest)


@pytest.mark.parametrize(
    ("flow", "result", "words"),
    [
        (
            "incremental",
            {"read": 5_211, "applied": 5_208, "dead_letters": 3, "drained": 1, "batches": 6},
            "5,208 applied, 3 dead letters",
        ),
        ("incremental", {"read": 0, "drained": 1}, "nothing new"),
        (
            "full",
            {"findings": 4, "credible": 1, "proposed": 1, "blocked": 0, "notes": 9},
            "4 findings, 1 credible, 1 proposed",
        ),
        ("watch", {"problems": 0, "machine": "machine ab", "memory": 0.4}, "nothing is wrong"),
        ("watch", {"problems": 1, "reaped": 2, "machine": "machine ab"}, "1 problem, 2 dead runs closed"),
        ("verify", {"differences": 0, "ties": 900}, "no difference"),
        ("verify", {"differences": 2}, "2 differences"),
        (
            "health_monitoring",
            {"services": 9, "up": 6, "degraded": 0, "down": 0, "absent": 3, "redis": 1.0, "words": ["x is absent: y"]},
            "6 up, 3 absent",
        ),
        (
            "health_monitoring",
            {"services": 3, "up": 1, "degraded": 1, "down": 1, "absent": 0, "redis": 0.0, "disk": 0.5, "graph": 1.0},
            "1 up, 1 degraded, 1 down; down: redis; degraded: disk",
        ),
        ("policy_check", {"rules": 5, "passed": 4, "refused": 1, "codes": ["COOLDOWN"]}, "1 of 5 rules says no"),
        ("policy_check", {"rules": 5, "passed": 5, "refused": 0}, "all 5 rules pass"),
        ("intervention_planning", {"planned": 0, "candidates": 5, "effort": 3}, "planned 0 of 5"),
        ("intervention_planning", {"withheld": "k was smaller"}, "not shown: k was smaller"),
        ("watch", {"problems": 1, "codes": ["STORE_DOWN"]}, "1 problem: STORE_DOWN"),
        ("of later", {"anything": 3}, ""),
    ],
)
def test_what_counts_is_said(flow: str, result: dict[str, Any], words: str) -> None:
    assert in_short(run(flow, result)) == words


@pytest.mark.parametrize(
    ("flow", "status", "kind", "word"),
    [
        ("full", Status.CANCELLED, ErrorKind.REFUSED, "refused"),
        ("full", Status.CANCELLED, ErrorKind.INTERRUPTED, "cancelled"),
        ("policy_check", Status.FAILED, ErrorKind.INPUT, "wrong input"),
        ("incremental", Status.FAILED, ErrorKind.INPUT, "failed"),
        ("policy_check", Status.FAILED, ErrorKind.DEFECT, "failed"),
    ],
)
def test_what_a_rule_or_a_wrong_question_ended_is_no_failure(
    flow: str, status: Status, kind: ErrorKind, word: str
) -> None:
    assert outcome(run(flow, {}, status, error_kind=kind)) == word


def test_who_failed_says_why_on_one_line_and_who_still_runs_says_nothing() -> None:
    assert in_short(run("full", {"findings": 3}, Status.FAILED, error="redis is\n away")) == "redis is away"
    assert in_short(run("incremental", {}, Status.RUNNING)) == ""
