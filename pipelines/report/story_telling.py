"""From what a run knows to what may be told of it: one call of the privacy sink over everything, then plain mapping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import numpy as np

from pipelines.evidence import Estimate, Finding, RuleRefusal, Series, Status, SubjectKind
from pipelines.model import Funnel
from pipelines.privacy.sink import release
from pipelines.privacy.tables import Cell, Released, Sum, Table, measure_of, table_of
from pipelines.report.story import (
    Change,
    Level,
    MapRow,
    Measure,
    Note,
    ProposalTold,
    Ridge,
    RunFacts,
    Standing,
    StepTold,
    Story,
    Strain,
    Truth,
)
from pipelines.report.team_graph import TeamGraph

#: People of a team's finding are counted down to a multiple of this, so that no difference of two counts is exact.
_COUNTED_IN = 5
_FINDING_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Band:
    """The normal range of one view of one group. people: the fewest behind one of the values that it was made of."""

    view: str
    kind: SubjectKind
    subject: str
    low: float
    high: float
    people: int


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that a story is told from; nothing of it is shown but through `tell`.

    latest: the newest series of each view and kind. strain: weekly series of `strain_view`, of teams. team_sizes: people
    in each team, sums: both as `privacy.sink.release`. graph: has rules of its own, see `report.team_graph`.
    """

    run: RunFacts
    measures: Sequence[Measure] = ()
    latest: Sequence[Series] = ()
    strain: Sequence[Series] = ()
    bands: Sequence[Band] = ()
    strain_view: str = "strain"
    team_sizes: dict[str, int] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    proposals: Sequence[ProposalTold] = ()
    refused: Sequence[RuleRefusal] = ()
    sums: Sequence[Sum] = ()
    graph: TeamGraph | None = None
    notes: Sequence[Note] = ()
    truths: Sequence[Truth] = ()
    steps: Sequence[StepTold] = ()
    events: Funnel | None = None
    events_since: datetime | None = None
    assumed: Sequence[str] = ()


def tell(material: Material) -> Story:
    """The story; the same material gives the same one."""
    out = release(tables(material), material.run.k, material.team_sizes, material.sums, _hidden_in(material))
    rows = _rows(material, out)
    return Story(
        run=material.run,
        measures=tuple(material.measures),
        rows=rows,
        changes=_changes(material.measures, rows),
        strain=_strain(material, out),
        graph=material.graph,
        findings=tuple(_finding(f, out) for f in material.findings if f.subject_kind is not SubjectKind.PERSON),
        proposals=tuple(_counted_down(p) for p in material.proposals if _may_be_told(p, out)),
        refused=tuple(material.refused),
        notes=tuple(material.notes),
        truths=tuple(material.truths),
        steps=tuple(material.steps),
        events=material.events,
        events_since=material.events_since,
        assumed=tuple(material.assumed),
    )


def tables(material: Material) -> list[Table]:
    """Every number of the material that is about people, as the sink (and its audit) takes it."""
    measures = {measure.view: measure for measure in material.measures}
    found = [
        table_of(series, adds_up=measures[series.view].adds_up, floor=measures[series.view].floor)
        for series in (*material.latest, *material.strain)
        if series.view in measures
    ]
    found += [_band_table(band) for band in material.bands]
    found += [_decision(_finding_key(f), f.subject_kind, f.subject, f.people) for f in material.findings]
    found += [_decision(_proposal_key(p), p.kind, p.subject, p.people) for p in material.proposals]
    return found


def _band_table(band: Band) -> Table:
    middle = (band.low + band.high) / 2
    return Table(
        measure=_band_key(band.view), cells=(Cell(band.kind, band.subject, middle, band.people),), adds_up=False
    )


def _decision(measure: str, kind: SubjectKind, subject: str, people: int) -> Table:
    """Something that is told whole or not at all."""
    return Table(measure=measure, cells=(Cell(kind, subject, 1.0, people),), adds_up=False)


def _band_key(view: str) -> str:
    return f"normal range of {view}"


def _finding_key(finding: Finding) -> str:
    return f"finding {finding.id}"


def _proposal_key(proposal: ProposalTold) -> str:
    return f"proposal {proposal.id}"


def _hidden_in(material: Material) -> list[str]:
    """Teams that the team graph does not name: what is hidden in one place should be what is hidden in the next."""
    shown = {group.name for group in material.graph.groups} if material.graph else set(material.team_sizes)
    return sorted(set(material.team_sizes) - shown)


# ------------------------------------------------------------------------------------------------ numbers


def _rows(material: Material, out: Released) -> tuple[MapRow, ...]:
    """The organisation, then its teams by name."""
    newest = {(series.view, series.kind): series for series in material.latest}
    views = {measure.view for measure in material.measures}
    groups = {
        (series.kind, subject)
        for (view, kind), series in newest.items()
        if view in views and kind in (SubjectKind.ORG, SubjectKind.TEAM)
        for subject in series.subjects
    }
    bands = {(band.view, band.kind, band.subject): band for band in material.bands}
    ordered = sorted(groups, key=lambda group: (group[0] is not SubjectKind.ORG, group[1].casefold(), group[1]))

    def cell(view: str, kind: SubjectKind, subject: str) -> Standing:
        series = newest.get((view, kind))
        return _standing(series, bands.get((view, kind, subject)), kind, subject, out) if series else Standing()

    return tuple(MapRow(k, s, tuple(cell(measure.view, k, s) for measure in material.measures)) for k, s in ordered)


