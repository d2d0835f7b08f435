"""Incidents and deliveries in SQLite and in PostgreSQL: one suite over both, then what only two of them can get wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from alerts import store as stores
from alerts.dispatch import Dispatcher
from alerts.fallback import Fallback
from alerts.model import Change, Code, Message
from alerts.policy import Case, Decision, Policy, decide
from alerts.store import AlertStore
from alerts.tables import Status, metadata
from pipelines import migrate, wiring
from tests.support.fakes_alerts import DOWN, FAILED, HOUR, MINUTE, NOW, WARNING, FakeChannel, later, problem

POLICY = Policy()
ALL = ["slack", "log"]


@pytest.fixture
def server(embedded: wiring.Endpoints) -> Iterator[AlertStore]:
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
        connection.execute("TRUNCATE alert_incidents CASCADE")
    store = stores.postgres(embedded.postgres)
    yield store
    store.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[AlertStore]:
    store = Fallback(tmp_path).open()
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> AlertStore:
    found: AlertStore = request.getfixturevalue("file" if request.param == "sqlite" else "server")
    return found


def tell(store: AlertStore, *problems, at=NOW, settle: bool = False, channels=ALL) -> list[Decision]:  # type: ignore[no-untyped-def]
    return store.turn(lambda cases: decide(problems, cases, POLICY, at, settle=settle), channels, POLICY, at)


def claimed(store: AlertStore, at=NOW, by: str = "me", limit: int = 100):  # type: ignore[no-untyped-def]
    return store.claim(ALL, at, at + POLICY.lease, by, limit)


class TestBoth:
    def test_a_case_comes_back_as_it_was_kept(self, store: AlertStore) -> None:
        whole = replace(
            FAILED,
            stale="s",
            works="w",
            lost="3",
            last_good=NOW - HOUR,
            next_try=NOW + HOUR,
            fix="f",
            link="https://x/1",
        )
        (decision,) = tell(store, whole)
        case = replace(decision.case, absorbed=(("a:b", "e 1"),), calm_since=NOW, reopened=1)
        store.turn(lambda _: [Decision(case, None)], ALL, POLICY, NOW)
        assert store.open_cases() == [case]
        assert store.case(case.incident.id) == case

    def test_a_change_is_a_delivery_for_each_channel_with_the_incident_as_it_was(self, store: AlertStore) -> None:
        (decision,) = tell(store, FAILED)
        tell(store, later(FAILED, "run-2"), at=NOW + 5 * MINUTE)
        waiting = store.deliveries_of(decision.case.incident.id)
        assert [(d.channel, d.change, d.status) for d in waiting] == [
            ("log", Change.OPENED, Status.PENDING),
            ("slack", Change.OPENED, Status.PENDING),
        ]
        assert waiting[0].incident == decision.case.incident

    def test_a_turn_that_fails_keeps_nothing(self, store: AlertStore) -> None:
        def broken(cases: object) -> list[Decision]:
            first = decide([FAILED], [], POLICY, NOW, settle=False)
            return [*first, *first]  # the same delivery twice

        with pytest.raises(sa.exc.IntegrityError):
            store.turn(broken, ALL, POLICY, NOW)
        assert store.open_cases() == store.undelivered() == []

    def test_what_is_claimed_is_nobody_elses_until_the_lease_ends(self, store: AlertStore) -> None:
        tell(store, FAILED)
        assert len(claimed(store)) == 2
        assert claimed(store, by="other") == []
        assert len(claimed(store, NOW + POLICY.lease, by="other")) == 2

    def test_a_claim_that_was_lost_is_not_begun(self, store: AlertStore) -> None:
        tell(store, FAILED)
        first, *_ = claimed(store)
        claimed(store, NOW + POLICY.lease, by="other")
        assert not store.begin(first, "me", NOW + HOUR)
        assert store.begin(first, "other", NOW + HOUR)

    def test_the_end_is_not_sent_before_the_beginning(self, store: AlertStore) -> None:
        tell(store, FAILED, channels=["log"])
        tell(store, at=NOW + MINUTE, settle=True, channels=["log"])
        (opened,) = claimed(store, NOW + MINUTE)
        assert opened.change is Change.OPENED
        store.failed(opened, "away", NOW + 10 * MINUTE)
        assert claimed(store, NOW + 5 * MINUTE) == []
        (opened,) = claimed(store, NOW + 10 * MINUTE)
        store.sent(opened, None, NOW + 10 * MINUTE)
        assert [d.change for d in claimed(store, NOW + 10 * MINUTE)] == [Change.RECOVERED]

    def test_an_update_that_waits_is_replaced_by_the_next_one(self, store: AlertStore) -> None:
        (decision,) = tell(store, WARNING, channels=["log"])
        for n in (1, 2):
            tell(store, replace(WARNING, what="so" * n), at=NOW + n * 31 * MINUTE, channels=["log"])
        rows = store.deliveries_of(decision.case.incident.id)
        assert [(d.change, d.status) for d in rows] == [
            (Change.OPENED, Status.PENDING),
            (Change.UPDATED, Status.REPLACED),
            (Change.UPDATED, Status.PENDING),
        ]

    def test_a_thread_is_known_to_what_follows(self, store: AlertStore) -> None:
        tell(store, FAILED, channels=["slack"])
        (opened,) = claimed(store)
        store.sent(opened, "C1:17.1", NOW)
        tell(store, at=NOW + MINUTE, settle=True, channels=["slack"])
        assert [d.thread for d in claimed(store, NOW + MINUTE)] == ["C1:17.1"]

    def test_only_new_messages_of_the_last_hour_count(self, store: AlertStore) -> None:
        tell(store, FAILED, problem(Code.DRIFT))
        for delivery in claimed(store):
            store.sent(delivery, None, NOW)
        assert store.sent_since("slack", NOW - HOUR) == 2
        assert store.sent_since("slack", NOW) == 0

    def test_acknowledging_takes_an_open_incident(self, store: AlertStore) -> None:
        (decision,) = tell(store, FAILED)
        id_ = decision.case.incident.id
        assert store.acknowledge(id_, "ada", NOW)
        assert [(c.acknowledged_by, c.acknowledged_at) for c in store.open_cases()] == [("ada", NOW)]
        tell(store, at=NOW + MINUTE, settle=True)
        assert not store.acknowledge(id_, "ada", NOW)
        assert not store.acknowledge("nothing", "ada", NOW)

    def test_old_incidents_are_forgotten_and_open_ones_never(self, store: AlertStore) -> None:
        (old,) = tell(store, FAILED)
        tell(store, problem(Code.DRIFT), at=NOW + MINUTE, settle=True)
        assert store.forget(NOW + HOUR) == 1
        assert store.case(old.case.incident.id) is None
        assert [c.problem.code for c in store.open_cases()] == [Code.DRIFT]
        assert store.deliveries_of(old.case.incident.id) == []

    def test_times_without_a_zone_are_refused(self, store: AlertStore) -> None:
        with pytest.raises((ValueError, sa.exc.StatementError)):
            store.forget(NOW.replace(tzinfo=None))

    def test_two_that_decide_at_once_open_one_incident(self, store: AlertStore) -> None:
        barrier = threading.Barrier(4)

        def one(_: int) -> None:
            barrier.wait()
            tell(store, FAILED)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(4)))
        assert len(store.open_cases()) == 1
        assert len(store.undelivered()) == 2

    def test_two_that_send_at_once_send_each_message_once(self, store: AlertStore) -> None:
        tell(store, *(problem(Code.DRIFT, subject=f"graph {n}") for n in range(30)), channels=["slack"])
        slack = FakeChannel()
        barrier = threading.Barrier(3)

        def one(_: int) -> None:
            barrier.wait()
            Dispatcher(store, [slack], replace(POLICY, messages_per_hour=100)).deliver(NOW)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(one, range(3)))
        assert Counter(Counter(m.incident.id for m in slack.got).values()) == {1: 30}

    def test_without_claims_they_would_send_it_more_than_once(self, store: AlertStore) -> None:
        """The naive control: look what waits, send it, mark it."""
        tell(store, *(problem(Code.DRIFT, subject=f"graph {n}") for n in range(10)), channels=["slack"])
        slack = FakeChannel()
        barrier = threading.Barrier(3)

        def one(_: int) -> None:
            waiting = store.undelivered()
            barrier.wait()
            for delivery in waiting:
                slack.got.append(delivery)  # type: ignore[arg-type]
                store.sent(delivery, None, NOW)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(one, range(3)))
        assert len(slack.got) == 30


def test_the_migration_makes_the_tables_of_the_code(server: AlertStore) -> None:
    """Columns, types, what may be missing, keys and indexes."""
    with server.engine.connect() as connection:
        there = sa.inspect(connection)
        for table in metadata.sorted_tables:
            found = {c["name"]: (str(c["type"]), c["nullable"]) for c in there.get_columns(table.name)}
            dialect = connection.dialect
            assert found == {c.name: (_type(c, dialect), bool(c.nullable)) for c in table.columns}, table.name
            keys = there.get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [c.name for c in table.primary_key.columns]
            indexes = {i["name"]: i["column_names"] for i in there.get_indexes(table.name)}
            assert indexes == {str(i.name): [c.name for c in i.columns] for i in table.indexes}
            links = [(k["constrained_columns"], k["referred_table"]) for k in there.get_foreign_keys(table.name)]
            assert links == [(["incident"], "alert_incidents")] * len(table.foreign_keys)


def _type(column: sa.Column, dialect: sa.Dialect) -> str:  # type: ignore[type-arg]
    """As the inspector says it: it leaves out the zone."""
    return column.type.compile(dialect).replace(" WITH TIME ZONE", "")


# -------------------------------------------------------------------------------------------------- PostgreSQL and file


def dispatcher(store: AlertStore | None, slack: FakeChannel, place: Path) -> Dispatcher:
    return Dispatcher(store, [slack], POLICY, Fallback(place))


def settle(one: Dispatcher, *problems, at) -> None:  # type: ignore[no-untyped-def]
    one.settle(list(problems), at)
    one.deliver(at)


def test_an_incident_goes_on_in_the_file_and_comes_back(server: AlertStore, tmp_path: Path) -> None:
    """Opened on the server, escalated in the file, recovered on the server: one thread."""
    slack = FakeChannel()
    first = dispatcher(server, slack, tmp_path)
    settle(first, DOWN, at=NOW)
    first.close()
    second = dispatcher(None, slack, tmp_path)
    settle(second, DOWN, at=NOW + 55 * MINUTE)
    settle(second, DOWN, at=NOW + 65 * MINUTE)
    second.close()
    third = dispatcher(server, slack, tmp_path)
    settle(third, at=NOW + 70 * MINUTE)
    assert slack.changes == [Change.OPENED, Change.UPDATED, Change.ESCALATED, Change.RECOVERED]
    assert {m.thread for m in slack.got[1:]} == {f"thread-{slack.got[0].incident.id}"}


def test_without_the_copy_everybody_would_be_told_anew(server: AlertStore, tmp_path: Path) -> None:
    """The naive control."""
    slack = FakeChannel()
    settle(Dispatcher(server, [slack], POLICY), DOWN, at=NOW)
    settle(dispatcher(None, slack, tmp_path), DOWN, at=NOW + 5 * MINUTE)
    assert slack.changes == [Change.OPENED, Change.OPENED]


def test_a_copy_from_yesterday_says_nothing(server: AlertStore, tmp_path: Path) -> None:
    slack = FakeChannel()
    first = dispatcher(server, slack, tmp_path)
    settle(first, DOWN, at=NOW)
    first.close()
    settle(dispatcher(None, slack, tmp_path), at=NOW + 24 * HOUR)
    assert slack.changes == [Change.OPENED]


def test_taking_over_twice_or_after_a_cut_changes_nothing(
    server: AlertStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alerts import fallback

    slack = FakeChannel()
    slack.away = RuntimeError()
    settle(dispatcher(None, slack, tmp_path), DOWN, problem(Code.DRIFT), at=NOW)
    place = Fallback(tmp_path)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fallback, "_remove", cut)  # after the server has it, before the file is emptied
        with pytest.raises(KeyboardInterrupt):
            place.give_back(server, NOW)
    assert len(server.undelivered()) == 2
    (drift, down) = (
        server.open_cases() if server.open_cases()[0].problem.code is Code.DRIFT else server.open_cases()[::-1]
    )
    newer = replace(down, acknowledged_by="ada", acknowledged_at=NOW + MINUTE, changes=7)
    server.turn(lambda _: [Decision(newer, None)], ALL, POLICY, NOW + MINUTE)
    assert place.give_back(server, NOW + 2 * MINUTE) == 0
    assert place.give_back(server, NOW + 2 * MINUTE) == 0
    assert {_name(c): c for c in server.open_cases()} == {_name(drift): drift, _name(newer): newer}
    file = place.open()
    assert file.open_cases() == []
    file.close()


def _name(case: Case) -> str:
    return case.incident.id


def test_what_is_being_sent_from_the_file_stays_there(server: AlertStore, tmp_path: Path) -> None:
    place = Fallback(tmp_path)
    file = place.open()
    tell(file, FAILED, channels=["slack"])
    claimed(file)
    assert place.give_back(server, NOW + MINUTE) == 0
    assert server.undelivered() == []
    assert place.give_back(server, NOW + POLICY.lease) == 1
    assert [d.change for d in server.undelivered()] == [Change.OPENED]
    file.close()


def test_two_machines_that_could_not_see_each_other_both_hear_the_end(server: AlertStore, tmp_path: Path) -> None:
    one, two, both = _Posting("one"), _Posting("two"), FakeChannel()
    settle(dispatcher(None, one, tmp_path / "a"), DOWN, at=NOW)
    settle(dispatcher(None, two, tmp_path / "b"), DOWN, at=NOW + MINUTE)
    assert len({m.incident.id for m in one.got + two.got}) == 1, "they are told under one name"
    settle(dispatcher(server, FakeChannel(), tmp_path / "a"), DOWN, at=NOW + 5 * MINUTE)
    settle(dispatcher(server, both, tmp_path / "b"), at=NOW + 10 * MINUTE)
    assert both.changes == [Change.RECOVERED, Change.RECOVERED]
    assert {m.thread for m in both.got} == {"one", "two"}


class _Posting(FakeChannel):
    """Each message is its own, as in Slack, whatever the incident is called."""

    def __init__(self, thread: str) -> None:
        super().__init__()
        self.thread = thread

    def send(self, message: Message, now: datetime) -> str:
        super().send(message, now)
        return self.thread


def test_who_looks_after_it_does_so_on_both_machines_by_the_name_that_was_told(
    server: AlertStore, tmp_path: Path
) -> None:
    slack = FakeChannel()
    for n, name in enumerate(("a", "b")):
        settle(dispatcher(None, slack, tmp_path / name), DOWN, at=NOW + n * MINUTE)
        Fallback(tmp_path / name).give_back(server, NOW + HOUR)
    (told,) = {m.incident.id for m in slack.got}
    assert server.acknowledge(told, "ada", NOW)
    assert [c.acknowledged_by for c in server.open_cases()] == ["ada", "ada"]
