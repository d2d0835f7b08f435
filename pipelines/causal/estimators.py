"""The specifications of one effect: cross-fitted partialling-out (the main one), linear two-way fixed effects, dynamic.

All are effects of the same estimand E1: the change in the outcome, in its own unit, for one unit more of the treatment
averaged over the treated weeks, with person, calendar week and covariates held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.causal import outliers, two_way
from pipelines.causal.design import Design
from pipelines.causal.partialling import filled, residualised
from pipelines.causal.within import Demeaning, Fit, Groups, regress
from pipelines.evidence import Estimate, Floats

MAIN, LINEAR, DYNAMIC, NEIGHBOURS = "fe_dml", "twfe", "fe_dml_dynamic", "fe_dml_with_neighbours"
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """Standard deviations within persons, which "+1 SD" speaks of, and what is left of the treatment's variation.

    y: of the outcome without what `outliers.odd` finds: one mistyped answer would make any effect look like nothing.
    share: of the treatment's variance that is within persons and weeks. low, high: 5th and 95th percentile of its change
    within persons and weeks, in its unit.
    """

    y: float
    d: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Main:
    """The main specification. y, d: (n,) residuals in the unit of the outcome and the treatment.

    explained: share of the treatment's variation within persons and weeks that the covariates predict in held-out people.
    by_metric: partial R2 of each covariate with the outcome, the treatment held too, and with the treatment.
    better: by how much held-out predictions beat a linear fit to the same rows, the smaller of outcome and treatment;
    above 0 the world is not linear.
    """

    estimate: Estimate
    y: Floats
    d: Floats
    explained: float
    by_metric: dict[str, tuple[float, float]]
    better: float


def groups_of(design: Design) -> Groups:
    return Groups(design.unit, design.week, design.cluster)


def scale_of(design: Design) -> Scale:
    """Raises nothing: a treatment that never changes has d == 0 and share == 0."""
    means = Demeaning(design.unit, design.week)
    both = np.column_stack([design.y, design.d])
    inside = both - means.unit_means(both)
    freedom = max(design.rows - design.people, 1)
    sd = np.array([_sd_on_one_scale(design), np.sqrt((inside[:, 1] ** 2).sum() / freedom)])
    change = means.demean(design.d)
    total = float(np.var(design.d))
    rounding = 1e-9 * float(np.abs(both[:, 1]).max(initial=0.0))
    if sd[1] <= rounding or total == 0.0:
        return Scale(float(sd[0]), 0.0, 0.0, 0.0, 0.0)
    low, high = np.quantile(change, [0.05, 0.95])
    return Scale(float(sd[0]), float(sd[1]), float(np.var(change)) / total, float(low), float(high))


def _sd_on_one_scale(design: Design) -> float:
    kept = np.flatnonzero(~outliers.odd(design))
    y, unit = design.y[kept], np.unique(design.unit[kept], return_inverse=True)[1]
    count = np.bincount(unit)
    inside = y - (np.bincount(unit, y) / np.maximum(count, 1))[unit]
    return float(np.sqrt((inside**2).sum() / max(len(y) - len(count), 1)))


def fe_dml(
    design: Design, scale: Scale, fit: Fit = two_way.fit_rows, *, trees: bool = True, names: bool = True
) -> Main:
    """The main specification.

    Raises:
        Refused: nothing of the treatment is left.
    """
    groups, unit = groups_of(design), np.array([scale.y or 1.0, scale.d])
    columns = np.column_stack([design.y, design.d]) / unit
    found = residualised(columns, design.held, groups, _FOLDS, trees, design.held_names if names else ())
    y, d = (found.residuals * unit).T
    before = np.var(Demeaning(design.unit, design.week).demean(columns), axis=0)
    left = np.var(found.residuals, axis=0)
    linear = np.var(_linear_residuals(design, columns), axis=0)
    estimate = regress(y, d[:, None], groups, MAIN, fit)
    metrics = tuple(dict.fromkeys(design.held_names)) if names else ()
    slope = estimate.effect * unit[1] / unit[0]
    return Main(
        estimate,
        y,
        d,
        float(1 - left[1] / before[1]),
        {name: _partial_r2(found.residuals, still, slope) for name, still in zip(metrics, found.still, strict=True)},
        float((1 - left / np.maximum(linear, 1e-300)).min()),
    )


def _partial_r2(residuals: Floats, still: Floats, slope: float) -> tuple[float, float]:
    """Of a metric with the outcome given the treatment, and with the treatment; both given the other covariates."""
    given = np.array([[1.0, 0.0], [-slope, 1.0]])
    with_it, without = ((columns @ given).var(0) for columns in (residuals, still))
    shares = np.clip(1 - with_it / np.maximum(without, 1e-300), 0.0, 1.0)
    return float(shares[0]), float(shares[1])


def _linear_residuals(design: Design, columns: Floats) -> Floats:
    both = Demeaning(design.unit, design.week).demean(
        np.column_stack([columns, filled(design.held, groups_of(design))])
    )
    x = both[:, 2:]
    return both[:, :2] - x @ np.linalg.lstsq(x, both[:, :2], rcond=1e-10)[0] if x.shape[1] else both[:, :2]


def twfe(design: Design, fit: Fit = two_way.fit_rows) -> Estimate:
    """Linear two-way fixed effects with the covariates as they are: right only in a linear world.

    Raises:
        Refused: nothing of the treatment is left.
    """
    held = filled(design.held, groups_of(design))
    x = np.column_stack([design.d, held])
    kept = _independent(x, Demeaning(design.unit, design.week).demean(x))
    return regress(design.y, x[:, kept], groups_of(design), LINEAR, fit)


def _independent(raw: Floats, columns: Floats) -> list[int]:
    """The first column, and those after it that are no combination of kept ones: then a regression has one answer."""
    size = (columns**2).sum(0)
    there = size > 1e-12 * ((raw - raw.mean(0)) ** 2).sum(0)
    scaled = columns / np.sqrt(np.where(size > 0, size, 1.0))
    products = scaled.T @ scaled
    kept = [0]
    for j in (j for j in range(1, len(size)) if there[j]):
        shared = np.linalg.lstsq(products[np.ix_(kept, kept)], products[kept, j], rcond=1e-12)[0]
        if 1 - products[kept, j] @ shared > 1e-8:
            kept.append(j)
    return kept


def dynamic(design: Design, scale: Scale, fit: Fit = two_way.fit_rows) -> Estimate | None:
    """The main specification with outcome and treatment of before the treated weeks held too; None without enough of them.

    Repairs feedback of the outcome on the treatment. Its own bias is of the order 1 / periods (Nickell 1981).

    Raises:
        Refused: nothing of the treatment is left.
    """
    if design.extra.before is None:
        return None
    known = np.flatnonzero(~np.isnan(design.extra.before).any(1))
    if known.size < design.rows / 2:
        return None
    part = design.take(known)
    assert part.extra.before is not None
    part = replace(part, held=np.column_stack([part.held, part.extra.before]), held_names=(*part.held_names, "y", "d"))
    found = fe_dml(part, scale, fit, trees=False, names=False)
    return replace(found.estimate, method=DYNAMIC)


def naive(design: Design) -> Estimate:
    """Correlation as an effect: the slope over all rows, nothing held. For comparison only; never part of a finding."""
    d, y = design.d - design.d.mean(), design.y - design.y.mean()
    slope = float(d @ y / (d @ d))
    scores = np.bincount(design.cluster, d * (y - slope * d), design.clusters)
    error = float(np.sqrt((scores**2).sum()) / (d @ d))
    return two_way.wald(slope, error, max(design.clusters - 1, 1), "correlation")


def widened(main: Estimate, specs: tuple[Estimate, ...]) -> Estimate:
    """The main estimate with an interval that also spans what the other specifications say.

    At large n the main interval alone is too narrow for the bias of any learner.
    """
    effects = [spec.effect for spec in specs]
    return replace(main, ci_low=min([main.ci_low, *effects]), ci_high=max([main.ci_high, *effects]))
