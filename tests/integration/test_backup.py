"""Backup and restore on real servers: nothing is lost, nothing is counted twice, whatever happens meanwhile."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any, cast

import psycopg
import pytest
import redis

from alerts import store as alert_stores
from alerts.dispatch import Dispatcher
from alerts.fallback import Fallback
from alerts.model import Change, Code, Failed, Problem
from deployments import archives, backup, postgres_copy, restore, server, trigrams
from pipelines import settings, wiring
from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from pipelines.jobs import ingest
from pipelines.jobs.ingest import Stores
from pipelines.jobs.reconcile import verify
from pipelines.jobs.writing import writing
from pipelines.model import Lane
from pipelines.ports import Archive
from pipelines.runs import ErrorKind, Mode, Status
from pipelines.settings import Settings
from tests.conftest import empty, fresh_place, opened
from tests.support import make
from tests.support.fakes_alerts import DOWN, FAILED, FakeChannel, problem
from tests.support.runs import RULES, run
from tests.support.wait import wait_until

FOR_EVER = replace(RULES, horizon=None)


class House:
    """One installation: its servers, its state directory, and its stores."""

    def __init__(self, where: wiring.Endpoints, stores: Stores, folder: Path) -> None:
        self.where, self.stores, self.folder = where, stores, folder
        self.config: Settings = settings.load(state_dir=fresh_place(), horizon=None, _env_file=None)

    def add(self, *payloads: bytes) -> None:
        self.stores.stream.append(payloads)

    def drain(self, **changes: object) -> None:
        run(self.stores, FOR_EVER, **changes)  # type: ignore[arg-type]

    def back_up(self, name: str = "copy", **options: bool) -> archives.Manifest:
        with archives.new(self.folder / name) as writer:
            return backup.take(self.config, self.where, writer, **options)

    def restore(self, name: str = "copy", **options: bool) -> None:
        manifest = archives.read(self.folder / name)
        report = restore.put_back(self.config, self.where, self.folder / name, manifest, **options)
        assert report.differences == []

    def destroy(self) -> None:
        empty(self.stores, self.where)

    def ties(self) -> dict[tuple[str, str, str], int]:
        return {tie.ends: tie.n for tie in self.stores.graph.ties()}


@pytest.fixture
def house(embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    for name in ("PREFECT_HOME", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(name, raising=False)
    with opened(embedded) as stores:
        yield House(embedded, stores, tmp_path)


def events(count: int, name: str = "e") -> list[bytes]:
    return [make.event(f"{name}{i}", make.person(i % 7), [make.person(100 + i % 5)]) for i in range(count)]


def test_what_was_applied_and_what_was_waiting_are_both_there_once(house: House) -> None:
    house.add(*events(200))
    house.drain()
    applied = house.ties()
    house.add(b"no json", make.event("old", time=make.NOW - timedelta(days=60)))
    house.drain(horizon=timedelta(days=30))
    house.add(*events(50, "pending"))
    ingest.fetch_interactions(house.stores, FOR_EVER)  # delivered, and then the reader dies
    house.add(*events(30, "unread"))
    before = house.stores.stream.state()
    manifest = house.back_up()
    house.destroy()
    house.restore()
    assert house.ties() == applied
    after = house.stores.stream.state()
    assert replace(after, oldest_unread_ms=None) == replace(before, oldest_unread_ms=None)
    assert (after.pending, after.unread) == (50, 30)
    assert house.stores.letters.counts(Lane.DEAD) == {"BAD_JSON": 1}
    assert house.stores.letters.counts(Lane.LATE) == {"TOO_LATE": 1}
    assert manifest.part(backup.STREAM).counts["pending"] == 50  # type: ignore[union-attr]
    house.drain()
    assert sum(house.ties().values()) == 280
    assert house.stores.stream.audit() == 0
    assert verify(house.stores).differences == ()


def test_entries_that_are_delivered_again_after_a_restore_change_nothing(house: House) -> None:
    house.add(*events(40))
    house.back_up()
    house.drain()
    once = house.ties()
    house.destroy()
    house.restore()
    assert house.ties() == {}
    house.drain()
    house.add(*events(40))
    house.drain()
    assert house.ties() == once


def test_a_backup_during_an_ingest_holds_every_event_once(house: House) -> None:
    house.add(*events(3_000))
    reader = Thread(target=house.drain, kwargs={"batch_size": 50, "window_size": 500})
    reader.start()
    wait_until(lambda: house.stores.graph.cursor().applied, 30, "the first batch")
    manifests = [house.back_up(f"copy{i}") for i in range(2)]
    reader.join()
    whole = house.ties()
    assert sum(whole.values()) == 3_000
    first = manifests[0].part(backup.STREAM)
    assert first is not None
    assert first.counts["pending"] + first.counts["unread"] > 0, "the ingest was over too soon"
    for i in range(2):
        house.destroy()
        house.restore(f"copy{i}")
        house.drain()
        assert house.ties() == whole
        assert verify(house.stores).differences == ()


class _ArchiveThatCalls:
    """An archive that calls somebody around its third `store`."""

    def __init__(self, archive: Archive, call: Callable[[], object], *, after: bool) -> None:
        self._archive, self._call, self._after, self._count = archive, call, after, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def store(self, payloads: Sequence[bytes]) -> None:
        self._count += 1
        if self._count == 3 and not self._after:
            self._call()
        self._archive.store(payloads)
        if self._count == 3 and self._after:
            self._call()


@pytest.mark.parametrize("after", [False, True], ids=["before the archive", "before the acknowledgement"])
def test_a_backup_between_two_steps_of_a_batch_holds_every_event_once(house: House, after: bool) -> None:
    house.add(*events(200))
    archive = cast(Archive, _ArchiveThatCalls(house.stores.archive, house.back_up, after=after))
    run(replace(house.stores, archive=archive), FOR_EVER, batch_size=50)
    whole = house.ties()
    house.destroy()
    house.restore()
    assert sum(house.ties().values()) == (150 if after else 100)
    house.drain()
    assert house.ties() == whole


def test_archive_before_stream_would_lose_events(house: House, tmp_path: Path) -> None:
    """The control: the order of the copies is what the promise rests on."""
    house.add(*events(100))
    with archives.new(tmp_path / "wrong") as writer, backup.copying(house.where) as copy:
        backup._postgres(writer, backup.POSTGRES, "", house.where.postgres)
        house.drain()  # between the two
        moment = copy.moment()
        for lane, name in backup.LETTERS.items():
            writer.add(name, "", lambda file, lane=lane: copy.write_lane(moment, lane, file))
        writer.add(backup.STREAM, "", lambda file: copy.write_stream(moment, file))
        writer.close(moment.at, {}, {})
    house.destroy()
    house.restore("wrong")
    house.drain()
    assert sum(house.ties().values()) == 0


def test_a_target_that_is_not_empty_is_refused_and_nothing_of_it_is_touched(house: House) -> None:
    house.add(*events(10))
    house.drain()
    house.back_up()
    house.add(*events(5, "new"))
    house.drain()
    before = house.ties()
    with pytest.raises(Refused, match=r"NOT_EMPTY.*PostgreSQL.*stream.*graph"):
        house.restore()
    assert house.ties() == before
    house.restore(force=True)
    assert sum(house.ties().values()) == 10
    house.back_up("again")  # of what was restored
    house.restore("again", force=True)
    assert sum(house.ties().values()) == 10


def test_a_fresh_installation_counts_as_empty(house: House) -> None:
    assert list(restore.occupied(house.config, house.where, None)) == []
    house.add(*events(1))
    assert list(restore.occupied(house.config, house.where, None)) == ["the stream or its letters"]


def test_a_restore_that_was_cut_off_can_be_run_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add(*events(10))
    house.drain()
    house.add(*events(5, "waiting"))
    house.back_up()
    house.destroy()
    whole = postgres_copy._run

    def half(command: list[str], url: str) -> None:
        whole([*command, "--section=pre-data"], url)
        raise PermanentError("cut off")

    monkeypatch.setattr(postgres_copy, "_run", half)
    with pytest.raises(PermanentError, match="cut off"):
        house.restore()
    monkeypatch.setattr(postgres_copy, "_run", whole)
    house.restore(force=True)
    house.drain()
    assert sum(house.ties().values()) == 15


def test_a_restore_while_somebody_writes_the_graph_is_refused(house: House) -> None:
    house.add(*events(10))
    house.back_up()
    house.destroy()
    with writing(house.stores.lease, "incremental", make.NOW), pytest.raises(Refused, match="WRITER_BUSY"):
        house.restore()


def test_a_damaged_file_is_named_before_anything_is_touched(house: House) -> None:
    house.add(*events(10))
    house.drain()
    house.back_up()
    path = house.folder / "copy" / backup.POSTGRES
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"postgres\.dump does not fit its checksum"):
        house.restore(force=True)
    assert sum(house.ties().values()) == 10


def test_events_that_are_published_during_the_restore_are_not_overwritten(house: House) -> None:
    house.add(*events(10))
    house.back_up()
    house.destroy()
    with backup.copying(house.where) as copy:
        copy.clear()
        house.add(*events(1, "meanwhile"))
        with pytest.raises(Refused, match="STREAM_IN_USE"):
            copy.restore_stream(house.folder / "copy" / backup.STREAM)
    assert house.stores.stream.state().length == 1


def test_letters_that_are_replayed_during_the_backup_are_noticed(house: House) -> None:
    house.add(b"bad", b"worse")
    house.drain()
    with backup.copying(house.where) as copy, open(house.folder / "letters", "wb") as file:
        moment = copy.moment()
        (letter, _) = house.stores.letters.list(Lane.DEAD)
        assert house.stores.letters.replay(Lane.DEAD, letter.id)
        with pytest.raises(TransientError, match="replayed or dropped"):
            copy.write_lane(moment, Lane.DEAD, file)


def test_bytes_that_are_no_text_and_fields_that_repeat_come_back_as_they_were(house: House) -> None:
    client = redis.Redis.from_url(house.where.redis)
    name = wiring.NAMES.stream
    client.execute_command("XADD", name, "*", b"event", b"\xff\xfe\x00", b"event", "é".encode())
    before = client.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, name)
    house.back_up()
    house.destroy()
    house.restore()
    assert client.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, name) == before


def test_who_had_an_entry_and_how_often_comes_back(house: House) -> None:
    house.add(*events(3))
    ingest.fetch_interactions(house.stores, FOR_EVER)
    house.stores.stream.pending("0", 10)
    client = redis.Redis.from_url(house.where.redis)
    asked = {"name": wiring.NAMES.stream, "groupname": wiring.NAMES.group, "min": "-", "max": "+", "count": 10}
    before = client.xpending_range(**asked)
    house.back_up()
    house.destroy()
    house.restore()
    seen = client.xpending_range(**asked)
    assert [(x["message_id"], x["consumer"], x["times_delivered"]) for x in seen] == [
        (x["message_id"], x["consumer"], x["times_delivered"]) for x in before
    ]


def test_the_outbox_of_this_machine_is_in_it(house: House) -> None:
    with wiring.outbox(house.config) as outbox:
        outbox.put(events(4))
    house.back_up()
    path = wiring.state_dir(house.config) / "outbox.sqlite"
    for part in path.parent.glob("outbox.sqlite*"):
        part.unlink()
    house.destroy()
    house.restore()
    with wiring.outbox(house.config) as outbox:
        assert outbox.count() == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_are_copied_only_when_asked_and_another_key_is_refused(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    key = wiring.pseudonym_key(house.config)
    assert [p.name for p in house.back_up("without").parts if p.name.endswith(".key")] == []
    house.back_up("with", with_keys=True)
    assert "keep the two apart" in capsys.readouterr().err
    copied = house.folder / "with" / "pseudonym.key"
    assert (copied.read_bytes(), stat.S_IMODE(copied.stat().st_mode)) == (key, 0o600)
    path = backup.key_path(house.config, "pseudonym")
    path.write_bytes(b"another key")
    house.destroy()
    with pytest.raises(Refused, match="OTHER_KEY"):
        house.restore("without")
    with pytest.raises(Refused, match="OTHER_KEY"):
        house.restore("with", with_keys=True)
    house.restore("with", with_keys=True, force=True)
    assert path.read_bytes() == key
    text = (house.folder / "with" / archives.MANIFEST).read_text()
    assert key.decode() not in text


def test_the_database_of_the_prefect_server_is_copied_from_where_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.back_up("none")
    assert "Prefect's database is not in it" in capsys.readouterr().err
    url = server.own_database(house.where.postgres, "prefect_elsewhere")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "DROP TABLE IF EXISTS flow_run; CREATE TABLE flow_run (id int); INSERT INTO flow_run VALUES (7)"
        )
        monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", server.async_url(url))
        assert house.back_up().part(backup.PREFECT)
        house.destroy()
        with pytest.raises(Refused, match="PREFECT_RUNNING"):
            house.restore(force=True)
        connection.execute("DROP TABLE flow_run")
    house.restore()
    with pytest.raises(Refused, match=r"NOT_EMPTY.*Prefect"):
        house.restore()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id FROM flow_run").fetchall() == [(7,)]


def test_the_database_that_serve_keeps_beside_ours_comes_back_without_its_extension(house: House) -> None:
    url = server.own_database(house.where.postgres)
    try:
        trigrams.stand_in(url, wiring.state_dir(house.config) / "prefect-database")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE flow_run (name text)")
            connection.execute("CREATE INDEX trgm_flow_run_name ON flow_run USING gin (name gin_trgm_ops)")
            connection.execute("INSERT INTO flow_run VALUES ('a run')")
        assert house.back_up().part(backup.PREFECT)
        with psycopg.connect(house.where.postgres, autocommit=True) as connection:
            connection.execute("DROP DATABASE prefect")
        house.destroy()
        house.restore()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT name FROM flow_run").fetchall() == [("a run",)]
    finally:
        with psycopg.connect(house.where.postgres, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS prefect")


def _tell(house: House, channel: FakeChannel, *wrong: Problem, at: datetime) -> None:
    """One turn of the watch."""
    one = Dispatcher(alert_stores.postgres(house.where.postgres), [channel], None, Fallback(house.folder / "state"))
    one.settle(wrong, at)
    one.deliver(at)
    one.close()


@pytest.fixture
def day_before(house: House) -> FakeChannel:
    """A backup of a week ago, in which two runs were at work, an incident was told, and one was still to be told."""
    with psycopg.connect(house.where.postgres) as connection:
        connection.execute("TRUNCATE alert_incidents, workflow_runs CASCADE")
    slack = FakeChannel()
    then = datetime.now(UTC) - timedelta(days=7)
    with wiring.ledger(house.where) as ledger:
        ledger.begin("incremental", "at-work", Mode.PREFECT, then, parameters={})
        ledger.schedule("full", "asked-for", Mode.PREFECT, then, parameters={})
        ledger.begin("verify", "over", Mode.DIRECT, then, parameters={})
        ledger.close("over", Status.COMPLETED, then)
    _tell(house, slack, DOWN, FAILED, at=then)
    slack.away = Failed("ConnectError")
    _tell(house, slack, DOWN, FAILED, problem(Code.DRIFT), at=then + timedelta(minutes=5))
    slack.away = None
    house.back_up()
    house.destroy()
    (house.folder / "state" / "alerts.sqlite").unlink()  # another machine
    slack.got.clear()
    return slack


def test_what_was_open_at_the_time_of_the_backup_is_no_news_after_a_restore(
    house: House, day_before: FakeChannel
) -> None:
    house.restore()
    with wiring.ledger(house.where) as ledger:
        at_work, asked_for, over = (ledger.get(name) for name in ("at-work", "asked-for", "over"))
        assert at_work and asked_for and over
        assert over.status is Status.COMPLETED
        assert {(run.status, run.error_kind) for run in (at_work, asked_for)} == {
            (Status.CANCELLED, ErrorKind.INTERRUPTED)
        }
        assert "restored from the backup" in (at_work.error or "")
        assert ledger.count(statuses=[Status.SCHEDULED, Status.RUNNING]) == 0
    _tell(house, day_before, FAILED, at=datetime.now(UTC))
    assert day_before.changes == [], "neither told again, nor told that it is over"
    _tell(house, day_before, FAILED, DOWN, at=datetime.now(UTC) + timedelta(minutes=5))
    assert [(m.change, m.incident.problem.code) for m in day_before.got] == [(Change.OPENED, Code.STORE_DOWN)], (
        "what is still wrong is found anew"
    )


def test_without_laying_it_to_rest_it_would_be_told_today(
    house: House, day_before: FakeChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The naive control."""
    monkeypatch.setattr(restore, "lay_to_rest", lambda *_: None)
    house.restore()
    with wiring.ledger(house.where) as ledger:
        assert ledger.count(statuses=[Status.SCHEDULED, Status.RUNNING]) == 2
    _tell(house, day_before, at=datetime.now(UTC))
    assert set(day_before.changes) == {Change.RECOVERED}


