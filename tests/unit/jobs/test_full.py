"""The four steps over stores in memory: their order, what one hands to the next, and every crash between two calls."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from pipelines import steps
from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from pipelines.evidence import State, SubjectKind
from pipelines.jobs import full, refresh, telling, turns
from pipelines.jobs.full import FullRun, FullStores
from pipelines.jobs.turns import Plan
from pipelines.metrics import columns
from pipelines.metrics.views import VIEWS, MaterializedViewManager
from pipelines.person_weeks import COLUMNS, WeekRows
from pipelines.report.story import Note
from tests.support import fakes
from tests.support.fakes import Crash, World
from tests.support.fakes_metrics import FakeMetrics, Marker
from tests.support.fakes_proposals import FakeProposals, finding
from tests.support.fakes_timeseries import FakeStepResults, FakeTimeSeries
from tests.support.fakes_weeks import FakeWeeks, WeekWorld, as_table
from tests.support.full_runs import STEPS, Stage, canned
from tests.support.make import person
from tests.support.snapshots import tie

NOW = datetime(2026, 3, 2, 13, 20, tzinfo=UTC)
WINDOW, HISTORY = timedelta(days=84), timedelta(weeks=52)
REFRESH, ANALYSE, STORE, PROPOSE = STEPS
FOUND = [finding()]  # meetings wear people out, for all


def weeks(people: int = 12, count: int = 13) -> dict[date, WeekRows]:
    """Two teams whose weeks are alike; in the last one the first team meets for hours."""
    rng = np.random.default_rng(1)
    names = tuple(person(n) for n in range(people))
    teams = ("red",) * (people // 2) + ("blue",) * (people - people // 2)
    found = {}
    for number in range(count):
        week = date(2026, 2, 23) - timedelta(weeks=count - 1 - number)
        values = {name: rng.uniform(1, 2, people) for name in COLUMNS}
        values["meeting_h"][: people // 2] += 6.0 if number == count - 1 else 0.0
        found[week] = WeekRows(week, names, teams, values, np.full(people, 30.0), {})
    return found


class Office:
    """Stores in memory that hold a small organisation."""

    def __init__(self, people: int = 12) -> None:
        self.world, self.marker = World(), Marker()
        self.weeks = WeekWorld(weeks=weeks(people))
        self.points, self.results, self.proposals = FakeTimeSeries(), FakeStepResults(), FakeProposals()
        self.is_free, self.found = True, FOUND
        for n in range(people):
            self.world.people[person(n)] = {
                "team": "red" if n < people // 2 else "blue",
                "at": (0, ""),
                "present": True,
            }
            self.add(n, (n + 1) % people)

    def add(self, actor: int, target: int) -> None:
        new = tie(actor, target, 2.0**160)
        self.world.ties[new.ends] = new

    def stores(self) -> FullStores:
        plain = fakes.stores(self.world)
        archive: Any = plain.archive
        archive.outcomes = lambda since: iter([(person(1), since, "exhaustion", 3.0)])
        return FullStores(
            graph=plain.graph,
            metrics=FakeMetrics(self.world, self.marker),
            archive=archive,
            weeks=FakeWeeks(self.weeks),
            points=self.points,
            results=self.results,
            proposals=self.proposals,
            alone=partial(nullcontext, self.is_free),
        )

    def run(self, stage: Stage | None = None, *, resume: bool = False, now: datetime = NOW, **rest: Any) -> FullRun:
        made = turns.resumed(plan().run, now, WINDOW, HISTORY, **rest) if resume else plan(now, **rest)
        with canned(self.found):
            return (stage or Stage()).run(self.stores(), made, resume=resume)

    def left(self) -> dict[str, Any]:
        """All that is there, but for counts and for the times at which it was written."""
        nodes = FakeMetrics(self.world, self.marker).nodes()
        return {
            "nodes": {p: {k: v for k, v in its.items() if k != "refreshed_at"} for p, its in nodes.items()},
            "marker": asdict(self.marker),
            "weeks": {week: as_table(rows) for week, rows in self.weeks.weeks.items()},
            "points": dict(self.points.kept.points),
            "findings": dict(self.points.kept.findings),
            "baselines": dict(self.points.kept.baselines),
            "results": {key: result.payload for key, result in self.results.kept.items()},
            "proposals": dict(self.proposals.there),
            "audit": list(self.proposals.rows),
        }


def plan(now: datetime = NOW, **rest: Any) -> Plan:
    return turns.plan_for(now, WINDOW, HISTORY, **rest)


@pytest.fixture(autouse=True)
def _few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [view for view in VIEWS if view.name in ("degree", "strength", "team_density", "org_ties")]
    monkeypatch.setattr(refresh, "MaterializedViewManager", partial(MaterializedViewManager, few))


# ------------------------------------------------------------------------------------------------ the plan


def test_all_turns_of_an_hour_are_one_run_over_one_window() -> None:
    one, other = plan(), plan(NOW + timedelta(minutes=39))
    assert (one.run, one.start, one.end) == (other.run, other.start, other.end)
    assert (one.run, one.end) == ("full-2026-03-02T13", NOW.replace(minute=0))
    elsewhere = NOW.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    assert plan(elsewhere).run == one.run


def test_a_run_is_resumed_over_its_own_window() -> None:
    later = turns.resumed(plan().run, NOW + timedelta(hours=9), WINDOW, HISTORY)
    assert replace(later, now=NOW) == plan()


@pytest.mark.parametrize("name", ["", "last", "full-2026-03-02", "full-2026-13-02T06", "incremental-2026-03-02T06"])
def test_what_is_not_the_name_of_a_run_is_said_so(name: str) -> None:
    with pytest.raises(InvalidInput, match="a name looks like full-2026-03-02T06"):
        turns.resumed(name, NOW, WINDOW, HISTORY)


# ------------------------------------------------------------------------------------------------ the steps


def test_the_four_steps_run_in_their_order_and_each_has_its_retries() -> None:
    office, stage = Office(), Stage()
    done = office.run(stage)
    assert list(stage.begun) == [step.name for step in done.steps] == list(STEPS)
    assert STEPS == (
        "refresh_materialized_views", "run_causal_analysis", "store_metrics", "evaluate_interventions",
    )  # fmt: skip
    assert set(STEPS) <= steps.RETRIES.keys()
    assert not any(step.skipped for step in done.steps)


def test_a_run_stores_numbers_and_findings_and_proposes() -> None:
    office = Office()
    done = {step.name: step.counts for step in office.run(requested_by=("Anna",)).steps}
    assert (done[REFRESH]["people"], done[REFRESH]["views"]) == (12, 4)
    assert (done[ANALYSE]["findings"], done[ANALYSE]["credible"]) == (1, 1)
    assert done[STORE]["points"] == done[STORE]["points_changed"] == len(office.points.kept.points)
    (made,) = office.proposals.list([State.PENDING_APPROVAL])
    assert (made.run, made.requested_by) == (plan().run, ("Anna",))


def test_the_same_window_again_changes_nothing() -> None:
    office = Office()
    office.run()
    first = office.left()
    again = office.run(now=NOW + timedelta(minutes=20))
    assert office.left() == first
    assert again.steps[2].counts["points_changed"] == 0


def test_what_a_run_proposed_does_not_stand_in_the_way_of_the_same_run_again() -> None:
    """For all it is not shown to help, for one team it is: and the second turn finds that team's proposal already there."""
    office = Office()
    of_red = finding(id="f2", subject_kind=SubjectKind.TEAM, subject="red", people=6)
    for_all = finding(contrast_effect=(-0.20, -0.80, 0.40), effect_sd=0.5)
    office.found = [for_all, of_red]
    office.run()
    first = office.left()
    assert {p.target.key: p.state for p in office.proposals.there.values()} == {
        "": State.BLOCKED, "red": State.PENDING_APPROVAL,
    }  # fmt: skip
    office.run(now=NOW + timedelta(minutes=20))
    assert office.left() == first


