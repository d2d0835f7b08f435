"""What is released of the team graph, attacked by subtraction; and a naive release that falls to the same attack.

The attacker knows every released number, who is in which team, and the grand total (a first run prints how many
interactions it counted). A number is recovered if some combination of the released ones gives it: if its vector over
the true cells (pairs of real teams) lies in the span of theirs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, combinations_with_replacement

import pytest

from pipelines.model import Tie
from pipelines.report import team_graph
from pipelines.report.team_graph import OTHER, TeamGraph

K = 5
SEEDS = range(100)
Team = str | None
Cell = tuple[Team, Team]
OUT = "(outside)"
Vector = list[Fraction]


@dataclass(frozen=True)
class Org:
    team_of: dict[str, Team]
    ties: list[Tie]

    def team(self, person: str) -> Team:
        return self.team_of.get(person, OUT)

    def cell(self, tie: Tie) -> Cell:
        one, other = sorted((self.team(tie.actor), self.team(tie.target)), key=str)
        return one, other

    @property
    def teams(self) -> list[Team]:
        return sorted(set(self.team_of.values()), key=str)

    @property
    def cells(self) -> list[Cell]:
        """Every cell that there could be, whether it holds anything or not: the attacker does not know."""
        inside = list(combinations_with_replacement(self.teams, 2))
        return inside + [(OUT, team) for team in self.teams]


def drawn(seed: int) -> Org:
    """A small organisation with small teams, people without a team, go-betweens and idle people."""
    rng = random.Random(seed)
    sizes = [rng.choice((1, 2, 3, 4, 5, 6, 8, 9)) for _ in range(rng.randint(2, 6))]
    team_of: dict[str, Team] = {f"t{t}-{i}": f"team {t}" for t, size in enumerate(sizes) for i in range(size)}
    team_of |= {f"none-{i}": None for i in range(rng.choice((0, 0, 1, 2, 6)))}
    people = [*team_of, "x_1", "x_2"]
    across = rng.choice((0.003, 0.01, 0.03, 0.1))
    ties = []
    for one, other in combinations(people, 2):
        close = team_of.get(one, "a") == team_of.get(other, "b")
        if rng.random() < (0.6 if close else across):
            ties.append(tie(one, other, rng.uniform(0.1, 20), rng.randint(1, 40)))
    return Org(team_of, ties)


def tie(one: str, other: str, strength: float = 1.0, n: int = 1) -> Tie:
    return Tie(one, other, "message", n, 0, strength, 1_000, 2_000)


def built(org: Org) -> TeamGraph:
    return team_graph.build(org.team_of.items(), org.ties, lambda t: t.strength, K)


# ------------------------------------------------------------------------------------------------ the attack


def sums_of(org: Org, graph: TeamGraph) -> list[set[Cell]]:
    """The true cells behind each released number: shown ties, what goes outside, what is hidden."""
    named = {group.name: i for i, group in enumerate(graph.groups) if group.teams is None}
    last = len(graph.groups) - 1

    def pair(cell: Cell) -> tuple[int, int]:
        low, high = sorted(named.get(team or OTHER, last) for team in cell)
        return low, high

    behind = [{c for c in org.cells if OUT not in c and pair(c) == at} for at in graph.ties]
    if graph.outside:
        behind.append({c for c in org.cells if OUT in c})
    if graph.hidden:
        behind.append(set(org.cells) - set().union(*behind))
    return behind


def naive_sums(org: Org) -> list[set[Cell]]:
    """As one would do it first: small teams and small cells are left out, and totals are printed beside the rest."""
    sizes = Counter(org.team_of.values())
    named = [team for team in org.teams if team is not None and sizes[team] >= K]
    pairs: list[Cell] = list(combinations_with_replacement(named, 2))
    shown = [{cell} for cell in pairs if len(people_in(org, {cell})) >= K]
    totals = [{cell for cell in org.cells if team in cell} for team in named]
    return [*shown, *totals, set(org.cells)]


def small_unions(org: Org) -> list[set[Team]]:
    """Teams, and the people without one, that have fewer than K active people even together."""
    active = Counter(org.team(person) for person in people_in(org, set(org.cells)))
    small = [team for team in org.teams if 0 < active[team] < K]
    return [set(u) for size in (1, 2, 3) for u in combinations(small, size) if sum(active[team] for team in u) < K]


def insides(org: Org) -> list[set[Cell]]:
    """Sums among fewer than K people: inside small teams, and in cells of so few, even together."""
    secrets = [{c for c in org.cells if set(c) <= union} for union in small_unions(org)]
    few = [cell for cell in full(org) if len(people_in(org, {cell})) < K]
    secrets += [set(cells) for size in (1, 2, 3) for cells in combinations(few, size)]
    return [secret for secret in secrets if 0 < len(people_in(org, secret)) < K]


def rows(org: Org) -> list[set[Cell]]:
    """Everything that fewer than K people do, with whomever."""
    return [{c for c in org.cells if set(c) & union} for union in small_unions(org)]


def people_in(org: Org, cells: set[Cell]) -> set[str]:
    ends = [(t.actor, t.target) for t in org.ties if org.cell(t) in cells]
    return {person for pair in ends for person in pair if person in org.team_of}


def recovered(known: Iterable[set[Cell]], secrets: Iterable[set[Cell]], cells: Sequence[Cell]) -> list[set[Cell]]:
    """The secrets that follow from what is known, as sums over `cells`."""
    basis = reduced([vector(sum_, cells) for sum_ in known])
    return [secret for secret in secrets if any(vector(secret, cells)) and in_span(vector(secret, cells), basis)]


def vector(sum_: set[Cell], cells: Sequence[Cell]) -> Vector:
    return [Fraction(cell in sum_) for cell in cells]


def reduced(rows: list[Vector]) -> list[tuple[int, Vector]]:
    """Row echelon form: (place of the leading one, row)."""
    basis: list[tuple[int, Vector]] = []
    for row in rows:
        rest = without(row, basis)
        lead = next((i for i, x in enumerate(rest) if x), None)
        if lead is not None:
            basis.append((lead, [x / rest[lead] for x in rest]))
    return basis


def without(row: Vector, basis: list[tuple[int, Vector]]) -> Vector:
    for lead, other in basis:
        if factor := row[lead]:
            row = [x - factor * y for x, y in zip(row, other, strict=True)]
    return row


def in_span(row: Vector, basis: list[tuple[int, Vector]]) -> bool:
    return not any(without(row, basis))


# ------------------------------------------------------------------------------------------------ strengths and counts


def known_of(org: Org) -> list[set[Cell]]:
    graph = built(org)
    return [*sums_of(org, graph), set(org.cells)] if graph.groups else []


def full(org: Org) -> list[Cell]:
    """The cells that hold anything: an attacker who works there may know which do not."""
    return sorted({org.cell(t) for t in org.ties} & set(org.cells), key=str)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_sum_of_few_people_follows_from_what_is_released(seed: int) -> None:
    org = drawn(seed)
    assert recovered(known_of(org), insides(org) + rows(org), org.cells) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_nor_what_is_among_few_if_the_attacker_knows_which_cells_hold_nothing(seed: int) -> None:
    org = drawn(seed)
    assert recovered(known_of(org), insides(org), full(org)) == []


def test_the_naive_release_falls_to_the_same_attacks() -> None:
    orgs = [drawn(seed) for seed in SEEDS]
    assert sum(bool(recovered(naive_sums(org), insides(org) + rows(org), org.cells)) for org in orgs) > 5
    assert sum(bool(recovered(naive_sums(org), insides(org), full(org))) for org in orgs) > len(orgs) / 4


def test_without_the_complement_ours_would_fall_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of rule 3: hiding what is of few people is not enough, if the total is known."""
    monkeypatch.setattr(
        team_graph, "_suppress", lambda sums, k: ({p: its for p, its in sums.items() if its.may_be_shown(k)}, None)
    )
    orgs = [drawn(seed) for seed in SEEDS]
    assert sum(bool(recovered(known_of(org), insides(org), full(org))) for org in orgs) > len(orgs) / 5


