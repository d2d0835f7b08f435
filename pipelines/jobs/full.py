"""The full analysis in four steps, strictly in order: refresh, analyse, store, propose.

What a step hands to the next lies in PostgreSQL (`StepResults`), written in one piece as its last act: a run that stopped is
taken up after the last step that did. Every step may be run twice; the second time changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from pipelines.errors import PermanentError, Refused, TransientError
from pipelines.evidence import Finding, Ints, Series, SubjectKind
from pipelines.jobs import causal as analysis
from pipelines.jobs.evaluate import Evaluated, Proposals
from pipelines.jobs.evaluate import evaluate_interventions as evaluate
from pipelines.jobs.full_ports import Points, StepResult, StepResults
from pipelines.jobs.refresh import GraphMetrics, Refreshed, refresh_views, without
from pipelines.jobs.turns import TURN, Plan, begun, taken_up
from pipelines.jobs.turns import done as already_done
from pipelines.jobs.weeks import WeekCounts, Weeks, refresh_weeks
from pipelines.metrics import columns
from pipelines.metrics.weeks import normal_bands, team_weeks
from pipelines.person_weeks import WeekRows
from pipelines.ports import Archive, Graph
from pipelines.steps import Step

_WEEK = timedelta(weeks=1)
#: Weeks of team means that are written as points with every run: what the normal bands are made of, and some more.
SHOWN = 26 * _WEEK
#: Step results of finished runs are kept for this long, for `--resume` and for who asks what a run saw.
_KEEP_RESULTS = timedelta(days=14)

Watch = Callable[[str, float], None]


def unwatched(_what: str, _share: float) -> None:
    """Nobody looks on."""


@dataclass(frozen=True)
class FullStores:
    """What the full analysis works on. `alone`: held while a run lasts; False when another run has it."""

    graph: Graph
    metrics: GraphMetrics
    archive: Archive
    weeks: Weeks
    points: Points
    results: StepResults
    proposals: Proposals
    alone: Callable[[], AbstractContextManager[bool]]
    cores: analysis.Cores = analysis.in_memory


# ------------------------------------------------------------------------------------------------ the steps


@dataclass(frozen=True)
class Refresh:
    """Counts of the first step. people, ties: of the graph. views: computed now; unchanged: they were current."""

    people: int = 0
    ties: int = 0
    views: int = 0
    unchanged: int = 0
    weeks: int = 0
    week_rows: int = 0
    interactions: int = 0


def refresh_materialized_views(stores: FullStores, plan: Plan, watch: Watch = unwatched) -> Refresh:
    """Bring the views of the graph and the weeks of people up to date."""
    stores.metrics.prepare()
    if plan.distrust:  # else nobody would ever store what the last run computed and lost
        stores.metrics.note(plan.run, 0, {}, {}, "", plan.now_ms)
    weekly = refresh_weeks(stores.weeks, stores.archive, plan.now, watch=lambda done, of: watch("weeks", done / of))

    excluded = stores.archive.excluded()

    def keep(graph: Refreshed, series: list[Series]) -> None:
        _put(stores, plan, refresh_materialized_views, _refresh(graph, weekly), columns.pack(series))
        if stores.archive.excluded() != excluded:  # asked after it is written: whoever comes later removes it again
            raise TransientError("somebody was excluded or erased while views were computed; they are computed again")

    graph, _ = refresh_views(
        stores.graph,
        stores.metrics,
        plan.window_ms,
        run=plan.run,
        now_ms=plan.now_ms,
        acts=lambda: _times(stores.weeks, plan),
        excluded=excluded,
        keep=keep,
        watch=watch,
    )
    return _refresh(graph, weekly)


def _refresh(graph: Refreshed, weekly: WeekCounts) -> Refresh:
    written = weekly.new + weekly.again
    return Refresh(graph.people, graph.ties, graph.computed, graph.unchanged, written, weekly.rows, weekly.interactions)


def _times(weeks: Weeks, plan: Plan) -> Iterator[tuple[Sequence[str], np.ndarray[Any, Any], Ints]]:
    return ((acts.people, acts.actor, acts.time_ms) for acts in weeks.acts(plan.start, plan.end))


@dataclass(frozen=True)
class Analysed:
    """Counts of the second step. credible: findings that may lead to a proposal."""

    person_weeks: int = 0
    findings: int = 0
    credible: int = 0


def run_causal_analysis(stores: FullStores, plan: Plan, watch: Watch = unwatched) -> Analysed:
    """Ask the catalogue's questions of the last weeks of people."""
    rows = stores.weeks.rows((plan.end - plan.history).date(), plan.end.date())
    findings = analysis.run_causal_analysis(
        rows,
        stores.archive.outcomes(plan.end - plan.history),
        k=plan.k,
        cores=stores.cores,
        progress=lambda done, of, what: watch(what, done / of),
    )
    credible = sum(f.status.value == "credible" for f in findings)
    counts = Analysed(sum(map(len, rows)), len(findings), credible)
    _put(stores, plan, run_causal_analysis, counts, analysis.pack(findings))
    return counts


