"""Fixed vectors of the weight table, and the algebra that makes order irrelevant."""

from __future__ import annotations

from datetime import timedelta
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.events import schema
from pipelines.graph import weights
from pipelines.model import Interaction
from tests.support import make
from tests.support.make import NOW, NOW_MS, person


def interaction(id_: str = "a", **changes: object) -> Interaction:
    event, _ = schema.parse(make.event(id_, **changes))  # type: ignore[arg-type]
    assert isinstance(event, Interaction)
    return event


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1.0),
        ({"scope": "group", "targets": [person(2), person(3), person(4), person(5)]}, 0.25),
        ({"kind": "interaction.email", "targets": [person(2), person(3)]}, 0.5),
        ({"kind": "interaction.meeting", "duration_s": 3600, "targets": [person(2), person(3)]}, 2.0),
        ({"kind": "interaction.call", "duration_s": 900}, 1.0),
        ({"kind": "interaction.contact", "duration_s": 0}, 0.0),
        ({"kind": "interaction.doc"}, 1.0),
        ({"kind": "interaction.review", "targets": [person(2), person(3)]}, 1.0),
        ({"kind": "interaction.ticket"}, 0.5),
        ({"scope": "broadcast"}, 0.0),
    ],
)
def test_an_interaction_weighs_what_the_table_says(changes: dict[str, object], expected: float) -> None:
    assert weights.weight(interaction(**changes)) == expected


def test_a_direct_message_a_moment_ago_shows_as_one_and_half_of_it_after_a_half_life() -> None:
    (tie,) = weights.ties([interaction(time=NOW)])
    later = NOW_MS + weights.HALF_LIFE // timedelta(milliseconds=1)
    assert isclose(weights.shown(tie.strength, NOW_MS), 1.0, abs_tol=1e-9)
    assert isclose(weights.shown(tie.strength, later), 0.5, abs_tol=1e-9)


def test_ties_are_directed_per_medium_and_sorted() -> None:
    events = [interaction("a", targets=[person(3), person(2)]), interaction("b", actor=person(2), targets=[person(1)])]
    ends = [tie.ends for tie in weights.ties(events)]
    assert ends == sorted(ends)
    assert ends == [
        (person(1), person(2), "message"),
        (person(1), person(3), "message"),
        (person(2), person(1), "message"),
    ]


def test_a_broadcast_makes_no_ties() -> None:
    assert weights.ties([interaction(scope="broadcast")]) == []


def test_no_events_make_no_ties() -> None:
    assert weights.ties([]) == []


def test_strength_stays_finite_from_1986_to_2058() -> None:
    for years in (-40, 32):
        assert 0 < weights.growth(NOW_MS + years * 365 * 86_400_000) < float("inf")


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(5, 8), st.integers(0, 86_400 * 25)), max_size=40), st.randoms()
)
def test_any_order_in_any_pieces_gives_the_same_ties(rows: list[tuple[int, int, int]], rng: object) -> None:
    events = [
        interaction(str(i), actor=person(a), targets=[person(b)], time=NOW - timedelta(seconds=s))
        for i, (a, b, s) in enumerate(rows)
    ]
    expected = {tie.ends: tie for tie in weights.ties(events)}
    shuffled = events.copy()
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    pieces: dict[tuple[str, str, str], weights.Tie] = {}
    for start in range(0, len(shuffled), 7):
        for tie in weights.ties(shuffled[start : start + 7]):
            pieces[tie.ends] = weights.add(pieces[tie.ends], tie) if tie.ends in pieces else tie
    assert pieces.keys() == expected.keys()
    for ends, tie in expected.items():
        other = pieces[ends]
        assert (tie.n, tie.seconds, tie.first_ms, tie.last_ms) == (
            other.n,
            other.seconds,
            other.first_ms,
            other.last_ms,
        )
        assert isclose(tie.strength, other.strength, rel_tol=1e-12)
