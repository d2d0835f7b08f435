"""Simulated organisations with a known effect of `load` on a survey answer, drawn apart from the reference simulator.

Demand rises at quarter ends and saturates; a phase of the project pushes treatment in a bump and the answer at a step that
depends on demand; people differ skewly; answers have heavy tails; weeks of leave are missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from pipelines.causal import design, panel, questions
from pipelines.causal.design import Design
from pipelines.causal.panel import Panel
from pipelines.causal.questions import Catalogue, Question

Floats = NDArray[np.float64]
MONDAY = date(2026, 3, 2)

CATALOGUE: Catalogue = questions.load(
    """
version = 1
metrics.load = {words = "load", unit = "hours", channels = ["load"]}
metrics.demand = {words = "demand", channels = ["demand"]}
metrics.phase = {words = "phase of the project", channels = ["phase"]}
metrics.badge = {words = "badge swipes", channels = ["badge"], kind = "operational"}
metrics.hub = {words = "bridges to others", channels = ["network"], network = true}
dag.edges = ["demand -> load", "phase -> load", "demand -> outcome", "phase -> outcome", "load -> outcome"]
"""
)
QUESTION = Question("load.tired", "load", "outcome:tired", exogenous=("demand", "phase"), lag_weeks=1)


@dataclass(frozen=True, kw_only=True)
class World:
    """What is true. effect: points for each hour of load. All others: 0 is off.

    bends: the confounders act in bends and steps, not in straight lines. team_shocks: weeks in which a whole team has more
    load, and others in which it is more tired. feedback: the tired cut their load next week. hidden: something lasting and
    unseen that raises both. spill: effect of the teammates' mean load. spread: SD of the effect between teams.
    """

    people: int = 300
    weeks: int = 26
    effect: float = 0.3
    team: int = 10
    bends: bool = True
    team_shocks: float = 0.0
    feedback: float = 0.0
    hidden: float = 0.0
    spill: float = 0.0
    spread: float = 0.0
    leave: float = 0.06
    lag_weeks: int = 1


@dataclass(frozen=True, eq=False)
class Drawn:
    """Columns as person_weeks and outcomes have them, and the true effect of each team."""

    columns: dict[str, list[object]]
    outcomes: list[panel.OutcomeRow]
    team_effects: Floats = field(default_factory=lambda: np.zeros(0))

    def panel(self) -> Panel:
        return panel.build(self.columns, self.outcomes)


def drawn(world: World, seed: int) -> Drawn:
    """The rows of one world."""
    rng = np.random.default_rng([20_261_122, seed])
    n, weeks = world.people, world.weeks
    team = np.arange(n) // world.team
    demand, phase = _demand(rng, n, weeks), _phase(rng, n, weeks)
    load, tired, effects = _lived(rng, world, demand, phase, team)
    there = rng.random((n, weeks)) >= world.leave
    who, when = np.nonzero(there)
    name = [f"p_{i:016x}" for i in who]
    columns: dict[str, list[object]] = {
        "week": [MONDAY + timedelta(weeks=int(w)) for w in when],
        "person": list(name),
        "team": [f"team-{t:03d}" for t in team[who]],
        "working_days": [5] * len(who),
        "load": load[who, when].tolist(),
        "demand": demand[who, when].tolist(),
        "phase": phase[who, when].tolist(),
    }
    at = datetime(MONDAY.year, MONDAY.month, MONDAY.day, 12, tzinfo=UTC)
    outcomes = [
        panel.OutcomeRow(p, at + timedelta(weeks=int(w), days=2), "tired", float(tired[i, w]))
        for p, i, w in zip(name, who, when, strict=True)
        if w >= world.lag_weeks
    ]
    return Drawn(columns, outcomes, effects)


def design_of(world: World, seed: int, question: Question = QUESTION) -> Design:
    return design.build(drawn(world, seed).panel(), question, CATALOGUE)


def _persistent(rng: np.random.Generator, keep: float, shape: tuple[int, int], tails: float = 0.0) -> Floats:
    """A stationary series of unit variance a row; heavy-tailed with so many degrees of freedom."""
    shocks = rng.standard_t(tails, shape) / np.sqrt(tails / (tails - 2)) if tails else rng.normal(size=shape)
    series = np.empty(shape)
    series[:, 0] = shocks[:, 0]
    for t in range(1, shape[1]):
        series[:, t] = keep * series[:, t - 1] + np.sqrt(1 - keep**2) * shocks[:, t]
    return series


def _demand(rng: np.random.Generator, n: int, weeks: int) -> Floats:
    season = 0.5 * np.maximum(0, np.sin(2 * np.pi * np.arange(weeks) / 13)) ** 3
    return np.exp(0.5 * _persistent(rng, 0.55, (n, weeks)) + 0.3 * rng.normal(size=(n, 1)) + season)


def _phase(rng: np.random.Generator, n: int, weeks: int) -> Floats:
    swing = np.sin(2 * np.pi * (np.arange(weeks) / rng.uniform(7, 15, (n, 1)) + rng.random((n, 1))))
    return 0.7 * swing + 0.5 * _persistent(rng, 0.3, (n, weeks))


def _pushed(demand: Floats, phase: Floats, bends: bool) -> tuple[Floats, Floats]:
    """What the confounders add to load and to tiredness."""
    if not bends:
        return 0.6 * demand + 0.5 * phase, 0.7 * demand + 0.4 * phase
    hill = demand**2 / (1 + demand**2)
    step = 1 / (1 + np.exp(-6 * (phase - 0.3)))
    return 2.5 * hill + 1.2 * np.exp(-((phase - 0.5) ** 2) * 3), 2.0 * hill + 1.0 * step * np.minimum(demand, 2.5)


def _lived(
    rng: np.random.Generator, world: World, demand: Floats, phase: Floats, team: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    n, weeks = demand.shape
    teams, shape = int(team.max()) + 1, (n, weeks)
    on_load, on_tired = _pushed(demand, phase, world.bends)
    person, calendar = rng.exponential(size=(n, 1)) - 1, 0.5 * rng.normal(size=(1, weeks))
    unseen = world.hidden * _persistent(rng, 0.75, shape)
    shocked = [world.team_shocks * _persistent(rng, 0.6, (teams, weeks))[team] for _ in range(2)]
    effects = world.effect + world.spread * rng.normal(size=teams)
    load = on_load + 0.9 * person + calendar + _persistent(rng, 0.35, shape) + unseen + shocked[0]
    tired = 1.2 * person + 1.5 * calendar + _persistent(rng, 0.5, shape, 6.0) + unseen + shocked[1]
    size = np.bincount(team)[team][:, None]
    for t in range(weeks):
        if t:
            load[:, t] -= world.feedback * tired[:, t - 1]
        window = slice(max(0, t - world.lag_weeks), t)
        if t:
            past = load[:, window].mean(1)
            total = np.bincount(team, past)[team]
            tired[:, t] += effects[team] * past + world.spill * (total - past) / np.maximum(size[:, 0] - 1, 1)
            tired[:, t] += on_tired[:, window].mean(1)
    return load, tired, effects
