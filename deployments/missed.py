"""What was missed while no worker was there: of the late runs that a schedule made, only the newest of each deployment is
left. It does the work of all; without this two hours off would mean two dozen runs, one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from deployments import rest
from pipelines.errors import OrganismError

Row = Mapping[str, Any]
STATE = "Missed"
_WORDS = "missed while no worker was there; the newest late run does the work of all"
#: Not runs that wait for a slot or for a retry: these were begun.
_WAITING = ("Scheduled", "Late")
_MOST = 10_000


def superseded(late: Iterable[Row]) -> list[Row]:
    """Those that a newer one of the same deployment makes needless. A run that a person asked for is never one."""
    newest: dict[str, Row] = {}
    rest_: list[Row] = []
    made = [row for row in late if row["auto_scheduled"] and row["state_name"] in _WAITING and row["deployment_id"]]
    for row in sorted(made, key=lambda row: str(row["expected_start_time"])):
        if older := newest.get(row["deployment_id"]):
            rest_.append(older)
        newest[row["deployment_id"]] = row
    return rest_


def collapse(api: rest.Api, pool: str, now: datetime) -> int:
    """Cancels them; how many there were. Safe to repeat.

    Raises:
        TransientError, PermanentError: of the server.
    """
    late = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": now.isoformat()}}
    body = {"flow_runs": late, "work_pools": {"name": {"any_": [pool]}}, "sort": "EXPECTED_START_TIME_ASC"}
    needless = superseded(api.pages("/flow_runs/filter", body, _MOST))
    for row in needless:
        state = {"type": "CANCELLED", "name": STATE, "message": _WORDS}
        api.post(f"/flow_runs/{row['id']}/set_state", {"state": state, "force": False})
    return len(needless)


def main(pool: str) -> str:
    """The same on the server of PREFECT_API_URL; what came of it, in words. A worker starts also when this fails."""
    try:
        with rest.opened() as api:
            found = collapse(api, pool, datetime.now(UTC))
    except OrganismError as error:
        return f"late runs were not looked at: {error}"
    return f"{found} late runs cancelled in favour of the newest" if found else ""
