"""The status page in every state that was looked at, as files: `python -m tests.support.page_gallery DIR`.

Made of fixtures, so that anybody can look again after a change; no store, no server. `narrow` is the page in a frame as wide
as a telephone, `dark` is the page as a browser in the dark shows it.
"""

from __future__ import annotations

import html
import random
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerts.model import Code, Facts, FlowFact, Incident, PrefectFact, Problem, Severity, StoreFact, StreamFact
from pipelines.api.pages import views
from pipelines.api.pages.render import page
from pipelines.jobs.flows import FLOWS
from pipelines.report.standing import Standing, flow_standings
from pipelines.runs import ErrorKind, FlowFigures, Mode, Run, RunStep, Status

NOW = datetime(2026, 3, 2, 12, 3, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ALL = frozenset(
    {
        "status",
        "runs",
        "logs",
        "cancel",
        "retry",
        "proposals",
        "decide",
        "letters",
        "replay",
        "switch",
        "halt",
        "resume",
    }
)
VISITOR = views.Visitor("anna", "viewer, operator, approver", ALL, "0" * 64)
_STEPS = {
    "incremental": ("fetch_interactions", "update_graph_incremental", "refresh_materialized_views", "settle"),
    "full": ("fetch_graph", "compute_metrics", "run_causal_analysis", "store_metrics", "evaluate_interventions"),
    "watch": ("look", "decide", "tell"),
    "verify": ("recount",),
}
_SECONDS = {"incremental": 4.0, "full": 210.0, "watch": 1.5, "verify": 95.0}


def run(number: int, flow: str, ended: datetime, status: Status = Status.COMPLETED, **changes: Any) -> Run:
    """A run with its steps; how long each took depends on its number alone."""
    dice = random.Random(number)
    parts = [(name, _SECONDS[flow] * dice.uniform(0.05, 1) / len(_STEPS[flow])) for name in _STEPS[flow]]
    begun, steps = ended - timedelta(seconds=sum(s for _, s in parts) + 0.2), []
    at = begun
    for place, (name, seconds) in enumerate(parts):
        last = place == len(parts) - 1 and status is Status.FAILED
        attempts = 3 if last else 1
        state = Status.FAILED if last else Status.COMPLETED
        steps.append(RunStep(name, place, state, attempts, at, seconds, seconds / 3, 180 * 2**20, {"rows": 1200}))
        at += timedelta(seconds=seconds)
    made = Run(number, flow, f"00000000-0000-4000-8000-{number:012}", status, Mode.PREFECT, begun, steps=tuple(steps))
    took = (ended - begun).total_seconds()
    told = {"applied": 4_000 + number} if (flow, status) == ("incremental", Status.COMPLETED) else {}
    made = replace(made, started_at=begun, completed_at=ended, duration_seconds=took, result=told)
    return replace(made, **changes)


FAILED: dict[str, Any] = {
    "status": Status.FAILED,
    "error": "Redis at redis.internal:6379 does not answer: Connection refused; is the server up?",
    "error_kind": ErrorKind.TRANSIENT,
}


def runs(count: int) -> list[Run]:
    """The newest first: one running, some that failed, and now and then an analysis."""
    flows = ["full" if n % 40 == 7 else "watch" if n % 5 == 2 else "incremental" for n in range(count)]
    made = [run(count - n, flow, NOW - (n + 1) * 3 * MINUTE) for n, flow in enumerate(flows)]
    for place in range(5, count, 23):
        made[place] = run(made[place].id, made[place].flow_name, made[place].completed_at or NOW, **FAILED)
    if made:
        begun = NOW - timedelta(seconds=3)
        live = {"status": Status.RUNNING, "completed_at": None, "duration_seconds": None, "result": {}, "steps": ()}
        made[0] = replace(made[0], started_at=begun, **live)
    return made


def standing(ran: list[Run], **changes: Any) -> Standing:
    """Everything up and fresh, with these runs."""
    flows = tuple(FlowFact(f.name, f.every, f.slow, next_try=NOW + f.every / 2) for f in FLOWS)
    facts = Facts(
        NOW,
        flows=flows,
        stores=tuple(StoreFact(name) for name in ("redis", "graph", "postgres")),
        stream=StreamFact(unread=182, pending=0, dead_letters=3, oldest_unread_at=NOW - MINUTE),
        applied_at=NOW - 2 * MINUTE,
        prefect=PrefectFact(up=True),
    )
    facts = replace(facts, **{k: changes.pop(k) for k in list(changes) if k in Facts.__dataclass_fields__})
    figures = [
        FlowFigures("incremental", 288, 286, 2, 0, 0, 0.993, 0.011, (2.1, 3.4, 5.2)),
        FlowFigures("full", 4, 4, 0, 0, 0, 1.0, 0.0, (180.0, 212.0, 240.0)),
        FlowFigures("watch", 288, 288, 0, 0, 0, 1.0, 0.0, (1.1, 1.4)),
    ]
    made = Standing(facts, flow_standings(ran, figures if ran else [], facts), tuple(ran), (), {"pending_approval": 2})
    return replace(made, **changes)


def healthy(count: int = 20) -> Standing:
    ran = [*runs(count), run(9_999, "verify", NOW - 9 * HOUR), run(9_998, "full", NOW - 3 * HOUR)]
    return standing(ran)


def empty() -> Standing:
    """As after the installation: nothing ran, nothing waits."""
    stream = StreamFact(unread=0, pending=0, dead_letters=0)
    return standing([], stream=stream, applied_at=None, prefect=None, proposals={})


def young(age: timedelta) -> Standing:
    """One check of health ran so long ago, and nothing else ever."""
    flows = tuple(FlowFact(f.name, f.every, f.slow, since=NOW - age) for f in FLOWS)
    first = Run(1, "health_monitoring", "run-1", Status.COMPLETED, Mode.DIRECT, NOW - age)
    its = standing([first], applied_at=None)
    facts = replace(its.facts, flows=flows)
    return replace(its, facts=facts, flows=flow_standings([first], [], facts))


def incident() -> Standing:
    """Redis is away for twenty minutes, and somebody has pulled the switch."""
    problem = Problem(
        code=Code.STORE_DOWN,
        subject="redis",
        severity=Severity.CRITICAL,
        what="Redis does not answer; new interactions wait on the machines that send them.",
        since=NOW - 20 * MINUTE,
        stale="everything since 11:43 UTC",
        works="the analysis, proposals and their decisions",
        fix="docker compose up -d redis",
        next_try=NOW + 2 * MINUTE,
    )
    ran = [run(900 - n, "incremental", NOW - (5 * n + 1) * MINUTE, **(FAILED if n < 4 else {})) for n in range(12)]
    away = (
        StoreFact("redis", "Redis at redis.internal:6379: Connection refused"),
        StoreFact("graph"),
        StoreFact("postgres"),
    )
    opened = Incident("a1b2c3", problem.key, problem, problem.since, NOW, count=5)
    return standing(
        ran, incidents=(opened,), stores=away, stream=None, applied_at=NOW - 21 * MINUTE,
        halted="interventions are halted since 2026-03-02 11:50 UTC: until the stream is back",
    )  # fmt: skip


def status(its: Standing, visitor: views.Visitor = VISITOR) -> str:
    return page("status", **views.status(its, visitor, still=True))


def list_of_runs(ran: list[Run]) -> str:
    return page("runs", **views.list_of_runs(ran, VISITOR, NOW, flows=[f.name for f in FLOWS]))


def narrow(text: str) -> str:
    return (
        f'<!DOCTYPE html><title>narrow</title><iframe width="390" height="2400" srcdoc="{html.escape(text)}"></iframe>'
    )


def dark(text: str) -> str:
    """A style sheet cannot be told that it is dark, so its question is answered beforehand."""
    return text.replace("(prefers-color-scheme:dark)", "all").replace("color-scheme:light dark", "color-scheme:dark")


def gallery() -> dict[str, str]:
    """File name without ending to page."""
    good = status(healthy())
    return {
        "empty": status(empty()),
        "healthy": good,
        "incident": status(incident()),
        "runs": list_of_runs(runs(200)),
        "narrow": narrow(good),
        "dark": dark(status(incident())),
    }


def main() -> None:
    where = Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    for name, text in gallery().items():
        (where / f"{name}.html").write_text(text, "utf-8")
        print(where / f"{name}.html")


if __name__ == "__main__":
    main()
