"""The dispatcher on a store in memory: who gets what when channels are away, slow, wrong or flooded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerts import words
from alerts.dispatch import Dispatcher
from alerts.fallback import Fallback
from alerts.model import Change, Code, Failed, Problem
from alerts.policy import Policy
from alerts.store import AlertStore, sqlite
from alerts.tables import Status
from tests.support.fakes_alerts import DIGEST, DOWN, FAILED, HOUR, MINUTE, NOW, WARNING, FakeChannel, later, problem

AWAY = Failed("ConnectError at hooks.slack.com")


@pytest.fixture
def store() -> Iterator[AlertStore]:
    store = sqlite(None)
    yield store
    store.close()


@pytest.fixture
def slack() -> FakeChannel:
    return FakeChannel("slack")


@pytest.fixture
def email() -> FakeChannel:
    return FakeChannel("email", threaded=False)


@pytest.fixture
def dispatcher(store: AlertStore, slack: FakeChannel, email: FakeChannel) -> Dispatcher:
    return Dispatcher(store, [slack, email])


def flood(dispatcher: Dispatcher, count: int, at: timedelta = timedelta()) -> None:
    dispatcher.tell([problem(Code.DRIFT, subject=f"graph {n}", event=f"e {n} {at}") for n in range(count)], NOW + at)


def test_a_failure_is_told_once_on_each_channel(dispatcher: Dispatcher, slack: FakeChannel, email: FakeChannel) -> None:
    for _ in range(3):
        dispatcher.tell([FAILED], NOW)
        dispatcher.deliver(NOW)
    assert slack.changes == email.changes == [Change.OPENED]


def test_a_delivery_is_a_row_before_it_is_sent(dispatcher: Dispatcher, store: AlertStore, slack: FakeChannel) -> None:
    dispatcher.tell([FAILED], NOW)
    assert [d.status for d in store.undelivered()] == [Status.PENDING, Status.PENDING]
    assert slack.tries == 0


def test_what_follows_goes_into_the_thread(dispatcher: Dispatcher, slack: FakeChannel) -> None:
    dispatcher.tell([FAILED], NOW)
    dispatcher.deliver(NOW)
    dispatcher.settle([], NOW + 5 * MINUTE)
    dispatcher.deliver(NOW + 5 * MINUTE)
    opened, recovered = slack.got
    assert (opened.thread, recovered.thread) == (None, f"thread-{opened.incident.id}")
    assert recovered.incident.recovered_at == NOW + 5 * MINUTE


def test_a_sink_that_is_away_for_an_hour_gets_everything_after_it_in_order(
    dispatcher: Dispatcher, slack: FakeChannel, email: FakeChannel
) -> None:
    slack.away = AWAY
    for minute in range(0, 60, 5):
        now = NOW + minute * MINUTE
        dispatcher.settle([later(FAILED, f"run-{minute}")] if minute < 40 else [], now)
        dispatcher.deliver(now)
    assert slack.got == []
    assert email.changes == [Change.OPENED, Change.RECOVERED]
    slack.away = None
    dispatcher.deliver(NOW + 2 * HOUR)
    assert slack.changes == [Change.OPENED, Change.UPDATED, Change.RECOVERED]


def test_a_channel_that_is_away_is_asked_ever_more_rarely(dispatcher: Dispatcher, slack: FakeChannel) -> None:
    slack.away = AWAY
    dispatcher.tell([FAILED], NOW)
    for minute in [*range(0, 130, 5), *range(130, 24 * 60 + 2, 30)]:
        dispatcher.deliver(NOW + minute * MINUTE)
    assert 20 <= slack.tries <= 31
    before = slack.tries
    dispatcher.deliver(NOW + 48 * HOUR)
    assert slack.tries == before


def test_a_channel_that_is_away_costs_one_time_out_a_round_however_much_waits(
    dispatcher: Dispatcher, slack: FakeChannel, email: FakeChannel
) -> None:
    slack.away = AWAY
    flood(dispatcher, 18)
    dispatcher.deliver(NOW)
    assert (slack.tries, len(email.got)) == (1, 18)
    slack.away = None
    for minute in range(1, 5):
        dispatcher.deliver(NOW + minute * MINUTE)
    assert len(slack.got) == 18


def test_after_a_day_it_is_given_up_and_said(
    dispatcher: Dispatcher, store: AlertStore, slack: FakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    slack.away = AWAY
    dispatcher.tell([FAILED], NOW)
    dispatcher.deliver(NOW)
    caplog.clear()
    dispatcher.deliver(NOW + 24 * HOUR)
    assert "slack was never told of FLOW_FAILED:incremental (opened): ConnectError" in caplog.text
    assert [d.status for d in store.undelivered()] == [Status.DEAD]


def test_what_cannot_be_mended_by_waiting_is_given_up_at_once_and_can_be_revived(
    dispatcher: Dispatcher, store: AlertStore, slack: FakeChannel
) -> None:
    slack.away = Failed("slack.com said invalid_auth", permanent=True)
    dispatcher.tell([FAILED], NOW)
    dispatcher.deliver(NOW)
    dispatcher.deliver(NOW + 2 * HOUR)
    assert slack.tries == 1
    slack.away = None
    assert store.revive(NOW + 2 * HOUR, NOW + 26 * HOUR) == 1
    dispatcher.deliver(NOW + 2 * HOUR)
    assert slack.changes == [Change.OPENED]


def test_a_defect_of_a_channel_stops_neither_the_run_nor_the_others(
    dispatcher: Dispatcher, slack: FakeChannel, email: FakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    slack.away = KeyError("https://hooks.slack.com/services/T0/B0/canary")
    dispatcher.tell([FAILED], NOW)
    assert dispatcher.deliver(NOW) == 1
    assert email.changes == [Change.OPENED]
    assert "a defect of the channel: KeyError" in caplog.text
    assert "canary" not in caplog.text


def test_secrets_and_people_are_in_no_row(dispatcher: Dispatcher, store: AlertStore, slack: FakeChannel) -> None:
    words = "graph bolt://neo4j:canary-password@db:7687 failed for p_0123456789abcdef and ada@example.org"
    dispatcher.tell([replace(FAILED, what=words)], NOW)
    (case,) = store.open_cases()
    shown = f"{case} {store.undelivered()}"
    assert not [word for word in ("canary", "p_0123456789abcdef", "ada@") if word in shown]


# ----------------------------------------------------------------------------------------------------- the hourly limit


def test_more_than_the_limit_goes_into_one_summary(slack: FakeChannel, store: AlertStore) -> None:
    dispatcher = Dispatcher(store, [slack], Policy(messages_per_hour=20))
    flood(dispatcher, 100)
    dispatcher.deliver(NOW)
    assert len(slack.got) == 21
    assert slack.got[-1].incident.problem.what.startswith("80 more messages within an hour (80 opened)")
    told = Counter(d.status for case in store.open_cases() for d in store.deliveries_of(case.incident.id))
    assert told == {Status.SENT: 20, Status.SUMMARISED: 80}
    assert store.undelivered() == []


def test_a_second_flood_within_the_hour_waits_for_the_next_summary(slack: FakeChannel, store: AlertStore) -> None:
    dispatcher = Dispatcher(store, [slack], Policy(messages_per_hour=5))
    flood(dispatcher, 10)
    dispatcher.deliver(NOW)
    flood(dispatcher, 30, 10 * MINUTE)  # ten of them are known
    dispatcher.deliver(NOW + 10 * MINUTE)
    assert len(slack.got) == 6
    dispatcher.deliver(NOW + 61 * MINUTE)
    assert len(slack.got) == 12
    assert store.undelivered() == []


def test_a_flood_never_hides_the_worst(slack: FakeChannel, store: AlertStore) -> None:
    dispatcher = Dispatcher(store, [slack], Policy(messages_per_hour=2))
    dispatcher.tell([replace(WARNING, subject=f"flow {n}") for n in range(5)] + [problem(Code.DRIFT)], NOW)
    dispatcher.deliver(NOW)
    assert slack.got[0].incident.problem.code is Code.DRIFT


# ------------------------------------------------------------------------------------------------- processes that die


class Dies(BaseException):
    """The process is gone."""


class DyingChannel(FakeChannel):
    """The process dies after the message went out, before anybody noted it."""

    dying = True

    def send(self, message, now):  # type: ignore[no-untyped-def]
        thread = super().send(message, now)
        if self.dying:
            raise Dies
        return thread


def test_a_message_of_a_process_that_died_is_repeated_once_and_not_again(
    store: AlertStore, caplog: pytest.LogCaptureFixture
) -> None:
    channel = DyingChannel()
    for turn in range(5):
        dispatcher = Dispatcher(store, [channel])
        dispatcher.tell([FAILED], NOW)
        try:
            dispatcher.deliver(NOW + turn * 3 * MINUTE)
        except Dies:
            continue
    assert len(channel.got) == 2
    assert "sent or not, nobody knows" in caplog.text


def test_a_process_that_died_leaves_the_rest_to_the_next_one(store: AlertStore) -> None:
    channel = DyingChannel()
    dispatcher = Dispatcher(store, [channel])
    flood(dispatcher, 6)
    with pytest.raises(Dies):
        dispatcher.deliver(NOW)
    channel.dying = False
    other = Dispatcher(store, [channel])
    assert other.deliver(NOW + MINUTE) == 0, "within the lease they are not its own"
    assert other.deliver(NOW + 3 * MINUTE) == 6
    assert Counter(m.incident.id for m in channel.got).most_common(1)[0][1] == 2
    assert len(channel.got) == 7


def test_a_channel_that_was_never_told_of_it_is_not_told_that_it_is_over(
    store: AlertStore, slack: FakeChannel, email: FakeChannel
) -> None:
    Dispatcher(store, [slack]).tell([FAILED], NOW)
    both = Dispatcher(store, [slack, email])
    both.settle([], NOW + 5 * MINUTE)
    both.deliver(NOW + 5 * MINUTE)
    assert slack.changes == [Change.OPENED, Change.RECOVERED]
    assert email.changes == []


def test_the_digest_goes_out_once_and_leaves_nothing_open(
    dispatcher: Dispatcher, slack: FakeChannel, email: FakeChannel, store: AlertStore
) -> None:
    for minute in (0, 5, 10):
        dispatcher.settle([DIGEST], NOW + minute * MINUTE)
        dispatcher.deliver(NOW + minute * MINUTE)
    assert (slack.changes, email.changes, store.open_cases()) == ([Change.OPENED], [], [])


def test_a_store_that_breaks_does_not_break_the_run_and_the_message_still_goes_out(
    dispatcher: Dispatcher, slack: FakeChannel, store: AlertStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.close()  # what is in memory is gone, tables included
    assert dispatcher.tell([FAILED, DOWN], NOW) != []
    dispatcher.deliver(NOW)
    assert slack.changes == [Change.OPENED]
    assert "PostgreSQL says OperationalError" in caplog.text


def test_closing_closes_the_channels(dispatcher: Dispatcher, slack: FakeChannel) -> None:
    dispatcher.close()
    assert slack.closed


# ------------------------------------------------------------------------------------- machines that cannot see each other


def look(place: Path, channel: FakeChannel, *wrong: Problem, at: timedelta, server: AlertStore | None = None) -> None:
    """One turn of a process of its own."""
    one = Dispatcher(server, [channel], None, Fallback(place))
    one.settle(wrong, NOW + at)
    one.deliver(NOW + at)
    one.close()


def test_two_machines_without_the_store_give_one_matter_one_name(tmp_path: Path) -> None:
    """By which a webhook's receiver, Sentry and a mail server know the second message for a repetition."""
    a, b = FakeChannel("webhook"), FakeChannel("webhook")
    look(tmp_path / "a", a, DOWN, at=2 * MINUTE)
    look(tmp_path / "b", b, replace(DOWN, since=NOW + 6 * MINUTE), at=6 * MINUTE)
    assert [words.delivery(m) for m in a.got] == [words.delivery(m) for m in b.got]
    look(tmp_path / "c", c := FakeChannel("webhook"), DOWN, at=HOUR)
    assert words.delivery(c.got[0]) != words.delivery(a.got[0]), "another hour is another matter"