@pytest.mark.parametrize("seed", SEEDS)
def test_every_released_sum_is_of_enough_people_and_of_no_single_one(seed: int) -> None:
    org = drawn(seed)
    graph = built(org)
    amounts = [*graph.ties.values(), graph.outside, graph.hidden]
    for behind, amount in zip(sums_of(org, graph), [a for a in amounts if a], strict=True):
        ties = [t for t in org.ties if org.cell(t) in behind]
        assert amount.strength == pytest.approx(sum(t.strength for t in ties))
        assert amount.n == sum(t.n for t in ties)
        for size in (lambda t: t.strength, lambda t: t.n):
            assert not ties or largest_share(org, ties, size) <= 0.9
        assert not ties or len(people_in(org, behind)) >= K


def largest_share(org: Org, ties: Sequence[Tie], size: Callable[[Tie], float]) -> float:
    whole = sum(size(t) for t in ties)
    people = {person for t in ties for person in (t.actor, t.target)} & org.team_of.keys()
    return max(sum(size(t) for t in ties if person in (t.actor, t.target)) for person in people) / whole


# ------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize("seed", SEEDS)
def test_no_size_of_a_small_team_follows_from_the_shown_sizes(seed: int) -> None:
    org = drawn(seed)
    graph = built(org)
    assert all(group.size >= K for group in graph.groups)
    assert graph.people in (0, len(org.team_of))


