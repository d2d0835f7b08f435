"""What each step of a run left for the next, in PostgreSQL: a run that stopped is taken up after its last row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from pipelines.postgres import Pool, transaction
from pipelines.timeseries.statements import change, rows


@dataclass(frozen=True, slots=True)
class StepResult:
    """counts: what the step says of itself. payload: what the next one reads, in that step's own encoding."""

    run: str
    step: str
    done_at: datetime
    counts: Mapping[str, int | float]
    payload: bytes


class StepResults:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def put(self, run: str, step: str, counts: Mapping[str, int | float], payload: bytes, now: datetime) -> None:
        """Keep a result, all of it or nothing. A step that runs again after a crash replaces its own."""
        text = msgspec.json.encode(dict(counts)).decode()
        with transaction(self._pool) as connection:
            rows(connection, "put_result", run=run, step=step, done_at=now, counts=text, payload=payload)

    def get(self, run: str, step: str) -> StepResult | None:
        with transaction(self._pool) as connection:
            found = rows(connection, "result", run=run, step=step)
        return _result(found[0]) if found else None

    def steps(self, run: str) -> list[str]:
        """The steps of a run that are done, in the order of their time; empty for a run that nobody knows."""
        with transaction(self._pool) as connection:
            return [step for (step,) in rows(connection, "steps", run=run)]

    def latest_run(self) -> str | None:
        """The run with the newest result."""
        with transaction(self._pool) as connection:
            found = rows(connection, "latest_run")
        return found[0][0] if found else None

    def forget(self, before: datetime) -> int:
        """Remove runs, each as a whole, whose last result is older. How many rows; repeatable."""
        with transaction(self._pool) as connection:
            return change(connection, "forget_results", before=before)


def _result(row: tuple[Any, ...]) -> StepResult:
    run, step, done_at, counts, payload = row
    return StepResult(run, step, done_at, msgspec.json.decode(counts), payload)
