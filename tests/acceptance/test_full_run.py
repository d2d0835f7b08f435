"""The full flow on real servers: run again, killed at every step, without a store, beside another, and with nothing to do."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from neo4j import GraphDatabase

from pipelines import settings, steps, wiring
from pipelines.errors import OrganismError, Refused, TransientError
from pipelines.events.stream import Names
from pipelines.evidence import Finding, State, Status
from pipelines.jobs import causal as analysis
from pipelines.jobs import reconcile, telling
from pipelines.jobs.full import FullRun
from pipelines.jobs.ingest import Stores
from pipelines.postgres import Pool, open_pool
from pipelines.privacy.traces import check_text
from pipelines.report import story_html, story_terminal
from tests.conftest import KINDS, where
from tests.support import full_runs, make, runs
from tests.support.fakes import Crash
from tests.support.full_runs import LATER, NOW, RUN, STEPS, Site, Stage, differing, halves
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import wait_until

ROOT = Path(__file__).parent.parent.parent
REFRESH, ANALYSE, STORE, PROPOSE = STEPS
QUESTION = "after_hours.survey.exhaustion"


@dataclass(frozen=True)
class Known:
    """A site as it was before any run, and as an undisturbed run leaves it."""

    site: Site
    before: dict[str, list[str]]
    done: dict[str, list[str]]
    run: FullRun


@pytest.fixture(scope="module")
def believed() -> list[Finding]:
    """What the real engine finds; one of it is believed. Whether the engine does is tested elsewhere, and may change."""
    found = full_runs.analysed()
    return [replace(f, status=Status.CREDIBLE, reasons=()) if f.question == QUESTION else f for f in found]


@pytest.fixture(scope="module", params=KINDS)
def known(
    request: pytest.FixtureRequest, believed: list[Finding], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Known]:
    place = tmp_path_factory.mktemp("full")
    with full_runs.site(where(request, request.param), place, full_runs.organisation()) as site:
        before = site.dump()
        site = replace(site, findings=believed)
        run = site.run()
        yield Known(site, before, site.dump(), run)


@pytest.fixture
def site(known: Known) -> Site:
    """As before any run."""
    known.site.clear()
    return known.site


embedded_only = pytest.mark.parametrize("known", ["embedded"], indirect=True)


# ------------------------------------------------------------------------------------------------ the same again


def test_a_run_leaves_numbers_findings_and_a_proposal_that_people_can_decide_on(known: Known) -> None:
    """Without this, tests that compare two dumps could compare nothing."""
    done = known.done
    assert [step.name for step in known.run.steps] == list(STEPS)
    assert all(done[name] for name in ("points", "findings", "baselines", "person_weeks", "audit_log"))
    assert any('"pending_approval"' in row for row in done["proposals"])
    assert sum("m_betweenness" in person for person in done["graph people"]) >= 48
    assert differing(known.before, done)


def test_everything_is_forgotten_between_tests(known: Known, site: Site) -> None:
    assert differing(known.before, site.dump()) == []


def test_the_same_window_again_changes_nothing(known: Known, site: Site) -> None:
    """And from nothing once more it comes to the same."""
    site.run()
    assert differing(known.done, site.dump()) == []
    again = site.run(now=NOW + LATER)
    assert differing(known.done, site.dump()) == []
    counts = again.steps[2].counts
    assert [counts[name] for name in counts if name.endswith("_changed")] == [0, 0, 0]
    assert counts["points"] > 1_000


@embedded_only
def test_with_the_real_engine_it_changes_nothing_either(site: Site) -> None:
    real = replace(site, findings=())
    done = real.run()
    first = site.dump()
    real.run(now=NOW + LATER)
    assert differing(first, site.dump()) == []
    with site.stores() as stores:
        assert len(stores.points.findings(RUN)) == done.steps[1].counts["findings"] > 10


def test_a_comparison_sees_a_single_value_that_changed(known: Known, site: Site) -> None:
    """The control of the one above."""
    site.run()
    with site.stores() as stores:
        stores.metrics.put([(next(iter(stores.graph.people()))[0], {"m_betweenness": -1.0})], 1, 0)
    assert [words.partition(":")[0] for words in differing(known.done, site.dump())] == ["graph people"]


# ------------------------------------------------------------------------------------------------ a crash at every step

LAST_ACT, LEFT = "results.put", "step"
OF_THE_GRAPH = [
    f"{LAST_ACT} before",
    f"{LEFT} after",
    f"{LAST_ACT} after",  # the views are kept, and the marker is not set yet
    "metrics.put after",
]


@pytest.mark.parametrize("point", OF_THE_GRAPH)
def test_after_a_crash_in_the_first_step_a_resumed_run_ends_as_an_undisturbed_one(
    point: str, known: Known, site: Site
) -> None:
    left = dies_and_is_resumed(site, REFRESH, point, is_done=point in (f"{LEFT} after", f"{LAST_ACT} after"))
    unmarked = ["graph marker"] if point == f"{LAST_ACT} after" else []  # the next run computes all again
    assert [words.partition(":")[0] for words in differing(known.done, left)] == unmarked


@embedded_only
@pytest.mark.parametrize("point", [f"{LAST_ACT} before", f"{LEFT} after"])
@pytest.mark.parametrize("step", STEPS[1:])
def test_after_a_crash_a_resumed_run_ends_as_an_undisturbed_one(
    step: str, point: str, known: Known, site: Site
) -> None:
    left = dies_and_is_resumed(site, step, point, is_done=point == f"{LEFT} after")
    assert differing(known.done, left) == []


def dies_and_is_resumed(site: Site, step: str, point: str, *, is_done: bool) -> dict[str, list[str]]:
    """What is left in the end. No step that was done is run again."""
    with pytest.raises(Crash):
        site.run(Stage(f"{step}: {point}"))
    done, second = set(STEPS[: STEPS.index(step) + is_done]), Stage()
    told = site.run(second, resume=True)
    assert {its.name for its in told.steps if its.skipped} == done
    assert second.begun == {name: 1 for name in STEPS if name not in done}
    return site.dump()


KILLS = [
    (REFRESH, "metrics.put after"),
    (ANALYSE, "inside panel_of after"),
    (STORE, "inside _store_baselines before"),
    (PROPOSE, "inside append after"),
]


@embedded_only
@pytest.mark.parametrize(("step", "point"), KILLS, ids=STEPS)
def test_after_kill_9_in_the_middle_of_a_step_a_resumed_run_ends_as_an_undisturbed_one(
    step: str, point: str, known: Known, site: Site, tmp_path: Path
) -> None:
    with killed(site, f"{step}: {point}", tmp_path):
        pass
    second = Stage()
    site.run(second, resume=True)
    assert list(second.begun) == list(STEPS[STEPS.index(step) :])
    assert differing(known.done, site.dump()) == []


@contextmanager
def killed(site: Site, point: str, folder: Path) -> Iterator[None]:
    """Another process whose run is at this point for as long as the context lasts, and then is gone."""
    (folder / "findings").write_bytes(analysis.pack(site.findings))
    command = [sys.executable, "-m", "tests.support.full_runs", "stop", point, str(folder)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=full_runs.environment(site), stdout=log, stderr=log)
    try:
        wait_until(lambda: (folder / "there").exists() or process.poll() is not None, 60, "the run to get there")
        assert process.poll() is None, (folder / "log").read_text()
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def command(site: Site, *arguments: str, code: int, **changes: str) -> str:
    """`python -m pipelines.full` as a person runs it; what it says on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.full", "--direct", *arguments],
        env=full_runs.environment(site, **changes), cwd=site.config.state_dir, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


