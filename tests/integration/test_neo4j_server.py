"""The real Neo4j that other tests use: it starts, keeps its data over a kill, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import neo4j
import pytest

from tests.support.neo4j_server import Neo4jServer, neo4j_server, why_not
from tests.support.wait import wait_until

PROJECT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.neo4j,
    pytest.mark.skipif(
        why_not() is not None and os.environ.get("REQUIRE_NEO4J") != "1",
        reason=why_not() or "",
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    assert why_not() is None, why_not()
    with neo4j_server(tmp_path_factory.mktemp("neo4j server")) as running:
        yield running


def ask(server: Neo4jServer, question: str) -> list[neo4j.Record]:
    auth = (server.user, server.password)
    with neo4j.GraphDatabase.driver(server.url, auth=auth) as driver, driver.session() as session:
        return list(session.run(question))


def is_alive(pid: int) -> bool:
    said = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return said.strip()[:1] not in ("", "Z")


def test_it_is_neo4j_5_26(server: Neo4jServer) -> None:
    [record] = ask(server, "CALL dbms.components() YIELD name, versions, edition RETURN name, versions[0], edition")
    assert record.values() == ["Neo4j Kernel", "5.26.25", "community"]


def test_nobody_gets_in_without_the_password(server: Neo4jServer) -> None:
    with (
        neo4j.GraphDatabase.driver(server.url, auth=(server.user, "wrong")) as driver,
        pytest.raises(neo4j.exceptions.AuthError),
    ):
        driver.verify_connectivity()


def test_it_comes_back_from_a_kill_on_its_port_with_its_data(server: Neo4jServer) -> None:
    url, pid = server.url, server.pid
    ask(server, "CREATE (:Word {word: 'kept'})")
    server.kill()
    assert not is_alive(pid)
    server.restart()
    assert server.url == url and server.pid != pid
    assert [record["word"] for record in ask(server, "MATCH (w:Word) RETURN w.word AS word")] == ["kept"]


def test_it_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    assert why_not() is None, why_not()
    command = [sys.executable, "-m", "tests.support.neo4j_server", "--data", str(tmp_path / "data")]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        lines = [owner.stdout.readline().split("=")[0] for _ in range(3)]
        assert lines == [f"export ORGANISM_GRAPH_{name}" for name in ("URL", "USER", "PASSWORD")]
        children = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        left = [int(pid) for pid, parent in map(str.split, children.splitlines()) if int(parent) == owner.pid]
        owner.send_signal(signal.SIGKILL)
    assert left
    wait_until(lambda: not any(is_alive(pid) for pid in left), 20, "the end of Neo4j and of its watchdog")