def test_with_the_store_every_incident_has_a_name_of_its_own(store: AlertStore, tmp_path: Path) -> None:
    """The control: two stores that are no fallback."""
    other, a, b = sqlite(None), FakeChannel("webhook"), FakeChannel("webhook")
    look(tmp_path / "a", a, DOWN, at=2 * MINUTE, server=store)
    look(tmp_path / "b", b, DOWN, at=6 * MINUTE, server=other)
    assert words.delivery(a.got[0]) != words.delivery(b.got[0])


def test_what_happens_again_within_the_hour_is_no_repetition(tmp_path: Path) -> None:
    slack = FakeChannel()
    for minutes, wrong in ((0, [DOWN]), (5, []), (25, [DOWN]), (30, []), (50, [DOWN])):
        look(tmp_path, slack, *wrong, at=minutes * MINUTE)
    opened = [words.delivery(m) for m in slack.got if m.change is Change.OPENED]
    assert len(opened) == len(set(opened)) == 3


def test_it_is_none_either_when_the_store_was_back_in_between(store: AlertStore, tmp_path: Path) -> None:
    """The file goes to the server and is emptied; what had recovered there must still be known when it is away again."""
    slack = FakeChannel()
    look(tmp_path, slack, DOWN, at=0 * MINUTE)
    look(tmp_path, slack, at=5 * MINUTE, server=store)
    look(tmp_path, slack, DOWN, at=30 * MINUTE)
    assert slack.changes == [Change.OPENED, Change.RECOVERED, Change.OPENED]
    first, _, again = (words.delivery(m) for m in slack.got)
    assert first != again


def test_two_notes_of_one_hour_are_two(tmp_path: Path) -> None:
    slack = FakeChannel()
    look(tmp_path, slack, DIGEST, at=0 * MINUTE)
    look(tmp_path, slack, replace(DIGEST, event="2026-03-03"), at=5 * MINUTE)
    assert len({words.delivery(m) for m in slack.got}) == len(slack.got) == 2


def test_a_state_directory_that_stays_tells_once_and_one_that_goes_tells_each_time(tmp_path: Path) -> None:
    """Why the dead man is no job with an empty directory: the naive control tells everybody twelve times an hour."""
    stays, goes = FakeChannel(), FakeChannel()
    for n in range(12):
        look(tmp_path / "stays", stays, DOWN, at=5 * n * MINUTE)
        look(tmp_path / f"goes {n}", goes, DOWN, at=5 * n * MINUTE)
    assert (stays.changes.count(Change.OPENED), goes.changes.count(Change.OPENED)) == (1, 12)
    assert len({words.delivery(m) for m in goes.got}) == 1, "receivers that drop repetitions would hear it once"
