"""Flows and their runs: what there is, start, follow, cancel, repeat, read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime
from starlette.responses import HTMLResponse

from pipelines.api import accounts, hearing, runs, shapes
from pipelines.api.automation import Asks, Key, The, Who, in_words
from pipelines.api.document import HTML_TOO, documented
from pipelines.api.runs import Before, RunId
from pipelines.api.shapes import (
    FlowAsked,
    FlowsAndRuns,
    FlowShown,
    LineShown,
    Logs,
    MaybeReason,
    ParameterShown,
    RunDetailed,
    RunMetrics,
    RunReport,
    RunStarted,
)
from pipelines.jobs import on_demand, operating, startable
from pipelines.jobs.flows import BY_NAME, Flow
from pipelines.jobs.operating import Started
from pipelines.jobs.startable import Parameter
from pipelines.ports import Ledger
from pipelines.runs import Status

router = APIRouter(tags=["flows"])
_PATH = "/workflows/flows"
_KINDS = {bool: "boolean", float: "number", int: "integer", str: "string", list: "array", dict: "object"}
FlowType = Annotated[str, Path(max_length=100, description="the name of a flow", examples=["incremental"])]


@router.get(_PATH, summary="Flows, and runs of them")
def list_flows(
    its: The,
    flow: Annotated[
        str | None, Query(max_length=100, description="of runs: the flow; * and ? stand for others")
    ] = None,
    status: Annotated[list[Status] | None, Query(description="of runs; may be given more than once")] = None,
    since: Annotated[AwareDatetime | None, Query(description="of runs: created then or later")] = None,
    until: Annotated[AwareDatetime | None, Query(description="of runs: created before")] = None,
    limit: runs.Limit = 50,
    before: Before = None,
) -> FlowsAndRuns:
    """Every flow type with its schedule, deployment, parameters and last run; and runs, the newest first."""
    k = its.config.min_group_size
    found = its.ledger.find(
        pattern=flow, statuses=status or (), since=since, until=until, limit=limit + 1, before_id=before
    )
    asked = {"flow": flow, "status": [s.value for s in status] if status else None}
    asked |= {"since": _text(since), "until": _text(until)}
    return FlowsAndRuns.model_construct(
        flows=[_flow(its_flow, its.ledger, k) for its_flow in BY_NAME.values()],
        runs=[shapes.run_shown(on_demand.as_fit(run, k)) for run in found[:limit]],
        next=runs.next_page(_PATH, asked, found, limit),
    )


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _flow(its: Flow, ledger: Ledger, k: int) -> FlowShown:
    last = next(iter(ledger.find(flow_name=its.name, limit=1)), None)
    return FlowShown.model_construct(
        flow_type=its.name,
        every_seconds=its.every.total_seconds() if its.every else None,
        timeout_seconds=its.timeout.total_seconds(),
        goal_seconds=its.slow.total_seconds(),
        deployment=f"{its.name}/{its.name}",
        queue=its.queue,
        command=its.again,
        startable=its.name in startable.STARTABLE,
        parameters=[_parameter(*each) for each in startable.STARTABLE.get(its.name, {}).items()],
        last_run=shapes.run_shown(on_demand.as_fit(last, k)) if last else None,
    )


def _parameter(name: str, its: Parameter) -> ParameterShown:
    return ParameterShown(
        name=name, type=_KINDS.get(its.kind, its.kind.__name__), default=its.default, description=its.words
    )


# ------------------------------------------------------------------------------------------------ doing


@router.post(f"{_PATH}/{{flow_type}}/start", summary="Start a run", responses=documented(409))
def start_flow(
    flow_type: FlowType, its: The, who: Who, note: Asks, asked: FlowAsked | None = None, key: Key = None
) -> RunStarted:
    """Starts a run of the flow and answers when its row is in the database."""
    return _started(hearing.start(its, who, note, flow_type, asked.parameters if asked else {}, key))


@router.post(f"{_PATH}/{{flow_id}}/cancel", summary="Cancel a run", responses=documented(404, 409))
def cancel_run(flow_id: RunId, its: The, who: Who, note: Asks, asked: MaybeReason | None = None) -> RunDetailed:
    """Asks the run to end. One of Prefect's stays `running` until its worker has ended it; `state` says Cancelling."""
    run = runs.must_get(its, flow_id)
    reason = asked.reason if asked else ""
    note(run.run_id, reason=reason)
    return accounts.detailed(its, operating.cancel(its.operating(), run.run_id, who.name, reason, its.clock()))


