"""How things stand, for people: what is wrong comes first, within 80 columns, and what nobody could ask is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console

from alerts.model import Code, Facts, FlowFact, Incident, Problem, Severity, StoreFact, StreamFact
from pipelines.report import status_terminal
from pipelines.report.standing import Standing, flow_standings
from pipelines.runs import FlowFigures, Mode, Run, Status

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FLOW = FlowFact("incremental", 5 * MINUTE, timedelta(seconds=30), next_try=NOW + MINUTE)


def run(number: int, status: Status, ended: datetime, **rest: object) -> Run:
    begun = ended - timedelta(seconds=4)
    made = Run(number, "incremental", f"run-{number}", status, Mode.PREFECT, begun)
    return replace(made, started_at=begun, completed_at=ended, duration_seconds=4.0, **rest)  # type: ignore[arg-type]


GOOD = run(1, Status.COMPLETED, NOW - 10 * MINUTE, result={"applied": 5_208, "drained": 1})
BAD = run(2, Status.FAILED, NOW - 5 * MINUTE, error="redis 10.0.0.1:6379: is the server up?")
FIGURES = [FlowFigures("incremental", 3, 2, 1, 0, 0, 2 / 3, 0.25, (3.0, 4.0, 50.0))]


def standing(**changes: object) -> Standing:
    stream = StreamFact(unread=7, pending=2, dead_letters=1, oldest_unread_at=NOW - 3 * MINUTE)
    facts = Facts(NOW, flows=(FLOW,), stream=stream, applied_at=NOW - 4 * MINUTE)
    made = Standing(facts, flow_standings([BAD, GOOD], FIGURES, facts), (BAD, GOOD), (), {})
    return replace(made, **changes)  # type: ignore[arg-type]


def shown(its: Standing) -> str:
    out = StringIO()
    status_terminal.show(its, Console(file=out, width=80, highlight=False))
    return out.getvalue()


def test_the_last_good_run_is_found_behind_a_failed_one() -> None:
    (flow,) = standing().flows
    assert (flow.last, flow.last_good) == (BAD, GOOD)
    assert (flow.ago, flow.typical, flow.slow) == (600, 4.0, 30)
    assert (flow.success_rate, flow.retry_rate) == (2 / 3, 0.25)


def test_a_flow_that_never_ran_has_no_figures() -> None:
    (flow,) = flow_standings([], [], Facts(NOW, flows=(FLOW,)))
    assert (flow.last, flow.last_good, flow.ago, flow.success_rate, flow.typical) == (None,) * 5
    assert "never" in shown(replace(standing(), flows=(flow,), runs=()))


def test_it_tells_freshness_backlog_runs_and_what_the_failed_one_said() -> None:
    text = shown(standing())
    for words in (
        "4 min ago",
        "backlog 7 + 2 in hand",
        "1 dead letter",
        "oldest entry waits for 3 min",
        "5,208 applied",
        "67 %",
        "12:01",
    ):
        assert words in text
    assert "redis 10.0.0.1" in text
    assert "incremental  5 min ago" in text


def test_incidents_come_first_with_what_mends_them() -> None:
    problem = Problem(Code.STORE_DOWN, "redis", Severity.CRITICAL, "Redis does not answer.", NOW, fix="start it")
    text = shown(standing(incidents=(Incident("i", problem.key, problem, NOW - 90 * MINUTE, NOW),)))
    lines = text.splitlines()
    assert "Redis does not answer. [STORE_DOWN, for 90 min]" in lines[1]
    assert "start it" in lines[2]
    assert "no open incident" not in text


def test_what_could_not_be_asked_is_said_and_not_shown_as_good() -> None:
    facts = Facts(NOW, stores=(StoreFact("postgres", "no connection"),))
    text = shown(Standing(facts, (), (), (), None))
    assert "no connection" in text
    assert "proposals not asked" in text
    assert Standing(facts, (), (), ()).behind is None


def test_nothing_is_wider_than_a_terminal() -> None:
    long = replace(BAD, error="x" * 500)
    assert max(map(len, shown(standing(runs=(long,))).splitlines())) <= 80


def test_without_unread_entries_nothing_waits() -> None:
    stream = StreamFact(unread=0, pending=0, dead_letters=0, oldest_unread_at=NOW - MINUTE)
    assert standing(facts=Facts(NOW, stream=stream)).behind == 0


def test_nothing_is_cut_at_80_columns_and_no_counter_is_raw() -> None:
    error = "redis 10.0.0.1:6379: ConnectionError in the middle of a window; is the server up? check ORGANISM_REDIS_URL"
    words = "postgres does not work: password authentication failed for the user that the settings name; and so on, at length"
    problem = Problem(
        Code.STORE_DOWN, "postgres", Severity.CRITICAL, words, NOW, fix="python -m deployments doctor " * 3
    )
    watch = replace(
        GOOD, id=3, flow_name="watch", result={"problems": 0, "crashed": 0, "machine": "machine 0a1b2c", "disk": 0.4}
    )
    its = standing(
        runs=(replace(BAD, error=error), GOOD, watch),
        incidents=(Incident("i", problem.key, problem, NOW, NOW),),
    )
    text = shown(its)
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "…" not in flat and "drained" not in flat and "machine" not in flat
    assert "nothing is wrong" in flat and "ORGANISM_REDIS_URL" in flat and "at length" in flat
