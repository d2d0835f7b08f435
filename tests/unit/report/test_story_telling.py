"""The story holds what may be told and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipelines.evidence import Series, State, Status, SubjectKind
from pipelines.privacy.sink import recoverable, release
from pipelines.privacy.tables import Shown
from pipelines.privacy.traces import check_text
from pipelines.report import story_json, story_telling
from pipelines.report.story import Level, Story
from pipelines.report.story_telling import Material, tables, tell
from tests.support import stories

WHOLE = stories.material()
SMALL = {team for team, size in stories.TEAMS.items() if size < stories.K}


def told(material: Material = WHOLE) -> Story:
    return tell(material)


def standings(story: Story, team: str) -> list[object]:
    (row,) = (row for row in story.rows if row.subject == team)
    return list(row.cells)


def test_teams_under_k_stay_visible_without_any_number() -> None:
    story = told()
    assert {row.subject for row in story.rows} == {"", *stories.TEAMS}
    for row in story.rows:
        assert (row.subject in SMALL) == all(
            cell.hidden and cell.value is None and cell.low is None for cell in row.cells
        )
    assert {ridge.subject for ridge in story.strain.ridges if ridge.is_hidden} == SMALL
    assert set(story.hidden_teams) == SMALL


def test_no_value_of_a_small_team_is_anywhere_in_the_json() -> None:
    """Their true values are marked; the mean of the organisation, of which they are part, is another number."""

    def marked(series: Series) -> Series:
        return replace(series, values=np.where(np.isin(series.subjects, list(SMALL)), 98700.0, series.values))

    material = replace(WHOLE, latest=[marked(s) for s in WHOLE.latest], strain=[marked(s) for s in WHOLE.strain])
    assert "987" not in json.dumps(story_json.as_dict(tell(material)))
    everybody = replace(material, run=replace(material.run, k=3), findings=[], proposals=[], graph=None)
    assert "987" in json.dumps(story_json.as_dict(tell(everybody))), "the control"


def test_the_audit_finds_nothing_in_a_story_and_something_in_a_naive_one() -> None:
    """Legal alone is too small, and the organisation is known: the naive release gives it away."""
    teams = {**stories.TEAMS, "Research": 5}
    material = stories.material(teams=teams, with_graph=False)
    truth, k = tables(material), stories.K
    ours = release(truth, k, material.team_sizes)
    assert recoverable(truth, ours, k) == []
    shown = [(t.measure, Shown(c.kind, c.subject, c.value if c.people >= k else None)) for t in truth for c in t.cells]
    naive = replace(ours, cells={(measure, cell.kind, cell.subject): cell for measure, cell in shown})
    leaks = recoverable(truth, naive, k)
    assert {subject for leak in leaks for _, subject in leak.subjects} == {"Legal"}
    assert set(tell(material).hidden_teams) == {"Legal", "Research"}


def test_what_the_team_graph_merges_is_hidden_first() -> None:
    """One small team: the team graph takes the smallest active one with it, and so does every table."""
    material = stories.material(teams={**stories.TEAMS, "Research": 9})
    assert material.graph
    merged = set(material.team_sizes) - {group.name for group in material.graph.groups}
    assert "Legal" in merged
    assert set(tell(material).hidden_teams) == merged


def test_a_point_about_a_person_goes_nowhere() -> None:
    id_ = "p_" + "b" * 32
    mine = Series("strain", 1, SubjectKind.PERSON, WHOLE.latest[0].time_ms, (id_,), np.array([99.0]), np.array([1]))
    finding = replace(WHOLE.findings[0], id="mine", subject_kind=SubjectKind.PERSON, subject=id_, words=f"About {id_}.")
    material = replace(WHOLE, latest=[*WHOLE.latest, mine], strain=[*WHOLE.strain, mine], findings=[finding])
    story = tell(material)
    assert story.findings == ()
    assert check_text(json.dumps(story_json.as_dict(story))) == []
    assert check_text(json.dumps(story_json.as_dict(replace(story, findings=(finding,))))), "the control"


def test_a_finding_about_few_is_suppressed_with_nothing_of_its_answer() -> None:
    (found,) = (f for f in told().findings if f.subject == "Legal")
    assert found.status is Status.SUPPRESSED
    assert (found.estimate, found.contrast_effect, found.effect_sd, found.checks, found.people) == (
        None,
        None,
        None,
        (),
        0,
    )
    assert "stronger" not in found.words


def test_people_of_a_team_are_counted_down_and_of_the_organisation_exact() -> None:
    people = {f.subject: f.people for f in told().findings if f.status is Status.CREDIBLE}
    assert people == {"": 132, "Payments": 10}
    assert all(p.people % 5 == 0 for p in told().proposals)


def test_effects_are_rounded_to_two_digits() -> None:
    estimate = replace(WHOLE.findings[0].estimate, effect=0.123456, ci_low=-0.000987654)  # type: ignore[type-var]
    (found,) = tell(replace(WHOLE, findings=[replace(WHOLE.findings[0], estimate=estimate)])).findings
    assert found.estimate
    assert (found.estimate.effect, found.estimate.ci_low) == (0.12, -0.00099)


def test_a_proposal_about_few_or_about_a_person_is_not_told() -> None:
    few = replace(WHOLE.proposals[0], id="few", people=4)
    mine = replace(WHOLE.proposals[0], id="mine", kind=SubjectKind.PERSON, people=50)
    pair = replace(WHOLE.proposals[2], id="pair", subject="Legal|Payments")
    assert [p.id for p in tell(replace(WHOLE, proposals=[few, mine, pair, *WHOLE.proposals])).proposals] == [
        p.id for p in WHOLE.proposals
    ]


@pytest.mark.parametrize(
    ("value", "level"),
    [(10.0, Level.NORMAL), (20.0, Level.NORMAL), (20.1, Level.ABOVE), (25.0, Level.ABOVE), (25.1, Level.FAR_ABOVE),
     (9.9, Level.BELOW), (4.9, Level.FAR_BELOW)],
)  # fmt: skip
def test_levels_count_from_the_edge_of_the_range(value: float, level: Level) -> None:
    assert story_telling._level(story_telling._excess(value, 10.0, 20.0)) is level


def test_a_range_without_width_still_has_an_outside() -> None:
    assert story_telling._level(story_telling._excess(1.0, 0.0, 0.0)) is Level.FAR_ABOVE
    assert story_telling._level(story_telling._excess(0.0, 0.0, 0.0)) is Level.NORMAL


def test_a_range_that_was_made_of_few_people_is_not_used() -> None:
    thin = [replace(band, people=4) for band in WHOLE.bands]
    story = tell(replace(WHOLE, bands=thin))
    assert story.changes == ()
    assert all(cell.level is None for row in story.rows for cell in row.cells)


def test_changes_come_the_furthest_first_and_ridges_with_the_highest() -> None:
    story = told()
    assert [abs(its.excess) for its in story.changes] == sorted(
        (abs(its.excess) for its in story.changes), reverse=True
    )
    assert story.changes[0].subject == story.strain.ridges[0].subject == "Payments"


def test_a_week_of_few_people_is_a_gap() -> None:
    thin = replace(
        WHOLE.strain[3], sizes=np.where(np.array(WHOLE.strain[3].subjects) == "Payments", 4, WHOLE.strain[3].sizes)
    )
    story = tell(replace(WHOLE, strain=[*WHOLE.strain[:3], thin, *WHOLE.strain[4:]]))
    values = story.strain.ridges[0].values
    assert [i for i, value in enumerate(values) if value is None] == [3]


def test_the_same_material_gives_the_same_story() -> None:
    assert tell(WHOLE) == tell(WHOLE)


def test_no_state_is_without_words() -> None:
    from pipelines.report import story_words

    assert set(story_words.STATES) == set(State)
    assert set(story_words.MEANINGS) == set(Status)
