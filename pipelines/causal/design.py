"""From panel and question to the arrays of one estimate: outcome, treatment, what is held, and what the checks need.

Rows come in an order of their content, not of their labels, so that renaming people, teams or weeks changes no result,
although people are dealt to folds and clusters draw random weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipelines.causal.panel import UNKNOWN, Panel
from pipelines.causal.questions import Catalogue, Question
from pipelines.evidence import Floats, Ints

Hashes = NDArray[np.uint64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
#: Surveys are rare: weeks to look back for the last answer from before the treated weeks.
_LOOK_BACK = 6


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """What only the checks use; each (n,) or (n, q), NaN where unknown.

    lead: treatment of the week after the outcome. now: treatment of the outcome's own week. lead_held: exogenous metrics of
    those two weeks. before: outcome and treatment as last seen before the treated weeks. neighbours: mean treatment of
    the teammates over the treated weeks. control: the negative-control outcome.
    """

    lead: Floats | None = None
    now: Floats | None = None
    lead_held: Floats | None = None
    before: Floats | None = None
    neighbours: Floats | None = None
    control: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """n rows with an outcome and a treatment; codes are dense from 0. No unit has fewer than two rows.

    y, d: (n,). held: (n, p) covariates, NaN where unknown; `held_names` says which metric each column belongs to.
    team: code of each row's home team for group effects, `team_names` their labels; -1 unknown.
    cluster: what standard errors are clustered by and people are dealt to folds by; every unit lies in one.
    """

    y: Floats
    d: Floats
    held: Floats
    held_names: tuple[str, ...]
    unit: Ints
    week: Ints
    cluster: Ints
    team: Ints
    team_names: tuple[str, ...]
    extra: Extra = Extra()

    @property
    def rows(self) -> int:
        return len(self.y)

    @property
    def people(self) -> int:
        return int(self.unit.max()) + 1 if self.rows else 0

    @property
    def periods(self) -> int:
        return int(self.week.max()) + 1 if self.rows else 0

    @property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1 if self.rows else 0

    def take(self, rows: Ints) -> Design:
        """The design of these rows only, in the order of their content."""
        extra = Extra(**{name: _rows_of(getattr(self.extra, name), rows) for name in Extra.__slots__})
        return arrange(
            self.y[rows], self.d[rows], self.held[rows], self.held_names,
            self.unit[rows], self.week[rows], self.cluster[rows], self.team[rows], self.team_names, extra,
        )  # fmt: skip


def arrange(
    y: Floats,
    d: Floats,
    held: Floats,
    held_names: tuple[str, ...],
    unit: Ints,
    week: Ints,
    cluster: Ints,
    team: Ints,
    team_names: tuple[str, ...],
    extra: Extra | None = None,
) -> Design:
    """A design of rows in any order and with any integer codes.

    Rows without outcome or treatment are dropped, then units with a single row: they say nothing about change.
    """
    extra = extra or Extra()
    keep = np.flatnonzero(~(np.isnan(y) | np.isnan(d)))
    keep = keep[np.bincount(_dense(unit[keep]))[_dense(unit[keep])] > 1] if keep.size else keep
    order = keep[_by_content(y[keep], d[keep], unit[keep], week[keep], cluster[keep])]
    return Design(
        y[order], d[order], held[order], held_names,
        _by_appearance(unit[order]), _by_appearance(week[order]), _by_appearance(cluster[order]), team[order], team_names,
        Extra(**{name: _rows_of(getattr(extra, name), order) for name in Extra.__slots__}),
    )  # fmt: skip


def build(panel: Panel, question: Question, catalogue: Catalogue) -> Design:
    """The design of a question.

    Covariates are strictly from before the treated weeks; exogenous ones are also held over the treated weeks.

    Raises:
        InvalidInput: a metric of the question is not in the panel.
    """
    first, last = question.first_lag, question.first_lag + question.lag_weeks - 1
    weekly = panel.column(question.treatment)
    outcome, _ = catalogue.outcome_values(question, panel)
    held = {name: panel.column(name) for name in question.held}
    columns = [panel.latest(values, last + 1) for values in held.values()]
    columns += [panel.window(held[name], first, last) for name in question.exogenous]
    around = [panel.lag(held[name], weeks) for name in question.exogenous for weeks in (0, -1)]
    treated = panel.window(weekly, first, last)
    before = [panel.latest(outcome, last + 1, _LOOK_BACK), panel.latest(weekly, last + 1)]
    control = panel.column(question.negative_control) if question.negative_control else None
    home = panel.home[panel.unit]
    return arrange(
        outcome, treated, _side_by_side(columns, len(outcome)), question.held + question.exogenous,
        panel.unit, panel.week, _clusters(panel, home, question.assigned), home, panel.teams,
        Extra(
            lead=panel.lag(weekly, -1),
            now=panel.lag(weekly, 0),
            lead_held=_side_by_side(around, len(outcome)),
            before=_side_by_side(before, len(outcome)),
            neighbours=panel.window(panel.teammates(weekly), first, last),
            control=control,
        ),
    )  # fmt: skip


def _clusters(panel: Panel, home: Ints, assigned: str) -> Ints:
    """Home team, or the person; who has no known team is a cluster of one."""
    if assigned == "person":
        return panel.unit
    return np.where(home == UNKNOWN, len(panel.teams) + panel.unit, home)


def _side_by_side(columns: list[Floats], rows: int) -> Floats:
    return np.column_stack(columns) if columns else np.empty((rows, 0))


def _rows_of(values: Floats | None, rows: Ints) -> Floats | None:
    return None if values is None else values[rows]


# ------------------------------------------------------------------------------------------------ order by content


def _by_content(y: Floats, d: Floats, unit: Ints, week: Ints, cluster: Ints) -> Ints:
    """A permutation that puts clusters, then units, then weeks in the order of a hash of what they contain.

    The hash is of ranks, so that a change of scale of outcome or treatment changes nothing either.
    """
    cell = _mixed(rankdata(y, "dense").astype(np.uint64) * _MIX + rankdata(d, "dense").astype(np.uint64))
    keys = [_summed(cell, codes) for codes in (week, unit, cluster)]
    return np.lexsort((week, keys[0], unit, keys[1], cluster, keys[2]))


def _summed(cell: Hashes, codes: Ints) -> Hashes:
    """For each row the hash of all rows of its group, whatever their order."""
    dense = _dense(codes)
    total = np.zeros(int(dense.max(initial=-1)) + 1, dtype=np.uint64)
    np.add.at(total, dense, cell)
    return _mixed(total)[dense]


def _mixed(x: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _dense(codes: Ints) -> Ints:
    return np.unique(codes, return_inverse=True)[1]


def _by_appearance(codes: Ints) -> Ints:
    """Codes renumbered in the order in which they first appear."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
