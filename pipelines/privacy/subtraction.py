"""What follows from released numbers by adding and subtracting: the attack that complementary suppression answers.

Every number is a sum over atoms, the cells that are no sum of others (a mean counts as the sum it is of, for group sizes
are known). Who knows the released cells knows the row space of their vectors over the hidden atoms, its span, and
nothing else; a set of atoms is exposed if some vector of that span, other than zero, lies wholly inside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.evidence import SubjectKind
from pipelines.privacy.tables import Cell, Key, Sum, Table, keys_of, teams_of

Atoms = frozenset[Key]
#: A sum of which one person has more than this is that person's, to within a tenth.
ONE_PERSON = 0.9
_REST = "(in no team)"
#: A unit vector of the span that has all its length inside a set, but for rounding.
_WHOLE = 1 - 1e-9


@dataclass(frozen=True)
class System:
    """Cells that belong together. people: behind each atom. sums: the atoms of which each cell is the sum."""

    cells: Mapping[Key, Cell]
    sums: Mapping[Key, Atoms]
    people: Mapping[Key, int]
    at_floor: frozenset[Key] = field(default_factory=frozenset)

    @property
    def totals(self) -> list[Key]:
        return [key for key, atoms in self.sums.items() if atoms != {key}]


def systems(tables: Sequence[Table], sums: Sequence[Sum] = ()) -> list[System]:
    """The tables in groups between which nothing can be subtracted. Cells without a value take no part."""
    linked = _linked({table.measure for table in tables}, sums)
    groups: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        groups[linked[table.measure]].append(table)
    return [_system(group, sums) for group in groups.values()]


def exposed(system: System, hidden: Collection[Key], k: int) -> Iterator[Atoms]:
    """Sets of atoms that released cells give away although they are hidden: of fewer than k people, or single ones.

    Also what follows because hidden values are at their floor: if three numbers that cannot be negative sum to nothing,
    all three are nothing. With true values above the floor there is always a second solution, so bounds add nothing.
    """
    atoms = sorted(
        {atom for cell in system.sums.values() for atom in cell if atom in hidden or atom not in system.cells}
    )
    place = {atom: i for i, atom in enumerate(atoms)}
    span = _span(
        [[place[a] for a in system.sums[t] if a in place] for t in system.totals if t not in hidden], len(atoms)
    )
    if len(span):
        weight = dict(zip(atoms, np.sum(span**2, axis=0).tolist(), strict=True))
        for inside in _dangerous(system, weight, k):
            if _holds(span[:, [place[atom] for atom in inside]]):
                yield frozenset(inside)
    yield from _totals_in(span, system, hidden, place)
    yield from _dominated(system, hidden, place)


# ------------------------------------------------------------------------------------------------ who is a sum of whom


def _linked(measures: Iterable[str], sums: Sequence[Sum]) -> dict[str, str]:
    """The group of each measure, named by its first."""
    group = {measure: measure for measure in sorted(measures)}
    for total in sums:
        known = [m for m in (total.total, *total.parts) if m in group]
        for one, other in pairwise(known):
            old, new = group[other], group[one]
            group = {measure: new if its == old else its for measure, its in group.items()}
    return group


def _system(tables: Sequence[Table], sums: Sequence[Sum]) -> System:
    entries = [entry for entry in keys_of(tables) if entry[2].value is not None]
    cells = {key: cell for key, _, cell in entries}
    people = {key: max(cell.people, 1) for key, cell in cells.items()}
    parts = _parts(entries) | _measure_parts(cells, sums)
    for key, rest in _rests(cells, parts):
        parts[key] = (*parts[key], rest)
        people[rest] = cells[key].people - sum(cells[part].people for part in parts[key] if part in cells)
    at_floor = frozenset(key for key, table, cell in entries if cell.value == table.floor)
    return System(cells, {key: _atoms(key, parts) for key in cells}, people, at_floor)


def _parts(entries: Sequence[tuple[Key, Table, Cell]]) -> dict[Key, tuple[Key, ...]]:
    """Of a measure that adds up: the organisation from its teams (or pairs, without teams), a team from its pairs."""
    kinds: dict[tuple[str, SubjectKind], list[Key]] = defaultdict(list)
    for key, table, _ in entries:
        if table.adds_up:
            kinds[key[0], key[1]].append(key)
    parts: dict[Key, tuple[Key, ...]] = {}
    for (measure, kind), keys in kinds.items():
        pairs = kinds.get((measure, SubjectKind.TEAM_PAIR), [])
        if kind is SubjectKind.ORG:
            parts |= dict.fromkeys(keys, tuple(kinds.get((measure, SubjectKind.TEAM), pairs)))
        elif kind is SubjectKind.TEAM:
            parts |= {key: tuple(p for p in pairs if key[2] in teams_of(p[1], p[2])) for key in keys}
    return {key: its for key, its in parts.items() if its}


def _measure_parts(cells: Mapping[Key, Cell], sums: Sequence[Sum]) -> dict[Key, tuple[Key, ...]]:
    made = {key: tuple((m, *key[1:]) for m in total.parts) for total in sums for key in cells if key[0] == total.total}
    return {key: its for key, its in made.items() if all(part in cells for part in its)}


def _rests(cells: Mapping[Key, Cell], parts: Mapping[Key, tuple[Key, ...]]) -> list[tuple[Key, Key]]:
    """Who is in the organisation and in no listed team: an atom that nobody released, and perhaps one person."""
    found = []
    for key, its in parts.items():
        of_teams = key[1] is SubjectKind.ORG and all(part[1] is SubjectKind.TEAM for part in its)
        if of_teams and cells[key].people > sum(cells[part].people for part in its):
            found.append((key, (key[0], SubjectKind.TEAM, _REST)))
    return found


def _atoms(key: Key, parts: Mapping[Key, tuple[Key, ...]]) -> Atoms:
    if key not in parts:
        return frozenset([key])
    return frozenset().union(*(_atoms(part, parts) for part in parts[key]))


# ------------------------------------------------------------------------------------------------ linear algebra


def _span(rows: Iterable[Sequence[int]], width: int) -> NDArray[np.float64]:
    """An orthonormal basis (rank, width) of what the released totals say about the hidden atoms."""
    distinct = sorted({tuple(sorted(row)) for row in rows if row})
    matrix = np.zeros((len(distinct), width))
    for i, row in enumerate(distinct):
        matrix[i, list(row)] = 1.0
    if not matrix.size:
        return matrix[:0]
    _, lengths, basis = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(basis[lengths > 1e-9 * lengths[0]])


def _holds(columns: NDArray[np.float64]) -> bool:
    """Does the span hold a vector that is zero outside of these columns of its basis?"""
    return bool(columns.size) and bool(np.linalg.norm(columns, 2) > _WHOLE)


def _dangerous(system: System, weight: Mapping[Key, float], k: int) -> Iterator[list[Key]]:
    """Sets of hidden atoms that must not be exposed, each with all that it contains.

    weight: squared length of each atom's unit vector within the span; a set with less than 1 together is not exposed.
    """
    yield from ([atom] for atom in weight if atom in system.cells or system.people[atom] < k)
    if bottom := [atom for atom in weight if atom in system.at_floor]:
        yield bottom
    few = [atom for atom in weight if system.people[atom] < k]
    if pairs := [atom for atom in few if atom[1] is SubjectKind.TEAM_PAIR]:
        yield pairs  # the same few people may be in all of them
    teams = _by_subject(atom for atom in few if atom[1] is not SubjectKind.TEAM_PAIR)
    heaviest = sorted((sum(weight[atom] for atom in its) for its in teams.values()), reverse=True)
    if sum(heaviest[: k - 1]) < _WHOLE:
        return
    sizes = sorted((min(system.people[atom] for atom in its), subject) for subject, its in teams.items())
    for union in _unions(sizes, k - 1):
        yield [atom for subject in union for atom in teams[subject]]


def _by_subject(atoms: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = defaultdict(list)
    for atom in atoms:
        found[atom[2]].append(atom)
    return found


def _unions(sizes: Sequence[tuple[int, str]], most: int) -> Iterator[list[str]]:
    """Unions of disjoint groups, (people, name) in ascending order, that have at most so many people together."""
    for i, (people, name) in enumerate(sizes):
        if people > most:
            return
        yield [name]
        yield from ([name, *others] for others in _unions(sizes[i + 1 :], most - people))


def _totals_in(
    span: NDArray[np.float64], system: System, hidden: Collection[Key], place: Mapping[Key, int]
) -> Iterator[Atoms]:
    """Hidden totals that follow from the released ones."""
    for key in system.totals:
        if key not in hidden:
            continue
        vector = np.zeros(span.shape[1])
        vector[[place[atom] for atom in system.sums[key] if atom in place]] = 1.0
        if np.linalg.norm(span @ vector) >= _WHOLE * np.linalg.norm(vector):
            yield system.sums[key]


def _dominated(system: System, hidden: Collection[Key], place: Mapping[Key, int]) -> Iterator[Atoms]:
    """What a released total leaves over for the hidden cells, if nearly all of that is one person's."""
    for key in system.totals:
        left = [system.cells[atom] for atom in system.sums[key] if atom in place and atom in system.cells]
        whole = sum(abs(cell.value or 0.0) for cell in left)
        most = max((abs(cell.value or 0.0) * (cell.largest or 0.0) for cell in left), default=0.0)
        if key not in hidden and most > ONE_PERSON * whole > 0:
            yield frozenset(atom for atom in system.sums[key] if atom in place)
