"""What a full run has to tell, gathered from the stores, as the story that every surface shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pipelines.causal import questions
from pipelines.evidence import Finding, RuleRefusal, State, SubjectKind
from pipelines.graph import weights
from pipelines.interventions import playbooks
from pipelines.interventions.policy import halted_words
from pipelines.interventions.proposal import Proposal
from pipelines.jobs import causal as analysis
from pipelines.jobs import full
from pipelines.jobs.full import FullRun, FullStores
from pipelines.jobs.refresh import without
from pipelines.jobs.turns import Plan
from pipelines.metrics.weeks import normal_bands, team_weeks
from pipelines.model import Funnel
from pipelines.person_weeks import WeekRows
from pipelines.report import team_graph
from pipelines.report.measures import MEASURES
from pipelines.report.story import Note, ProposalTold, RunFacts, StepTold, Story, Truth
from pipelines.report.story_telling import Band, Material, tell

#: Proposals that a reader may still have to do something about.
_OPEN = (State.PENDING_APPROVAL, State.SHADOW, State.BLOCKED, State.APPROVED, State.EXECUTING, State.MONITORING)


def tell_run(
    stores: FullStores,
    done: FullRun,
    k: int,
    *,
    truths: Sequence[Truth] = (),
    events: Funnel | None = None,
    demo: bool = False,
) -> Story:
    """The story of a run that ended well. events: what came in since the last one, where that is known."""
    return tell(material_of(stores, done, k, truths=truths, events=events, demo=demo))


def material_of(
    stores: FullStores,
    done: FullRun,
    k: int,
    *,
    truths: Sequence[Truth] = (),
    events: Funnel | None = None,
    demo: bool = False,
) -> Material:
    """All that the story is told from. For the privacy sink, and for who audits it; never to be shown."""
    plan = done.plan
    rows = stores.weeks.rows((plan.end - full.SHOWN).date(), plan.end.date())
    return Material(
        run=RunFacts(plan.run, plan.now, done.seconds, (plan.start, plan.end), k, demo=demo),
        measures=MEASURES,
        latest=team_weeks(rows[-1]) if rows else (),
        strain=[s for week in rows for s in team_weeks(week) if s.view == "strain" and s.kind is SubjectKind.TEAM],
        bands=_bands(rows),
        team_sizes=_teams(stores),
        findings=_findings(stores, plan),
        proposals=[told(p) for p in stores.proposals.list(_OPEN)],
        refused=_halted(stores),
        graph=_graph(stores, plan, k),
        notes=_missing(stores, rows, plan, k),
        truths=truths,
        steps=[
            StepTold(s.name, s.started, s.seconds, s.peak_bytes, "resumed" if s.skipped else "done", _whole(s.counts))
            for s in done.steps
        ],
        events=events,
        assumed=_assumed(),
    )


def _whole(counts: object) -> dict[str, int]:
    assert isinstance(counts, dict)
    return {name: int(value) for name, value in counts.items()}


def _bands(rows: Sequence[WeekRows]) -> list[Band]:
    if not rows:
        return []
    found = normal_bands(rows, rows[-1].week)
    return [Band(b.view, b.kind, b.subject, b.low, b.high, b.people) for b in found]


def _teams(stores: FullStores) -> dict[str, int]:
    sizes = full.team_sizes(stores)
    del sizes[""]
    return sizes


def _assumed() -> list[str]:
    catalogue = questions.load()
    return questions.drawing(catalogue, catalogue.questions).splitlines()


def _halted(stores: FullStores) -> list[RuleRefusal]:
    words = halted_words(stores.proposals.halted())
    return [RuleRefusal("HALTED", words, "python -m pipelines.review resume --reason WHY")] if words else []


def _findings(stores: FullStores, plan: Plan) -> list[Finding]:
    result = stores.results.get(plan.run, full.run_causal_analysis.__name__)
    return analysis.unpack(result.payload) if result else []


def _graph(stores: FullStores, plan: Plan, k: int) -> team_graph.TeamGraph:
    people, ties = without(stores.graph, stores.archive.excluded())
    return team_graph.build(people, ties, lambda tie: weights.shown(tie.strength, plan.now_ms), k)


def _missing(stores: FullStores, rows: Sequence[WeekRows], plan: Plan, k: int) -> list[Note]:
    """What a run could not see, and what to send so that the next one can."""
    notes = [_age(rows, plan), _teamless(_teams(stores), k)]
    if next(iter(stores.archive.outcomes(plan.end - plan.history)), None) is None:
        words = "No answers of people (outcome.recorded) have come in: without them nothing is proposed."
        notes.append(Note(words, "docs/data.md says how to send them"))
    return [note for note in notes if note]


def _age(rows: Sequence[WeekRows], plan: Plan) -> Note | None:
    if not rows:
        words = "There is no whole week of interactions yet, so nothing can be said about weeks."
        return Note(words, "python -m pipelines.incremental")
    newest = datetime(rows[-1].week.year, rows[-1].week.month, rows[-1].week.day, tzinfo=UTC)
    old = (plan.end - newest).days - 7
    words = f"The newest whole week began on {newest:%Y-%m-%d}; {old} days have gone by since it ended."
    return Note(words, "python -m pipelines.incremental") if old > 7 else None


def _teamless(sizes: Mapping[str, int], k: int) -> Note | None:
    if not sizes:
        words = "Nobody is in a team, so nothing can be said about teams."
        return Note(words, "python -m pipelines.publish people.csv --roster")
    words = f"No team has {k} people, so none can be shown."
    return Note(words) if max(sizes.values()) < k else None


# ------------------------------------------------------------------------------------------------ proposals


def told(its: Proposal) -> ProposalTold:
    """A proposal as the story tells it."""
    expected = its.expected
    return ProposalTold(
        id=its.id,
        state=its.state,
        kind=SubjectKind(its.target.kind.value),
        subject=its.target.key,
        people=its.target.size,
        because=_because(its),
        what=its.preview,
        undo=its.reversibility,
        impact=its.impact.value,
        unit=f"points of {playbooks.measure(expected.metric)}" if expected else "",
        expected=(expected.effect, *expected.ci) if expected else None,
        horizon_days=expected.horizon_days if expected else None,
        refusals=its.refusals,
        expires=its.expires_at,
        next_step=_next_step(its),
    )


def _because(its: Proposal) -> str:
    """Without the number: whether that may be seen is for the privacy sink to say, which reads no sentences."""
    found = its.finding
    name = next((m.name for m in MEASURES if m.view == found.metric), found.metric.replace("_", " "))
    where = "above" if found.value > found.normal_high else "below"
    return f"{name}: {where} the usual range since {found.since:%d %B %Y}"


def _next_step(its: Proposal) -> str:
    if its.state is State.PENDING_APPROVAL:
        return f"python -m pipelines.review show {its.id}"
    if its.state is State.SHADOW:
        return "nothing: shadow mode shows what would be proposed"
    return ""
