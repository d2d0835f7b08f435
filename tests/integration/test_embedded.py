"""The embedded servers as a program meets them: real processes, real signals, real data."""

import importlib.util
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import neo4j
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipelines.embedded import EmbeddedError, Server, Urls, default_state_dir, locks, pids, postgres_files, running
from pipelines.embedded.children import Children, Process, Program
from pipelines.embedded.life import Life, Patience
from pipelines.embedded.loopback import is_free
from pipelines.embedded.place import Account, Place, claim
from pipelines.embedded.record import read
from tests.support.wait import wait_until

PROJECT = Path(__file__).parents[2]
ALL = frozenset(Server)
ONLY_REDIS = frozenset({Server.REDIS})
ONLY_POSTGRES = frozenset({Server.POSTGRES})
NO_RETRY = Retry(NoBackoff(), 0)  # redis-py takes a wrong password for a passing trouble: 4 s of tries
IS_ROOT = os.geteuid() == 0
HOLD = """
import sys
from pathlib import Path
from pipelines.embedded import Server, running
with running(Path(sys.argv[1]), frozenset(Server)):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def fresh_dir() -> Iterator[Path]:
    """A state directory that nobody has used yet. Not in tmp_path: as root that lies where nobody cannot enter."""
    with tempfile.TemporaryDirectory(prefix="organism test ", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield from clean_afterwards(Path(folder) / "state")


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="organism test ", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def state_dir(shared_folder: Path) -> Iterator[Path]:
    """One for all tests that do not mind what the others left in it: making PostgreSQL's data takes a second."""
    yield from clean_afterwards(shared_folder / "state")


def clean_afterwards(state: Path) -> Iterator[Path]:
    yield state
    wait_until(lambda: not processes_of(state), 15, "the end of every process of the state directory")


def processes_of(state: Path) -> list[int]:
    """Every living process of this state directory: the one that owns it, and all below that."""
    owner = read(Place(state).record).supervisor
    found = [int(line.split()[0]) for line in ps("pid=,args=") if str(state) in line and "pytest" not in line]
    return sorted({*found, *(descendants(owner) if owner else [])})


def ps(columns: str) -> list[str]:
    said = subprocess.run(["ps", "-axww", "-o", columns], capture_output=True, text=True, check=True).stdout
    return said.splitlines()


def descendants(pid: int) -> list[int]:
    parents = [tuple(map(int, line.split()[:2])) for line in ps("pid=,ppid=,state=") if not line.endswith("Z")]
    found = [child for child, _ in parents if child == pid]
    for above in found:
        found.extend(child for child, parent in parents if parent == above)
    return found


def is_alive(pid: int) -> bool:
    return any(line.split()[0] == str(pid) and line.split()[1][0] != "Z" for line in ps("pid=,state="))


def supervisor_of(state: Path) -> int:
    pid = read(Place(state).record).supervisor
    assert pid is not None
    return pid


@contextmanager
def client_process(state: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another program that holds all three servers; it has said that it has them."""
    command = [sys.executable, "-c", HOLD, str(state)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=with_project(), cwd="/", stdin=pipe, stdout=pipe, text=True) as client:
        assert client.stdout and client.stdout.readline() == "ready\n"
        yield client
        client.kill()


def with_project() -> dict[str, str]:
    """The environment in which a program finds our packages, wherever it is started."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])}


def remember(urls: Urls, word: str) -> None:
    """Leaves the word in each of the three."""
    assert urls.redis and urls.postgres
    with redis.Redis.from_url(urls.redis) as client:
        client.xadd("words", {"word": word})
    with graph(urls) as driver:
        driver.execute_query("CREATE (:Word {word: $word})", word=word)
    with psycopg.connect(urls.postgres) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])


def who_remembers(urls: Urls, word: str) -> set[Server]:
    """The servers that have the word exactly once."""
    assert urls.redis and urls.postgres
    with redis.Redis.from_url(urls.redis, decode_responses=True) as client:
        in_redis = sum(fields["word"] == word for _, fields in client.xrange("words"))
    with graph(urls) as driver:
        in_graph = len(driver.execute_query("MATCH (w:Word {word: $word}) RETURN w", word=word).records)
    with psycopg.connect(urls.postgres) as connection:
        in_postgres = len(connection.execute("SELECT FROM words WHERE word = %s", [word]).fetchall())
    counts = {Server.REDIS: in_redis, Server.GRAPH: in_graph, Server.POSTGRES: in_postgres}
    return {server for server, count in counts.items() if count == 1}


