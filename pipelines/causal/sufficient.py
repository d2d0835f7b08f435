"""Two-way fixed effects with clustered standard errors from sums that merge: exact on unbalanced panels, however split.

Pass 1 adds up one small matrix per part (`part_stats`), pass 2 the scores of each cluster (`part_meat`); between them the
period effects are solved for. In process, out of core and on a cluster the same functions run, so results agree.
It knows no files, no tables and no scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import Floats, Ints

Keys = NDArray[Any]
#: A column of which less than this share of its variation is left cannot be told from the others (pyfixest uses the same).
_COLLINEAR = 1e-9
#: What is left of a column that its unit's mean explains: rounding, relative to the largest value of the column.
_ROUNDING = 1e-13
_WIDEST_CODE = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a panel, with ALL rows of every unit that occurs in them.

    unit, cluster: sortable keys (integers are fastest), one a row; a cluster may go on in other parts. Clusters are units or
    groups of them, not periods. period: integers, any numbering that is the same in all parts. values: (1 + p, rows)
    float64, finite: the outcome, then the regressors.
    """

    unit: Keys
    period: Ints
    cluster: Keys
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Stats:
    """Pass 1 of one or many parts. k = 1 + p columns, T periods; everything after removing unit means.

    gram (k, k): sums of products. cross (k, T): sums by period. overlap (T, T): the period dummies' own products.
    per_period (T): rows. largest (k): greatest absolute value before. without: periods that were left out. dropped: rows in
    those, and of units with a single row.
    """

    units: Keys
    periods: Ints
    gram: Floats
    cross: Floats
    overlap: Floats
    per_period: Ints
    largest: Floats
    without: frozenset[int]
    dropped: int


@dataclass(frozen=True, slots=True, eq=False)
class Meat:
    """Pass 2 of one or many parts: the score of each cluster (clusters, p), by sorted cluster key.

    nested: no unit has rows in two clusters.
    """

    clusters: Keys
    scores: Floats
    nested: bool


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Coefficients and what pass 2 needs to make residuals: `effects` (k, T) are the periods' means of every column."""

    names: tuple[str, ...]
    coefficients: Floats
    bread: Floats
    within: Floats
    periods: Ints
    effects: Floats
    rows: int
    units: int
    dropped: int
    without: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A finished regression. covariance: (p, p), clustered (CRV1). df: clusters - 1, for intervals from Student's t.

    within_sd: (1 + p) standard deviations of outcome and regressors after unit and period effects. dropped: rows of units or
    periods with a single row, which say nothing.
    """

    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    within_sd: Floats
    rows: int
    units: int
    periods: int
    clusters: int
    df: int
    dropped: int


# ------------------------------------------------------------------------------------------------ pass 1


def part_stats(rows: Rows, without: frozenset[int] = frozenset()) -> Stats:
    """Sums of one part. `without`: periods to leave out.

    Raises:
        InvalidInput: as `fit`.
    """
    block = _block(rows, without)
    largest = np.abs(block.values).max(axis=1, initial=0.0)
    _remove_unit_means(block)
    cross = np.stack([np.bincount(block.week, v, minlength=len(block.periods)) for v in block.values])
    return Stats(
        units=block.units,
        periods=block.periods,
        gram=block.values @ block.values.T,
        cross=cross.astype(np.float64),
        overlap=_overlap(block),
        per_period=np.bincount(block.week, minlength=len(block.periods)),
        largest=largest,
        without=without,
        dropped=block.dropped,
    )


@dataclass(slots=True, eq=False)
class _Block:
    """Rows in the order of their units; `values` are our own copy, to be overwritten."""

    units: Keys
    starts: Ints
    counts: Ints
    periods: Ints
    week: Ints
    cluster: Keys
    values: Floats
    dropped: int


def _block(rows: Rows, without: frozenset[int]) -> _Block:
    _check(rows)
    unit, keep = rows.unit, np.ones(len(rows.unit), dtype=bool)
    if without:
        keep &= ~np.isin(rows.period, list(without))
    order = np.arange(len(unit)) if _is_sorted(unit) else np.argsort(unit, kind="stable")
    order = order[keep[order]]
    counts = np.diff(np.append(_starts(unit[order]), len(order)))
    order = order[np.repeat(counts > 1, counts)]  # a unit with a single row has no variation of its own
    unit, starts = unit[order], _starts(unit[order])
    periods, week = _codes(rows.period[order])
    counts = np.diff(np.append(starts, len(order)))
    dropped = len(rows.unit) - len(order)
    return _Block(unit[starts], starts, counts, periods, week, rows.cluster[order], _take(rows, order), dropped)


def _take(rows: Rows, order: Ints) -> Floats:
    if len(order) == len(rows.unit) and _is_sorted(order):
        return rows.values.astype(np.float64)  # a copy
    return np.ascontiguousarray(rows.values[:, order], dtype=np.float64)


def _check(rows: Rows) -> None:
    n = len(rows.unit)
    if rows.values.ndim != 2 or {len(rows.period), len(rows.cluster), rows.values.shape[1]} != {n}:
        raise InvalidInput(f"rows of a panel need columns of one length, seen {n} units, {rows.values.shape} values")
    if not np.isfinite(rows.values).all():
        raise InvalidInput("a value of the panel is missing or not finite; drop such rows before the regression")


def _is_sorted(keys: Keys) -> bool:
    return bool((keys[1:] >= keys[:-1]).all())


def _starts(keys: Keys) -> Ints:
    """Where runs of equal keys begin."""
    return np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])


def _codes(period: Ints) -> tuple[Ints, Ints]:
    """The sorted distinct periods, and each row's place in them; by a table where np.unique would sort every row."""
    if not len(period) or period.max() - period.min() > _WIDEST_CODE:
        return np.unique(period, return_inverse=True)
    low = period.min()
    seen = np.zeros(period.max() - low + 1, dtype=bool)
    seen[period - low] = True
    return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[period - low]


