"""The people of a synthetic organisation."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from pipelines.synthetic import Options
from pipelines.synthetic.organisation import Organisation, found

END = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SEEDS = range(20)


def organisation(seed: int, people: int = 120) -> Organisation:
    return found(Options(end=END, people=people, seed=seed, weeks=8))


@pytest.mark.parametrize("people", [12, 13, 17, 40, 300])
@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_something_to_hide_in_every_organisation(people: int, seed: int) -> None:
    its = organisation(seed, people)
    sizes = sorted(team.size for team in its.teams)
    assert sum(sizes) == people
    assert sizes[0] == 1
    assert sizes[1] in (3, 4)
    assert sizes[2] >= 5
    assert len({team.name for team in its.teams}) == len(its.teams)


@pytest.mark.parametrize("seed", SEEDS)
def test_everybody_has_a_chain_of_managers_that_ends_at_one_person(seed: int) -> None:
    people = organisation(seed).people
    for person in people:
        steps, at = 0, person
        while at.manager is not None:
            at, steps = people[at.manager], steps + 1
            assert steps < 5
        assert at.role_class == "manager"
    assert sum(person.manager is None for person in people) == 1


def test_teams_have_eight_people_in_the_mean_and_three_offices() -> None:
    its = organisation(1, 1000)
    assert 6.5 < 1000 / len(its.teams) < 9.5
    assert len(its.offices) == 3
    assert set(Counter(person.role_class for person in its.people)) == {"ic", "lead", "manager"}


@pytest.mark.parametrize("seed", SEEDS)
def test_leads_stay_and_changes_happen_at_week_ends(seed: int) -> None:
    its = organisation(seed)
    assert all(change.at.weekday() == 5 for change in its.changes)
    assert all(its.people[change.person].role_class == "ic" for change in its.changes if change.kind != "joined")
    assert Counter(change.kind for change in its.changes) == {"joined": 1, "left": 1, "moved": 4}
