"""What the sink releases, attacked by subtraction in exact fractions; a naive release falls to the same attack.

The attacker knows every released number, all group sizes and which cells there are. The attack here shares no code with
the audit: it works on real sets of people and on fractions, where the audit works on counts and on floating point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evidence import Series, SubjectKind
from pipelines.privacy import sink
from pipelines.privacy.sink import recoverable, release
from pipelines.privacy.tables import Cell, Key, Released, Shown, Sum, Table, keys_of, table_of

K = 5
ORG, TEAM, PAIR = SubjectKind.ORG, SubjectKind.TEAM, SubjectKind.TEAM_PAIR
People = frozenset[str]
_quick = settings(max_examples=40, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Org:
    """Sums over people and over pairs of people. atoms: who is behind each smallest cell; behind: atoms of each cell."""

    tables: list[Table]
    sizes: dict[str, int]
    atoms: dict[Key, People]
    behind: dict[Key, frozenset[Key]]
    sums: tuple[Sum, ...] = ()


def naive(org: Org) -> Released:
    """As one would do it first: cells of fewer than k people are left out, and that is all."""
    cells = {}
    for key, _, cell in keys_of(org.tables):
        shown = cell.people >= K and all(org.sizes.get(team, K) >= K for team in key[2].split("|"))
        cells[key] = Shown(cell.kind, cell.subject, cell.value if shown else None, not shown)
    return Released(K, cells)


def released(org: Org) -> Released:
    return release(org.tables, K, org.sizes, org.sums)


# ------------------------------------------------------------------------------------------------ organisations


@st.composite
def by_team(draw: st.DrawFn) -> Org:
    """Values of teams and the organisation, in which some people are in no team; sometimes as parts of a sum as well."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=7))
    without = draw(st.integers(0, 6))
    members = {f"t{i}": frozenset(f"t{i}-{j}" for j in range(size)) for i, size in enumerate(sizes)}
    nobody = frozenset(f"none-{j}" for j in range(without))
    parts = draw(st.integers(0, 3))
    measures = [f"part {i}" for i in range(parts)] or ["load"]
    tables, atoms, behind = [], {}, {}
    for measure in measures:
        teams = draw(st.sets(st.sampled_from(sorted(members)), min_size=1)) if parts == 0 else set(members)
        here = {(measure, TEAM, t): draw(some_of(members[t])) if parts else members[t] for t in sorted(teams)}
        rest = {(measure, TEAM, "(rest)"): nobody} if nobody else {}
        atoms |= here | rest
        org: Key = (measure, ORG, "")
        behind |= {key: frozenset([key]) for key in here} | {org: frozenset([*here, *rest])}
        tables.append(table(measure, [*here, org], atoms, behind))
    if parts:
        total = [("all", kind, subject) for _, kind, subject in behind if _ == measures[0]]
        behind |= {key: frozenset().union(*(behind[m, key[1], key[2]] for m in measures)) for key in total}
        tables.append(table("all", total, atoms, behind))
    return Org(
        tables, {t: len(m) for t, m in members.items()}, atoms, behind, (Sum("all", tuple(measures)),) * bool(parts)
    )


def some_of(people: People) -> st.SearchStrategy[People]:
    """All of them, or a few: a part of a sum need not have a value for everybody."""
    ordered = sorted(people)
    return st.integers(1, len(ordered)).map(lambda n: frozenset(ordered[:n])) | st.just(people)


@st.composite
def by_pair(draw: st.DrawFn) -> Org:
    """A two-way table: ties of each pair of teams with the totals of teams and of all."""
    sizes = draw(st.lists(st.integers(2, 7), min_size=2, max_size=4))
    people = [(f"t{i}", f"t{i}-{j}") for i, size in enumerate(sizes) for j in range(size)]
    possible = list(combinations(people, 2))
    ties = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=40))
    atoms: dict[Key, People] = {}
    for (one, a), (other, b) in ties:
        key = ("ties", PAIR, f"{one}|{other}")
        atoms[key] = atoms.get(key, frozenset()) | {a, b}
    teams = {team for key in atoms for team in key[2].split("|")}
    behind = {key: frozenset([key]) for key in atoms}
    behind |= {("ties", TEAM, t): frozenset(a for a in atoms if t in a[2].split("|")) for t in teams}
    behind |= {("ties", ORG, ""): frozenset(atoms)}
    counts = {f"t{i}": size for i, size in enumerate(sizes)}
    return Org([table("ties", behind, atoms, behind)], counts, atoms, behind)


def table(measure: str, keys: Iterable[Key], atoms: dict[Key, People], behind: dict[Key, frozenset[Key]]) -> Table:
    def people(key: Key) -> int:
        return len(frozenset().union(*(atoms[atom] for atom in behind[key])))

    return Table(measure=measure, cells=tuple(Cell(key[1], key[2], float(people(key)), people(key)) for key in keys))


# ------------------------------------------------------------------------------------------------ the attack


