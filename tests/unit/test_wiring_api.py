"""The Prefect server as the API sees it: named, gone, back, wrongly named, and slow, without a socket."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipelines import wiring_api, wiring_watch
from pipelines.orchestrator import place as prefect_place
from pipelines.orchestrator.place import Place
from pipelines.settings import Settings
from pipelines.wiring_api import PrefectServer
from tests.support.wait import wait_until

SOON = wiring_api._ASKED_EVERY_S + 1


class World:
    """What names the server, and what it says."""

    def __init__(self) -> None:
        self.now, self.place, self.says = 0.0, None, None
        self.gate = threading.Event()
        self.gate.set()

    place: Place | None
    says: str | None

    def why_not(self, _place: Place) -> str | None:
        assert self.gate.wait(60)
        return self.says


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(wiring_watch, "prefect_server", lambda _config: made.place)
    monkeypatch.setattr(prefect_place, "why_not", made.why_not)
    return made


@pytest.fixture
def server(world: World) -> PrefectServer:
    return PrefectServer(Settings(_env_file=None), lambda: world.now)  # type: ignore[call-arg]


def test_a_server_may_be_named_go_away_and_come_back(world: World, server: PrefectServer) -> None:
    assert (server(), server.named, server.why) == (None, None, prefect_place.NOT_SET)
    world.now, world.place = world.now + SOON, Place("http://here:4200/api")
    api = server()
    assert api is not None and (server.named, server.why) == (api, None)
    world.now, world.says = world.now + SOON, "it does not answer"
    assert (server(), server.named, server.why) == (None, api, "it does not answer")
    world.now, world.says = world.now + SOON, None
    assert server() is api


def test_another_server_is_asked_when_another_is_named(world: World, server: PrefectServer) -> None:
    world.place = Place("http://here:4200/api")
    first = server()
    world.now, world.place = SOON, Place("http://there:4200/api")
    assert first is not None and server() not in (None, first)


def test_it_is_not_asked_for_every_request(world: World, server: PrefectServer) -> None:
    world.place = Place("http://here:4200/api")
    assert server() is not None
    world.says = "it does not answer"
    assert server() is not None


def test_one_that_keeps_us_waiting_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring_api.newest, "PATIENCE_S", 0.01)
    server = PrefectServer(Settings(_env_file=None), lambda: world.now)  # type: ignore[call-arg]
    world.place = Place("http://here:4200/api")
    api = wait_until(server, 30, "the first answer")
    world.gate.clear()
    world.now += 60
    assert (server(), server.named, server.why) == (None, api, "the Prefect server keeps us waiting")
    world.gate.set()
    assert wait_until(server, 30, "the next answer") is api


def test_certificates_that_are_not_there_are_said_and_do_when_they_come(
    world: World, server: PrefectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(wiring_watch, "prefect_server", lambda _config: world.place)
    world.place = Place("https://here:4200/api", cert_file=str(tmp_path / "ca.pem"))
    assert server() is None
    assert server.why and "PREFECT_API_SSL_CERT_FILE" in server.why
    assert server.named is not None and "PREFECT_API_SSL_CERT_FILE" in str(server.named.healthy())
    monkeypatch.setattr(prefect_place, "why_not", lambda _place: None)
    world.now += SOON
    assert server() is server.named
