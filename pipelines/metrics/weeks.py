"""Weeks of teams and of the whole organisation, from the weeks of their people: means, and what is normal for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pipelines.evidence import Floats, Ints, Series, SubjectKind
from pipelines.metrics import load
from pipelines.metrics.strain import BASELINE_WEEKS, LEAST_WEEKS, middle, worked
from pipelines.person_weeks import COLUMNS, Baseline, WeekRows

#: Half the width of a normal band, in median absolute deviations: about one ordinary week in seventeen is outside.
BAND_MADS = 4.0
VIEWS = (*COLUMNS, "strain")


def team_weeks(rows: WeekRows) -> list[Series]:
    """One series a view for the teams, and one for the organisation: means over the people who worked in the week.

    sizes: how many of them have a value. Who has no known team counts for the organisation only. Time: Monday 00:00 UTC.
    """
    values = worked(rows) | {"strain": rows.strain}
    names = sorted({team for team in rows.teams if team is not None})
    place = {team: number for number, team in enumerate(names)}
    team = np.array([-1 if t is None else place[t] for t in rows.teams], dtype=np.int64)
    everybody = np.zeros(len(rows), dtype=np.int64)
    series = []
    for view in VIEWS:
        series.append(_means(rows.week, view, SubjectKind.TEAM, tuple(names), team, values[view]))
        series.append(_means(rows.week, view, SubjectKind.ORG, ("",), everybody, values[view]))
    return series


def _means(week: date, view: str, kind: SubjectKind, names: tuple[str, ...], group: Ints, values: Floats) -> Series:
    counted = (group >= 0) & ~np.isnan(values)
    sizes = np.bincount(group[counted], minlength=len(names))
    total = np.bincount(group[counted], weights=values[counted], minlength=len(names))
    means = np.divide(total, sizes, out=np.full(len(names), np.nan), where=sizes > 0)
    time_ms = int(datetime(week.year, week.month, week.day, tzinfo=UTC).timestamp() * 1000)
    return Series(view, load.VERSION, kind, time_ms, names, means, sizes)


def normal_bands(weeks: Sequence[WeekRows], after: date) -> list[Baseline]:
    """What is normal for each team and the organisation in the week `after`: median of its 12 weeks before, +- 4 MAD.

    None for a group and view with fewer than 6 weekly means. Sorted by view, kind and subject.
    """
    first, last = after - timedelta(weeks=BASELINE_WEEKS), after - timedelta(weeks=1)
    counted = sorted((rows for rows in weeks if first <= rows.week <= last), key=lambda rows: rows.week)
    found: defaultdict[tuple[str, SubjectKind, str], list[tuple[float, int]]] = defaultdict(list)
    for series in (s for rows in counted for s in team_weeks(rows)):
        for subject, value, size in zip(series.subjects, series.values.tolist(), series.sizes.tolist(), strict=True):
            if size:
                found[series.view, series.kind, subject].append((value, size))
    return [_band(*key, values, first, last) for key, values in sorted(found.items()) if len(values) >= LEAST_WEEKS]


def _band(
    view: str, kind: SubjectKind, subject: str, weeks: Iterable[tuple[float, int]], first: date, last: date
) -> Baseline:
    means, sizes = zip(*weeks, strict=True)
    values = np.array([means])
    usual = middle(values)
    half = BAND_MADS * float(middle(np.abs(values - usual[:, None]))[0])
    low, high = float(usual[0]) - half, float(usual[0]) + half
    return Baseline(view, load.VERSION, kind, subject, low, high, min(sizes), len(sizes), first, last)
