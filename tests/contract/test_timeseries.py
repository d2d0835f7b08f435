"""One suite over the fake, the embedded PostgreSQL, TimescaleDB in Node, and any server that TIMESCALE_URL names."""

from __future__ import annotations

import math
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import numpy as np
import psycopg
import pytest

from pipelines.errors import PermanentError, TransientError
from pipelines.evidence import Check, CheckResult, Estimate, Finding, Series, Status, SubjectKind
from pipelines.migrate import migrate
from pipelines.person_weeks import Baseline
from pipelines.postgres import Pool, open_pool
from pipelines.timeseries.columns import at
from pipelines.timeseries.records import Written
from pipelines.timeseries.step_results import StepResults
from pipelines.timeseries.store import TimescaleMetricsWriter
from pipelines.wiring import Endpoints
from tests.support.fakes_timeseries import FakeStepResults, FakeTimeSeries
from tests.support.make import person
from tests.support.timescale import server, without_copy

TEAM, PERSON, ORG = SubjectKind.TEAM, SubjectKind.PERSON, SubjectKind.ORG
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVER = (datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@dataclass
class World:
    """The two stores on one database, and what a test must do behind their back."""

    series: TimescaleMetricsWriter
    results: StepResults
    exclude: Callable[[str], None]
    connect: Callable[[], AbstractContextManager[psycopg.Connection]] | None = None

    def values(self, view: str = "degree", kind: SubjectKind = TEAM) -> dict[tuple[datetime, str], float]:
        found = self.series.read_series(view, 1, kind, *EVER)
        return {(at(s.time_ms), name): value for s in found for name, value in zip(s.subjects, s.values, strict=True)}


def column(
    subjects: tuple[str, ...] = ("red", "blue"), values: tuple[float, ...] = (1.0, 2.5), **changes: object
) -> Series:
    """One view of two teams, unless a test says otherwise."""
    time = changes.pop("time", NOON)
    assert isinstance(time, datetime)
    sizes = np.full(len(subjects), 7, dtype=np.int64)
    ms = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    made = Series("degree", 1, TEAM, ms, subjects, np.array(values), sizes)
    return replace(made, **changes)  # type: ignore[arg-type]


def finding(id_: str = "f1", **changes: object) -> Finding:
    estimate = Estimate("fe_dml", 0.1 + 0.2, 1e-7, -math.inf, 1 / 3, 5e-324)
    check = Check(
        "lead", CheckResult.PASSED, 'Nothing moves before its cause: it\'s "fine"\\\n — ✓', True, -1.5, 1e-300
    )
    made = Finding(
        id=id_,
        question="after_hours",
        words="Do late messages cost sleep?",
        treatment="after_hours_share",
        treatment_unit="share",
        outcome="strain",
        outcome_kind="proxy",
        lag_weeks=1,
        subject_kind=TEAM,
        subject="Größe | 東京",
        people=12,
        periods=20,
        rows=240,
        clusters=12,
        cluster_level="person",
        estimate=estimate,
        specs=(estimate, replace(estimate, method="twfe")),
        checks=(check,),
        status=Status.CREDIBLE,
        reasons=("one", "two"),
        data_version="d1",
        mde=0.25,
        contrast_effect=(0.0, -1e30, math.inf),
        enough_on=date(2026, 5, 4),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def band(subject: str = "red", **changes: object) -> Baseline:
    made = Baseline("strain", 1, TEAM, subject, 10.0, 1 / 3 + 20, 7, 12, date(2025, 12, 1), date(2026, 2, 23))
    return replace(made, **changes)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ servers


def _faked() -> World:
    fake = FakeTimeSeries()
    return World(fake, FakeStepResults(), fake.excluded.add)  # type: ignore[arg-type]


@contextmanager
def database(url: str) -> Iterator[str]:
    """A database of our own on a server, gone afterwards."""
    name = f"organism_test_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        try:
            yield psycopg.conninfo.make_conninfo(url, dbname=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


@contextmanager
def migrated(pool: Pool) -> Iterator[Pool]:
    with pool:
        with pool.connection() as connection:
            migrate(connection)
        yield pool


@pytest.fixture(scope="module")
def embedded_pool(embedded: Endpoints) -> Iterator[Pool]:
    with database(embedded.postgres) as url, migrated(open_pool(url)) as pool:
        yield pool


@pytest.fixture(scope="module")
def server_pool() -> Iterator[Pool]:
    with database(os.environ["TIMESCALE_URL"]) as own, migrated(open_pool(own)) as pool:
        yield pool


@pytest.fixture(scope="module")
def node_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    server.skip_if_not()
    log = tmp_path_factory.mktemp("timescale") / "node.log"
    with server.timescale_server(log) as url, migrated(without_copy.open_pool(url)) as pool:
        yield pool


def _real(pool: Pool, store: type[TimescaleMetricsWriter]) -> World:
    tables = "points, findings, finding_runs, baselines, step_results, exclusions, points_to_erase"
    with pool.connection() as connection:
        connection.execute(f"TRUNCATE {tables}")  # type: ignore[call-overload]

    def exclude(who: str) -> None:
        with pool.connection() as connection:
            connection.execute("INSERT INTO exclusions VALUES (%s, now(), false)", [who])

    return World(store(pool), StepResults(pool), exclude, pool.connection)


STORES = {"embedded": TimescaleMetricsWriter, "server": TimescaleMetricsWriter, "node": without_copy.WithoutCopy}


SERVERS = ["embedded", *(["server"] if os.environ.get("TIMESCALE_URL") else [])]


@pytest.fixture(params=["fake", "node", *SERVERS])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return _faked()
    return _real(request.getfixturevalue(f"{request.param}_pool"), STORES[request.param])


@pytest.fixture(params=SERVERS)
def real(request: pytest.FixtureRequest) -> World:
    """A server that takes more than one client."""
    return _real(request.getfixturevalue(f"{request.param}_pool"), STORES[request.param])


# ------------------------------------------------------------------------------------------------ points


class TestPoints:
    def test_what_comes_back_is_what_went_in(self, world: World) -> None:
        wanted = column(
            ("a", "b", "c"), (0.1 + 0.2, -1e-310, 1.7976931348623157e308), sizes=np.array([5, 0, 2**31 - 1])
        )
        assert world.series.write("r1", [wanted]) == Written(points=3, points_changed=3)
        (found,) = world.series.read_series("degree", 1, TEAM, *EVER)
        assert (found.view, found.version, found.kind, found.time_ms) == ("degree", 1, TEAM, wanted.time_ms)
        assert found.subjects == wanted.subjects
        assert np.array_equal(found.values, wanted.values)
        assert np.array_equal(found.sizes, wanted.sizes)

    def test_the_same_again_changes_nothing(self, world: World) -> None:
        columns = [column(), column(view="strain", kind=ORG, subjects=("",), values=(3.0,), sizes=np.array([9]))]
        world.series.write("r1", columns)
        before = world.values()
        assert world.series.write("r1", columns) == Written(points=3)
        assert world.series.write("r2", columns) == Written(points=3)
        assert world.values() == before

    def test_the_same_again_does_not_even_touch_the_rows(self, real: World) -> None:
        """Not what ON CONFLICT alone does: it locks each row, which is a write (the second half shows it)."""

        def rows() -> list[tuple[object, ...]]:
            assert real.connect is not None
            with real.connect() as connection:
                return connection.execute("SELECT subject, xmin::text, xmax::text FROM points ORDER BY 1").fetchall()

        real.series.write("r1", [column()])
        before = rows()
        real.series.write("r1", [column()])
        assert rows() == before
        assert real.connect is not None
        with real.connect() as connection:
            connection.execute(
                "INSERT INTO points AS p SELECT * FROM points ON CONFLICT (view, subject_kind, time, subject, view_version)"
                " DO UPDATE SET value = excluded.value WHERE p.value IS DISTINCT FROM excluded.value"
            )
        assert rows() != before

    def test_a_changed_value_is_one_changed_row(self, world: World) -> None:
        world.series.write("r1", [column()])
        assert world.series.write("r2", [column(values=(1.0, 2.0))]) == Written(points=2, points_changed=1)
        assert world.values() == {(NOON, "red"): 1.0, (NOON, "blue"): 2.0}

    def test_a_changed_number_of_people_is_a_change_too(self, world: World) -> None:
        world.series.write("r1", [column()])
        assert world.series.write("r2", [column(sizes=np.array([7, 4]))]).points_changed == 1
        found = world.series.latest("degree", 1, TEAM)
        assert found is not None
        assert dict(zip(found.subjects, found.sizes.tolist(), strict=True)) == {"blue": 4, "red": 7}

    def test_what_is_no_number_is_counted_and_not_stored(self, world: World) -> None:
        assert world.series.write("r1", [column(values=(math.nan, 2.0))]) == Written(1, 1, empty=1)
        assert world.values() == {(NOON, "blue"): 2.0}
        assert world.series.write("r1", [column(values=(math.nan, math.nan), time=NOON + timedelta(1))]).points == 0

    def test_nothing_to_write_is_no_error(self, world: World) -> None:
        assert world.series.write("r1", []) == Written()
        assert world.series.write("r1", [column((), ())]) == Written()
        assert world.series.latest("degree", 1, TEAM) is None
        assert world.series.read_series("degree", 1, TEAM, *EVER) == []

    def test_two_windows_lie_beside_each_other(self, world: World) -> None:
        later = NOON + timedelta(hours=6)
        world.series.write("r1", [column()])
        world.series.write("r2", [column(values=(9.0, 9.0), time=later)])
        assert len(world.values()) == 4
        found = world.series.latest("degree", 1, TEAM)
        assert found is not None
        assert (at(found.time_ms), found.values.tolist()) == (later, [9.0, 9.0])
        since = world.series.read_series("degree", 1, TEAM, NOON, later)
        assert [at(s.time_ms) for s in since] == [NOON]

    def test_versions_views_and_kinds_are_not_mixed(self, world: World) -> None:
        others = [column(version=2), column(view="strain"), column(kind=SubjectKind.TEAM_PAIR)]
        world.series.write("r1", [column(), *others])
        world.series.write("r1", [replace(c, values=c.values + 1) for c in others])
        assert world.values() == {(NOON, "red"): 1.0, (NOON, "blue"): 2.5}

    @pytest.mark.parametrize(
        "name",
        [
            "Größe 東京 🦆",
            "it's",
            'a "b"',
            "a\\b",
            "\\N",
            "\\.",
            "a\tb",
            "a\nb",
            "a\r\nb",
            "a|b",
            "{a,b}",
            "%s",
            " ",
            "",
            "a\\",
        ],
    )
    def test_any_name_comes_back_as_it_is(self, world: World, name: str) -> None:
        columns = [column((name, "other"))]
        world.series.write("r1", columns)
        assert world.values() == {(NOON, name): 1.0, (NOON, "other"): 2.5}
        assert world.series.write("r1", columns).points_changed == 0

    @pytest.mark.parametrize("name", ["a\0b", "half a pair \ud800"])
    def test_a_name_that_cannot_be_stored_is_refused_and_not_quoted(self, world: World, name: str) -> None:
        with pytest.raises(PermanentError, match="view degree version 1") as refused:
            world.series.write("r1", [column(), column((name, "other"), view="degree", version=1, kind=ORG)])
        assert "half" not in str(refused.value)
        assert world.values() == {}

    @pytest.mark.parametrize(
        "wrong",
        [
            column(("red", "red")),
            column(values=(math.inf, 1.0)),
            column(values=(1.0,)),
            column(sizes=np.array([1, -1])),
        ],
        ids=["a subject twice", "infinite", "lengths", "negative size"],
    )
    def test_a_broken_column_is_refused_and_leaves_nothing(self, world: World, wrong: Series) -> None:
        with pytest.raises(PermanentError):
            world.series.write("r1", [column(view="strain"), wrong])
        assert world.values("strain") == {}

    def test_a_series_that_comes_twice_is_refused(self, world: World) -> None:
        with pytest.raises(PermanentError, match="came twice"):
            world.series.write("r1", [column(), column(("green",), (1.0,), sizes=np.array([7]))])
        assert world.values() == {}

    def test_who_is_excluded_is_left_out(self, world: World) -> None:
        world.exclude(person(1))
        people = column((person(1), person(2)), kind=PERSON)
        same_name = column((person(1), "blue"))  # a team may have any name
        assert world.series.write("r1", [same_name, people]) == Written(3, 3, excluded=1)
        assert world.values(kind=PERSON) == {(NOON, person(2)): 2.5}

    @pytest.mark.parametrize("by", ["erase_excluded", "write"])
    def test_who_is_excluded_later_loses_their_points(self, world: World, by: str) -> None:
        world.series.write("r1", [column((person(1), person(2)), kind=PERSON), column((person(1), "blue"))])
        world.exclude(person(1))
        if by == "write":
            world.series.write("r2", [])
        else:
            assert [world.series.erase_excluded() for _ in range(2)] == [1, 0]
        assert world.values(kind=PERSON) == {(NOON, person(2)): 2.5}
        assert len(world.values()) == 2

    def test_times_around_clock_changes_and_year_ends_stay_apart(self, world: World) -> None:
        times = [
            datetime(2025, 10, 26, hour, tzinfo=UTC) for hour in (0, 1)  # 02:00 twice in Berlin
        ] + [
            datetime(2026, 3, 29, 1, tzinfo=UTC),
            datetime(2025, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2024, 2, 29, 23, tzinfo=UTC),
            datetime(1999, 12, 31, 23, tzinfo=UTC),
        ]  # fmt: skip
        columns = [column(time=time) for time in times]
        assert world.series.write("r1", columns).points_changed == 2 * len(times)
        assert world.series.write("r1", columns).points_changed == 0
        assert [at(s.time_ms) for s in world.series.read_series("degree", 1, TEAM, *EVER)] == sorted(times)

    def test_many_months_in_one_write(self, world: World) -> None:
        columns = [column(time=NOON - timedelta(days=20 * n)) for n in range(60)]
        random.Random(1).shuffle(columns)
        assert world.series.write("r1", columns) == Written(120, 120)
        found = world.series.read_series("degree", 1, TEAM, *EVER)
        assert [s.time_ms for s in found] == sorted(c.time_ms for c in columns)

    def test_a_column_longer_than_a_message_comes_back(self, world: World) -> None:
        people = tuple(person(n) for n in range(3_000))
        values = np.random.default_rng(1).normal(size=3_000)
        world.series.write("r1", [column(people, tuple(values), kind=PERSON)])
        found = world.series.latest("degree", 1, PERSON)
        assert found is not None
        assert found.subjects == people
        assert np.array_equal(found.values, values)

    def test_old_months_are_retired_and_young_ones_are_not(self, world: World) -> None:
        old = [column(time=NOON - timedelta(days=days)) for days in (400, 330, 300)]
        limit = NOON - timedelta(days=200)
        young = [column(time=limit + timedelta(days=days)) for days in (0, 1, 40)]
        world.series.write("r1", old + young)
        assert world.series.retire_points(limit) >= 2
        assert world.series.retire_points(limit) == 0
        left = {time for time, _ in world.values()}
        assert left == {at(c.time_ms) for c in young}
        world.series.write("r2", old)
        assert len(world.values()) == 2 * (len(old) + len(young))

    def test_weeks_are_means_from_monday_on_with_the_fewest_people(self, world: World) -> None:
        monday = datetime(2026, 1, 5, tzinfo=UTC)
        sunday = column(time=monday - timedelta(milliseconds=1), values=(100.0, 100.0))
        first = column(time=monday, values=(1.0, 5.0), sizes=np.array([7, 3]))
        last = column(time=monday + timedelta(days=6, hours=23), values=(2.0, math.nan), sizes=np.array([6, 9]))
        persons = column((person(1),), (1.0,), kind=PERSON, sizes=np.array([1]))
        world.series.write("r1", [sunday, first, last, persons])
        (week,) = world.series.read_weekly("degree", 1, TEAM, monday, monday + timedelta(days=7))
        assert at(week.time_ms) == monday
        assert [week.subjects, week.values.tolist(), week.sizes.tolist()] == [("blue", "red"), [5.0, 1.5], [3, 6]]
        assert world.series.read_weekly("degree", 1, PERSON, *EVER) == []
        assert len(world.series.read_weekly("degree", 1, TEAM, *EVER)) == 2


# ------------------------------------------------------------------------------------------------ all or nothing


class Stop(Exception):
    pass


def breaking_off() -> Iterator[Series]:
    """Two good series, then the view that makes them fails."""
    yield column()
    yield column(time=NOON - timedelta(days=40))
    raise Stop


def naive(world: World, series: Iterator[Series]) -> None:
    """What many write: a statement a row, each its own transaction."""
    assert world.connect is not None
    with world.connect() as connection:
        connection.autocommit = True
        try:
            for c in series:
                connection.execute("SELECT ensure_points_month(%s)", [at(c.time_ms)])
                for subject, value in zip(c.subjects, c.values.tolist(), strict=True):
                    row = [at(c.time_ms), c.kind.value, subject, c.view, c.version, value, 7, "r1"]
                    connection.execute("INSERT INTO points VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
        finally:
            connection.autocommit = False


class TestAllOrNothing:
    def test_a_write_that_fails_leaves_nothing(self, world: World) -> None:
        with pytest.raises(Stop):
            world.series.write("r1", breaking_off(), [finding()], [band()])
        assert world.values() == {}
        assert world.series.findings("r1") == world.series.baselines("strain", 1, TEAM) == []
        assert world.series.write("r1", [column()]).points_changed == 2

    def test_a_write_that_fails_in_its_findings_leaves_no_points(self, world: World) -> None:
        with pytest.raises(PermanentError, match="came twice"):
            world.series.write("r1", [column()], [finding(), finding()])
        assert world.values() == {}

    def test_a_broken_connection_leaves_nothing(self, real: World) -> None:
        def cut_off() -> Iterator[Series]:
            yield column()
            assert real.connect is not None
            with real.connect() as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks"
                    " WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            yield column(time=NOON - timedelta(days=40))

        with pytest.raises(TransientError):
            real.series.write("r1", cut_off())
        assert real.values() == {}
        assert real.series.write("r1", [column()]).points_changed == 2

    def test_the_naive_loop_leaves_half(self, real: World) -> None:
        with pytest.raises(Stop):
            naive(real, breaking_off())
        assert len(real.values()) == 4

    def test_writers_of_the_same_run_at_once_write_it_once(self, world: World) -> None:
        columns = [column(time=NOON + timedelta(days=20 * n)) for n in range(4)]
        written: list[Written] = []

        def work(seed: int) -> None:
            mine = random.Random(seed).sample(columns, len(columns))
            written.append(world.series.write("r1", mine, [finding()], [band()]))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(w.points_changed for w in written) == len(world.values()) == 8
        assert sum(w.findings_changed for w in written) == sum(w.baselines_changed for w in written) == 1

    def test_who_reads_while_others_write_does_not_wait(self, real: World) -> None:
        seen: list[int] = []

        def reading() -> Iterator[Series]:
            yield column()
            yield column(time=NOON + timedelta(days=40))
            seen.append(len(real.values()))  # both series are under way: a month was made for each

        assert real.series.write("r1", reading()).points_changed == 4
        assert seen == [0]

    def test_another_writer_that_does_not_end_is_a_transient_error(self, real: World) -> None:
        assert real.connect is not None
        with real.connect() as other:
            other.execute("SELECT pg_advisory_xact_lock(hashtext('organism points'))")
            url = psycopg.conninfo.make_conninfo(other.info.dsn, password=other.info.password)
            with open_pool(url, size=1) as impatient:
                with impatient.connection() as connection:
                    connection.execute("SET lock_timeout = '50ms'")
                with pytest.raises(TransientError, match="55P03"):
                    TimescaleMetricsWriter(impatient).write("r1", [column()])


# ------------------------------------------------------------------------------------------------ findings, bands, steps


class TestFindings:
    def test_a_finding_comes_back_field_by_field(self, world: World) -> None:
        short = finding("f0", estimate=None, specs=(), checks=(), mde=None, contrast_effect=None, enough_on=None)
        assert world.series.write("r1", [], [finding(), short]) == Written(findings=2, findings_changed=2)
        assert world.series.findings("r1") == [finding(), short]

    def test_a_second_run_with_the_same_findings_has_them_too_and_changes_nothing(self, world: World) -> None:
        world.series.write("r1", [], [finding(), finding("f2")])
        assert world.series.write("r2", [], [finding("f2"), finding()]) == Written(findings=2)
        assert [f.id for f in world.series.findings("r1")] == ["f1", "f2"]
        assert [f.id for f in world.series.findings("r2")] == ["f2", "f1"]
        assert world.series.findings("r3") == []

    def test_the_findings_of_a_run_are_those_of_its_last_write(self, world: World) -> None:
        world.series.write("r1", [], [finding("a"), finding("b"), finding("c")])
        assert world.series.write("r1", [], [finding("c"), finding("a", people=99)]).findings_changed == 1
        assert [(f.id, f.people) for f in world.series.findings("r1")] == [("c", 12), ("a", 99)]

    def test_numbers_of_numpy_are_numbers(self, world: World) -> None:
        made = finding(people=np.int64(12), mde=np.float64(0.25), interference=np.bool_(False))
        world.series.write("r1", [], [made])
        assert world.series.findings("r1") == [finding()]

    def test_a_finding_about_a_person_is_refused_and_nobody_named(self, world: World) -> None:
        with pytest.raises(PermanentError, match="about a person") as refused:
            world.series.write("r1", [column()], [finding(subject_kind=PERSON, subject=person(1))])
        assert person(1) not in str(refused.value)
        assert world.values() == {}

    def test_a_text_that_cannot_be_stored_is_refused(self, world: World) -> None:
        with pytest.raises(PermanentError, match="zero character"):
            world.series.write("r1", [], [finding(reasons=("a\0b",))])

    def test_the_server_reads_the_key_columns_out_of_the_body(self, real: World) -> None:
        real.series.write("r1", [], [finding()])
        assert real.connect is not None
        with real.connect() as connection:
            columns = "question, subject_kind, subject, status, lag_weeks, people, effect, ci_low, ci_high, q_bh, mde"
            row = connection.execute(f"SELECT {columns} FROM findings").fetchone()  # type: ignore[call-overload]
        about = ("after_hours", "team", "Größe | 東京", "credible", 1, 12)
        assert row == (*about, 0.1 + 0.2, -math.inf, 1 / 3, None, 0.25)


class TestBaselines:
    def test_the_newest_band_of_each_team_comes_back(self, world: World) -> None:
        older = band(to_week=date(2026, 2, 16), low=9.0)
        bands = [band(), older, band("blue"), band(view="degree"), band(version=2), band(kind=ORG, subject="")]
        assert world.series.write("r1", [], [], bands) == Written(baselines=6, baselines_changed=6)
        assert world.series.baselines("strain", 1, TEAM) == [band("blue"), band()]
        assert world.series.baselines("strain", 1, ORG) == [band(kind=ORG, subject="")]

    def test_the_same_bands_again_change_nothing_and_another_one_does(self, world: World) -> None:
        world.series.write("r1", [], [], [band(), band("blue")])
        assert world.series.write("r2", [], [], [band(), band("blue")]).baselines_changed == 0
        assert world.series.write("r3", [], [], [band(), band("blue", high=99.0)]).baselines_changed == 1

    @pytest.mark.parametrize(
        "wrong", [band(kind=PERSON), band(low=math.nan), band(high=math.inf), band(low=99.0), band("a\0b")]
    )
    def test_what_is_no_normal_band_of_a_group_is_refused(self, world: World, wrong: Baseline) -> None:
        with pytest.raises(PermanentError):
            world.series.write("r1", [column()], [], [wrong])
        assert world.values() == {}


class TestStepResults:
    def test_a_result_comes_back_as_it_was_put(self, world: World) -> None:
        world.results.put("r1", "run_causal_analysis", {"findings": 3, "share": 0.1}, b"\x00\xff payload", NOON)
        found = world.results.get("r1", "run_causal_analysis")
        assert found is not None
        assert (found.counts, found.payload, found.done_at) == (
            {"findings": 3, "share": 0.1},
            b"\x00\xff payload",
            NOON,
        )
        assert world.results.get("r1", "store_metrics") is world.results.get("r2", "run_causal_analysis") is None

    def test_a_step_that_runs_again_replaces_its_own_result_only(self, world: World) -> None:
        world.results.put("r1", "a", {}, b"first", NOON)
        world.results.put("r2", "a", {}, b"other", NOON)
        world.results.put("r1", "a", {"n": 2}, b"again", NOON + timedelta(minutes=1))
        results = [world.results.get(run, "a") for run in ("r1", "r2")]
        assert [r and r.payload for r in results] == [b"again", b"other"]

    def test_steps_come_in_the_order_of_their_time(self, world: World) -> None:
        for minutes, step in ((2, "b"), (1, "c"), (3, "a")):
            world.results.put("r1", step, {}, b"", NOON + timedelta(minutes=minutes))
        assert world.results.steps("r1") == ["c", "b", "a"]
        assert world.results.steps("unknown") == []

    def test_the_latest_run_is_the_one_with_the_newest_result(self, world: World) -> None:
        assert world.results.latest_run() is None
        for minutes, run in ((5, "a"), (9, "b"), (1, "c")):
            world.results.put(run, "step", {}, b"", NOON + timedelta(minutes=minutes))
        assert world.results.latest_run() == "b"

    def test_old_runs_are_forgotten_whole_or_not_at_all(self, world: World) -> None:
        for days, run, step in ((9, "old", "a"), (8, "old", "b"), (9, "late", "a"), (1, "late", "b")):
            world.results.put(run, step, {}, b"", NOON - timedelta(days=days))
        assert [world.results.forget(NOON - timedelta(days=5)) for _ in range(2)] == [2, 0]
        assert (world.results.steps("old"), world.results.steps("late")) == ([], ["a", "b"])


def test_a_server_that_is_away_is_a_transient_error() -> None:
    with open_pool("postgresql://nobody@127.0.0.1:1/none") as pool:
        pool.timeout = 0.1
        with pytest.raises(TransientError, match="is the server up"):
            TimescaleMetricsWriter(pool).write("r1", [column()])
        with pytest.raises(TransientError, match="is the server up"):
            StepResults(pool).latest_run()
