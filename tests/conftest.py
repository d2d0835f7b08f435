"""Servers for the tests: the embedded three once a session, a real Neo4j where Java and Maven are."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from alerts.settings import AlertSettings
from pipelines import migrate, settings, steps, wiring
from pipelines.events.stream import Names
from pipelines.jobs.ingest import Stores
from pipelines.postgres import Pool, open_pool
from pipelines.settings import Settings

if TYPE_CHECKING:
    from tests.support import neo4j_server

_HERE = Path(__file__).parent
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # so shells start what runs in the background, and all its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
#: As many attempts as ever, at once.
WITHOUT_WAITING = {
    "ORGANISM_RETRIES": json.dumps({name: {"base_s": 0.01} for name in steps.RETRIES}),
    "ORGANISM_RUN_AGAIN_S": "0.1",
}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests decide every setting: not the developer's shell, not a .env file."""
    for name in list(os.environ):
        theirs = name.startswith(("SLACK_", "SENTRY_DSN", "ALERT_"))  # a test must never reach a real channel
        if theirs or (name.startswith("ORGANISM_") and name not in ("ORGANISM_CACHE_DIR", "ORGANISM_SHARED")):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.setitem(AlertSettings.model_config, "env_file", None)


@pytest.fixture(autouse=True)
def _units_open_no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called a unit test touches nothing."""
    folder = request.path.relative_to(_HERE).parts[0]
    if folder not in ("unit", "tour"):
        return

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a unit test opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[wiring.Endpoints]:
    """The embedded servers, in a directory of their own."""
    place = tmp_path_factory.mktemp("state") if os.geteuid() else fresh_place()
    config = settings.load(state_dir=place, _env_file=None)
    with wiring.endpoints(config) as where:
        yield where


@pytest.fixture(scope="session")
def neo4j(tmp_path_factory: pytest.TempPathFactory) -> Iterator[neo4j_server.Neo4jServer]:
    """A real Neo4j, or a skip that says why not; REQUIRE_NEO4J=1 makes it a failure."""
    from tests.support import neo4j_server

    if why := neo4j_server.why_not():
        if os.environ.get("REQUIRE_NEO4J"):
            pytest.fail(f"REQUIRE_NEO4J is set, but {why}")
        pytest.skip(why)
    with neo4j_server.neo4j_server(tmp_path_factory.mktemp("neo4j")) as server:
        yield server


def fresh_place() -> Path:
    """A directory that PostgreSQL's user can reach also when the tests run as root (pytest's own are 0700)."""
    path = Path("/var/tmp" if os.geteuid() == 0 else gettempdir()) / f"organism-tests-{uuid4().hex[:8]}"
    path.mkdir(mode=0o755)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@pytest.fixture(scope="module")
def pool(embedded: wiring.Endpoints) -> Iterator[Pool]:
    """Connections to PostgreSQL with our schema; who takes it empties the tables that it uses."""
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
    with open_pool(embedded.postgres, size=16) as pool:
        yield pool


def where(request: pytest.FixtureRequest, kind: str) -> wiring.Endpoints:
    """The servers of a kind: `embedded`, or `neo4j`: the same with a real Neo4j for the graph."""
    endpoints: wiring.Endpoints = request.getfixturevalue("embedded")
    if kind == "embedded":
        return endpoints
    server = request.getfixturevalue("neo4j")
    return replace(endpoints, graph=server.url, graph_user=server.user, graph_password=server.password)


KINDS = ["embedded", pytest.param("neo4j", marks=pytest.mark.neo4j)]


@pytest.fixture(params=KINDS)
def endpoints(request: pytest.FixtureRequest) -> wiring.Endpoints:
    """Real servers, of each kind in turn."""
    return where(request, request.param)


@contextmanager
def opened(endpoints: wiring.Endpoints) -> Iterator[Stores]:
    """Stores on real servers, empty at the start."""
    with wiring.stores(settings.load(_env_file=None), endpoints, Names()) as stores:
        empty(stores, endpoints)
        yield stores


@pytest.fixture
def real(endpoints: wiring.Endpoints) -> Iterator[Stores]:
    with opened(endpoints) as stores:
        yield stores


def as_environment(where: wiring.Endpoints) -> dict[str, str]:
    """The variables that send a command to these servers; keys are remembered for ever, and retries do not wait."""
    return {
        "ORGANISM_REDIS_URL": where.redis,
        "ORGANISM_GRAPH_URL": where.graph,
        "ORGANISM_GRAPH_USER": where.graph_user,
        "ORGANISM_GRAPH_PASSWORD": where.graph_password,
        "ORGANISM_POSTGRES_URL": where.postgres,
        "ORGANISM_HORIZON": "forever",
        **WITHOUT_WAITING,
    }


def empty(stores: Stores, where: wiring.Endpoints) -> None:
    """Forget everything that an earlier test left on the servers."""
    import psycopg
    import redis
    from neo4j import GraphDatabase

    redis.Redis.from_url(where.redis).flushall()
    with psycopg.connect(where.postgres, autocommit=True) as connection:
        tables = [t for (t,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        kept = [t for t in tables if t != "schema_migrations" and not t.startswith("interactions_")]
        connection.execute("SET session_replication_role = replica")  # the audit log refuses it otherwise
        connection.execute(f"TRUNCATE {', '.join(kept)}")  # type: ignore[call-overload]
    auth = (where.graph_user, where.graph_password) if where.graph_user else None
    with GraphDatabase.driver(where.graph, auth=auth) as driver:
        everything = "MATCH (n) WITH n LIMIT 5000 DETACH DELETE n RETURN count(*) AS n"  # in parts: memory is small
        while driver.execute_query(everything).records[0]["n"]:
            pass
    stores.stream.prepare()
