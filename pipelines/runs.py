"""The nouns of the account: a run, its steps, why it ended as it did. Rows of `workflow_runs` and `workflow_steps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import ceil
from typing import Any


class Status(StrEnum):
    """Of a run. A run that a rule refused is cancelled, with `ErrorKind.REFUSED`: nobody is paged for it."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Mode(StrEnum):
    PREFECT = "prefect"
    DIRECT = "direct"


class ErrorKind(StrEnum):
    """Why a run did not complete; what an alert and a retry decide by."""

    TRANSIENT = "transient"  # a store was away for longer than all retries
    PERMANENT = "permanent"  # trying again changes nothing
    INPUT = "input"  # what the user gave is wrong
    REFUSED = "refused"  # a rule said no
    TIMEOUT = "timeout"  # took longer than its flow may
    INTERRUPTED = "interrupted"  # Ctrl-C, a cancellation, a worker that was told to stop
    DEFECT = "defect"  # an error that is not ours: a bug
    CRASHED = "crashed"  # found by the reaper: its process is gone
    NEVER_STARTED = "never_started"  # found by the reaper: scheduled, and nobody took it up
    LOST = "lost"  # found by the reaper: no sign of life, and nobody knows more


@dataclass(frozen=True, slots=True)
class RunStep:
    """One step of a run. attempts: including the first. seconds: wall time of all attempts. peak_bytes: the most memory
    that the process had used when it ended. counts: what the step said of itself, numbers only.
    """

    name: str
    position: int
    status: Status
    attempts: int
    started_at: datetime
    seconds: float
    cpu_seconds: float = 0.0
    peak_bytes: int | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of a job. id: the contract's workflow_id. run_id: the contract's flow_run_id; Prefect's own in Prefect mode.

    error: a sentence without secrets and ids of people. prefect_state: as the server last said, e.g. "Crashed".
    correlation_id: what ties runs of one window together, such as full-2026-03-02T06. heartbeat_at: the last sign of life.
    attempts: of the whole run, including the first.
    """

    id: int
    flow_name: str
    run_id: str
    status: Status
    mode: Mode
    created_at: datetime
    deployment_name: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    error_kind: ErrorKind | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_seconds: float | None = None
    heartbeat_at: datetime | None = None
    prefect_state: str | None = None
    correlation_id: str | None = None
    attempts: int = 1
    steps: tuple[RunStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """One number of the results of many runs. since: when the first of them ended that said other than 0; newest: the run id
    of the last one.
    """

    total: float
    since: datetime
    newest: str


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """Runs of one flow in a span of time. success_rate: completed of those that ended and were not refused or cancelled, nor
    given wrong input by somebody at a terminal; judged: how many these are.

    retry_rate: steps that needed more than one attempt, of all steps. seconds: of completed runs, ascending. sums: of the
    numbers that runs told, by name; a name is there when some run said other than 0.
    """

    flow_name: str
    runs: int
    completed: int
    failed: int
    cancelled: int
    running: int
    success_rate: float | None
    retry_rate: float | None
    seconds: tuple[float, ...] = ()
    judged: int = 0
    sums: Mapping[str, Sum] = field(default_factory=dict)

    def quantile(self, share: float) -> float | None:
        """What so large a share of the completed runs did not exceed, in seconds."""
        return self.seconds[max(ceil(share * len(self.seconds)), 1) - 1] if self.seconds else None


@dataclass(frozen=True, slots=True)
class StreamMark:
    """What was seen of the stream when it was other than before: the name of its incarnation, and entries lost unread."""

    born: str
    lost: int
    at: datetime


@dataclass(frozen=True, slots=True)
class PrefectRun:
    """A flow run as the Prefect server tells it. state_type is upper case, such as PENDING; state_name is its words."""

    run_id: str
    name: str
    flow_name: str
    deployment_name: str | None
    state_type: str
    state_name: str
    since: datetime
    expected_at: datetime | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class PrefectWorker:
    name: str
    pool: str
    online: bool
    seen_at: datetime | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class PrefectLimit:
    """A concurrency limit with its slots; name is Prefect's; a deployment's own limit is `deployment:flow/name`."""

    name: str
    limit: int
    active: int
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PrefectQueue:
    """A work queue. polled_at: when a worker last asked for its runs; None: never."""

    name: str
    made_at: datetime
    polled_at: datetime | None = None
