"""Difference-in-differences for changes with a date: what a practice did to the teams that took it up, at team level only.

One date: the classic 2x2. Several: group-time effects ATT(g,t) and their averages as Callaway and Sant'Anna (2021, J.
Econometrics 225:200), doubly robust as Sant'Anna and Zhao (2020, J. Econometrics 219:101). Two-way fixed effects are not
used here: with staggered dates they subtract effects from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from pipelines.causal.doubly_robust import Flags, att
from pipelines.causal.two_way import wald
from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import K_FLOOR, Check, CheckResult, Estimate, Floats, Ints

#: `first` of a unit in which nothing was changed: later than any period.
NEVER = int(np.iinfo(np.int64).max)
_LEAST_UNITS = 2
_BAND_DRAWS = 20_000
_PRE_PERIODS = 8


class Controls(StrEnum):
    """Whom the treated are compared with: units never treated, or also those that are not treated yet."""

    NEVER = "never_treated"
    NOT_YET = "not_yet_treated"


@dataclass(frozen=True, slots=True, eq=False)
class DatedChange:
    """Teams, when each one changed, and an outcome of every team in every period.

    units: (n) names. people: (n) members, what k is counted in. first: (n) first period with the change, or `NEVER`.
    periods: (T) ascending integers. outcome: (n, T), complete. covariates: (n, p) measured before any change, or None.
    clusters: (n) keys of what was decided together; None: every team for itself.
    """

    units: tuple[str, ...]
    people: Ints
    first: Ints
    periods: Ints
    outcome: Floats
    covariates: Floats | None = None
    clusters: NDArray[np.generic] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class GroupTime:
    """Cells ATT(g,t): group, period, effect (m), and the influence of each unit on each effect (n, m).

    member: (n, m) whether a unit belongs to the cell's group. cluster: (n) codes from 0. df: degrees of freedom of an average
    over all groups; df_group: of one group, the smallest.
    """

    group: Ints
    period: Ints
    effect: Floats
    influence: Floats
    member: Flags
    cluster: Ints
    df: int
    df_group: int


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """An average of group-time effects: over all, and at each of `at` (periods since the change, or groups).

    low, high: a band that covers all of `at` together with 95 % (sup-t); `overall` has its own 95 % interval.
    """

    kind: str
    overall: Estimate
    at: Ints
    effects: Floats
    errors: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Staggered:
    """Everything about one dated change. dynamic: the event study, with the periods before the change as placebo."""

    simple: Average
    dynamic: Average
    group: Average
    pre_trend: Check
    treated_units: int
    control_units: int


# ------------------------------------------------------------------------------------------------ what callers use


def two_by_two(change: DatedChange, small_sample: bool = True) -> Estimate:
    """Mean change from before to after in the treated teams, less that in the never treated ones.

    Raises:
        InvalidInput: the panel is not complete, or the treated changed at different dates (then `staggered`).
        Refused: GROUP_TOO_SMALL, TOO_FEW_UNITS, NO_BEFORE, POOR_OVERLAP.
    """
    _check(change)
    dates = np.unique(change.first[change.first <= change.periods[-1]])
    if len(dates) != 1:
        raise InvalidInput(f"a 2x2 comparison needs one date of change, seen {len(dates)}")
    after = change.periods >= dates[0]
    if after.all():
        raise Refused("NO_BEFORE", "there is no period before the change, so there is nothing to compare with")
    moved = change.outcome[:, after].mean(axis=1) - change.outcome[:, ~after].mean(axis=1)
    treated = change.first == dates[0]
    _refuse_small(change, _Cell(int(dates[0]), int(dates[0]), 0, 0, treated, ~treated))
    effect, influence = att(moved, treated, _design(change), small_sample)
    cluster = _cluster_codes(change)
    error = float(errors(influence[:, None], cluster)[0])
    return wald(effect, error, _df(cluster, treated, ~treated), "difference-in-differences (2x2)")


def staggered(change: DatedChange, controls: Controls = Controls.NOT_YET, small_sample: bool = True) -> Staggered:
    """Group-time effects and their averages.

    Raises:
        InvalidInput, Refused: as `two_by_two`; NO_CONTROLS where no cell has anybody to compare with.
    """
    cells = group_time(change, controls, small_sample)
    treated = change.first <= change.periods[-1]
    return Staggered(
        simple=simple(cells),
        dynamic=dynamic(cells),
        group=by_group(cells),
        pre_trend=pre_trend(cells),
        treated_units=int(treated.sum()),
        control_units=int((~treated).sum()),
    )


def group_time(change: DatedChange, controls: Controls = Controls.NOT_YET, small_sample: bool = True) -> GroupTime:
    """ATT(g,t) of every group and period: after the change against the period before it; before it, against the last one.

    small_sample: errors unbiased in small groups; without it they are the published formula.
    """
    _check(change)
    design, cells = _design(change), _cells(change, controls)
    results = [_cell(change, cell, design, small_sample) for cell in cells]
    treated = (change.first <= change.periods[-1]) & (change.first > change.periods[0])
    cluster, compared = _cluster_codes(change), np.any([cell.controls for cell in cells], axis=0)
    return GroupTime(
        group=np.array([cell.group for cell in cells]),
        period=np.array([cell.period for cell in cells]),
        effect=np.array([effect for effect, _ in results]),
        influence=np.stack([influence for _, influence in results], axis=1),
        member=np.stack([cell.treated for cell in cells], axis=1),
        cluster=cluster,
        df=_df(cluster, treated, compared),
        df_group=min(_df(cluster, cell.treated, cell.controls) for cell in cells),
    )


# ------------------------------------------------------------------------------------------------ cells


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    group: int
    period: int
    now: int
    before: int
    treated: Flags
    controls: Flags


def _cells(change: DatedChange, controls: Controls) -> list[_Cell]:
    periods, cells = change.periods, []
    for group in np.unique(change.first[(change.first <= periods[-1]) & (change.first > periods[0])]).tolist():
        last_before = int(np.searchsorted(periods, group)) - 1
        for now in range(1, len(periods)):
            before = min(now - 1, last_before)
            cells.append(_Cell(group, int(periods[now]), now, before, change.first == group, change.first == NEVER))
    if controls is Controls.NOT_YET:
        cells = [_with_not_yet(cell, change) for cell in cells]
    cells = [cell for cell in cells if cell.controls.any()]
    if not any(cell.period >= cell.group for cell in cells):
        raise Refused("NO_CONTROLS", "no team changed after the first period while others had not changed yet")
    for cell in cells:
        _refuse_small(change, cell)
    return cells


def _with_not_yet(cell: _Cell, change: DatedChange) -> _Cell:
    untreated = (change.first > cell.period) & (change.first != cell.group)
    return _Cell(cell.group, cell.period, cell.now, cell.before, cell.treated, untreated)


def _refuse_small(change: DatedChange, cell: _Cell) -> None:
    for who, members in (("changed in", cell.treated), ("are compared with those that changed in", cell.controls)):
        if change.people[members].sum() < K_FLOOR:
            raise Refused(
                "GROUP_TOO_SMALL", f"the teams that {who} period {cell.group} have fewer than {K_FLOOR} people"
            )
        if members.sum() < _LEAST_UNITS:
            raise Refused("TOO_FEW_UNITS", f"only one team is among those that {who} period {cell.group}")


def _cell(change: DatedChange, cell: _Cell, design: Floats, small_sample: bool) -> tuple[float, Floats]:
    used = cell.treated | cell.controls
    moved = change.outcome[used, cell.now] - change.outcome[used, cell.before]
    effect, influence = att(moved, cell.treated[used], design[used], small_sample)
    everyone = np.zeros(len(used))
    everyone[used] = influence * (len(used) / used.sum())
    return effect, everyone


# ------------------------------------------------------------------------------------------------ averages


def simple(cells: GroupTime) -> Average:
    """Mean over all cells after a change, weighted by units in the group."""
    chosen = cells.period >= cells.group
    effect, influence = _weighted(cells, chosen)
    return _average("simple", cells, np.array([0]), [(effect, influence)], np.array([True]))


def dynamic(cells: GroupTime) -> Average:
    """The event study: effect by periods since the change; overall: mean over those after it."""
    since = cells.period - cells.group
    at = np.unique(since)
    return _average("dynamic", cells, at, [_weighted(cells, since == e) for e in at], at >= 0)


def by_group(cells: GroupTime) -> Average:
    """Effect by date of change, over its periods; overall: weighted by units."""
    after = cells.period >= cells.group
    at = np.unique(cells.group[after])
    parts = [_weighted(cells, after & (cells.group == g)) for g in at]
    first = [int(np.flatnonzero(after & (cells.group == g))[0]) for g in at]
    collapsed = GroupTime(
        group=at,
        period=at,
        effect=np.array([effect for effect, _ in parts]),
        influence=np.stack([influence for _, influence in parts], axis=1),
        member=cells.member[:, first],
        cluster=cells.cluster,
        df=cells.df,
        df_group=cells.df_group,
    )
    return _average("group", cells, at, parts, np.ones(len(at), dtype=bool), _weighted(collapsed, at == at))


def _weighted(cells: GroupTime, chosen: Flags) -> tuple[float, Floats]:
    """Mean of cells by group size, and its influence; the group sizes are estimates as well."""
    member, effect = cells.member[:, chosen], cells.effect[chosen]
    share = member.mean(axis=0)
    weights = share / share.sum()
    off = (member - share) / share.sum()
    by_size = off @ effect - off.sum(axis=1) * (weights @ effect)
    return float(weights @ effect), cells.influence[:, chosen] @ weights + by_size


def _average(
    kind: str,
    cells: GroupTime,
    at: Ints,
    parts: Sequence[tuple[float, Floats]],
    counted: Flags,
    overall: tuple[float, Floats] | None = None,
) -> Average:
    effects, influence = np.array([e for e, _ in parts]), np.stack([i for _, i in parts], axis=1)
    effect, of_mean = overall or (float(effects[counted].mean()), influence[:, counted].mean(axis=1))
    spread = errors(influence, cells.cluster)
    error = float(errors(of_mean[:, None], cells.cluster)[0])
    half = _critical(influence, cells) * spread
    return Average(
        kind=kind,
        overall=wald(effect, error, cells.df, f"difference-in-differences ({kind} average)"),
        at=at,
        effects=effects,
        errors=spread,
        low=effects - half,
        high=effects + half,
    )


def _critical(influence: Floats, cells: GroupTime) -> float:
    """The sup-t value by a multivariate t with the effects' correlations (Montiel Olea and Plagborg-Moller 2019)."""
    covariance = _covariance(influence, cells.cluster)
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    rng = np.random.default_rng(20210114)
    draws = rng.standard_normal((_BAND_DRAWS, len(scale))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    spread = np.sqrt(rng.chisquare(cells.df_group, _BAND_DRAWS) / cells.df_group)
    return float(np.quantile(np.abs(draws).max(axis=1) / spread, 0.95))


def pre_trend(cells: GroupTime) -> Check:
    """Whether treated and comparison teams moved in parallel before the change: a joint test of the placebo effects.

    All cells before a change if the smaller side has five clusters for each, else the last periods before, over groups. Wald
    statistic; p from Hotelling's F with the clusters of the smaller side, since chi-square rejects far too often with few.
    """
    effects, influence = _placebo(cells)
    statistic, tests = _joint(effects, _covariance(influence, cells.cluster))
    spare = cells.df + 1 - tests
    if not tests or spare < 1:
        return Check(
            "pre_trend", CheckResult.NOT_RUN, "There are too few periods before the change to test trends.", True
        )
    p = float(fdtrc(tests, spare, statistic / tests * spare / cells.df))
    passed = p >= 0.05
    words = "moved in parallel" if passed else "already moved apart"
    limits = "A weak trend can pass, and parallel before is no proof of parallel after."
    result = CheckResult.PASSED if passed else CheckResult.FAILED
    return Check("pre_trend", result, f"Before the change both groups {words}. {limits}", True, statistic, p)


def _joint(effects: Floats, covariance: Floats) -> tuple[float, int]:
    """Wald statistic and its rank: two groups that serve each other as comparison say the same thing twice."""
    if not len(effects):
        return 0.0, 0
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    told = values > 1e-9
    along = (effects / scale) @ vectors[:, told]
    return float((along**2 / values[told]).sum()), int(told.sum())


def _placebo(cells: GroupTime) -> tuple[Floats, Floats]:
    before = cells.period < cells.group
    if before.sum() * 5 <= cells.df + 1:
        return cells.effect[before], cells.influence[:, before]
    since = cells.period - cells.group
    most = min(_PRE_PERIODS, max(1, (cells.df + 1) // 5))
    parts = [_weighted(cells, since == e) for e in np.unique(since[before])[-most:]]
    influence = np.stack([i for _, i in parts], axis=1) if parts else np.zeros((len(cells.cluster), 0))
    return np.array([e for e, _ in parts]), influence


# ------------------------------------------------------------------------------------------------ errors and checks


def _covariance(influence: Floats, cluster: Ints) -> Floats:
    sums = np.zeros((int(cluster.max()) + 1, influence.shape[1]))
    np.add.at(sums, cluster, influence)
    product: Floats = sums.T @ sums / len(influence) ** 2
    return product


def errors(influence: Floats, cluster: Ints) -> Floats:
    """Standard errors (m) from the influence (n, m) of units in clusters."""
    return np.sqrt(np.diag(_covariance(influence, cluster)))


def _df(cluster: Ints, treated: Flags, compared: Flags) -> int:
    """Degrees of freedom: of the smaller side, since its few clusters decide how well the error is known."""
    return max(1, min(len(np.unique(cluster[treated])), len(np.unique(cluster[compared]))) - 1)


def _cluster_codes(change: DatedChange) -> Ints:
    keys = np.arange(len(change.units)) if change.clusters is None else change.clusters
    codes: Ints = np.unique(keys, return_inverse=True)[1]
    return codes


def _design(change: DatedChange) -> Floats:
    constant = np.ones((len(change.units), 1))
    return constant if change.covariates is None else np.hstack([constant, change.covariates])


def _check(change: DatedChange) -> None:
    n, wide = len(change.units), len(change.periods)
    if change.outcome.shape != (n, wide) or {len(change.first), len(change.people)} != {n}:
        raise InvalidInput(f"{n} units and {wide} periods need an outcome of that shape, seen {change.outcome.shape}")
    if (np.diff(change.periods) <= 0).any():
        raise InvalidInput("periods must ascend")
    for values in (change.outcome, change.covariates):
        if values is not None and not np.isfinite(values).all():
            incomplete = int((~np.isfinite(values)).any(axis=1).sum())
            raise InvalidInput(f"{incomplete} units have missing values; leave them out before, and say so")
