"""Made-up material for stories of a run: a whole one, an empty one, a first one; and hostile names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import numpy as np

from pipelines.evidence import Check, CheckResult, Estimate, Finding, RuleRefusal, Series, State, Status, SubjectKind
from pipelines.model import Funnel, Tie
from pipelines.report import team_graph
from pipelines.report.story import Mark, Measure, Note, ProposalTold, RunFacts, StepTold, Truth
from pipelines.report.story_telling import Band, Material

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
K = 5
WEEKS = 12
TEAMS: Mapping[str, int] = {
    "Payments": 14, "Billing": 9, "Checkout": 11, "Platform": 18, "Data": 8, "Design": 6, "Support": 22, "Sales": 31,
    "People": 7, "Finance": 6, "Legal": 3, "Research": 4,
}  # fmt: skip
MEASURES = (
    Measure("strain", "Strain index", "of 100", "Work patterns that go with strain; an index, not a diagnosis."),
    Measure("meeting_h", "Meeting hours", "hours a week", "Hours in meetings, a person and week."),
    Measure(
        "after_hours_share", "After-hours work", "% of activity", "Activity outside of the person's own working hours."
    ),
    Measure("focus_blocks", "Focus blocks", "a day", "Stretches of two hours without an interruption, a working day."),
    Measure("network_size", "People worked with", "people", "Different people in contact, a person and week."),
    Measure("ei_index", "Outward balance", "", "From −1, all ties inside the team, to +1, all outside.", floor=-1.0),
)
_USUAL = {"strain": (38, 5), "meeting_h": (14, 2), "after_hours_share": (9, 2), "focus_blocks": (1.8, 0.3),
          "network_size": (16, 3), "ei_index": (-0.2, 0.12)}  # fmt: skip
#: What is unusual this week: (team, view) -> standard deviations.
_ODD = {("Payments", "strain"): 4.2, ("Payments", "meeting_h"): 3.4, ("Payments", "focus_blocks"): -2.9,
        ("Billing", "meeting_h"): 2.6, ("Support", "after_hours_share"): 2.4, ("Design", "ei_index"): -2.5}  # fmt: skip


def material(
    names: Mapping[str, str] | None = None, teams: Mapping[str, int] = TEAMS, *, with_graph: bool = True
) -> Material:
    """A full run over an organisation of `teams`. names: other names for some of them."""
    called = {team: (names or {}).get(team, team) for team in teams}
    sizes = {called[team]: size for team, size in teams.items()}
    return Material(
        run=RunFacts("full-2026-03-02T06", NOW, 212.0, (NOW - timedelta(days=84), NOW), K, demo=True),
        measures=MEASURES,
        latest=latest(called, teams),
        strain=weekly(called, teams),
        bands=bands(called, teams),
        team_sizes=sizes,
        findings=findings(called),
        proposals=proposals(called),
        graph=graph(sizes) if with_graph else None,
        notes=NOTES,
        truths=TRUTHS,
        steps=STEPS,
        events=Funnel(48_210, 47_020, 610, 30, 412, 138, codes={"TOO_LATE": 412, "BAD_JSON": 21, "SELF_ONLY": 9}),
        events_since=NOW - timedelta(hours=6),
    )


def empty() -> Material:
    """The first run of a new installation: nothing but the run itself."""
    return Material(run=RunFacts("full-1", NOW, 3.0, (NOW - timedelta(days=84), NOW), K))


def early() -> Material:
    """Numbers, but no normal ranges, and only findings for which there is not enough history."""
    whole = material()
    few = [f for f in whole.findings if f.status is Status.NOT_ENOUGH_HISTORY]
    return Material(
        run=RunFacts("full-2", NOW, 3.0, (NOW - timedelta(days=84), NOW), K),
        measures=MEASURES, latest=whole.latest, strain=whole.strain[-2:], team_sizes=whole.team_sizes, findings=few,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ numbers


def _value(team: str, view: str, week: int) -> float:
    middle, spread = _USUAL[view]
    rng = np.random.default_rng([sum(team.encode()), list(_USUAL).index(view), week])
    own = np.random.default_rng([sum(team.encode()), list(_USUAL).index(view)]).normal() * spread
    odd = _ODD.get((team, view), 0.0) * max(0.0, (week - WEEKS + 5) / 4)
    return float(middle + own + spread * (0.45 * rng.normal() + odd))


def _series(view: str, week: int, called: Mapping[str, str], teams: Mapping[str, int]) -> Series:
    values = np.array([_value(team, view, week) for team in teams])
    time = int((NOW - timedelta(weeks=WEEKS - 1 - week)).timestamp() * 1000)
    sizes = np.array(list(teams.values()))
    return Series(view, 1, SubjectKind.TEAM, time, tuple(called[team] for team in teams), values, sizes)


def latest(called: Mapping[str, str], teams: Mapping[str, int]) -> list[Series]:
    columns = [_series(view, WEEKS - 1, called, teams) for view in _USUAL]
    return columns + [_organisation(column) for column in columns]


def _organisation(column: Series) -> Series:
    whole = np.array([np.average(column.values, weights=column.sizes)])
    return Series(column.view, 1, SubjectKind.ORG, column.time_ms, ("",), whole, np.array([column.sizes.sum()]))


def weekly(called: Mapping[str, str], teams: Mapping[str, int]) -> list[Series]:
    return [_series("strain", week, called, teams) for week in range(WEEKS)]


def bands(called: Mapping[str, str], teams: Mapping[str, int]) -> list[Band]:
    found = []
    for team, size in teams.items():
        for view in _USUAL:
            past = [_value(team, view, week) for week in range(WEEKS - 5)]
            middle, half = np.mean(past), 3 * np.std(past) + _USUAL[view][1] / 4
            low, high = middle - half, middle + half
            if (team, view) != ("Finance", "strain"):  # too new for a normal range
                found.append(Band(view, SubjectKind.TEAM, called[team], float(low), float(high), size))
    return found


def graph(sizes: Mapping[str, int]) -> team_graph.TeamGraph:
    """Dense inside, sparse between, three blocks."""
    rng = np.random.default_rng(7)
    people = {f"p_{t:08x}{i:024x}": team for t, (team, size) in enumerate(sizes.items()) for i in range(size)}
    place = {team: i // 4 for i, team in enumerate(sizes)}
    ties = []
    for one, other in combinations(people, 2):
        same, near = people[one] == people[other], place[people[one]] == place[people[other]]
        if rng.random() < (0.7 if same else 0.18 if near else 0.03):
            ties.append(Tie(one, other, "message", int(rng.integers(1, 40)), 0, float(rng.gamma(2, 4)), 0, 10**12))
    return team_graph.build(people.items(), ties, lambda tie: tie.strength, K)


# ------------------------------------------------------------------------------------------------ findings


def check(name: str, result: CheckResult, words: str, gate: bool = False) -> Check:
    return Check(name, result, words, gate)


PASSED, FAILED, NOT_RUN = CheckResult.PASSED, CheckResult.FAILED, CheckResult.NOT_RUN
_LEAD = "Next week's hours do not predict this week's result, as they could if something else moved both."
_NO_LEAD = "Next week's hours predict this week's result, although they come after it."


def _checks(lead: CheckResult = PASSED, specs: CheckResult = PASSED) -> tuple[Check, ...]:
    return (
        check("lead test", lead, _LEAD if lead is PASSED else _NO_LEAD, gate=True),
        check("negative control", PASSED, "Badge swipes, which it cannot move, do not move with it.", gate=True),
        check(
            "specifications",
            specs,
            "Linear, flexible and dynamic models " + ("agree." if specs is PASSED else "differ."),
            True,
        ),
        check("placebo", PASSED, "Hours of other people have no effect. This cannot see confounding."),
        check("half of the data", NOT_RUN, "Needs 400 person-weeks more."),
    )


def finding(
    id_: str, words: str, status: Status, effect: tuple[float, float, float] | None, sd: float | None = None,
    kind: SubjectKind = SubjectKind.ORG, subject: str = "", people: int = 132, treatment: str = "meeting_h",
    outcome: str = "short_rests", unit: str = "hours a week", dose: float = -2.0, reasons: Sequence[str] = (),
    checks: tuple[Check, ...] | None = None, enough_on: date | None = None, interference: bool = False,
    mde: float | None = 0.03,
) -> Finding:  # fmt: skip
    estimate = (
        None
        if effect is None
        else Estimate("FE-DML", effect[0], (effect[2] - effect[1]) / 3.92, effect[1], effect[2], 0.003)
    )
    specs = (
        ()
        if estimate is None
        else (estimate, Estimate("linear TWFE", effect[0] * 1.1, 0.02, effect[1], effect[2], 0.01))
    )  # type: ignore[index]
    return Finding(
        id=id_, question=id_.split("/")[0], words=words, treatment=treatment, treatment_unit=unit, outcome=outcome,
        outcome_kind="operational", lag_weeks=4, subject_kind=kind, subject=subject, people=people, periods=WEEKS,
        rows=people * WEEKS, clusters=10, cluster_level="team", estimate=estimate, specs=specs,
        checks=(_checks() if checks is None else checks) if effect else (), status=status, reasons=tuple(reasons),
        data_version="d41d8cd9", mde=mde if effect else None, effect_sd=sd, q_bh=0.01 if effect else None,
        contrast=dose if effect else None,
        contrast_effect=_times(dose, effect),
        interference=interference, enough_on=enough_on,
    )  # fmt: skip


def _times(dose: float, effect: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if effect is None:
        return None
    middle, *ends = (dose * number for number in effect)
    return middle, min(ends), max(ends)


def findings(called: Mapping[str, str]) -> list[Finding]:
    team = SubjectKind.TEAM
    return [
        finding("meetings", "More hours in meetings are followed by more nights with under 11 hours of rest.",
                Status.CREDIBLE, (0.082, 0.055, 0.11), 0.12),
        finding("meetings/payments", "In this team, more hours in meetings cost more rest than elsewhere.", Status.CREDIBLE,
                (0.13, 0.04, 0.21), 0.19, team, called.get("Payments", "Payments"), 14),
        finding("after-hours", "After-hours work goes with more short rests, but the short rests come first.",
                Status.FEEDBACK_OR_CONFOUNDING, (0.031, 0.024, 0.037), 0.36, treatment="after_hours_share",
                unit="% of activity", dose=-5.0, reasons=["The lead test failed (p = 0.001)."], checks=_checks(lead=FAILED)),
        finding("focus", "More focus blocks make no difference to response times that would matter.", Status.NO_EFFECT,
                (0.004, -0.012, 0.02), 0.006, treatment="focus_blocks", outcome="response_h", unit="a day", dose=0.5),
        finding("chat", "Whether sending more messages changes weekend work cannot be told.", Status.UNDERPOWERED,
                (0.05, -0.08, 0.19), 0.07, treatment="sent", outcome="weekend_share", unit="messages a day", dose=-5.0,
                mde=0.19, reasons=["An effect below 0.19 would not have been seen."]),
        finding("network", "Working with more people and the strain index move together.", Status.EXPLORATORY_PROXY,
                (0.09, 0.02, 0.16), 0.13, treatment="network_size", outcome="strain", unit="people", interference=True,
                reasons=["Strain is an index that was not validated here.", "It may spread to neighbours."]),
        finding("meetings/legal", "In this team the effect is stronger.", Status.CREDIBLE, (0.4, 0.2, 0.6), 0.5, team,
                called.get("Legal", "Legal"), 3),
        finding("rota", "Whether the new rota changed anything cannot be told yet.", Status.NOT_ENOUGH_HISTORY, None,
                treatment="rota", enough_on=date(2026, 4, 13), reasons=["2 weeks since the change, 8 are needed."]),
        finding("span", "Whether long days shorten nights depends on how one counts.", Status.SPEC_SENSITIVE,
                (0.06, -0.09, 0.2), 0.08, treatment="span_h", unit="hours", dose=-1.0, checks=_checks(specs=FAILED),
                reasons=["The specifications differ in sign."]),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ proposals, the rest


def proposals(called: Mapping[str, str]) -> list[ProposalTold]:
    payments, billing = called.get("Payments", "Payments"), called.get("Billing", "Billing")
    template = {
        "kind": SubjectKind.TEAM,
        "subject": payments,
        "people": 14,
        "impact": "low",
        "unit": "short rests a week",
    }
    return [
        ProposalTold(
            id="pr-7f3a91", state=State.PENDING_APPROVAL, **template,  # type: ignore[arg-type]
            because="Meeting hours are far above this team's normal range, and more of them shorten nights.",
            what="Invite the team to try two mornings a week without meetings for four weeks. Nothing is moved in anybody's"
            " calendar; the invitation goes to the team's channel.",
            undo="Withdraw the invitation in the same channel; nothing else was changed.",
            expected=(-0.26, -0.42, -0.08), horizon_days=28, expires=NOW + timedelta(hours=24),
            next_step="python -m pipelines.review approve pr-7f3a91",
        ),
        ProposalTold(
            id="pr-02bc44", state=State.BLOCKED, kind=SubjectKind.TEAM, subject=called.get("Support", "Support"), people=22,
            impact="medium", because="After-hours work is above this team's normal range.",
            what="Suggest a rota for the evening queue.", undo="End the rota at the end of a week.",
            refusals=(
                RuleRefusal("EVIDENCE", "The finding behind it is not credible: something else may move both.",
                            "A trial in which half of the queue starts four weeks later."),
                RuleRefusal("COOLDOWN", "This team had a change 3 weeks ago.", "Wait until 23 Mar 2026."),
            ),
        ),
        ProposalTold(
            id="pr-c81d20", state=State.SHADOW, kind=SubjectKind.TEAM_PAIR,
            subject="|".join(sorted((billing, payments))), people=9, impact="low", unit="meeting hours a week",
            because="Both teams sit in each other's planning meetings.",
            what="Merge the two weekly planning meetings into one.", undo="Go back to two meetings.",
            expected=(-1.1, -1.9, -0.3), horizon_days=42,
        ),
    ]  # fmt: skip


NOTES = (
    Note(
        "412 late events wait for a person: the weeks of 2 and 9 Feb may change.", "python -m pipelines.dlq list --late"
    ),
    Note(
        "No survey outcome is recorded: strain is an index that nobody has validated here.",
        "send outcome.recorded events",
    ),
)
TRUTHS = (
    Truth("meetings shorten nights, 0.08 each hour", "meetings", Status.CREDIBLE, Mark.FOUND),
    Truth("stronger in Payments", "meetings/payments", Status.CREDIBLE, Mark.FOUND),
    Truth("focus blocks do nothing", "focus", Status.NO_EFFECT, Mark.SILENT),
    Truth("trap: deadlines move after-hours work and rests", "after-hours", Status.FEEDBACK_OR_CONFOUNDING, Mark.SILENT),
    Truth("spillover between neighbours", "network", Status.EXPLORATORY_PROXY, Mark.FOUND, "labelled as interference"),
    Truth("chat moves weekend work a little, 0.03", "chat", Status.UNDERPOWERED, Mark.MISSED, "too small for this data"),
)  # fmt: skip


def _step(name: str, start: float, seconds: float, peak: int | None, **counts: int) -> StepTold:
    return StepTold(name, NOW + timedelta(seconds=start), seconds, peak, counts=counts)


STEPS = (
    _step("refresh_materialized_views", 0.4, 61.0, 412 << 20, people=138, views=21),
    _step("run_causal_analysis", 61.6, 138.2, 655 << 20, questions=9, rows=1_584),
    _step("store_metrics", 200.1, 8.4, 671 << 20, points=2_904, findings=9),
    _step("evaluate_interventions", 208.7, 2.9, 671 << 20, proposals=3),
)
HOSTILE = {
    "Payments": "<script>alert(1)</script>",
    "Billing": "W" * 200,
    "Checkout": "\u202eeht lla\u202c",
    "Platform": "🚀 محاسبة & <b>Co</b>",
    "Data": "a]] --> {{7*7}} [bold red]x[/]",
    "Design": "'\" onload='alert(1)",
    "Support": "日本語チーム" * 20,
    "Sales": "  ",
}
