"""Connections to PostgreSQL, for every store that keeps something there: one pool, one way to begin, our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from pipelines.errors import OrganismError, PermanentError, TransientError

Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[Connection]
#: SQLSTATE classes that a retry cannot mend: wrong password, no such database, no right, read-only, no such table.
_PERMANENT = ("28", "3D", "42", "25006", "22", "23")


def open_pool(url: str, size: int = 4) -> Pool:
    """A pool whose sessions are in UTC, notice a dead server, and never wait for ever."""
    options = (
        "-c TimeZone=UTC -c statement_timeout=120s -c lock_timeout=10s -c idle_in_transaction_session_timeout=120s"
    )
    keepalive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return ConnectionPool(
        url,
        kwargs={"connect_timeout": 5, "options": options, "application_name": "causal-organism", **keepalive},
        min_size=0,
        max_size=size,
        timeout=10,
        reconnect_timeout=5,
        check=ConnectionPool.check_connection,
        open=True,
    )


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """All of the block or nothing of it.

    Raises:
        TransientError, PermanentError: by SQLSTATE.
    """
    url = pool.conninfo if isinstance(pool.conninfo, str) else ""
    with translated(url), pool.connection() as connection:
        yield connection


def runner(statements: Mapping[str, str]) -> Callable[..., list[tuple[Any, ...]]]:
    """`run(connection, name, **parameters)`: the rows of a statement by its name; none where it gives no rows."""

    def run(connection: Connection, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statements[name], parameters)
        return cursor.fetchall() if cursor.description else []

    return run


@contextmanager
def alone(pool: Pool, what: str) -> Iterator[bool]:
    """True for as long as nobody else is at it, on any machine; False at once if somebody is.

    The server lets go when the holder's connection ends, however it ends. An efficiency: nothing that is guarded may depend
    on it for being right.
    """
    url = pool.conninfo if isinstance(pool.conninfo, str) else ""
    with translated(url), pool.connection() as connection:
        connection.autocommit = True
        key = f"organism {what}"
        ours = bool(connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (key,)).fetchone()[0])  # type: ignore[index]
        try:
            yield ours
        finally:
            with suppress(psycopg.Error):  # a connection that is gone has let go already
                if ours:
                    connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", (key,))
                connection.autocommit = False


@contextmanager
def translated(url: str) -> Iterator[None]:
    """psycopg's errors as ours, by SQLSTATE. The server's message is not quoted: it may hold values."""
    try:
        yield
    except OrganismError:
        raise
    except PoolTimeout:
        raise TransientError(
            f"{_where(url)}: no connection within 10 s; is the server up? check ORGANISM_POSTGRES_URL"
        ) from None
    except psycopg.Error as error:
        raise _ours(error, _where(url)) from None


def _ours(error: psycopg.Error, where: str) -> OrganismError:
    state = error.sqlstate or ""
    words = f"{where}: {type(error).__name__}" + (f" (SQLSTATE {state})" if state else "")
    if state.startswith(_PERMANENT):
        return PermanentError(f"{words}; check ORGANISM_POSTGRES_URL, the role's rights and the migrations")
    return TransientError(f"{words}; is the server up? check ORGANISM_POSTGRES_URL")


def _where(url: str) -> str:
    """Host and port, nothing else of the URL."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return "postgres"
    return f"postgres {parts.get('host') or 'localhost'}:{parts.get('port') or 5432}"