def graph(urls: Urls) -> neo4j.Driver:
    assert urls.graph and urls.graph_user and urls.graph_password
    return neo4j.GraphDatabase.driver(urls.graph, auth=(urls.graph_user, urls.graph_password))


def refusal(state: Path, wanted: frozenset[Server] = ALL) -> str:
    with pytest.raises(EmbeddedError) as caught, running(state, wanted):
        pass
    return str(caught.value)


# ---- start, attach, stop


def test_the_data_is_there_again_on_the_same_ports(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        remember(urls, "first start")
        first = urls
    assert processes_of(state_dir) == []
    with running(state_dir, ALL) as urls:
        assert urls == first
        assert who_remembers(urls, "first start") == ALL


def test_the_servers_are_set_up_as_promised(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        assert urls.redis and urls.postgres
        with redis.Redis.from_url(urls.redis, decode_responses=True) as client:
            found = client.config_get("append*", "maxmemory-policy", "bind")
        assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")
        assert (found["maxmemory-policy"], found["bind"]) == ("noeviction", "127.0.0.1")
        with psycopg.connect(urls.postgres) as connection:
            row = connection.execute(
                "SELECT current_setting('timezone'), current_setting('fsync'), current_setting('max_connections'),"
                " current_setting('unix_socket_directories'), current_database(), upper('straße é')"
            ).fetchone()
        assert row == ("UTC", "on", "40", "", "organism", "STRASSE É") or row == (*row[:5], "STRAßE É")  # type: ignore[index]
        with graph(urls) as driver, driver.session() as session:
            assert session.run("SHOW DATABASES YIELD name RETURN collect(name) AS names").single() is not None


def test_nobody_gets_in_without_the_password(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        ports = read(Place(state_dir).record).ports
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=ports["redis"], retry=NO_RETRY) as client:
            client.ping()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://organism:wrong@127.0.0.1:{ports['postgres']}/organism")
        assert urls.graph
        with (
            neo4j.GraphDatabase.driver(urls.graph, auth=("root", "wrong-password")) as driver,
            pytest.raises(neo4j.exceptions.AuthError),
        ):
            driver.verify_connectivity()


def test_nothing_listens_beyond_loopback(state_dir: Path) -> None:
    with running(state_dir, ALL):
        for port in read(Place(state_dir).record).ports.values():
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            with pytest.raises(OSError):  # another address of this machine, which 0.0.0.0 would include
                socket.create_connection(("127.0.0.2", port), timeout=1).close()


def test_a_second_client_shares_the_servers_and_the_last_one_ends_them(state_dir: Path) -> None:
    with client_process(state_dir):
        with running(state_dir, ALL) as urls:
            found = pids(state_dir)
            assert len(found) == len(ALL)
            with running(state_dir, ALL) as again:
                assert again == urls
                assert pids(state_dir) == found
        assert pids(state_dir) == found
    wait_until(lambda: not processes_of(state_dir), 10, "the end of the servers")
    assert pids(state_dir) == {}


def test_only_what_is_wanted_is_started_and_more_can_be_wanted_later(state_dir: Path) -> None:
    with running(state_dir, ONLY_REDIS) as first:
        assert (first.graph, first.postgres) == (None, None)
        assert set(pids(state_dir)) == {Server.REDIS}
        with running(state_dir, frozenset({Server.GRAPH})) as second, graph(second) as driver:
            assert second.redis is None
            driver.verify_connectivity()
        assert set(pids(state_dir)) == {Server.REDIS, Server.GRAPH}


def test_two_state_directories_live_side_by_side(fresh_dir: Path) -> None:
    other = fresh_dir.parent / "other"
    with running(fresh_dir, ONLY_REDIS) as one, running(other, ONLY_REDIS) as two:
        assert one != two
        assert not {*processes_of(fresh_dir)} & {*processes_of(other)}


def test_clients_that_come_and_go_never_meet_a_server_that_stops(fresh_dir: Path) -> None:
    def come_and_go(_: int) -> None:
        for _ in range(6):
            with running(fresh_dir, ONLY_REDIS) as urls, redis.Redis.from_url(str(urls.redis)) as client:
                client.incr("visits")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(come_and_go, range(4)))
    with running(fresh_dir, ONLY_REDIS) as urls, redis.Redis.from_url(str(urls.redis)) as client:
        assert client.get("visits") == b"24"


def test_a_client_with_closed_standard_streams_gets_its_servers(state_dir: Path) -> None:
    script = (
        HOLD.replace("sys.stdin.read()", "")
        .replace("print(", "open(sys.argv[2], 'w').write(")
        .replace(", flush=True", "")
    )
    done = state_dir.parent / "done"
    command = shlex.join([sys.executable, "-c", script, str(state_dir), str(done)])
    subprocess.run(["/bin/sh", "-c", f"exec {command} <&- >&- 2>&-"], cwd=PROJECT, check=True, timeout=60)
    assert done.read_text() == "ready"


def test_a_relative_state_directory_stays_the_same_when_the_program_moves(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(state_dir.parent)
    with running(Path("state"), ONLY_REDIS):
        monkeypatch.chdir("/")
        assert set(pids(state_dir)) == {Server.REDIS}
    assert processes_of(state_dir) == []


def test_the_foreground_command_prints_the_exports_and_ends_on_a_signal(state_dir: Path) -> None:
    command = [sys.executable, "-m", "pipelines.embedded", "--state", str(state_dir)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as shown:
        assert shown.stdout
        lines = [shown.stdout.readline() for _ in range(5)]
        shown.send_signal(signal.SIGTERM)
        assert shown.wait(15) == 0
    assert [line.split("=")[0] for line in lines] == [
        f"export ORGANISM_{name}" for name in ("REDIS_URL", "GRAPH_URL", "GRAPH_USER", "GRAPH_PASSWORD", "POSTGRES_URL")
    ]
    assert processes_of(state_dir) == []


# ---- deaths


def test_killing_every_client_ends_the_servers(state_dir: Path) -> None:
    with client_process(state_dir) as one, client_process(state_dir) as two:
        left = processes_of(state_dir)
        one.kill()
        one.wait()
        assert set(pids(state_dir)) == ALL
        two.kill()
        two.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in left), 10, "the end of the servers")
    with running(state_dir, ONLY_REDIS):
        pass


def test_a_client_killed_during_the_first_start_leaves_nothing_in_the_way(fresh_dir: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(fresh_dir)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as client:
        wait_until((fresh_dir / "postgres.new" / "base").exists, 15, "initdb to be at work")
        client.kill()
    with running(fresh_dir, ALL) as urls:
        remember(urls, "after")
        assert who_remembers(urls, "after") == ALL
    assert {path.name for path in fresh_dir.iterdir() if path.name.startswith(("pg", ".pg"))} == set()


def test_killing_the_supervisor_ends_the_servers_and_the_next_start_finds_the_data(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        remember(urls, "supervisor killed")
        left = processes_of(state_dir)
        os.kill(supervisor_of(state_dir), signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in left), 10, "the end of the servers")
        assert pids(state_dir) == {}
        with running(state_dir, ALL) as fresh:  # while the first client still believes that it has servers
            assert who_remembers(fresh, "supervisor killed") == ALL


def test_a_start_right_after_the_supervisor_was_killed_waits_for_the_old_servers(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        remember(urls, "start at once")
    with running(state_dir, ALL):
        supervisor = supervisor_of(state_dir)
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: not is_alive(supervisor), 5, "the end of the supervisor, but not of its servers")
        with running(state_dir, ALL) as fresh:
            assert who_remembers(fresh, "start at once") == ALL


def test_the_watchdog_ends_the_servers_where_the_kernel_does_not(state_dir: Path) -> None:
    place = claim(state_dir, ALL)
    supervisor = locks.open_lock(place.lock("supervisor"))
    client = locks.open_lock(place.lock("clients"))
    assert locks.take(supervisor, shared=False) and locks.take(client, shared=True)
    module = [sys.executable, "-m", "pipelines.embedded.supervisor", str(state_dir)]
    subprocess.run([*module, "--watchdog", "--lock", str(supervisor)], pass_fds=[supervisor], cwd=PROJECT, check=True)
    os.close(supervisor)
    with running(state_dir, ALL) as urls:
        os.close(client)
        remember(urls, "watchdog")
        killed = pids(state_dir)
        for pid in killed.values():  # the watchdog must follow a restart
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all_are_new(state_dir, killed), 10, "three new servers")
        left = processes_of(state_dir)
        os.kill(supervisor_of(state_dir), signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in left), 10, "the end of the servers and the watchdog")
    with running(state_dir, ALL) as urls:
        assert who_remembers(urls, "watchdog") == ALL


