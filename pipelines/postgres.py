"""Connections to PostgreSQL, for every store that keeps something there: one pool, one way to begin, our errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from pipelines.errors import InvalidInput, OrganismError, PermanentError, TransientError

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[Connection]
#: SQLSTATE classes that a retry cannot mend: wrong password, no such database, no right, read-only, no such table.
_PERMANENT = ("28", "3D", "42", "25006", "22", "23")


def open_pool(url: str, size: int = 4) -> Pool:
    """A pool whose sessions are in UTC, notice a dead server, and never wait for ever."""
    return ConnectionPool(url, check=ConnectionPool.check_connection, **_given(size))


def open_impatient(url: str, size: int) -> Pool:
    """The same for whoever has somebody waiting: time is kept on this side too, because a server that hangs keeps none."""
    given = _given(size)
    given["kwargs"] |= {"connect_timeout": 2}
    return _ImpatientPool(url, **given | {"timeout": 2, "reconnect_timeout": 2})


def _given(size: int) -> dict[str, Any]:
    options = (
        "-c TimeZone=UTC -c statement_timeout=120s -c lock_timeout=10s -c idle_in_transaction_session_timeout=120s"
    )
    keepalive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    kwargs = {"connect_timeout": 5, "options": options, "application_name": "causal-organism", **keepalive}
    return {"kwargs": kwargs, "min_size": 0, "max_size": size, "timeout": 10, "reconnect_timeout": 5, "open": True}


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """All of the block or nothing of it.

    Raises:
        TransientError, PermanentError: by SQLSTATE.
    """
    with _translated(pool), pool.connection() as connection:
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
    with _translated(pool), pool.connection() as connection:
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


def _translated(pool: Pool) -> AbstractContextManager[None]:
    return translated(pool.conninfo if isinstance(pool.conninfo, str) else "", pool.timeout)


@contextmanager
def translated(url: str, waited_s: float = 10) -> Iterator[None]:
    """psycopg's errors as ours, by SQLSTATE. The server's message is not quoted: it may hold values.

    waited_s: for a connection of the pool, in seconds.
    """
    try:
        yield
    except OrganismError:
        raise
    except PoolTimeout:
        raise TransientError(
            f"{_where(url)}: no connection within {waited_s:g} s; is the server up? check ORGANISM_POSTGRES_URL"
        ) from None
    except psycopg.Error as error:
        raise _ours(error, _where(url)) from None


def _ours(error: psycopg.Error, where: str) -> OrganismError:
    state = error.sqlstate or ""
    if isinstance(error, psycopg.DataError) and not state:  # psycopg itself: what we were given cannot even be sent
        return InvalidInput("a value holds what PostgreSQL cannot keep, such as a zero byte")
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


# ------------------------------------------------------------------------------------------------ a server that hangs

#: A connection of the pool that does not answer an empty question within so long is given up; a statement within so long.
_CHECK_S, _STATEMENT_S = 1.2, 8.0
#: A server that hangs is left alone for so long, so that not every request waits until it knows.
_PAUSE_S = 1.0


class Silence:
    """Whether the server hangs: somebody waited in vain, and nobody was answered meanwhile. Then they try one by one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self._lock = clock, threading.Lock()
        self._heard, self._until, self._hangs = float("-inf"), 0.0, False

    def heard(self) -> None:
        self._heard, self._hangs = self.clock(), False

    def in_vain(self, since: float) -> None:
        """Somebody has waited since then, and gives up."""
        with self._lock:
            if self._heard < since:
                self._hangs, self._until = True, self.clock() + _PAUSE_S

    def insist(self, trying_s: float) -> None:
        """Let pass, while it hangs one after the other. trying_s: who passes knows after so long.

        Raises:
            TransientError: it hung a moment ago.
        """
        with self._lock:
            if not self._hangs:
                return
            if self.clock() < self._until:
                raise TransientError("postgres did not answer a moment ago; is it up? check ORGANISM_POSTGRES_URL")
            self._until = self.clock() + trying_s + _PAUSE_S


class _ImpatientConnection(Connection):
    """One that gives up. For the server it is as if the client had died: what was not committed is undone."""

    silence: Silence | None = None
    patience_s = _STATEMENT_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        if self.silence is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        began = self.silence.clock()
        try:
            found = super().wait(gen, interval, self.patience_s)
        except psycopg.OperationalError as error:
            if error.sqlstate is None and self.silence.clock() - began >= self.patience_s:
                self.silence.in_vain(began)
                self.pgconn.finish()
            raise
        self.silence.heard()
        return found


class _ImpatientPool(ConnectionPool[Connection]):
    def __init__(self, url: str, **given: Any) -> None:
        self._silence = Silence()
        super().__init__(url, connection_class=_ImpatientConnection, configure=self._configured, check=_check, **given)

    def getconn(self, timeout: float | None = None) -> Connection:
        self._silence.insist(self.timeout)
        began = self._silence.clock()
        try:
            return super().getconn(timeout)
        except PoolTimeout:
            self._silence.in_vain(began)
            raise

    def _configured(self, connection: Connection) -> None:
        assert isinstance(connection, _ImpatientConnection)
        connection.silence = self._silence
        self._silence.heard()


def _check(connection: Connection) -> None:
    assert isinstance(connection, _ImpatientConnection)
    connection.patience_s = _CHECK_S
    try:
        ConnectionPool.check_connection(connection)
    finally:
        connection.patience_s = _STATEMENT_S
