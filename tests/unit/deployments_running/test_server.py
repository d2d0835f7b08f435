"""The environment of a right Prefect server, and what of the user's own is kept from it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deployments import server
from pipelines.errors import InvalidInput

HOME = Path("/state/prefect")
URL = "postgresql://organism:secret@127.0.0.1:20123/prefect"
THEIRS = {
    "PATH": "/usr/bin",
    "PREFECT_API_URL": "https://their.example/api",
    "PREFECT_API_KEY": "their-key",
    "PREFECT_PROFILE": "theirs",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.memory",
    "PREFECT_WORK_POOL_NAME": "ours",
}


def test_the_server_keeps_its_runs_and_leases_where_a_restart_does_not_lose_them() -> None:
    env = server.environment(THEIRS, HOME, URL, 4300)
    assert env["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".filesystem")
    assert env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == URL.replace("postgresql:", "postgresql+asyncpg:")
    assert env["PREFECT_HOME"] == "/state/prefect"


def test_old_runs_are_deleted_and_nothing_is_reported_home() -> None:
    env = server.environment({}, HOME, URL)
    assert env["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] == "events,flow_runs"
    assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_the_interface_asks_the_port_that_it_is_on_and_no_other_page_may_ask() -> None:
    env = server.environment({}, HOME, URL, 4300)
    assert env["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4300/api"
    assert env["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4300,http://localhost:4300"


def test_nothing_leads_a_run_to_another_server() -> None:
    env = server.client_environment(THEIRS, HOME, 4300)
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4300/api"
    assert "PREFECT_API_KEY" not in env
    assert "PREFECT_PROFILE" not in env
    assert env["PREFECT_WORK_POOL_NAME"] == "ours"
    assert env["PATH"] == "/usr/bin"


def test_a_run_never_gets_the_database_of_the_server() -> None:
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in server.client_environment(THEIRS, HOME)


def test_who_sets_a_login_for_the_server_sets_it_for_its_clients() -> None:
    login = {"PREFECT_SERVER_API_AUTH_STRING": "admin:word"}
    assert server.environment(login, HOME, URL)["PREFECT_SERVER_API_AUTH_STRING"] == "admin:word"
    assert server.client_environment(login, HOME)["PREFECT_API_AUTH_STRING"] == "admin:word"
    assert "PREFECT_API_AUTH_STRING" not in server.client_environment({}, HOME)


def test_no_secret_is_in_the_command_line() -> None:
    assert server.command(port=4300)[-5:] == ["start", "--host", "127.0.0.1", "--port", "4300"]


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"port {port} .*--port"):
            server.refuse_a_taken_port(port)
    server.refuse_a_taken_port(port)  # and a free one is not
