"""Who works with whom, as teams: what of the graph may be shown to people, and nothing else. Pure.

All that is drawn or printed of the team graph comes from a `TeamGraph`, so that what it does not hold cannot get out.

1. A team in which fewer than k people take part in any tie never stands by itself. Such teams, and people without a
   team, make one group; while that is too small as well, the next smallest team is added. So no size is below k.
2. The ties between two groups are shown only if k or more people take part in them and nobody in nearly all of them: a
   team's only go-between is one person, however many are on the other side.
3. All that is hidden is one sum, and it has to keep rule 2 as well, because who knows the grand total can subtract what
   is shown. Until it does, the weakest shown ties are hidden with it. No total of a single team includes hidden ties.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from pipelines.model import Tie
from pipelines.report.seriation import in_blocks

OTHER = "other (smaller teams)"
#: A sum of which one person has more than this is that person's, to within a tenth.
_ONE_PERSON = 0.9

Pair = tuple[int, int]
#: Numbers in place of a team's.
_OUTSIDE, _NO_TEAM = -1, 0


@dataclass(frozen=True, slots=True)
class Group:
    """A team; or several, with the people who have none: then `teams` says how many they are."""

    name: str
    size: int
    teams: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum of ties. strength: in units of weight, as of now. n: interactions, one for each target."""

    strength: float = 0.0
    n: int = 0


@dataclass(frozen=True)
class TeamGraph:
    """What may be shown.

    groups: those that work together are neighbours; the one of several teams is last.
    ties: (i, j) with i <= j -> both directions together. A pair that is missing is hidden, or there is nothing: nobody
    can tell which.
    outside: ties with people outside the organisation; None as for pairs.
    hidden: the sum of all that is hidden; None when even that would say too much. Then nothing else is shown either.
    days: first and last day of what is shown; days only, for the time of a pair's last interaction is somebody's.
    """

    k: int
    groups: tuple[Group, ...] = ()
    ties: Mapping[Pair, Amount] = field(default_factory=dict)
    outside: Amount | None = None
    hidden: Amount | None = None
    days: tuple[date, date] | None = None

    @property
    def people(self) -> int:
        return sum(group.size for group in self.groups)

    @property
    def shown(self) -> Amount:
        """All shown ties inside the organisation."""
        return total(self.ties.values())

    @property
    def within(self) -> Amount:
        """Shown ties inside a group that is one team."""
        return total(tie for (i, j), tie in self.ties.items() if i == j and self.groups[i].teams is None)

    @property
    def everything(self) -> Amount | None:
        """The grand total, whether shown or hidden."""
        if self.hidden is None:
            return None
        return total((self.shown, self.outside or Amount(), self.hidden))

    def with_others(self, group: int) -> Amount:
        """A group's shown ties with other groups; what is hidden is not in it."""
        return total(tie for (i, j), tie in self.ties.items() if i != j and group in (i, j))

    def between(self) -> list[tuple[Pair, Amount]]:
        """Shown ties between two groups, the strongest first."""
        pairs = [(pair, tie) for pair, tie in self.ties.items() if pair[0] != pair[1]]
        return sorted(pairs, key=lambda item: (-item[1].strength, item[0]))


def total(amounts: Iterable[Amount]) -> Amount:
    listed = list(amounts)
    return Amount(sum(amount.strength for amount in listed), sum(amount.n for amount in listed))


def build(
    people: Iterable[tuple[str, str | None]], ties: Iterable[Tie], shown: Callable[[Tie], float], k: int = 5
) -> TeamGraph:
    """The team graph of an organisation.

    Args:
        people: (id, team or None) of everybody inside; as `Graph.people`.
        ties: as `Graph.ties`, read once. Ends that are not in `people` are outside.
        shown: strength of a tie as of now, in units of weight: `lambda tie: weights.shown(tie.strength, now_ms)`.
        k: no number is about fewer people than this.

    Returns:
        Without groups if fewer than k people take part in any tie.
    """
    team_of = dict(people)
    names = sorted({team for team in team_of.values() if team is not None})
    number = {name: i for i, name in enumerate(names, start=_NO_TEAM + 1)}
    place = {person: _NO_TEAM if team is None else number[team] for person, team in team_of.items()}
    sums = _sum_up(place, ties, shown)
    groups, group_of = _groups(names, Counter(place.values()), _active(place, sums), k)
    if not groups:
        return TeamGraph(k)
    visible, hidden = _suppress(_regroup(sums, group_of), k)
    amounts = {pair: its.amount for pair, its in visible.items()}
    outside = amounts.pop((_OUTSIDE, _OUTSIDE), None)
    return _in_order(TeamGraph(k, groups, amounts, outside, hidden, _days(visible.values())))


# ------------------------------------------------------------------------------------------------ sums


