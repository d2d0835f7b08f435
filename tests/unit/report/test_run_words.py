"""A run in a few words: what counts of each flow, in order; never a raw counter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.report.run_words import in_short
from pipelines.runs import Mode, Run, Status

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
            {"up": 3, "words": ["redis is down: away", "prefect is down: away"]},
            "redis is down: away; prefect is down: away",
        ),
        ("health_monitoring", {"up": 3, "words": []}, "all is well"),
        ("of later", {"anything": 3}, ""),
    ],
)
def test_what_counts_is_said(flow: str, result: dict[str, Any], words: str) -> None:
    assert in_short(run(flow, result)) == words


def test_who_failed_says_why_on_one_line_and_who_still_runs_says_nothing() -> None:
    assert in_short(run("full", {"findings": 3}, Status.FAILED, error="redis is\n away")) == "redis is away"
    assert in_short(run("incremental", {}, Status.RUNNING)) == ""
