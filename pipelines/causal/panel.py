"""The causal panel: one row per person and week, as frozen arrays. Makes lags and windows; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InvalidInput
from pipelines.evidence import Floats, Ints

#: Prefix of columns that came from the table `outcomes`: "outcome:" and the name of the measure.
OUTCOME = "outcome:"
#: Prefix of the additive parts of the strain index: "strain:" and the name of the part.
PART = "strain:"
_KEYS = ("week", "person", "team")
UNKNOWN = -1

Column = Sequence[object] | NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Person-weeks with at least one working day, sorted by person and week; both keys are unique together.

    unit, team, week: int64 of length n; codes into `persons` and `teams` (-1: team unknown), weeks counted from
    `monday`. home: team code of each person, where most of the person's weeks were. values: float64 (n, columns), NaN
    where nothing is known: nothing is imputed here. version: hash of all of it, the same whatever the order of the input.
    """

    persons: tuple[str, ...]
    teams: tuple[str, ...]
    monday: date
    unit: Ints
    team: Ints
    week: Ints
    home: Ints
    columns: tuple[str, ...]
    values: Floats
    version: str

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that came from `outcomes`."""
        return tuple(name.removeprefix(OUTCOME) for name in self.columns if name.startswith(OUTCOME))

    @property
    def weeks(self) -> int:
        return int(self.week.max()) + 1 if self.week.size else 0

    def column(self, name: str) -> Floats:
        """One column, length n.

        Raises:
            InvalidInput: there is none of that name.
        """
        if name not in self.columns:
            raise InvalidInput(f"the panel has no column {name!r}; it has {', '.join(self.columns)}")
        return self.values[:, self.columns.index(name)]

    def date_of(self, week: int) -> date:
        return self.monday + timedelta(weeks=int(week))

    def lag(self, values: Floats, weeks: int) -> Floats:
        """What `values` was for the same person so many weeks before (negative: after); NaN where there is no such row."""
        key = self.unit * (self.weeks + 1) + self.week
        wanted = self.week - weeks
        at = np.searchsorted(key, key - weeks)
        at[at == len(key)] = 0
        found = (wanted >= 0) & (wanted < self.weeks) & (key[at] == key - weeks)
        return np.where(found, values[at], np.nan)

    def window(self, values: Floats, first: int, last: int) -> Floats:
        """Mean over the lags first..last of what is there; NaN where fewer than half of those weeks have a value."""
        total, seen = np.zeros(len(values)), np.zeros(len(values))
        for weeks in range(first, last + 1):
            lagged = self.lag(values, weeks)
            known = ~np.isnan(lagged)
            total[known] += lagged[known]
            seen += known
        enough = seen >= max(1.0, (last - first + 1) / 2)
        return divided(total, seen, enough)

    def latest(self, values: Floats, first: int, weeks: int = 2) -> Floats:
        """The newest value that is at least `first` weeks old and known, looking back so many weeks."""
        found = self.lag(values, first)
        for further in range(first + 1, first + weeks):
            found = np.where(np.isnan(found), self.lag(values, further), found)
        return found

    def teammates(self, values: Floats) -> Floats:
        """Mean of the others in the same team and week; NaN for who is alone, unknown or the only one with a value."""
        known = (self.team != UNKNOWN) & ~np.isnan(values)
        cell = self.team * self.weeks + self.week
        size = len(self.teams) * self.weeks
        total = np.bincount(cell[known], weights=values[known], minlength=size)
        count = np.bincount(cell[known], minlength=size)
        result = np.full(len(values), np.nan)
        at = cell[known]
        others = count[at] - 1
        result[known] = divided(total[at] - values[known], others, others > 0)
        return result


class OutcomeRow(NamedTuple):
    """One answer or event of table `outcomes`."""

    person: str
    time: datetime
    measure: str
    value: float


def build(weeks: Mapping[str, Column], outcomes: Iterable[tuple[str, datetime, str, float]] = ()) -> Panel:
    """The panel of these person-weeks and outcomes, in any order.

    Args:
        weeks: columns of table person_weeks; `week` (date), `person` and `team` (or None) are needed, None and NaN both
            mean unknown. Parts of the strain index are columns that begin with "strain:".
        outcomes: rows as `OutcomeRow`, joined by person and ISO week; several of one week are averaged, those in a week
            that is not in the panel are left out. No outcome is ever imputed.

    Raises:
        InvalidInput: a key column is missing, or a person has two rows of one week.
    """
    if missing := [name for name in _KEYS if name not in weeks]:
        raise InvalidInput(f"person_weeks has no column {', '.join(missing)}")
    days = np.asarray([_as_date(value).toordinal() for value in weeks["week"]], dtype=np.int64)
    persons, unit = _codes([str(p) for p in weeks["person"]])
    teams, team = _codes([None if t is None else str(t) for t in weeks["team"]])
    columns = _numbers(weeks)
    monday = date.fromordinal(int(days.min())) if days.size else date(1970, 1, 5)
    monday -= timedelta(days=monday.weekday())
    week = (days - monday.toordinal()) // 7
    keep = _worked(columns, len(unit))
    order = np.flatnonzero(keep)[np.lexsort((week[keep], unit[keep]))]
    unit, team, week = unit[order], team[order], week[order]
    _refuse_twice(unit, week)
    columns = {name: values[order] for name, values in columns.items()}
    columns |= _outcome_columns(outcomes, persons, unit, week, monday)
    names = tuple(sorted(columns))
    values = np.column_stack([columns[n] for n in names]) if names else np.empty((len(unit), 0))
    values[np.isinf(values)] = np.nan
    for array in (unit, team, week, values):
        array.setflags(write=False)
    version = _version(names, persons, teams, monday, unit, team, week, values)
    return Panel(persons, teams, monday, unit, team, week, _home(unit, team, len(persons)), names, values, version)


def _as_date(value: object) -> date:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[D]").item()
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    raise InvalidInput(f"a week is a date; seen {type(value).__name__}")


def _codes(labels: Sequence[str | None]) -> tuple[tuple[str, ...], Ints]:
    names = sorted({label for label in labels if label is not None})
    place: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    return tuple(names), np.asarray([place.get(label, UNKNOWN) for label in labels], dtype=np.int64)


def _numbers(weeks: Mapping[str, Column]) -> dict[str, Floats]:
    return {name: _floats(column) for name, column in weeks.items() if name not in _KEYS}


def _floats(column: Column) -> Floats:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.astype(np.float64)
    return np.asarray([np.nan if value is None else float(value) for value in column], dtype=np.float64)  # type: ignore[arg-type]


def _worked(columns: Mapping[str, Floats], rows: int) -> NDArray[np.bool_]:
    """Weeks of leave say nothing about how somebody works, so that they go; unknown working days do not count as leave."""
    days = columns.get("working_days", np.full(rows, np.nan))
    return ~(days <= 0)


def _refuse_twice(unit: Ints, week: Ints) -> None:
    twice = int(np.count_nonzero((np.diff(unit) == 0) & (np.diff(week) == 0)))
    if twice:
        raise InvalidInput(f"{twice} person-weeks are there twice; person_weeks has one row a person and week")


def _home(unit: Ints, team: Ints, people: int) -> Ints:
    """The team of most weeks of each person; the earlier in the order of names where two have as many; -1 for none."""
    known = team != UNKNOWN
    if not known.any():
        return np.full(people, UNKNOWN, dtype=np.int64)
    teams = int(team.max()) + 1
    cells, count = np.unique(unit[known] * teams + team[known], return_counts=True)
    order = np.lexsort((-(cells % teams), count, cells // teams))  # the best of each person comes last
    home = np.full(people, UNKNOWN, dtype=np.int64)
    home[cells[order] // teams] = cells[order] % teams
    return home


def _outcome_columns(
    outcomes: Iterable[tuple[str, datetime, str, float]], persons: Sequence[str], unit: Ints, week: Ints, monday: date
) -> dict[str, Floats]:
    code = {person: i for i, person in enumerate(persons)}
    found: dict[str, list[tuple[int, float]]] = {}
    weeks = int(week.max()) + 1 if week.size else 0
    for person, time, measure, value in outcomes:
        cells = found.setdefault(measure, [])
        who, when = code.get(person), (time.date() - monday).days // 7
        if who is not None and 0 <= when < weeks and np.isfinite(value):
            cells.append((who * weeks + when, value))
    return {OUTCOME + name: _means(unit * weeks + week, cells) for name, cells in found.items()}


def _means(keys: Ints, cells: Sequence[tuple[int, float]]) -> Floats:
    """Mean of the values of each key; NaN where there is none. Keys are sorted, cells are not."""
    if not cells or not len(keys):
        return np.full(len(keys), np.nan)
    wanted = np.asarray([cell for cell, _ in cells], dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = keys[at] == wanted
    values = np.asarray([value for _, value in cells])
    total = np.bincount(at[there], weights=values[there], minlength=len(keys))
    count = np.bincount(at[there], minlength=len(keys))
    return divided(total, count, count > 0)


def divided(total: NDArray[Any], count: NDArray[Any], where: NDArray[np.bool_]) -> Floats:
    """total / count, NaN elsewhere."""
    result = np.full(total.shape, np.nan)
    result[where] = total[where] / count[where]
    return result


def _version(
    names: Sequence[str], persons: Sequence[str], teams: Sequence[str], monday: date, *arrays: NDArray[Any]
) -> str:
    digest = blake2b(digest_size=8)
    digest.update("\0".join([*names, "", *persons, "", *teams, monday.isoformat()]).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
