"""The command as a user runs it: a process of its own, on an embedded server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from pipelines import embedded
from pipelines.events import schema
from pipelines.model import Interaction
from pipelines.outbox.store import SqliteOutbox
from tests.support.wait import wait_until

_REPOSITORY = Path(__file__).parents[2]
_STREAM = "organism:interactions:v1"
MAIL = ["--medium", "email", "--zone", "UTC"]
HEAD = "sender,recipient,time\n"


class World:
    """One state directory with its server, and the command on it."""

    def __init__(self, state: Path, url: str) -> None:
        self.state = state
        self.redis = redis.Redis.from_url(url)
        self.env = os.environ | {
            "ORGANISM_STATE_DIR": str(state),
            "ORGANISM_PSEUDONYM_KEY": "a key of the tests, long enough",
            "ORGANISM_HORIZON": "forever",
            "PYTHONPATH": str(_REPOSITORY),
        }

    def start(self, *arguments: object, module: str = "publish", **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", f"pipelines.{module}", *map(str, arguments)],
            env=self.env | env,
            cwd=self.state,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: object, stdin: str = "", module: str = "publish", **env: str
    ) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, module=module, **env) as process:
            out, err = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def report(self, *arguments: object, stdin: str = "") -> dict[str, object]:
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        report: dict[str, object] = json.loads(done.stdout)
        return report

    def payloads(self) -> list[bytes]:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = self.redis.xrange(_STREAM)  # type: ignore[assignment]
        return [fields[schema.FIELD] for _, fields in entries]

    def waiting(self) -> int:
        outbox = SqliteOutbox(self.state / "outbox.sqlite")
        try:
            return outbox.count()
        finally:
            outbox.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    state = tmp_path_factory.mktemp("publish")
    with embedded.running(state, frozenset({embedded.Server.REDIS})) as urls:
        assert urls.redis is not None
        yield state, urls.redis


@pytest.fixture
def world(server: tuple[Path, str]) -> Iterator[World]:
    world = World(*server)
    world.redis.flushall()
    yield world
    world.redis.close()
    for path in world.state.glob("outbox.sqlite*"):
        path.unlink()


def mail(path: Path, messages: int) -> Path:
    rows = [f"a{n % 50},b{n % 7},2026-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}\n" for n in range(messages)]
    path.write_text(HEAD + "".join(rows))
    return path


def test_a_file_becomes_valid_pseudonymous_events_on_the_stream(world: World, tmp_path: Path) -> None:
    report = world.report(mail(tmp_path / "mail.csv", 2_500), *MAIL)
    assert (report["rows"], report["sent"], report["people"]) == (2_500, 2_500, 57)
    payloads = world.payloads()
    assert len(payloads) == 2_500
    assert all(isinstance(schema.parse(payload)[0], Interaction) for payload in payloads)
    assert world.waiting() == 0


def test_publishing_twice_changes_no_byte(world: World, tmp_path: Path) -> None:
    path = mail(tmp_path / "mail.csv", 100)
    world.report(path, *MAIL)
    world.report(path, *MAIL)
    payloads = world.payloads()
    assert payloads[:100] == payloads[100:]


@pytest.mark.parametrize("at", [1, 9_000])
def test_a_killed_publish_loses_nothing(world: World, tmp_path: Path, at: int) -> None:
    path = mail(tmp_path / "mail.csv", 20_000)
    process = world.start(path, *MAIL)
    wait_until(lambda: world.redis.xlen(_STREAM) >= at or process.poll() is not None, 30, f"{at} events on the stream")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed; the test shows nothing"
    before, waiting = set(world.payloads()), world.waiting()
    report = world.report(path, *MAIL)
    after = set(world.payloads())
    assert before < after
    assert len(after) == 20_000
    assert (report["resumed"], world.waiting()) == (waiting, 0)


def test_a_server_that_is_killed_on_the_way_is_waited_for(world: World, tmp_path: Path) -> None:
    process = world.start(mail(tmp_path / "mail.csv", 20_000), *MAIL)
    wait_until(lambda: world.redis.xlen(_STREAM) >= 2_000 or process.poll() is not None, 30, "the first events")
    os.kill(embedded.pids(world.state)[embedded.Server.REDIS], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(set(world.payloads())) == 20_000


def test_what_was_left_is_sent_even_with_an_empty_file(world: World, tmp_path: Path) -> None:
    """A feed that cannot be read twice: the rest of it lives in the outbox only."""
    outbox = SqliteOutbox(world.state / "outbox.sqlite")
    outbox.put([b"left"])
    outbox.close()
    (tmp_path / "empty.csv").write_text("")
    report = world.report(tmp_path / "empty.csv", *MAIL)
    assert (report["resumed"], report["sent"], world.payloads()) == (1, 0, [b"left"])


def test_two_publishers_at_once_send_everything(world: World, tmp_path: Path) -> None:
    paths = [mail(tmp_path / f"mail{n}.csv", 5_000) for n in (1, 2)]
    processes = [world.start(path, *MAIL) for path in paths]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    events = [schema.parse(payload)[0] for payload in set(world.payloads())]
    assert len({event.key for event in events if isinstance(event, Interaction)}) == 10_000
    assert world.waiting() == 0


def test_a_bad_row_stops_with_its_line_and_what_to_do(world: World, tmp_path: Path) -> None:
    path = tmp_path / "mail.csv"
    path.write_text(HEAD + "anna@corp.example,bert,2026-01-01 08:00:00\nanna@corp.example,bert,abc\n")
    done = world.run(path, *MAIL)
    assert done.returncode == 2
    assert "mail.csv line 3: column 'time': 'abc' is not a time" in done.stderr
    assert "No event was sent" in done.stderr
    assert "anna" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_row_far_down_says_how_many_events_went_before_it(world: World, tmp_path: Path) -> None:
    path = mail(tmp_path / "mail.csv", 2_500)
    path.write_text(path.read_text() + "a,b,abc\n")
    done = world.run(path, *MAIL)
    assert done.returncode == 2
    assert "line 2502" in done.stderr
    assert "2,000 events were sent before it" in done.stderr
    assert len(world.payloads()) == 2_000


def test_keep_going_leaves_bad_rows_out_and_lists_them_privately(world: World, tmp_path: Path) -> None:
    path, rejects = tmp_path / "mail.csv", tmp_path / "rejects.csv"
    path.write_text(HEAD + "a,b,2026-01-01 08:00:00\na,b,abc\na,,2026-01-01 08:00:01\na,b,2026-01-01 08:00:02\n")
    report = world.report(path, *MAIL, "--keep-going", "--rejects", rejects)
    assert report["rejected"] == {"column 'time'": 1, "column 'target' is empty": 1}
    assert report["sent"] == 2
    assert [line.split(",")[0] for line in rejects.read_text().splitlines()] == ["line", "3", "4"]
    assert rejects.stat().st_mode & 0o777 == 0o600


def test_the_default_rejects_file_is_in_the_state_directory(world: World, tmp_path: Path) -> None:
    path = tmp_path / "mail.csv"
    path.write_text(HEAD + "a,b,abc\n")
    done = world.run(path, *MAIL, "--keep-going")
    assert done.returncode == 0
    (found,) = (world.state / "rejects").iterdir()
    assert found.name.startswith("mail.csv.")
    assert str(found) in done.stderr


def test_a_pipe_is_read(world: World) -> None:
    report = world.report("-", *MAIL, stdin=HEAD + "a,b,2026-01-01 08:00:00\n")
    assert (report["sent"], report["source"]) == (1, "/files/stdin")


def test_events_of_the_contract_pass_as_they_are(world: World, tmp_path: Path) -> None:
    world.report(mail(tmp_path / "mail.csv", 3), *MAIL)
    lines = world.payloads()
    world.redis.flushall()
    report = world.report("-", stdin=b"\n".join(lines).decode())
    assert (report["sent"], world.payloads()) == (3, lines)
    assert world.run("-", stdin=b"\n".join(lines).decode(), module="check_contract").returncode == 0


def test_a_dry_run_needs_no_server_and_sends_nothing(world: World, tmp_path: Path) -> None:
    done = world.run(mail(tmp_path / "mail.csv", 10), *MAIL, "--dry-run", ORGANISM_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 0
    assert "nothing was sent" in done.stderr
    assert not world.redis.exists(_STREAM)


def test_old_events_are_announced_as_late(world: World, tmp_path: Path) -> None:
    path = tmp_path / "mail.csv"
    path.write_text(HEAD + "a,b,2010-01-01 08:00:00\n")
    done = world.run(path, *MAIL, ORGANISM_HORIZON="30d")
    assert done.returncode == 0
    assert "ORGANISM_HORIZON=forever" in done.stderr


def test_a_full_stream_is_refused(world: World, tmp_path: Path) -> None:
    done = world.run(mail(tmp_path / "mail.csv", 10), *MAIL, ORGANISM_STREAM_CAP="5")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("refused: STREAM_FULL")
    assert world.payloads() == []


def test_a_server_that_is_away_is_a_failure_in_one_line(world: World, tmp_path: Path) -> None:
    done = world.run(mail(tmp_path / "mail.csv", 10), *MAIL, ORGANISM_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "is the server up" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_cleanly(world: World, tmp_path: Path) -> None:
    process = world.start(mail(tmp_path / "mail.csv", 20_000), *MAIL)
    wait_until(lambda: world.redis.xlen(_STREAM) > 0 or process.poll() is not None, 30, "the first events")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "wait in the outbox" in err
    assert "Traceback" not in err


def test_a_wrong_option_is_usage(world: World, tmp_path: Path) -> None:
    assert world.run(mail(tmp_path / "mail.csv", 1), "--medium", "fax").returncode == 2
    assert world.run("--nonsense").returncode == 2
    assert world.run(tmp_path / "none.csv").returncode == 2
