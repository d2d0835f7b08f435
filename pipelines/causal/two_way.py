"""The two-way fixed-effects regression as one call, wherever its parts lie: in memory, out of core, on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from pipelines.causal.sufficient import Fit, Meat, Rows, Solution, Stats, finish, merge, part_meat, part_stats, solve
from pipelines.errors import InvalidInput
from pipelines.evidence import Estimate

Part = TypeVar("Part")


class Runner(Protocol):
    """Where the parts are worked on: `InProcess`, or `distributed.OnDask`."""

    def map(self, function: Callable[[Part], Any], parts: Sequence[Part]) -> Iterable[Any]:
        """One pending result a part."""

    def tree_reduce(self, merge: Callable[[Any, Any], Any], results: Iterable[Any]) -> Any:
        """All results merged, pairwise."""


def fit(parts: Sequence[Part], names: Sequence[str], load: Callable[[Part], Rows], runner: Runner | None = None) -> Fit:
    """Regress the outcome on the named regressors with unit and period effects.

    Args:
        load: reads one part; called twice for each, so that no more than one part of rows is in memory.

    Raises:
        InvalidInput: a unit lies in two parts or twice in a period, a value is not finite, shapes do not match.
        Refused: COLLINEAR (the sentence names the columns), TOO_FEW_ROWS, TOO_FEW_CLUSTERS.
    """
    if not parts or not names:
        raise InvalidInput("a regression needs at least one part of rows and one regressor")
    where: Runner = runner or InProcess()
    solution = solve(_all_stats(where, parts, load), names)
    meat: Meat = where.tree_reduce(merge, where.map(partial(_meat_of, load=load, solution=solution), parts))
    return finish(solution, meat)


def fit_rows(rows: Rows, names: Sequence[str]) -> Fit:
    """`fit` of rows that are in memory."""
    return fit([rows], names, load=_itself)


def estimate(result: Fit, name: str, method: str) -> Estimate:
    """One coefficient with its 95 % interval from Student's t with clusters - 1 degrees of freedom."""
    at = result.names.index(name)
    return wald(float(result.coefficients[at]), float(np.sqrt(result.covariance[at, at])), result.df, method)


def wald(effect: float, error: float, df: int, method: str) -> Estimate:
    """Estimate, 95 % interval and p from an effect and its standard error."""
    half = float(stdtrit(df, 0.975)) * error
    p = float(2 * stdtr(df, -abs(effect) / error)) if error > 0 else float(effect == 0)
    return Estimate(method, effect, error, effect - half, effect + half, p)


def _all_stats(runner: Runner, parts: Sequence[Part], load: Callable[[Part], Rows]) -> Stats:
    """Pass 1; again without the periods that have a single row, until none is left (as pyfixest's `fixef_rm`)."""
    without: frozenset[int] = frozenset()
    while True:
        pending = runner.map(partial(_stats_of, load=load, without=without), parts)
        stats: Stats = runner.tree_reduce(merge, pending)
        single = frozenset(stats.periods[stats.per_period == 1].tolist())
        if not single:
            return stats
        without |= single


def _stats_of(part: Part, load: Callable[[Part], Rows], without: frozenset[int]) -> Stats:
    return part_stats(load(part), without)


def _meat_of(part: Part, load: Callable[[Part], Rows], solution: Solution) -> Meat:
    return part_meat(load(part), solution)


def _itself(rows: Rows) -> Rows:
    return rows


class InProcess:
    """`Runner`: one part after the other; holds one result a level of the tree, not one a part."""

    def map(self, function: Callable[[Part], Any], parts: Sequence[Part]) -> Iterable[Any]:
        return (function(part) for part in parts)

    def tree_reduce(self, merge: Callable[[Any, Any], Any], results: Iterable[Any]) -> Any:
        levels: list[tuple[int, Any]] = []
        for result in results:
            levels.append((1, result))
            while len(levels) > 1 and levels[-1][0] == levels[-2][0]:
                (size, left), (_, right) = levels.pop(-2), levels.pop()
                levels.append((2 * size, merge(left, right)))
        merged = levels.pop()[1]
        while levels:
            merged = merge(levels.pop()[1], merged)
        return merged