def _remove_unit_means(block: _Block) -> None:
    if not len(block.starts):
        return
    for column in block.values:
        column -= np.repeat(np.add.reduceat(column, block.starts) / block.counts, block.counts)


def _overlap(block: _Block) -> Floats:
    """W'MW: products of the period dummies W after removing unit means (M). Units seen in all periods share one term."""
    size = len(block.periods)
    present = np.zeros((len(block.units), size))
    present[np.repeat(np.arange(len(block.units)), block.counts), block.week] = 1.0
    if present.sum() != len(block.week):
        raise InvalidInput("a unit has two rows in one period; a panel has one row for each unit and period")
    complete = block.counts == size
    scaled = present[~complete] / np.sqrt(block.counts[~complete])[:, None]
    shared = complete.sum() / size if size else 0.0
    overlap: Floats = np.diag(present.sum(axis=0)) - scaled.T @ scaled - shared
    return overlap


# ------------------------------------------------------------------------------------------------ merging

Mergeable = TypeVar("Mergeable", Stats, Meat)


def merge(a: Mergeable, b: Mergeable) -> Mergeable:
    """The sums of both; associative and commutative to rounding.

    Raises:
        InvalidInput: a unit has rows in both, so that neither knows its mean.
    """
    if isinstance(a, Stats) and isinstance(b, Stats):
        return _merge_stats(a, b)
    assert isinstance(a, Meat) and isinstance(b, Meat)
    return _merge_meat(a, b)


def _merge_stats(a: Stats, b: Stats) -> Stats:
    units = np.union1d(a.units, b.units)
    if len(units) != len(a.units) + len(b.units):
        raise InvalidInput("rows of one unit lie in two parts; split the panel by unit, as `out_of_core.prepare` does")
    periods = np.union1d(a.periods, b.periods)
    cross = np.zeros((len(a.gram), len(periods)))
    overlap = np.zeros((len(periods), len(periods)))
    per_period = np.zeros(len(periods), dtype=np.int64)
    for one in (a, b):
        at = np.searchsorted(periods, one.periods)
        cross[:, at] += one.cross
        overlap[np.ix_(at, at)] += one.overlap
        per_period[at] += one.per_period
    largest = np.maximum(a.largest, b.largest)
    dropped = a.dropped + b.dropped
    return Stats(units, periods, a.gram + b.gram, cross, overlap, per_period, largest, a.without, dropped)


def _merge_meat(a: Meat, b: Meat) -> Meat:
    clusters, at = np.unique(np.concatenate([a.clusters, b.clusters]), return_inverse=True)
    scores = np.zeros((len(clusters), a.scores.shape[1]))
    np.add.at(scores, at, np.concatenate([a.scores, b.scores]))
    return Meat(clusters, scores, a.nested and b.nested)


# ------------------------------------------------------------------------------------------------ solving


def solve(stats: Stats, names: Sequence[str]) -> Solution:
    """Period effects and coefficients.

    Raises:
        Refused: COLLINEAR, TOO_FEW_ROWS.
    """
    rows = int(stats.per_period.sum())
    if len(names) != len(stats.gram) - 1:
        raise InvalidInput(f"{len(names)} names for {len(stats.gram) - 1} regressors")
    if not rows:
        raise Refused("TOO_FEW_ROWS", "no unit has two or more periods, so nothing can be compared within a unit")
    if rows <= (needed := len(stats.units) + len(stats.periods) - 1 + len(names)):
        raise Refused("TOO_FEW_ROWS", f"{rows} rows cannot determine {needed} effects of units, periods and regressors")
    effects = _period_effects(stats)
    # Digits go by the square of how much larger period effects are than what is left: nine hold up to some 300 times.
    left = stats.gram - stats.cross @ effects.T
    _refuse_collinear(left, stats, rows, names)
    factor = cho_factor(left[1:, 1:])
    return Solution(
        names=tuple(names),
        coefficients=cho_solve(factor, left[1:, 0]),
        bread=cho_solve(factor, np.eye(len(names))),
        within=left,
        periods=stats.periods,
        effects=effects,
        rows=rows,
        units=len(stats.units),
        dropped=stats.dropped,
        without=stats.without,
    )


