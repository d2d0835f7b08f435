"""Alert rules of a flow: what may be set, and what that makes of limits and problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerts import flow_rules
from alerts.dispatch import Dispatcher
from alerts.flow_rules import FlowRule, InvalidRule, validated
from alerts.model import Change, Code, Problem, Severity
from alerts.policy import Policy
from alerts.rules import Limits, problems
from alerts.rules.words import FLOWS
from alerts.store import AlertStore, sqlite
from pipelines.jobs.flows import BY_NAME
from tests.support.fakes_alerts import FAILED, HOUR, MINUTE, NOW, FakeChannel, bad, facts, flow, later, problem, run

MUTED = FlowRule("incremental", "FLOW_FAILED", muted_until=NOW + HOUR)
OFF = FlowRule("incremental", "FLOW_FAILED", enabled=False)
LOST = problem(Code.ENTRIES_LOST, subject="stream", what="3 entries were removed.")
LOSSES = [known.code.value for known in flow_rules.known_codes() if known.loss]


def test_every_flow_that_there_is_can_have_rules() -> None:
    assert set(FLOWS) == set(BY_NAME)
    for name in BY_NAME:
        assert [r.code for r in flow_rules.filled(name, [], NOW)] == [k.code for k in flow_rules.known_codes(name)]


def test_only_what_has_a_schedule_can_miss_it() -> None:
    due = {name for name in BY_NAME if Code.SCHEDULE_MISSED in {k.code for k in flow_rules.known_codes(name)}}
    assert due == {name for name, its in BY_NAME.items() if its.every}


class TestDefaults:
    def test_they_are_those_of_the_limits(self) -> None:
        its = {known.code: known.default for known in flow_rules.known_codes() if known.unit}
        usual = Limits()
        assert its == {
            Code.SCHEDULE_MISSED: usual.missed,
            Code.RETRY_RATE: usual.retry_rate,
            Code.SLOW_RUN: None,
            Code.DEAD_LETTERS: usual.dead_share,
            Code.STALE_GRAPH: usual.stale / MINUTE,
            Code.SLO_DIGEST: usual.slo_success,
        }

    def test_setting_all_of_them_changes_nothing(self) -> None:
        rules = [replace(r, set_by="ada", set_at=NOW) for name in FLOWS for r in flow_rules.filled(name, [], NOW)]
        limits = flow_rules.adjusted(Limits(), rules, NOW)
        assert all(limits.of(name) == Limits() for name in FLOWS)
        assert flow_rules.apply([FAILED, LOST], rules, NOW).told == (FAILED, LOST)

    def test_what_is_set_to_the_default_is_kept_as_none(self) -> None:
        assert validated(FlowRule("incremental", "RETRY_RATE", threshold=Limits().retry_rate), NOW).threshold is None


class TestMayBeSet:
    @pytest.mark.parametrize("code", LOSSES)
    def test_nobody_turns_a_loss_off_or_makes_it_small(self, code: str) -> None:
        name = "verify" if code == "DRIFT" else "incremental"
        with pytest.raises(InvalidRule, match="cannot be turned off, only muted for at most 12 h"):
            validated(FlowRule(name, code, enabled=False), NOW)
        with pytest.raises(InvalidRule, match="always critical"):
            validated(FlowRule(name, code, severity="info"), NOW)
        most = timedelta(hours=12)
        assert validated(FlowRule(name, code, muted_until=NOW + most), NOW).muted_until == NOW + most
        with pytest.raises(InvalidRule, match="within 12 h"):
            validated(FlowRule(name, code, muted_until=NOW + most + MINUTE), NOW)

    @pytest.mark.parametrize("code", LOSSES)
    def test_a_mute_of_a_loss_is_not_renewed_while_it_runs_or_before_it_was_heard(self, code: str) -> None:
        name, last = "verify" if code == "DRIFT" else "incremental", NOW + HOUR
        mute = FlowRule(name, code, muted_until=last)
        for at in (NOW, last - MINUTE, last + flow_rules.HEARD_BETWEEN - MINUTE):
            with pytest.raises(InvalidRule, match="cannot be extended, and it is heard for 1 h"):
                validated(replace(mute, muted_until=at + 2 * HOUR), at, last)
        assert validated(mute, NOW, last), "what is set besides leaves the mute as it is"
        assert validated(replace(mute, muted_until=last - MINUTE), NOW, last), "it may end earlier"
        assert validated(replace(mute, muted_until=None), NOW, last), "and be ended"
        later = last + flow_rules.HEARD_BETWEEN
        assert validated(replace(mute, muted_until=later + HOUR), later, last)

    def test_a_mute_of_anything_else_may_be_renewed(self) -> None:
        assert validated(replace(MUTED, muted_until=NOW + 2 * HOUR), NOW, NOW + HOUR)

    def test_what_would_not_be_noticed_is_muted_and_not_turned_off(self) -> None:
        for name in FLOWS:
            off = FlowRule(name, "FLOW_FAILED", enabled=False)
            if BY_NAME[name].every is None:
                assert not validated(off, NOW).enabled, "who asked for it sees it"
                continue
            with pytest.raises(InvalidRule, match="FLOW_FAILED cannot be turned off, only muted for at most 720 h"):
                validated(off, NOW)
            assert validated(FlowRule(name, "FLOW_FAILED", muted_until=NOW + HOUR), NOW)
        with pytest.raises(InvalidRule, match="STALE_GRAPH cannot be turned off"):
            validated(FlowRule("incremental", "STALE_GRAPH", enabled=False), NOW)

    def test_a_flow_without_a_schedule_is_one_for_the_rules_too(self) -> None:
        assert {name for name, its in BY_NAME.items() if its.every is None} == flow_rules.ON_DEMAND

    def test_the_losses_are_those(self) -> None:
        assert LOSSES == ["ENTRIES_LOST", "STREAM_RESET", "DRIFT"]

    def test_other_alerts_can_be_turned_off_and_muted_for_a_month(self) -> None:
        assert not validated(FlowRule("incremental", "SLOW_RUN", enabled=False), NOW).enabled
        assert validated(replace(MUTED, muted_until=NOW + timedelta(days=30)), NOW)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"flow": "incremantal"}, "one of incremental, full"),
            ({"code": "NOTHING"}, "cannot be set for incremental; one of FLOW_FAILED"),
            ({"code": "DRIFT"}, "cannot be set for incremental"),
            ({"code": "STORE_DOWN"}, "cannot be set for incremental"),
            ({"threshold": 3.0}, "FLOW_FAILED has no threshold; those that have: SCHEDULE_MISSED"),
            ({"code": "RETRY_RATE", "threshold": 20.0}, "a number of share from 0.01 to 1"),
            ({"code": "RETRY_RATE", "threshold": float("nan")}, "a number of share"),
            ({"code": "SLOW_RUN", "threshold": float("inf")}, "a number of seconds from 1 to 86400"),
            ({"code": "SLOW_RUN", "threshold": True}, "a number of seconds"),
            ({"severity": "loud"}, "one of info, warning, critical"),
            ({"code": "SLO_DIGEST", "severity": "info"}, "one message for all flows"),
            ({"muted_until": NOW}, "ends in the future"),
            ({"muted_until": NOW + timedelta(days=31)}, "within 720 h"),
            ({"muted_until": (NOW + HOUR).replace(tzinfo=None)}, "time zone"),
            ({"note": "n" * 201}, "at most 200 characters"),
            ({"note": "two\nlines"}, "one line"),
        ],
    )
    def test_what_cannot_be_set_is_said_with_what_was_expected(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidRule, match=words):
            validated(replace(FlowRule("incremental", "FLOW_FAILED"), **changes), NOW)


def found(*rules: FlowRule, of: Any) -> list[Code]:
    limits = flow_rules.adjusted(Limits(digest="never"), rules, NOW)
    return [p.code for p in problems(of, limits)]


class TestThresholds:
    def test_seconds_of_a_run(self) -> None:
        of = facts(flow(*(run(5 * n + 5) for n in range(8))))  # of 4 s each
        slow = FlowRule("incremental", "SLOW_RUN", threshold=3)
        assert found(of=of) == []
        assert found(slow, of=of) == [Code.SLOW_RUN]
        assert found(replace(slow, threshold=4.0), of=of) == [], "above it, not at it"
        assert found(replace(slow, flow="full"), of=of) == [], "of that flow alone"

    def test_seconds_that_are_set_hold_without_a_history_and_above_what_is_normal(self) -> None:
        first = facts(flow(run(5, seconds=500.0)))
        assert found(FlowRule("incremental", "SLOW_RUN", threshold=499), of=first) == [Code.SLOW_RUN]
        slower = facts(flow(run(5, seconds=500.0), *(run(5 * n + 10) for n in range(8))))
        assert found(of=slower) == [Code.SLOW_RUN]
        assert found(FlowRule("incremental", "SLOW_RUN", threshold=600), of=slower) == []

    def test_intervals_without_a_start(self) -> None:
        of = facts(flow(run(16)))
        assert found(of=of) == [Code.SCHEDULE_MISSED]
        assert found(FlowRule("incremental", "SCHEDULE_MISSED", threshold=3), of=of) == []

    def test_retries(self) -> None:
        of = facts(flow(*(run(5 * n + 5, retried_steps=n % 2) for n in range(10))))
        assert found(of=of) == [Code.RETRY_RATE]
        assert found(FlowRule("incremental", "RETRY_RATE", threshold=0.5), of=of) == []

    def test_dead_letters(self) -> None:
        of = facts(flow(run(5, result={"read": 1_000, "dead_letters": 60})))
        assert found(of=of) == [Code.DEAD_LETTERS]
        assert found(FlowRule("incremental", "DEAD_LETTERS", threshold=0.1), of=of) == []

    def test_the_goal_of_the_digest_and_who_is_left_out_of_it(self) -> None:
        runs = [run(5 * n + 5) for n in range(9)] + [bad(50)]
        of = facts(flow(*runs))

        def digest(*rules: FlowRule) -> Severity | None:
            its = problems(of, flow_rules.adjusted(Limits(), rules, NOW))
            return next((p.severity for p in its if p.code is Code.SLO_DIGEST), None)

        goal = FlowRule("incremental", "SLO_DIGEST", threshold=0.8)
        assert digest() is Severity.WARNING
        assert digest(goal) is Severity.INFO
        assert digest(replace(goal, enabled=False)) is None
        assert digest(replace(goal, muted_until=NOW + HOUR)) is None


class TestApply:
    def test_a_mute_and_a_switch_take_what_they_name_and_nothing_else(self) -> None:
        others = [problem(Code.SLOW_RUN), problem(subject="full"), LOST]
        for rule in (MUTED, OFF):
            assert list(flow_rules.apply([FAILED, *others], [rule], NOW).told) == others
        lost = FlowRule("incremental", "ENTRIES_LOST", muted_until=NOW + HOUR)
        assert flow_rules.apply([FAILED, LOST], [lost], NOW).told == (FAILED,)

    def test_a_mute_ends_by_itself(self) -> None:
        assert flow_rules.apply([FAILED], [MUTED], NOW + HOUR - MINUTE).told == ()
        assert flow_rules.apply([FAILED], [MUTED], NOW + HOUR).told == (FAILED,)
        assert flow_rules.filled("incremental", [MUTED], NOW + HOUR)[0].muted_until is None

    def test_a_severity_is_set_but_news_stays_news(self) -> None:
        rule = FlowRule("incremental", "FLOW_FAILED", severity="warning")
        (told,) = flow_rules.apply([FAILED], [rule], NOW).told
        assert told == replace(FAILED, severity=Severity.WARNING)
        news = replace(FAILED, severity=Severity.INFO)
        assert flow_rules.apply([news], [rule], NOW).told == (news,)

    def test_why_nobody_hears_of_it(self) -> None:
        assert flow_rules.hushed(FAILED, [MUTED], NOW) == "muted until 2026-03-02 13:00 UTC"
        assert flow_rules.hushed(FAILED, [OFF, MUTED], NOW) == "turned off"
        assert flow_rules.hushed(LOST, [OFF, MUTED], NOW) is None
        assert flow_rules.hushed(FAILED, [MUTED], NOW + HOUR) is None


@pytest.fixture
def store() -> AlertStore:
    return sqlite(None)


class TestSilenced:
    def test_who_silenced_something_critical_and_until_when_is_said_once(self, store: AlertStore) -> None:
        told, mute = Told(store), replace(MUTED, muted_until=NOW + 40 * HOUR, set_by="ada", set_at=NOW)
        for hours in range(0, 45, 3):
            told.turn(list(flow_rules.silenced([mute], NOW + hours * HOUR)), [mute], hours * HOUR)
        (message,) = told.slack.got
        its = message.incident.problem
        assert (its.code, its.severity, message.change) == (Code.ALERT_SILENCED, Severity.INFO, Change.OPENED)
        assert "FLOW_FAILED of incremental is muted until" in its.what and "by ada" in its.what
        assert "2026-03-04 04:00 UTC" in its.what and told.open == 0
        again = replace(mute, set_by="ben", set_at=NOW + 46 * HOUR, muted_until=NOW + 50 * HOUR)
        told.turn(list(flow_rules.silenced([again], NOW + 46 * HOUR)), [again], 46 * HOUR)
        assert "by ben" in told.slack.got[-1].incident.problem.what and len(told.slack.got) == 2

    def test_what_is_not_critical_or_not_silent_is_no_news(self) -> None:
        def notes(rule: FlowRule) -> list[str]:
            return [p.what for p in flow_rules.silenced([replace(rule, set_by="ada", set_at=NOW)], NOW)]

        assert notes(FlowRule("incremental", "SLOW_RUN", enabled=False)) == []
        assert notes(FlowRule("incremental", "SLOW_RUN", enabled=False, severity="critical")) != []
        assert notes(replace(MUTED, severity="warning")) == []
        assert notes(FlowRule("incremental", "FLOW_FAILED", note="looked at")) == []
        assert notes(replace(MUTED, muted_until=NOW)) == []
        (said,) = notes(FlowRule("full", "SCHEDULE_MISSED", enabled=False))
        assert said == "SCHEDULE_MISSED of full is turned off, by ada: nobody is told of it."

    def test_every_code_that_is_told_as_critical_is_known_as_such(self) -> None:
        """Those that the rules make critical where they can be set at all."""
        wanted = {
            "FLOW_FAILED",
            "BREAKER_OPEN",
            "ZOMBIE_RUN",
            "NEVER_STARTED",
            "SCHEDULE_MISSED",
            "STALE_GRAPH",
            *LOSSES,
        }
        assert {known.code.value for known in flow_rules.known_codes() if known.critical} == wanted


class TestALossInAMute:
    MUTE = FlowRule("incremental", "ENTRIES_LOST", muted_until=NOW)

    @pytest.mark.parametrize("hours_ago", [0.1, 6, 11.9])
    def test_it_is_told_when_the_mute_has_ended(self, store: AlertStore, hours_ago: float) -> None:
        told, lost = Told(store), run(hours_ago * 60, result={"read": 100, "lost": 3})
        told.turn([LOST], [self.MUTE], -hours_ago * HOUR)
        assert told.slack.got == []
        told.turn(problems(facts(flow(run(1), lost)), Limits(digest="never")), [self.MUTE], 0 * MINUTE)
        assert [m.incident.problem.code for m in told.slack.got] == [Code.ENTRIES_LOST]

    def test_after_a_mute_of_more_than_a_day_it_would_never_be_told(self) -> None:
        """The naive control, which is why the longest mute is below the day that a loss stays wrong."""
        lost = run(25 * 60, result={"read": 100, "lost": 3})
        assert problems(facts(flow(run(1), lost)), Limits(digest="never")) == []
        assert Limits().day > flow_rules.LONGEST_MUTE_OF_LOSS + flow_rules.HEARD_BETWEEN


class Told:
    """One store and one channel; each turn a dispatcher of its own, with the rules of that moment."""

    def __init__(self, store: AlertStore) -> None:
        self.store, self.slack = store, FakeChannel()

    def turn(self, wrong: Sequence[Problem], rules: Sequence[FlowRule], at: timedelta, *, hook: bool = False) -> None:
        one = Dispatcher(self.store, [self.slack], Policy(), None, rules)
        one.tell(wrong, NOW + at) if hook else one.settle(wrong, NOW + at)
        one.deliver(NOW + at)

    @property
    def open(self) -> int:
        return len(self.store.open_cases())


class TestTold:
    def test_a_muted_failure_sends_nothing_and_an_unmuted_one_sends_one(self, store: AlertStore) -> None:
        told = Told(store)
        for hook in (True, False):
            told.turn([FAILED], [MUTED], 0 * MINUTE, hook=hook)
        assert (told.slack.changes, told.open) == ([], 0)
        for hook in (True, False):
            told.turn([FAILED], [], 0 * MINUTE, hook=hook)
        assert (told.slack.changes, told.open) == ([Change.OPENED], 1)

    def test_what_begins_in_a_mute_and_outlasts_it_is_told_when_it_ends(self, store: AlertStore) -> None:
        told = Told(store)
        for minutes in range(0, 80, 5):
            told.turn([FAILED], [MUTED], minutes * MINUTE)
        assert told.slack.changes == [Change.OPENED]
        assert told.store.open_cases()[0].incident.opened_at == NOW + HOUR

    def test_what_is_open_is_neither_told_nor_escalated_nor_recovered_while_it_is_muted(
        self, store: AlertStore
    ) -> None:
        told = Told(store)
        told.turn([FAILED], [], 0 * MINUTE)
        for n, minutes in enumerate(range(5, 240, 5)):
            mute = replace(MUTED, muted_until=NOW + 4 * HOUR)
            told.turn([later(FAILED, f"run-{n}")] if n < 20 else [], [mute], minutes * MINUTE)
        assert (told.slack.changes, told.open) == ([Change.OPENED], 1)
        told.turn([], [], 4 * HOUR)
        assert (told.slack.changes, told.open) == ([Change.OPENED, Change.RECOVERED], 0)

    def test_without_the_mute_it_would_recover(self, store: AlertStore) -> None:
        """The naive control: the problem is only left out of what is wrong."""
        told = Told(store)
        told.turn([FAILED], [], 0 * MINUTE)
        told.turn(flow_rules.apply([FAILED], [MUTED], NOW).told, [], 5 * MINUTE)
        assert told.slack.changes == [Change.OPENED, Change.RECOVERED]

    def test_what_is_turned_off_is_closed_without_a_word(self, store: AlertStore) -> None:
        told = Told(store)
        told.turn([FAILED], [], 0 * MINUTE)
        told.turn([FAILED], [OFF], 5 * MINUTE)
        assert (told.slack.changes, told.open) == ([Change.OPENED], 0)
        told.turn([later(FAILED, "run-9")], [], 2 * HOUR)
        assert told.slack.changes == [Change.OPENED, Change.OPENED], "turned on again"

    def test_a_loss_is_told_while_the_failure_of_its_flow_is_muted(self, store: AlertStore) -> None:
        told = Told(store)
        told.turn([FAILED, LOST], [MUTED], 0 * MINUTE)
        assert [m.incident.problem.code for m in told.slack.got] == [Code.ENTRIES_LOST]

    def test_an_effect_of_what_is_muted_speaks_for_itself(self, store: AlertStore) -> None:
        stale = problem(Code.STALE_GRAPH, subject="graph", what="Nothing was applied.")
        told = Told(store)
        told.turn([FAILED, stale], [], 0 * MINUTE)
        assert [m.incident.problem.code for m in told.slack.got] == [Code.FLOW_FAILED]
        quiet = Told(sqlite(None))
        quiet.turn([FAILED, stale], [MUTED], 0 * MINUTE)
        assert [m.incident.problem.code for m in quiet.slack.got] == [Code.STALE_GRAPH]
