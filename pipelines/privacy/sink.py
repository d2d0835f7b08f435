"""The privacy sink: the one function through which numbers reach people, on a terminal, a page, in JSON or an alert.

It decides by how many people are behind a number, never by its value, except where the value itself gives away whose it
is. Rounding is for reading and makes differences between runs coarser; it is not counted on as protection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipelines.evidence import SubjectKind
from pipelines.privacy.subtraction import ONE_PERSON, Atoms, System, exposed, systems
from pipelines.privacy.tables import Cell, Key, Released, Shown, Sum, Table, keys_of, teams_of

#: Smallest group of which an extreme or a percentile is shown: in a smaller one it is somebody's.
EXTREME_OF = 30


def release(
    tables: Sequence[Table],
    k: int,
    team_sizes: Mapping[str, int],
    sums: Sequence[Sum] = (),
    hide_first: Collection[str] = (),
) -> Released:
    """What of the tables may be shown.

    1. Nothing about a person. 2. No cell of fewer than k people; of a pair of teams only if both have k, an extreme only
    of `EXTREME_OF`; no sum that is nearly one person's. 3. Nothing from which one of those follows by subtraction: of
    the cells that give it away, that of the fewest people goes as well.

    Args:
        tables: everything that is shown together, in one call: subtraction does not stop at the edge of a table.
        k: no number is about fewer people than this.
        team_sizes: people in each team. A pair with a team that is not here is hidden.
        sums: measures that are sums of other measures.
        hide_first: subjects to hide before others, because they are hidden elsewhere.

    Returns:
        Every cell about a group, with its value rounded, or hidden. The same input gives the same answer.
    """
    hidden = {key for key, table, cell in keys_of(tables) if _too_few(table, cell, k, team_sizes)}
    first = set(hide_first)
    for system in systems(tables, sums):
        extra = _complement(system, {key for key in hidden if key in system.cells}, k, first)
        first |= {key[2] for key in extra if key[1] is SubjectKind.TEAM}
        hidden |= extra
    return Released(k, {key: _shown(table, cell, key in hidden) for key, table, cell in keys_of(tables)})


def _too_few(table: Table, cell: Cell, k: int, team_sizes: Mapping[str, int]) -> bool:
    """Rule 2."""
    if cell.value is None:
        return False
    least = max(k, EXTREME_OF) if table.extreme else k
    pair = teams_of(cell.kind, cell.subject) if cell.kind is SubjectKind.TEAM_PAIR else ()
    one_person = cell.largest is not None and cell.largest > ONE_PERSON
    return cell.people < least or one_person or any(team_sizes.get(team, 0) < k for team in pair)


def _complement(system: System, hidden: set[Key], k: int, first: Collection[str]) -> set[Key]:
    """Rule 3: what has to be hidden besides."""
    extra: set[Key] = set()
    while (secret := next(exposed(system, hidden | extra, k), None)) is not None:
        extra.add(_sacrifice(system, secret, hidden | extra, first))
    return extra


def _sacrifice(system: System, secret: Atoms, hidden: Collection[Key], first: Collection[str]) -> Key:
    """Of the released cells that give the secret away, the one whose loss costs least: a part before a total."""
    telling = [key for key in system.totals if key not in hidden and system.sums[key] & secret]
    whole = secret.union(*(system.sums[key] for key in telling))
    parts = [key for key, atoms in system.sums.items() if key not in hidden and key not in telling and atoms <= whole]
    return min(parts or telling, key=lambda key: (key[2] not in first, system.cells[key].people, key))


def _shown(table: Table, cell: Cell, hidden: bool) -> Shown:
    if cell.value is None or hidden:
        return Shown(cell.kind, cell.subject, None, hidden)
    return Shown(cell.kind, cell.subject, float(f"{cell.value:.{table.digits}g}"))


# ------------------------------------------------------------------------------------------------ the audit


@dataclass(frozen=True, slots=True)
class Leak:
    """Hidden cells whose sum follows from what was released. people: at most so many are behind it."""

    subjects: tuple[tuple[str, str], ...]
    people: int


def recoverable(tables: Sequence[Table], released: Released, k: int, sums: Sequence[Sum] = ()) -> list[Leak]:
    """Everything about fewer than k people, and every hidden cell, that adding and subtracting brings back.

    Args:
        tables: the truth that `released` was made of, by `release` or by something that has to be compared with it.
    """
    leaks = [_leak(cell, key) for key, _, cell in keys_of(tables) if cell.people < k and _is_shown(released, key)]
    for system in systems(tables, sums):
        hidden = {key for key in system.cells if not _is_shown(released, key)}
        for atoms in exposed(system, hidden, k):
            leaks.append(Leak(tuple((a[0], a[2]) for a in sorted(atoms)), sum(system.people[a] for a in atoms)))
    return leaks


def _is_shown(released: Released, key: Key) -> bool:
    cell = released.cells.get(key)
    return cell is not None and cell.value is not None


def _leak(cell: Cell, key: Key) -> Leak:
    return Leak(((key[0], key[2]),), cell.people)