@dataclass(frozen=True)
class Stored:
    """Counts of the third step; changed: rows that were not there before with the same values."""

    points: int = 0
    points_changed: int = 0
    findings: int = 0
    findings_changed: int = 0
    baselines: int = 0
    baselines_changed: int = 0


def store_metrics(stores: FullStores, plan: Plan) -> Stored:
    """Write points, findings and normal bands, all of them or nothing."""
    rows = _recent(stores, plan)
    views = columns.unpack(_left_by(stores, plan, refresh_materialized_views).payload)
    series = (about_enough(s, plan.k) for part in ([views], map(team_weeks, rows)) for some in part for s in some)
    bands = [b for b in normal_bands(rows, _week_of_bands(rows, plan)) if b.people >= plan.k]
    written = asdict(stores.points.write(plan.run, series, _findings(stores, plan), bands))
    counts = Stored(**{name: written[name] for name in Stored.__dataclass_fields__})
    _put(stores, plan, store_metrics, counts, b"")
    return counts


def about_enough(series: Series, k: int) -> Series:
    """The series of groups without the values that fewer than k people stand behind: a team of one is a person."""
    if series.kind is SubjectKind.PERSON:
        return series
    return replace(series, values=np.where(series.sizes >= k, series.values, np.nan))


def evaluate_interventions(stores: FullStores, plan: Plan) -> Evaluated:
    """Turn this run's findings into proposals for people to decide on; none if the plan says so."""
    if not plan.propose:
        return Evaluated()
    rows = _recent(stores, plan)
    counts = evaluate(
        stores.proposals,
        _findings(stores, plan),
        (s for week in rows for s in team_weeks(week)),
        team_sizes(stores),
        run=plan.run,
        window_end=plan.end,
        now=plan.now,
        requested_by=plan.requested_by,
    )
    if not counts.halted:  # a run that was halted can be taken up when interventions go on
        _put(stores, plan, evaluate_interventions, counts, b"")
    return counts


STEPS = (refresh_materialized_views, run_causal_analysis, store_metrics, evaluate_interventions)
NAMES = tuple(step.__name__ for step in STEPS)


def team_sizes(stores: FullStores) -> dict[str, int]:
    """People by their current team; "" is everybody. Nobody who is excluded."""
    people, _ = without(stores.graph, stores.archive.excluded())
    teams = Counter(team for _, team in people)
    return {"": teams.total(), **{team: count for team, count in teams.items() if team is not None}}


def _recent(stores: FullStores, plan: Plan) -> list[WeekRows]:
    return stores.weeks.rows((plan.end - SHOWN).date(), plan.end.date())


def _week_of_bands(rows: Sequence[WeekRows], plan: Plan) -> date:
    """The newest week: its bands are what was normal before it."""
    return rows[-1].week if rows else plan.end.date() - timedelta(days=plan.end.weekday())


