"""Alerts end to end on real PostgreSQL, in simulated time: a store away, a sink away, the database away; and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from alerts import __main__ as command
from alerts import opening, rules, settings
from alerts.dispatch import Dispatcher
from alerts.fallback import Fallback
from alerts.model import Change, Facts, Failed, StoreFact
from alerts.policy import Policy
from alerts.settings import AlertSettings
from pipelines import migrate, wiring
from tests.support.fakes_alerts import DOWN, FAILED, MINUTE, NOW, FakeChannel, bad, flow, later, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in AlertSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ORGANISM_SECRETS_DIR", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def url(embedded: wiring.Endpoints) -> str:
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
        connection.execute("TRUNCATE alert_incidents CASCADE")
    return embedded.postgres


class Day:
    """The hook and the watch of one day, each with a dispatcher of its own, as in their own processes."""

    def __init__(self, url: str | None, place: Path) -> None:
        self.url, self.place = url, place
        self.channels = {name: FakeChannel(name, threaded=name == "slack") for name in ("slack", "email", "log")}
        self.naive = 0

    def opened(self) -> Dispatcher:
        channels = [FakeView(channel) for channel in self.channels.values()]
        return Dispatcher(opening.server(self.url), channels, Policy(), Fallback(self.place))

    def watch(self, facts: Facts) -> None:
        one = self.opened()
        found = rules.problems(facts, rules.Limits(digest="never"))
        self.naive += len(found)
        one.settle(found, facts.now, unknown=rules.unknown(facts))
        one.deliver(facts.now)
        one.close()

    def hook(self, run_id: str, minutes: float) -> None:
        one = self.opened()
        self.naive += 1
        one.tell([later(FAILED, run_id)], NOW + minutes * MINUTE)
        one.deliver(NOW + minutes * MINUTE)
        one.close()


class FakeView:
    """A fake channel that outlives the processes that close it."""

    def __init__(self, channel: FakeChannel) -> None:
        self.name, self.send = channel.name, channel.send

    def close(self) -> None: ...


def seen(minutes: int, *, down: bool, failing: bool) -> Facts:
    """What the watch finds then."""
    started = -minutes + 3
    newest = bad(started, run_id=f"run-{minutes}") if failing else run(started)
    store = StoreFact("redis", "redis localhost:6379: ConnectionError" if down else None)
    return Facts(now=NOW + minutes * MINUTE, flows=(flow(newest, next_try=None),), stores=(store,))


def an_hour_without_redis(day: Day) -> None:
    """The hook of each failed run, and the watch two minutes later; both go well from 65 on."""
    for minutes in range(0, 125, 5):
        if minutes <= 60:
            day.hook(f"run-{minutes + 2}", minutes)
        day.watch(seen(minutes + 2, down=minutes <= 60, failing=minutes <= 60))


def test_a_store_that_is_away_for_an_hour_is_one_thread(url: str, tmp_path: Path) -> None:
    day = Day(url, tmp_path)
    an_hour_without_redis(day)
    slack, email = day.channels["slack"], day.channels["email"]
    assert slack.changes == [Change.OPENED, Change.UPDATED, Change.UPDATED, Change.ESCALATED, Change.RECOVERED]
    assert email.changes == [Change.OPENED, Change.ESCALATED, Change.RECOVERED]
    assert len({message.incident.id for message in slack.got}) == 1
    assert {message.thread for message in slack.got[1:]} == {f"thread-{slack.got[0].incident.id}"}
    assert day.naive > 30, "a message each time would have been so many"


def test_without_the_database_the_file_does_the_same(tmp_path: Path) -> None:
    day = Day(None, tmp_path)
    an_hour_without_redis(day)
    assert day.channels["slack"].changes == [
        Change.OPENED, Change.UPDATED, Change.UPDATED, Change.ESCALATED, Change.RECOVERED,
    ]  # fmt: skip


def test_a_sink_that_is_away_for_an_hour_gets_it_after(url: str, tmp_path: Path) -> None:
    day = Day(url, tmp_path)
    slack = day.channels["slack"]
    slack.away = Failed("ConnectError at slack.com")
    day.hook("run-1", 0)
    for minutes in range(5, 60, 5):
        day.watch(seen(minutes, down=False, failing=True))
    assert slack.got == []
    assert day.channels["email"].changes == [Change.OPENED]
    slack.away = None
    for minutes in range(60, 160, 5):
        day.watch(seen(minutes, down=False, failing=True))
    assert slack.changes[0] is Change.OPENED
    assert slack.changes.count(Change.OPENED) == slack.changes.count(Change.ESCALATED) == 1


def test_the_database_goes_away_in_the_middle_and_comes_back(url: str, tmp_path: Path) -> None:
    day = Day(url, tmp_path)
    day.watch(seen(0, down=True, failing=True))
    day.url = "postgresql://nobody:canary-password@127.0.0.1:1/none"
    for minutes in range(5, 70, 5):
        day.watch(seen(minutes, down=True, failing=True))
    day.url = url
    day.watch(seen(70, down=False, failing=False))
    slack = day.channels["slack"]
    assert slack.changes == [Change.OPENED, Change.UPDATED, Change.ESCALATED, Change.RECOVERED]
    assert len({message.incident.id for message in slack.got}) == 1


def test_a_server_that_is_away_or_without_tables_is_said_without_its_url(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert opening.server("postgresql://nobody:canary-password@127.0.0.1:1/none") is None
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS without_tables")
        connection.execute("CREATE DATABASE without_tables")
    assert opening.server(url.rsplit("/", 1)[0] + "/without_tables") is None
    assert "SQLSTATE 42P01" in caplog.text
    assert "canary" not in caplog.text


def test_nothing_of_the_block_is_hidden_and_nothing_of_ours_breaks_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("not a directory")
    with opening.dispatcher(settings.load(), "postgresql://127.0.0.1:1/x", nowhere) as dispatcher:
        assert len(dispatcher.tell([FAILED], NOW)) == 1
        assert dispatcher.deliver(NOW) == 1  # to the log, from memory
    with pytest.raises(KeyError), opening.dispatcher(settings.load(), None, tmp_path):
        raise KeyError


def test_a_server_that_fills_up_or_turns_read_only_does_not_break_the_run(url: str, tmp_path: Path) -> None:
    slack = FakeChannel()
    store = opening.server(url)
    assert store is not None
    with store.engine.connect() as connection:  # the pool's session stays as it is left here
        connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
    one = Dispatcher(store, [slack], Policy(), Fallback(tmp_path))
    one.tell([DOWN], NOW)
    one.deliver(NOW)
    one.close()
    assert slack.changes == [Change.OPENED]
    assert Fallback(tmp_path).path.exists()


# --------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def place(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", url)
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path))
    return tmp_path


def test_list_shows_what_is_open_and_what_did_not_arrive(
    url: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = Day(url, place)
    day.channels["email"].away = Failed("mail.example.org refused", permanent=True)
    day.hook("run-1", 0)
    assert command.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "1 open incident (PostgreSQL" in shown
    assert "FLOW_FAILED:incremental" in shown
    assert (
        "not delivered: email opened of FLOW_FAILED:incremental, given up, 1 tries: mail.example.org refused" in shown
    )
    assert command.main(["list", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert [o["key"] for o in whole["open"]] == ["FLOW_FAILED:incremental"]
    assert [d["status"] for d in whole["undelivered"]] == ["dead"]


def test_an_incident_that_is_acknowledged_is_not_escalated(
    url: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = Day(url, place)
    day.watch(seen(0, down=True, failing=True))
    id_ = day.channels["slack"].got[0].incident.id
    assert command.main(["ack", id_, "--by", "Ada"]) == 0
    assert command.main(["ack", "nothing", "--by", "Ada"]) == 2
    for minutes in range(5, 130, 5):
        day.watch(seen(minutes, down=True, failing=True))
    told = day.channels["slack"].changes
    assert Change.ESCALATED not in told
    assert "Ada" not in str(day.channels["slack"].got)
    command.main(["list"])
    assert "Ada looks after it" in capsys.readouterr().out


def test_retry_brings_back_what_was_given_up(url: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = Day(url, place)
    one.channels["slack"].away = Failed("no such channel", permanent=True)
    now = command._now()
    dispatcher = one.opened()
    dispatcher.tell([FAILED], now)
    dispatcher.deliver(now)
    dispatcher.close()
    one.channels["slack"].away = None
    assert command.main(["retry"]) == 0
    assert capsys.readouterr().out.startswith("1 message will be tried again")
    dispatcher = one.opened()
    dispatcher.deliver(now + MINUTE)
    dispatcher.close()
    assert one.channels["slack"].changes == [Change.OPENED]


def test_trying_the_channels_says_when_none_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["test"]) == 2
    shown = capsys.readouterr().out
    assert "✔ log" in shown
    assert "- slack    not configured: set SLACK_WEBHOOK_URL" in shown
    assert "No channel is configured" in shown


def test_trying_a_channel_that_is_away_says_cause_and_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "http://127.0.0.1:1/canary-path-secret")
    assert command.main(["test"]) == 1
    shown = capsys.readouterr()
    assert "✘ webhook" in shown.out
    assert "is it up, and reachable?" in shown.out
    assert "canary" not in shown.out + shown.err


def test_wrong_settings_are_exit_code_2_and_name_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENTRY_DSN", "canary")
    assert command.main(["test"]) == 2
    said = capsys.readouterr().err
    assert "SENTRY_DSN" in said
    assert "canary" not in said


def test_the_command_starts_as_a_program(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alerts", "list"],
        cwd=ROOT,
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No open incidents")
