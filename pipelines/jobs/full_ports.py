"""What a full run keeps and finds again: the ports of its results and of the time series. See docs/decisions/0006."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pipelines.evidence import Finding, Series, SubjectKind
from pipelines.person_weeks import Baseline


class StepResult(Protocol):
    """counts: what the step says of itself. payload: what the next step reads."""

    @property
    def counts(self) -> Mapping[str, Any]: ...

    @property
    def payload(self) -> bytes: ...

    @property
    def done_at(self) -> datetime: ...


class StepResults(Protocol):
    """What each step of a run left for the next."""

    def put(self, run: str, step: str, counts: Mapping[str, int | float], payload: bytes, now: datetime) -> None:
        """Keep a result, all of it or nothing. A step that runs again replaces its own."""

    def get(self, run: str, step: str) -> StepResult | None: ...

    def steps(self, run: str) -> list[str]:
        """The steps of a run that are done; empty for a run that nobody knows."""

    def latest_run(self) -> str | None:
        """The run with the newest result."""

    def forget(self, before: datetime) -> int: ...


class Points(Protocol):
    """The time series: points, findings and normal bands."""

    def write(
        self, run: str, series: Iterator[Series], findings: Sequence[Finding], baselines: Sequence[Baseline]
    ) -> Any:
        """All of it in one transaction, idempotent by natural key; counts as a dataclass."""

    def latest(self, view: str, version: int, kind: SubjectKind) -> Series | None: ...

    def findings(self, run: str) -> list[Finding]: ...

    def retire_points(self, before: datetime) -> int:
        """Drop whole months that are older. How many; repeatable."""
