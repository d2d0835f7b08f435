"""The step: weeks of people in, findings out, and as bytes from step to step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from pipelines.evidence import Status
from pipelines.jobs import causal
from pipelines.person_weeks import WeekRows
from tests.support import panels
from tests.support.panels import CATALOGUE, QUESTION, World

ASKED = replace(CATALOGUE, questions=(replace(QUESTION, by_team=False),))


def weeks_of(drawn: panels.Drawn) -> Iterator[WeekRows]:
    columns = drawn.columns
    order = sorted(range(len(columns["week"])), key=lambda i: (columns["week"][i], columns["person"][i]))  # type: ignore[arg-type,return-value]
    for week, rows in groupby(order, key=lambda i: columns["week"][i]):
        at = list(rows)
        values = {
            n: np.array([columns[n][i] for i in at], dtype=float) for n in ("load", "demand", "phase", "working_days")
        }
        people, teams = (tuple(str(columns[n][i]) for i in at) for n in ("person", "team"))
        parts = {"meetings": np.ones(len(at))}
        yield WeekRows(week, people, teams, values, np.full(len(at), np.nan), parts)  # type: ignore[arg-type]


def test_weeks_make_the_same_panel_as_their_columns() -> None:
    drawn = panels.drawn(World(people=20, weeks=6), 1)
    found, expected = causal.panel_of(list(weeks_of(drawn)), drawn.outcomes), drawn.panel()
    for name in expected.columns:
        assert np.array_equal(found.column(name), expected.column(name), equal_nan=True)
    assert found.column("strain:meetings").min() == 1.0
    assert causal.panel_of(list(weeks_of(drawn))[::-1], drawn.outcomes).version == found.version


def test_findings_survive_the_way_between_steps() -> None:
    drawn = panels.drawn(World(people=100, weeks=9), 1)
    found = causal.run_causal_analysis(list(weeks_of(drawn)), drawn.outcomes, catalogue=ASKED)
    assert [f.question for f in found] == ["load.tired"]
    assert found[0].estimate is not None
    assert causal.unpack(causal.pack(found)) == list(found)


def test_a_finding_without_an_estimate_survives_too() -> None:
    drawn = panels.drawn(World(people=100, weeks=5), 1)
    found = causal.run_causal_analysis(list(weeks_of(drawn)), drawn.outcomes, catalogue=ASKED)
    assert found[0].status is Status.NOT_ENOUGH_HISTORY
    assert causal.unpack(causal.pack(found)) == list(found)


def test_without_weeks_there_is_nothing_to_ask() -> None:
    assert causal.run_causal_analysis([], []) == ()
    assert causal.unpack(causal.pack(())) == []


def test_one_question_that_cannot_be_computed_fails_no_run() -> None:
    drawn = panels.drawn(World(people=60, team=6, weeks=9), 1)
    wild = [answer._replace(measure="wild", value=1e160 * answer.value) for answer in drawn.outcomes]
    asked = replace(ASKED, questions=(replace(ASKED.questions[0], id="load", outcome="survey:*"),))
    found = causal.run_causal_analysis(list(weeks_of(drawn)), [*drawn.outcomes, *wild], catalogue=asked)
    tired, other = found
    assert (tired.question, other.question) == ("load.tired", "load.wild")
    assert tired.estimate is not None
    assert (other.status, other.estimate) == (Status.UNDERPOWERED, None)
    assert "cannot be computed" in other.reasons[0]
