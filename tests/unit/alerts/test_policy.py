"""What is decided of problems: one thread for each incident, whatever comes how often and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.model import Change, Code, Problem, Severity
from alerts.policy import Case, Policy, decide, digest, summary, within_limit
from alerts.routes import route
from tests.support.fakes_alerts import DIGEST, DOWN, FAILED, HOUR, MINUTE, NOW, WARNING, later, problem

POLICY = Policy()


class World:
    """Cases as they become, and what was told of which incident."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.cases: dict[str, Case] = {}
        self.told: list[tuple[str, Change]] = []

    def evaluate(
        self, problems: Iterable[Problem], at: timedelta, *, settle: bool = True, unknown: Collection[Code] = ()
    ) -> list[Change]:
        now = NOW + at
        kept = [
            c
            for c in self.cases.values()
            if c.incident.recovered_at is None or c.incident.recovered_at > now - 24 * HOUR
        ]
        decisions = decide(problems, kept, self.policy, now, settle=settle, unknown=unknown)
        self.cases |= {d.case.incident.id: d.case for d in decisions}
        said = [(d.case.incident.id, d.change) for d in decisions if d.change]
        self.told += said
        return [change for _, change in said]

    @property
    def open(self) -> list[Case]:
        return [case for case in self.cases.values() if case.open]


@pytest.fixture
def world() -> World:
    return World()


def every_five_minutes(world: World, hours: float, wrong: Callable[[timedelta], list[Problem]]) -> list[Change]:
    turns = [5 * MINUTE * n for n in range(int(hours * 12) + 1)]
    return [change for at in turns for change in world.evaluate(wrong(at), at)]


def test_a_problem_opens_one_incident(world: World) -> None:
    assert world.evaluate([FAILED], 0 * MINUTE) == [Change.OPENED]
    (case,) = world.open
    assert (case.incident.key, case.incident.count, case.changes) == ("FLOW_FAILED:incremental", 1, 1)


def test_two_problems_of_one_key_are_one_and_the_worse_counts(world: World) -> None:
    assert world.evaluate([replace(FAILED, severity=Severity.WARNING), FAILED], 0 * MINUTE) == [Change.OPENED]
    assert world.open[0].problem.severity is Severity.CRITICAL


def test_a_hook_that_runs_twice_changes_nothing(world: World) -> None:
    world.evaluate([FAILED], 0 * MINUTE, settle=False)
    before = dict(world.cases)
    assert world.evaluate([FAILED], 40 * MINUTE, settle=False) == []
    assert world.cases == before


def test_a_hook_that_comes_after_the_recovery_changes_nothing(world: World) -> None:
    world.evaluate([FAILED], 0 * MINUTE, settle=False)
    world.evaluate([], 5 * MINUTE)
    assert world.evaluate([FAILED], 6 * MINUTE, settle=False) == []
    assert world.open == []


def test_the_next_failed_run_is_counted_and_not_told_before_half_an_hour(world: World) -> None:
    world.evaluate([FAILED], 0 * MINUTE)
    assert world.evaluate([later(FAILED, "run-2")], 29 * MINUTE) == []
    assert world.open[0].incident.count == 2
    assert world.evaluate([later(FAILED, "run-3")], 30 * MINUTE) == [Change.UPDATED]


def test_the_same_words_are_repeated_ever_more_rarely(world: World) -> None:
    told = every_five_minutes(World(), 24, lambda at: [WARNING])
    assert Counter(told) == {Change.OPENED: 1, Change.UPDATED: 6}  # after 0.5, 1, 2, 4, 8, 16 hours


