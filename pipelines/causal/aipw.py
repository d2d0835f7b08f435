"""Effect of a binary exposure on the exposed: cross-fitted augmented inverse-propensity weighting on common ground.

The effect on everybody is not offered: it rests on people whom nobody comparable was exposed beside. Chernozhukov et al.
2018 (Econometrics J. 21:C1) for cross-fitting and the median over splits, Crump et al. 2009 (Biometrika 96:187) for trimming.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.causal.doubly_robust import Flags
from pipelines.causal.two_way import wald
from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import Check, CheckResult, Estimate, Floats, Ints

_LOW, _HIGH = 0.05, 0.95
_MOST_LOST = 0.5
_SEED = 20180101


@dataclass(frozen=True, slots=True)
class Learners:
    """Makers of new scikit-learn estimators of the exposure and of the outcome without exposure, by name.

    Where there are several, the one with the smallest loss on rows that it did not learn from is used: trees win on
    thousands of rows, a line on hundreds.
    """

    propensity: Mapping[str, Callable[[], Any]]
    outcome: Mapping[str, Callable[[], Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """One row a person or person-period: exposed or not, outcome after it, covariates (n, p) before it.

    cluster: (n) keys at the level where exposure is decided; a cluster is never in two folds.
    """

    treated: Flags
    outcome: Floats
    covariates: Floats
    cluster: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Att:
    """The effect on the exposed, for those with common ground.

    treated, controls: rows kept. treated_lost, share_trimmed: shares of the exposed and of all rows without common ground.
    ess: effective number of controls behind the weights. imbalance: largest standardised difference in a covariate after
    weighting. learners: "propensity/outcome" as chosen in the splits.
    """

    estimate: Estimate
    treated: int
    controls: int
    treated_lost: float
    share_trimmed: float
    ess: float
    imbalance: float
    clusters: int
    learners: tuple[str, ...]
    overlap: Check


def usual() -> Learners:
    """A regularised linear model, and boosted trees."""
    trees = {
        "max_iter": 80,
        "max_leaf_nodes": 15,
        "learning_rate": 0.1,
        "min_samples_leaf": 40,
        "early_stopping": False,
    }
    return Learners(
        propensity={
            "linear": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
            "trees": lambda: HistGradientBoostingClassifier(**trees),
        },
        outcome={
            "linear": lambda: make_pipeline(StandardScaler(), Ridge()),
            "trees": lambda: HistGradientBoostingRegressor(**trees),
        },
    )


def att(exposure: Exposure, learners: Learners | None = None, folds: int = 5, repeats: int = 5) -> Att:
    """Estimate the effect on the exposed.

    Propensities are learned twice: on all rows to find the common ground, then again on it. The median over `repeats`
    splits is taken, and the spread of the splits is part of the error.

    Raises:
        InvalidInput: shapes differ, a value is missing.
        Refused: TOO_FEW_CLUSTERS; POOR_OVERLAP if more than half of the exposed have nobody to compare with.
    """
    _check(exposure, folds)
    learners = learners or usual()
    common = common_ground(exposure, learners, folds, repeats)
    lost = float(1 - common[exposure.treated].mean())
    if lost > _MOST_LOST:
        raise Refused("POOR_OVERLAP", f"{lost:.0%} of the exposed resemble nobody who was not exposed")
    kept = _take(exposure, common)
    _check(kept, folds)
    fits = [_fit(kept, learners, folds_of(kept, folds, n)) for n in range(repeats)]
    return _result(kept, fits, lost, float(1 - common.mean()))


def common_ground(exposure: Exposure, learners: Learners | None = None, folds: int = 5, repeats: int = 5) -> Flags:
    """(n) whether a row has a chance of exposure of 5-95 %, so that people of both kinds are found around it."""
    learners = learners or usual()
    scores = [_propensity(exposure, learners, folds_of(exposure, folds, n))[1] for n in range(repeats)]
    chance = np.mean(scores, axis=0)
    common: Flags = (chance > _LOW) & (chance < _HIGH)
    return common


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    effect: float
    variance: float
    weights: Floats
    learners: tuple[str, str]


def _fit(exposure: Exposure, learners: Learners, fold: Ints) -> _Split:
    """One cross-fitted estimate: residual of the outcome model, exposed less weighted controls."""
    propensity, chance = _propensity(exposure, learners, fold)
    outcome, expected = _without_exposure(exposure, learners, fold)
    chance, rest = np.clip(chance, _LOW, _HIGH), exposure.outcome - expected
    exposed = exposure.treated / exposure.treated.sum()
    odds = np.where(exposure.treated, 0.0, chance / (1 - chance))
    weights = odds / odds.sum()
    of_exposed, of_controls = float(exposed @ rest), float(weights @ rest)
    influence = exposed * (rest - of_exposed) - weights * (rest - of_controls)
    sums = np.bincount(_codes(exposure.cluster), influence)
    variance = float(sums @ sums) * len(sums) / (len(sums) - 1)
    return _Split(of_exposed - of_controls, variance, weights, (propensity, outcome))


def _propensity(exposure: Exposure, learners: Learners, fold: Ints) -> tuple[str, Floats]:
    """The best learner's name, and the chance of exposure of every row as learned from other folds."""
    everybody = np.ones(len(fold), dtype=bool)
    found = {
        name: _out_of_fold(make, exposure.covariates, exposure.treated, everybody, fold)
        for name, make in learners.propensity.items()
    }
    sure = {name: np.clip(chance, 1e-6, 1 - 1e-6) for name, chance in found.items()}
    best = min(sure, key=lambda n: float(-np.log(np.where(exposure.treated, sure[n], 1 - sure[n])).sum()))
    return best, found[best]


