"""The Prefect server in the fake and for real: one suite over both, then what only a server can do to us.

The real one wants a login and CSRF tokens and keeps leases in files: the strictest that people set up.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from pipelines.errors import OrganismError, PermanentError, TransientError
from pipelines.orchestrator import rest
from pipelines.orchestrator.store import PrefectApi, opened
from pipelines.ports import Orchestrator
from tests.flows.conftest import _free_port, _healthy, environment
from tests.support.fakes_orchestrator import FakeOrchestrator
from tests.support.wait import wait_until

_LOGIN = "watcher:s3cret-Canary"
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"


@dataclass(frozen=True)
class Server:
    url: str
    deployment: str  # of the limit of one slot
    id: str
    leases: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home, port = tmp_path_factory.mktemp("prefect"), _free_port()
    url = f"http://127.0.0.1:{port}/api"
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": _LOGIN,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "1",
    }
    program = str(Path(sys.executable).with_name("prefect"))
    command = [program, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(home / "server.log", "wb") as log:
        process = subprocess.Popen(command, env=environment(home) | settings, stdout=log, stderr=log)
    try:
        wait_until(lambda: _healthy(url, process), 120, "the Prefect server")
        yield _deployed(url, home)
    finally:
        process.terminate()
        process.wait(30)


def _deployed(url: str, home: Path) -> Server:
    """A deployment with one slot, and a pool without workers."""
    asked = rest.Rest(url, _LOGIN)
    flow = asked.post("/flows/", {"name": "incremental"})
    asked.post("/work_pools/", {"name": "organism", "type": "process"})
    found = asked.post(
        "/deployments/",
        {
            "name": "incremental",
            "flow_id": flow["id"],
            "work_pool_name": "organism",
            "concurrency_limit": 1,
            "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
        },
    )
    asked.close()
    return Server(url, "incremental/incremental", found["id"], home / "concurrency_leases")


@pytest.fixture(params=["fake", "real"])
def orchestrator(request: pytest.FixtureRequest) -> Iterator[Orchestrator]:
    if request.param == "fake":
        yield FakeOrchestrator(datetime.now(UTC))
        return
    with _api(request.getfixturevalue("server").url) as api:
        yield api
        for run in api.runs({"SCHEDULED", "PENDING", "RUNNING", "CANCELLING"}):
            api.set_state(run.run_id, "CANCELLED", "Cancelled", "the test is over")


@pytest.fixture
def api(server: Server) -> Iterator[PrefectApi]:
    with _api(server.url) as api:
        yield api
        for run in api.runs({"SCHEDULED", "PENDING", "RUNNING", "CANCELLING"}):
            api.set_state(run.run_id, "CANCELLED", "Cancelled", "the test is over")


def _api(url: str, auth: str = _LOGIN) -> AbstractContextManager[PrefectApi]:
    return opened(url, auth)


NAME = "incremental/incremental"
LIMIT = f"deployment:{NAME}"


def active(orchestrator: Orchestrator) -> int:
    return {limit.name: limit.active for limit in orchestrator.limits()}[LIMIT]


def running(orchestrator: Orchestrator) -> str:
    run = orchestrator.start(NAME, {})
    orchestrator.set_state(run.run_id, "PENDING", "Pending", "")
    orchestrator.set_state(run.run_id, "RUNNING", "Running", "")
    return run.run_id


class TestOrchestrator:
    def test_it_is_well_and_says_its_version_and_time(self, orchestrator: Orchestrator) -> None:
        assert orchestrator.healthy() is None
        assert orchestrator.version().startswith("3.")
        assert abs(orchestrator.clock() - datetime.now(UTC)) < timedelta(seconds=30)

    def test_a_run_is_told_with_its_flow_and_deployment(self, orchestrator: Orchestrator) -> None:
        run = orchestrator.start(NAME, {})
        assert (run.flow_name, run.deployment_name, run.state_type) == ("incremental", NAME, "SCHEDULED")
        assert run.since.tzinfo is UTC and run.expected_at is not None
        assert orchestrator.run(run.run_id) == run
        assert run.run_id in orchestrator.url_of(run.run_id)

    def test_the_same_key_gives_the_same_run(self, orchestrator: Orchestrator) -> None:
        key = uuid4().hex
        first, second, other = (orchestrator.start(NAME, {}, k) for k in (key, key, None))
        assert first.run_id == second.run_id != other.run_id

    def test_a_run_that_is_not_there_is_none(self, orchestrator: Orchestrator) -> None:
        assert orchestrator.run(str(uuid4())) is None

    def test_runs_are_the_newest_first_and_of_the_states_and_time_that_were_asked_for(
        self, orchestrator: Orchestrator
    ) -> None:
        started = [orchestrator.start(NAME, {}) for _ in range(3)]
        orchestrator.set_state(started[0].run_id, "PENDING", "Pending", "")
        found = orchestrator.runs({"PENDING", "SCHEDULED"})
        assert {r.run_id for r in started} <= {r.run_id for r in found}
        times = [r.expected_at for r in found if r.expected_at]
        assert times == sorted(times, reverse=True)
        assert [r.run_id for r in orchestrator.runs({"PENDING"})] == [started[0].run_id]
        assert orchestrator.runs({"PENDING", "SCHEDULED"}, since=datetime.now(UTC) + timedelta(hours=1)) == []
        assert len(orchestrator.runs({"PENDING", "SCHEDULED"}, limit=2)) == 2

    def test_runs_of_other_flows_are_left_out_by_the_server(self, orchestrator: Orchestrator) -> None:
        run = orchestrator.start(NAME, {})
        states = {"SCHEDULED"}
        assert run.run_id in {r.run_id for r in orchestrator.runs(states, flows=["incremental", "full"])}
        assert orchestrator.runs(states, flows=["full"]) == []
        assert orchestrator.queues("nobody") == []

    def test_a_crash_that_is_set_gives_the_slot_back(self, orchestrator: Orchestrator) -> None:
        run_id = running(orchestrator)
        assert active(orchestrator) == 1
        orchestrator.set_state(run_id, "CRASHED", "Zombie", "its process is gone")
        found = orchestrator.run(run_id)
        assert found and (found.state_type, found.state_name, found.message) == (
            "CRASHED",
            "Zombie",
            "its process is gone",
        )
        assert active(orchestrator) == 0

    def test_a_run_that_never_began_gives_its_slot_back_too(self, orchestrator: Orchestrator) -> None:
        run = orchestrator.start(NAME, {})
        orchestrator.set_state(run.run_id, "PENDING", "Pending", "")
        assert active(orchestrator) == 1
        orchestrator.set_state(run.run_id, "CRASHED", "StuckPending", "")
        assert active(orchestrator) == 0

    def test_a_run_that_has_completed_does_not_become_a_crash(self, orchestrator: Orchestrator) -> None:
        run_id = running(orchestrator)
        orchestrator.set_state(run_id, "COMPLETED", "Completed", "")
        with pytest.raises(PermanentError):
            orchestrator.set_state(run_id, "CRASHED", "Zombie", "")
        found = orchestrator.run(run_id)
        assert found and found.state_type == "COMPLETED"

    def test_the_same_end_may_be_said_twice(self, orchestrator: Orchestrator) -> None:
        run_id = running(orchestrator)
        for _ in range(2):
            orchestrator.set_state(run_id, "CRASHED", "Zombie", "")

    def test_what_has_no_process_is_cancelled_at_once(self, orchestrator: Orchestrator) -> None:
        run = orchestrator.start(NAME, {})
        orchestrator.set_state(run.run_id, "CANCELLING", "Cancelling", "")
        found = orchestrator.run(run.run_id)
        assert found and found.state_type == "CANCELLED"

    def test_a_second_run_beyond_the_limit_does_not_get_a_slot(self, orchestrator: Orchestrator) -> None:
        running(orchestrator)
        second = orchestrator.start(NAME, {})
        with pytest.raises(PermanentError):
            orchestrator.set_state(second.run_id, "PENDING", "Pending", "")
        assert active(orchestrator) == 1

    def test_slots_are_given_back_by_count_and_never_below_none(self, orchestrator: Orchestrator) -> None:
        running(orchestrator)
        orchestrator.release(LIMIT, 1)
        assert active(orchestrator) == 0
        orchestrator.release(LIMIT, 5)
        assert active(orchestrator) == 0

    def test_what_is_not_known_is_an_error_or_empty(self, orchestrator: Orchestrator) -> None:
        with pytest.raises(PermanentError):
            orchestrator.start("incremental/nobody", {})
        with pytest.raises(PermanentError):
            orchestrator.set_state(str(uuid4()), "CRASHED", "Zombie", "")
        with pytest.raises(PermanentError):
            orchestrator.release("deployment:incremental/nobody", 1)
        assert orchestrator.workers("nobody") == []
        assert orchestrator.logs(str(uuid4())) == []


class TestPrefectServer:
    def test_a_worker_is_online_after_its_heartbeat(self, api: PrefectApi, server: Server) -> None:
        asked = rest.Rest(server.url, _LOGIN)
        asked.post("/work_pools/organism/workers/heartbeat", {"name": "w1"})
        asked.close()
        (worker,) = api.workers("organism")
        assert (worker.name, worker.pool, worker.online) == ("w1", "organism", True)
        assert worker.seen_at is not None

    def test_a_queue_says_when_a_worker_last_asked_for_its_runs(self, api: PrefectApi, server: Server) -> None:
        asked, pool = rest.Rest(server.url, _LOGIN), "/work_pools/organism"
        for name in ("organism-default", "organism-heavy", "asleep"):
            asked.post(f"{pool}/queues", {"name": name, "is_paused": name == "asleep"})

        def polled() -> set[str]:
            asked.post(f"{pool}/get_scheduled_flow_runs", {"work_queue_names": ["organism-default"]})
            return {queue.name for queue in api.queues("organism") if queue.polled_at}

        try:
            wait_until(lambda: polled() == {"organism-default"}, 20, "the server to write it down")
            assert {queue.name for queue in api.queues("organism")} >= {"organism-default", "organism-heavy"}
            assert "asleep" not in {queue.name for queue in api.queues("organism")}
        finally:
            asked.close()

    def test_a_limit_says_since_when_it_is_there(self, api: PrefectApi) -> None:
        (made,) = [limit.made_at for limit in api.limits() if limit.name == LIMIT]
        assert made is not None and datetime.now(UTC) - made < timedelta(hours=1)

    def test_logs_are_the_last_ones_with_their_levels_and_without_secrets(
        self, api: PrefectApi, server: Server
    ) -> None:
        run_id, at = api.start(NAME, {}).run_id, datetime(2026, 3, 2, tzinfo=UTC)
        lines = [
            {"name": "x", "level": 20 + 10 * (i % 3), "message": f"line {i} redis://u:hidden@h", "flow_run_id": run_id,
             "timestamp": (at + timedelta(seconds=i)).isoformat()}
            for i in range(5)
        ]  # fmt: skip
        with httpx.Client(base_url=server.url, auth=tuple(_LOGIN.split(":"))) as client:
            token = client.get("/csrf-token", params={"client": "t"}).json()["token"]
            client.post("/logs/", json=lines, headers={"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "t"})
        found = api.logs(run_id, limit=2)
        assert [(level, message[:6]) for _, level, message in found] == [("INFO", "line 3"), ("WARNING", "line 4")]
        assert "hidden" not in str(found)

    def test_a_wrong_login_is_permanent_and_is_not_shown(self, server: Server) -> None:
        with _api(server.url, "watcher:wrong-Canary") as api:
            words = api.healthy()
            assert words and "401" in words and "PREFECT_API_AUTH_STRING" in words and "Canary" not in words
            with pytest.raises(PermanentError):
                api.limits()

    def test_a_token_that_has_run_out_is_replaced(self, api: PrefectApi) -> None:
        api.limits()
        api._rest._client().headers["Prefect-Csrf-Token"] = "0" * 64
        assert api.limits()

    def test_a_slot_without_a_lease_stays_taken_until_it_is_released(self, api: PrefectApi, server: Server) -> None:
        """What a memory of leases that was lost leaves behind: no run is there, and every new one is cancelled."""
        asked = rest.Rest(server.url, _LOGIN)
        asked.post("/v2/concurrency_limits/increment", {"slots": 1, "names": [f"deployment:{server.id}"]})
        asked.close()
        refused = api.start(NAME, {})
        with pytest.raises(PermanentError):
            api.set_state(refused.run_id, "PENDING", "Pending", "")
        api.release(LIMIT, 1)
        run = api.start(NAME, {})
        api.set_state(run.run_id, "PENDING", "Pending", "")
        assert list(server.leases.glob("*-*.json")), "a lease in a file"

    def test_a_lease_is_gone_with_the_crash_that_is_set(self, api: PrefectApi, server: Server) -> None:
        run = api.start(NAME, {})
        api.set_state(run.run_id, "PENDING", "Pending", "")
        before = set(server.leases.glob("*-*.json"))
        api.set_state(run.run_id, "CRASHED", "StuckPending", "")
        assert len(before - set(server.leases.glob("*-*.json"))) == 1

    def test_the_server_gives_back_the_slot_of_a_lease_that_ended(self, api: PrefectApi, server: Server) -> None:
        _hold(server)
        assert active(api) == 1
        _end_leases(server)
        wait_until(lambda: active(api) == 0, 60, "the server to look at its leases")

    def test_a_slot_that_is_released_while_its_lease_stands_is_taken_from_the_next_run(
        self, api: PrefectApi, server: Server
    ) -> None:
        """The naive release, and why `prefect_view.LEASE_ENDS` is waited for: the run below is alive and holds nothing."""
        _hold(server)
        api.release(LIMIT, 1)
        alive = api.start(NAME, {})
        api.set_state(alive.run_id, "PENDING", "Pending", "")
        assert active(api) == 1
        _end_leases(server, but=_lease_of(alive.run_id, server))
        wait_until(lambda: active(api) == 0, 60, "the slot to be lost")


def _hold(server: Server) -> None:
    """A slot with a lease, of somebody who is gone."""
    asked = rest.Rest(server.url, _LOGIN)
    body = {"slots": 1, "names": [f"deployment:{server.id}"], "lease_duration": 60}
    asked.post("/v2/concurrency_limits/increment-with-lease", body)
    asked.close()


def _lease_of(run_id: str, server: Server) -> str:
    asked = rest.Rest(server.url, _LOGIN)
    state = asked.get(f"/flow_runs/{run_id}")["state"]
    asked.close()
    lease: str = state["state_details"]["deployment_concurrency_lease_id"]
    return lease


def _end_leases(server: Server, but: str = "") -> None:
    """As if their time were over, which takes 60 s at least."""
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    for path in server.leases.glob("*-*.json"):
        if path.stem != but:
            path.write_text(json.dumps(json.loads(path.read_text()) | {"expiration": past}))
    index = server.leases / "expirations.json"
    index.write_text(json.dumps({k: v if k == but else past for k, v in json.loads(index.read_text()).items()}))


# ------------------------------------------------------------------------------------------------ servers that misbehave


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_TIMEOUT", httpx.Timeout(0.2))


def test_a_server_that_takes_the_connection_and_never_answers_is_away(quick: None) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
    with silent, _api(url) as api, pytest.raises(TransientError) as caught:
        api.version()
    assert "ReadTimeout" in str(caught.value) and "s3cret" not in str(caught.value)


def test_time_outs_are_short_by_default() -> None:
    assert (rest._TIMEOUT.connect, rest._TIMEOUT.read) == (2.0, 5.0)


def test_a_port_that_nobody_listens_on_is_away(quick: None) -> None:
    with _api(f"http://127.0.0.1:{_free_port()}/api") as api:
        words = api.healthy()
    assert words and "ConnectError" in words and "PREFECT_API_URL" in words


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ("500 Oops", TransientError, "500"),
        ("503 Away", TransientError, "503"),
        ("429 Slow", TransientError, "429"),
        ("401 No", PermanentError, "PREFECT_API_AUTH_STRING"),
        ("403 No", PermanentError, "PREFECT_API_AUTH_STRING"),
        ("404 None", PermanentError, "knows no"),
        ("422 Bad", PermanentError, "422"),
        ("302 Moved", PermanentError, "302"),
        ("200 OK", PermanentError, "no JSON"),
    ],
)
def test_an_answer_becomes_an_error_of_ours(answer: str, kind: type[OrganismError], said: str) -> None:
    with (
        _answering(f"HTTP/1.1 {answer}\r\nContent-Length: 21\r\nConnection: close\r\n\r\n<html>Canary-2</html>") as url,
        _api(f"{url}/api") as api,
        pytest.raises(kind) as caught,
    ):
        api.version()
    assert said in str(caught.value)
    assert "Canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "127.0.0.1:4200", "ftp://x/api", "http://"])
def test_what_is_no_url_is_said_when_it_is_asked(url: str) -> None:
    api = PrefectApi(url)
    with pytest.raises(PermanentError, match="PREFECT_API_URL"):
        api.version()


class _answering:  # noqa: N801  # reads as a context manager where it is used
    """A server that gives every request the same bytes."""

    def __init__(self, answer: str) -> None:
        self._answer = answer.encode()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(self._answer)
