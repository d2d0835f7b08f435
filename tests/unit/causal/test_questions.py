"""Questions are data, and wrong ones are refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.causal import questions
from pipelines.causal.questions import Question, why_not
from pipelines.errors import InvalidInput
from tests.support import panels
from tests.support.panels import CATALOGUE, World

DEFAULT = questions.load()


def reasons(**changes: object) -> str:
    base: dict[str, object] = {"id": "q", "treatment": "meeting_h", "outcome": "outcome:tired"}
    return "; ".join(why_not(Question(**base | changes), DEFAULT))  # type: ignore[arg-type]


def test_the_questions_that_come_with_the_program_are_valid_and_ask_only_of_known_metrics() -> None:
    assert len(DEFAULT.questions) >= 6
    assert not any(why_not(q, DEFAULT) for q in DEFAULT.questions)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exogenous": ("fragmentation",), "mediators": ("fragmentation",)}, "mediator and is listed as a confounder"),
        ({"confounders": ("fragmentation",)}, "the drawing says that meeting_h changes it"),
        ({"mediators": ("received",)}, "no way to it from meeting_h"),
        ({"treatment": "mood"}, "unknown metric 'mood'"),
        ({"outcome": "sent"}, "no kind of outcome"),
        ({"outcome": "meeting_h"}, "treatment and outcome are the same"),
        ({"lag_weeks": 0}, "the treatment must be before the outcome"),
        ({"first_lag": 0}, "the treatment must be before the outcome"),
        ({"assigned": "floor"}, "'team' or 'person'"),
        ({"exogenous": ("meeting_h",)}, "cannot be asked about and be held"),
        ({"exogenous": ("received",), "confounders": ("received",)}, "both as a confounder and as exogenous"),
        ({"treatment": "after_hours_share", "outcome": "short_rests"}, "a tautology"),
    ],
)
def test_a_wrong_question_is_refused_with_the_reason(changes: dict[str, object], words: str) -> None:
    assert words in reasons(**changes)


def test_a_drawing_with_a_circle_or_an_unknown_end_is_refused() -> None:
    metrics = 'version = 1\nmetrics.a = {words = "a"}\nmetrics.b = {words = "b"}\n'
    with pytest.raises(InvalidInput, match="in a circle through a"):
        questions.load(metrics + 'dag.edges = ["a -> b", "b -> a"]')
    with pytest.raises(InvalidInput, match="unknown metric 'c'"):
        questions.load(metrics + 'dag.edges = ["a -> c"]')
    with pytest.raises(InvalidInput, match="'cause -> effect'"):
        questions.load(metrics + 'dag.edges = ["a, b"]')
    with pytest.raises(InvalidInput, match="cannot be read"):
        questions.load("version = ")


def test_a_survey_question_is_asked_of_every_measure() -> None:
    panel = panels.drawn(World(people=20, weeks=8), 1).panel()
    asked = DEFAULT.asked_of(panel)
    assert {q.outcome for q in asked if q.id.startswith("after_hours.survey")} == {"outcome:tired"}


def test_parts_that_share_a_channel_with_the_treatment_are_left_out_of_an_index() -> None:
    drawn = panels.drawn(World(people=20, weeks=8), 1)
    rows = len(drawn.columns["week"])
    parts = {"after_hours": 7.0, "meetings": 2.0, "new": 50.0}
    drawn.columns.update({f"strain:{name}": [value] * rows for name, value in parts.items()})
    panel = drawn.panel()
    values, left_out = DEFAULT.outcome_values(Question("q", "after_hours_share", "strain"), panel)
    assert set(np.unique(values)) == {2.0}
    assert left_out == ("after_hours", "new")  # a part that nobody described is not trusted
    other, _ = DEFAULT.outcome_values(Question("q", "meeting_h", "strain"), panel)
    assert set(np.unique(other)) == {7.0}


def test_an_index_without_a_free_part_is_refused() -> None:
    drawn = panels.drawn(World(people=20, weeks=8), 1)
    drawn.columns["strain:after_hours"] = [7.0] * len(drawn.columns["week"])
    with pytest.raises(InvalidInput, match="no part of strain is free"):
        DEFAULT.outcome_values(Question("q", "after_hours_share", "strain"), drawn.panel())


def test_the_drawing_names_every_arrow_and_role() -> None:
    text = questions.drawing(CATALOGUE, [panels.QUESTION])
    assert "demand -> load" in text
    assert "load.tired: load (mean of weeks -1 to -1) -> outcome:tired (week 0)" in text
    assert "held in the treated weeks too: demand, phase" in text


def test_measures_that_are_no_surveys_have_their_own_kind() -> None:
    assert DEFAULT.metric("outcome:sick_leave").kind == "event"
    assert DEFAULT.metric("outcome:anything").kind == "survey"
