"""The plan search: the best set there is, within its limits, the same every time, and a reason for what is out."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from pipelines.interventions.plan import Chosen, Option, Room, best, gain_of, starts_of, why_out
from pipelines.interventions.proposal import Impact

ROOM = Room(effort=6, days=120, lanes=1)


def option(name: str = "a", **changes: object) -> Option:
    values: dict[str, object] = {"metric": name, "effort": 1, "impact": Impact.LOW, "days": 60, "gain": 0.1}
    return Option(name, **values | changes)  # type: ignore[arg-type]


def names(chosen: list[Chosen]) -> list[str]:
    return [c.option.name for c in chosen]


def gain(chosen: list[Chosen]) -> float:
    return sum(c.option.gain for c in chosen)


def test_nothing_to_choose_from_is_an_empty_plan() -> None:
    assert best([], ROOM) == []


def test_practices_follow_one_another_where_one_at_a_time_is_allowed() -> None:
    found = best([option("a"), option("b", gain=0.2), option("c")], ROOM)
    assert [(c.option.name, c.day) for c in found] == [("b", 0), ("a", 60)]


def test_side_by_side_where_two_are_allowed() -> None:
    found = best([option("a"), option("b")], Room(effort=6, days=60, lanes=2))
    assert [(c.option.name, c.day) for c in found] == [("a", 0), ("b", 0)]


def test_one_practice_for_each_metric() -> None:
    assert names(best([option("a", metric="m"), option("b", metric="m", gain=0.2)], ROOM)) == ["b"]


def test_two_small_ones_beat_the_largest_where_they_bring_more() -> None:
    """The naive control: taking the largest first ends with less."""
    options = [option("big", effort=3, gain=0.3), option("a", effort=2, gain=0.2), option("b", effort=2, gain=0.2)]
    room = Room(effort=4, days=120, lanes=1)
    assert names(best(options, room)) == ["a", "b"]
    assert gain(best(options, room)) > gain(naive(options, room))


def naive(options: list[Option], room: Room) -> list[Chosen]:
    chosen: list[Option] = []
    for its in sorted(options, key=lambda o: -o.gain):
        if starts_of([*chosen, its], room) is not None:
            chosen.append(its)
    return [Chosen(o, 0) for o in chosen]


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ({"effort": 2}, {"effort": 1}, "b"),
        ({"impact": Impact.MEDIUM}, {"impact": Impact.LOW}, "b"),
        ({}, {}, "a"),
    ],
)
def test_of_two_that_bring_the_same_the_milder_then_the_first_by_name(
    one: dict[str, object], other: dict[str, object], wanted: str
) -> None:
    options = [option("a", metric="m", **one), option("b", metric="m", **other)]
    assert names(best(options, ROOM)) == names(best(options[::-1], ROOM)) == [wanted]


def everything(options: list[Option], room: Room) -> float:
    """By brute force over all subsets; what is packed is found in every order."""
    sets = (s for n in range(len(options) + 1) for s in combinations(options, n))
    fitting = (s for s in sets if len({o.metric for o in s}) == len(s) and starts_of(s, room) is not None)
    return max(sum(o.gain for o in s) for s in fitting)


@pytest.mark.parametrize("seed", range(30))
def test_no_set_is_better_and_what_is_out_has_a_reason_that_holds(seed: int) -> None:
    chance = random.Random(seed)
    options = [
        option(
            f"o{n}",
            metric=f"m{chance.randrange(4)}",
            effort=chance.randint(1, 3),
            days=chance.choice([28, 56, 84]),
            gain=chance.randint(1, 9) / 10,
        )
        for n in range(7)
    ]
    room = Room(chance.choice([2, 4, 6]), chance.choice([30, 90, 180]), chance.randint(0, 2))
    found = best(options, room)
    assert gain(found) == pytest.approx(everything(options, room))
    assert best(chance.sample(options, len(options)), room) == found
    its = [c.option for c in found]
    for out in set(options) - set(its):
        code = why_out(out, found, room).rule
        more_effort, longer = Room(99, room.days, room.lanes), Room(99, 9_999, 99)
        if code == "SAME_METRIC":
            assert any(o.metric == out.metric for o in its)
        elif code == "NO_EFFORT_LEFT":
            assert sum(o.effort for o in [*its, out]) > room.effort
        else:
            assert code == "NO_TIME"
            assert starts_of([*its, out], more_effort) is None
            assert starts_of([*its, out], longer) is not None


def test_what_no_lane_is_free_for_is_not_planned() -> None:
    assert best([option()], Room(effort=6, days=365, lanes=0)) == []


def test_a_gain_is_what_the_interval_promises_at_least() -> None:
    assert gain_of(0.2, 0.5, -0.10, (-0.15, -0.05)) == pytest.approx(0.05)
    assert gain_of(0.2, 0.5, -0.10, (-0.15, 0.05)) == 0
    assert gain_of(0.2, 1.0, 0.0, (0.0, 0.0)) == 0
