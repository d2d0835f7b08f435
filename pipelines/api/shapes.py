"""The bodies of requests and answers. What is described here is what clients are made from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipelines.api import hearing
from pipelines.privacy.traces import mask
from pipelines.runs import Run, RunStep, Status

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
#: What PostgreSQL keeps as the id of a run.
LARGEST_ID = 2**63 - 2


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """A request says what is documented and nothing else: a mistyped name would silently mean the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Invalid(Shape):
    where: str = Field(examples=["body.workflow_type"])
    expected: str = Field(examples=["Field required"])
    kind: str = Field(examples=["missing"])


class ProblemDetails(Shape):
    """RFC 9457. `code` is stable and for machines; `detail` is for people."""

    type: str = Field(examples=["urn:causal-organism:problem:not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no run 4711"])
    code: str = Field(examples=["NOT_FOUND"])
    fix: str | None = Field(None, description="what to do about it", examples=["GET /workflows/flows lists the runs"])
    errors: list[Invalid] | None = Field(None, description="of INVALID_INPUT: what was expected where")


# ------------------------------------------------------------------------------------------------ login


class Login(Asked):
    username: str = Field(min_length=1, max_length=200, examples=["anna"])
    password: str = Field(min_length=1, max_length=1_000, json_schema_extra={"format": "password"})


class Token(Shape):
    access_token: str = Field(description="goes behind `Authorization: Bearer`; shown once")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # a word
    expires_at: datetime
    expires_in: int = Field(description="seconds", examples=[1800])
    roles: list[str] = Field(examples=[["operator", "viewer"]])


class Done(Shape):
    status: Literal["done"] = "done"
    message: str


# ------------------------------------------------------------------------------------------------ automation


class WorkflowAsked(Asked):
    workflow_type: str = Field(max_length=100, description="one of available_workflows", examples=["incremental"])
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=50, examples=[{}])


class WorkflowStarted(Shape):
    status: Status = Field(examples=["scheduled"])
    workflow_id: int = Field(examples=[4711])
    run_id: str = Field(examples=["0b6e7a5c-3f6e-4f0e-9d53-8f1f9f0a8f1e"])
    workflow_type: str = Field(examples=["incremental"])
    execution_mode: str = Field(examples=["direct"])
    message: str
    traceable: Literal[True] = True
    status_endpoint: str = Field(examples=["/api/v1/automation/workflow/0b6e7a5c-3f6e-4f0e-9d53-8f1f9f0a8f1e/status"])


class AutomationSystem(Shape):
    prefect_available: bool
    server_health: str = Field(description="of the Prefect server: up, degraded, down, absent", examples=["absent"])
    execution_mode: str = Field(description="in which a start would run now", examples=["direct"])


class Execution(Shape):
    workflow_id: int
    run_id: str
    flow_name: str
    status: Status
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    parameters: dict[str, Any]


class AutomationStatus(Shape):
    automation_system: AutomationSystem
    external_services: dict[str, str] = Field(examples=[{"redis": "up", "graph": "up", "postgres": "up"}])
    available_workflows: list[str]
    status: str = Field(description="healthy, degraded or down", examples=["healthy"])
    recent_executions: list[Execution]
    total_executions: int


class DatabaseRecord(Shape):
    id: int
    flow_name: str
    deployment_name: str | None
    result: dict[str, Any] = Field(description="as in RunShown")
    error: str | None


class WorkflowStatus(Shape):
    status: Status
    workflow_id: int
    run_id: str
    state: str = Field(description="Prefect's word for it, if it is Prefect's; else as status", examples=["Running"])
    parameters: dict[str, Any]
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    error: str | None = Field(description="why it did not complete, as a sentence")
    execution_mode: str
    database_record: DatabaseRecord


# ------------------------------------------------------------------------------------------------ flows


class StepShown(Shape):
    name: str
    status: Status
    attempts: int = Field(description="including the first")
    started_at: datetime
    seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    counts: dict[str, Any]
    error: str | None


class RunShown(Execution):
    execution_mode: str
    state: str
    created_at: datetime
    scheduled_at: datetime | None
    heartbeat_at: datetime | None
    deployment_name: str | None
    correlation_id: str | None = Field(description="what ties runs of one window together")
    attempts: int
    error: str | None
    error_kind: str | None
    result: dict[str, Any] = Field(
        description="what it counted; of what may not be told any more only `withheld`, the reason",
        examples=[{"planned": 1, "candidates": 5, "k": 5}],
    )


class RunDetailed(RunShown):
    steps: list[StepShown]
    retry_of: str | None = None


class ParameterShown(Shape):
    name: str
    type: str = Field(examples=["boolean"])
    default: Any
    description: str


class FlowShown(Shape):
    flow_type: str
    every_seconds: float | None = Field(description="None: only when somebody asks for it")
    timeout_seconds: float
    goal_seconds: float = Field(description="what its service level allows")
    deployment: str = Field(examples=["incremental/incremental"])
    queue: str
    command: str = Field(description="what runs it by hand")
    startable: bool
    parameters: list[ParameterShown]
    last_run: RunShown | None