def _findings(stores: FullStores, plan: Plan) -> list[Finding]:
    return analysis.unpack(_left_by(stores, plan, run_causal_analysis).payload)


class _Gone(PermanentError):
    """What an earlier step left is there no more: somebody was excluded or erased meanwhile."""


def _left_by(stores: FullStores, plan: Plan, step: Callable[..., Any]) -> StepResult:
    result = stores.results.get(plan.run, step.__name__)
    if result is None:
        raise _Gone(f"{plan.run}: what {step.__name__} left was removed, because somebody was excluded; start it again")
    return result


def _put(stores: FullStores, plan: Plan, step: Callable[..., Any], counts: Any, payload: bytes) -> None:
    stores.results.put(plan.run, step.__name__, {**asdict(counts), TURN: plan.turn}, payload, plan.now)


# ------------------------------------------------------------------------------------------------ the run


@dataclass(frozen=True)
class StepDone:
    """One step as it went. peak_bytes: the most memory that the process had used when it ended."""

    name: str
    started: datetime
    seconds: float
    peak_bytes: int | None
    counts: Mapping[str, Any]
    skipped: bool = False


@dataclass(frozen=True)
class FullRun:
    """A run that ended well."""

    plan: Plan
    steps: tuple[StepDone, ...] = field(default=())

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)


def run(
    stores: FullStores,
    plan: Plan,
    step: Step,
    clock: Callable[[], datetime],
    peak: Callable[[], int | None],
    *,
    resume: bool = False,
    watch: Watch = unwatched,
) -> FullRun:
    """All steps in order; with `resume` those that the run has not done yet.

    Raises:
        Refused: RUN_BUSY, another full run is at work.
        InvalidInput: there is nothing to resume.
        TransientError, PermanentError: of a step, after its retries. What was done stays, nothing is half written.
    """
    with stores.alone() as ours:
        if not ours:
            raise Refused("RUN_BUSY", "another full run is at work; it can be resumed when it has ended")
        plan = taken_up(stores.results, plan) if resume else begun(stores.results, plan, NAMES)
        try:
            steps = _all(
                stores,
                plan,
                step,
                clock,
                peak,
                watch,
                already_done(stores.results, plan.run, NAMES) if resume else set(),
            )
        except (TransientError, PermanentError) as error:
            error.add_note(f"what was done stays; go on with: python -m pipelines.full --resume {plan.run}")
            raise
        stores.results.forget(plan.now - _KEEP_RESULTS)
        stores.points.retire_points(plan.now - plan.points)
        return FullRun(plan, steps)


def _all(
    stores: FullStores,
    plan: Plan,
    step: Step,
    clock: Callable[[], datetime],
    peak: Callable[[], int | None],
    watch: Watch,
    done: set[str],
) -> tuple[StepDone, ...]:
    """All steps; once more from the first if what they left was removed under their hands."""
    try:
        return tuple(_one(stores, plan, step, function, done, clock, peak, watch) for function in STEPS)
    except _Gone:
        plan = begun(stores.results, plan, NAMES)
        return tuple(_one(stores, plan, step, function, set(), clock, peak, watch) for function in STEPS)


def _one(
    stores: FullStores,
    plan: Plan,
    step: Step,
    function: Callable[..., Any],
    done: set[str],
    clock: Callable[[], datetime],
    peak: Callable[[], int | None],
    watch: Watch,
) -> StepDone:
    started, name = clock(), function.__name__
    if name in done:
        counts = {k: v for k, v in _left_by(stores, plan, function).counts.items() if k != TURN}
        return StepDone(name, started, 0.0, None, counts, skipped=True)
    watched = (watch,) if function in (refresh_materialized_views, run_causal_analysis) else ()
    found = step(function, stores, plan, *watched)
    return StepDone(name, started, (clock() - started).total_seconds(), peak(), asdict(found))
