"""Panels larger than memory: DuckDB reads parquet, data frames or chunks of a query part by part, each with whole units.

Only a part and the small sums are in memory. A panel whose units are not integers in order is first sorted, spilling to
disk; pseudonyms become row numbers on the way. What is computed of a part is `sufficient`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines import queries
from pipelines.causal.sufficient import Fit, Rows
from pipelines.causal.two_way import Runner, fit
from pipelines.errors import InvalidInput, PermanentError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_Q = queries.load("pipelines.causal", "out_of_core.sql")
#: A row group above this is sorted into smaller ones first: a part is at least one row group (pyarrow writes 1,048,576).
_LARGEST_GROUP = 1_250_000
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_DATED = ("DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")

Chunk = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of the panel is what; a period is an integer or a date."""

    unit: str
    period: str
    cluster: str
    outcome: str
    regressors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """memory_mb: what DuckDB may hold. rows_per_part: about seven times a part's bytes are held beside it. place: directory
    for the sorted copy, by default a temporary one; on a cluster one that all workers see."""

    memory_mb: int = 256
    threads: int = 1
    rows_per_part: int = 250_000
    place: Path | None = None


@dataclass(frozen=True, slots=True)
class UnitRange:
    """A part: all rows of the units first..last, and the files that may have some."""

    files: tuple[str, ...]
    first: int
    last: int


def fit_parquet(
    files: Sequence[Path], columns: Columns, limits: Limits | None = None, runner: Runner | None = None
) -> Fit:
    """Two-way fixed effects over parquet files; rows with a missing or infinite value are left out.

    Raises:
        InvalidInput, Refused: as `two_way.fit`; also when a column is not there or not a number.
    """
    limits = limits or Limits()
    if parts := plan(files, columns, limits):
        return fit(parts, columns.regressors, partial(load, columns=columns, limits=limits), runner)
    with _sorting(limits) as (connection, place):
        names = ", ".join(_text(str(file)) for file in files)
        connection.execute(f"CREATE VIEW source AS SELECT * FROM read_parquet([{names}])")  # noqa: S608  # quoted
        return _fit_sorted(connection, place, columns, limits, runner)


def fit_chunks(
    chunks: Iterable[Chunk], columns: Columns, limits: Limits | None = None, runner: Runner | None = None
) -> Fit:
    """The same over data frames or mappings of arrays: one frame in memory, or the pages of a query of any store.

    Raises:
        InvalidInput, Refused: as `fit_parquet`.
    """
    limits = limits or Limits()
    with _sorting(limits) as (connection, place):
        for number, chunk in enumerate(chunks):
            connection.register("chunk", chunk)
            verb = "INSERT INTO source BY NAME" if number else "CREATE TABLE source AS"
            connection.execute(f"{verb} SELECT {_listed(columns)} FROM chunk")  # noqa: S608  # names are quoted
            connection.unregister("chunk")
        return _fit_sorted(connection, place, columns, limits, runner)


def plan(files: Sequence[Path], columns: Columns, limits: Limits) -> tuple[UnitRange, ...]:
    """Parts of about `rows_per_part` rows from the row groups' statistics; empty if the panel must be sorted first."""
    with _cursor(limits) as cursor:
        names = [str(file) for file in files]
        types = _types(cursor, f"read_parquet([{', '.join(map(_text, names))}])", columns)
        if types[columns.unit] not in _WHOLE or types[columns.period] not in _WHOLE + _DATED:
            return ()
        if types[columns.cluster] not in _WHOLE:
            return ()
        groups = cursor.execute(_Q["row_groups"], {"files": names, "unit": columns.unit}).fetchall()
    if any(low is None or high is None or rows > _LARGEST_GROUP for _, rows, low, high in groups):
        return ()
    return _ranges([_Group(name, int(rows), int(low), int(high)) for name, rows, low, high in groups], limits)


@dataclass(frozen=True, slots=True)
class _Group:
    file: str
    rows: int
    low: int
    high: int


def _ranges(groups: Sequence[_Group], limits: Limits) -> tuple[UnitRange, ...]:
    if any(a.high > b.low for a, b in pairwise(groups)):
        return ()
    parts: list[UnitRange] = []
    first, rows = groups[0].low if groups else 0, 0
    for number, group in enumerate(groups):
        rows += group.rows
        if group.high < first or (rows < limits.rows_per_part and number + 1 < len(groups)):
            continue
        files = {g.file: None for g in groups if g.high >= first and g.low <= group.high}
        parts.append(UnitRange(tuple(files), first, group.high))
        first, rows = group.high + 1, 0
    return tuple(parts)


def load(part: UnitRange, columns: Columns, limits: Limits) -> Rows:
    """The complete rows of one part."""
    with _cursor(limits) as cursor:
        types = _types(cursor, f"read_parquet([{_text(part.files[0])}])", columns)
        statement = _Q["read_part"].format(
            unit=_name(columns.unit),
            period=_period(columns, types),
            cluster=_name(columns.cluster),
            values=_values(columns),
        )
        found = cursor.execute(statement, {"files": list(part.files), "first": part.first, "last": part.last})
        return _rows(found.fetchnumpy(), 1 + len(columns.regressors))