def test_whoever_said_not_to_propose_may_resume_the_run_and_have_it_proposed() -> None:
    office = Office()
    office.run(propose=False)
    assert office.proposals.there == {}
    told = office.run(resume=True)
    assert [step.skipped for step in told.steps] == [True, True, True, False]
    assert office.proposals.there


def test_while_interventions_are_halted_a_run_ends_well_and_proposes_nothing() -> None:
    office = Office()
    office.proposals.halt("Anna", "a fire drill", NOW)
    assert office.run().steps[3].counts["halted"] == 1
    assert office.proposals.there == {}


def test_teams_are_counted_and_everybody_under_no_name() -> None:
    office = Office()
    office.world.people[person(0)]["team"] = None
    assert full.team_sizes(office.stores()) == {"": 12, "red": 5, "blue": 6}


# ------------------------------------------------------------------------------------------------ crashes


def test_after_a_crash_between_any_two_calls_the_next_turn_ends_as_an_undisturbed_one() -> None:
    undisturbed, stage = Office(), Stage()
    undisturbed.run(stage)
    wanted = undisturbed.left()
    refreshed = stage.passed.index(f"{REFRESH}: step after")
    for place, point in enumerate(stage.passed):
        if point.endswith(" after") and place != len(stage.passed) - 1:
            continue  # nothing happens from here to the next call
        office, second = Office(), Stage()
        with pytest.raises(Crash):
            office.run(Stage(place))
        left = office.results.steps(plan().run)
        done = [step for step in left if step in STEPS]
        office.run(second, resume=bool(left))
        assert list(second.begun) == list(STEPS[len(done) :]), point
        found = office.left()
        if (
            done and place < refreshed
        ):  # kept, and perhaps not marked as current yet: then the next run computes it all again
            found["marker"] = wanted["marker"]
        assert found == wanted, point
    assert len(stage.passed) > 40
    assert wanted["proposals"]


