"""One turn of the watch: what it closes, puts right and tells, and that nothing that is away keeps it from the rest."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from alerts import rules
from alerts.model import Code, Problem, Severity
from pipelines.errors import PermanentError, TransientError
from pipelines.jobs import watch
from pipelines.jobs.facts import Machine, Sources, about
from pipelines.jobs.flows import WATCH
from pipelines.jobs.recording import BEAT
from pipelines.jobs.watch import Judge, Turn
from pipelines.model import StreamState
from pipelines.runs import ErrorKind, Mode, PrefectLimit, PrefectWorker, Status
from tests.support import fakes, make, runs
from tests.support.fakes_ledger import FakeLedger
from tests.support.fakes_orchestrator import NOW, FakeOrchestrator, prefect_run
from tests.unit.jobs.test_ingest import world_of

MACHINE = Machine(lambda: None, lambda: None, "")
JUDGE = Judge(partial(rules.problems, limits=rules.Limits(digest="never")), rules.unknown)
LIMIT = "deployment:incremental/incremental"


class Told:
    """A dispatcher that remembers."""

    def __init__(self) -> None:
        self.problems: Sequence[Problem] = ()
        self.unknown: Collection[Code] = ()
        self.order: list[str] = []

    def settle(self, problems: Sequence[Problem], now: datetime, *, unknown: Collection[Code], ending: Any) -> None:
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


def heard(ledger: FakeLedger, ago: float = 3) -> None:
    """The ledger took somebody else's account so many minutes ago."""
    run_id = f"heard-{ago}"
    ledger.begin("watch", run_id, Mode.PREFECT, NOW - timedelta(minutes=ago), parameters={})
    ledger.close(run_id, Status.COMPLETED, NOW - timedelta(minutes=ago))


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
        heard(ledger)
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
        heard(ledger)
        assert [r.run_id for r in watched(ledger, None).reaped] == ["run-1"]

    @pytest.mark.parametrize("ago", [5, 0.2])
    def test_silence_proves_nothing_when_the_ledger_heard_nobody_in_the_middle_of_it(
        self, ledger: FakeLedger, api: FakeOrchestrator, ago: float
    ) -> None:
        """PostgreSQL was away for four and a half minutes between two turns, and came back a moment ago."""
        run(ledger, beat=4.8)
        heard(ledger, ago)
        api.add(prefect_run())
        told = Told()
        done = watched(ledger, api, told)
        assert (done.reaped, done.crashed, api.active[LIMIT]) == ((), (), 1)
        assert ledger.runs["run-1"].status is Status.RUNNING and Code.ZOMBIE_RUN not in codes(told.problems)

    def test_the_turn_before_is_somebody_else(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        run(ledger, ago=30, beat=20)
        api.add(prefect_run())
        assert watched(ledger, api).crashed == (), "nobody looked for twenty minutes"
        heard(ledger, ago=1)
        assert watched(ledger, api).crashed == ("run-1",)

    def test_a_clock_that_is_five_minutes_off_kills_nobody(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        heard(ledger, ago=2)
        ledger.ahead = timedelta(minutes=5)  # than the machine of the run, which gives a sign of life just now
        ledger.begin("incremental", "run-1", Mode.PREFECT, NOW - timedelta(minutes=11), parameters={})
        ledger.beat("run-1", NOW - timedelta(minutes=5))
        ledger.ahead = timedelta(0)
        api.add(prefect_run())
        assert watched(ledger, api).reaped == ()
        ledger.ahead = timedelta(minutes=-6)  # than the machine of the watch
        watch.turn(Sources(ledger, orchestrator=api), JUDGE, Told(), MACHINE, NOW + timedelta(minutes=6), me="me")
        assert ledger.runs["run-1"].status is Status.RUNNING and api.all["run-1"].state_name == "Running"

    def test_what_nobody_took_up_is_closed_after_longer_than_a_run_may_wait_for_its_slot(
        self, ledger: FakeLedger
    ) -> None:
        for run_id, minutes in (("new", 34), ("old", 36)):
            ledger.schedule("full", run_id, Mode.DIRECT, NOW - timedelta(minutes=minutes), parameters={})
        assert [(r.run_id, r.error_kind) for r in watched(ledger, None).reaped] == [("old", ErrorKind.NEVER_STARTED)]

    @pytest.mark.parametrize("died", [0.5, 1, 2, 3, 4, 4.9])
    def test_a_killed_run_is_found_by_the_second_turn_after_it(
        self, ledger: FakeLedger, api: FakeOrchestrator, died: float
    ) -> None:
        """Also when nothing but the watch runs: it is its own witness. died: minutes before the first of the turns."""
        ledger.begin("incremental", "run-1", Mode.DIRECT, NOW - timedelta(minutes=died), parameters={})
        for turns in (1, 2):
            now = NOW + (turns - 1) * WATCH.every
            ledger.begin("watch", f"me-{turns}", Mode.DIRECT, now, parameters={})
            sources = Sources(ledger=ledger, orchestrator=api)
            done = watch.turn(sources, JUDGE, Told(), MACHINE, now, me=f"me-{turns}")
            ledger.close(f"me-{turns}", Status.COMPLETED, now)
        assert [r.run_id for r in done.reaped] == ["run-1"]
        assert watch.SILENT > 10 * BEAT, "a few beats may be lost"


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

    def test_a_slot_without_a_run_is_given_back_and_told_as_that_and_once(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        api.active[LIMIT] = 1
        told = Told()
        done = watched(ledger, api, told)
        assert done.released == {LIMIT: 1} and api.active[LIMIT] == 0
        (found,) = [p for p in told.problems if p.code is Code.SLOT_LEAKED]
        assert (found.subject, found.severity) == (LIMIT, Severity.INFO) and "given back" in found.what
        again = Told()
        assert watched(ledger, api, again).released == {}
        assert Code.SLOT_LEAKED not in codes(again.problems) and Code.SLOT_LEAKED not in again.unknown

    def test_a_slot_that_could_not_be_given_back_is_a_warning(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        api.active[LIMIT] = 1
        api.fails, api.only = TransientError("away"), ("release",)
        told = Told()
        assert watched(ledger, api, told).released == {}
        (found,) = [p for p in told.problems if p.code is Code.SLOT_LEAKED]
        assert found.severity is Severity.WARNING and "wait for them" in found.what

    def test_a_run_that_was_stuck_is_told_as_what_it_is_now(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        api.add(prefect_run(state_type="PENDING", since=NOW - timedelta(minutes=11)))
        told = Told()
        watched(ledger, api, told)
        (found,) = [p for p in told.problems if p.code is Code.NEVER_STARTED]
        assert found.severity is Severity.WARNING and found.what.endswith("never began; it was ended.")
        api.add(prefect_run("run-2", state_type="PENDING", since=NOW - timedelta(minutes=11)))
        api.fails, api.only = TransientError("away"), ("set_state",)
        watched(ledger, api, told)
        (found,) = [p for p in told.problems if p.code is Code.NEVER_STARTED]
        assert found.severity is Severity.CRITICAL and "holds the flow's slot" in found.what

    def test_a_run_that_is_cancelled_between_two_questions_does_not_cost_the_next_one_its_slot(
        self, ledger: FakeLedger
    ) -> None:
        class Busy(FakeOrchestrator):
            """After the limits were read, the run that held the slot is cancelled; the next takes it after the runs were."""

            def limits(self) -> list[PrefectLimit]:
                found = super().limits()
                if self.all["run-1"].state_type == "RUNNING":
                    self.set_state("run-1", "CANCELLED", "Cancelled", "")
                return found

            def workers(self, pool: str) -> list[PrefectWorker]:
                if "run-2" not in self.all:
                    self.add(prefect_run("run-2", state_type="PENDING", since=NOW))
                return super().workers(pool)

        api = Busy()
        api.add(prefect_run())
        done = watched(ledger, api)
        assert done.released == {} and api.active[LIMIT] == 1

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
        heard(ledger)
        done = watched(ledger, late)
        assert done.crashed == () and len(done.refused) == 1 and done.numbers()["refused"] == 1
        assert late.all["run-1"].state_type == "COMPLETED"

    def test_what_cannot_be_put_right_stops_nothing_else(self, ledger: FakeLedger, api: FakeOrchestrator) -> None:
        api.add(prefect_run(state_type="PENDING", since=NOW - timedelta(minutes=11)))
        api.active["deployment:full/full"] = 1
        api.fails, api.only = TransientError("away again"), ("set_state", "release", "run")
        run(ledger, "other", beat=9)
        heard(ledger)
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
        heard(ledger)
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


class Counted:
    """A stream that says only what it is called and what it lost."""

    def __init__(self, born: str = "a", lost: int = 0) -> None:
        self.born, self.lost = born, lost

    def state(self) -> StreamState:
        return StreamState(0, 0, 0, 0, 0, born=self.born, lost=self.lost)


class TestWhatTheStreamLost:
    """A run that noticed it may have been killed before it could say so: its row says nothing."""

    def turns(self, ledger: FakeLedger, *seen: Any, every: timedelta = timedelta(minutes=5)) -> list[list[Problem]]:
        """What turns find that see the stream so, one after the other."""
        found = []
        for i, stream in enumerate(seen):
            told, source = Told(), Sources(ledger=ledger, stream=stream)
            watch.turn(source, JUDGE, told, MACHINE, NOW + i * every)
            found.append([p for p in told.problems if p.code in (Code.ENTRIES_LOST, Code.STREAM_RESET)])
        return found

    def test_a_loss_that_no_run_could_tell_is_told_as_one_and_the_same_for_a_day(self, ledger: FakeLedger) -> None:
        before, *after = self.turns(ledger, Counted(), Counted(lost=3), Counted(lost=3), Counted(lost=3))
        assert before == []
        assert {(p.code, p.lost, p.event) for ((p),) in after} == {
            (Code.ENTRIES_LOST, "3 entries, until producers send that time again", "3 of a")
        }
        assert {p.since for ((p),) in after} == {NOW + timedelta(minutes=5)}
        assert self.turns(ledger, *[Counted(lost=3)] * 3, every=timedelta(hours=13))[-1] == []

    def test_what_a_run_did_tell_is_not_counted_twice(self, ledger: FakeLedger) -> None:
        self.turns(ledger, Counted())
        ledger.begin("incremental", "r", Mode.DIRECT, NOW, parameters={})
        ledger.close("r", Status.COMPLETED, NOW, result={"lost": 3, "vanished": 1})
        ((found,),) = self.turns(ledger, Counted(lost=3))
        assert found.lost.startswith("4 entries")

    def test_a_reset_that_no_run_could_tell_is_told(self, ledger: FakeLedger) -> None:
        before, *after = self.turns(ledger, Counted("a"), Counted("b"), Counted("b"))
        assert before == []
        assert {(p.code, p.event, p.since) for ((p),) in after} == {
            (Code.STREAM_RESET, "born b", NOW + timedelta(minutes=5))
        }

    def test_what_was_lost_before_anybody_looked_is_told_too(self, ledger: FakeLedger) -> None:
        (first,), (second,) = self.turns(ledger, Counted("a", 7), Counted("a", 7))
        assert (first.code, first.event) == (second.code, second.event) == (Code.ENTRIES_LOST, "7 of a")

    def test_a_run_that_is_killed_right_after_it_settled_the_account_of_the_stream_forgets_nothing(
        self, ledger: FakeLedger
    ) -> None:
        """The control: none of the runs after it says that anything was lost."""
        world = world_of(*[make.event(f"e{i}") for i in range(5)])
        runs.run(fakes.stores(world))
        stream = fakes.stores(world).stream
        assert self.turns(ledger, stream) == [[]]
        for i in range(3):
            del world.entries[world.add(make.event(f"x{i}"))]
        healthy = fakes.Faults()
        runs.run(fakes.stores(copy.deepcopy(world), healthy))
        with pytest.raises(fakes.Crash):
            runs.run(fakes.stores(world, fakes.Faults(at=healthy.names.index("audit"), how="after")))
        world.lease = None  # it runs out
        assert [runs.run(fakes.stores(world)).lost for _ in range(2)] == [0, 0]
        ((found,),) = self.turns(ledger, stream)
        assert (found.code, found.event) == (Code.ENTRIES_LOST, "3 of 1")

    def test_a_turn_that_dies_before_it_settled_leaves_it_to_the_next(self, ledger: FakeLedger) -> None:
        self.turns(ledger, Counted())

        class Dies(Told):
            def settle(
                self, problems: Sequence[Problem], now: datetime, *, unknown: Collection[Code], ending: Any
            ) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            watch.turn(Sources(ledger=ledger, stream=Counted(lost=2)), JUDGE, Dies(), MACHINE, NOW)  # type: ignore[arg-type]
        assert [m.lost for m in ledger.marks] == [0]
        assert len(self.turns(ledger, Counted(lost=2))[0]) == 1


class TestOthers:
    def test_runs_of_other_people_are_neither_the_queue_nor_hide_what_is_ours(
        self, ledger: FakeLedger, api: FakeOrchestrator
    ) -> None:
        theirs = {"flow_name": "their-etl", "deployment_name": "their-etl/x"}
        for n in range(300):
            api.add(prefect_run(f"late-{n}", state_type="SCHEDULED", state_name="Late", **theirs))
            api.add(prefect_run(f"live-{n}", **theirs))
        api.add(
            prefect_run(
                "ours", state_type="PENDING", since=NOW - timedelta(hours=1), expected_at=NOW - timedelta(hours=1)
            )
        )
        told = Told()
        assert watched(ledger, api, told).crashed == ("ours",)
        assert Code.QUEUE_LONG not in codes(told.problems)

    def test_a_disk_is_full_until_its_own_machine_says_otherwise(self, ledger: FakeLedger) -> None:
        """Two machines take turns. A control that only looks at its own disk would end what the other one told."""
        shares = {"A": 0.97, "B": 0.2}
        subjects = []
        for i, name in enumerate("ABABAB"):
            now, told = NOW + i * timedelta(minutes=2.5), Told()
            if i == 4:
                shares["A"] = 0.5
            machine = Machine(lambda: None, lambda name=name: shares[name], "the state directory", name)  # type: ignore[misc]
            ledger.begin("watch", f"w{i}", Mode.DIRECT, now, parameters={})
            turn = watch.turn(Sources(ledger=ledger), JUDGE, told, machine, now, me=f"w{i}")
            ledger.close(f"w{i}", Status.COMPLETED, now, result=about(turn.facts))
            subjects.append([p.subject for p in told.problems if p.code is Code.RESOURCES])
        assert subjects == [["disk on A"]] * 4 + [[]] * 2

    def test_without_the_ledger_nobody_knows_of_the_other_machines(self) -> None:
        told, machine = Told(), Machine(lambda: 0.1, lambda: 0.1, "", "A")
        watch.turn(Sources(away={"postgres": "away"}), JUDGE, told, machine, NOW)
        assert Code.RESOURCES in told.unknown