@embedded_only
def test_what_cannot_be_resumed_is_said_so(site: Site) -> None:
    assert "a name looks like full-2026-03-02T06" in command(site, "--resume", "last one", code=2)
    assert "left nothing behind; start it without --resume" in command(site, "--resume", RUN, code=2)


@embedded_only
def test_a_step_that_an_earlier_turn_of_the_window_did_is_done_again(known: Known, site: Site) -> None:
    """A run, then the same hour again with other people in the graph, which dies after its first step."""
    site.run()
    with pytest.raises(Crash):
        site.run(Stage(f"{REFRESH}: step after"), now=NOW + LATER)
    told = site.run(resume=True, now=NOW + 2 * LATER)
    assert [its.skipped for its in told.steps] == [True, False, False, False]


@embedded_only
def test_what_a_run_computed_and_never_stored_the_next_one_computes_again(known: Known, site: Site) -> None:
    with pytest.raises(Crash):
        site.run(Stage(f"{REFRESH}: step after"))
    later = NOW + timedelta(hours=6)
    assert site.run(now=later).steps[0].counts["unchanged"] == 0
    assert site.run(now=later + timedelta(hours=6)).steps[0].counts["unchanged"] > 0  # what was stored is trusted


# ------------------------------------------------------------------------------------------------ without a store


