"""Who may hear what a run says in words of a team or a proposal, and so may start it: who may see the like elsewhere.

Those who look after runs see that it ran, its numbers and its codes. Words of services and of documents name nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.access.principals import Principal, Role
from pipelines.api import security
from pipelines.api.desk import Desk
from pipelines.api.problems import Problem
from pipelines.api.security import Note
from pipelines.jobs import on_demand, operating, startable
from pipelines.jobs.flows import PLANNING
from pipelines.jobs.operating import Line, Started
from pipelines.report import run_words
from pipelines.runs import Run

_WORDS = "words"
_OF_TEAMS = frozenset({Role.ANALYST})  # as findings
_OF_PROPOSALS = frozenset({Role.VIEWER, Role.APPROVER})  # as proposals


def readers(flow: str, parameters: Mapping[str, Any]) -> frozenset[Role] | None:
    """Any one of them may hear it; None: it is for all who may look at runs."""
    if not on_demand.speaks_of_groups(flow, parameters):
        return None
    return _OF_PROPOSALS if flow != PLANNING.name and parameters.get("proposal") else _OF_TEAMS


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


def lines(its: Desk, run: Run, limit: int) -> list[Line]:
    """What it wrote. It counts as it goes, so of a run whose numbers are not told any more its lines are not either."""
    if why := run_words.withheld(run):
        return [Line(run.created_at, "INFO", why)]
    return operating.logs(its.operating(), run.run_id, limit)


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
            fix=security.how_to_have(may),
        )


# ------------------------------------------------------------------------------------------------ starting


def start(its: Desk, who: Principal, note: Note, flow: str, parameters: Mapping[str, Any], key: str | None) -> Started:
    """A run that somebody asks for who may hear what it says. Noted before it is begun.

    Raises:
        Problem: 403. As `jobs.operating.start`.
    """
    checked = startable.checked(flow, parameters)  # of a document only what is counted in it
    insist_may_start(who, flow, checked)
    note(flow, parameters=checked)
    return operating.start(its.operating(), flow, checked, who.name, key, its.clock())


def retry(its: Desk, who: Principal, note: Note, run: Run, key: str | None) -> Started:
    """Likewise, of a run that failed or was cancelled.

    Raises:
        Problem: 403. As `jobs.operating.retry`.
    """
    insist_may_start(who, run.flow_name, run.parameters)
    note(run.run_id)
    return operating.retry(its.operating(), run.run_id, who.name, key, its.clock())
