"""What the flows that people start share: how words get into what a run keeps, and for how long they may be told again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.jobs.flows import PLANNING, POLICY
from pipelines.privacy.traces import guard
from pipelines.report.run_words import WITHHELD
from pipelines.runs import Run

_MOST, _LONGEST = 40, 300
_WHY = "it was told under a smaller k, or under one that was not noted; start it anew"


def kept(sentences: Iterable[str], forbidden: Iterable[str] = ()) -> list[str]:
    """The sentences as a run keeps them for people: few, short, one line each.

    Raises:
        Refused: LEAK, one holds a pseudonym, an address or a secret.
    """
    secrets = tuple(forbidden)
    lines = [" ".join(guard(sentence, secrets).split()) for sentence in sentences]
    short = [line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…" for line in lines]
    return short if len(short) <= _MOST else [*short[: _MOST - 1], f"and {len(short) - _MOST + 1} more"]


def speaks_of_groups(flow: str, parameters: Mapping[str, Any]) -> bool:
    """Whether such a run says something of a team or a proposal. Of a document it counts what is in it, and names nobody."""
    return flow == PLANNING.name or (flow == POLICY.name and not parameters.get("document"))


def as_fit(run: Run, k: int) -> Run:
    """The run as it may be shown today. What was said of a team or a proposal under a smaller k than today's is not said
    again, nor what nobody knows the k of: neither words nor numbers, those of its steps included.
    """
    under = run.result.get("k")
    if not speaks_of_groups(run.flow_name, run.parameters) or (isinstance(under, int) and under >= k):
        return run
    said = run.result or any(step.counts for step in run.steps)
    steps = tuple(replace(step, counts={}) for step in run.steps)
    return replace(run, result={WITHHELD: _WHY} if said else {}, steps=steps)
