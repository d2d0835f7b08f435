"""Step `run_causal_analysis`: weeks of people and their outcomes in, findings out; and findings as bytes between steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Protocol

import msgspec
import numpy as np

from pipelines.causal import panel
from pipelines.causal.engine import CausalEngine
from pipelines.causal.panel import PART, Panel
from pipelines.evidence import Finding, Floats
from pipelines.person_weeks import WeekRows


class Outcomes(Protocol):
    """Table `outcomes`."""

    def since(self, time: datetime) -> Iterable[tuple[str, datetime, str, float]]:
        """(person, time, measure, value) from that time on, in any order."""


def run_causal_analysis(
    weeks: Sequence[WeekRows],
    outcomes: Iterable[tuple[str, datetime, str, float]],
    *,
    engine: CausalEngine | None = None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> tuple[Finding, ...]:
    """Findings for every question of the catalogue that these weeks can be asked; none where there are no weeks.

    Args:
        progress: called with questions done, questions in all, and the one that is next.
    """
    found = panel_of(weeks, outcomes)
    return (engine or CausalEngine()).analyse(found, progress=progress) if found.unit.size else ()


def panel_of(weeks: Sequence[WeekRows], outcomes: Iterable[tuple[str, datetime, str, float]]) -> Panel:
    """The causal panel of weeks in any order."""
    names = sorted({name for rows in weeks for name in rows.values})
    parts = sorted({name for rows in weeks for name in rows.parts})
    columns: dict[str, panel.Column] = {
        name: _joined([_of(rows.values.get(name), rows) for rows in weeks]) for name in names
    }
    columns |= {PART + name: _joined([_of(rows.parts.get(name), rows) for rows in weeks]) for name in parts}
    columns["strain"] = _joined([rows.strain for rows in weeks])
    dates: list[date] = [rows.week for rows in weeks for _ in range(len(rows))]
    people = [person for rows in weeks for person in rows.people]
    teams = [team for rows in weeks for team in rows.teams]
    return panel.build({"week": dates, "person": people, "team": teams, **columns}, outcomes)


def pack(findings: Sequence[Finding]) -> bytes:
    return msgspec.msgpack.encode(tuple(findings))


def unpack(payload: bytes) -> list[Finding]:
    return msgspec.msgpack.decode(payload, type=list[Finding])


def _of(values: Floats | None, rows: WeekRows) -> Floats:
    return np.full(len(rows), np.nan) if values is None else values


def _joined(columns: Sequence[Floats]) -> Floats:
    return np.concatenate(columns) if columns else np.empty(0)
