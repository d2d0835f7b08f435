"""The run that a path names, and pages of runs: by our run id, or by the whole number that is its workflow_id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Path, Query

from pipelines.api.desk import Desk
from pipelines.api.problems import Problem, absent
from pipelines.api.shapes import LARGEST_ID
from pipelines.jobs import on_demand
from pipelines.ports import Ledger
from pipelines.runs import Run

RunId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=200,
        description="run_id, or workflow_id",
        examples=["0b6e7a5c-3f6e-4f0e-9d53-8f1f9f0a8f1e"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="how many at most")]
Before = Annotated[
    int | None, Query(ge=1, le=LARGEST_ID, description="the workflow_id of the last one of the page before")
]


def must_get(desk: Desk, run_id: str) -> Run:
    """The run as it may be shown today. Raises Problem: 404."""
    if "\0" in run_id:  # no store can be asked for it
        raise no_run()
    found = by_number(desk.ledger, run_id) if run_id.isascii() and run_id.isdigit() else desk.ledger.get(run_id)
    if found is None:
        raise no_run()
    return on_demand.as_fit(found, desk.config.min_group_size)


def by_number(ledger: Ledger, text: str) -> Run | None:
    number = int(text)
    if not 0 < number <= LARGEST_ID:
        return None
    return next((run for run in ledger.find(limit=1, before_id=number + 1) if run.id == number), None)


def no_run() -> Problem:
    return absent("such run", "GET /workflows/flows lists the runs; ended ones are forgotten after ORGANISM_RUNS_DAYS")


def next_page(path: str, query: Mapping[str, object], runs: list[Run], limit: int) -> str | None:
    """The path of the page that follows; None after the last one. runs: one more than the limit, where there is one."""
    if len(runs) <= limit:
        return None
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode({**kept, 'limit': limit, 'before': runs[limit - 1].id}, doseq=True)}"
