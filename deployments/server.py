"""A right Prefect server, in one place: its environment and command line, its database, and whether it answers.

Right means what was measured to matter: PostgreSQL and never SQLite (which locks under load), leases of concurrency slots
on disk and never in memory (where a restart leaves slots taken for ever), old runs deleted, no usage data sent.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg

from pipelines.errors import InvalidInput
from pipelines.postgres import translated

DATABASE = "prefect"
LOOPBACK = "127.0.0.1"
PORT = 4200
LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"
_THIRTY_DAYS = 30 * 86_400
#: What every server of ours is told, whatever else differs.
RIGHT: Mapping[str, str] = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # events alone is the default; runs pile up
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_THIRTY_DAYS),
    "DO_NOT_TRACK": "1",
}
#: Of a user's own Prefect settings, what also holds here; everything else is about another server.
_KEPT = ("PREFECT_WORK_POOL_NAME", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_LOGGING_LEVEL")


def command(host: str = LOOPBACK, port: int = PORT) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]


def ui_url(port: int = PORT) -> str:
    return f"http://{LOOPBACK}:{port}"


def environment(around: Mapping[str, str], home: Path, database: str, port: int = PORT) -> dict[str, str]:
    """Of the server. around: the environment of this process. database: any postgresql:// URL of the server's own one.

    The interface may be opened under both names of this machine, and no other page in the same browser may call the
    API: by default every page may, and the API can start programs.
    """
    origins = f"{ui_url(port)},http://localhost:{port}"
    return {
        **without_prefect(around),
        **RIGHT,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": async_url(database),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
        "PREFECT_SERVER_UI_API_URL": f"{ui_url(port)}/api",  # the interface would ask port 4200 whatever --port says
        "PREFECT_UI_URL": ui_url(port),
    }


def client_environment(around: Mapping[str, str], home: Path, port: int = PORT) -> dict[str, str]:
    """Of what talks to that server: setup, the worker and its runs."""
    login = around.get("PREFECT_SERVER_API_AUTH_STRING")
    return {
        **without_prefect(around),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{ui_url(port)}/api",
        "PREFECT_UI_URL": ui_url(port),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # an answer at once when the server is away, not a second server
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        **({"PREFECT_API_AUTH_STRING": login} if login else {}),
    }


def without_prefect(around: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in around.items() if not name.startswith("PREFECT_") or name in _KEPT}


def async_url(url: str) -> str:
    """The same database by the driver that Prefect needs."""
    return urlsplit(url)._replace(scheme="postgresql+asyncpg").geturl()


def own_database(url: str, name: str = DATABASE) -> str:
    """The URL of Prefect's own database on the server of `url`, made if it is not there yet.

    Raises:
        TransientError, PermanentError: the server cannot be reached or does not let us.
    """
    with translated(url), psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def refuse_a_taken_port(port: int) -> None:
    """Raises InvalidInput, naming the port. Another program can still take it before the server does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InvalidInput(
                f"port {port} of {LOOPBACK} cannot be had for the Prefect server ({error.strerror}): stop the program"
                f" that holds it, or choose another with --port"
            ) from None


def answers(port: int) -> bool:
    try:
        return httpx.get(f"{ui_url(port)}/api/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
