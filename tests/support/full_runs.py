"""The full flow on real servers: a small organisation that is taken in once, what runs leave behind, and runs that die.

As a program (`python -m tests.support.full_runs`) it is the command at a fixed time (`command ARGUMENTS`), the command with
a third step that fails (`failing transient|permanent TIMES`), or a run that stops at a point of its way, says so in a file
and waits to be killed (`stop POINT FOLDER`).
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import psycopg
from neo4j import GraphDatabase

from pipelines import command, settings, steps, synthetic, wiring
from pipelines.causal.engine import CausalEngine
from pipelines.causal.verdict import Thresholds
from pipelines.errors import PermanentError, TransientError
from pipelines.events import schema
from pipelines.evidence import Finding
from pipelines.interventions import audit_store
from pipelines.jobs import causal as analysis
from pipelines.jobs import full, study
from pipelines.jobs.full import FullRun, FullStores
from pipelines.jobs.turns import Plan
from pipelines.model import Interaction, Outcome, RosterChange
from pipelines.settings import Settings
from pipelines.timeseries import store as points_store
from pipelines.timeseries.step_results import StepResults
from pipelines.wiring import Endpoints
from tests.chaos.points import Watched
from tests.conftest import as_environment, opened
from tests.support import runs
from tests.support.fakes import Crash

T = TypeVar("T")

ROOT = Path(__file__).parent.parent.parent
#: A Monday; what the week before it was like can be told twelve hours later.
END = datetime(2026, 3, 2, tzinfo=UTC)
NOW = END + timedelta(hours=13)
RUN = "full-2026-03-02T13"
AUDIT_KEY = "a key for full runs"
LATER = timedelta(minutes=20)
STEPS = tuple(step.__name__ for step in full.STEPS)
#: What the engine asks of an organisation, lowered to what fifty people can give; the questions are the real ones.
SMALL = Thresholds(people=20, fewest_clusters=5)
#: When something was written; the same run at another time writes another one.
_TIMES = ["done_at", "computed_at", "counts"]
#: The account tells of runs, of failed ones too: it is not what a run makes.
_ACCOUNT = (
    "workflow_runs", "workflow_steps", "alert_incidents", "alert_deliveries", "alert_threads", "stream_marks",
    "run_requests", "alert_rules", "users", "credentials",
)  # fmt: skip
_NOT_DUMPED = ("schema_migrations", "interactions", *_ACCOUNT)
_OF_RUNS = (
    "points", "findings", "finding_runs", "baselines", "person_weeks", "computed_weeks", "step_results", "proposals",
    "proposal_decisions", "audit_log", "audit_head", "interventions_switch", "stale_weeks",
)  # fmt: skip
Dump = Mapping[str, Sequence[str]]


# ------------------------------------------------------------------------------------------------ the organisation


def options(people: int = 48, weeks: int = 14, seed: int = 1) -> synthetic.Options:
    return synthetic.Options(end=END, people=people, weeks=weeks, seed=seed, per_day=4, pressure=True)


@cache
def organisation(people: int = 48, weeks: int = 14, seed: int = 1) -> tuple[bytes, ...]:
    """The study's organisation with its surveys, and one team that works late in its last week; without heartbeats."""
    events = [e for e in study.events(options(people, weeks, seed)) if b"source.heartbeat" not in e]
    return (*events, *_late_work(events))


def _late_work(events: Sequence[bytes]) -> Iterator[bytes]:
    """Everybody of the largest team writes to the next one on Saturday."""
    roster = [event for payload in events if isinstance(event := schema.parse(payload)[0], schema.RosterChange)]
    last = {change.person: change.team for change in sorted(roster, key=lambda c: c.time_ms)}
    sizes = Counter(team for team in last.values() if team)
    team = max(sorted(sizes), key=lambda name: sizes[name])
    people = sorted(person for person, its in last.items() if its == team)
    for number, person in enumerate(people):
        mate = people[(number + 1) % len(people)]
        for n in range(12):
            at = END - timedelta(hours=36, minutes=n)
            data = {"actor": person, "targets": [mate], "tz_offset_min": 0}
            yield schema.encode("interaction.message", "/synthetic/late", f"{number}-{n}", at, data)


