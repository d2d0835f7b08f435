"""From people and ties to what may be shown."""

from __future__ import annotations

from datetime import date
from itertools import combinations, product

import pytest

from pipelines.model import Tie
from pipelines.report import team_graph
from pipelines.report.seriation import in_blocks
from pipelines.report.team_graph import OTHER, Amount, Group, TeamGraph

DAY = 86_400_000


def tie(one: str, other: str, strength: float = 1.0, n: int = 1, first: int = 0, last: int = 0) -> Tie:
    return Tie(one, other, "message", n, 0, strength, first, last)


def team(name: str, size: int) -> dict[str, str | None]:
    return {f"{name}{i}": name for i in range(size)}


def clique(people: object, strength: float = 1.0) -> list[Tie]:
    return [tie(a, b, strength) for a, b in combinations(sorted(people), 2)]  # type: ignore[call-overload]


def build(people: dict[str, str | None], ties: list[Tie], k: int = 5) -> TeamGraph:
    return team_graph.build(people.items(), iter(ties), lambda t: t.strength, k)


def test_ties_are_summed_over_both_directions_and_all_media() -> None:
    a, b = team("a", 5), team("b", 5)
    ties = clique(a) + clique(b) + [tie(x, y, 2, 3) for x, y in product(a, b)] + [tie(y, x) for x, y in product(a, b)]
    graph = build(a | b, ties)
    assert graph.ties == {(0, 0): Amount(10, 10), (1, 1): Amount(10, 10), (0, 1): Amount(75, 100)}
    assert graph.hidden == Amount()
    assert graph.shown == graph.everything == Amount(95, 120)
    assert graph.within == Amount(20, 20)
    assert graph.with_others(0) == graph.with_others(1) == Amount(75, 100)


def test_the_strength_is_what_the_caller_says_it_is_now() -> None:
    people = team("a", 5)
    graph = team_graph.build(people.items(), clique(people, 8), lambda t: t.strength / 4)
    assert graph.ties[0, 0] == Amount(20, 10)


def test_small_teams_and_people_without_a_team_are_one_group_at_the_end() -> None:
    people: dict[str, str | None] = team("z", 6) | team("b", 3) | team("c", 2) | {"nobody's": None}
    graph = build(people, clique(people))
    assert graph.groups == (Group("z", 6), Group(OTHER, 6, 2))
    assert graph.people == 12


def test_a_team_that_is_called_like_the_others_is_still_a_team() -> None:
    people = team(OTHER, 5)
    assert build(people, clique(people)).groups == (Group(OTHER, 5),)


def test_nothing_is_shown_of_fewer_than_k() -> None:
    people = team("a", 4)
    assert build(people, clique(people)) == TeamGraph(5)
    assert build({}, []) == TeamGraph(5)


def test_k_may_be_raised() -> None:
    people = team("a", 5) | team("b", 9)
    assert [group.name for group in build(people, clique(people), k=6).groups] == [OTHER]


def test_what_goes_outside_is_one_sum() -> None:
    people = team("a", 6)
    graph = build(people, clique(people) + [tie(person, "x_1", 2) for person in people] + [tie("x_1", "x_2", 99)])
    assert graph.outside == Amount(12, 6)
    assert graph.everything == Amount(27, 21)


def test_a_tie_of_few_people_hides_the_weakest_other_tie_with_it() -> None:
    a, b, c = team("a", 6), team("b", 6), team("c", 6)
    ties = clique(a) + clique(b, 2) + clique(c, 3) + [tie("a0", "b0", 7)]
    graph = build(a | b | c, ties)
    names = [group.name for group in graph.groups]
    assert {(names[i], names[j]) for i, j in graph.ties} == {("b", "b"), ("c", "c")}
    assert graph.hidden == Amount(15 + 7, 16)


def test_days_are_those_of_what_is_shown() -> None:
    a, b = team("a", 6), team("b", 6)
    ties = [tie(x, y, 1, 1, 3 * DAY + 5, 9 * DAY) for x, y in combinations(a, 2)]
    ties += [tie(x, y, 9, 1, 4 * DAY, 9 * DAY) for x, y in combinations(b, 2)]
    assert build(a | b, ties).days == (date(1970, 1, 4), date(1970, 1, 10))
    assert TeamGraph(5).days is None


def test_the_strongest_between_teams_come_first() -> None:
    a, b, c = team("a", 5), team("b", 5), team("c", 5)
    ties = clique(a | b | c) + [tie(x, y) for x, y in product(a, b)]
    graph = build(a | b | c, ties)
    assert [amount.strength for _, amount in graph.between()] == [50, 25, 25]


# ------------------------------------------------------------------------------------------------ order


def test_blocks_stand_together() -> None:
    blocks = [{0, 3, 6}, {1, 4, 7}, {2, 5, 8}]
    links = {(i, j): 5.0 if any({i, j} <= block for block in blocks) else 0.1 for i, j in combinations(range(9), 2)}
    order = in_blocks(9, links)
    assert [set(order[i : i + 3]) in blocks for i in (0, 3, 6)] == [True] * 3


def test_what_is_linked_to_a_block_at_one_end_stands_at_that_end() -> None:
    links = {(0, 1): 9.0, (1, 2): 4.0, (2, 3): 9.0}
    assert in_blocks(4, links) in ([0, 1, 2, 3], [3, 2, 1, 0])


@pytest.mark.parametrize("links", [{}, {(0, 0): 3.0}, {(1, 2): 0.0}])
def test_everybody_is_in_the_order_once_even_without_links(links: dict[tuple[int, int], float]) -> None:
    assert sorted(in_blocks(4, links)) == [0, 1, 2, 3]


def test_the_order_does_not_depend_on_how_links_are_listed() -> None:
    links = {(i, j): float((i * 7 + j * 3) % 5) for i, j in combinations(range(12), 2)}
    turned = {(j, i): link for (i, j), link in reversed(links.items())}
    assert in_blocks(12, links) == in_blocks(12, turned)
