"""The synthetic organisation of the study: repeatable, valid, and with the effects in it that it says are there."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines import synthetic
from pipelines.events import schema
from pipelines.jobs import study
from pipelines.jobs.study import LAGS, NOTHING, PLANTED, TRUTHS, Planted
from pipelines.model import Interaction, Outcome, Refusal, RosterChange
from pipelines.person_weeks import WeekRows

END = datetime(2026, 3, 2, tzinfo=UTC)
OPTIONS = synthetic.Options(end=END, people=40, weeks=14, per_day=3, pressure=True)
SMALL = synthetic.Options(end=END, people=14, weeks=6, per_day=2, pressure=True)
#: What the surveys are made of, besides noise; in the order of the columns of a regression.
CAUSES = ("received", "mates", *sorted({truth.treatment for truth in TRUTHS}))
MEASURES = ("exhaustion", "recovery")


@dataclass(frozen=True)
class Told:
    """What one study sends, taken apart by the contract."""

    payloads: tuple[bytes, ...]
    answers: tuple[Outcome, ...]
    weeks: tuple[WeekRows, ...]


@cache
def told(options: synthetic.Options = OPTIONS) -> Told:
    payloads = tuple(study.events(options))
    events = [schema.parse(payload)[0] for payload in payloads]
    acts = [event for event in events if isinstance(event, Interaction)]
    roster = [event for event in events if isinstance(event, RosterChange)]
    answers = tuple(event for event in events if isinstance(event, Outcome))
    return Told(payloads, answers, tuple(study.weeks(acts, roster, options)))


# ------------------------------------------------------------------------------------------------ the events


def digest(options: synthetic.Options) -> str:
    return hashlib.sha256(b"\n".join(study.events(options))).hexdigest()


def test_the_same_options_give_the_same_bytes_and_others_others() -> None:
    assert digest(SMALL) == digest(SMALL)
    others = [{"seed": 2}, {"people": 15}, {"weeks": 7}, {"pressure": False}]
    made = {digest(synthetic.Options(**{**_fields(SMALL), **change})) for change in others}  # type: ignore[arg-type]
    assert len(made | {digest(SMALL)}) == 5


def test_other_effects_change_the_answers_only() -> None:
    pairs = zip(study.events(SMALL), study.events(SMALL, NOTHING), strict=True)
    assert {b"outcome.recorded" in one for one, other in pairs if one != other} == {True}


def _fields(options: synthetic.Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def test_every_event_is_valid_by_the_contract_and_no_id_is_used_twice() -> None:
    events = [schema.parse(payload)[0] for payload in told().payloads]
    assert not [event for event in events if isinstance(event, Refusal)]
    keys = Counter(event.key for event in events if isinstance(event, Interaction | RosterChange | Outcome))
    assert set(keys.values()) == {1}


def test_interactions_come_in_order_of_time_and_the_answers_after_them() -> None:
    kinds = [b"outcome.recorded" in payload for payload in told().payloads]
    assert kinds == sorted(kinds)
    assert kinds.count(True) == len(told().answers) > 500


def test_an_answer_is_of_somebody_who_was_there_about_a_week_with_enough_weeks_before_it() -> None:
    there = {(rows.week, person) for rows in told().weeks for person in rows.people}
    first = told().weeks[LAGS].week
    seen = Counter((answer.measure, answer.person, monday(answer)) for answer in told().answers)
    assert set(seen.values()) == {1}
    assert {(week, person) for _, person, week in seen} <= there
    assert min(week for _, _, week in seen) == first
    asked = sum(len(rows) for rows in told().weeks[LAGS:]) * len(MEASURES)
    assert 0.85 < len(told().answers) / asked < 0.92


def test_answers_are_on_the_scale_to_a_tenth() -> None:
    values = [answer.value for answer in told().answers]
    assert all(1.0 <= value <= 7.0 and value == round(value, 1) for value in values)
    assert sum(value in (1.0, 7.0) for value in values) / len(values) < 0.02  # the ends of the scale hide few effects


def monday(answer: Outcome) -> date:
    day = datetime.fromtimestamp(answer.time_ms / 1000, UTC).date()
    return day - timedelta(days=day.weekday())


# ------------------------------------------------------------------------------------------------ the effects

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """One row an answer. x: the means over the weeks before, in the order of CAUSES."""

    y: Vector
    x: Vector
    person: Sequence[str]
    week: Sequence[date]


@cache
def rows_of(measure: str, planted: Planted = PLANTED) -> Rows:
    """Answers beside what was in the four weeks before them, counted here once more.

    Nearly without noise: then a few people show what in earnest takes many.
    """
    weekly = {rows.week: by_person(rows) for rows in told().weeks}
    with mock.patch.object(study, "_NOISE", 0.02):
        parsed = [schema.parse(payload)[0] for payload in study.surveys(told().weeks, OPTIONS, planted)]
    kept = [answer for answer in parsed if isinstance(answer, Outcome) and answer.measure == measure]
    before = [[weekly[monday(a) - timedelta(weeks=n)].get(a.person) for n in range(1, LAGS + 1)] for a in kept]
    x = [np.nanmean([week for week in its if week is not None], axis=0) for its in before]
    return Rows(np.array([a.value for a in kept]), np.array(x), [a.person for a in kept], [monday(a) for a in kept])


def by_person(rows: WeekRows) -> dict[str, Vector]:
    """The causes of one week for everybody who worked in it."""
    mates: Mapping[str | None, list[float]] = defaultdict(list)
    share = np.nan_to_num(rows.values["after_hours_share"])
    for team, value in zip(rows.teams, share, strict=True):
        mates[team].append(float(value))
    found = {}
    for place, (person, team) in enumerate(zip(rows.people, rows.teams, strict=True)):
        if rows.values["working_days"][place] > 0:
            others = len(mates[team]) - 1
            of_mates = (sum(mates[team]) - share[place]) / others if team and others else 0.0
            own = [rows.values[name][place] for name in CAUSES[2:]]
            found[person] = np.array([rows.values["received"][place], of_mates, *own])
    return found


def within(rows: Rows, columns: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Least squares with a level for every person and week: effect and standard error (clustered by person) of each."""
    y, x = rows.y, rows.x[:, [CAUSES.index(name) for name in columns]]
    levels = np.column_stack([dummies(rows.person), dummies(rows.week)[:, 1:]])
    keep, *_ = np.linalg.lstsq(levels, np.column_stack([y, x]), rcond=None)
    left = np.column_stack([y, x]) - levels @ keep
    y, x = left[:, 0], left[:, 1:]
    bread = np.linalg.inv(x.T @ x)
    effect = bread @ x.T @ y
    scores = x * (y - x @ effect)[:, None]
    meat = sum(np.outer(s, s) for s in (scores[np.array(rows.person) == p].sum(axis=0) for p in set(rows.person)))
    errors = np.sqrt(np.diag(bread @ meat @ bread))
    return {name: (float(b), float(se)) for name, b, se in zip(columns, effect, errors, strict=True)}