@dataclass
class Line:
    """The way to a store, which can be cut."""

    url: str
    is_cut: bool = False
    port: int = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self._proxy = TcpProxy(parts.hostname or "127.0.0.1", parts.port or 0)
        self.port = self._proxy.port

    @property
    def through(self) -> str:
        parts = urlsplit(self.url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    def cut(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            self._proxy.close()


@pytest.fixture
def lines(site: Site) -> Iterator[dict[str, Line]]:
    lines = {name: Line(getattr(site.where, name)) for name in ("graph", "postgres", "redis")}
    yield lines
    for line in lines.values():
        line.cut()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of pool, driver and retry table, made short: how long they are is not what is tested."""

    def short_pool(url: str, size: int = 4) -> Pool:
        pool = open_pool(url, size)
        pool.timeout = 0.2
        return pool

    opened = GraphDatabase.driver

    def short_driver(url: str, **rest: Any) -> Any:
        return opened(url, **{**rest, "max_transaction_retry_time": 0.2})

    quick = {name: replace(policy, base_s=0.01, jitter=0.0) for name, policy in steps.RETRIES.items()}
    monkeypatch.setattr(steps, "RETRIES", quick)
    monkeypatch.setattr(wiring, "open_pool", short_pool)
    monkeypatch.setattr(GraphDatabase, "driver", short_driver)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("step", "point"), [(REFRESH, "metrics.put before"), (PROPOSE, "graph.people before")], ids=[REFRESH, PROPOSE]
)
def test_a_graph_that_is_away_is_tried_again_and_named_and_nothing_is_half_written(
    step: str, point: str, known: Known, site: Site, lines: dict[str, Line]
) -> None:
    loses(known, lines, "graph", step, point)


AWAY = [
    ("redis", REFRESH, "metrics.put before"),  # it says whose turn it is to write the graph
    ("postgres", REFRESH, "weeks.rows before"),
    ("postgres", ANALYSE, "results.put before"),
    ("postgres", STORE, "inside _store_baselines before"),
    ("postgres", PROPOSE, "inside append after"),
]


@embedded_only
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("store", "step", "point"), AWAY, ids=[f"{store} {step}" for store, step, _ in AWAY])
def test_a_store_that_is_away_is_tried_again_and_named_and_nothing_is_half_written(
    store: str, step: str, point: str, known: Known, site: Site, lines: dict[str, Line]
) -> None:
    loses(known, lines, store, step, point)


def loses(known: Known, lines: dict[str, Line], store: str, step: str, point: str) -> None:
    """A run without that store from a point on; and when it is back, what it comes to."""
    site = known.site
    error, stage = cut_off(site, lines, store, f"{step}: {point}")
    assert isinstance(error, TransientError)
    assert f"{store} 127.0.0.1:{lines[store].port}" in str(error)
    assert f"check ORGANISM_{store.upper()}_URL" in str(error)
    assert check_text("".join(traceback.format_exception(error)), secrets(site)) == []
    assert stage.begun[step] == steps.RETRIES[step].attempts == 4
    left = site.dump()
    assert halves(left, known.before, known.done) == []
    assert left["proposals"] == []
    site.run(resume=True)
    assert differing(known.done, site.dump()) == []


def secrets(site: Site) -> list[str]:
    passwords = [urlsplit(url).password for url in (site.where.redis, site.where.postgres)]
    return [site.where.graph_password, full_runs.AUDIT_KEY, *filter(None, passwords)]


def cut_off(site: Site, lines: dict[str, Line], store: str, point: str) -> tuple[OrganismError, Stage]:
    """A run that loses a store at a point; how it ended."""
    detour = replace(site.where, **{name: line.through for name, line in lines.items()})
    stage = Stage(point, lines[store].cut, steps.direct)
    with site.stores(detour) as stores, full_runs.canned(site.findings), pytest.raises(OrganismError) as caught:
        stage.run(stores, site.plan())
    assert stage.happened, "the run never came to the point"
    return caught.value, stage


class OneByOne:
    """The naive way: every series in a transaction of its own. It dies at the thirtieth."""

    def __init__(self, points: Any) -> None:
        self._points = points

    def write(self, run: str, series: Any, findings: Any, baselines: Any) -> None:
        for number, column in enumerate(series):
            if number == 30:
                raise Crash
            self._points.write(run, [column])


@embedded_only
def test_points_that_are_not_one_transaction_are_found_half_written(known: Known, site: Site) -> None:
    """The control of the one above."""
    with site.stores() as stores, full_runs.canned(site.findings), pytest.raises(Crash):
        Stage().run(replace(stores, points=OneByOne(stores.points)), site.plan())
    assert halves(site.dump(), known.before, known.done) == ["points"]


@embedded_only
def test_a_store_that_was_never_there_is_named_by_the_command(site: Site) -> None:
    for name, url in (("GRAPH", "bolt://127.0.0.1:9"), ("POSTGRES", "postgresql://x:hush@127.0.0.1:9/x")):
        told = command(site, code=1, **{f"ORGANISM_{name}_URL": url})
        assert "127.0.0.1:9" in told
        assert f"check ORGANISM_{name}_URL" in told
        assert "hush" not in told


# ------------------------------------------------------------------------------------------------ beside others


@embedded_only
def test_of_two_runs_at_once_the_second_is_refused_and_the_place_of_a_dead_one_is_free(
    known: Known, site: Site, tmp_path: Path
) -> None:
    with killed(site, f"{STORE}: step before", tmp_path):
        assert "RUN_BUSY" in command(site, code=3)
        with pytest.raises(Refused, match="RUN_BUSY"):
            site.run()
    wait_until(lambda: is_free(site), 5, "the server to notice that the other one is gone")
    site.run(resume=True)
    assert differing(known.done, site.dump()) == []


def is_free(site: Site) -> bool:
    with site.stores() as stores, stores.alone() as ours:
        return ours


EVENTS = 250


@dataclass
class Ingest:
    """Events that come in and are taken over, run after run, until it is told that it is over."""

    site: Site
    over: threading.Event = field(default_factory=threading.Event)
    applied: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        self._thread.join(120)

    def _run(self) -> None:
        with wiring.stores(settings.load(_env_file=None), self.site.where, Names(consumer="beside")) as stores:
            while not self.over.wait(0.2):
                self._take_in(stores, self._batch(len(self.applied)))
            self._take_in(stores, [])

    def _batch(self, number: int) -> list[bytes]:
        people = [(n % 40, (n * 7 + number) % 40) for n in range(EVENTS)]
        ends = [(make.person(a), make.person(b)) for a, b in people if a != b]
        return [make.event(f"{number}-{n}", a, [b]) for n, (a, b) in enumerate(ends)]

    def _take_in(self, stores: Stores, payloads: list[bytes]) -> None:
        """What finds the graph taken for a moment stays for the next one, as every five minutes in earnest."""
        stores.stream.append(payloads)
        with suppress(Refused):
            self.applied.append(runs.run(stores, now=NOW, horizon=None, batch_size=50).funnel.applied)


def test_an_ingest_at_the_same_time_and_a_full_run_both_end_well(site: Site) -> None:
    """The last one on its site: it adds to what was taken in."""
    beside = Ingest(site)
    try:
        wait_until(lambda: beside.applied, 30, "the first batch")
        told = [site.run(now=NOW + timedelta(hours=hour)) for hour in range(2)]
    finally:
        beside.end()
    assert [len(run.steps) for run in told] == [4, 4]
    assert len(beside.applied) > 3
    with wiring.stores(settings.load(_env_file=None), site.where, Names()) as stores:
        assert stores.stream.state().unread == 0
        assert reconcile.verify(stores).differences == ()
    assert site.run(now=NOW + timedelta(hours=3)).steps[0].counts["people"] >= 80


# ------------------------------------------------------------------------------------------------ nothing to do


def acts(people: int, weeks: int = 9) -> list[bytes]:
    """Two messages a working day from everybody to the next."""
    return [
        make.event(
            f"{day}-{n}-{hour}", make.person(n), [make.person((n + 1) % people)], time=at + timedelta(hours=hour)
        )
        for day in range(7 * weeks)
        if (at := full_runs.END - timedelta(days=day + 1)).weekday() < 5
        for n in range(people)
        for hour in (9, 15)
    ]


def roster(teams: Sequence[str | None]) -> list[bytes]:
    since = full_runs.END - timedelta(weeks=20)
    return [
        make.other("roster.joined", f"r{n}", time=since, person=make.person(n), tz="UTC", **({"team": t} if t else {}))
        for n, t in enumerate(teams)
    ]


NO_WEEK = "There is no whole week of interactions yet"
NO_TEAM = "Nobody is in a team"
NO_LARGE_TEAM = "No team has 5 people"
NO_ANSWERS = "No answers of people"
BARE: dict[str, tuple[Callable[[], list[bytes]], set[str]]] = {
    "nothing at all": (list, {NO_WEEK, NO_TEAM, NO_ANSWERS}),
    "one-person teams": (lambda: roster([f"team {n}" for n in range(12)]) + acts(12), {NO_LARGE_TEAM, NO_ANSWERS}),
    "a roster without teams": (lambda: roster([None] * 12) + acts(12), {NO_TEAM, NO_ANSWERS}),
    "no roster": (lambda: acts(12), {NO_TEAM, NO_ANSWERS}),
    "no surveys": (lambda: roster(["red"] * 6 + ["blue"] * 6) + acts(12), {NO_ANSWERS}),
    "a roster and no interactions": (lambda: roster(["red"] * 6), {NO_WEEK, NO_ANSWERS}),
}


@pytest.mark.parametrize("bare", BARE)
def test_with_little_or_nothing_a_run_ends_well_and_says_what_is_missing(
    bare: str, embedded: wiring.Endpoints, tmp_path: Path
) -> None:
    payloads, missing = BARE[bare]
    with full_runs.site(embedded, tmp_path, payloads()) as site:
        done = site.run()
        left = site.dump()
        assert differing(left, {**left, **dump_again(site)}) == []
        with site.stores() as stores:
            story = telling.tell_run(stores, done, site.config.min_group_size)
            assert stores.proposals.list([State.PENDING_APPROVAL]) == []
    assert {
        words for words in (NO_WEEK, NO_TEAM, NO_LARGE_TEAM, NO_ANSWERS) if any(words in n.words for n in story.notes)
    } == missing
    assert all(cell.value is None for row in story.rows if row.subject.startswith("team ") for cell in row.cells)
    assert len(story_terminal.lines(story)) <= story_terminal.HEIGHT
    assert "<svg" in story_html.render(story, NOW) or bare == "nothing at all"


def dump_again(site: Site) -> dict[str, list[str]]:
    site.run(now=NOW + LATER)
    return site.dump()