@dataclass
class Site:
    """Servers that hold an organisation. findings: what the real engine made of it, so that it is asked only once."""

    where: Endpoints
    config: Settings
    marks: Sequence[tuple[Any, ...]] = ()
    findings: Sequence[Finding] = ()

    @contextmanager
    def stores(self, where: Endpoints | None = None) -> Iterator[FullStores]:
        with wiring.full_stores(self.config, where or self.where) as stores:
            yield stores

    def plan(self, now: datetime = NOW, resume: str | None = None, **rest: Any) -> Plan:
        return wiring.plan(self.config, now, resume, **rest)

    def run(self, stage: Stage | None = None, *, resume: bool = False, now: datetime = NOW, **rest: Any) -> FullRun:
        """One run with these findings, or what the stage makes of it."""
        stage = stage or Stage()
        with self.stores() as stores, canned(self.findings):
            return stage.run(stores, self.plan(now, RUN if resume else None, **rest), resume=resume)

    def dump(self) -> dict[str, list[str]]:
        return {**_tables(self.where), **_graph(self.where)}

    def clear(self) -> None:
        """Forget what runs left; what was taken in stays."""
        with psycopg.connect(self.where.postgres) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")  # the audit log refuses it otherwise
            connection.execute(f"TRUNCATE {', '.join(_OF_RUNS)}")  # type: ignore[call-overload]
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO stale_weeks (week, marked_at) VALUES (%s, %s)", self.marks)
        with _driver(self.where) as driver:
            driver.execute_query("MATCH (s:MetricsState) DELETE s")
            people = driver.execute_query("MATCH (n:Employee) RETURN n").records
            ours = {name for r in people for name in r["n"] if name.startswith("m_")}
            nothing = dict.fromkeys([*ours, "metrics_version", "refreshed_at"])
            driver.execute_query("MATCH (n:Employee) SET n += $nothing", nothing=nothing)


def config(folder: Path, **rest: Any) -> Settings:
    """Settings of a site. Proposals may be approved: what is only shown would not be missed."""
    return settings.load(_env_file=None, state_dir=folder, audit_key=AUDIT_KEY, shadow=False, **rest)


def environment(site: Site, **changes: str) -> dict[str, str]:
    """What leads a command to this site, and to no Prefect server."""
    key = site.config.audit_key
    own = {"ORGANISM_STATE_DIR": str(site.config.state_dir), "ORGANISM_SHADOW": "false", "PYTHONPATH": str(ROOT)}
    own |= {"ORGANISM_AUDIT_KEY": key.get_secret_value() if key else "", "OMP_NUM_THREADS": "1"}
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return mine | as_environment(site.where) | own | changes


@contextmanager
def site(where: Endpoints, folder: Path, payloads: Sequence[bytes], now: datetime = NOW) -> Iterator[Site]:
    """The servers, with these events taken in by the incremental job and nothing else on them."""
    with opened(where) as stores:
        stores.stream.append(payloads)
        report = runs.run(stores, now=now, horizon=None, batch_size=5_000)
        assert report.drained
    with psycopg.connect(where.postgres) as connection:
        marks = connection.execute("SELECT week, marked_at FROM stale_weeks").fetchall()
    yield Site(where, config(folder), marks)


def analysed() -> list[Finding]:
    """What the real engine finds in the organisation, without any server."""
    events = [schema.parse(payload)[0] for payload in organisation()]
    rows = study.weeks(_of(Interaction, events), _of(RosterChange, events), options())
    answers = [
        (o.person, datetime.fromtimestamp(o.time_ms / 1000, UTC), o.measure, o.value) for o in _of(Outcome, events)
    ]
    with canned(()):
        return list(analysis.run_causal_analysis(rows, answers))