def test_steps_are_resumed_only_as_far_as_they_are_of_one_turn() -> None:
    """The window again, with other people in the graph; it dies when the first step is done."""
    office, later = Office(), NOW + timedelta(minutes=20)
    office.run()
    office.add(0, 7)
    with pytest.raises(Crash):
        office.run(Stage(f"{REFRESH}: step after"), now=later)
    told = office.run(resume=True, now=later + timedelta(minutes=1))
    assert [step.skipped for step in told.steps] == [True, False, False, False]
    straight = Office()
    straight.add(0, 7)
    straight.run()
    assert values(office) == values(straight)


def values(office: Office) -> dict[Any, float]:
    return {key: value for key, (value, *_) in office.points.kept.points.items()}


def test_views_that_a_run_computed_and_never_stored_are_computed_again() -> None:
    office, later = Office(), NOW + timedelta(hours=6)
    with pytest.raises(Crash):
        office.run(Stage(f"{REFRESH}: step after"))
    assert office.run(now=later).steps[0].counts["unchanged"] == 0
    assert {key[0] for key in office.points.kept.points} >= {"degree", "team_density"}
    assert (
        office.run(now=later + timedelta(hours=6)).steps[0].counts["unchanged"] == 4
    )  # the control: stored, so trusted


def test_a_run_that_left_nothing_cannot_be_resumed() -> None:
    office, stage = Office(), Stage()
    with pytest.raises(InvalidInput, match="left nothing behind; start it without --resume"):
        office.run(stage, resume=True)
    assert not stage.begun


def test_a_step_whose_predecessor_left_nothing_says_so() -> None:
    office = Office()
    with pytest.raises(PermanentError, match="what run_causal_analysis left was removed"):
        full.evaluate_interventions(office.stores(), plan())


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_run_whose_results_are_removed_under_its_hands_begins_again(step: str) -> None:
    """As the trigger does it when somebody is excluded. A run that trusts what is gone would lose its points for good."""
    clean, office = Office(), Office()
    clean.run()
    office.run(Stage(f"{step}: step before", lambda: office.results.kept.clear()))
    assert office.points.kept.points == clean.points.kept.points
    assert {name for _, name in office.results.kept} == {name for _, name in clean.results.kept}


def test_somebody_who_is_excluded_while_views_are_computed_is_not_in_what_is_kept() -> None:
    office, gone = Office(), person(0)
    office.run(Stage(f"{STEPS[0]}: metrics.put before", lambda: office.world.excluded.add(gone)))
    kept = columns.unpack(office.results.kept[plan().run, STEPS[0]].payload)
    assert all(gone not in series.subjects for series in kept)


def test_another_stretch_of_time_cannot_be_taken_up() -> None:
    office = Office()
    with pytest.raises(Crash):
        office.run(Stage(f"{STEPS[1]}: step before"))
    other = turns.resumed(plan().run, NOW, WINDOW - timedelta(days=7), HISTORY)
    with pytest.raises(InvalidInput, match="another stretch of time"):
        Stage().run(office.stores(), other, resume=True)