@router.post(f"{_PATH}/{{flow_id}}/retry", summary="Repeat a run", responses=documented(404, 409))
def retry_run(flow_id: RunId, its: The, who: Who, note: Asks, key: Key = None) -> RunStarted:
    """A new run with the same parameters, of one that failed or was cancelled; from the step where it stopped, if it can."""
    return _started(hearing.retry(its, who, note, runs.must_get(its, flow_id), key))


def _started(done: Started) -> RunStarted:
    run = done.run
    return RunStarted(
        status=run.status,
        workflow_id=run.id,
        run_id=run.run_id,
        flow_type=run.flow_name,
        execution_mode=run.mode.value,
        repeated=done.repeated,
        message=in_words(done),
        status_endpoint=f"{_PATH}/{run.run_id}/status",
    )


# ------------------------------------------------------------------------------------------------ reading


@router.get(f"{_PATH}/{{flow_id}}/status", summary="A run with its steps", responses=documented(404))
def run_status(flow_id: RunId, its: The) -> RunDetailed:
    """The run's row and its steps, with the state that Prefect tells now, if it is Prefect's."""
    return accounts.detailed(its, operating.live(its.operating(), runs.must_get(its, flow_id)))


@router.get(f"{_PATH}/{{flow_id}}/logs", summary="What a run wrote", responses=documented(404))
def run_logs(flow_id: RunId, its: The, limit: runs.Limit = 50) -> Logs:
    """The last lines, oldest first: from Prefect, or from the run's own process. Where there are none, its account."""
    run = runs.must_get(its, flow_id)
    lines = hearing.lines(its, run, limit)
    shown = [LineShown(at=line.at, level=line.level, text=shapes.told(line.text)) for line in lines]
    return Logs.model_construct(workflow_id=run.id, run_id=run.run_id, lines=shown)


@router.get(f"{_PATH}/{{flow_id}}/metrics", summary="What a run cost", responses=documented(404))
def run_metrics(flow_id: RunId, its: The) -> RunMetrics:
    """Time, attempts, processor and memory of the run and its steps, beside the last 30 days of its flow."""
    return accounts.metrics(its.ledger, runs.must_get(its, flow_id), its.clock())


@router.get(
    f"{_PATH}/{{flow_id}}/report", summary="The story of a run", response_model=RunReport,
    responses=documented(404) | HTML_TOO,
)  # fmt: skip
def run_report(
    flow_id: RunId,
    its: The,
    who: Who,
    note: Asks,
    request: Request,
    form: Annotated[str | None, Query(alias="format", pattern="^(json|html)$", description="json or html")] = None,
) -> Any:
    """What was asked, by whom, its steps, how it ended and what to do. A page with `Accept: text/html` or `?format=html`.

    `words` are for those who may hear them, and that they were read is noted.
    """
    run = operating.live(its.operating(), runs.must_get(its, flow_id))
    words = hearing.words_for(who, run)
    if words:
        note(run.run_id, reads="words")
    told = accounts.report(its, run, words)
    if form == "html" or (form is None and _prefers_html(request)):
        return page(accounts.page(told, run, its.clock(), its.forbidden))
    return told


def _prefers_html(request: Request) -> bool:
    accepted = request.headers.get("Accept", "").lower()
    return "text/html" in accepted and "application/json" not in accepted


def page(text: str) -> Response:
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})
