"""Our stores where COPY does not work (TimescaleDB in Node): the same statements, filled by small inserts."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from psycopg_pool import ConnectionPool

from pipelines.evidence import Series
from pipelines.postgres import Connection, Pool
from pipelines.timeseries.store import TimescaleMetricsWriter

_ROWS = 500  # a message over 64 kB ends the server


def open_pool(url: str) -> Pool:
    """One connection, which is all that the server has."""
    options = {"options": "-c TimeZone=UTC"}
    return ConnectionPool(url, kwargs=options, min_size=0, max_size=1, timeout=60, open=True)


class WithoutCopy(TimescaleMetricsWriter):
    def _fill(self, connection: Connection, part: Sequence[Series]) -> None:
        insert = "INSERT INTO points_in SELECT %s::int, * FROM unnest(%s::text[], %s::float8[], %s::int[])"
        for number, column in enumerate(part):
            rows = list(zip(column.subjects, column.values.tolist(), column.sizes.tolist(), strict=True))
            rows = [row for row in rows if not isnan(row[1])]
            for start in range(0, len(rows), _ROWS):
                piece = [list(values) for values in zip(*rows[start : start + _ROWS], strict=True)]
                connection.execute(insert, [number, *piece])