def test_who_asked_first_has_asked_for_what_somebody_else_takes_up() -> None:
    office = Office()
    with pytest.raises(Crash):
        office.run(Stage(f"{STEPS[1]}: step before"), requested_by=("anna",))
    assert office.run(resume=True, requested_by=("ben",)).plan.requested_by == ("anna", "ben")


def test_a_halted_run_can_be_taken_up_when_interventions_go_on() -> None:
    office = Office()
    office.proposals.halt("anna", "a test", NOW)
    assert office.run().steps[-1].counts["halted"] == 1
    office.proposals.resume("anna", "it is over", NOW)
    assert not office.run(resume=True).steps[-1].skipped


def test_results_of_old_runs_are_forgotten_and_those_of_young_ones_kept() -> None:
    office = Office()
    office.run()
    office.run(now=NOW + timedelta(days=13))
    assert len(office.results.kept) == 2 * (1 + len(STEPS))
    office.run(now=NOW + timedelta(days=15))
    assert {run for run, _ in office.results.kept} == {"full-2026-03-15T13", "full-2026-03-17T13"}


# ------------------------------------------------------------------------------------------------ beside others, and errors


def test_while_another_run_is_at_work_nothing_is_done() -> None:
    office, stage = Office(), Stage()
    office.is_free = False
    with pytest.raises(Refused, match="RUN_BUSY"):
        office.run(stage)
    assert stage.passed == []


@pytest.mark.parametrize(("kind", "attempts"), [(TransientError, 3), (PermanentError, 1)])
@pytest.mark.parametrize("step", STEPS)
def test_only_what_may_pass_is_tried_again_and_the_steps_after_it_do_not_begin(
    step: str, kind: type[Exception], attempts: int
) -> None:
    office, stage = Office(), Failing(step, kind)
    with pytest.raises(kind, match="on purpose"):
        office.run(stage)
    assert stage.begun == dict.fromkeys(STEPS[: STEPS.index(step)], 1) | {step: attempts}
    assert office.proposals.there == {}


class Failing(Stage):
    """Every attempt of a step fails before its last act."""

    def __init__(self, step: str, kind: type[Exception]) -> None:
        super().__init__()
        self.fails, self.kind = step, kind

    def reach(self, point: str) -> None:
        super().reach(point)
        if self.now == self.fails and point == (
            "proposals.halted before" if self.fails == PROPOSE else "results.put before"
        ):
            raise self.kind("on purpose")


# ------------------------------------------------------------------------------------------------ what is told


def test_a_resumed_step_is_told_as_one() -> None:
    office = Office()
    with pytest.raises(Crash):
        office.run(Stage(f"{ANALYSE}: step after"))
    story = telling.tell_run(office.stores(), office.run(resume=True), 5)
    assert [step.outcome for step in story.steps] == ["resumed", "resumed", "done", "done"]
    assert story.steps[0].counts["people"] == 12


def test_a_proposal_is_told_without_a_number_that_the_privacy_sink_has_not_seen() -> None:
    office = Office()
    office.run()
    (made,) = office.proposals.list([State.PENDING_APPROVAL])
    told = telling.told(made)
    assert told.because == "Meeting hours: above the usual range since 23 February 2026"
    numbers = (made.finding.value, made.finding.normal_low, made.finding.normal_high)
    assert not any(f"{number:.2f}" in told.because for number in numbers)


def notes(office: Office, k: int = 5) -> str:
    done = FullRun(plan())
    return " ".join(note.words for note in told_notes(office, done, k))


def told_notes(office: Office, done: FullRun, k: int) -> list[Note]:
    return list(telling.material_of(office.stores(), done, k).notes)


def test_what_is_missing_is_told() -> None:
    office = Office()
    assert notes(office) == ""
    assert "No team has 7 people" in notes(office, 7)
    for about in office.world.people.values():
        about["team"] = None
    assert "Nobody is in a team" in notes(office)
    office.weeks.weeks = dict(list(office.weeks.weeks.items())[:11])
    assert "The newest whole week began on 2026-02-09; 14 days have gone by" in notes(office)
    office.weeks.weeks = {}
    assert "no whole week of interactions" in notes(office)


def test_without_answers_it_says_that_nothing_can_be_proposed() -> None:
    office = Office()
    stores = office.stores()
    stores.archive.outcomes = lambda since: iter(())  # type: ignore[method-assign]
    (note,) = telling.material_of(stores, FullRun(plan()), 5).notes
    assert "without them nothing is proposed" in note.words