def dummies(labels: Sequence[object]) -> Vector:
    names = sorted(set(labels), key=str)
    return np.array([[label == name for name in names] for label in labels], dtype=float)


def truth_about(measure: str, planted: Planted) -> dict[str, float]:
    its = {truth.treatment: truth.effect for truth in planted.truths if truth.outcome == measure}
    of_busy, of_mates = (0.012, planted.spillover) if measure == "exhaustion" else (0.0, 0.0)
    return {**its, "received": of_busy, "mates": of_mates}


@pytest.mark.parametrize("planted", [PLANTED, NOTHING], ids=["planted", "nothing"])
@pytest.mark.parametrize("measure", MEASURES)
def test_who_knows_every_cause_finds_what_was_planted_and_nothing_else(measure: str, planted: Planted) -> None:
    found = within(rows_of(measure, planted), CAUSES)
    for name, truth in truth_about(measure, planted).items():
        effect, error = found[name]
        assert abs(effect - truth) < 3 * error, name
        assert bool(truth) == (abs(effect) > 6 * error), name


@pytest.mark.parametrize("treatment", [t.treatment for t in TRUTHS if t.trap])
def test_who_does_not_hold_the_common_cause_walks_into_the_trap(treatment: str) -> None:
    """The control: where nothing has an effect, this alone looks like one. Its common cause is what a busy team receives."""
    effect, error = within(rows_of("exhaustion", NOTHING), [treatment])[treatment]
    assert effect > 3 * error


def test_in_earnest_people_answer_with_noise() -> None:
    """Or the study would be too easy."""
    answers: dict[str, list[float]] = defaultdict(list)
    for answer in told().answers:
        answers[answer.measure + answer.person].append(answer.value)
    assert float(np.median([np.std(its) for its in answers.values()])) > 0.35


def test_truths_are_two_effects_traps_and_plain_nulls_each_asked_once() -> None:
    assert len({(truth.treatment, truth.outcome) for truth in TRUTHS}) == len(TRUTHS)
    assert sum(truth.effect != 0 for truth in TRUTHS) == 2
    assert {truth.effect for truth in TRUTHS if truth.trap} == {0.0}
    assert sum(truth.trap for truth in TRUTHS) == 2