def _of(kind: type[T], events: Sequence[object]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


# ------------------------------------------------------------------------------------------------ what runs leave


def _tables(where: Endpoints) -> dict[str, list[str]]:
    """Every row of every table but the archive's, without the times at which it was written."""
    with psycopg.connect(where.postgres) as connection:
        connection.execute("SET TimeZone = UTC")
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> ALL (%s) ORDER BY 1",
            [list(_NOT_DUMPED)],
        ).fetchall()
        every = "SELECT (to_jsonb(t) - %s::text[])::text FROM {} t ORDER BY 1"
        return {
            name: [row for (row,) in connection.execute(every.format(name), [_TIMES]).fetchall()]  # type: ignore[call-overload]
            for (name,) in found
        }


def _graph(where: Endpoints) -> dict[str, list[str]]:
    """People with all that stands on them, ties, and the marker; without the times at which it was written."""
    with _driver(where) as driver:
        people = driver.execute_query("MATCH (n:Employee) RETURN n").records
        marker = driver.execute_query("MATCH (s:MetricsState) RETURN s").records
        ties = driver.execute_query("MATCH (a:Employee)-[r:INTERACTS]->(b:Employee) RETURN a.id, b.id, r").records
    return {
        "graph people": sorted(_properties(r["n"], "refreshed_at") for r in people),
        "graph marker": sorted(_properties(r["s"], "at") for r in marker),
        "graph ties": sorted(f"{r[0]} {r[1]} {_properties(r[2])}" for r in ties),
    }


def _properties(thing: Mapping[str, Any], *but: str) -> str:
    return repr(sorted((name, value) for name, value in thing.items() if name not in but))


@contextmanager
def _driver(where: Endpoints) -> Iterator[Any]:
    auth = (where.graph_user, where.graph_password) if where.graph_user else None
    with GraphDatabase.driver(where.graph, auth=auth) as driver:
        yield driver


def differing(one: Dump, other: Dump) -> list[str]:
    """Names of what is not the same, with how many rows are where; no row, for rows name people."""
    return [
        f"{name}: {len(one.get(name, ()))} and {len(other.get(name, ()))} rows,"
        f" {len(set(one.get(name, ())) ^ set(other.get(name, ())))} of them on one side only"
        for name in sorted(one.keys() | other.keys())
        if list(one.get(name, ())) != list(other.get(name, ()))
    ]


def halves(found: Dump, before: Dump, done: Dump) -> list[str]:
    """What is neither as it was before nor as it is when all is done. A week of people, and a step, is whole by itself.

    The marker in the graph may be taken back: it then says that no value is to be relied on.
    """
    parts = ("person_weeks", "computed_weeks", "stale_weeks", "step_results")
    torn = [name for name in found if name not in parts and found[name] not in (before[name], done[name])]
    torn = [name for name in torn if name != "graph marker" or not all("('views', [])" in row for row in found[name])]
    torn += [f"step {row}" for row in found["step_results"] if row not in done["step_results"]]
    weeks, *known = (_by_week(its["person_weeks"]) for its in (found, before, done))
    return torn + [f"week {week}" for week, rows in weeks.items() if rows not in [its.get(week) for its in known]]


def _by_week(rows: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row[row.index('"week"') :][:20], []).append(row)
    return found


# ------------------------------------------------------------------------------------------------ runs that die


def crash() -> None:
    """The process is gone; for a test that goes on in the same one."""
    raise Crash


