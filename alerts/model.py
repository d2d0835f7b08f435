"""The nouns of alerting: facts go in, problems come out, incidents are kept, deliveries are tried until they arrive.

Whatever is written here may be sent to a third party: no person, no secret, no content of an event is ever part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Code(StrEnum):
    """What can be wrong. Each has an entry of this name in docs/runbook.md (a house test asks for it)."""

    FLOW_FAILED = "FLOW_FAILED"
    RETRY_RATE = "RETRY_RATE"
    SLOW_RUN = "SLOW_RUN"
    QUEUE_LONG = "QUEUE_LONG"
    SLO_DIGEST = "SLO_DIGEST"
    DEAD_LETTERS = "DEAD_LETTERS"
    BREAKER_OPEN = "BREAKER_OPEN"
    ENTRIES_LOST = "ENTRIES_LOST"
    STREAM_RESET = "STREAM_RESET"
    STALE_GRAPH = "STALE_GRAPH"
    ZOMBIE_RUN = "ZOMBIE_RUN"
    NEVER_STARTED = "NEVER_STARTED"
    SCHEDULE_MISSED = "SCHEDULE_MISSED"
    DRIFT = "DRIFT"
    RESOURCES = "RESOURCES"
    STORE_DOWN = "STORE_DOWN"
    PREFECT_DOWN = "PREFECT_DOWN"
    NO_WORKER = "NO_WORKER"
    SLOT_LEAKED = "SLOT_LEAKED"
    PROPOSAL_WAITING = "PROPOSAL_WAITING"
    ALERT_SILENCED = "ALERT_SILENCED"
    TEST = "TEST"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


#: Nothing is wrong, people are asked: told once and once more when it is answered, never escalated, never repeated.
QUESTIONS = frozenset({Code.PROPOSAL_WAITING})


# ------------------------------------------------------------------------------------------------ facts, from outside


@dataclass(frozen=True, slots=True)
class RunFact:
    """One ended or running turn of a flow. status: scheduled, running, completed, failed, cancelled. error_kind: as in the
    ledger (transient, permanent, input, refused, timeout, interrupted, defect, crashed, never_started, lost). step: where it
    failed. retried_steps: of `steps`, how many needed more than one attempt. result: the numbers that the run told. asked:
    somebody asked for this run, and it came by no schedule.
    """

    flow: str
    run_id: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None = None
    seconds: float | None = None
    error_kind: str | None = None
    error: str | None = None
    step: str | None = None
    attempts: int = 1
    steps: int = 0
    retried_steps: int = 0
    link: str | None = None
    resume: str | None = None
    result: Mapping[str, float] = field(default_factory=dict)
    asked: bool = False


@dataclass(frozen=True, slots=True)
class SumFact:
    """What was counted in a day. since: when it began; newest: the run or moment of the last; link: of that run."""

    total: float
    since: datetime
    newest: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class DayFact:
    """All runs of a flow in the last 24 hours. runs: that ended and say whether it works; success: share of them that
    completed; retries: share of steps that were repeated; seconds: what 95 % of the completed ones did not exceed. None where
    there is nothing to take a share of. sums: of the numbers that runs told, by name.
    """

    runs: int = 0
    success: float | None = None
    retries: float | None = None
    seconds: float | None = None
    sums: Mapping[str, SumFact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlowFact:
    """A flow that should run. every: its interval, None where nothing schedules it. runs: the newest first, 40 at most; for
    what is of a day, see `day`. slow: what its service level allows. next_try: when the schedule will start it next. since:
    since when it should have run, had it never. good_at: when a run last completed, however long ago.
    """

    flow: str
    every: timedelta | None
    slow: timedelta
    runs: tuple[RunFact, ...] = ()
    next_try: datetime | None = None
    since: datetime | None = None
    day: DayFact = field(default_factory=DayFact)
    good_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StreamFact:
    """The stream as the server tells it: entries. oldest_unread_at: when the oldest that nobody has read arrived. born: the
    name of this incarnation of it; lost_ever: what it lost unread, ever. lost, reset: what of that came within a day.
    """

    unread: int
    pending: int
    dead_letters: int
    oldest_unread_at: datetime | None = None
    born: str = ""
    lost_ever: int = 0
    lost: SumFact | None = None
    reset: SumFact | None = None


@dataclass(frozen=True, slots=True)
class StoreFact:
    """One store: name is redis, graph or postgres. words: what it said, without secrets; None when it is up."""

    name: str
    words: str | None = None


@dataclass(frozen=True, slots=True)
class PrefectFact:
    """What the Prefect server says; None for whatever was not asked. pending: runs that are late or wait for a slot.

    stuck: (run name, flow, since) of runs in PENDING; leaked: names of limits whose slots are held by no live run. unserved:
    queues for which no worker asks. ended, given_back: what was stuck and leaked, and was put right just now.
    """

    up: bool
    words: str | None = None
    queue: int | None = None
    workers_online: int | None = None
    stuck: tuple[tuple[str, str, datetime], ...] = ()
    leaked: tuple[str, ...] = ()
    unserved: tuple[str, ...] = ()
    ended: tuple[tuple[str, str, datetime], ...] = ()
    given_back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineFact:
    """Used shares of another machine, as it last told them itself. name: no host name, that may be a person's."""

    name: str
    memory_share: float | None
    disk_share: float | None
    disk_of: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposal that waits for a decision, as it may be shown: about a group, with coarse numbers. link: of its page."""

    id: str
    version: int
    about: str
    happens: str
    undo: str
    expires_at: datetime | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class ProposalFact:
    """A proposal in its newest version. asks: None unless people may see it and decide now; then `over` is a sentence why."""

    id: str
    version: int
    since: datetime
    asks: Waiting | None = None
    over: str = ""
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the rules look at, at one moment. What could not be asked is None and fires nothing of its own.

    memory_share, disk_share: of `machine`, which is the one that asks. others: machines that asked within the last hour.
    """

    now: datetime
    flows: tuple[FlowFact, ...] = ()
    stores: tuple[StoreFact, ...] = ()
    stream: StreamFact | None = None
    applied_at: datetime | None = None
    prefect: PrefectFact | None = None
    drift: int | None = None
    drift_at: datetime | None = None
    memory_share: float | None = None
    disk_share: float | None = None
    disk_of: str = ""
    machine: str = ""
    others: tuple[MachineFact, ...] = ()
    proposals: tuple[ProposalFact, ...] | None = None