def _rows(found: Mapping[str, NDArray[Any]], width: int) -> Rows:
    values = np.stack([_floats(found[f"v{number}"]) for number in range(width)])
    keys = [found[name] for name in ("unit", "period", "cluster")]
    complete = np.isfinite(values).all(axis=0)
    for key in keys:
        complete &= ~np.ma.getmaskarray(key)
    unit, period, cluster = (np.ma.getdata(key) for key in keys)
    if not complete.all():
        unit, period, cluster, values = unit[complete], period[complete], cluster[complete], values[:, complete]
    return Rows(unit, period.astype(np.int64), cluster, values)


def _floats(column: NDArray[Any]) -> NDArray[np.float64]:
    return np.ma.filled(column, np.nan)


# ------------------------------------------------------------------------------------------------ sorting first


@contextmanager
def _sorting(limits: Limits) -> Iterator[tuple[DuckDBPyConnection, Path]]:
    """A database on disk that spills beside itself, and where the sorted copy may lie; gone afterwards."""
    with TemporaryDirectory(prefix="panel-", dir=limits.place) as name:
        place = Path(name)
        with closing(_connect(str(place / "panel.duckdb"), limits)) as connection:
            connection.execute(f"SET temp_directory = {_text(str(place / 'spill'))}")
            connection.execute("SET preserve_insertion_order = false")
            with _errors_of_ours():
                yield connection, place


def _fit_sorted(
    connection: DuckDBPyConnection, place: Path, columns: Columns, limits: Limits, runner: Runner | None
) -> Fit:
    target = place / "sorted.parquet"
    types = _types(connection, "source", columns)
    words = {"unit": _name(columns.unit), "cluster": _name(columns.cluster)}
    for statement in ("number_units", "number_clusters"):
        connection.execute(_Q[statement].format(**words))
    words |= {
        "period": _period(columns, types),
        "values": _values(columns),
        "complete": _complete(columns),
        "target": str(target).replace("'", "''"),
    }
    connection.execute(_Q["order_by_unit"].format(**words))
    plain = Columns("unit", "period", "cluster", "v0", tuple(f"v{n + 1}" for n in range(len(columns.regressors))))
    parts = plan([target], plain, limits)
    return fit(parts, columns.regressors, partial(load, columns=plain, limits=limits), runner)


def _connect(place: str, limits: Limits) -> DuckDBPyConnection:
    try:
        import duckdb  # an extra: only panels that do not fit in memory need it
    except ImportError as missing:
        raise PermanentError("panels out of core need duckdb: pip install 'causal-organism[scale]'") from missing
    return duckdb.connect(place, config={"memory_limit": f"{limits.memory_mb}MB", "threads": limits.threads})


@cache
def _session(limits: Limits) -> DuckDBPyConnection:
    """One database in memory a process; each use takes a cursor, which may run beside others."""
    return _connect(":memory:", limits)


@contextmanager
def _cursor(limits: Limits) -> Iterator[DuckDBPyConnection]:
    with closing(_session(limits).cursor()) as cursor, _errors_of_ours():
        yield cursor


@contextmanager
def _errors_of_ours() -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.ConversionException, duckdb.BinderException) as error:
        raise InvalidInput(f"the panel cannot be read: {error}") from error
    except duckdb.Error as error:
        raise PermanentError(f"DuckDB stopped: {error}") from error


# ------------------------------------------------------------------------------------------------ words of SQL


def _types(connection: DuckDBPyConnection, source: str, columns: Columns) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608  # quoted by the callers
    types = {name: str(kind) for name, kind, *_ in described}
    wanted = [columns.unit, columns.period, columns.cluster, columns.outcome, *columns.regressors]
    if missing := [name for name in wanted if name not in types]:
        raise InvalidInput(f"the panel has no column {', '.join(missing)}; it has {', '.join(types)}")
    return types


def _listed(columns: Columns) -> str:
    wanted = dict.fromkeys([columns.unit, columns.period, columns.cluster, columns.outcome, *columns.regressors])
    return ", ".join(map(_name, wanted))


def _period(columns: Columns, types: Mapping[str, str]) -> str:
    kind, name = types[columns.period], _name(columns.period)
    if kind not in _WHOLE + _DATED:
        raise InvalidInput(f"the period column {columns.period} must be an integer or a date, it is {kind}")
    return name if kind in _WHOLE else f"CAST({name} AS DATE) - DATE '1970-01-01'"


def _values(columns: Columns) -> str:
    wanted = [columns.outcome, *columns.regressors]
    return ", ".join(f"CAST({_name(column)} AS DOUBLE) AS v{number}" for number, column in enumerate(wanted))


def _complete(columns: Columns) -> str:
    finite = [f"isfinite(CAST({_name(column)} AS DOUBLE))" for column in (columns.outcome, *columns.regressors)]
    return " AND ".join([f"{_name(columns.period)} IS NOT NULL", *finite])


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