def test_a_killed_server_comes_back_on_its_port_with_its_data(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        remember(urls, "before the kill")
        ports, killed = read(Place(state_dir).record).ports, pids(state_dir)
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all_are_new(state_dir, killed), 10, "three new servers")
        assert read(Place(state_dir).record).ports == ports
        assert who_remembers(urls, "before the kill") == ALL
        remember(urls, "after the kill")
        assert who_remembers(urls, "after the kill") == ALL


def all_are_new(state: Path, killed: dict[Server, int]) -> bool:
    found = pids(state)
    return len(found) == len(killed) and not {*found.values()} & {*killed.values()}


def test_a_server_that_keeps_dying_is_given_up_with_the_end_of_its_log(fresh_dir: Path) -> None:
    with running(fresh_dir, ONLY_REDIS):
        pass
    (fresh_dir / "redis" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    said = refusal(fresh_dir, ONLY_REDIS)
    assert "redis ended five times" in said and "to do: read" in said and "manifest" in said.rpartition("log:")[2]


class Mute:
    """A server that runs and never answers."""

    server = Server.REDIS
    ports = ("redis",)

    def __init__(self, place: Place, children: Children) -> None:
        self._place = place
        self._children = children

    def prepare(self, lock: int) -> Iterator[None]:
        yield

    def launch(self, ports: Mapping[str, int], lock: int) -> Process:
        script = "echo I hang; exec sleep 60"
        return self._children.start(Program(["/bin/sh", "-c", script], self._place.log("redis"), keep_open=(lock,)))

    def answers(self, process: Process) -> bool:
        return False

    def finish(self, ports: Mapping[str, int]) -> Iterator[None]:
        yield


def test_a_server_that_never_answers_is_given_up(fresh_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.embedded.life.START_LIMIT_SECONDS", 0.2)
    place, children = claim(fresh_dir, ONLY_REDIS), Children(watchdog=False)
    one_life = Life(Mute(place, children), place, {})

    def problem() -> str | None:
        one_life.advance()
        return one_life.problem

    said = wait_until(problem, 5, "the end of patience")
    children.stop_all(5)
    assert said and "redis did not answer within 0.2 s" in said and "I hang" in said


def test_patience_grows_and_ends() -> None:
    patience = Patience()
    waits = [patience.after_a_death(now, lived=0.1) for now in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert waits == [0.1, 0.2, 0.5, 1.0, None]
    assert patience.after_a_death(100.0, lived=0.1) == 0.1


def test_a_server_that_lived_for_a_while_is_started_again_at_once_however_often_it_is_killed() -> None:
    patience = Patience()
    assert {patience.after_a_death(now, lived=2.5) for now in range(0, 30, 3)} == {0.1}


def test_a_process_id_that_is_somebody_elses_by_now_does_not_stop_postgres(state_dir: Path) -> None:
    with running(state_dir, ONLY_POSTGRES):
        stale = (state_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    pid_file = state_dir / "postgres" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *stale[1:]]) + "\n")
    with running(state_dir, ONLY_POSTGRES) as urls, psycopg.connect(str(urls.postgres)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# ---- what lies in the state directory


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"state": "up", "ports": {"redis": "x"}}', '{"pids": {"redis": 1}}']
)
def test_a_broken_record_is_made_again(fresh_dir: Path, content: str) -> None:
    claim(fresh_dir, ONLY_REDIS).record.write_text(content)
    with running(fresh_dir, ONLY_REDIS) as urls, redis.Redis.from_url(str(urls.redis)) as client:
        assert client.ping()