# ------------------------------------------------------------------------------------------------ what rules say


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong now. subject: what it is about (a flow, a store, a limit), so that (code, subject) is one incident.

    what: one sentence. since: when it began. stale: what is out of date because of it. works: what still works. lost: what
    is lost, usually nothing. fix: the command that mends it. event: the run or moment that was told, so that a hook that is
    run twice tells once. asks: the proposal, where people are asked to decide on one and may see it.
    """

    code: Code
    subject: str
    severity: Severity
    what: str
    since: datetime
    stale: str = ""
    works: str = ""
    lost: str = "nothing"
    last_good: datetime | None = None
    next_try: datetime | None = None
    fix: str = ""
    link: str | None = None
    event: str = ""
    asks: Waiting | None = None

    @property
    def key(self) -> str:
        return f"{self.code.value}:{self.subject}"


# ------------------------------------------------------------------------------------------------ what is kept and sent


class Change(StrEnum):
    """What there is to tell of an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    ESCALATED = "escalated"
    RECOVERED = "recovered"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Incident:
    """A problem over time. id: of this occurrence of (code, subject). count: how often it was seen. problem: as last seen."""

    id: str
    key: str
    problem: Problem
    opened_at: datetime
    seen_at: datetime
    count: int = 1
    escalated_at: datetime | None = None
    recovered_at: datetime | None = None
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel gets. thread: what this channel returned when the incident was opened (Slack: channel and timestamp),
    so that it can edit or answer there; None at first.
    """

    incident: Incident
    change: Change
    thread: str | None = None


class Failed(Exception):
    """A channel could not deliver. permanent: trying again changes nothing (wrong token, no such channel).

    words: kind of error and host; never a URL, a token or an address: the URL of a Slack webhook is the credential.
    retry_after: how long the receiver asked us to wait.
    """

    def __init__(self, words: str, *, permanent: bool = False, retry_after: timedelta = timedelta(0)) -> None:
        super().__init__(words)
        self.words = words
        self.permanent = permanent
        self.retry_after = retry_after
