"""Who may hear what a run says in words of a team or a proposal: who may see the like elsewhere, and nobody else.

Those who look after runs see that it ran, its numbers and its codes. Words of services and of documents name nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.access.principals import Principal, Role
from pipelines.api.problems import Problem
from pipelines.jobs.flows import PLANNING, POLICY
from pipelines.runs import Run

_WORDS = "words"
_OF_TEAMS = frozenset({Role.ANALYST})  # as findings
_OF_PROPOSALS = frozenset({Role.VIEWER, Role.APPROVER})  # as proposals


def readers(flow: str, parameters: Mapping[str, Any]) -> frozenset[Role] | None:
    """Any one of them may hear it; None: it is for all who may look at runs."""
    if flow == PLANNING.name:
        return _OF_TEAMS
    if flow != POLICY.name or parameters.get("document"):
        return None
    return _OF_PROPOSALS if parameters.get("proposal") else _OF_TEAMS


def unworded(run: Run) -> dict[str, Any]:
    """What the run left, as all may see it who may look at runs."""
    if readers(run.flow_name, run.parameters) is None:
        return dict(run.result)
    return {name: value for name, value in run.result.items() if name != _WORDS}


def words_for(who: Principal, run: Run) -> list[str]:
    """What those alone are told who may hear it; nothing for others. To be noted as read."""
    may = readers(run.flow_name, run.parameters)
    found = run.result.get(_WORDS, []) if may and may & who.roles else []
    return [str(line) for line in found]


def insist_may_start(who: Principal, flow: str, parameters: Mapping[str, Any]) -> None:
    """Who asks what would be said of a team or a proposal has to be one who may hear it.

    Raises:
        Problem: 403.
    """
    may = readers(flow, parameters)
    if may is not None and not may & who.roles:
        needed = " or ".join(sorted(may))
        raise Problem(
            403,
            "NOT_ALLOWED",
            f"besides operator this takes the role {needed}: what {flow} says here is for these alone",
            fix=f"python -m pipelines.users roles NAME --add {sorted(may, reverse=True)[0]} gives it",
        )