def test_a_port_that_is_taken_by_now_is_replaced(fresh_dir: Path) -> None:
    with running(fresh_dir, ONLY_REDIS):
        before = read(Place(fresh_dir).record).ports["redis"]
    with socket.create_server(("127.0.0.1", before)):
        assert not is_free(before)
        with running(fresh_dir, ONLY_REDIS) as urls, redis.Redis.from_url(str(urls.redis)) as client:
            assert client.ping()
            assert read(Place(fresh_dir).record).ports["redis"] != before


def test_no_secret_is_to_be_seen(state_dir: Path) -> None:
    with running(state_dir, ALL) as urls:
        remember(urls, "word")
        secret = str(urls.graph_password)
        assert secret in str(urls.redis) and secret in str(urls.postgres)
        assert secret not in f"{urls!r} {urls}"
        assert [line for line in ps("args=") if secret in line] == []
    holders = [path for path in state_dir.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert holders == [state_dir / "password"]


def test_everything_in_the_state_directory_is_closed_to_others(state_dir: Path) -> None:
    with running(state_dir, ALL):
        modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in state_dir.iterdir()}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    assert stat.S_IMODE(state_dir.stat().st_mode) == (0o711 if IS_ROOT else 0o700)


def test_a_lost_password_is_told(fresh_dir: Path) -> None:
    with running(fresh_dir, ONLY_REDIS):
        pass
    (fresh_dir / "password").unlink()
    assert "the file password is gone" in refusal(fresh_dir, ONLY_REDIS)


