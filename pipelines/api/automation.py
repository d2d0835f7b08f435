"""The first seed's routes: log in, start a workflow, follow it, see what ran. Their fields are the seed's."""

from __future__ import annotations

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from pipelines.access.principals import Principal
from pipelines.api import hearing, runs, security, shapes, vitals
from pipelines.api.desk import Desk, desk
from pipelines.api.document import documented
from pipelines.api.runs import RunId
from pipelines.api.security import Note, asks, principal
from pipelines.api.shapes import (
    AutomationStatus,
    AutomationSystem,
    Done,
    Login,
    Token,
    WorkflowAsked,
    WorkflowStarted,
    WorkflowStatus,
)
from pipelines.api.vitals import Of
from pipelines.jobs import operating, startable
from pipelines.jobs.health import Health
from pipelines.jobs.operating import Started
from pipelines.runs import ENDED, Mode

router = APIRouter(tags=["automation"])
The = Annotated[Desk, Depends(desk)]
Who = Annotated[Principal, Depends(principal)]
Asks = Annotated[Note, Depends(asks)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="the same request with the same key is answered with the same run, for a day",
    ),
]


@router.post("/api/v1/auth/login", summary="Log in", responses=documented(401))
def login(asked: Login, request: Request, its: The, note: Asks) -> Token:
    """A token for a user name and a password, for half an hour unless ORGANISM_TOKEN_MINUTES says otherwise.

    Users are made with `python -m pipelines.users create NAME --role viewer`. Programs take an API key, used alike.
    """
    issued = security.log_in(request, its, note, asked.username, asked.password)
    left = ceil((issued.expires_at - its.clock()).total_seconds())
    roles = sorted(role.value for role in issued.principal.roles)
    return Token(access_token=issued.bearer, expires_at=issued.expires_at, expires_in=left, roles=roles)


@router.post("/api/v1/auth/logout", summary="End this login")
def logout(request: Request, its: The, who: Who, note: Asks) -> Done:
    """The token that this request shows is worth nothing from now on. An API key, too: it is revoked."""
    security.log_out(request, its, note, who)
    return Done(message="logged out")


@router.post("/api/v1/automation/workflow", summary="Start a workflow", responses=documented(409))
def start_workflow(asked: WorkflowAsked, its: The, who: Who, note: Asks, key: Key = None) -> WorkflowStarted:
    """Starts a run and answers when its row is in the database. What each type takes: `GET /workflows/flows`."""
    done = hearing.start(its, who, note, asked.workflow_type, asked.parameters, key)
    run = done.run
    return WorkflowStarted(
        status=run.status,
        workflow_id=run.id,
        run_id=run.run_id,
        workflow_type=run.flow_name,
        execution_mode=run.mode.value,
        message=in_words(done),
        status_endpoint=f"/api/v1/automation/workflow/{run.run_id}/status",
    )


def in_words(done: Started) -> str:
    """What came of a request for a run."""
    run = done.run
    if run.status in ENDED:
        why = f": {shapes.told(run.error)}" if run.error else ""
        before = "the same request was made before; its" if done.repeated else "the"
        return f"{before} run of {run.flow_name} has ended already, {run.status.value}{why}"
    if done.repeated:
        return f"the same request was made before; this is its run of {done.run.flow_name}"
    if done.run.mode is Mode.PREFECT:
        return f"{done.run.flow_name} was given to Prefect; a worker takes it up"
    why = f" ({done.why_direct})" if done.why_direct else ""
    return f"{done.run.flow_name} runs in a process of its own, in direct mode{why}"


@router.get("/api/v1/automation/status", summary="How the automation stands", response_model=AutomationStatus)
def automation_status(its: The, of: Of, limit: runs.Limit = 50) -> Response:
    """The services as of some seconds ago, what can be started, and the newest runs, of all flows."""
    found, ledger = of.lately(), its.ledger
    server = vitals.of(found, "prefect_server").health
    up = server in (Health.UP, Health.DEGRADED)
    body = AutomationStatus.model_construct(
        automation_system=AutomationSystem(
            prefect_available=up,
            server_health=server.value,
            execution_mode=(Mode.PREFECT if up else Mode.DIRECT).value,
        ),
        external_services={name: vitals.of(found, name).health.value for name in ("redis", "graph", "postgres")},
        available_workflows=sorted(startable.STARTABLE),
        status=vitals.overall(found),
        recent_executions=[shapes.execution(run) for run in ledger.find(limit=limit)],
        total_executions=ledger.count(),
    )
    # Made here, because FastAPI would look through a thousand values again that were read from our own tables.
    return Response(body.model_dump_json(), media_type="application/json")


@router.get("/api/v1/automation/workflow/{run_id}/status", summary="Follow a run", responses=documented(404))
def workflow_status(run_id: RunId, its: The) -> WorkflowStatus:
    """The run's row, with the state that Prefect tells now, if it is Prefect's."""
    return shapes.workflow_status(operating.live(its.operating(), runs.must_get(its, run_id)))
