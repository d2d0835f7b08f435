"""Runs the statements of `queries.sql` by name."""

from __future__ import annotations

from typing import Any

from pipelines import queries
from pipelines.postgres import Connection, runner

Q = queries.load("pipelines.timeseries", "queries.sql")
rows = runner(Q)


def change(connection: Connection, name: str, **parameters: Any) -> int:
    """How many rows a statement inserted, changed or deleted."""
    return connection.execute(Q[name], parameters).rowcount