def _standing(series: Series, band: Band | None, kind: SubjectKind, subject: str, out: Released) -> Standing:
    shown = out.of(measure_of(series), kind, subject)
    if shown.value is None:
        return Standing(hidden=shown.hidden)
    if band is None or out.value(_band_key(band.view), kind, subject) is None:
        return Standing(shown.value)
    low, high = _digits(band.low, 3), _digits(band.high, 3)
    return Standing(shown.value, low, high, _level(_excess(shown.value, low, high)))


def _excess(value: float, low: float, high: float) -> float:
    """Signed distance from the nearer edge of the range, in halves of its width; 0 inside."""
    outside = value - high if value > high else value - low if value < low else 0.0
    half = (high - low) / 2
    return outside / half if half else float(np.sign(outside)) * 2


def _level(excess: float) -> Level:
    if excess == 0:
        return Level.NORMAL
    step = 2 if abs(excess) > 1 else 1
    return Level(step if excess > 0 else -step)


def _changes(measures: Sequence[Measure], rows: Iterable[MapRow]) -> tuple[Change, ...]:
    """The furthest outside of their own range first."""
    found = [
        Change(row.subject, measure, cell, _excess(cell.value, cell.low, cell.high))
        for row in rows
        for measure, cell in zip(measures, row.cells, strict=True)
        if cell.level and cell.value is not None and cell.low is not None and cell.high is not None
    ]
    return tuple(sorted(found, key=lambda change: (-abs(change.excess), change.subject, change.measure.view)))


def _strain(material: Material, out: Released) -> Strain:
    """A ridge for each team that had a value in any week; those above their range first, the hidden ones last."""
    series = sorted((s for s in material.strain if s.kind is SubjectKind.TEAM), key=lambda s: s.time_ms)
    teams = sorted({subject for s in series for subject in s.subjects})
    bands = {b.subject: b for b in material.bands if b.view == material.strain_view and b.kind is SubjectKind.TEAM}
    ridges = [_ridge(team, series, bands.get(team), out) for team in teams]
    ridges.sort(key=lambda ridge: (ridge.is_hidden, -(ridge.level or 0), ridge.subject.casefold(), ridge.subject))
    return Strain(tuple(_monday(s.time_ms) for s in series), tuple(ridges))


def _ridge(team: str, series: Sequence[Series], band: Band | None, out: Released) -> Ridge:
    values = tuple(out.value(measure_of(s), SubjectKind.TEAM, team) for s in series)
    if band is None or values[-1] is None or out.value(_band_key(band.view), SubjectKind.TEAM, team) is None:
        return Ridge(team, values, None)
    low, high = _digits(band.low, 3), _digits(band.high, 3)
    return Ridge(team, values, (low, high), _level(_excess(values[-1], low, high)))


def _monday(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


# ------------------------------------------------------------------------------------------------ findings, proposals


def _finding(finding: Finding, out: Released) -> Finding:
    if out.value(_finding_key(finding), finding.subject_kind, finding.subject) is None:
        return _suppressed(finding, out.k)
    exact = finding.subject_kind is SubjectKind.ORG
    return replace(
        finding,
        people=finding.people if exact else finding.people - finding.people % _COUNTED_IN,
        rows=finding.rows if exact else int(_digits(finding.rows, 1)),
        estimate=_estimate(finding.estimate),
        specs=tuple(rounded for spec in finding.specs if (rounded := _estimate(spec))),
        effect_sd=_two(finding.effect_sd),
        mde=_two(finding.mde),
        contrast_effect=_three(finding.contrast_effect),
    )


def _suppressed(finding: Finding, k: int) -> Finding:
    """What was asked, and that the answer is about too few; nothing of the answer."""
    return replace(
        finding,
        words=f"Fewer than {k} people are behind this answer.",
        people=0, periods=0, rows=0, clusters=0, estimate=None, specs=(), checks=(), status=Status.SUPPRESSED,
        reasons=(), mde=None, effect_sd=None, q_bh=None, q_by=None, robustness=None, robustness_benchmark=None,
        contrast=None, contrast_effect=None,
    )  # fmt: skip


def _estimate(its: Estimate | None) -> Estimate | None:
    if its is None:
        return None
    effect, se, low, high = (_digits(x, _FINDING_DIGITS) for x in (its.effect, its.se, its.ci_low, its.ci_high))
    return Estimate(its.method, effect, se, low, high, its.p)


def _three(numbers: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if numbers is None:
        return None
    effect, low, high = (_digits(number, _FINDING_DIGITS) for number in numbers)
    return effect, low, high


def _two(number: float | None) -> float | None:
    return None if number is None else _digits(number, _FINDING_DIGITS)


def _digits(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")


def _counted_down(proposal: ProposalTold) -> ProposalTold:
    return replace(proposal, people=proposal.people - proposal.people % _COUNTED_IN)


def _may_be_told(proposal: ProposalTold, out: Released) -> bool:
    return out.value(_proposal_key(proposal), proposal.kind, proposal.subject) is not None
