"""One turn of the watch: what it closes, puts right and tells, and that nothing that is away keeps it from the rest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from alerts import rules
from alerts.model import Code, Problem
from pipelines.errors import PermanentError, TransientError
from pipelines.jobs import watch
from pipelines.jobs.facts import Machine, Sources
from pipelines.jobs.flows import FLOWS, WATCH
from pipelines.jobs.recording import BEAT
from pipelines.jobs.watch import Judge, Turn
from pipelines.runs import ErrorKind, Mode, Status
from tests.support.fakes_ledger import FakeLedger
from tests.support.fakes_orchestrator import NOW, FakeOrchestrator, prefect_run

MACHINE = Machine(lambda: None, lambda: None, "")
JUDGE = Judge(partial(rules.problems, limits=rules.Limits(digest="never")), rules.unknown)
LIMIT = "deployment:incremental/incremental"


class Told:
    """A dispatcher that remembers."""

    def __init__(self) -> None:
        self.problems: Sequence[Problem] = ()
        self.unknown: Collection[Code] = ()
        self.order: list[str] = []

    def settle(self, problems: Sequence[Problem], now: datetime, *, unknown: Collection[Code] = ()) -> None:
        self.problems, self.unknown = problems, unknown
        self.order.append("settle")

    def deliver(self, now: datetime) -> None:
        self.order.append("deliver")


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def api() -> FakeOrchestrator:
    return FakeOrchestrator()


def run(
    ledger: FakeLedger, run_id: str = "run-1", flow: str = "incremental", ago: float = 10, beat: float = 10
) -> None:
    """A run that began so many minutes ago and last gave a sign of life so many minutes ago."""
    ledger.begin(flow, run_id, Mode.PREFECT, NOW - timedelta(minutes=ago), parameters={})
    ledger.beat(run_id, NOW - timedelta(minutes=beat))


def watched(ledger: FakeLedger | None, api: FakeOrchestrator | None, told: Told | None = None, **more: Any) -> Turn:
    sources = Sources(ledger=ledger, orchestrator=api, pool="organism", **more)
    return watch.turn(sources, JUDGE, told or Told(), MACHINE, NOW, me="me")


def codes(problems: Sequence[Problem]) -> set[Code]:
    return {p.code for p in problems}


class TestReaping:
    def test_a_killed_run_is_crashed_in_the_ledger_and_in_prefect_after_one_turn(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        run(ledger, beat=5)
        api.add(prefect_run())
        told = Told()
        done = watched(ledger, api, told)
        row, there = ledger.runs["run-1"], api.all["run-1"]
        assert (row.status, row.error_kind, row.prefect_state) == (Status.FAILED, ErrorKind.CRASHED, "Zombie")
        assert (there.state_type, there.state_name) == ("CRASHED", "Zombie")
        assert api.active[LIMIT] == 0
        assert done.numbers()["reaped"] == 1 and done.crashed == ("run-1",)
        assert Code.ZOMBIE_RUN in codes(told.problems) and told.order == ["settle", "deliver"]

    def test_a_run_that_lives_is_left_alone(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        run(ledger, beat=3)
        api.add(prefect_run())
        done = watched(ledger, api)
        assert ledger.runs["run-1"].status is Status.RUNNING and api.all["run-1"].state_name == "Running"
        not_zero = {name: count for name, count in done.numbers().items() if count}
        assert not_zero == {"problems": 1}, "there is no worker in this server"

    def test_a_direct_run_is_found_without_prefect(self, ledger: FakeLedger) -> None:
        run(ledger, beat=5)
        assert [r.run_id for r in watched(ledger, None).reaped] == ["run-1"]

    def test_silence_proves_nothing_when_the_ledger_itself_was_away(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        run(ledger, "w", WATCH.name, ago=25, beat=25)
        ledger.close("w", Status.COMPLETED, NOW - timedelta(minutes=25))
        run(ledger, beat=20)
        run(ledger, "older", "full", ago=50, beat=40)
        run(ledger, "me", WATCH.name, ago=0, beat=0)
        api.add(prefect_run())
        done = watched(ledger, api)
        assert [r.run_id for r in done.reaped] == ["older"], "older than any run may get"
        assert done.crashed == () and api.all["run-1"].state_name == "Running"

    def test_after_a_turn_in_time_silence_counts_again(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        run(ledger, "w", WATCH.name, ago=5, beat=5)
        ledger.close("w", Status.COMPLETED, NOW - timedelta(minutes=5))
        run(ledger, "me", WATCH.name, ago=0, beat=0)
        run(ledger, beat=20)
        assert [r.run_id for r in watched(ledger, api).reaped] == ["run-1"]

    def test_what_nobody_took_up_is_closed_after_longer_than_a_run_may_wait_for_its_slot(
        self, ledger: FakeLedger
    ) -> None:
        for run_id, minutes in (("new", 34), ("old", 36)):
            ledger.schedule("full", run_id, Mode.DIRECT, NOW - timedelta(minutes=minutes), parameters={})
        assert [(r.run_id, r.error_kind) for r in watched(ledger, None).reaped] == [("old", ErrorKind.NEVER_STARTED)]

    def test_a_killed_run_is_found_within_two_intervals(self) -> None:
        assert watch.SILENT + WATCH.every < 2 * WATCH.every
        assert watch.SILENT > 10 * BEAT, "a few beats may be lost"
        assert all(flow.timeout < watch.SILENT_AFTER_A_GAP for flow in FLOWS)


class TestMerging:
    def test_what_prefect_says_has_a_column_of_its_own(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        run(ledger, beat=0)
        api.add(prefect_run(state_name="Retrying"))
        watched(ledger, api)
        assert (ledger.runs["run-1"].prefect_state, ledger.runs["run-1"].status) == ("Retrying", Status.RUNNING)
        ledger.calls.clear()
        watched(ledger, api)
        assert "note_prefect_state" not in ledger.calls

    @pytest.mark.parametrize(
        ("state", "status", "kind"),
        [
            ("CRASHED", Status.FAILED, ErrorKind.CRASHED),
            ("FAILED", Status.FAILED, ErrorKind.LOST),
            ("CANCELLED", Status.CANCELLED, ErrorKind.INTERRUPTED),
            ("COMPLETED", Status.COMPLETED, None),
        ],
    )
    def test_what_ended_for_prefect_and_is_silent_has_ended(
        self, ledger: FakeLedger, api: FakeOrchestrator, state: str, status: Status, kind: ErrorKind | None
    ) -> None:
        run(ledger, beat=2)
        api.add(prefect_run(state_type=state, state_name=state.title()))
        assert watched(ledger, api).closed == 1
        row = ledger.runs["run-1"]
        assert (row.status, row.error_kind) == (status, kind)
        assert row.error == (None if kind is None else f"Prefect says {state.title()}; the run itself said nothing")

    def test_a_false_alarm_of_prefect_is_not_copied(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        run(ledger, beat=0.5)
        api.add(prefect_run(state_type="CRASHED", state_name="Zombie"))
        assert watched(ledger, api).closed == 0
        assert ledger.runs["run-1"].status is Status.RUNNING

    def test_a_run_that_a_limit_cancelled_before_it_began_was_refused(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        ledger.schedule("incremental", "run-1", Mode.PREFECT, NOW - timedelta(minutes=1), parameters={})
        api.add(prefect_run(state_type="CANCELLED", state_name="Cancelled"))
        told = Told()
        watched(ledger, api, told)
        row = ledger.runs["run-1"]
        assert (row.status, row.error_kind) == (Status.CANCELLED, ErrorKind.REFUSED)
        assert not codes(told.problems) & {Code.FLOW_FAILED, Code.NEVER_STARTED}

    def test_an_open_row_is_looked_up_when_prefect_did_not_list_it(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        run(ledger, ago=600, beat=3)
        api.add(prefect_run(state_type="CRASHED", state_name="Crashed", expected_at=NOW - timedelta(hours=10)))
        assert watched(ledger, api).closed == 1

    def test_rows_of_direct_mode_and_of_itself_are_not_prefects(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        ledger.begin("incremental", "direct", Mode.DIRECT, NOW, parameters={})
        ledger.begin("watch", "me", Mode.PREFECT, NOW, parameters={})
        api.add(prefect_run("direct", state_type="CRASHED"), prefect_run("me", flow_name="watch", state_name="Running"))
        watched(ledger, api)
        assert ledger.runs["direct"].prefect_state is None and ledger.runs["me"].prefect_state is None


class TestWhatPrefectLeftBehind:
    def test_a_run_that_never_began_is_ended_and_told(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        api.add(prefect_run(state_type="PENDING", state_name="Pending", since=NOW - timedelta(minutes=11)))
        told = Told()
        assert watched(ledger, api, told).crashed == ("run-1",)
        assert (api.all["run-1"].state_type, api.all["run-1"].state_name) == ("CRASHED", "StuckPending")
        assert api.active[LIMIT] == 0 and Code.NEVER_STARTED in codes(told.problems)

    def test_that_needs_no_ledger(self, api: FakeOrchestrator) -> None:
        api.add(prefect_run(state_type="PENDING", since=NOW - timedelta(minutes=11)))
        assert watched(None, api, away={"postgres": "away"}).crashed == ("run-1",)

    def test_without_the_ledger_nobody_knows_whose_process_is_gone(self, api: FakeOrchestrator) -> None:
        api.add(prefect_run(since=NOW - timedelta(hours=1)))
        assert watched(None, api, away={"postgres": "away"}).crashed == ()
        assert api.all["run-1"].state_name == "Running"

    def test_a_run_that_completed_and_could_not_say_so_is_completed(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        run(ledger, beat=9)
        ledger.close("run-1", Status.COMPLETED, NOW - timedelta(minutes=9))
        api.add(prefect_run())
        assert watched(ledger, api).crashed == ("run-1",)
        assert api.all["run-1"].state_type == "COMPLETED" and ledger.runs["run-1"].prefect_state == "Completed"

    def test_a_slot_without_a_run_is_given_back_and_told_once(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        api.active[LIMIT] = 1
        told = Told()
        done = watched(ledger, api, told)
        assert done.released == {LIMIT: 1} and api.active[LIMIT] == 0
        assert [(p.code, p.subject) for p in told.problems if p.code is Code.SLOT_LEAKED] == [(Code.SLOT_LEAKED, LIMIT)]
        again = Told()
        assert watched(ledger, api, again).released == {}
        assert Code.SLOT_LEAKED not in codes(again.problems) and Code.SLOT_LEAKED not in again.unknown

    def test_a_run_that_ended_a_moment_before_it_was_to_be_ended_stays_as_it_is(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        class Late(FakeOrchestrator):
            def set_state(self, run_id: str, state_type: str, name: str, message: str) -> None:
                self.all[run_id] = replace(self.all[run_id], state_type="COMPLETED", state_name="Completed")
                super().set_state(run_id, state_type, name, message)

        late = Late()
        late.add(prefect_run())
        run(ledger, beat=5)
        done = watched(ledger, late)
        assert done.crashed == () and len(done.refused) == 1 and done.numbers()["refused"] == 1
        assert late.all["run-1"].state_type == "COMPLETED"

    def test_what_cannot_be_put_right_stops_nothing_else(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        api.add(prefect_run(state_type="PENDING", since=NOW - timedelta(minutes=11)))
        api.active["deployment:full/full"] = 1
        api.fails, api.only = TransientError("away again"), ("set_state", "release", "run")
        run(ledger, "other", beat=9)
        told = Told()
        done = watched(ledger, api, told)
        assert len(done.refused) == 3 and all("away again" in words for words in done.refused)
        assert [r.run_id for r in done.reaped] == ["other"] and told.order == ["settle", "deliver"]


class TestAway:
    def test_a_prefect_that_is_down_is_told_and_recovers_nothing_of_its_own(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        api.fails = TransientError("refused")
        run(ledger, beat=9)
        told = Told()
        assert [r.run_id for r in watched(ledger, api, told).reaped] == ["run-1"]
        assert Code.PREFECT_DOWN in codes(told.problems)
        assert {Code.SLOT_LEAKED, Code.NO_WORKER, Code.QUEUE_LONG} <= set(told.unknown)

    def test_without_prefect_its_silence_is_no_recovery(self, ledger: FakeLedger) -> None:
        told = Told()
        watched(ledger, None, told)
        assert Code.PREFECT_DOWN in told.unknown

    @pytest.mark.parametrize("error", [TransientError("away"), PermanentError("not allowed")])
    def test_a_ledger_that_fails_is_told_and_no_run_recovers(
        self, ledger: FakeLedger, api: FakeOrchestrator, error: Exception
    ) -> None:
        ledger.fails = error
        told = Told()
        done = watched(ledger, api, told)
        assert done.reaped == () and [(p.code, p.subject) for p in told.problems] == [
            (Code.STORE_DOWN, "postgres"),
            (Code.NO_WORKER, "worker"),
        ]
        assert {Code.FLOW_FAILED, Code.ZOMBIE_RUN, Code.DRIFT} <= set(told.unknown)

    def test_with_nothing_at_all_the_turn_still_ends(self) -> None:
        told = Told()
        assert watched(None, None, told).problems == () and told.order == ["settle", "deliver"]