# ---- refusals


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """For file permissions, which root does not feel."""
    if IS_ROOT:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if IS_ROOT:
            os.seteuid(0)


def test_a_state_directory_that_is_a_file_is_refused(fresh_dir: Path) -> None:
    fresh_dir.write_text("")
    assert "to do: move that file away" in refusal(fresh_dir)


def test_a_place_without_permission_is_refused(fresh_dir: Path) -> None:
    fresh_dir.parent.chmod(0o555)
    with as_ordinary_user():
        said = refusal(fresh_dir)
    assert "Permission denied" in said and "ORGANISM_STATE_DIR" in said


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a directory away")
def test_a_state_directory_of_another_user_is_refused(fresh_dir: Path) -> None:
    fresh_dir.mkdir()
    os.chown(fresh_dir, 12_345, 12_345)
    assert "belongs to user id 12345" in refusal(fresh_dir)


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user runs PostgreSQL itself")
def test_root_is_told_when_nobody_cannot_enter_and_nothing_is_opened(fresh_dir: Path) -> None:
    closed = fresh_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    assert f"chmod o+x {closed}" in refusal(closed / "state")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with running(closed / "redis alone", ONLY_REDIS):  # who needs no PostgreSQL needs no nobody
        pass


def test_a_missing_package_is_named_with_its_command(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert "pip install 'arcadedb==" in refusal(state_dir)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert "no embedded graph server for darwin-x86_64" in refusal(state_dir)


def test_an_error_in_the_block_stays_what_it_is(state_dir: Path) -> None:
    with pytest.raises(FileNotFoundError), running(state_dir, ONLY_REDIS):
        raise FileNotFoundError("the caller's own")


# ---- where it is by default


def test_the_default_is_below_the_current_directory_unless_told_otherwise(
    fresh_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORGANISM_STATE_DIR", raising=False)
    monkeypatch.chdir(fresh_dir.parent)
    assert default_state_dir() == fresh_dir.parent / ".organism"
    monkeypatch.setenv("ORGANISM_STATE_DIR", "elsewhere")
    assert default_state_dir() == fresh_dir.parent / "elsewhere"


def test_root_in_a_closed_place_gets_a_directory_of_its_own(fresh_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORGANISM_STATE_DIR", raising=False)
    monkeypatch.setattr("pipelines.embedded.place.account", lambda: Account(65_534, 65_534))
    closed = fresh_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.chdir(closed)
    found = default_state_dir()
    assert found.parent == Path("/var/tmp") and found.name.startswith("causal-organism-")
    assert found == default_state_dir()


def test_binaries_that_cannot_be_reached_are_copied_and_work(fresh_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_files, "is_reachable", lambda *_: False)
    home = postgres_files.installation(claim(fresh_dir, ONLY_POSTGRES), Account(65_534, 65_534))
    assert home.is_relative_to(fresh_dir)
    for program in ("postgres", "initdb", "createdb"):
        said = subprocess.run([home / "bin" / program, "--version"], capture_output=True, text=True, check=True).stdout
        assert "(PostgreSQL) 18" in said
