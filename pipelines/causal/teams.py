"""Effects of single teams, only ever shrunk towards the common one: the raw worst of fifty equal teams looks twice as bad.

Empirical Bayes with the between-team variance of DerSimonian & Laird 1986, corrected for variances that are themselves
estimated from few people, and Welch's 1951 test of whether the teams differ at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import norm

from pipelines.causal.design import Design
from pipelines.causal.estimators import Main
from pipelines.evidence import Estimate, Floats, Ints


@dataclass(frozen=True, slots=True)
class TeamEffect:
    """The shrunken effect of one team; `shrunk` is the share of its own deviation that was taken away."""

    team: int
    people: int
    rows: int
    periods: int
    estimate: Estimate
    shrunk: float


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """tau2: variance of the true effects between teams. p: of the joint test that there is none."""

    effects: tuple[TeamEffect, ...]
    tau2: float
    p: float


def by_team(main: Main, design: Design, fewest: int) -> Heterogeneity:
    """Effects of the teams with at least `fewest` people; nothing when there are not two of them."""
    found = [(team, *_slope(main, design, rows)) for team, rows in _rows_by_team(design, fewest)]
    usable = [f for f in found if np.isfinite(f[2]) and f[2] > 0]
    if len(usable) < 2:
        return Heterogeneity((), 0.0, 1.0)
    effect, variance = np.array([f[1] for f in usable]), np.array([f[2] for f in usable])
    freedom = np.array([f[3] - 1.0 for f in usable])
    tau2, p = _between(effect, variance, freedom)
    keep = tau2 / (tau2 + variance)
    common = main.estimate.effect
    shrunk = common + keep * (effect - common)
    spread = np.sqrt(keep * variance + (1 - keep) ** 2 * main.estimate.se**2)
    effects = tuple(
        _team(design, team, float(b), float(s), float(1 - k))
        for (team, *_), b, s, k in zip(usable, shrunk, spread, keep, strict=True)
    )
    return Heterogeneity(effects, tau2, p)


def _rows_by_team(design: Design, fewest: int) -> list[tuple[int, Ints]]:
    teams = [int(team) for team in np.unique(design.team) if team >= 0]
    rows = [(team, np.flatnonzero(design.team == team)) for team in teams]
    return [(team, r) for team, r in rows if len(np.unique(design.unit[r])) >= fewest]


def _slope(main: Main, design: Design, rows: Ints) -> tuple[float, float, int]:
    """(effect, variance, people) on the residuals of the main specification.

    Clustered by person and by week (Cameron, Gelbach & Miller 2011), the latter for shocks that hit the whole team.
    """
    d, y, unit, week = main.d[rows], main.y[rows], design.unit[rows], design.week[rows]
    d, y = d - d.mean(), y - y.mean()
    information = float(d @ d)
    if information <= 0:
        return np.nan, np.nan, 0
    slope = float(d @ y) / information
    score = d * (y - slope * d)
    by_person, by_week, people, weeks = *(_meat(score, c) for c in (unit, week)), len(set(unit)), len(set(week))
    meat = by_person * people / (people - 1) + by_week * weeks / max(weeks - 1, 1) - float(score @ score)
    return slope, max(meat, by_person, by_week) / information**2, min(people, weeks)


def _meat(score: Floats, codes: Ints) -> float:
    return float((np.bincount(codes, score) ** 2).sum())


def _between(effect: Floats, variance: Floats, freedom: Floats) -> tuple[float, float]:
    weight = 1 / variance
    total, teams = weight.sum(), len(effect)
    mean = float((weight * effect).sum() / total)
    q = float((weight * (effect - mean) ** 2).sum())
    # With few people behind a variance, Q is too large by d / (d - 2) of each team even when nothing differs.
    expected = ((1 - weight / total) * freedom / np.maximum(freedom - 2, 1)).sum()
    tau2 = max(0.0, (q - expected) / (total - (weight**2).sum() / total))
    correction = ((1 - weight / total) ** 2 / np.maximum(freedom, 1)).sum()
    statistic = q / (teams - 1) / (1 + 2 * (teams - 2) / (teams**2 - 1) * correction)
    return float(tau2), float(fisher.sf(statistic, teams - 1, (teams**2 - 1) / (3 * max(correction, 1e-12))))


def _team(design: Design, team: int, effect: float, error: float, shrunk: float) -> TeamEffect:
    rows = design.team == team
    half = 1.959964 * error
    p = float(2 * norm.sf(abs(effect) / error)) if error > 0 else 1.0
    estimate = Estimate("empirical_bayes", effect, error, effect - half, effect + half, p)
    people, periods = len(np.unique(design.unit[rows])), len(np.unique(design.week[rows]))
    return TeamEffect(team, people, int(rows.sum()), periods, estimate, shrunk)
