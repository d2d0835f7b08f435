"""A proposal that waits: told once by every channel that people read, never again, and once more when it no longer waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from alerts import rules, words
from alerts.dispatch import Dispatcher
from alerts.model import Change, Code, Facts, Message, Problem, ProposalFact, Severity, Waiting
from alerts.policy import Policy, summary
from alerts.routes import route
from alerts.rules.limits import Limits
from alerts.scrub import clean_problem
from alerts.store import AlertStore, sqlite
from tests.support.fakes_alerts import HOUR, MINUTE, NOW, WARNING, FakeChannel

NO_DIGEST = Limits(digest="never")
ID = "0ad28098b3bb7a67"
PAGE = f"https://organism.example/proposals/{ID}"
ASKS = Waiting(ID, 1, "team-a", "For 8 weeks there is one hour less.", "The series is put back.", NOW + 24 * HOUR, PAGE)
WAITS = ProposalFact(ID, 1, NOW, asks=ASKS)
ALL = ["slack", "sentry", "email", "webhook", "log"]


def asked(*proposals: ProposalFact) -> Facts:
    return Facts(NOW, proposals=proposals)


def only(of: Facts) -> Problem:
    (found,) = rules.problems(of, NO_DIGEST)
    return found


def over(why: str = "It is approved.", version: int = 1, withheld: bool = False) -> ProposalFact:
    return ProposalFact(ID, version, NOW, over=why, withheld=withheld)


class Watch:
    """Turns over one dispatcher."""

    def __init__(self, store: AlertStore) -> None:
        self.channels = {name: FakeChannel(name, threaded=name == "slack") for name in ALL}
        self.dispatcher = Dispatcher(store, list(self.channels.values()))

    def turn(self, of: Facts, at: timedelta) -> None:
        now = NOW + at
        found = rules.problems(of, NO_DIGEST)
        unknown = rules.unknown(of)
        self.dispatcher.settle(found, now, unknown=unknown, ending=lambda problem: rules.ended(problem, of))
        self.dispatcher.deliver(now)

    def told(self, name: str = "slack") -> list[str]:
        return [f"{m.change} {m.incident.problem.subject.rpartition(':')[2]}" for m in self.channels[name].got]

    def last(self, name: str = "slack") -> Problem:
        return self.channels[name].got[-1].incident.problem


@pytest.fixture
def watch() -> Iterator[Watch]:
    store = sqlite(None)
    yield Watch(store)
    store.close()


# ------------------------------------------------------------------------------------------------ the rule


def test_a_proposal_that_waits_is_information_with_all_that_who_decides_has_to_know() -> None:
    found = only(asked(WAITS))
    assert (found.code, found.subject, found.severity) == (Code.PROPOSAL_WAITING, f"{ID}:1", Severity.INFO)
    assert "team-a" in found.what and ASKS.happens in found.what and ASKS.undo in found.what
    assert "until 2026-03-03 12:00 UTC" in found.what
    assert (found.fix, found.link) == (f"python -m pipelines.review show {ID}", PAGE)
    assert clean_problem(found) == found, "nothing of it is taken for a secret or a person"


def test_what_nobody_may_see_or_decide_is_not_asked() -> None:
    assert rules.problems(asked(over()), NO_DIGEST) == []
    assert rules.problems(asked(over(withheld=True)), NO_DIGEST) == []


def test_proposals_that_could_not_be_read_are_unknown_and_not_over() -> None:
    assert Code.PROPOSAL_WAITING in rules.unknown(Facts(NOW))
    assert Code.PROPOSAL_WAITING not in rules.unknown(asked())


@pytest.mark.parametrize(
    ("of", "words_"),
    [
        (over(), "It is approved."),
        (over("It expired: nobody decided in time."), "It expired: nobody decided in time."),
        (over(version=2), "Version 2 of it has taken its place."),
        (replace(WAITS, version=2), "Version 2 of it has taken its place."),
    ],
)
def test_how_it_ended_is_said(of: ProposalFact, words_: str) -> None:
    found = rules.ended(only(asked(WAITS)), asked(of))
    assert found.what == f"The proposal about team-a no longer waits. {words_}"


def test_what_is_hidden_meanwhile_is_not_said_again() -> None:
    found = rules.ended(only(asked(WAITS)), asked(over("It is not shown.", withheld=True)))
    assert found.asks is None
    assert "team-a" not in found.what and ASKS.happens not in found.what


def test_any_other_problem_ends_as_it_was() -> None:
    assert rules.ended(WARNING, asked(over())) == WARNING


# ------------------------------------------------------------------------------------------------ how often


def test_it_is_told_once_by_each_channel_that_people_read_however_long_it_waits(watch: Watch) -> None:
    for minutes in range(0, 24 * 60, 5):
        watch.turn(asked(WAITS), minutes * MINUTE)
    assert {name: watch.told(name) for name in ALL} == {name: ["opened 1"] for name in ALL} | {"sentry": []}


def test_the_naive_control_in_the_same_harness_is_told_again_and_again(watch: Watch) -> None:
    """The same words as a problem that is no question."""
    naive = replace(only(asked(WAITS)), code=Code.SLOW_RUN)
    for minutes in range(0, 24 * 60, 5):
        watch.dispatcher.settle([naive], NOW + minutes * MINUTE)
        watch.dispatcher.deliver(NOW + minutes * MINUTE)
    assert len(watch.told()) > 3


def test_a_decision_is_told_once_where_the_question_was(watch: Watch) -> None:
    watch.turn(asked(WAITS), 0 * MINUTE)
    for minutes in (5, 10, 15):
        watch.turn(asked(over()), minutes * MINUTE)
    assert {name: watch.told(name) for name in ALL} == {name: ["opened 1", "recovered 1"] for name in ALL} | {
        "sentry": []
    }
    assert watch.last().what.endswith("It is approved.")
    first, last = watch.channels["slack"].got
    assert last.thread == f"thread-{first.incident.id}"


def test_a_new_version_is_a_new_message_and_ends_the_old_one(watch: Watch) -> None:
    watch.turn(asked(WAITS), 0 * MINUTE)
    second = replace(WAITS, version=2, asks=replace(ASKS, version=2))
    for minutes in (5, 10):
        watch.turn(asked(second), minutes * MINUTE)
    assert sorted(watch.told()) == ["opened 1", "opened 2", "recovered 1"]


def test_one_that_is_hidden_and_shown_again_is_not_told_again(watch: Watch) -> None:
    for minutes in range(0, 120, 5):
        watch.turn(asked(WAITS if minutes % 40 else over(withheld=True)), minutes * MINUTE)
    assert watch.told() == ["opened 1", "recovered 1"]


def test_a_watch_that_cannot_read_the_proposals_says_nothing_of_them(watch: Watch) -> None:
    watch.turn(asked(WAITS), 0 * MINUTE)
    watch.turn(Facts(NOW), 5 * MINUTE)
    assert watch.told() == ["opened 1"]


def test_all_of_it_comes_back_from_the_store(watch: Watch) -> None:
    watch.turn(asked(WAITS), 0 * MINUTE)
    assert watch.last() == only(asked(WAITS))


def test_a_question_goes_where_people_read_and_never_to_a_tracker_of_errors() -> None:
    question = only(asked(WAITS))
    assert route(question, Change.OPENED, ALL, Policy()) == ["slack", "email", "webhook", "log"]
    assert route(question, Change.OPENED, ["sentry", "log"], Policy()) == ["log"]


def test_a_summary_of_many_asks_nothing_of_its_own(watch: Watch) -> None:
    watch.turn(asked(WAITS), 0 * MINUTE)
    incident = watch.channels["slack"].got[0].incident
    assert summary([(incident, Change.OPENED)] * 3, "slack", NOW).problem.asks is None


# ------------------------------------------------------------------------------------------------ in words


def message(change: Change = Change.OPENED) -> Message:
    store = sqlite(None)
    watch = Watch(store)
    watch.turn(asked(WAITS), 0 * MINUTE)
    if change is Change.RECOVERED:
        watch.turn(asked(over()), 60 * MINUTE)
    store.close()
    return watch.channels["slack"].got[-1]


def test_mail_and_log_have_the_page_and_the_command_and_call_nothing_broken() -> None:
    for text in (words.text(message()), words.page(message()), words.line(message())):
        assert PAGE in text and f"python -m pipelines.review show {ID}" in text
        assert ASKS.happens in text and ASKS.undo in text
        assert "fix" not in text and "The run" not in text and "lost" not in text
    assert words.title(message()).startswith("Please decide: ")


def test_the_end_is_no_recovery_of_anything() -> None:
    text = words.text(message(Change.RECOVERED))
    assert "Over: 2026-03-02 13:00 UTC, after 1 h" in text
    assert "ecovered" not in text
