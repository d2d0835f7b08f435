"""From which number on a rule speaks. Those that operators set come from the settings; the rest have their reason here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Shares are of 1. A rule speaks above its limit, not at it.

    retry_steps, slow_runs, dead_read: with less to go by, a share or a median says nothing. slow_floor: twice a second is
    no news. dead_count: so many are too many, whatever the share. recent: how long a run that died stays worth telling
    once a later one went well. pending: a run that waits longer in PENDING hangs. slo_*: the service levels; falling
    short of one is part of the digest, not a message of its own. good_within: so many intervals a flow may go on without a
    run that completes, though some were started. missed: so many it may go without being started. slow_after: a run that
    takes longer is slow, whatever is normal. flows: the limits of flows that have their own.
    """

    retry_rate: float = 0.20
    retry_steps: int = 10
    slow_factor: float = 2.0
    slow_runs: int = 5
    slow_of: int = 20
    slow_floor: timedelta = timedelta(seconds=10)
    slow_after: timedelta | None = None
    queue: int = 50
    dead_share: float = 0.01
    dead_read: int = 200
    dead_count: int = 50
    stale: timedelta = timedelta(minutes=15)
    recent: timedelta = timedelta(hours=1)
    pending: timedelta = timedelta(minutes=10)
    schedule_grace: timedelta = timedelta(minutes=5)
    missed: float = 2.0
    good_within: int = 6
    resource: float = 0.90
    resource_critical: float = 0.95
    day: timedelta = timedelta(hours=24)
    digest: str = "daily"
    digest_hour: int = 7
    slo_success: float = 0.95
    slo_retry: float = 0.10
    slo_queue: int = 10
    slo_runs: int = 4
    flows: Mapping[str, Limits] = field(default_factory=dict)

    def of(self, flow: str) -> Limits:
        """Those of one flow."""
        return self.flows.get(flow, self)
