"""Unit and week effects taken out of columns, and the regressions on what is left, with errors clustered by group.

The coefficients come from `sufficient`, the same core that works out of core and on a cluster; this module adds what few
clusters need: the wild cluster bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lstsq
from scipy.sparse import csr_array
from scipy.stats import t as student

from pipelines.causal import sufficient, two_way
from pipelines.evidence import Estimate, Floats, Ints

Fit = Callable[[sufficient.Rows, Sequence[str]], sufficient.Fit]

#: From so many clusters on the t distribution with G - 1 degrees of freedom is good enough; below, the bootstrap.
ENOUGH_CLUSTERS = 30
_DRAWS = 1_999
#: Webb (2014): six points, so that ten clusters still have 6^10 different draws.
_WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
_HALVINGS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Who, when and which cluster each of n rows is; dense codes from 0."""

    unit: Ints
    week: Ints
    cluster: Ints

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1 if self.cluster.size else 0

    def take(self, rows: Ints) -> Groups:
        return Groups(*(np.unique(c[rows], return_inverse=True)[1] for c in (self.unit, self.week, self.cluster)))


class Demeaning:
    """Projection that removes unit and week effects exactly, also from unbalanced panels.

    Weeks are solved for after unit means are gone: a (T, T) system, as in `sufficient`.
    """

    def __init__(self, unit: Ints, week: Ints) -> None:
        self._unit, self._week = unit, week
        self._per_unit = np.maximum(np.bincount(unit), 1).astype(float)
        weeks = int(week.max()) + 1 if week.size else 0
        cells = csr_array((np.ones(len(unit)), (unit, week)), shape=(len(self._per_unit), weeks))
        shared = (cells.T @ (cells / self._per_unit[:, None])).toarray() if weeks else np.zeros((0, 0))
        self._gram = np.diag(np.bincount(week, minlength=weeks).astype(float)) - shared

    def demean(self, columns: Floats) -> Floats:
        """(n,) or (n, m) without unit and week effects, as a new array; a column at a time, to be light on memory."""
        flat: Floats = np.array(columns.reshape(len(columns), -1), dtype=np.float64, order="F")
        for column in flat.T:
            column -= self._unit_mean(column)
        if len(self._gram) > 1 and flat.shape[1]:
            sums = np.column_stack([np.bincount(self._week, c, len(self._gram)) for c in flat.T])
            # The first week is the reference; a panel in parts without a common unit leaves the rest singular, which
            # lstsq with a generous cut-off settles.
            effects = lstsq(self._gram[1:, 1:], sums[1:], cond=1e-10)[0]
            for column, of_weeks in zip(flat.T, effects.T, strict=True):
                spread = np.concatenate([[0.0], of_weeks])[self._week]
                column -= spread - self._unit_mean(spread)
        return flat.reshape(columns.shape)

    def unit_means(self, columns: Floats) -> Floats:
        """Means of each row's unit, (n, m)."""
        return np.column_stack([self._unit_mean(column) for column in columns.T])

    def _unit_mean(self, column: Floats) -> Floats:
        means: Floats = np.bincount(self._unit, column, len(self._per_unit)) / self._per_unit
        return means[self._unit]


def regress(y: Floats, x: Floats, groups: Groups, method: str, fit: Fit = two_way.fit_rows) -> Estimate:
    """The effect of the first column of x (n, p) on y with unit and week effects and the other columns held.

    Clustered by `groups.cluster`. Below ENOUGH_CLUSTERS interval and p come from the wild cluster bootstrap, whose
    standard error is still CRV1.

    Raises:
        Refused: nothing is left of a column within units and weeks, or there are too few rows.
    """
    estimate = two_way.estimate(regression(y, x, groups, fit), "0", method)
    if groups.clusters >= ENOUGH_CLUSTERS:
        return estimate
    return bootstrap(y, x, groups, estimate)


def regression(y: Floats, x: Floats, groups: Groups, fit: Fit = two_way.fit_rows) -> sufficient.Fit:
    """All of the regression, CRV1, its columns named "0", "1" and so on. Raises as `regress`."""
    rows = sufficient.Rows(groups.unit, groups.week, groups.cluster, np.column_stack([y, x]).T)
    return fit(rows, [str(i) for i in range(x.shape[1])])


