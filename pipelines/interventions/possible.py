"""What could be proposed to one team: each practice that moves one of its metrics, drafted as a run would, and judged. Pure.

Nothing here is kept. A draft shows what the rules would say today if a run proposed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.evidence import Finding, RuleRefusal
from pipelines.interventions import lifecycle, playbooks, propose
from pipelines.interventions.bands import Band
from pipelines.interventions.playbooks import Template
from pipelines.interventions.policy import Context
from pipelines.interventions.proposal import Proposal, TargetKind, digest
from pipelines.interventions.propose import Case, SafeActionOrchestrator


@dataclass(frozen=True, slots=True)
class Seen:
    """What a full run saw. run: its name; None: none has completed yet, and there are no findings. people: how many belong to
    each team now, by its name; "" is everybody.
    """

    run: str | None
    window_end: datetime
    findings: Sequence[Finding]
    bands: Sequence[Band]
    people: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Draft:
    """A practice for the team. refusals: which rules say no today, all of them; empty: none does.

    standing: the open proposal about the same metric, if there is one. proposal, finding: None where nothing could be
    drafted, and then the refusals say why.
    """

    template: Template
    refusals: tuple[RuleRefusal, ...]
    proposal: Proposal | None = None
    finding: Finding | None = None
    standing: Proposal | None = None


class Drafting(SafeActionOrchestrator):
    """The orchestrator of a run, asked for every practice and not only for the first that fits."""

    def __init__(self, run: str, window_end: datetime) -> None:
        super().__init__(run, window_end)
        self._end = window_end

    def of_team(self, team: str, findings: Sequence[Finding], bands: Sequence[Band], context: Context) -> list[Draft]:
        """One draft for each playbook that is for teams, in the order of the playbooks.

        What a later run may still change uses up no budget: a plan chooses among it.
        """
        cases = {c.band.found.metric: c for c in propose.cases_of(findings, bands) if _is(c, team)}
        banded = {b.found.metric for b in bands if b.kind is TargetKind.TEAM and b.key == team}
        reduced = propose.without({case.thing for case in cases.values()}, context)
        fitting = [t for t in playbooks.SHIPPED.values() if TargetKind.TEAM in t.kinds]
        return [
            self._one(t, case, reduced, _open_about(case, context))
            if (case := cases.get(t.treatment))
            else Draft(t, (_nothing(t, t.treatment in banded),))
            for t in fitting
        ]

    def _one(self, template: Template, case: Case, context: Context, standing: Proposal | None) -> Draft:
        id_ = standing.id if standing else digest((*case.thing, self._end))[:16]
        made = self._draft(case, template, id_, context)
        busy = under_way(standing)
        return Draft(template, (*([busy] if busy else []), *made.refusals), made, case.finding, standing)


def under_way(standing: Proposal | None) -> RuleRefusal | None:
    """A rule of its own here: a run never drafts what people have decided on."""
    if standing is None or standing.state in lifecycle.REVISABLE:
        return None
    words = f"a proposal about this metric is {standing.state.replace('_', ' ')}"
    return RuleRefusal("UNDER_WAY", words, f"proposal {standing.id} ends")


def _open_about(case: Case, context: Context) -> Proposal | None:
    return next((p for p in context.standing if p.thing == case.thing and p.state in lifecycle.OPEN), None)


def _is(case: Case, team: str) -> bool:
    return case.target.kind is TargetKind.TEAM and case.target.key == team


def _nothing(template: Template, has_band: bool) -> RuleRefusal:
    metric = template.treatment
    if not has_band:
        words = f"what is normal of {metric} in this team is not known"
        return RuleRefusal("NO_BAND", words, "more weeks in which the team's members are seen at work")
    words = f"no finding says that {metric} has an effect that is worth acting on"
    return RuleRefusal("NO_EVIDENCE", words, "an outcome that people report themselves, and a full run over more weeks")