@dataclass(slots=True)
class _Sum:
    """Ties on the way to an `Amount`, with what each person has of them: person -> (strength, n)."""

    strength: float = 0.0
    n: int = 0
    first_ms: int = 0
    last_ms: int = 0
    of: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, strength: float, tie: Tie, people: Iterable[str]) -> None:
        self._extend(strength, tie.n, tie.first_ms, tie.last_ms)
        for person in people:
            self._share(person, strength, tie.n)

    def absorb(self, other: _Sum) -> None:
        self._extend(other.strength, other.n, other.first_ms, other.last_ms)
        for person, (strength, n) in other.of.items():
            self._share(person, strength, n)

    def _share(self, person: str, strength: float, n: int) -> None:
        before = self.of.get(person)
        self.of[person] = (before[0] + strength, before[1] + n) if before else (strength, n)

    def _extend(self, strength: float, n: int, first_ms: int, last_ms: int) -> None:
        self.first_ms = min(self.first_ms, first_ms) if self.n else first_ms
        self.last_ms = max(self.last_ms, last_ms)
        self.strength += strength
        self.n += n

    def may_be_shown(self, k: int) -> bool:
        """Rule 2."""
        if len(self.of) < k:
            return False
        strength, n = (max(share[i] for share in self.of.values()) for i in (0, 1))
        return strength <= _ONE_PERSON * self.strength and n <= _ONE_PERSON * self.n

    @property
    def amount(self) -> Amount:
        return Amount(self.strength, self.n)


def _sum_up(place: Mapping[str, int], ties: Iterable[Tie], shown: Callable[[Tie], float]) -> dict[Pair, _Sum]:
    """Sums by pair of teams, as they are; what goes outside is one sum. Ties among outsiders are nobody's business."""
    sums: dict[Pair, _Sum] = defaultdict(_Sum)
    for tie in ties:
        ends = [person for person in (tie.actor, tie.target) if person in place]
        if not ends:
            continue
        one, other = sorted(place[person] for person in ends) if len(ends) == 2 else (_OUTSIDE, _OUTSIDE)
        sums[one, other].add(shown(tie), tie, ends)
    return sums


def _active(place: Mapping[str, int], sums: Mapping[Pair, _Sum]) -> Counter[int]:
    """How many of each team take part in any tie. A team of many of whom three are active is a team of three."""
    return Counter(place[person] for person in {person for its in sums.values() for person in its.of})


def _regroup(sums: Mapping[Pair, _Sum], group_of: Mapping[int, int]) -> dict[Pair, _Sum]:
    """The sums by pair of groups. Most are one of `sums` as it is, which is used up by this."""
    found: dict[Pair, _Sum] = {}
    for (one, other), its in sums.items():
        low, high = sorted((group_of[one], group_of[other]))
        if (low, high) in found:
            found[low, high].absorb(its)
        else:
            found[low, high] = its
    return found


# ------------------------------------------------------------------------------------------------ what may be shown


def _groups(
    names: list[str], sizes: Mapping[int, int], active: Mapping[int, int], k: int
) -> tuple[tuple[Group, ...], dict[int, int]]:
    """Rule 1: the groups, and the group of each team's number. No groups if it cannot be done."""
    kept = sorted((t for t in sizes if t != _NO_TEAM and active[t] >= k), key=lambda t: (active[t], sizes[t], t))
    rest = [team for team in sizes if team not in kept]
    while rest and kept and sum(active[team] for team in rest) < k:
        rest.append(kept.pop(0))
    if sum(active[team] for team in rest) < k and rest:
        return (), {}
    groups = [Group(names[team - 1], sizes[team]) for team in sorted(kept)]
    group_of = {_OUTSIDE: _OUTSIDE} | {team: i for i, team in enumerate(sorted(kept))}
    if rest:
        group_of |= dict.fromkeys(rest, len(groups))
        groups.append(Group(OTHER, sum(sizes[team] for team in rest), sum(team != _NO_TEAM for team in rest)))
    return tuple(groups), group_of


def _suppress(sums: Mapping[Pair, _Sum], k: int) -> tuple[dict[Pair, _Sum], Amount | None]:
    """Rules 2 and 3: what is shown, and the sum of what is hidden."""
    visible = {pair: its for pair, its in sums.items() if its.may_be_shown(k)}
    hidden = _Sum()
    for pair, its in sums.items():
        if pair not in visible:
            hidden.absorb(its)
    for pair in sorted(visible, key=lambda pair: (visible[pair].strength, pair)):
        if not hidden.n or hidden.may_be_shown(k):
            break
        hidden.absorb(visible.pop(pair))
    safe = not hidden.n or hidden.may_be_shown(k)
    return visible, hidden.amount if safe else None


def _days(visible: Collection[_Sum]) -> tuple[date, date] | None:
    if not visible:
        return None
    ends = (min(its.first_ms for its in visible), max(its.last_ms for its in visible))
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in ends)
    return first, last


def _in_order(graph: TeamGraph) -> TeamGraph:
    """The graph with its groups in blocks. The order follows from what is shown, or it would tell what is not."""
    teams = [i for i, group in enumerate(graph.groups) if group.teams is None]
    links = {
        (i, j): tie.strength / (graph.groups[i].size * graph.groups[j].size)
        for (i, j), tie in graph.ties.items()
        if i in teams and j in teams
    }
    order = in_blocks(len(teams), links) + list(range(len(teams), len(graph.groups)))
    now_at = {old: new for new, old in enumerate(order)}
    ties = {(min(now_at[i], now_at[j]), max(now_at[i], now_at[j])): tie for (i, j), tie in graph.ties.items()}
    return replace(graph, groups=tuple(graph.groups[i] for i in order), ties=ties)