def critical(clusters: int) -> float:
    """Of a 95 % interval with so many clusters."""
    return float(student.ppf(0.975, max(clusters - 1, 1)))


# ------------------------------------------------------------------------------------------------ few clusters


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Sums a cluster (G,) and a cluster and week (G, T): all that the bootstrap needs of n rows."""

    dy: Floats
    dd: Floats
    y_cells: Floats
    d_cells: Floats
    per_week: Floats


def bootstrap(y: Floats, x: Floats, groups: Groups, estimate: Estimate) -> Estimate:
    """Wild cluster bootstrap-t with the null imposed and Webb's weights; the interval by inverting the test.

    Cameron, Gelbach & Miller 2008; Roodman, Nielsen, MacKinnon & Webb 2019 for working on sums by cluster. The weights
    are drawn from a fixed seed: the same panel gives the same p. Weeks are removed again from every draw.
    """
    sums, weights = _sums(y, x, groups), _weights(groups.clusters)
    theta = float(sums.dy.sum() / sums.dd.sum())
    p = _p(theta, 0.0, sums, weights)
    step = max(estimate.se, 1e-12)
    low = _edge(theta, -step, sums, weights)
    high = _edge(theta, step, sums, weights)
    return Estimate(estimate.method, estimate.effect, estimate.se, low, high, p)


def bootstrap_p(y: Floats, x: Floats, groups: Groups) -> float:
    """p alone, of no effect."""
    sums = _sums(y, x, groups)
    return _p(float(sums.dy.sum() / sums.dd.sum()), 0.0, sums, _weights(groups.clusters))


def _weights(clusters: int) -> Floats:
    return np.random.default_rng(20_261_122).choice(_WEBB, (_DRAWS, clusters))


def _sums(y: Floats, x: Floats, groups: Groups) -> _Scores:
    means = Demeaning(groups.unit, groups.week)
    flat = means.demean(np.column_stack([y, x]))
    y, d, others = flat[:, 0], flat[:, 1], flat[:, 2:]
    if others.shape[1]:
        y = y - others @ np.linalg.lstsq(others, y, rcond=1e-10)[0]
        d = d - others @ np.linalg.lstsq(others, d, rcond=1e-10)[0]
    clusters, weeks = groups.clusters, int(groups.week.max()) + 1
    cell = groups.cluster * weeks + groups.week

    def by_cell(values: Floats) -> Floats:
        return _totals(cell, values, clusters * weeks).reshape(clusters, weeks)

    return _Scores(
        _totals(groups.cluster, d * y, clusters),
        _totals(groups.cluster, d * d, clusters),
        by_cell(y),
        by_cell(d),
        np.bincount(groups.week, minlength=weeks).astype(float),
    )


def _totals(codes: Ints, values: Floats, size: int) -> Floats:
    return np.bincount(codes, values, size).astype(np.float64)


def _p(theta: float, null: float, sums: _Scores, weights: Floats) -> float:
    """Share of draws under this null that are at least as far out as what was seen; symmetric."""
    observed = abs(theta - null) / _error(sums.dy - theta * sums.dd)
    score = sums.dy - null * sums.dd
    spill = (sums.d_cells / sums.per_week) @ (sums.y_cells - null * sums.d_cells).T
    drawn = weights * score - weights @ spill.T
    shift = drawn.sum(1) / sums.dd.sum()
    error = np.sqrt(((drawn - shift[:, None] * sums.dd) ** 2).sum(1))
    far = np.abs(shift) >= observed * error * (1 - 1e-12)
    return float((1 + np.count_nonzero(far)) / (1 + len(weights)))


def _error(scores: Floats) -> float:
    return float(np.sqrt((scores**2).sum()))


def _edge(theta: float, step: float, sums: _Scores, weights: Floats) -> float:
    """Where the test begins to reject at 5 %, on the side of `step`; 512 standard errors away if it never does."""
    inside, outside = theta, theta + 2 * step
    for _ in range(8):
        if _p(theta, outside, sums, weights) <= 0.05:
            break
        inside, outside = outside, theta + 2 * (outside - theta)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if _p(theta, middle, sums, weights) > 0.05 else (inside, middle)
    return (inside + outside) / 2
