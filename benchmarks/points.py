"""Points into PostgreSQL: our writer beside what many write first (executemany) and what cannot be repeated (bare COPY).

One server, a new database for each measurement; engines take turns (A B C A B C ...), figures are medians of rates. The
loop is so slow that it gets a part only. Everything of one run on one machine: the ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import numpy as np
import psycopg

from pipelines import embedded
from pipelines.embedded import Server
from pipelines.evidence import Series, SubjectKind
from pipelines.migrate import migrate
from pipelines.postgres import Pool, open_pool
from pipelines.timeseries import columns
from pipelines.timeseries.store import TimescaleMetricsWriter

_PEOPLE, _VIEWS = 10_000, 20
_END = datetime(2026, 3, 2, 12, tzinfo=UTC)
_HOURS = 6
_UPSERT = (
    "INSERT INTO points AS p VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (view, subject_kind, time, subject, view_version) DO UPDATE"
    " SET value = excluded.value, people = excluded.people, run = excluded.run"
    " WHERE (p.value, p.people) IS DISTINCT FROM (excluded.value, excluded.people)"
)
Row = tuple[object, ...]


def series(points: int, seed: int = 1) -> Iterator[Series]:
    """Windows of 20 views of 10,000 people, one after the other, until there are so many points."""
    rng = np.random.default_rng(seed)
    people = tuple(f"p_{n:032x}" for n in rng.permutation(_PEOPLE))
    sizes = np.ones(_PEOPLE, dtype=np.int64)
    for number in range(points // _PEOPLE):
        at = _END + timedelta(hours=_HOURS * (number // _VIEWS))
        view = f"view_{number % _VIEWS}"
        yield Series(view, 1, SubjectKind.PERSON, int(at.timestamp() * 1000), people, rng.normal(size=_PEOPLE), sizes)


def _rows(points: int) -> Iterator[Row]:
    for c in series(points):
        at = columns.at(c.time_ms)
        for subject, value in zip(c.subjects, c.values.tolist(), strict=True):
            yield at, c.kind.value, subject, c.view, c.version, value, 1, "run"


# ------------------------------------------------------------------------------------------------ engines


def ours(pool: Pool, points: int) -> None:
    TimescaleMetricsWriter(pool).write("run", series(points))


def executemany(pool: Pool, points: int) -> None:
    """psycopg 3 sends these in a pipeline, a statement a row; in one transaction, as ours."""
    with pool.connection() as connection, connection.cursor() as cursor:
        _make_months(connection, points)
        cursor.executemany(_UPSERT, _rows(points))


def bare_copy(pool: Pool, points: int) -> None:
    """As fast as rows go in; a second time it fails."""
    with pool.connection() as connection, connection.cursor() as cursor:
        _make_months(connection, points)
        with cursor.copy("COPY points FROM STDIN") as copy:
            for c in series(points):
                at, name = columns.at(c.time_ms).isoformat(), f"{c.view}\t{c.version}"
                pairs = zip(c.subjects, c.values.tolist(), strict=True)
                copy.write("".join([f"{at}\tperson\t{s}\t{name}\t{v!r}\t1\trun\n" for s, v in pairs]))


def _make_months(connection: psycopg.Connection, points: int) -> None:
    months = columns.months(series(points))
    connection.execute("SELECT ensure_points_month(month) FROM unnest(%s::timestamptz[]) AS month", [months])


ENGINES: dict[str, Callable[[Pool, int], None]] = {"ours": ours, "bare COPY": bare_copy, "executemany": executemany}


# ------------------------------------------------------------------------------------------------ measuring


@contextmanager
def server() -> Iterator[str]:
    place = Path(mkdtemp(prefix="organism-bench-", dir="/var/tmp" if os.geteuid() == 0 else None))
    place.chmod(0o755)
    try:
        with embedded.running(place, frozenset({Server.POSTGRES})) as urls:
            assert urls.postgres
            yield urls.postgres
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def fresh(url: str) -> Iterator[str]:
    name = f"bench_{uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        own = psycopg.conninfo.make_conninfo(url, dbname=name)
        with psycopg.connect(own) as other:
            migrate(other)
        try:
            yield own
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def seconds(engine: Callable[[Pool, int], None], pool: Pool, points: int) -> float:
    started = time.perf_counter()
    engine(pool, points)
    return time.perf_counter() - started


def measure(url: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Points per second by engine; "ours, again" is the repetition of a write, which changes nothing."""
    rates: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for name, engine in ENGINES.items():
            points = options.loop_points if name == "executemany" else options.points
            with fresh(url) as own, open_pool(own) as pool:
                rates.setdefault(name, []).append(points / seconds(engine, pool, points))
                if name == "ours":
                    rates.setdefault("ours, again", []).append(points / seconds(engine, pool, points))
            print(f"  {name}: {rates[name][-1]:,.0f} points/s", file=sys.stderr, flush=True)
    return {n: {"median": statistics.median(r), "min": min(r), "max": max(r)} for n, r in rates.items()}


def memory(url: str, points: int) -> float:
    """Peak memory (MB) of a new process that writes so many points."""
    with fresh(url) as own:
        command = [sys.executable, "-m", "benchmarks.points", "--write-only", own, "--points", str(points)]
        return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def write_only(url: str, points: int) -> None:
    with open_pool(url) as pool:
        ours(pool, points)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.points")
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--loop-points", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--write-only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_only:
        write_only(options.write_only, options.points)
        return
    with server() as url:
        rates = measure(url, options)
        peaks = {points: memory(url, points) for points in (options.points // 10, options.points)}
    for name, figures in rates.items():
        ratio = rates["ours"]["median"] / figures["median"]
        spread = f"{figures['min']:,.0f} to {figures['max']:,.0f}"
        print(f"  {name:12s} {figures['median']:9,.0f} points/s ({spread})   ours is x{ratio:.2f}")
    print("  peak memory: " + ", ".join(f"{points:,} points {mb:.0f} MB" for points, mb in peaks.items()))
    if options.json:
        machine = (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        about = {"machine": machine, "date": f"{datetime.now(UTC):%Y-%m-%d}", "points": options.points}
        options.json.write_text(json.dumps({**about, "rates": rates, "memory_mb": peaks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