def test_the_copy_of_open_incidents_stays_with_its_machine(house: House) -> None:
    """It is newer than any backup: an outage that was told from it must be told to be over."""
    state = wiring.state_dir(house.config)
    slack = FakeChannel()
    lost = Dispatcher(None, [slack], None, Fallback(state))
    lost.settle([DOWN], make.NOW)
    lost.deliver(make.NOW)
    lost.close()
    assert "alerts.sqlite" not in [part.name for part in house.back_up().parts]
    house.destroy()
    house.restore()
    back = Dispatcher(alert_stores.postgres(house.where.postgres), [slack], None, Fallback(state))
    back.settle([], make.NOW + timedelta(minutes=5))
    back.deliver(make.NOW + timedelta(minutes=5))
    back.close()
    assert slack.changes == [Change.OPENED, Change.RECOVERED]


def test_a_small_prefect_server_on_sqlite_is_copied_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    file = house.folder / "prefect.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE flow_run (id int)")
        database.execute("INSERT INTO flow_run VALUES (7)")
    database.close()
    monkeypatch.setenv("PREFECT_HOME", str(house.folder))
    assert house.back_up().part(backup.PREFECT_FILE).counts == {"flow_run": 1}  # type: ignore[union-attr]
    file.unlink()
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{file}")
    house.destroy()
    house.restore()
    assert postgres_copy.plain("postgresql+asyncpg://h/d") == "postgresql://h/d"
    assert file.is_file()


