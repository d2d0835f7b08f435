"""Step `run_causal_analysis`: weeks of people and their outcomes in, findings out; and findings as bytes between steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import date, datetime

import msgspec
import numpy as np

from pipelines.causal import panel, two_way
from pipelines.causal.engine import CausalEngine
from pipelines.causal.panel import PART, Panel
from pipelines.causal.questions import Catalogue
from pipelines.causal.verdict import Thresholds
from pipelines.causal.within import Fit
from pipelines.evidence import K_FLOOR, Finding, Floats
from pipelines.person_weeks import WeekRows

Progress = Callable[[int, int, str], None]
#: Rows and columns of a panel -> the regression core that suits it, for as long as it is needed.
Cores = Callable[[int, int], AbstractContextManager[Fit]]


@contextmanager
def in_memory(_rows: int, _columns: int) -> Iterator[Fit]:
    """The core for panels of ordinary size."""
    yield two_way.fit_rows


def run_causal_analysis(
    weeks: Sequence[WeekRows],
    outcomes: Iterable[tuple[str, datetime, str, float]],
    *,
    k: int = K_FLOOR,
    catalogue: Catalogue | None = None,
    cores: Cores = in_memory,
    progress: Progress = lambda *_: None,
) -> tuple[Finding, ...]:
    """Findings for every question of the catalogue that these weeks can be asked; none where there are no weeks.

    Args:
        outcomes: (person, time, measure, value), in any order.
        k: no number is about fewer people.
        catalogue: what may be asked; the one that comes with the program by default.
        progress: called with questions done, questions in all, and the one that is next.
    """
    found = panel_of(weeks, outcomes)
    if not found.unit.size:
        return ()
    usual = Thresholds()
    limits = replace(usual, k=k, team_people=max(k, usual.team_people))
    with cores(*found.values.shape) as fit:
        return CausalEngine(limits, catalogue, fit).analyse(found, progress=progress)


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
