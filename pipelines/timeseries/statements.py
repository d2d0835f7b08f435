"""Runs the statements of `queries.sql` by name."""

from __future__ import annotations

from typing import Any

from pipelines import queries
from pipelines.postgres import Connection

Q = queries.load("pipelines.timeseries", "queries.sql")


def rows(connection: Connection, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """What a statement gives; empty when it gives no rows."""
    cursor = connection.execute(Q[name], parameters)
    return cursor.fetchall() if cursor.description else []


def change(connection: Connection, name: str, **parameters: Any) -> int:
    """How many rows a statement inserted, changed or deleted."""
    return connection.execute(Q[name], parameters).rowcount
