"""The step from findings and weekly points to proposals, on the store in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipelines.errors import Refused
from pipelines.evidence import Finding, Series, State, Status, SubjectKind
from pipelines.interventions.bands import bands
from pipelines.interventions.policy import Context, Rules
from pipelines.interventions.proposal import Proposal
from pipelines.interventions.propose import Saved
from pipelines.jobs.evaluate import Evaluated, evaluate_interventions
from pipelines.metrics.strain import LEAST_WEEKS
from pipelines.metrics.weeks import BAND_MADS, normal_bands, team_weeks
from pipelines.person_weeks import COLUMNS, WeekRows
from tests.support.fakes_proposals import LIVE, NOW, WINDOW_END, FakeProposals, finding

MONDAY = datetime(2026, 2, 23, tzinfo=UTC)


def weekly(latest: float = 16.0, size: int = 20) -> list[Series]:
    """Twelve quiet weeks of one team, and this one."""
    values = [10.0, 11.0, 9.0] * 4 + [latest]
    days = [MONDAY - timedelta(weeks=12 - n) for n in range(13)]
    return [
        Series(
            "meeting_h", 1, SubjectKind.TEAM, int(day.timestamp() * 1000), ("sales",), np.array([v]), np.array([size])
        )
        for day, v in zip(days, values, strict=True)
    ]


def person_weeks(week: date, rng: np.random.Generator) -> WeekRows:
    """Two teams of six, with everything drawn at random."""
    names = tuple(f"p_{n:032x}" for n in range(12))
    values = {name: rng.uniform(1, 5, 12) for name in COLUMNS}
    return WeekRows(week, names, ("a",) * 6 + ("b",) * 6, values, rng.uniform(0, 100, 12), {})


def run(store: FakeProposals, findings: Sequence[Finding] | None = None, **changes: Any) -> Evaluated:
    values: dict[str, Any] = {"weekly": weekly(), "people": {"sales": 20}, "run": "run-1", "window_end": WINDOW_END}
    return evaluate_interventions(
        store, [finding()] if findings is None else findings, **values | {"now": NOW} | changes
    )


def test_findings_and_weeks_become_a_proposal() -> None:
    store = FakeProposals()
    done = run(store, requested_by=["Anna"])
    assert (done.fresh, done.pending, done.findings, done.bands, done.halted) == (1, 1, 1, 1, 0)
    (made,) = store.list([State.PENDING_APPROVAL])
    assert (made.target.key, made.finding.value, made.run, made.requested_by) == ("sales", 16.0, "run-1", ("Anna",))


def test_a_new_installation_only_watches() -> None:
    done = run(FakeProposals(Rules()))
    assert (done.pending, done.shadow, done.blocked) == (0, 1, 0)


def test_weak_evidence_is_counted_as_blocked() -> None:
    done = run(FakeProposals(), [finding(status=Status.FEEDBACK_OR_CONFOUNDING)])
    assert (done.pending, done.blocked) == (0, 1)


def test_the_same_window_again_changes_nothing() -> None:
    store = FakeProposals()
    run(store)
    before = (dict(store.there), len(store.rows))
    assert (run(store).unchanged, run(store, now=NOW + timedelta(hours=1)).fresh) == (1, 0)
    assert (store.there, len(store.rows)) == before


@pytest.mark.parametrize(
    "changes", [{"findings": []}, {"weekly": []}, {"weekly": weekly(10.0)}, {"weekly": weekly(size=4)}]
)
def test_nothing_to_propose_proposes_nothing(changes: dict[str, Any]) -> None:
    store = FakeProposals()
    done = run(store, **changes)
    assert (done.fresh, done.blocked, store.there) == (0, 0, {})


def test_while_halted_nothing_is_looked_at_and_nothing_changes() -> None:
    store = FakeProposals()
    run(store)
    store.halt("Eva", "odd numbers", NOW)
    before = dict(store.there)
    assert run(store, [], window_end=WINDOW_END + timedelta(hours=6)) == Evaluated(halted=1)
    assert store.there == before


def test_the_bands_are_those_that_are_stored_and_shown() -> None:
    rng = np.random.default_rng(3)
    rows = [person_weeks(MONDAY.date() - timedelta(weeks=ago), rng) for ago in range(13)]
    series = [s for week in rows for s in team_weeks(week)]
    stored = {(b.view, b.kind, b.subject): (b.low, b.high) for b in normal_bands(rows, MONDAY.date())}
    ours = {
        (b.found.metric, b.kind, b.key): (b.found.normal_low, b.found.normal_high)
        for b in bands(series, {}, BAND_MADS, LEAST_WEEKS)
    }
    assert len(ours) > 10
    assert {key: pytest.approx(stored[key]) for key in ours} == ours


class HaltedMeanwhile(FakeProposals):
    """Somebody pulls the switch between the look and the write."""

    def propose(
        self, weigh: Callable[[Context], Sequence[Proposal]], window_end: datetime, run: str, now: datetime
    ) -> Saved:
        self.halt("Eva", "just now", now)
        return super().propose(weigh, window_end, run, now)


def test_a_switch_that_is_pulled_meanwhile_counts() -> None:
    store = HaltedMeanwhile(LIVE)
    assert run(store) == Evaluated(halted=1)
    assert store.there == {}


def test_another_refusal_is_not_taken_for_a_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Saved:
        raise Refused("CHANGED_MEANWHILE", "look again")

    store = FakeProposals()
    monkeypatch.setattr(store, "propose", refuse)
    with pytest.raises(Refused, match="CHANGED_MEANWHILE"):
        run(store)
