"""The flows: how often they run, how long they may take, what brings one back. prefect.yaml says the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Flow:
    """every: between two starts; None: only when somebody asks for it. timeout: of one run. slow: what its service level
    allows. again: the command that runs it by hand. queue: where its runs wait for a worker. resumes: with `--resume NAME` it
    goes on where that run stopped.
    """

    name: str
    every: timedelta | None
    timeout: timedelta
    slow: timedelta
    again: str
    queue: str
    resumes: bool = False


INCREMENTAL = Flow(
    name="incremental",
    every=timedelta(minutes=5),
    timeout=timedelta(seconds=240),
    slow=timedelta(seconds=30),
    again="python -m pipelines.incremental",
    queue="organism-default",
)
FULL = Flow(
    name="full",
    every=timedelta(hours=6),
    timeout=timedelta(minutes=30),
    slow=timedelta(minutes=10),
    again="python -m pipelines.full",
    queue="organism-heavy",
    resumes=True,
)
WATCH = Flow(
    name="watch",
    every=timedelta(minutes=5),
    timeout=timedelta(seconds=120),
    slow=timedelta(seconds=60),
    again="python -m pipelines.watch --once",
    queue="organism-default",
)
VERIFY = Flow(
    name="verify",
    every=timedelta(days=1),
    timeout=timedelta(minutes=30),
    slow=timedelta(minutes=10),
    again="python -m pipelines.verify",
    queue="organism-heavy",
)
HEALTH = Flow(
    name="health_monitoring",
    every=None,
    timeout=timedelta(seconds=120),
    slow=timedelta(seconds=30),
    again="python -m pipelines.health_monitoring",
    queue="organism-default",
)
POLICY = Flow(
    name="policy_check",
    every=None,
    timeout=timedelta(minutes=5),
    slow=timedelta(minutes=1),
    again="python -m pipelines.policy_check --proposal ID",
    queue="organism-default",
)
PLANNING = Flow(
    name="intervention_planning",
    every=None,
    timeout=timedelta(minutes=5),
    slow=timedelta(minutes=1),
    again="python -m pipelines.intervention_planning TEAM",
    queue="organism-default",
)
#: On a schedule: those that can be late, missed or stale, and that service levels are about.
FLOWS = (INCREMENTAL, FULL, WATCH, VERIFY)
#: Started by people. One that does not run is not late.
ON_DEMAND = (HEALTH, POLICY, PLANNING)
#: Runs of these were asked for by somebody, whatever started them.
ASKED_FOR = frozenset(flow.name for flow in ON_DEMAND)
BY_NAME = {flow.name: flow for flow in (*FLOWS, *ON_DEMAND)}
QUEUES = frozenset(flow.queue for flow in BY_NAME.values())