def _period_effects(stats: Stats) -> Floats:
    """(k, T) regressions of every column on the period dummies, with one period left out as reference.

    Never by pinv: the null eigenvalue of the full matrix drifts above its cut-off and moves the coefficient in the fourth
    digit at 10,000 units. A panel that falls into parts without a common unit needs a reference in each.
    """
    _, group = connected_components(csr_array(np.abs(stats.overlap) > _ROUNDING), directed=False)
    free = np.setdiff1d(np.arange(len(stats.periods)), np.unique(group, return_index=True)[1])
    effects = np.zeros_like(stats.cross)
    if len(free):
        effects[:, free] = cho_solve(cho_factor(stats.overlap[np.ix_(free, free)]), stats.cross[:, free].T).T
    return effects


def _refuse_collinear(left: Floats, stats: Stats, rows: int, names: Sequence[str]) -> None:
    variation, within = np.diag(left)[1:], np.diag(stats.gram)[1:]
    noise = rows * (_ROUNDING * stats.largest[1:]) ** 2
    constant = (variation <= _COLLINEAR * within) | (variation <= noise)
    if constant.any():
        gone = ", ".join(name for name, is_gone in zip(names, constant, strict=True) if is_gone)
        raise Refused("COLLINEAR", f"nothing of {gone} is left once unit and period effects are removed")
    scale = np.sqrt(variation)
    correlation = left[1:, 1:] / np.outer(scale, scale)
    for last in range(1, len(names)):
        weights = np.linalg.solve(correlation[:last, :last], correlation[:last, last])
        if 1 - correlation[last, :last] @ weights < _COLLINEAR:
            others = ", ".join(n for n, w in zip(names, weights, strict=False) if abs(w) > 1e-6)
            raise Refused("COLLINEAR", f"{names[last]} is a combination of {others} within units and periods")


# ------------------------------------------------------------------------------------------------ pass 2


def part_meat(rows: Rows, solution: Solution) -> Meat:
    """Cluster scores of one part: sums of regressor times residual, both after unit and period effects."""
    block = _block(rows, solution.without)
    at = np.searchsorted(solution.periods, block.periods)
    for column, effects in zip(block.values, solution.effects[:, at], strict=True):
        column -= effects[block.week]
    _remove_unit_means(block)
    residual = block.values[0] - solution.coefficients @ block.values[1:]
    return _by_cluster(block, block.values[1:] * residual)


def _by_cluster(block: _Block, scores: Floats) -> Meat:
    """Sums by cluster; first over runs of one unit in one cluster, of which there are few."""
    if not len(block.starts):
        return Meat(block.cluster[:0], np.zeros((0, len(scores))), True)
    moves = np.flatnonzero(block.cluster[1:] != block.cluster[:-1]) + 1
    starts = np.union1d(block.starts, moves)
    clusters, at = np.unique(block.cluster[starts], return_inverse=True)
    sums = np.zeros((len(clusters), len(scores)))
    np.add.at(sums, at, np.add.reduceat(scores, starts, axis=1).T)
    return Meat(clusters, sums, len(starts) == len(block.starts))


def finish(solution: Solution, meat: Meat) -> Fit:
    """The regression with its clustered covariance.

    CRV1 with the small-sample factor of pyfixest and fixest: G / (G - 1) * (N - 1) / (N - k), where k leaves out the unit
    effects if every unit stays in one cluster (https://lrberge.github.io/fixest/articles/standard_errors.html).

    Raises:
        Refused: TOO_FEW_CLUSTERS (one), TOO_FEW_ROWS (as many parameters as rows).
    """
    clusters, p, periods = len(meat.clusters), len(solution.names), len(solution.periods)
    parameters = p + periods + (0 if meat.nested else solution.units - 1)
    if clusters < 2:
        raise Refused("TOO_FEW_CLUSTERS", f"a clustered standard error needs two clusters or more, seen {clusters}")
    if solution.rows <= parameters:
        raise Refused("TOO_FEW_ROWS", f"{solution.rows} rows cannot determine {parameters} parameters")
    factor = clusters / (clusters - 1) * (solution.rows - 1) / (solution.rows - parameters)
    return Fit(
        names=solution.names,
        coefficients=solution.coefficients,
        covariance=factor * solution.bread @ (meat.scores.T @ meat.scores) @ solution.bread,
        within_sd=np.sqrt(np.diag(solution.within) / solution.rows),
        rows=solution.rows,
        units=solution.units,
        periods=periods,
        clusters=clusters,
        df=clusters - 1,
        dropped=solution.dropped,
    )


def se(result: Fit) -> Floats:
    """(p) clustered standard errors."""
    return np.sqrt(np.diag(result.covariance))