def test_the_naive_release_gives_small_sizes_away() -> None:
    sizes = [Counter(drawn(seed).team_of.values()) for seed in SEEDS]
    left = [sum(size for team, size in its.items() if team is None or size < K) for its in sizes]
    assert sum(0 < rest < K for rest in left) > len(SEEDS) / 10


def test_one_small_team_alone_is_joined_by_the_next_smallest() -> None:
    people = {f"{team}-{i}": team for team, size in (("small", 3), ("middle", 6), ("large", 9)) for i in range(size)}
    org = Org(dict(people), [tie(a, b) for a, b in combinations(people, 2)])
    assert {(group.name, group.size, group.teams) for group in built(org).groups} == {("large", 9, None), (OTHER, 9, 2)}


# ------------------------------------------------------------------------------------------------ side channels


@pytest.mark.parametrize("seed", range(40))
def test_what_is_hidden_changes_nothing_but_the_hidden_sum(seed: int) -> None:
    """Neither the order of the groups, nor the dates, nor which squares are shown tell of a hidden tie's strength."""
    org = drawn(seed)
    graph = built(org)
    shown = set().union(*sums_of(org, replace(graph, hidden=None))) if graph.groups else set()
    if not (graph.groups and graph.hidden and graph.hidden.n):
        return
    # Evenly, so that nobody comes to have nearly all of it: that would be another case, not a leak.
    changed = [t if org.cell(t) in shown else replace(t, strength=t.strength * 1.01, first_ms=1) for t in org.ties]
    again = built(Org(org.team_of, changed))
    assert replace(again, hidden=None) == replace(graph, hidden=None)


def test_a_single_go_between_is_not_shown_however_many_are_on_the_other_side() -> None:
    people = {f"{team}-{i}": team for team in "ab" for i in range(8)}
    within = [tie(a, b) for a, b in combinations(people, 2) if a[0] == b[0]]
    across = [tie("a-0", f"b-{i}") for i in range(8)]
    graph = built(Org(dict(people), within + across))
    assert (0, 1) not in graph.ties
    more = [tie(f"a-{i}", f"b-{j}") for i in range(4) for j in range(4)]
    assert (0, 1) in built(Org(dict(people), within + more)).ties


def test_a_team_of_many_of_whom_few_are_active_counts_as_few() -> None:
    people = {f"{team}-{i}": team for team, size in (("a", 8), ("b", 9), ("c", 8)) for i in range(size)}
    idle = {f"c-{i}" for i in range(3, 8)}
    org = Org(dict(people), [tie(a, b) for a, b in combinations(people, 2) if not {a, b} & idle])
    assert [(group.name, group.size) for group in built(org).groups] == [("b", 9), (OTHER, 16)]
