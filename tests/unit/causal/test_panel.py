"""Weeks and outcomes become a panel: lags stay within persons, leave goes, nothing is imputed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from pipelines.causal import panel
from pipelines.causal.panel import OutcomeRow, Panel
from pipelines.errors import InvalidInput

MONDAY = date(2026, 3, 2)


def week(n: int) -> date:
    return MONDAY + timedelta(weeks=n)


def at(n: int, day: int = 2) -> datetime:
    return datetime(MONDAY.year, MONDAY.month, MONDAY.day, 12, tzinfo=UTC) + timedelta(weeks=n, days=day)


def built(
    rows: list[tuple[str, int, float]], outcomes: list[OutcomeRow] | None = None, team: str | None = "A"
) -> Panel:
    columns = {
        "week": [week(n) for _, n, _ in rows],
        "person": [p for p, _, _ in rows],
        "team": [team for _ in rows],
        "load": [x for _, _, x in rows],
    }
    return panel.build(columns, outcomes or [])


ROWS = [("a", n, float(n)) for n in range(6)] + [("b", n, 10.0 + n) for n in (0, 1, 3, 4)]


def test_a_lag_is_the_same_persons_value_and_nobody_elses() -> None:
    found = built(ROWS)
    lagged = found.lag(found.column("load"), 1)
    assert np.isnan(lagged[0])
    assert lagged[1:6].tolist() == [0, 1, 2, 3, 4]
    assert np.isnan(lagged[6])  # the first week of b, although a's last row stands before it
    assert lagged[7] == 10.0


def test_a_gap_is_unknown_and_not_the_row_before() -> None:
    found = built(ROWS)
    lagged = found.lag(found.column("load"), 1)
    at_week_3_of_b = 8
    assert np.isnan(lagged[at_week_3_of_b])
    assert found.lag(found.column("load"), 2)[at_week_3_of_b] == 11.0


def test_a_negative_lag_looks_ahead() -> None:
    found = built(ROWS)
    assert found.lag(found.column("load"), -1)[:5].tolist() == [1, 2, 3, 4, 5]
    assert np.isnan(found.lag(found.column("load"), -1)[5])


def test_a_window_is_the_mean_of_what_is_there_if_that_is_half() -> None:
    found = built(ROWS)
    window = found.window(found.column("load"), 1, 4)
    assert window[5] == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert np.isnan(window[1])  # one of four weeks
    assert window[2] == pytest.approx(0.5)
    assert window[9] == pytest.approx((10 + 11 + 13) / 3)  # week 4 of b, without week 2


def test_weeks_of_leave_are_dropped_and_unknown_working_days_are_not() -> None:
    columns = {
        "week": [week(0), week(1), week(2)],
        "person": ["a"] * 3,
        "team": ["A"] * 3,
        "working_days": [5, 0, None],
    }
    assert panel.build(columns).week.tolist() == [0, 2]


def test_outcomes_join_by_week_several_are_averaged_and_none_is_made_up() -> None:
    outcomes = [
        OutcomeRow("a", at(1, 0), "tired", 3.0),
        OutcomeRow("a", at(1, 6), "tired", 5.0),
        OutcomeRow("b", at(2), "tired", 9.0),  # no such week of b
        OutcomeRow("zz", at(1), "tired", 9.0),
        OutcomeRow("a", at(3), "tired", float("nan")),
        OutcomeRow("a", at(300), "tired", 1.0),
    ]
    found = built(ROWS, outcomes)
    tired = found.column("outcome:tired")
    assert tired[1] == 4.0
    assert np.count_nonzero(~np.isnan(tired)) == 1
    assert found.measures == ("tired",)


def test_the_version_does_not_depend_on_the_order_and_does_on_every_value() -> None:
    outcomes = [OutcomeRow("a", at(1), "tired", 3.0), OutcomeRow("b", at(1), "tired", 5.0)]
    one = built(ROWS, outcomes)
    assert built(ROWS[::-1], outcomes[::-1]).version == one.version
    other = [(p, n, x + (1e-9 if (p, n) == ("b", 4) else 0)) for p, n, x in ROWS]
    assert built(other, outcomes).version != one.version
    assert built(ROWS, outcomes, team="B").version != one.version


def test_home_is_the_team_of_most_weeks() -> None:
    columns = {"week": [week(n) for n in range(3)] * 2, "person": ["a"] * 3 + ["b"] * 3}
    found = panel.build({**columns, "team": ["X", "Y", "Y", None, None, None]})
    assert [found.teams[h] if h >= 0 else None for h in found.home] == ["Y", None]


def test_teammates_are_the_others_of_the_team_in_that_week() -> None:
    columns = {
        "week": [week(0)] * 4,
        "person": list("abcd"),
        "team": ["A", "A", "A", "B"],
        "load": [1.0, 2.0, None, 7.0],
    }
    found = panel.build(columns)
    mates = found.teammates(found.column("load"))
    assert mates[:2].tolist() == [2.0, 1.0]
    assert np.isnan(mates[2:]).all()


def test_two_rows_of_one_week_are_refused() -> None:
    with pytest.raises(InvalidInput, match="1 person-weeks are there twice"):
        built([*ROWS, ("a", 3, 0.0)])


def test_a_missing_key_and_an_unknown_column_are_named() -> None:
    with pytest.raises(InvalidInput, match="team"):
        panel.build({"week": [], "person": []})
    with pytest.raises(InvalidInput, match="no column 'stress'"):
        built(ROWS).column("stress")


def test_no_rows_make_an_empty_panel() -> None:
    assert panel.build({"week": [], "person": [], "team": [], "load": []}).weeks == 0
