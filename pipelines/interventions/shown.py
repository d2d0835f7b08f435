"""What of the proposals people are shown: whole and with coarse numbers, or only that there is one.

The numbers of a proposal go through the privacy sink like those of the report: who adds and subtracts what several of
them say must not come to a group that is too small.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pipelines.evidence import K_FLOOR, SubjectKind
from pipelines.interventions.proposal import (
    Decision,
    Evidence,
    Expected,
    FindingRef,
    OutcomePlan,
    Proposal,
    TargetKind,
    as_document,
    canonical,
)
from pipelines.privacy.sink import release
from pipelines.privacy.tables import Cell, Table
from pipelines.privacy.traces import check_text, mask

_COUNTED_IN = K_FLOOR
_DIGITS = 2
HIDDEN = "about too few people to show"
_UNSAFE = "named like a person or an address; the group needs another name"

_Thing = tuple[TargetKind, str]
_Part = TypeVar("_Part", FindingRef, Evidence, Expected, OutcomePlan)


def hidden(found: Sequence[Proposal], k: int) -> dict[str, str]:
    """The ids of those that are not shown, each with the reason in words.

    Args:
        found: all there are, also what is over and what nobody asked for: who looks twice knows both.
        k: no number is about fewer people than this.
    """
    measures = _measures(found)
    tables = [
        Table(measure=name, cells=tuple(map(_cell, its.values())), digits=_DIGITS) for name, its in measures.items()
    ]
    out = release(tables, k, _sizes(found))
    told = {p.id: _UNSAFE for p in found if check_text(canonical(as_document(coarse(p))).decode())}
    for name, its in measures.items():
        told |= {
            p.id: HIDDEN for (kind, key), p in its.items() if out.value(name, SubjectKind(kind.value), key) is None
        }
    return told


def _measures(found: Sequence[Proposal]) -> dict[str, dict[_Thing, Proposal]]:
    """What can be subtracted from one another: what one window said, and the last word on each group."""
    measures: dict[str, dict[_Thing, Proposal]] = defaultdict(dict)
    for p in sorted(found, key=lambda p: (p.window_end, p.created_at, p.id)):
        for name in (p.finding.metric, f"{p.finding.metric} {p.window_end.isoformat()}"):
            measures[name][p.target.kind, p.target.key] = p
    return measures


def _cell(p: Proposal) -> Cell:
    return Cell(SubjectKind(p.target.kind.value), p.target.key, p.finding.value, p.target.size)


def _sizes(found: Sequence[Proposal]) -> dict[str, int]:
    """Of the teams in pairs at least what the pair says: the size of the smaller."""
    pairs = [p for p in found if p.target.kind is TargetKind.TEAM_PAIR]
    return {team: p.target.size for p in pairs for team in p.target.teams}


def coarse(p: Proposal) -> Proposal:
    """With people counted down to fives and numbers to two digits, as on the page; and no login that is an address."""
    return replace(
        p,
        target=replace(p.target, size=counted_down(p.target.size)),
        finding=_rounded(p.finding, "value", "normal_low", "normal_high", "coverage"),
        playbook=replace(p.playbook, params={name: _two(value) for name, value in p.playbook.params.items()}),
        evidence=replace(_rounded(p.evidence, "effect", "ci", "mde"), units=counted_down(p.evidence.units)),
        expected=_rounded(p.expected, "effect", "ci") if p.expected else None,
        outcome_plan=_rounded(p.outcome_plan, "harm_bound") if p.outcome_plan else None,
        approval=replace(p.approval, decisions=tuple(map(_masked, p.approval.decisions))),
        requested_by=tuple(map(mask, p.requested_by)),
    )


def counted_down(people: int) -> int:
    """To a multiple of five, so that no difference of two counts is exact."""
    return people - people % _COUNTED_IN


def _masked(its: Decision) -> Decision:
    return replace(its, by=mask(its.by), account=mask(its.account), reason=mask(its.reason))


def _rounded(its: _Part, *names: str) -> _Part:
    return replace(its, **{name: _two(getattr(its, name)) for name in names})


def _two(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return tuple(map(_two, value)) if isinstance(value, tuple) else value
