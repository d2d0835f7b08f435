"""A recount beside the graph, for the terminal and for JSON. A tie is two people, so it is not named unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

_SHOWN = 20


@dataclass(frozen=True)
class Line:
    """One difference: a short name for the tie, or its ends if they were asked for, and what differs."""

    tie: str
    words: str


@dataclass(frozen=True)
class DriftReport:
    """What was compared: `interactions` events in the archive, `ties` edges in the graph."""

    interactions: int
    ties: int
    differences: Sequence[Line]


def as_dict(report: DriftReport) -> dict[str, object]:
    named = [{"tie": line.tie, "words": line.words} for line in report.differences]
    return {"interactions": report.interactions, "ties": report.ties, "drift": len(named), "differences": named}


def numbers(report: DriftReport) -> dict[str, float]:
    """What the run ledger keeps and the alert rule reads; no tie is among it."""
    return {"differences": len(report.differences), "ties": report.ties, "interactions": report.interactions}


def show(report: DriftReport) -> None:
    console = Console(highlight=False, soft_wrap=True)
    drift, colour = len(report.differences), "red" if report.differences else "green"
    console.print(
        f"[{colour}]drift {drift}[/] · {report.ties:,} ties in the graph · "
        f"recounted from {report.interactions:,} interactions"
    )
    for line in report.differences[:_SHOWN]:
        console.print(f"  {line.tie}: {line.words}", markup=False)
    if drift > _SHOWN:
        console.print(f"  and {drift - _SHOWN} more; --json lists all")
    if drift:
        console.print("To make the graph again from the archive: python -m pipelines.rebuild")