def test_the_commands_say_what_they_did_and_keep_secrets_to_themselves(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORGANISM_REDIS_URL", house.where.redis)
    monkeypatch.setenv("ORGANISM_GRAPH_URL", house.where.graph)
    monkeypatch.setenv("ORGANISM_GRAPH_USER", house.where.graph_user)
    monkeypatch.setenv("ORGANISM_GRAPH_PASSWORD", house.where.graph_password)
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", house.where.postgres)
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(wiring.state_dir(house.config)))
    house.add(*events(20))
    house.drain()
    target = str(house.folder / "copy")
    assert backup.main([target, "--no-prefect"]) == 0
    assert "20 entries" in capsys.readouterr().out
    with pytest.raises(InvalidInput, match="not empty"):
        backup.main([target])
    assert restore.main([target, "--check"]) == 0
    house.destroy()
    assert restore.main([target]) == 0
    told = capsys.readouterr()
    assert "drift 0" in told.out
    assert house.where.graph_password not in told.out + told.err
    files = list(Path(target).iterdir())
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    texts = [gzip.decompress(p.read_bytes()) for p in files if p.suffix == ".gz"]
    assert sum(len(text.splitlines()) for text in texts) == 23  # three heads
    assert all(json.loads(line) for text in texts for line in text.splitlines())
    assert os.listdir(wiring.state_dir(house.config)) == []
