"""The plan for a team: only what the rules allow today, within effort and horizon; the same every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines import intervention_planning
from pipelines.errors import InvalidInput, Refused
from pipelines.evidence import State, Status
from pipelines.interventions import playbooks
from pipelines.interventions.possible import Seen
from pipelines.interventions.proposal import Proposal
from pipelines.jobs import planning
from pipelines.jobs.planning import Line, Planned, Table, asked, plan_interventions
from tests.support.fakes_proposals import LIVE, NOW, WINDOW_END, FakeProposals, band, finding, proposal

LATE = finding(
    id="f2", question="late", treatment="after_hours_share", contrast=-0.1, contrast_effect=(-0.3, -0.4, -0.2)
)
LATE_BAND = band(metric="after_hours_share", value=0.4, normal_low=0.1, normal_high=0.2)
SEEN = Seen("full-2026-03-02T06", WINDOW_END, [finding(), LATE], [band(), LATE_BAND], {"team-a": 20, "": 400})


def table(*there: Proposal, seen: Seen = SEEN, **rules: Any) -> Table:
    store = FakeProposals(replace(LIVE, **rules))
    store.there = {p.id: p for p in there}
    return Table(store, lambda: store._context(NOW), lambda: seen)


def plan(of: Table | None = None, **parameters: Any) -> Planned:
    return plan_interventions(asked({"team_id": "team-a", "horizon": 180, **parameters}), of or table())


def lines(found: Planned) -> dict[str, Line]:
    assert {line.template_id for line in found.lines} == set(playbooks.SHIPPED), "each is in or out"
    return {line.template_id: line for line in found.lines}


def codes(line: Line) -> list[str]:
    return [refusal.rule for refusal in line.refusals]


def chosen(found: Planned) -> dict[str, date]:
    return {line.template_id: line.starts for line in found.lines if line.starts}


def test_the_best_set_has_one_practice_a_metric_one_after_the_other() -> None:
    found = plan()
    assert chosen(found) == {"quiet_hours": date(2026, 3, 2), "shorter_meetings": date(2026, 5, 25)}
    assert (found.planned, found.credible, found.allowed, found.effort, found.effort_most) == (2, 3, 3, 3, 4)
    assert codes(lines(found)["meeting_free_block"]) == ["SAME_METRIC"], "it brings the same, and asks for more"
    assert codes(lines(found)["batched_notifications"]) == ["NO_BAND"]


def test_a_low_effort_leaves_room_for_less() -> None:
    found = plan(effort_level="low")
    assert list(chosen(found)) == ["quiet_hours"]
    assert codes(lines(found)["meeting_free_block"]) == codes(lines(found)["shorter_meetings"]) == ["NO_EFFORT_LEFT"]


def test_a_short_horizon_leaves_room_for_less() -> None:
    assert list(chosen(plan(horizon=120))) == ["quiet_hours"]
    found = plan(horizon=30)
    assert (found.planned, codes(lines(found)["quiet_hours"])) == (0, ["NO_TIME"])


def test_the_same_input_gives_the_same_plan_in_whatever_order_it_comes() -> None:
    turned = replace(SEEN, findings=[LATE, finding()], bands=[LATE_BAND, band()])
    assert plan() == plan(table(seen=turned)) == plan()


def test_it_makes_and_changes_no_proposal() -> None:
    made = proposal()
    of = table(made)
    plan(of)
    assert of.proposals.list(list(State)) == [made]


def test_what_stands_already_is_told_with_its_id() -> None:
    made = proposal()
    made = replace(made, playbook=replace(made.playbook, template_id="shorter_meetings"))
    line = lines(plan(table(made)))["shorter_meetings"]
    assert line.starts is not None
    assert line.words.endswith(f"stands as proposal {made.id} (pending approval)")
    assert line.words.startswith("exhaustion -0.2 (95 % interval -0.28 to -0.12), judged after 84 days; effort 1;")


def test_without_credible_evidence_nothing_is_planned_and_what_is_needed_is_said() -> None:
    weak = [replace(f, status=Status.UNDERPOWERED) for f in SEEN.findings]
    found = plan(table(seen=replace(SEEN, findings=weak)))
    assert (found.planned, found.credible, found.allowed) == (0, 0, 0)
    assert planning.words(found)[0].startswith("nothing credible to plan for team-a within 180 days")
    assert codes(lines(found)["quiet_hours"]) == ["NOT_CREDIBLE"]
    assert "more weeks or more people" in lines(found)["quiet_hours"].words


def test_before_the_first_full_run_it_says_so() -> None:
    found = plan(table(seen=Seen(None, NOW, (), (), {"team-a": 20})))
    assert found.planned == 0
    assert "no full run has completed" in planning.words(found)[0]


def test_a_halt_stops_every_practice() -> None:
    of = table()
    of.proposals.halt("Anna Berg", "works council asks", NOW)
    found = plan(of)
    assert found.planned == 0
    assert all("HALTED" in codes(line) for line in found.lines if codes(line) != ["NO_BAND"])


def test_what_was_rejected_lately_rests() -> None:
    gone = proposal(state=State.REJECTED, id="gone")
    found = plan(table(gone))
    assert list(chosen(found)) == ["quiet_hours"]
    assert codes(lines(found)["meeting_free_block"]) == ["COOLDOWN"]


def test_what_is_under_way_keeps_the_teams_place_until_it_ends() -> None:
    found = plan(table(proposal(state=State.APPROVED)))
    assert found.planned == 0
    assert codes(lines(found)["meeting_free_block"]) == ["UNDER_WAY"]
    assert codes(lines(found)["quiet_hours"]) == ["TEAM_BUDGET"]


def test_an_organisation_whose_budget_is_spent_plans_nothing() -> None:
    """The naive control: the same without those ten plans two."""
    made = proposal()
    others = [replace(made, id=f"o{n}", target=replace(made.target, key=f"team-{n}")) for n in range(10)]
    assert plan(table(*others)).planned == 0
    assert plan().planned == 2


@pytest.mark.parametrize(("team", "k"), [("team-a", 21), ("nobody", 5)])
def test_a_team_below_k_is_refused_without_its_name(team: str, k: int) -> None:
    with pytest.raises(Refused) as caught:
        plan(table(k=k), team_id=team)
    assert caught.value.code == "GROUP_TOO_SMALL"
    assert team not in str(caught.value)


def test_numbers_are_numbers_and_codes() -> None:
    found = planning.numbers(plan())
    codes = found.pop("codes")
    assert codes == ["NO_BAND", "SAME_METRIC"]
    assert all(isinstance(value, int) for value in found.values())


@pytest.mark.parametrize(
    "parameters",
    [
        {"team_id": "p_" + "0" * 32},
        {"team_id": ""},
        {"team_id": None},
        {"horizon": 0},
        {"horizon": "soon"},
        {"horizon": True},
        {"horizon": 731},
        {"effort_level": "heroic"},
    ],
)
def test_wrong_parameters_are_refused_and_a_name_is_not_repeated(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked({"team_id": "team-a", **parameters})
    assert "p_0" not in str(caught.value)


def _shown(template: playbooks.Template) -> int:
    return list(playbooks.SHIPPED).index(template.id)


def test_every_playbook_has_an_effort_that_is_explained() -> None:
    assert {t.effort for t in playbooks.SHIPPED.values()} <= set(playbooks.EFFORTS)
    page = Path(__file__).parents[3] / "docs" / "interventions.md"
    for effort, words in playbooks.EFFORTS.items():
        named = ", ".join(f"`{t.id}`" for t in sorted(playbooks.SHIPPED.values(), key=_shown) if t.effort == effort)
        assert f"| {effort} | {words} | {named} |" in page.read_text("utf-8")
    assert max(planning.EFFORT.values()) < sum(t.effort for t in playbooks.SHIPPED.values()), "a plan has to choose"


def test_a_mistyped_effort_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        intervention_planning.main(["payments", "--effort", "hgh"])
    said = capsys.readouterr().err
    assert all(level in said for level in ("low", "medium", "high")) and "EffortLevel" not in said
