"""Every migration on a real TimescaleDB (in Node), with its policies run by hand: that server has no background jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.archive import effects
from pipelines.archive.store import PostgresArchive
from pipelines.events import schema
from pipelines.evidence import Series, SubjectKind
from pipelines.graph import weights
from pipelines.migrate import Migration, available, migrate
from pipelines.model import Interaction
from pipelines.postgres import Pool
from tests.support import make
from tests.support.make import person
from tests.support.timescale import server, without_copy

TEAM, PERSON = SubjectKind.TEAM, SubjectKind.PERSON
NOW = datetime.now(UTC).replace(microsecond=0)  # the policies look at the server's clock
EVER = (NOW - timedelta(days=4_000), NOW + timedelta(days=1))


@contextmanager
def started(log: Path) -> Iterator[Pool]:
    server.skip_if_not()
    with server.timescale_server(log) as url, without_copy.open_pool(url) as pool:
        yield pool


@pytest.fixture(scope="module")
def said_and_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Pool]]:
    """A server with every migration, and what it said to them."""
    with started(tmp_path_factory.mktemp("timescale") / "node.log") as pool:
        yield everything(pool), pool


@pytest.fixture
def pool(said_and_pool: tuple[list[str], Pool]) -> Pool:
    _, pool = said_and_pool
    for table in ("points", "points_weekly", "interactions", "tie_baseline", "exclusions", "points_to_erase"):
        ask(pool, f"TRUNCATE {table}")
    return pool


def ask(pool: Pool, statement: str) -> list[tuple[Any, ...]]:
    """Each in a transaction of its own, as CALL needs it."""
    with pool.connection() as connection:
        connection.autocommit = True
        try:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.autocommit = False


def everything(pool: Pool, migrations: list[Migration] | None = None) -> list[str]:
    """Applies all migrations; the warnings and notices of the server."""
    said: list[str] = []
    with pool.connection() as connection:
        connection.add_notice_handler(lambda about: said.append(f"{about.severity} {about.message_primary}"))
        migrate(connection, migrations)
    return [line for line in said if line.startswith(("WARNING", "NOTICE"))]


def series(days_ago: int, values: tuple[float, ...] = (1.0, 2.0), kind: SubjectKind = TEAM) -> Series:
    at = (NOW - timedelta(days=days_ago)).timestamp() * 1000
    names = ("red", "blue") if kind is TEAM else (person(1), person(2))
    return Series("strain", 1, kind, int(at), names, np.array(values), np.array([7, 7]))


def run_job(pool: Pool, name: str) -> None:
    ((job,),) = ask(pool, f"SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = '{name}'")
    ask(pool, f"CALL run_job({job})")


def compressed(pool: Pool) -> int:
    statement = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'points' AND is_compressed"
    return int(ask(pool, statement)[0][0])


def test_all_migrations_run_and_run_again(said_and_pool: tuple[list[str], Pool]) -> None:
    said, pool = said_and_pool
    assert said == []
    with pool.connection() as connection:
        assert migrate(connection) == []
    tables = ask(pool, "SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1")
    assert tables == [("interactions",), ("points",)]
    jobs = ask(pool, "SELECT proc_name, hypertable_name FROM timescaledb_information.jobs WHERE job_id >= 1000")
    assert sorted(jobs) == [
        ("policy_compression", "points"),
        ("policy_refresh_continuous_aggregate", "points_weekly"),
        ("policy_retention", "points"),
    ]
    ((live, size),) = ask(
        pool,
        "SELECT NOT materialized_only, c.time_interval FROM timescaledb_information.continuous_aggregates,"
        " timescaledb_information.dimensions c WHERE c.hypertable_name = 'points'",
    )
    assert (live, size) == (True, timedelta(days=30))


def test_compressed_points_are_read_rewritten_and_erased_as_others(pool: Pool) -> None:
    store = without_copy.WithoutCopy(pool)
    old, people, young = series(300), series(300, kind=PERSON), series(10)
    store.write("r1", [old, people, young])
    run_job(pool, "policy_compression")
    assert compressed(pool) == 1
    assert store.write("r2", [old, people, young]).points_changed == 0
    assert store.write("r2", [series(300, (1.0, 5.0))]).points_changed == 1
    found = store.read_series("strain", 1, TEAM, *EVER)
    assert [s.values.tolist() for s in found] == [[5.0, 1.0], [2.0, 1.0]]
    ask(pool, f"INSERT INTO exclusions VALUES ('{person(1)}', now(), true)")
    assert store.erase_excluded() == 1
    assert [s.subjects for s in store.read_series("strain", 1, PERSON, *EVER)] == [(person(2),)]


def test_the_weekly_aggregate_is_what_the_points_say_and_outlives_them(pool: Pool) -> None:
    store = without_copy.WithoutCopy(pool)
    store.write("r1", [series(day, (float(day), 2.0)) for day in range(30, 100, 3)])
    plain = (
        "SELECT date_bin('7 days', time, '2000-01-03 00:00+00') AS week, view, view_version, subject_kind, subject,"
        " avg(value), min(value), max(value), count(*), min(people) FROM points GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 5"
    )
    weekly = "SELECT * FROM points_weekly ORDER BY week, subject"
    wanted = ask(pool, plain)
    assert len(wanted) > 10
    assert ask(pool, weekly) == wanted
    run_job(pool, "policy_refresh_continuous_aggregate")
    assert ask(pool, weekly) == wanted
    store.write("r2", [series(30, (99.0, 99.0))])
    run_job(pool, "policy_refresh_continuous_aggregate")
    assert ask(pool, weekly) == ask(pool, plain) != wanted
    before = ask(pool, weekly)
    assert store.retire_points(NOW + timedelta(days=60)) > 1
    assert ask(pool, plain) == []
    assert ask(pool, weekly) == before


def test_the_retention_job_keeps_800_days(pool: Pool) -> None:
    store = without_copy.WithoutCopy(pool)
    store.write("r1", [series(900), series(700)])
    run_job(pool, "policy_retention")
    assert [s.time_ms for s in store.read_series("strain", 1, TEAM, *EVER)] == [series(700).time_ms]


def test_a_build_without_the_timescale_licence_gets_hypertables_and_no_more(tmp_path: Path) -> None:
    """This server cannot change its licence; so the migration is told another name for the one that it wants."""
    other = [
        Migration(m.version, m.name, m.statements.replace("DISTINCT FROM 'timescale'", "DISTINCT FROM 'none'"))
        for m in available()
    ]
    with started(tmp_path / "node.log") as pool:
        assert everything(pool, other) == [
            "NOTICE TimescaleDB without the Timescale licence: no compression, no weekly aggregate, no retention job"
        ]
        assert ask(pool, "SELECT proc_name FROM timescaledb_information.jobs WHERE job_id >= 1000") == []
        store = without_copy.WithoutCopy(pool)
        store.write("r1", [series(40), series(48)])
        assert len(store.read_weekly("strain", 1, TEAM, *EVER)) == 2
        assert store.retire_points(NOW + timedelta(days=60)) > 0
        assert store.read_weekly("strain", 1, TEAM, *EVER) == []


# ------------------------------------------------------------------------------------------------ 0001 on a hypertable


def interaction(id_: str, days_ago: int, *targets: str) -> Interaction:
    event, _ = schema.parse(make.event(id_, targets=list(targets) or None, time=make.NOW - timedelta(days=days_ago)))
    assert isinstance(event, Interaction)
    return event


def test_the_archive_works_on_its_hypertable(pool: Pool) -> None:
    archive = PostgresArchive(pool)
    old, new, other = interaction("a", 400), interaction("b", 1), interaction("c", 2, person(9), person(3))
    for _ in range(2):
        archive.store([effects.pack([old, new, other])])
    assert archive.count() == 3
    assert archive.find([new.key]) == {new.key: new}
    assert archive.retire(make.NOW - timedelta(days=100), weights.ties) == 1
    assert [(tie.n, tie.ends) for tie in archive.baseline()] == [(1, weights.ties([old])[0].ends)]
    erasure, _ = schema.parse(make.other("privacy.erase", "e", person=person(9)))
    archive.store([effects.pack([erasure])])  # type: ignore[list-item]
    assert [e.targets for part in archive.interactions() for e in part if e.key == other.key] == [(person(3),)]