def test_other_words_are_told_every_half_hour_at_most() -> None:
    texts = ["took long", "takes long"]
    told = every_five_minutes(World(), 5, lambda at: [replace(WARNING, what=texts[int(at / MINUTE) // 5 % 2])])
    assert Counter(told)[Change.UPDATED] <= 10


def test_numbers_alone_are_no_news_and_what_is_lost_is() -> None:
    assert digest(replace(FAILED, what="37 wait")) == digest(replace(FAILED, what="41 wait"))
    assert digest(replace(FAILED, what="37 wait")) != digest(replace(FAILED, what="37 work"))
    assert digest(replace(FAILED, lost="3 entries")) != digest(replace(FAILED, lost="4 entries"))


def test_an_incident_began_when_it_first_began(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    world.evaluate([replace(DOWN, since=NOW + 5 * MINUTE)], 5 * MINUTE)
    assert world.open[0].problem.since == NOW
    world.evaluate([replace(DOWN, since=NOW - HOUR)], 10 * MINUTE)
    assert world.open[0].problem.since == NOW - HOUR


def test_it_becoming_worse_is_told_at_once_and_once(world: World) -> None:
    worse = replace(WARNING, severity=Severity.CRITICAL)
    assert world.evaluate([WARNING], 0 * MINUTE) == [Change.OPENED]
    assert world.evaluate([worse], 5 * MINUTE) == [Change.UPDATED]
    assert world.evaluate([WARNING], 10 * MINUTE) == []
    assert world.evaluate([worse], 15 * MINUTE) == []
    assert world.open[0].problem.severity is Severity.CRITICAL


def test_a_critical_incident_is_escalated_once_after_an_hour(world: World) -> None:
    told = every_five_minutes(world, 3, lambda at: [DOWN])
    assert Counter(told)[Change.ESCALATED] == 1
    assert world.open[0].incident.escalated_at == NOW + HOUR


def test_a_warning_is_not_escalated() -> None:
    assert Change.ESCALATED not in every_five_minutes(World(), 3, lambda at: [WARNING])


def test_what_somebody_acknowledged_is_not_escalated(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    (case,) = world.open
    world.cases[case.incident.id] = replace(case, acknowledged_at=NOW, acknowledged_by="ada")
    assert Change.ESCALATED not in every_five_minutes(world, 3, lambda at: [DOWN])


def test_what_cannot_be_asked_has_not_recovered_and_escalates(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    assert world.evaluate([], 5 * MINUTE, unknown={Code.STORE_DOWN}) == []
    assert world.evaluate([], 65 * MINUTE, unknown={Code.STORE_DOWN}) == [Change.ESCALATED]
    assert world.evaluate([], 70 * MINUTE) == [Change.RECOVERED]


def test_telling_lets_nothing_recover(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    assert world.evaluate([problem(Code.DRIFT)], 5 * MINUTE, settle=False) == [Change.OPENED]
    assert len(world.open) == 2


def test_what_comes_back_within_a_quarter_of_an_hour_is_the_same_incident(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    assert world.evaluate([], 5 * MINUTE) == [Change.RECOVERED]
    assert world.evaluate([DOWN], 19 * MINUTE) == [Change.OPENED]  # told again, in the same thread
    assert [case.reopened for case in world.cases.values()] == [1]


def test_what_comes_back_later_is_a_new_incident(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    world.evaluate([], 5 * MINUTE)
    assert world.evaluate([DOWN], 20 * MINUTE) == [Change.OPENED]
    assert len(world.cases) == 2


def test_one_that_flaps_all_day_says_so_once_and_that_it_is_over_when_it_is(world: World) -> None:
    def wrong(at: timedelta) -> list[Problem]:
        return [WARNING] if at < 24 * HOUR and at // (5 * MINUTE) % 2 == 0 else []

    told = every_five_minutes(world, 25, wrong)
    naive = 24 * 12
    # The first recovery is told at once, the second when it lasted.
    assert (Counter(told)[Change.OPENED], Counter(told)[Change.RECOVERED]) == (2, 2)
    assert len(told) <= 10 < naive
    assert len(world.cases) == 1
    assert world.open == []


def test_after_a_comeback_the_recovery_is_told_when_it_lasted(world: World) -> None:
    world.evaluate([DOWN], 0 * MINUTE)
    world.evaluate([], 5 * MINUTE)
    world.evaluate([DOWN], 10 * MINUTE)
    assert world.evaluate([], 15 * MINUTE) == []
    assert world.evaluate([], 29 * MINUTE) == []
    assert world.evaluate([], 30 * MINUTE) == [Change.RECOVERED]
    (case,) = world.cases.values()
    assert case.incident.recovered_at == NOW + 15 * MINUTE


# ------------------------------------------------------------------------------------------------- causes and effects


def test_of_a_cause_and_its_effect_the_cause_is_told(world: World) -> None:
    assert world.evaluate([FAILED, DOWN], 0 * MINUTE) == [Change.OPENED]
    assert [case.incident.key for case in world.open] == ["STORE_DOWN:redis"]


def test_an_effect_that_was_told_first_becomes_its_cause_in_the_same_thread(world: World) -> None:
    world.evaluate([FAILED], 0 * MINUTE, settle=False)
    (first,) = world.open
    assert world.evaluate([FAILED, DOWN], 2 * MINUTE) == [Change.UPDATED]
    (case,) = world.open
    assert (case.incident.id, case.incident.key) == (first.incident.id, "STORE_DOWN:redis")


def test_a_bug_is_told_also_while_a_store_is_away(world: World) -> None:
    bug = replace(FAILED, event="defect run-9", what="incremental failed in fetch_interactions: KeyError")
    assert world.evaluate([DOWN, bug], 0 * MINUTE) == [Change.OPENED, Change.OPENED]


def test_a_failure_that_is_days_old_is_not_taken_for_an_effect(world: World) -> None:
    world.evaluate([FAILED], 0 * MINUTE)
    assert world.evaluate([FAILED, DOWN], 40 * MINUTE) == [Change.OPENED]
    assert sorted(case.incident.key for case in world.open) == ["FLOW_FAILED:incremental", "STORE_DOWN:redis"]


def test_runs_that_failed_during_the_outage_are_not_told_after_it(world: World) -> None:
    full = replace(FAILED, subject="full", event="transient full-1")
    world.evaluate([DOWN], 0 * MINUTE)
    world.evaluate([full], 10 * MINUTE, settle=False)
    world.evaluate([DOWN, full], 20 * MINUTE)
    assert world.evaluate([full], 30 * MINUTE) == [Change.RECOVERED]
    assert world.evaluate([full], 5 * HOUR) == []
    assert world.evaluate([replace(full, event="transient full-2")], 6 * HOUR) == [Change.OPENED]


def test_a_store_that_is_away_for_an_hour_is_one_thread(world: World) -> None:
    """The naive control sends a message at each evaluation at which something is wrong."""
    naive = 0

    def wrong(at: timedelta) -> list[Problem]:
        nonlocal naive
        failing = [later(FAILED, f"run-{at / MINUTE:g}")]
        found = [DOWN, *failing] if 2 * MINUTE <= at <= HOUR else failing if at <= HOUR + 5 * MINUTE else []
        naive += len(found)
        return found

    world.evaluate([later(FAILED, "run-0")], 0 * MINUTE, settle=False)
    told = every_five_minutes(world, 2, wrong)
    assert [change for _, change in world.told] == [
        Change.OPENED, Change.UPDATED, Change.UPDATED, Change.ESCALATED, Change.RECOVERED,
    ]  # fmt: skip
    assert len({id_ for id_, _ in world.told}) == 1
    assert len(told) == 4
    assert naive == 26


# ------------------------------------------------------------------------------------------------------------ notes


def test_a_digest_is_told_once_a_day_and_never_recovers(world: World) -> None:
    day = [DIGEST]
    assert [c for n in range(20) for c in world.evaluate(day, n * 5 * MINUTE)] == [Change.OPENED]
    assert world.evaluate([], 3 * HOUR) == []
    assert world.evaluate([replace(DIGEST, event="2026-03-03")], 24 * HOUR) == [Change.OPENED]
    assert world.open == []


# --------------------------------------------------------------------------------------------------- whatever happens

CODES = [Code.FLOW_FAILED, Code.STORE_DOWN, Code.STALE_GRAPH, Code.PREFECT_DOWN, Code.SLOW_RUN, Code.SLO_DIGEST]


def _problem(code: Code, severity: Severity, event: int | None, words: str) -> Problem:
    subject = "incremental" if code in (Code.FLOW_FAILED, Code.SLOW_RUN) else "redis"
    said = f"transient run-{event}" if event is not None and code is Code.FLOW_FAILED else ""
    return problem(
        code, subject=subject, severity=severity, what=words, event="2026-03-02" if code is Code.SLO_DIGEST else said
    )


PROBLEMS = st.builds(
    _problem,
    st.sampled_from(CODES),
    st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
    st.one_of(st.none(), st.integers(0, 30)),
    st.sampled_from(["it is so", "it is otherwise", "it is 3", "it is 4"]),
)
TURNS = st.lists(
    st.tuples(
        st.lists(PROBLEMS, max_size=4), st.integers(1, 200), st.booleans(), st.sets(st.sampled_from(CODES), max_size=2)
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(turns=TURNS)
def test_whatever_happens_an_incident_is_opened_once_escalated_once_and_ends(
    turns: list[tuple[list[Problem], int, bool, set[Code]]],
) -> None:
    world, at, naive = World(), timedelta(), 0
    for problems, minutes, settle, unknown in turns:
        at += minutes * MINUTE
        naive += len(problems)
        world.evaluate(problems, at, settle=settle, unknown=unknown)
    for minutes in (5, 25, 60):
        world.evaluate([], at + minutes * MINUTE)
    assert world.open == []
    for case in world.cases.values():
        _is_one_thread([change for id_, change in world.told if id_ == case.incident.id], case)
    assert len([1 for _, change in world.told if change is Change.OPENED]) <= max(naive, 1)


def _is_one_thread(told: list[Change], case: Case) -> None:
    count = Counter(told)
    assert told[0] is Change.OPENED
    ends = [change for change in told if change in (Change.OPENED, Change.RECOVERED)]
    assert count[Change.ESCALATED] <= 1
    if case.problem.code is Code.SLO_DIGEST:
        assert told == [Change.OPENED]
        return
    assert told[-1] is Change.RECOVERED
    assert ends == [Change.OPENED, Change.RECOVERED] * (1 if not case.reopened else 2)
    recovered = case.incident.recovered_at
    assert recovered is not None
    life = recovered - case.incident.opened_at
    # One each half hour, one for a rise of the severity, one for a named cause each, one for the comeback.
    assert count[Change.UPDATED] <= life / POLICY.update_every + 5


def test_the_property_can_fail_a_message_per_evaluation_breaks_it() -> None:
    """The naive control: whoever tells at each evaluation opens the same thing again and again."""
    naive = [Change.OPENED for _ in range(3)]
    world = World()
    world.evaluate([DOWN], 0 * MINUTE)
    world.evaluate([], 5 * MINUTE)
    (case,) = world.cases.values()
    with pytest.raises(AssertionError):
        _is_one_thread(naive, case)


# -------------------------------------------------------------------------------------------------- routes and limits

ALL = ["slack", "sentry", "email", "webhook", "log"]


@pytest.mark.parametrize(
    ("severity", "change", "told"),
    [
        (Severity.INFO, Change.OPENED, ["slack", "log"]),
        (Severity.WARNING, Change.OPENED, ["slack", "webhook", "log"]),
        (Severity.CRITICAL, Change.OPENED, ALL),
        (Severity.CRITICAL, Change.UPDATED, ["slack", "webhook", "log"]),
        (Severity.CRITICAL, Change.RECOVERED, ALL),
        (Severity.WARNING, Change.ESCALATED, ALL),
    ],
)
def test_who_is_told(severity: Severity, change: Change, told: list[str]) -> None:
    assert route(replace(FAILED, severity=severity), change, ALL, POLICY) == told


def test_where_only_mail_is_configured_warnings_go_there() -> None:
    assert route(WARNING, Change.OPENED, ["email", "log"], POLICY) == ["email", "log"]


def test_edits_do_not_count_and_the_limit_is_reached_exactly() -> None:
    waiting = [Change.OPENED, Change.UPDATED, Change.RECOVERED, Change.OPENED, Change.UPDATED]
    assert within_limit(waiting, 18, POLICY) == [True, True, True, False, True]


def test_a_summary_speaks_of_all_and_quotes_the_worst(world: World) -> None:
    world.evaluate([WARNING, FAILED], 0 * MINUTE)
    told = summary([(case.incident, Change.OPENED) for case in world.open], "slack", NOW)
    assert told.problem.what.startswith("2 more messages within an hour (2 opened). The worst: incremental failed")
    assert (told.problem.severity, told.key) == (Severity.CRITICAL, "SUMMARY:slack")


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 2), (6, 32), (7, 60), (400, 60)])
def test_pauses_double_up_to_an_hour(attempts: int, minutes: int) -> None:
    assert POLICY.retry_after(attempts) == minutes * MINUTE
