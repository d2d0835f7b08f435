"""One comparison of treated and untreated units: the effect on the treated, and how each unit bears on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pipelines.errors import Refused
from pipelines.evidence import Floats

#: A control that looks this much like a treated unit would carry nearly all weight (as the authors' own software).
_LIKEST = 0.995

Flags = NDArray[np.bool_]


def att(moved: Floats, treated: Flags, design: Floats, small_sample: bool) -> tuple[float, Floats]:
    """Effect on the treated and the influence of each unit on it, whose mean square over n is the variance."""
    if design.shape[1] == 1:
        effect, influence = _means(moved, treated)
    else:
        effect, influence = doubly_robust(moved, treated, design)
    if small_sample:  # residuals of a mean of m values are short by (m - 1) / m, as in HC2
        used_up = np.where(treated, 1, design.shape[1])
        count = np.where(treated, treated.sum(), (~treated).sum())
        influence = influence * np.sqrt(count / np.maximum(count - used_up, 1))
    return effect, influence


def _means(moved: Floats, treated: Flags) -> tuple[float, Floats]:
    share = treated.mean()
    mean, mean_control = moved[treated].mean(), moved[~treated].mean()
    influence = np.where(treated, (moved - mean) / share, -(moved - mean_control) / (1 - share))
    return float(mean - mean_control), influence


def doubly_robust(moved: Floats, treated: Flags, design: Floats) -> tuple[float, Floats]:
    """ATT that is right if either the regression of the controls or the propensity is; Sant'Anna and Zhao, eq. 2.6.

    Args:
        moved: (n) changes of the outcome. design: (n, q) with a constant.

    Raises:
        Refused: POOR_OVERLAP, COLLINEAR.
    """
    propensity, propensity_influence = _logit(treated, design)
    weight = np.where(treated | (propensity >= _LIKEST), 0.0, propensity / (1 - propensity))
    if not weight.any():
        raise Refused("POOR_OVERLAP", "no comparison team resembles the teams that changed")
    rest, regression_influence = _regression_of_controls(moved, treated, design)
    t_share, c_share = treated.mean(), weight.mean()
    t_mean, c_mean = float(rest[treated].mean()), float(weight @ rest / weight.sum())
    t_part = treated * (rest - t_mean) - regression_influence @ (treated @ design / len(moved))
    by_propensity = propensity_influence @ ((weight * (rest - c_mean)) @ design / len(moved))
    c_part = weight * (rest - c_mean) + by_propensity - regression_influence @ (weight @ design / len(moved))
    return t_mean - c_mean, t_part / t_share - c_part / c_share


def _regression_of_controls(moved: Floats, treated: Flags, design: Floats) -> tuple[Floats, Floats]:
    """Residuals of everybody from the controls' regression, and each unit's influence on its coefficients."""
    control = ~treated
    gram = design[control].T @ design[control] / len(moved)
    if np.linalg.matrix_rank(gram) < len(gram):
        raise Refused("COLLINEAR", "the covariates of the comparison teams are combinations of each other")
    inverse = np.linalg.inv(gram)
    rest = moved - design @ (inverse @ (design[control].T @ moved[control] / len(moved)))
    return rest, (np.where(control, rest, 0.0)[:, None] * design) @ inverse


def _logit(treated: Flags, design: Floats) -> tuple[Floats, Floats]:
    """Maximum-likelihood propensities by Newton's method, and each unit's influence on the coefficients."""
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        chance = expit(design @ beta)
        hessian = design.T @ (design * (chance * (1 - chance))[:, None]) / len(treated)
        score = (treated - chance)[:, None] * design
        try:
            step = np.linalg.solve(hessian, score.mean(axis=0))
        except np.linalg.LinAlgError:
            break
        beta += step
        if np.abs(step).max() < 1e-10:
            return np.minimum(expit(design @ beta), 1 - 1e-6), score @ np.linalg.inv(hessian)
    raise Refused("POOR_OVERLAP", "the covariates tell the teams that changed from all others; nothing is comparable")
