"""The commands as a person runs them, on real servers of both kinds: output, exit codes, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from pipelines import wiring
from pipelines.jobs.ingest import Stores
from pipelines.model import Lane
from tests.conftest import as_environment, opened
from tests.support import make
from tests.support.make import person

ROOT = Path(__file__).parent.parent.parent


class Shell:
    """Runs commands against one set of servers."""

    def __init__(self, where: wiring.Endpoints, stores: Stores, folder: Path) -> None:
        self.where, self.stores, self.folder = where, stores, folder

    def run(self, command: str, *arguments: str, code: int = 0, **changes: str) -> subprocess.CompletedProcess[str]:
        env = (
            os.environ | as_environment(self.where) | {"ORGANISM_STATE_DIR": str(self.folder), "PYTHONPATH": str(ROOT)}
        )
        done = subprocess.run(
            [sys.executable, "-m", f"pipelines.{command}", *arguments],
            env=env | changes,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done

    def add(self, *payloads: bytes) -> None:
        self.stores.stream.append(payloads)


@pytest.fixture
def shell(embedded: wiring.Endpoints, tmp_path: Path) -> Iterator[Shell]:
    with opened(embedded) as stores:
        yield Shell(embedded, stores, tmp_path)


@pytest.fixture
def shell_on_each(endpoints: wiring.Endpoints, tmp_path: Path) -> Iterator[Shell]:
    """On the embedded servers, and with a real Neo4j."""
    with opened(endpoints) as stores:
        yield Shell(endpoints, stores, tmp_path)


def test_a_run_prints_its_funnel_and_a_recount_finds_no_drift(shell_on_each: Shell) -> None:
    shell = shell_on_each
    shell.add(make.event("a"), make.event("a"), make.event("b", targets=[person(3), make.outsider(1)]), b"bad")
    report = json.loads(shell.run("incremental", "--json").stdout)
    assert [report[k] for k in ("read", "applied", "duplicates", "dead_letters", "unaccounted")] == [4, 2, 1, 1, 0]
    assert json.loads(shell.run("verify", "--json").stdout) == {
        "interactions": 2,
        "ties": 3,
        "drift": 0,
        "differences": [],
    }


def test_drift_is_named_without_people_and_mended_by_a_rebuild(shell_on_each: Shell) -> None:
    shell = shell_on_each
    shell.add(make.event("a"), make.event("b"))
    shell.run("incremental")
    (tie,) = shell.stores.graph.ties()
    shell.stores.graph.write(lambda w: w.set_ties([], [tie.ends]))
    told = shell.run("verify", code=1).stdout
    assert "drift 1" in told
    assert "only in the archive" in told
    assert "p_" not in told
    assert person(1) in shell.run("verify", "--reveal", code=1).stdout
    assert "NOT_CONFIRMED" in shell.run("rebuild", code=3).stderr
    assert "drift 0" in shell.run("rebuild", "--yes").stdout
    assert [t.n for t in shell.stores.graph.ties()] == [2]


def test_letters_are_listed_shown_replayed_and_dropped(shell: Shell) -> None:
    shell.add(b"bad", make.event("a", actor="anna@corp.example"))
    shell.run("incremental")
    listed = json.loads(shell.run("dlq", "list", "--json").stdout)
    assert listed["counts"] == {"BAD_JSON": 1, "RAW_IDENTIFIER": 1}
    assert "anna" not in json.dumps(listed)
    bad = next(x["id"] for x in listed["letters"] if x["code"] == "BAD_JSON")
    assert "payload: 3 bytes" in shell.run("dlq", "show", bad).stdout
    assert "event: bad" in shell.run("dlq", "show", bad, "--reveal").stdout
    assert "would replay 1" in shell.run("dlq", "replay", bad, "--dry-run").stdout
    assert "replayed 1" in shell.run("dlq", "replay", bad).stdout
    assert "replayed 0" in shell.run("dlq", "replay", bad).stdout
    assert "NOT_REPLAYABLE" in shell.run("dlq", "replay", "--code", "RAW_IDENTIFIER", code=3).stderr
    assert "dropped 1" in shell.run("dlq", "drop", "--all", "--reason", "a test").stdout
    assert shell.stores.letters.counts(Lane.DEAD) == {}
    shell.run("dlq", "show", "1-1", code=2)
    shell.run("dlq", "replay", code=2)


def test_late_letters_are_applied_once(shell: Shell) -> None:
    shell.add(make.event("a", time=make.NOW.replace(year=2026, month=1)))
    assert json.loads(shell.run("incremental", "--json", ORGANISM_HORIZON="7d").stdout)["late"] == 1
    assert "TOO_LATE 1" in shell.run("dlq", "list", "--late").stdout
    assert "1 applied" in shell.run("dlq", "replay", "--late", "--all").stdout
    assert "0 applied" in shell.run("dlq", "replay", "--late", "--all").stdout
    assert "drift 0" in shell.run("verify").stdout


def test_a_backfill_goes_straight_into_the_graph_and_only_once(shell: Shell) -> None:
    path = shell.folder / "mail.csv"
    path.write_text("sender,recipient,time\na,b,2010-01-01 08:00:00\na,c,2010-01-02 08:00:00\n")
    options = ("--medium", "email", "--zone", "UTC", "--backfill", "--json")
    first, again = (json.loads(shell.run("publish", str(path), *options).stdout) for _ in range(2))
    assert (first["applied"], again["applied"], first["sent"]) == (2, 0, 0)
    assert shell.stores.stream.state().length == 0


def test_the_breaker_stops_the_line_with_one_sentence_and_exit_1(shell: Shell) -> None:
    shell.add(*[b"bad"] * 150)
    told = shell.run("incremental", code=1).stderr
    assert "150 of 150 entries are invalid (BAD_JSON 150)" in told
    assert shell.stores.stream.state().pending == 150
    assert json.loads(shell.run("incremental", "--json", "--accept-invalid").stdout)["dead_letters"] == 150


def test_a_loss_is_an_alarm_and_exit_1(shell: Shell) -> None:
    client = redis.Redis.from_url(shell.where.redis)
    shell.add(*[make.event(str(i)) for i in range(5)])
    client.xtrim(wiring.NAMES.stream, maxlen=2, approximate=False)
    told = shell.run("incremental", code=1).stdout
    assert "3 entries were removed" in told
    shell.run("incremental")


def test_a_flush_in_the_middle_is_survived(shell: Shell) -> None:
    shell.add(make.event("a"))
    shell.run("incremental")
    redis.Redis.from_url(shell.where.redis).flushall()
    shell.add(make.event("b"))
    assert "RESET" in shell.run("incremental", code=1).stdout
    assert [t.n for t in shell.stores.graph.ties()] == [2]


def test_the_picture_shows_no_person(shell: Shell) -> None:
    roster = [make.other("roster.joined", f"r{i}", person=person(i), team=f"team {i % 2}") for i in range(12)]
    shell.add(*roster, *[make.event(str(i), person(i % 12), [person((i * 5 + 1) % 12)]) for i in range(60)])
    shell.run("incremental")
    page = Path(shell.run("team_graph", "--output", "graph.html").stdout.strip())
    text = (shell.folder / page).read_text("utf-8")
    assert "team 1" in text
    assert "p_" not in text


SERVERS = {
    "ORGANISM_REDIS_URL": ("redis://:hush@127.0.0.1:9/0", "redis 127.0.0.1:9"),
    "ORGANISM_GRAPH_URL": ("bolt://127.0.0.1:9", "graph 127.0.0.1:9"),
    "ORGANISM_POSTGRES_URL": ("postgresql://x:hush@127.0.0.1:9/x", "postgres"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_store_that_is_not_there_is_named_with_what_to_do(name: str, shell: Shell) -> None:
    url, named = SERVERS[name]
    told = shell.run("incremental", code=1, **{name: url}).stderr
    assert named in told
    assert name in told
    assert "hush" not in told


def test_a_wrong_password_is_named_as_one_and_not_retried(shell: Shell) -> None:
    told = shell.run("incremental", code=1, ORGANISM_GRAPH_PASSWORD="wrong").stderr
    assert "ORGANISM_GRAPH_PASSWORD" in told
    told = shell.run("incremental", code=1, ORGANISM_REDIS_URL=re.sub("//.*@", "//:wrong@", shell.where.redis)).stderr
    assert "ORGANISM_REDIS_URL" in told


def test_a_wrong_setting_is_named_without_its_value(shell: Shell) -> None:
    told = shell.run("incremental", code=2, ORGANISM_BATCH_SIZE="secretly many", ORGANISM_MIN_GROUP_SIZE="2").stderr
    assert "ORGANISM_BATCH_SIZE" in told
    assert "ORGANISM_MIN_GROUP_SIZE" in told
    assert "secretly" not in told
