"""Every service of docker-compose.prefect.yml, run by hand: its command, its environment, its secrets, its health check.

PostgreSQL and the graph are the embedded servers, with the users and passwords of the secrets: those commands are the
images' own.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis

from deployments import dead_man, trigrams
from pipelines import wiring
from pipelines.embedded import valkey
from tests.conftest import fresh_place
from tests.flows.conftest import _free_port
from tests.support import compose, make
from tests.support.wait import wait_until

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def bench(embedded: wiring.Endpoints) -> compose.Bench:
    """Nothing is started but what the images of others would be."""
    folder = fresh_place()
    made = folder / "made"
    subprocess.run([compose.ROOT / "deployments/compose/make_secrets.sh", str(made)], check=True, capture_output=True)
    (made / "organism_graph_password").chmod(0o644)
    (made / "organism_graph_password").write_text(embedded.graph_password)
    suffix = secrets.token_hex(4)
    postgres = urlsplit(embedded.postgres)
    ports = {name: _free_port() for name in ("redis", "redis-cache", "prefect", "health", "metrics", "api")}
    addresses = {
        "prefect:": f"prefect_{suffix}:",
        "@prefect-db:5432/prefect": f"@127.0.0.1:{postgres.port}/prefect_{suffix}",
        "//organism:": f"//organism_{suffix}:",
        "@timescaledb:5432/organism": f"@127.0.0.1:{postgres.port}/organism_{suffix}",
        "@redis:6379": f"@127.0.0.1:{ports['redis']}",
        "@redis-cache:6379": f"@127.0.0.1:{ports['redis-cache']}",
        "bolt://neo4j:7687": embedded.graph,
        "prefect-server:4200": f"127.0.0.1:{ports['prefect']}",
        "4200": str(ports["prefect"]),
        "127.0.0.1:8080/healthz": f"127.0.0.1:{ports['api']}/healthz",
        "8080": str(ports["health"]),
        "9464": str(ports["metrics"]),
        "0.0.0.0": "127.0.0.1",
        "/run/secrets": str(folder / "secrets" / "redis"),
        "/var/lib/organism": str(folder / "home"),
        "/tmp/ui": str(folder / "ui"),
        "/data": str(folder / "data"),
    }
    for name in ("home", "data"):
        (folder / name).mkdir()
    shutil.copy(compose.ROOT / "prefect.yaml", folder)
    bench = compose.Bench(folder, made, ports, addresses)
    _make_databases(embedded.postgres, made, suffix, folder)
    return bench


def _make_databases(url: str, made: Path, suffix: str, folder: Path) -> None:
    """What POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE do in the images."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, password in (("prefect", "prefect_db_password"), ("organism", "postgres_password")):
            who, secret = psycopg.sql.Identifier(f"{name}_{suffix}"), psycopg.sql.Literal((made / password).read_text())
            connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(who, secret))
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {} OWNER {}").format(who, who))
    trigrams.stand_in(urlsplit(url)._replace(path=f"/prefect_{suffix}").geturl(), folder / "trigrams")


def _redis(bench: compose.Bench, name: str) -> tuple[str, ...]:
    port = str(bench.ports[name])
    program, *words = bench.command(name)
    assert program == "valkey-server"
    return (str(valkey._binary()), *words, "--port", port, "--bind", "127.0.0.1")


def test_the_services_start_set_up_run_and_end_as_the_file_says(
    bench: compose.Bench, embedded: wiring.Endpoints
) -> None:
    graph = {"ORGANISM_GRAPH_USER": embedded.graph_user}
    with ExitStack() as stack:
        for name in ("redis", "redis-cache"):
            stack.enter_context(bench.started(name, *_redis(bench, name)))
            _check_redis(bench, name)
        server = stack.enter_context(bench.started("prefect-server"))
        wait_until(lambda: bench.is_well("prefect-server") or server.poll() is not None, 240, "the Prefect server")
        assert server.poll() is None, bench.log("prefect-server")[-2000:]
        _check_login(bench)
        first = bench.run("setup", **graph)
        assert first.returncode == 0, first.stdout + first.stderr
        again = bench.run("setup", **graph)
        assert (again.returncode, "nothing was changed" in again.stdout) == (0, True), again.stdout
        assert not bench.is_well("worker")  # the control: nobody answers yet
        worker = stack.enter_context(bench.started("worker", **graph))
        wait_until(lambda: bench.is_well("worker", **graph), 120, "the worker's health check")
        _check_a_run(bench)
        stack.enter_context(bench.started("metrics", **graph))
        wait_until(lambda: bench.is_well("metrics"), 60, "the numbers")
        _check_the_dead_man(bench, graph)
        _check_our_api(bench, graph)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, bench.log("worker")[-2000:]
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    _check_for_secrets(bench)


def test_a_service_without_its_secret_says_which_and_how_to_make_it(bench: compose.Bench) -> None:
    done = bench.run("prefect-server", ["true"], ORGANISM_SECRETS_DIR=str(bench.folder))
    assert done.returncode == 1
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL is not set" in done.stderr
    assert "make_secrets.sh" in done.stderr
    assert bench.run("prefect-server", ["true"]).returncode == 0