def attacked(org: Org, out: Released) -> list[set[Key]]:
    """Sets of atoms of fewer than K people of which the released numbers tell something."""
    known = [org.behind[key] for key, cell in out.cells.items() if cell.value is not None]
    columns = sorted(org.atoms)
    rank = len(reduced([[Fraction(a in row) for a in columns] for row in known]))
    return [
        inside
        for inside in secrets(org)
        if len(reduced([[Fraction(a in row) for a in columns if a not in inside] for row in known])) < rank
    ]


def secrets(org: Org) -> list[set[Key]]:
    """Every set of atoms of fewer than K people, with all that the same people do alone."""
    found: set[frozenset[Key]] = set()
    few = [atom for atom, people in org.atoms.items() if len(people) < K]
    for size in (1, 2, 3, 4):
        for chosen in combinations(few, size):
            who = frozenset().union(*(org.atoms[atom] for atom in chosen))
            if len(who) < K:
                found.add(frozenset(atom for atom in few if org.atoms[atom] <= who))
    return [set(its) for its in found]


def reduced(rows: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """Row echelon form."""
    basis: list[tuple[int, list[Fraction]]] = []
    for row in rows:
        rest = list(row)
        for lead, other in basis:
            if factor := rest[lead]:
                rest = [x - factor * y for x, y in zip(rest, other, strict=True)]
        lead = next((i for i, x in enumerate(rest) if x), None)
        if lead is not None:
            basis.append((lead, [x / rest[lead] for x in rest]))
    return [row for _, row in basis]


@_quick
@given(org=by_team())
def test_no_group_of_few_follows_from_what_is_released_of_teams(org: Org) -> None:
    assert attacked(org, released(org)) == []
    assert recoverable(org.tables, released(org), K, org.sums) == []


@_quick
@given(org=by_pair())
def test_no_group_of_few_follows_from_a_two_way_table_with_its_totals(org: Org) -> None:
    assert attacked(org, released(org)) == []
    assert recoverable(org.tables, released(org), K) == []


@_quick
@given(org=st.one_of(by_team(), by_pair()))
def test_the_audit_catches_every_naive_release_that_the_attack_breaks(org: Org) -> None:
    if attacked(org, naive(org)):
        assert recoverable(org.tables, naive(org), K, org.sums)


def drawn(seed: int) -> Org:
    """Teams of 1 to 9 people and their organisation."""
    sizes = {f"t{i}": int(n) for i, n in enumerate(np.random.default_rng(seed).integers(1, 10, 6))}
    members = {("load", TEAM, t): frozenset(f"{t}-{j}" for j in range(n)) for t, n in sizes.items()}
    behind = {key: frozenset([key]) for key in members} | {("load", ORG, ""): frozenset(members)}
    return Org([table("load", behind, members, behind)], sizes, members, behind)


def test_the_naive_release_falls_to_the_attack_and_to_the_audit() -> None:
    """The control: of forty organisations the naive release gives a group away in a fifth, ours in none."""
    orgs = [drawn(seed) for seed in range(40)]
    broken = [bool(attacked(org, naive(org))) for org in orgs]
    assert sum(broken) > 5
    assert [bool(recoverable(org.tables, naive(org), K)) for org in orgs] == broken
    assert not any(attacked(org, released(org)) for org in orgs)


# ------------------------------------------------------------------------------------------------ rules


def cells(**people: int) -> tuple[Cell, ...]:
    return tuple(Cell(TEAM, team, float(n), n) for team, n in people.items())


def shown(out: Released, measure: str = "load") -> set[str]:
    return {key[2] for key, cell in out.cells.items() if key[0] == measure and cell.value is not None}


def test_one_small_team_takes_the_next_smallest_with_it_if_the_total_is_known() -> None:
    teams = Table(measure="load", cells=cells(small=3, middle=6, large=9))
    org = Table(measure="load", cells=(Cell(ORG, "", 1.0, 18),))
    assert shown(release([teams, org], K, {})) == {"large", ""}
    assert shown(release([teams], K, {})) == {"middle", "large"}
    assert shown(release([teams, org], K, {}, hide_first=["large"])) == {"middle", ""}


def test_what_does_not_add_up_needs_no_second_victim() -> None:
    teams = Table(measure="load", cells=(*cells(small=3, middle=6), Cell(ORG, "", 1.0, 9)), adds_up=False)
    assert shown(release([teams], K, {})) == {"middle", ""}


def test_small_teams_that_are_enough_together_need_none_either() -> None:
    teams = Table(measure="load", cells=(*cells(one=3, two=3, large=9), Cell(ORG, "", 1.0, 15)))
    assert shown(release([teams], K, {})) == {"large", ""}


def test_one_person_in_no_team_is_protected_from_the_difference_to_the_total() -> None:
    teams = Table(measure="load", cells=(*cells(middle=6, large=9), Cell(ORG, "", 1.0, 16)))
    assert shown(release([teams], K, {})) == {"large", ""}
    closed = Table(measure="load", cells=(*cells(middle=6, large=9), Cell(ORG, "", 1.0, 15)))
    assert shown(release([closed], K, {})) == {"middle", "large", ""}


def test_a_part_of_few_does_not_follow_from_the_sum_and_the_other_parts() -> None:
    def of(measure: str, people: int) -> Table:
        return Table(measure=measure, cells=(Cell(TEAM, "a", 1.0, people), Cell(TEAM, "b", 1.0, 12)))

    parts, total = [of("late", 9), of("weekend", 3)], of("strain", 9)
    apart, linked = (
        release([*parts, total], K, {}),
        release([*parts, total], K, {}, [Sum("strain", ("late", "weekend"))]),
    )
    assert shown(apart, "late") == shown(apart, "strain") == {"a", "b"}
    assert shown(linked, "weekend") == {"b"}
    assert "a" not in shown(linked, "late") & shown(linked, "strain")


def test_the_same_team_is_the_victim_in_every_measure() -> None:
    def load(week: int, b: int, c: int) -> Table:
        teams = (*cells(a=2, b=b, c=c, d=20), Cell(ORG, "", 1.0, 22 + b + c))
        return Table(measure=f"week {week}", cells=teams)

    out = release([load(1, 6, 7), load(2, 8, 7)], K, {})
    assert shown(out, "week 1") == shown(out, "week 2") == {"c", "d", ""}


def test_nothing_about_a_person_comes_out_not_even_that_it_was_there() -> None:
    out = release([Table(measure="load", cells=(Cell(SubjectKind.PERSON, "p_" + "a" * 16, 1.0, 99),))], K, {})
    assert out.cells == {}


def test_a_pair_needs_both_teams_and_a_team_of_unknown_size_is_small() -> None:
    pairs = tuple(Cell(PAIR, pair, 1.0, 9) for pair in ("a|b", "a|c", "a|d"))
    assert shown(release([Table(measure="load", cells=pairs)], K, {"a": 9, "b": 9, "c": 4})) == {"a|b"}


def test_an_extreme_needs_thirty_people() -> None:
    table = Table(measure="load", cells=cells(a=29, b=30), extreme=True)
    assert shown(release([table], K, {})) == {"b"}


def test_a_sum_that_is_nearly_one_persons_is_hidden_also_when_it_is_what_a_total_leaves() -> None:
    own = Table(measure="load", cells=(Cell(TEAM, "a", 100.0, 9, 0.95), Cell(TEAM, "b", 100.0, 9, 0.3)))
    assert shown(release([own], K, {})) == {"b"}
    few = (Cell(TEAM, "a", 100.0, 3, 0.99), Cell(TEAM, "b", 1.0, 5, 0.3), Cell(TEAM, "c", 90.0, 9, 0.2))
    out = release([Table(measure="load", cells=(*few, Cell(ORG, "", 191.0, 17)))], K, {})
    assert shown(out) == {""}, "hiding b as well would leave 101, of which 99 are one person's"


def test_hidden_zeros_do_not_follow_from_a_sum_of_zero() -> None:
    teams = (Cell(TEAM, "a", 0.0, 3), Cell(TEAM, "b", 0.0, 5), Cell(TEAM, "c", 7.0, 9), Cell(ORG, "", 7.0, 17))
    assert shown(release([Table(measure="load", cells=teams, floor=0.0)], K, {})) == {""}
    naive_out = release([Table(measure="load", cells=teams)], K, {})
    assert shown(naive_out) == {"c", ""}
    assert recoverable([Table(measure="load", cells=teams, floor=0.0)], naive_out, K)


def test_the_reason_does_not_tell_the_small_group_from_the_one_that_protects_it() -> None:
    teams = Table(measure="load", cells=(*cells(small=3, middle=6, large=9), Cell(ORG, "", 1.0, 18)))
    out = release([teams], K, {})
    small, middle = out.of("load", TEAM, "small"), out.of("load", TEAM, "middle")
    assert (small.value, small.hidden) == (middle.value, middle.hidden) == (None, True)


def test_values_are_rounded_and_what_has_none_is_not_called_hidden() -> None:
    series = Series("load", 1, TEAM, 0, ("a", "b"), np.array([1234.567, np.nan]), np.array([9, 9]))
    out = release([table_of(series)], K, {})
    assert out.value("load@1 0", TEAM, "a") == 1230.0
    assert out.of("load@1 0", TEAM, "b") == Shown(TEAM, "b", None, hidden=False)
    assert out.of("nothing", TEAM, "a").value is None


def test_a_leak_names_groups_and_how_many_people() -> None:
    org = drawn_with_one_small_team()
    (leak, *_) = recoverable(org.tables, naive(org), K)
    assert leak == sink.Leak((("load", "small"),), 3)


def drawn_with_one_small_team() -> Org:
    teams = Table(measure="load", cells=(*cells(small=3, middle=6), Cell(ORG, "", 1.0, 9)))
    return Org([teams], {}, {}, {})


@pytest.mark.parametrize("count", [2_000])
def test_many_teams_and_pairs_take_no_long(count: int) -> None:
    """The sets of small teams are never listed where none can be exposed: 2,000 teams, all too small to list."""
    teams = tuple(Cell(TEAM, f"t{i}", 1.0, 1 + i % 7) for i in range(count))
    org = Cell(ORG, "", 1.0, sum(cell.people for cell in teams))
    assert len(shown(release([Table(measure="load", cells=(*teams, org))], K, {}))) > count / 3