class FlowsAndRuns(Shape):
    flows: list[FlowShown]
    runs: list[RunShown]
    next: str | None = Field(description="path of the next page; null on the last one")


class RunStarted(Shape):
    status: Status
    workflow_id: int
    run_id: str
    flow_type: str
    execution_mode: str
    repeated: bool = Field(description="the same request was made before, and this is its run")
    message: str
    status_endpoint: str


class FlowAsked(Asked):
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=50, examples=[{}])


class Reason(Asked):
    reason: Text = Field(examples=["the window is closed for maintenance"])


class MaybeReason(Asked):
    reason: str = Field("", max_length=500, examples=["started by mistake"])


class LineShown(Shape):
    at: datetime
    level: str
    text: str


class Logs(Shape):
    workflow_id: int
    run_id: str
    lines: list[LineShown] = Field(description="the last ones, oldest first")


class FlowFigures(Shape):
    flow_type: str
    days: int
    runs: int
    success_rate: float | None = Field(description="of those that ended and say whether it works")
    retry_rate: float | None = Field(description="steps that needed more than one attempt, of all")
    median_seconds: float | None
    p95_seconds: float | None
    slowest_seconds: float | None


class RunMetrics(Shape):
    workflow_id: int
    run_id: str
    status: Status
    duration_seconds: float | None
    attempts: int
    retries: int = Field(description="attempts of steps beyond their first")
    cpu_seconds: float
    peak_bytes: int | None
    steps: list[StepShown]
    flow: FlowFigures = Field(description="all runs of this flow in the last 30 days")


class Related(Shape):
    workflow_id: int
    run_id: str
    status: Status
    why: str = Field(examples=["the same window"])
    status_endpoint: str


class RunReport(Shape):
    run_id: str
    workflow_id: int
    title: str
    asked: str
    ending: str = Field(description="how it ended, or how far it is")
    to_do: str | None
    run: RunDetailed
    numbers: dict[str, float]
    words: list[str] = Field(
        default_factory=list,
        description="of intervention_planning and policy_check: what it says of the team (to analysts) or of the proposal"
        " (to viewers and approvers); the reading is noted",
    )
    withheld: str | None = Field(
        None, description="why neither numbers nor words are told: it spoke of a group under a smaller k than today's"
    )
    related: list[Related]


# ------------------------------------------------------------------------------------------------ from the nouns

Shown = Mapping[str, Any]


def told(value: Any) -> Any:
    """What people gave, without what is secret, names a person or is not seen."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {told(str(name)): told(part) for name, part in value.items()}
    return [told(part) for part in value] if isinstance(value, list | tuple) else value


def _maybe(words: str | None) -> str | None:
    return None if words is None else str(told(words))


def _facts(run: Run) -> dict[str, Any]:
    return {
        "workflow_id": run.id,
        "run_id": run.run_id,
        "flow_name": run.flow_name,
        "status": run.status,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "duration_seconds": run.duration_seconds,
        "parameters": told(run.parameters),
    }


def execution(run: Run) -> Execution:
    return Execution.model_construct(**_facts(run))


def _more(run: Run) -> dict[str, Any]:
    return _facts(run) | {
        "execution_mode": run.mode.value,
        "state": state(run),
        "created_at": run.created_at,
        "scheduled_at": run.scheduled_at,
        "heartbeat_at": run.heartbeat_at,
        "deployment_name": run.deployment_name,
        "correlation_id": run.correlation_id,
        "attempts": run.attempts,
        "error": _maybe(run.error),
        "error_kind": run.error_kind.value if run.error_kind else None,
        "result": told(hearing.unworded(run)),
    }


def run_shown(run: Run) -> RunShown:
    return RunShown.model_construct(**_more(run))


def run_detailed(run: Run, retry_of: str | None = None) -> RunDetailed:
    return RunDetailed.model_construct(**_more(run), steps=[step_shown(step) for step in run.steps], retry_of=retry_of)


def step_shown(step: RunStep) -> StepShown:
    names = ("name", "status", "attempts", "started_at", "seconds", "cpu_seconds", "peak_bytes")
    its = {name: getattr(step, name) for name in names}
    return StepShown.model_construct(**its, counts=told(step.counts), error=_maybe(step.error))


def state(run: Run) -> str:
    """Prefect's own word where there is one."""
    return run.prefect_state or run.status.value


def workflow_status(run: Run) -> WorkflowStatus:
    facts = {name: value for name, value in _facts(run).items() if name != "flow_name"}
    record = DatabaseRecord.model_construct(
        id=run.id, flow_name=run.flow_name, deployment_name=run.deployment_name, result=told(hearing.unworded(run)),
        error=_maybe(run.error),
    )  # fmt: skip
    return WorkflowStatus.model_construct(
        **facts, state=state(run), error=_maybe(run.error), execution_mode=run.mode.value, database_record=record
    )
