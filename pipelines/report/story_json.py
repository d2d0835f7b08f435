"""The story as JSON: the same released values, and nothing that the page does not show."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

from pipelines.evidence import State, Status
from pipelines.privacy.traces import guard
from pipelines.report import funnel
from pipelines.report.story import Level, Story
from pipelines.report.team_graph import TeamGraph

#: Of all that steps count, what says how large the work was.
_COUNTED = frozenset({"people", "ties", "views", "unchanged", "week_rows", "interactions", "person_weeks", "points"})


def text(story: Story, forbidden: Iterable[str] = ()) -> str:
    """The story as one JSON object.

    Raises:
        Refused: LEAK, as `privacy.traces.guard`.
    """
    return guard(json.dumps(as_dict(story), allow_nan=False, ensure_ascii=False), forbidden)


def as_dict(story: Story) -> dict[str, Any]:
    """For `json.dumps`. Times are ISO 8601, levels words; an infinite number is None, because JSON has none."""
    document: dict[str, Any] = _plain({
        field: getattr(story, field)
        for field in ("run", "measures", "rows", "changes", "strain", "findings", "proposals", "refused", "notes")
    })  # fmt: skip
    document["truths"], document["steps"] = _plain(story.truths), _plain(story.steps)
    document["graph"] = _graph(story.graph) if story.graph else None
    document["events"] = _events(story)
    return document


def numbers(story: Story) -> dict[str, float]:
    """What the run ledger keeps: how much was looked at, found and proposed. No value of a group is among it."""
    found, states = Counter(f.status for f in story.findings), Counter(p.state for p in story.proposals)
    counted = {name: count for step in story.steps for name, count in step.counts.items() if name in _COUNTED}
    return {
        **counted,
        "findings": len(story.findings),
        "credible": found[Status.CREDIBLE],
        "proposed": states[State.PENDING_APPROVAL] + states[State.SHADOW],
        "blocked": states[State.BLOCKED],
        "notes": len(story.notes),
    }


def _events(story: Story) -> dict[str, Any] | None:
    if story.events is None:
        return None
    fates = {fate.words.replace(" ", "_"): fate.count for fate in funnel.fates(story.events)}
    return {"since": _plain(story.events_since), "read": story.events.read, **fates, "codes": dict(story.events.codes)}


def _graph(graph: TeamGraph) -> dict[str, Any]:
    ties = [{"groups": list(pair), **asdict(tie)} for pair, tie in sorted(graph.ties.items())]
    return {"k": graph.k, "groups": [asdict(group) for group in graph.groups], "ties": ties}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Level):
        return value.name.lower()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
