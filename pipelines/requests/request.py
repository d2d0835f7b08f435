"""The noun: somebody's request for a run of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.runs import Mode


@dataclass(frozen=True, slots=True)
class Request:
    """id: drawn before anything is started; the run id in direct mode, and what Prefect's idempotency key is made of.

    asked_by: the name of a user. mode: decided once; the same request never starts a run of each. digest: of what was asked.
    key: the digest of the Idempotency-Key, None without one. retry_of: the run id of the run that this one repeats. run_id:
    None as long as nobody knows it.
    """

    id: str
    flow_name: str
    mode: Mode
    asked_by: str
    digest: str
    asked_at: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    retry_of: str | None = None
    run_id: str | None = None
