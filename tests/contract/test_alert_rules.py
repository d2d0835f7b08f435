"""The rules of flows in SQLite and in PostgreSQL: one suite over both; and a flow that fails, muted and not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa

from alerts import __main__ as command
from alerts import opening
from alerts import store as stores
from alerts.flow_rules import Away, FlowRule, InvalidRule
from alerts.model import Code
from alerts.rule_store import RuleStore, opened
from alerts.store import AlertStore
from alerts.tables import rules as table
from pipelines import account, migrate, settings, watch, wiring
from pipelines.account import Origin
from pipelines.runs import ErrorKind, Mode, Status
from tests.conftest import as_environment
from tests.conftest import opened as opened_stores
from tests.support import faults
from tests.support.fakes_alerts import HOUR, MINUTE, NOW
from tests.support.faults import EACH_ONCE, NOTHING, Place

SLOW = FlowRule("incremental", "SLOW_RUN", threshold=90.0, severity="critical", note="the night batch")


def emptied(embedded: wiring.Endpoints) -> None:
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
        connection.execute("TRUNCATE alert_rules")
        connection.execute("TRUNCATE alert_incidents CASCADE")


@pytest.fixture
def server(embedded: wiring.Endpoints) -> Iterator[AlertStore]:
    emptied(embedded)
    store = stores.postgres(embedded.postgres)
    yield store
    store.close()
    emptied(embedded)


@pytest.fixture(params=["sqlite", "postgres"])
def alerts(request: pytest.FixtureRequest, tmp_path: Path) -> AlertStore:
    if request.param == "sqlite":
        return stores.sqlite(tmp_path / "rules.sqlite")
    found: AlertStore = request.getfixturevalue("server")
    return found


@pytest.fixture
def store(alerts: AlertStore) -> RuleStore:
    return RuleStore(alerts)


def rule(store: RuleStore, code: str, flow: str = "incremental", at=NOW) -> FlowRule:  # type: ignore[no-untyped-def]
    return next(r for r in store.rules_for(flow, at) if r.code == code)


class TestBoth:
    def test_a_rule_comes_back_as_it_was_set_with_who_and_when(self, store: RuleStore) -> None:
        wanted = replace(SLOW, muted_until=NOW + HOUR, enabled=False)
        assert store.set_rule(wanted, "ada", NOW) == replace(wanted, set_by="ada", set_at=NOW)
        assert rule(store, "SLOW_RUN") == replace(wanted, set_by="ada", set_at=NOW)
        assert store.stored() == (replace(wanted, set_by="ada", set_at=NOW),)

    def test_what_nobody_set_is_the_default(self, store: RuleStore) -> None:
        store.set_rule(SLOW, "ada", NOW)
        assert rule(store, "SLOW_RUN", "full") == FlowRule("full", "SLOW_RUN")
        assert rule(store, "RETRY_RATE").threshold == 0.2
        assert len(store.rules_for("incremental", NOW)) == 12

    def test_the_newest_holds_and_clearing_brings_the_defaults_back(self, store: RuleStore) -> None:
        store.set_rule(SLOW, "ada", NOW)
        store.set_rule(replace(SLOW, threshold=30.0), "ben", NOW + MINUTE)
        assert (rule(store, "SLOW_RUN").threshold, rule(store, "SLOW_RUN").set_by) == (30.0, "ben")
        assert store.clear_rule("incremental", "SLOW_RUN", "cleo", NOW + HOUR) == FlowRule("incremental", "SLOW_RUN")
        assert store.stored() == ()
        store.set_rule(SLOW, "ada", NOW + HOUR)
        assert rule(store, "SLOW_RUN").threshold == 90.0

    def test_who_set_what_is_kept_until_it_is_long_replaced(self, alerts: AlertStore, store: RuleStore) -> None:
        def kept() -> list[tuple[str, bool]]:
            with alerts.engine.begin() as connection:
                rows = connection.execute(sa.select(table.c.set_by, table.c.cleared).order_by(table.c.version))
                return [(by, cleared) for by, cleared in rows]

        store.set_rule(SLOW, "ada", NOW)
        store.clear_rule("incremental", "SLOW_RUN", "ben", NOW + HOUR)
        assert kept() == [("ada", False), ("ben", True)]
        alerts.forget(NOW + HOUR)
        assert len(kept()) == 2
        alerts.forget(NOW + 2 * HOUR)
        assert kept() == [("ben", True)], "the newest stays"

    def test_what_cannot_be_set_is_not_kept(self, store: RuleStore) -> None:
        for wrong in (replace(SLOW, threshold=-1.0), FlowRule("incremental", "ENTRIES_LOST", enabled=False)):
            with pytest.raises(InvalidRule):
                store.set_rule(wrong, "ada", NOW)
        for name in ("", " ", "n" * 101, "a\nb"):
            with pytest.raises(InvalidRule, match="name"):
                store.set_rule(SLOW, name, NOW)
        with pytest.raises(InvalidRule):
            store.clear_rule("incremental", "NOTHING", "ada", NOW)
        with pytest.raises(InvalidRule):
            store.rules_for("nothing", NOW)
        assert store.stored() == ()

    def test_a_mute_of_a_loss_is_not_renewed_by_clearing_it_first(self, store: RuleStore) -> None:
        mute = FlowRule("incremental", "ENTRIES_LOST", muted_until=NOW + 12 * HOUR)
        store.set_rule(mute, "ada", NOW)
        later = NOW + 11 * HOUR
        with pytest.raises(InvalidRule, match="cannot be extended"):
            store.set_rule(replace(mute, muted_until=later + HOUR + MINUTE), "ada", later)
        store.clear_rule("incremental", "ENTRIES_LOST", "ada", later)
        with pytest.raises(InvalidRule, match="cannot be extended"):
            store.set_rule(replace(mute, muted_until=later + 12 * HOUR), "ben", later)
        assert store.stored() == ()
        heard = NOW + 13 * HOUR
        assert store.set_rule(replace(mute, muted_until=heard + HOUR), "ben", heard).muted_until == heard + HOUR

    def test_what_was_turned_off_before_it_was_forbidden_is_heard(self, store: RuleStore) -> None:
        store._write(FlowRule("full", "FLOW_FAILED", enabled=False, set_by="ada", set_at=NOW), cleared=False)
        assert [r.enabled for r in store.stored()] == [True]

    def test_a_rule_of_another_version_of_the_program_is_passed_over(
        self, alerts: AlertStore, store: RuleStore
    ) -> None:
        store.set_rule(SLOW, "ada", NOW)
        with alerts.engine.begin() as connection:
            connection.execute(sa.update(table).values(code="WORD_OF_LATER"))
        assert store.stored() == ()

    def test_two_that_set_at_once_are_both_written(self, store: RuleStore) -> None:
        def one(n: int) -> None:
            store.set_rule(replace(SLOW, threshold=float(n + 1)), f"user {n}", NOW)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(12)))
        assert len(store.stored()) == 1


def test_a_server_that_is_away_is_said_without_its_url() -> None:
    with (
        opened("postgresql://ada:secret@127.0.0.1:9/x") as store,
        pytest.raises(Away, match=r"did not answer .*ORGANISM_POSTGRES_URL") as caught,
    ):
        store.rules_for("incremental", NOW)
    assert "secret" not in str(caught.value) and "127.0.0.1" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ a flow that fails


def fail(where: wiring.Endpoints, run_id: str) -> None:
    """A run of full fails for good in Prefect, and its hook tells."""
    origin = Origin(run_id=run_id, mode=Mode.PREFECT)
    account.tell_failed(settings.load(), where, "full", origin, ErrorKind.TRANSIENT, "redis is away", "store_metrics")


@pytest.fixture
def place(
    server: AlertStore, embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    with opened_stores(embedded), faults.place(embedded, tmp_path, monkeypatch) as place:  # nothing else is wrong
        yield place


def test_a_muted_failure_sends_nothing_and_an_unmuted_one_one_message(server: AlertStore, place: Place) -> None:
    its, now = RuleStore(server), account.utc_now()
    its.set_rule(FlowRule("full", "FLOW_FAILED", muted_until=now + HOUR), "ada", now)
    fail(place.where, "1")
    assert (place.told(), place.incidents()) == (NOTHING, [])
    its.clear_rule("full", "FLOW_FAILED", "ada", now)
    fail(place.where, "2")
    assert (place.told(), place.incidents()) == (EACH_ONCE, [("FLOW_FAILED:full", False)])


def test_a_failure_that_is_told_as_a_warning_wakes_nobody(server: AlertStore, place: Place) -> None:
    """Mail and Sentry are for what is critical."""
    RuleStore(server).set_rule(FlowRule("full", "FLOW_FAILED", severity="warning"), "ada", account.utc_now())
    fail(place.where, "1")
    assert place.told() == NOTHING | {"slack": 1, "webhook": 1}


def test_without_postgresql_nobody_knows_of_a_mute_and_the_failure_is_told(server: AlertStore, place: Place) -> None:
    now = account.utc_now()
    RuleStore(server).set_rule(FlowRule("full", "FLOW_FAILED", muted_until=now + HOUR), "ada", now)
    fail(replace(place.where, postgres="postgresql://127.0.0.1:9/x"), "1")
    assert place.told() == EACH_ONCE


def test_the_watch_keeps_to_the_rules(server: AlertStore, place: Place) -> None:
    """It finds by itself what a hook would have told, and what is slow by the number that was set."""
    now = account.utc_now()
    RuleStore(server).set_rule(FlowRule("full", "FLOW_FAILED", muted_until=now + HOUR), "ada", now)
    with wiring.ledger(place.where) as ledger:
        ledger.begin("full", "1", Mode.DIRECT, now, parameters={})
        ledger.close("1", Status.FAILED, now, error="away", error_kind=ErrorKind.TRANSIENT)
    turn = watch.run_once(settings.load(), Origin())
    assert "FLOW_FAILED:full" in {p.key for p in turn.problems}
    assert list(turn.hushed) == ["FLOW_FAILED:full"]
    assert place.told() == NOTHING | {"slack": 1}, "that it is muted, and by whom"
    assert "ALERT_SILENCED:FLOW_FAILED of full" in {p.key for p in turn.problems}
    RuleStore(server).clear_rule("full", "FLOW_FAILED", "ada", now)
    watch.run_once(settings.load(), Origin())
    assert place.told() == EACH_ONCE | {"slack": EACH_ONCE["slack"] + 1}


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def at_home(server: AlertStore, embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**as_environment(embedded), "ORGANISM_STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("at_home")
class TestCommand:
    def test_it_is_set_shown_muted_and_cleared(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["rule", "full", "slow_run", "--threshold", "900", "--by", "ada", "--note", "big"]) == 0
        assert "SLOW_RUN         on   how long a run may take: 900 seconds; set by ada" in capsys.readouterr().out
        assert command.main(["rule", "full", "SLOW_RUN", "--mute", "2h", "--by", "ben"]) == 0
        words = capsys.readouterr().out
        assert "900 seconds; muted until" in words and "set by ben" in words and words.endswith("; big\n")
        assert command.main(["rules", "full"]) == 0
        assert "muted until" in capsys.readouterr().out
        assert command.main(["rule", "full", "SLOW_RUN", "--on", "--by", "ben"]) == 0
        assert "muted" not in capsys.readouterr().out
        assert command.main(["rule", "full", "SLOW_RUN", "--clear", "--by", "ben"]) == 0
        assert "set by" not in capsys.readouterr().out

    def test_without_a_name_it_is_the_account(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOGNAME", "somebody else")
        monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="cleo"))
        assert command.main(["rule", "full", "SCHEDULE_MISSED", "--off"]) == 0
        said = capsys.readouterr().out
        assert (
            said.startswith("full\n  SCHEDULE_MISSED  off  how long nothing may start the flow")
            and "set by cleo" in said
        )

    def test_wrong_use_is_said_and_changes_nothing(
        self, capsys: pytest.CaptureFixture[str], server: AlertStore
    ) -> None:
        assert command.main(["rule", "incremental", "ENTRIES_LOST", "--off"]) == 2
        assert "cannot be turned off" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            command.main(["rule", "full", "SLOW_RUN", "--mute", "a while"])
        assert "30m, 2h or 3d" in capsys.readouterr().err
        assert RuleStore(server).stored() == ()

    def test_asking_sets_nothing(self, server: AlertStore) -> None:
        assert command.main(["rule", "full", "SLOW_RUN"]) == 0
        assert RuleStore(server).stored() == ()


def test_the_dispatcher_of_a_run_knows_the_rules(
    server: AlertStore, embedded: wiring.Endpoints, tmp_path: Path
) -> None:
    from alerts.settings import load

    RuleStore(server).set_rule(SLOW, "ada", NOW)
    with opening.dispatcher(load(), embedded.postgres, tmp_path) as its:
        assert [rule.code for rule in its.rules] == [Code.SLOW_RUN]
        assert opening.limits(load(), its.rules, NOW).of("incremental").slow_after == 90 * (MINUTE / 60)
    with opening.dispatcher(load(), None, tmp_path) as its:
        assert its.rules == ()