@dataclass
class Stage:
    """Where a run takes place, and where something happens to it.

    at: a point, such as `store_metrics: results.put before`, or its place in the order in which they are passed. what
    happens there, once. passed: points so far. begun: attempts of each step.
    """

    at: str | int | None = None
    what: Callable[[], None] = crash
    runner: steps.Step = runs.at_once
    passed: list[str] = field(default_factory=list)
    begun: Counter[str] = field(default_factory=Counter)
    now: str = ""
    happened: bool = False

    def run(self, stores: FullStores, plan: Plan, *, resume: bool = False) -> FullRun:
        with self._inside():
            return full.run(self.watched(stores), plan, self.step, lambda: plan.now, lambda: None, resume=resume)

    def step(self, function: Callable[..., T], *args: Any) -> T:
        name = function.__name__

        def counted(*its: Any) -> T:
            self.begun[name] += 1
            return function(*its)

        counted.__name__ = self.now = name
        return self.around("step", lambda: self.runner(counted, *args))

    def watched(self, stores: FullStores) -> FullStores:
        """The same stores, each call of which is two points."""
        its = {f.name: getattr(stores, f.name) for f in fields(stores) if f.name not in ("alone", "cores")}
        return replace(stores, **{name: Watched(store, name, self) for name, store in its.items()})  # type: ignore[arg-type]

    def around(self, name: str, call: Callable[[], T]) -> T:
        self.reach(f"{name} before")
        result = call()
        self.reach(f"{name} after")
        return result

    def reach(self, point: str) -> None:
        place, point = len(self.passed), f"{self.now}: {point}"
        self.passed.append(point)
        if not self.happened and self.at in (place, point):
            self.happened = True
            self.what()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Points in the middle of what must be whole: points are written and bands are not, a proposal and not the next."""
        with ExitStack() as stack:
            for module, name in ((points_store, "_store_baselines"), (audit_store, "append"), (analysis, "panel_of")):
                stack.enter_context(mock.patch.object(module, name, self._pointed(getattr(module, name))))
            yield

    def _pointed(self, function: Callable[..., T]) -> Callable[..., T]:
        return lambda *args, **rest: self.around(f"inside {function.__name__}", lambda: function(*args, **rest))


@contextmanager
def canned(findings: Sequence[Finding]) -> Iterator[None]:
    """The analysis answers with these, after it has made its panel; without any, with what a small engine finds."""

    class Canned(CausalEngine):
        def analyse(self, *_args: Any, **_rest: Any) -> tuple[Finding, ...]:
            return tuple(findings)

    with mock.patch.object(analysis, "CausalEngine", Canned if findings else lambda *_, **__: CausalEngine(SMALL)):
        yield


# ------------------------------------------------------------------------------------------------ as a program


def main(what: str, *arguments: str) -> int:
    if what == "stop":
        return _stop(arguments[0], Path(arguments[1]))
    return _failing(arguments[0], int(arguments[1])) if what == "failing" else _command(list(arguments))


def _stop(point: str, folder: Path) -> int:
    """A run on the stores of the environment that leaves the file `there` at a point, and stays."""
    known = settings.load()
    findings = analysis.unpack((folder / "findings").read_bytes())
    stage = Stage(point, lambda: _stay(folder / "there"))
    with wiring.endpoints(known) as where, wiring.full_stores(known, where) as stores, canned(findings):
        stage.run(stores, wiring.plan(known, NOW))
    raise AssertionError(f"the run ended and never came to {point}")


def _stay(marker: Path) -> None:
    marker.touch()
    time.sleep(600)  # until we are killed


def _command(arguments: list[str]) -> int:
    """`python -m pipelines.full` as of NOW; the analysis answers with what is in the file that FINDINGS names."""
    from pipelines import full as flow

    findings = analysis.unpack(Path(os.environ["FINDINGS"]).read_bytes())
    with mock.patch.object(flow, "utc_now", return_value=NOW), canned(findings):
        return command.run(partial(flow.main, arguments))


def _failing(kind: str, times: int) -> int:
    """`python -m pipelines.full` whose third step fails at its last act, so many times; it is tried again at once."""
    from pipelines import full as flow

    put, left = StepResults.put, [times]

    def failing(its: StepResults, run: str, step: str, *rest: Any) -> None:
        if step == STEPS[2] and left[0]:
            left[0] -= 1
            raise {"transient": TransientError, "permanent": PermanentError}[kind]("on purpose")
        put(its, run, step, *rest)

    quick = {name: replace(policy, base_s=0.01, jitter=0.0) for name, policy in steps.RETRIES.items()}
    with mock.patch.object(StepResults, "put", failing), mock.patch.object(steps, "RETRIES", quick):
        return command.run(partial(flow.main, []))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