def _without_exposure(exposure: Exposure, learners: Learners, fold: Ints) -> tuple[str, Floats]:
    """The best learner's name, and every row's expected outcome if not exposed, learned from controls of other folds."""
    controls = ~exposure.treated
    found = {
        name: _out_of_fold(make, exposure.covariates, exposure.outcome, controls, fold)
        for name, make in learners.outcome.items()
    }
    best = min(found, key=lambda n: float(((exposure.outcome - found[n])[controls] ** 2).sum()))
    return best, found[best]


def _out_of_fold(make: Callable[[], Any], x: Floats, y: NDArray[Any], learned_from: Flags, fold: Ints) -> Floats:
    predicted = np.empty(len(fold))
    for at in range(int(fold.max()) + 1):
        here = fold == at
        model = make().fit(x[~here & learned_from], y[~here & learned_from])
        predicted[here] = model.predict_proba(x[here])[:, 1] if y.dtype == bool else model.predict(x[here])
    return predicted


def folds_of(exposure: Exposure, folds: int, repeat: int) -> Ints:
    """Whole clusters dealt to folds in turn, those with exposed rows first, so that every fold has both kinds."""
    codes = _codes(exposure.cluster)
    exposed = np.bincount(codes, exposure.treated) > 0
    shuffled = np.random.default_rng([_SEED, repeat]).permutation(len(exposed))
    dealt = shuffled[np.argsort(~exposed[shuffled], kind="stable")]
    fold = np.empty(len(exposed), dtype=np.int64)
    fold[dealt] = np.arange(len(exposed)) % folds
    return fold[codes]


def _result(kept: Exposure, fits: list[_Split], lost: float, trimmed: float) -> Att:
    effect = float(np.median([split.effect for split in fits]))
    error = float(np.sqrt(np.median([split.variance + (split.effect - effect) ** 2 for split in fits])))
    weights = np.mean([split.weights for split in fits], axis=0)
    decided = min(len(np.unique(kept.cluster[side])) for side in (kept.treated, ~kept.treated))
    ess = float(1 / (weights @ weights))
    words = (
        f"{lost:.0%} of the exposed had nobody comparable and were left out; the rest are compared with the weight of"
    )
    return Att(
        estimate=wald(effect, error, decided - 1, "AIPW-ATT, cross-fitted"),
        treated=int(kept.treated.sum()),
        controls=int((~kept.treated).sum()),
        treated_lost=lost,
        share_trimmed=trimmed,
        ess=ess,
        imbalance=_imbalance(kept, weights),
        clusters=len(np.unique(kept.cluster)),
        learners=tuple(sorted({"/".join(split.learners) for split in fits})),
        overlap=Check("overlap", CheckResult.PASSED, f"{words} {ess:.0f} others.", True, statistic=lost),
    )


def _imbalance(kept: Exposure, weights: Floats) -> float:
    exposed = kept.covariates[kept.treated]
    spread = exposed.std(axis=0)
    gap = np.abs(exposed.mean(axis=0) - weights @ kept.covariates)
    return float((gap[spread > 0] / spread[spread > 0]).max(initial=0.0))


def _take(exposure: Exposure, rows: Flags) -> Exposure:
    return Exposure(exposure.treated[rows], exposure.outcome[rows], exposure.covariates[rows], exposure.cluster[rows])


def _codes(keys: NDArray[Any]) -> Ints:
    codes: Ints = np.unique(keys, return_inverse=True)[1]
    return codes


def _check(exposure: Exposure, folds: int) -> None:
    n = len(exposure.treated)
    if {len(exposure.outcome), len(exposure.covariates), len(exposure.cluster)} != {
        n
    } or exposure.treated.dtype != bool:
        raise InvalidInput("exposure, outcome, covariates and cluster must be of one length, exposure of truth values")
    if not (np.isfinite(exposure.outcome).all() and np.isfinite(exposure.covariates).all()):
        raise InvalidInput("an outcome or covariate is missing; leave such rows out before, and say so")
    for who, side in (("exposed", exposure.treated), ("not exposed", ~exposure.treated)):
        if (found := len(np.unique(exposure.cluster[side]))) < 2 * folds:
            raise Refused("TOO_FEW_CLUSTERS", f"{found} clusters are {who}, {2 * folds} are needed for {folds} folds")
