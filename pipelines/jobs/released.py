"""What a full run released about groups, as it told it: kept beside the run's results, so that whoever asks later is told
the same, and nothing that could be subtracted from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipelines.jobs.flows import FULL
from pipelines.jobs.full_ports import StepResults
from pipelines.ports import Ledger
from pipelines.runs import Status

_STEP = "story"
_LOOKED_AT = 20


def keep(results: StepResults, run: str, story: Mapping[str, Any], now: datetime) -> None:
    """The story of a run, as `report.story_json.as_dict` has it. A later turn of the same run replaces it."""
    results.put(run, _STEP, {}, json.dumps(story, allow_nan=False).encode(), now)


def of(results: StepResults, run: str) -> Mapping[str, Any] | None:
    """The story of the full run of that name; None where none was kept."""
    found = results.get(run, _STEP)
    if found is None:
        return None
    story: Mapping[str, Any] = json.loads(found.payload)
    return story


def is_fit(story: Mapping[str, Any], k: int) -> bool:
    """Whether it was told of no group smaller than is told of now: k may have been raised since."""
    return int(story["run"]["k"]) >= k


def newest(results: StepResults, ledger: Ledger, k: int) -> Mapping[str, Any] | None:
    """Of the last full run that completed and kept one that `is_fit`."""
    runs = ledger.find(flow_name=FULL.name, statuses=[Status.COMPLETED], limit=_LOOKED_AT)
    names = dict.fromkeys(run.correlation_id for run in runs if run.correlation_id)
    stories = (story for name in names if (story := of(results, name)) is not None)
    return next((story for story in stories if is_fit(story, k)), None)
