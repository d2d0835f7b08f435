"""The driver of the graph and its errors: what every store over the Bolt protocol needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import neo4j
from neo4j import GraphDatabase
from neo4j import exceptions as failures

from pipelines.errors import CommitUnknown, InvalidInput, OrganismError, PermanentError, TransientError, WriteConflict

_SCHEMES = ("bolt://", "bolt+s://", "bolt+ssc://", "neo4j://", "neo4j+s://", "neo4j+ssc://")
#: A writer that hangs (a stopped process, a lost host) loses its locks after this many seconds.
TRANSACTION_TIMEOUT_S = 60.0


def open_driver(url: str, user: str, password: str, patience_s: float | None = None) -> neo4j.Driver:
    """A pool of connections; nothing is connected yet.

    Args:
        patience_s: for somebody who waits for the answer: a server that hangs is given up after about so many seconds, for
            the price of one question more with each use. None: for those that have time.

    Raises:
        InvalidInput: not a URL that the driver knows, or one with a password in it.
    """
    if not url.startswith(_SCHEMES) or "@" in url:
        raise InvalidInput(
            "ORGANISM_GRAPH_URL is not a URL such as bolt://host:7687 or neo4j+s://host; user and password go into"
            " ORGANISM_GRAPH_USER and ORGANISM_GRAPH_PASSWORD"
        )
    return GraphDatabase.driver(
        url,
        auth=(user, password) if user else None,
        connection_timeout=patience_s or 5.0,
        connection_acquisition_timeout=patience_s or 20.0,
        max_transaction_retry_time=20.0 if patience_s is None else 0.0,
        liveness_check_timeout=60.0 if patience_s is None else 0.0,
        keep_alive=True,
        telemetry_disabled=True,
        notifications_min_severity="OFF",
        user_agent="causal-organism",
    )


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the driver's errors into ours, which name the server."""
    where = url.rpartition("@")[2] if "@" in url else url.partition("://")[2]
    try:
        yield
    except OrganismError:
        raise
    except failures.Neo4jError as error:
        raise _of_server(error, where) from None
    except failures.DriverError as error:
        raise _of_driver(error, where) from None


def _of_server(error: failures.Neo4jError, where: str) -> OrganismError:
    """By the server's own classification; the message of the server is not quoted, it may hold parameters."""
    code = error.code or type(error).__name__
    if isinstance(error, failures.AuthError):
        return PermanentError(f"graph {where}: {code}; check ORGANISM_GRAPH_USER and ORGANISM_GRAPH_PASSWORD")
    if isinstance(error, failures.ConstraintError):  # two writers created one node on a server without locks
        return WriteConflict(f"graph {where}: {code}; another writer was first")
    if error.is_retryable():
        return TransientError(f"graph {where}: {code}; a retry may succeed")
    return PermanentError(f"graph {where}: the server refused a statement with {code}")


def _of_driver(error: failures.DriverError, where: str) -> OrganismError:
    if isinstance(error, failures.IncompleteCommit):
        return CommitUnknown(f"graph {where}: the connection broke during COMMIT; the outcome is unknown")
    if isinstance(error, failures.ConfigurationError):
        return PermanentError(f"graph {where}: {type(error).__name__}; check ORGANISM_GRAPH_URL (bolt://host:port)")
    return TransientError(f"graph {where}: {type(error).__name__}; is the server up? check ORGANISM_GRAPH_URL")
