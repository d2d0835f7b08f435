"""A run that somebody asks for on a page, and the one that repeats it at the moment."""

from __future__ import annotations

from pipelines.api import runs
from pipelines.api.desk import Desk
from pipelines.api.problems import Problem
from pipelines.runs import Run


def must_get(its: Desk, run_id: str) -> Run:
    """In words for people, who have not come by the API. Raises Problem: 404."""
    try:
        return runs.must_get(its, run_id)
    except Problem as error:
        words = (
            "there is no such run: numbers have gaps, and what ended long ago is forgotten. The list has what is kept"
        )
        raise Problem(error.status_code, error.code, words) from None


def repetition(its: Desk, found: Run) -> Run | None:
    """The open run that repeats it; None also where that is only just being asked for."""
    request = its.postgres().requests.open_retry(found.run_id, its.clock())
    return its.ledger.get(request.run_id) if request and request.run_id else None
