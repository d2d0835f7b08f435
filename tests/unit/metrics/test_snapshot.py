"""The graph as arrays, and what its fingerprints notice."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipelines.graph import weights
from pipelines.metrics import snapshot as snapshots
from pipelines.metrics.snapshot import Part, Snapshot
from tests.support.make import NOW_MS, outsider, person
from tests.support.snapshots import END_MS, START_MS, taken, tie

ROSTER = [(person(0), "red"), (person(1), "blue"), (person(2), None), (person(3), "red"), (person(4), "blue")]
TIES = [tie(0, 1, 2.0), tie(1, 0, 0.5, "email"), tie(0, 1, 0.25, "email"), tie(3, 4, 0.1), tie(2, 3, 1.0)]


def take(ties: list[object] | None = None, roster: list[tuple[str, str | None]] | None = None) -> Snapshot:
    return snapshots.take(ties or TIES, roster or ROSTER, START_MS, END_MS, 1.0)  # type: ignore[arg-type]


def changed(one: Snapshot, other: Snapshot) -> set[Part]:
    return {part for part in one.digests if one.digests[part] != other.digests[part]}


def test_people_are_numbered_by_team_and_pseudonym() -> None:
    found = take()
    assert found.people == (person(1), person(4), person(0), person(3), person(2))
    assert (found.teams, found.team.tolist()) == (("blue", "red"), [0, 0, 1, 1, -1])


def test_media_and_directions_are_summed() -> None:
    found = take()
    a, b = found.people.index(person(0)), found.people.index(person(1))
    arcs = dict(
        zip(zip(found.directed.sources(), found.directed.indices, strict=True), found.directed.weights, strict=True)
    )
    assert (arcs[a, b], arcs[b, a]) == (2.25, 0.5)
    assert found.undirected.strengths()[a] == 2.75
    assert (found.directed.m, found.undirected.m) == (4, 3)


def test_the_order_of_reading_changes_nothing() -> None:
    """Strengths whose sum depends on the order, so that an unsorted sum would be seen."""
    ties = [tie(0, 1, s, m) for s, m in ((0.1, "email"), (0.2, "message"), (0.3, "call"), (0.7, "meeting"))]
    ties += [tie(a, outsider(b), 0.1 + 0.3 * b + 0.7 * a) for a in range(5) for b in range(4)]
    rng = random.Random(7)
    seen = set()
    for _ in range(20):
        shuffled, roster = rng.sample(ties, len(ties)), rng.sample(ROSTER, len(ROSTER))
        found = snapshots.take(shuffled, roster, START_MS, END_MS, 0.5)
        seen.add((found.fingerprint, found.people, found.undirected.weights.tobytes(), found.outside.tobytes()))
    assert len(seen) == 1
    naive = {sum(t.strength for t in rng.sample(ties[:4], 4)) for _ in range(50)}
    assert len(naive) > 1, "the control: these strengths add up differently in another order"


def test_time_that_passes_changes_strengths_and_no_fingerprint() -> None:
    later = END_MS + 14 * 86_400_000
    now, then = (snapshots.take(TIES, ROSTER, START_MS, end, weights.shown(1.0, end)) for end in (END_MS, later))
    assert then.fingerprint == now.fingerprint
    assert then.undirected.weights == pytest.approx(now.undirected.weights / 2)


def test_a_tie_that_falls_out_of_the_window_is_a_change() -> None:
    old = [*TIES[:-1], tie(2, 3, 1.0, last=START_MS)]
    inside = snapshots.take(old, ROSTER, START_MS, END_MS, 1.0)
    outside = snapshots.take(old, ROSTER, START_MS + 1, END_MS, 1.0)
    assert (inside.undirected.m, outside.undirected.m) == (3, 2)
    assert changed(inside, outside) == {Part.PAIRS, Part.ARCS, Part.STRENGTH}


def test_each_fingerprint_notices_its_own_part_only() -> None:
    before = take()
    moved = [(p, "green" if p == person(4) else team) for p, team in ROSTER]
    assert changed(before, take(roster=moved)) == {Part.TEAMS}
    assert changed(before, take([*TIES, tie(0, 1, 1.0, "call")])) == {Part.STRENGTH}
    assert changed(before, take([*TIES, tie(4, 3, 1.0)])) == {Part.ARCS, Part.STRENGTH}
    assert changed(before, take([*TIES, tie(0, 4, 1.0)])) == {Part.PAIRS, Part.ARCS, Part.STRENGTH}
    assert changed(before, take([*TIES, tie(0, outsider(1))])) == {Part.OUTSIDE}
    assert changed(before, take(roster=[*ROSTER, (person(9), None)])) == set(before.digests)


def test_teams_that_swap_their_names_are_a_change() -> None:
    swapped = [(p, {"red": "blue", "blue": "red"}.get(team or "", team)) for p, team in ROSTER]
    assert changed(take(), take(roster=swapped)) == {Part.TEAMS}


def test_ties_out_of_the_organisation_count_beside_the_graph() -> None:
    found = take([*TIES, tie(0, outsider(1), 2.0), tie(outsider(2), 0, 1.0), tie(outsider(1), outsider(2), 9.0)])
    assert dict(zip(found.people, found.outside.tolist(), strict=True))[person(0)] == 3.0
    assert found.outside.sum() == 3.0
    assert found.undirected.m == 3


def test_who_has_left_is_neither_inside_nor_outside() -> None:
    found = take([*TIES, tie(0, 77), tie(77, 1), tie(77, outsider(1))])
    assert found.fingerprint == take().fingerprint


def test_a_tie_without_strength_is_none() -> None:
    assert take([*TIES, tie(0, 4, 0.0)]).fingerprint == take().fingerprint


@pytest.mark.parametrize("people", [0, 1, 3])
def test_a_graph_without_ties_is_a_graph(people: int) -> None:
    found = taken([], people)
    assert (found.n, found.undirected.m, found.teams) == (people, 0, ())
    assert found.outside.tolist() == [0.0] * people
    assert len(found.fingerprint) == 32


def test_gaps_are_between_acts_of_one_person_inside_the_window() -> None:
    hour = 3_600_000
    chunks = [
        ((person(1), person(0), person(99)), np.array([0, 1, 0, 2]), np.array([5, 2, 1, 3]) * hour + START_MS),
        ((person(0), person(1)), np.array([0, 1, 1]), np.array([START_MS - 1, END_MS, START_MS + 9 * hour])),
    ]
    found = snapshots.with_acts(take(), chunks)  # type: ignore[arg-type]
    assert found.gaps is not None
    assert found.gap_offsets is not None
    at = found.people.index(person(1))
    assert found.gaps[found.gap_offsets[at] : found.gap_offsets[at + 1]].tolist() == [4.0, 4.0]
    assert len(found.gaps) == 2
    again = snapshots.with_acts(take(), reversed(chunks))  # type: ignore[arg-type]
    assert again.digests == found.digests
    assert found.digests[Part.EVENTS] != snapshots.with_acts(take(), []).digests[Part.EVENTS]


def test_without_acts_there_is_no_fingerprint_of_them() -> None:
    assert Part.EVENTS not in take().digests
    assert NOW_MS == END_MS
