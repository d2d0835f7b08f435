"""The last step of the full flow: this run's findings and the groups' weeks become proposals for people to decide on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from pipelines.errors import Refused
from pipelines.evidence import Finding, Series, State
from pipelines.interventions.approval import Attempt
from pipelines.interventions.audit import AuditReport
from pipelines.interventions.bands import bands, unnamed
from pipelines.interventions.policy import Context
from pipelines.interventions.proposal import Halt, Proposal
from pipelines.interventions.propose import SafeActionOrchestrator, Saved
from pipelines.metrics.strain import LEAST_WEEKS
from pipelines.metrics.weeks import BAND_MADS

_log = logging.getLogger(__name__)


class Proposals(Protocol):
    """Where proposals are kept. Every change is whole or not at all, and leaves its row in the audit log."""

    def get(self, id_: str) -> Proposal | None: ...

    def list(self, states: Collection[State]) -> list[Proposal]:
        """Those in one of these states, oldest first."""

    def halted(self) -> Halt | None:
        """The kill switch, as it is now. To be read before every step that has an effect."""

    def propose(
        self, weigh: Callable[[Context], Sequence[Proposal]], window_end: datetime, run: str, now: datetime
    ) -> Saved:
        """Make the open proposals what `weigh` wants of them, given what stands at that moment. Repeatable.

        Raises:
            Refused: HALTED.
        """

    def expire(self, now: datetime, by: str = ...) -> int:
        """Close what waited for too long. How many."""

    def decide(self, attempt: Attempt, now: datetime) -> Proposal:
        """The proposal after the decision. Of many at the same moment exactly as many succeed as are needed.

        Raises:
            InvalidInput: there is no such proposal.
            Refused: with the code of the rule that says no.
        """

    def withdraw(self, id_: str, by: str, reason: str, now: datetime) -> Proposal: ...

    def halt(self, by: str, reason: str, now: datetime) -> bool:
        """When this returns, no step begins any more. False: it was halted already, and stays so."""

    def resume(self, by: str, reason: str, now: datetime) -> bool: ...

    def verify_audit(self, anchor: tuple[int, str] | None = None) -> AuditReport:
        """Check the log, and the tables against it. anchor: row number and hash that were noted outside before."""


@dataclass(frozen=True, slots=True)
class Evaluated(Saved):
    """Counts of one turn. halted: 1 when the kill switch is on; then nothing was looked at and nothing changed. unnamed:
    groups that nothing is proposed to because of their names.
    """

    findings: int = 0
    bands: int = 0
    halted: int = 0
    unnamed: int = 0


def evaluate_interventions(
    proposals: Proposals,
    findings: Sequence[Finding],
    weekly: Iterable[Series],
    people: Mapping[str, int],
    *,
    run: str,
    window_end: datetime,
    now: datetime,
    requested_by: Sequence[str] = (),
) -> Evaluated:
    """Propose what this run's findings support, revise what changed, withdraw what they no longer support.

    The same window again changes nothing; one that ended more than a day ago opens nothing. Empty input proposes nothing,
    and withdraws what is still undecided.

    Args:
        findings: of this run.
        weekly: series of groups, one per view and week, of 13 weeks or more (`bands.bands`).
        people: how many belong to each group, by its key.
        requested_by: names or logins of whoever started the run: they may not approve what it proposes.
    """
    if proposals.halted():
        return Evaluated(halted=1)
    found = bands(weekly, people, BAND_MADS, LEAST_WEEKS)  # as the bands that are stored and shown
    orchestrator = SafeActionOrchestrator(run, window_end, requested_by)
    try:
        saved = proposals.propose(partial(orchestrator.evaluate, findings, found), window_end, run, now)
    except Refused as refused:
        if refused.code != "HALTED":
            raise
        return Evaluated(halted=1)  # somebody pulled the switch while we were weighing
    passed_over = unnamed(found)
    for refusal in passed_over:
        _log.warning("%s: %s; unblocked by: %s", refusal.rule, refusal.words, refusal.unblocks)
    return Evaluated(**asdict(saved), findings=len(findings), bands=len(found), unnamed=len(passed_over))
