"""Stores that hang, which is not the same as away: nobody refuses, and nobody answers. And clients who say nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn

from pipelines import settings, wiring
from pipelines.access.principals import Role
from pipelines.access.store import PostgresAccess
from pipelines.api import heads, vitals
from pipelines.api.__main__ import _bound
from pipelines.api.app import create_app
from pipelines.api.desk import opened
from pipelines.errors import TransientError
from pipelines.postgres import Silence, open_pool
from tests import conftest
from tests.support.tcp_proxy import TcpProxy, proxied
from tests.support.wait import wait_until

#: More than threads of the API.
_MANY = 40
#: What "within some seconds" is here: below any time-out that a server or a driver has by itself.
_SOON = httpx.Timeout(9)


class Office:
    """A listening API, a proxy in front of each store, and a viewer's header."""

    def __init__(self, url: str, header: dict[str, str], **stores: TcpProxy) -> None:
        self.stores = stores
        self.http = httpx.Client(
            base_url=url, headers=header, timeout=_SOON, limits=httpx.Limits(max_connections=2 * _MANY)
        )

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)


@pytest.fixture
def office(embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    for name, value in conftest.as_environment(embedded).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("ORGANISM_API_RATE", "1000")
    monkeypatch.setattr(vitals, "_FRESH_S", 0.2)
    with conftest.opened(embedded), ExitStack() as stack:
        stores, urls = {}, {}
        for name in ("postgres", "redis", "graph"):
            stores[name], urls[name] = stack.enter_context(proxied(getattr(embedded, name)))
        where = replace(embedded, **urls, cache=urls["redis"])
        with open_pool(embedded.postgres, 1) as pool:
            access, now = PostgresAccess(pool), datetime.now(UTC)
            access.create("vera", "correct horse battery", (Role.VIEWER,), now)
            bearer = access.login("vera", "correct horse battery", now).bearer
        with opened(settings.load(_env_file=None), where) as desk, listening(create_app(desk)) as url:
            its = Office(url, {"Authorization": f"Bearer {bearer}"}, **stores)
            stack.callback(its.http.close)
            wait_until(lambda: its.get("/readyz").status_code == 200, 20, "readiness")
            assert its.get("/workflows/health").status_code == its.get("/workflows/flows").status_code == 200
            yield its


@contextmanager
def listening(app: object) -> Iterator[str]:
    """The app behind a socket, as the command serves it."""
    with _bound("127.0.0.1", 0) as taken:
        config = uvicorn.Config(app, access_log=False, log_config=None, timeout_graceful_shutdown=1, **heads.settings())  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        wait_until(lambda: server.started, 20, "the API")
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


# ------------------------------------------------------------------------------------------------ stores


@pytest.mark.parametrize("name", ["graph", "redis"])
def test_while_a_store_hangs_that_most_do_not_need_the_rest_is_answered(office: Office, name: str) -> None:
    office.stores[name].hang()
    with ThreadPoolExecutor(_MANY) as pool:
        health = [pool.submit(office.get, "/workflows/health") for _ in range(_MANY)]
        assert office.get("/workflows/flows").status_code == 200
        assert office.get("/readyz").status_code in ((200,) if name == "graph" else (200, 503))
        assert {each.result().status_code for each in health} == {200}
    wait_until(lambda: down(office, name), 20, "it is told that it is down")
    office.stores[name].resume()
    wait_until(lambda: not down(office, name), 20, "it is told that it is back")


def down(office: Office, name: str) -> bool:
    found = {its["name"]: its["status"] for its in office.get("/workflows/health").json()["services"]}
    return found[name] == "down"


def test_while_postgres_hangs_requests_are_refused_soon_and_health_is_told(office: Office) -> None:
    office.stores["postgres"].hang()
    with ThreadPoolExecutor(_MANY) as pool:
        asked = [pool.submit(office.get, "/workflows/flows") for _ in range(_MANY)]
        health = office.get("/workflows/health")
        assert health.status_code == 200
        assert {each.result().status_code for each in asked} == {503}
    wait_until(lambda: down(office, "postgres"), 20, "it is told that it is down")
    assert wait_until(lambda: office.get("/readyz").json()["missing"], 20, "readiness") == ["postgres"]
    office.stores["postgres"].resume()
    wait_until(lambda: office.get("/workflows/flows").status_code == 200, 20, "PostgreSQL is back")


def test_a_server_that_hung_is_tried_by_one_at_a_time_until_somebody_is_answered() -> None:
    now = [10.0]
    silence = Silence(lambda: now[0])
    silence.heard()
    silence.in_vain(since=9.0)  # somebody else was answered meanwhile: it is slow, and does not hang
    silence.insist(2)
    silence.in_vain(since=10.5)
    with pytest.raises(TransientError):
        silence.insist(2)
    now[0] = 11.5
    silence.insist(2)
    with pytest.raises(TransientError):
        silence.insist(2)
    silence.heard()
    silence.insist(2)


# ------------------------------------------------------------------------------------------------ clients


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[str]:
    """The API without any store."""
    redis, graph, postgres = "redis://127.0.0.1:1", "bolt://127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none"
    nowhere = wiring.Endpoints(redis, redis, graph, "", "", "", postgres)
    with opened(settings.load(_env_file=None, state_dir=tmp_path), nowhere) as desk, listening(create_app(desk)) as url:
        yield url


def test_connections_on_which_nothing_is_said_keep_nobody_out(alone: str) -> None:
    port = int(alone.rpartition(":")[2])
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(600)]
        assert httpx.get(f"{alone}/healthz").status_code == 200
        idle[0].settimeout(5)
        assert idle[0].recv(1) == b""  # the first ones made room


@pytest.mark.parametrize("said", [b"", b"GET /hea", b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"])
def test_a_request_that_does_not_come_is_not_waited_for(
    alone: str, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "REQUEST_S", 0.3)
    with socket.create_connection(("127.0.0.1", int(alone.rpartition(":")[2]))) as client:
        client.settimeout(5)
        client.sendall(said)
        while client.recv(1000):
            pass  # until it is closed; a time-out is an error


def test_a_connection_that_is_used_stays_open(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "REQUEST_S", 0.2)
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(alone.rpartition(":")[2]))) as client:
        client.settimeout(5)
        for _ in range(2):
            client.sendall(request)
            answer = client.recv(10_000)
            while not answer.endswith(b"}"):
                answer += client.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200")
            later = time.monotonic() + 0.4
            wait_until(lambda: time.monotonic() > later, 5, "longer than a request may take")  # noqa: B023  # used at once