def _check_redis(bench: compose.Bench, name: str) -> None:
    """It answers who has the password, and to the health check's user nothing but PING."""
    wait_until(lambda: _says(bench, name, "PING", username="health", password="any") is True, 20, name)
    password = (bench.secrets / "redis_password").read_text()
    policy, kept = (
        _says(bench, name, f"CONFIG GET {what}", password=password) for what in ("maxmemory-policy", "appendonly")
    )
    assert policy == {"maxmemory-policy": "noeviction" if name == "redis" else "allkeys-lru"}
    assert kept == {"appendonly": "yes" if name == "redis" else "no"}
    assert isinstance(_says(bench, name, "PING"), redis.AuthenticationError)
    assert isinstance(_says(bench, name, "PING", password="wrong"), redis.AuthenticationError)
    asked = _says(bench, name, "GET organism", username="health", password="any")
    assert isinstance(asked, redis.exceptions.NoPermissionError)


def _says(bench: compose.Bench, name: str, words: str, **login: str) -> object:
    """The answer, or the error."""
    with closing(redis.Redis(port=bench.ports[name], decode_responses=True, **login)) as client:  # type: ignore[arg-type]
        try:
            return client.execute_command(words)
        except redis.RedisError as error:
            return error


def _check_login(bench: compose.Bench) -> None:
    api = f"http://127.0.0.1:{bench.ports['prefect']}/api"
    assert httpx.get(f"{api}/health").status_code == 200
    assert httpx.get(f"{api}/admin/version").status_code == 401
    assert httpx.post(f"{api}/flows/filter", json={}).status_code == 403  # no CSRF token either
    with _api(bench) as let_in:
        assert let_in.get("/admin/version").status_code == 200


@contextmanager
def _api(bench: compose.Bench) -> Iterator[httpx.Client]:
    user, password = (bench.secrets / "prefect_auth").read_text().split(":")
    base = f"http://127.0.0.1:{bench.ports['prefect']}/api"
    with httpx.Client(base_url=base, auth=(user, password), timeout=30) as client:
        token = client.get("/csrf-token", params={"client": "test"}).json()["token"]
        client.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "test"})
        yield client


def _check_a_run(bench: compose.Bench) -> None:
    """An event on the stream, and an incremental run from the API: COMPLETED, and nothing is pending."""
    password = (bench.secrets / "redis_password").read_text()
    with closing(redis.Redis(port=bench.ports["redis"], password=password)) as client, _api(bench) as api:
        client.xadd(wiring.NAMES.stream, {"event": make.event("compose")})
        deployment = api.get("/deployments/name/incremental/incremental").json()
        for _ in range(2):  # one that meets a run of the schedule is cancelled
            run = api.post(f"/deployments/{deployment['id']}/create_flow_run", json={}).json()
            state = wait_until(lambda: _end(api, run["id"]), 240, "the run")  # noqa: B023  # called here and now
            if state["type"] != "CANCELLED":
                break
        assert state["type"] == "COMPLETED", (state, bench.log("worker")[-3000:])
        (group,) = client.xinfo_groups(wiring.NAMES.stream)
        assert (group["pending"], group["last-delivered-id"] > b"0-0") == (0, True)


def _check_the_dead_man(bench: compose.Bench, graph: dict[str, str]) -> None:
    """The service stays, is well, and ends when it is told to; its look sees every store and the Prefect server."""
    here = {**graph, "TMPDIR": str(bench.folder)}
    assert not bench.is_well("dead-man", **here)
    with bench.started("dead-man", **here) as process:
        wait_until(lambda: bench.is_well("dead-man", **here), 60, "the dead man")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, bench.log("dead-man")
    look = bench.run("dead-man", [*dead_man.TURN], **here)
    assert look.returncode in (0, 1), look.stderr
    assert not any(code in look.stdout for code in ("STORE_DOWN", "PREFECT_DOWN", "NO_WORKER")), look.stdout


def _check_our_api(bench: compose.Bench, graph: dict[str, str]) -> None:
    """Well and ready; it lets in a user that is made beside it, starts a run through Prefect, and believes a proxy here."""
    here = {**graph, "ORGANISM_API_PORT": str(bench.ports["api"])}
    assert not bench.is_well("api", **here)
    with (
        bench.started("api", **here) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{bench.ports['api']}", timeout=30) as api,
    ):
        wait_until(lambda: bench.is_well("api", **here) or process.poll() is not None, 60, "the API")
        wait_until(lambda: api.get("/readyz").status_code == 200, 30, "its stores")
        create = ["python", "-m", "pipelines.users", "create", "anna.berg", "--role", "operator", "--json"]
        made = bench.run("api", create, **here)
        login = {"username": "anna.berg", "password": json.loads(made.stdout)["password"]}
        token = api.post("/api/v1/auth/login", json=login).json()["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        run = api.post(
            "/api/v1/automation/workflow", json={"workflow_type": "health_monitoring", "parameters": {}}
        ).json()
        assert run["execution_mode"] == "prefect", run
        wait_until(lambda: api.get(run["status_endpoint"]).json()["status"] == "completed", 240, "the run")
        assert "Strict-Transport-Security" in api.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, bench.log("api")
    assert login["password"] not in bench.log("api")


def _end(api: httpx.Client, run: str) -> dict[str, str] | None:
    """The state of a run that has ended."""
    state = api.get(f"/flow_runs/{run}").json()["state"]
    return state if state and state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def _check_for_secrets(bench: compose.Bench) -> None:
    words = [path.read_text() for path in bench.secrets.iterdir()]
    passwords = [word for word in words if len(word) >= 32]
    logs = "".join(
        bench.log(name) for name in ("redis", "redis-cache", "prefect-server", "worker", "metrics", "dead-man", "api")
    )
    assert [word for word in passwords if word in logs] == []
