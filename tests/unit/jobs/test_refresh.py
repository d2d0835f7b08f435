"""The graph's views on the nodes: complete after every refresh, whatever broke the one before."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pipelines.errors import TransientError
from pipelines.evidence import Series
from pipelines.jobs.refresh import PREFIX, Refreshed, refresh_views, turn
from tests.support import fakes
from tests.support.fakes import Crash, Faults, World
from tests.support.fakes_metrics import FakeMetrics, Marker
from tests.support.make import outsider, person
from tests.support.snapshots import END_MS, START_MS, tie

WINDOW = (START_MS, END_MS)
DAY_MS = 86_400_000


class Place:
    """A graph with three teams, and what a refresh leaves on it."""

    def __init__(self) -> None:
        self.world = World()
        self.marker = Marker()
        self.graph = fakes.stores(self.world).graph
        for i in range(9):
            self.join(i, f"team {i % 3}" if i < 8 else None)
        for a, b in [(0, 3), (3, 6), (6, 0), (1, 4), (4, 7), (0, 1), (2, 5), (5, 1)]:
            self.add(a, b, 1.0 + a)
        self.add(2, outsider(1), 1.0)

    def join(self, number: int, team: str | None) -> None:
        self.world.people[person(number)] = {"team": team, "at": (0, ""), "present": True}

    def add(self, actor: int, target: int | str, strength: float) -> None:
        new = tie(actor, target, strength * 2.0**160)
        self.world.ties[new.ends] = new

    def refresh(self, run: str, now_ms: int = END_MS, faults: Faults | None = None, **more: object) -> Refreshed:
        metrics = FakeMetrics(self.world, self.marker, faults)
        counts, self.series = refresh_views(self.graph, metrics, WINDOW, run=run, now_ms=now_ms, **more)  # type: ignore[arg-type]
        return counts

    def nodes(self) -> dict[str, dict[str, float]]:
        """Without the time of the refresh."""
        found = FakeMetrics(self.world, self.marker).nodes()
        return {p: {k: v for k, v in values.items() if k != "refreshed_at"} for p, values in found.items()}


def clean(*changes: Callable[[Place], object]) -> dict[str, dict[str, float]]:
    """What stands on the nodes after one refresh of a graph to which all this happened."""
    place = Place()
    for change in changes:
        change(place)
    place.refresh("only")
    return place.nodes()


def test_everybody_inside_has_every_value_that_is_one() -> None:
    place = Place()
    counts = place.refresh("run 1")
    assert (counts.people, counts.teams, counts.ties, counts.nodes, counts.unchanged) == (9, 3, 8, 9, 0)
    assert counts.computed == len(place.series)
    assert counts.values == sum(int((~np.isnan(s.values)).sum()) for s in place.series)
    alone, busy = place.nodes()[person(8)], place.nodes()[person(0)]
    assert "m_constraint" in busy
    assert "m_constraint" not in alone, "NaN is not stored"
    assert alone["m_degree"] == 0.0
    assert all(math.isfinite(v) for values in place.nodes().values() for v in values.values())


def test_values_on_nodes_are_those_of_the_series() -> None:
    place = Place()
    place.refresh("run 1")
    for series in (s for s in place.series if s.subjects == place.series[0].subjects):
        for who, value in zip(series.subjects, series.values.tolist(), strict=True):
            assert place.nodes()[who].get(PREFIX + series.view, math.nan) == pytest.approx(value, nan_ok=True, abs=0)


def test_strengths_are_shown_and_not_stored_sums() -> None:
    place = Place()
    place.refresh("run 1")
    assert all(0 < v["m_strength"] < 1e9 for p, v in place.nodes().items() if v["m_degree"])


def test_an_unchanged_graph_is_left_alone() -> None:
    place = Place()
    place.refresh("run 1")
    before = FakeMetrics(place.world, place.marker).nodes()
    faults = Faults()
    counts = place.refresh("run 2", END_MS + DAY_MS, faults)
    assert (counts.computed, counts.nodes, place.series, faults.names) == (0, 0, [], [])
    assert counts.unchanged == len(place.marker.views)
    assert FakeMetrics(place.world, place.marker).nodes() == before


def test_a_run_does_not_trust_its_own_earlier_attempt() -> None:
    """It may have died after the marker and before its result was kept."""
    place = Place()
    first = place.refresh("run 1")
    assert place.refresh("run 1") == first


def test_the_same_run_again_computes_what_it_computed_and_nothing_else() -> None:
    """Else a second turn of one window would write points of views that its first turn had found unchanged."""
    place = Place()
    place.refresh("run 1")
    place.add(0, 1, 3.0)  # stronger, which changes no unweighted path
    first = place.refresh("run 2", END_MS + DAY_MS)
    views = [s.view for s in place.series]
    assert 0 < first.computed < first.computed + first.unchanged
    for _ in range(2):
        assert place.refresh("run 2", END_MS + DAY_MS) == first
        assert [s.view for s in place.series] == views


def test_what_was_computed_is_kept_before_the_marker_says_so() -> None:
    place = Place()

    def keep(counts: Refreshed, series: list[Series]) -> None:
        assert counts.computed == len(series) > 0
        raise Crash

    with pytest.raises(Crash):
        place.refresh("run 1", keep=keep)
    assert place.refresh("run 2").computed == len(place.series) > 0


def test_a_new_tie_changes_what_it_must_and_the_rest_stays() -> None:
    place = Place()
    place.refresh("run 1")
    all_of_it = len(place.series)
    place.add(7, 8, 3.0)
    assert place.refresh("run 2").computed < all_of_it
    assert place.nodes() == clean(lambda p: p.add(7, 8, 3.0))


def test_a_value_that_is_gone_is_taken_away() -> None:
    place = Place()
    place.add(7, 8, 3.0)
    place.refresh("run 1")
    assert "m_constraint" in place.nodes()[person(8)]
    del place.world.ties[tie(7, 8).ends]
    place.refresh("run 2")
    assert place.nodes() == clean()


def test_who_has_left_keeps_no_values() -> None:
    place = Place()
    place.refresh("run 1")
    place.world.people[person(1)]["present"] = False
    counts = place.refresh("run 2", END_MS + DAY_MS)
    assert (counts.people, counts.cleared) == (8, 1)
    assert person(1) not in place.nodes()
    assert place.refresh("run 3", END_MS + DAY_MS).computed == 0


def test_an_erased_and_returned_person_gets_values_again() -> None:
    place = Place()
    place.refresh("run 1")
    about = place.world.people[person(8)]
    place.world.people[person(8)] = {k: v for k, v in about.items() if k != "metrics"}
    assert place.refresh("run 2").nodes == 9
    assert place.nodes() == clean()


def test_a_graph_without_anybody_is_refreshed_too() -> None:
    place = Place()
    place.world.people.clear()
    place.world.ties.clear()
    counts = place.refresh("run 1")
    assert (counts.people, counts.nodes) == (0, 0)
    assert place.refresh("run 2").computed == 0


class BusyLease:
    """Somebody else has it for so many questions."""

    def __init__(self, times: int) -> None:
        self.times, self.log = times, list[str]()

    def acquire(self, holder: str) -> str | None:
        self.times -= 1
        if self.times >= 0:
            return "incremental"
        self.log.append("taken")
        return None

    def renew(self) -> bool:
        return True

    def release(self) -> None:
        self.log.append("released")


def test_a_turn_waits_for_the_ingest_and_is_given_back() -> None:
    lease, waits = BusyLease(7), list[float]()
    with turn(lease, waits.append):
        lease.log.append("written")
    assert (sum(waits), lease.log) == (3.5, ["taken", "written", "released"])
    with pytest.raises(ZeroDivisionError), turn(lease, waits.append):
        1 / 0  # noqa: B018
    assert lease.log[-1] == "released"


def test_after_five_minutes_a_turn_is_given_up_for_a_later_attempt() -> None:
    lease, waits = BusyLease(10_000), list[float]()
    with pytest.raises(TransientError, match="for 5 minutes"), turn(lease, waits.append):
        raise AssertionError("it was not ours")
    assert (sum(waits), lease.log) == (300.0, [])


def _calls() -> list[str]:
    faults = Faults()
    place = Place()
    place.refresh("run 1", faults=faults)
    return faults.names


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("at", range(4))
def test_a_crash_anywhere_is_mended_by_the_next_run(at: int, how: str) -> None:
    """Run 2 dies half-way; then the change is taken back, so that the old marker would fit again if it still stood."""
    assert _calls() == ["note_state", "put_values", "clear_values", "note_state"]
    place = Place()
    place.refresh("run 1")
    before = place.nodes()
    place.add(7, 8, 3.0)
    with pytest.raises(Crash):
        place.refresh("run 2", faults=Faults(at, how))
    del place.world.ties[tie(7, 8).ends]
    place.refresh("run 3")
    assert place.nodes() == before


def test_the_control_a_marker_that_is_not_taken_back_lets_old_values_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    place.refresh("run 1")
    before = place.nodes()
    place.add(7, 8, 3.0)
    monkeypatch.setattr(FakeMetrics, "note", lambda *_args: None)
    with pytest.raises(Crash):
        place.refresh("run 2", faults=Faults(0, "after"))  # the first write of values
    monkeypatch.undo()
    del place.world.ties[tie(7, 8).ends]
    place.refresh("run 3")
    assert place.nodes() != before


def test_acts_are_read_once_for_the_views_that_need_them() -> None:
    place = Place()
    chunk = ((person(0), person(1)), np.array([0, 0, 0, 1]), START_MS + np.array([0, 1, 5, 9]) * 3_600_000)
    place.refresh("run 1", acts=lambda: [chunk])
    assert "m_burstiness" in place.nodes()[person(0)]
    assert "m_burstiness" not in place.nodes()[person(1)]
    assert place.refresh("run 2", acts=lambda: [chunk]).computed == 0


def test_who_is_excluded_is_in_no_view_and_loses_what_is_on_the_node() -> None:
    place = Place()
    place.refresh("run 1")
    gone, near = person(0), place.nodes()[person(1)]["m_degree"]
    place.refresh("run 2", END_MS + DAY_MS, excluded=frozenset({gone}))
    assert all(gone not in series.subjects for series in place.series)
    assert gone not in place.nodes()
    assert place.nodes()[person(1)]["m_degree"] == near - 1, "nor does a tie to them count, inside or outside"
    assert place.nodes()[person(1)].get("m_external_share", 0.0) == 0.0
