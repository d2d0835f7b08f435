"""What the Prefect server left behind: what is dead, what never began, what holds a slot for nobody; what is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from pipelines.errors import PermanentError, TransientError
from pipelines.jobs import prefect_view
from pipelines.jobs.prefect_view import View
from pipelines.runs import ErrorKind, Mode, PrefectLimit, PrefectQueue, PrefectRun, PrefectWorker, Run, Status
from tests.support.fakes_orchestrator import NOW, FakeOrchestrator, prefect_run

SILENT = timedelta(minutes=4)
LIMIT = "deployment:incremental/incremental"


def view(*runs: PrefectRun, active: int = 0, clock: datetime = NOW) -> View:
    return View(clock, None, runs, (PrefectLimit(LIMIT, 1, active),))


def row(run_id: str = "run-1", beat: timedelta = timedelta(0), **changes: object) -> Run:
    began = NOW - timedelta(minutes=20)
    run = Run(1, "incremental", run_id, Status.RUNNING, Mode.PREFECT, began, started_at=began, heartbeat_at=NOW - beat)
    return replace(run, **changes)  # type: ignore[arg-type]


def zombies(run: PrefectRun, known: Run | None, me: str = "") -> list[str]:
    rows = {known.run_id: known} if known else {}
    return [r.run_id for r in prefect_view.zombies(view(run), rows, SILENT, NOW, me)]


class TestZombies:
    @pytest.mark.parametrize("state", ["RUNNING", "CANCELLING"])
    def test_a_run_that_is_open_in_the_ledger_is_none_however_silent(self, state: str) -> None:
        """Whether silence is an end, the reaper decides: perhaps it was the ledger that was away."""
        assert zombies(prefect_run(state_type=state), row(beat=timedelta(hours=5))) == []

    def test_a_run_that_is_being_cancelled_and_has_nobody_to_end_it_is_one(self) -> None:
        dead = row(status=Status.FAILED, error_kind=ErrorKind.CRASHED, completed_at=NOW)
        assert zombies(prefect_run(state_type="CANCELLING"), dead) == ["run-1"]

    def test_a_run_that_the_reaper_closed_is_one(self) -> None:
        dead = row(status=Status.FAILED, error_kind=ErrorKind.CRASHED, completed_at=NOW)
        assert zombies(prefect_run(), dead) == ["run-1"]

    def test_a_run_that_has_just_ended_may_still_tell_the_server(self) -> None:
        ended = row(status=Status.COMPLETED, completed_at=NOW - timedelta(seconds=30))
        assert zombies(prefect_run(), ended) == []
        assert zombies(prefect_run(), replace(ended, completed_at=NOW - timedelta(minutes=5))) == ["run-1"]

    def test_a_run_without_a_row_is_one_when_it_is_older_than_its_flow_may_get(self) -> None:
        assert zombies(prefect_run(since=NOW - timedelta(minutes=8)), None) == []
        assert zombies(prefect_run(since=NOW - timedelta(minutes=10)), None) == ["run-1"]
        assert zombies(prefect_run(flow_name="full", since=NOW - timedelta(minutes=10)), None) == []

    def test_the_watch_does_not_find_itself(self) -> None:
        assert zombies(prefect_run("me"), row("me", beat=timedelta(minutes=5)), me="me") == []

    def test_a_flow_that_is_not_ours_is_left_alone(self) -> None:
        assert zombies(prefect_run(flow_name="payroll"), row(beat=timedelta(hours=5))) == []

    def test_a_run_that_waits_or_has_ended_is_none(self) -> None:
        for state in ("SCHEDULED", "PENDING", "COMPLETED", "PAUSED"):
            assert zombies(prefect_run(state_type=state), row(beat=timedelta(hours=5))) == []


class TestStuck:
    @pytest.mark.parametrize(("minutes", "found"), [(9, 0), (11, 1)])
    def test_what_a_worker_took_up_and_never_began(self, minutes: int, found: int) -> None:
        pending = prefect_run(state_type="PENDING", since=NOW - timedelta(minutes=minutes))
        assert len(prefect_view.stuck(view(pending))) == found

    def test_ages_are_by_the_clock_of_the_server(self) -> None:
        pending = prefect_run(state_type="PENDING", since=NOW - timedelta(minutes=9))
        assert len(prefect_view.stuck(view(pending, clock=NOW + timedelta(minutes=2)))) == 1

    def test_a_flow_that_is_not_ours_is_left_alone(self) -> None:
        pending = prefect_run(state_type="PENDING", since=NOW - timedelta(hours=1), flow_name="payroll")
        assert prefect_view.stuck(view(pending)) == []


class TestLeaked:
    def test_a_slot_that_no_run_holds(self) -> None:
        assert prefect_view.leaked(view(active=1)) == {LIMIT: 1}

    @pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
    def test_a_slot_of_a_live_run_is_none(self, state: str) -> None:
        old = prefect_run(state_type=state, since=NOW - timedelta(hours=2))
        assert prefect_view.leaked(view(old, active=1)) == {}

    def test_a_slot_whose_lease_may_stand_is_left_to_the_server(self) -> None:
        """To give it back twice would take it from the next run (measured: its lease ended 75 s later, and so it did)."""
        ended = prefect_run(state_type="CRASHED", since=NOW - timedelta(minutes=5))
        assert prefect_view.leaked(view(ended, active=1)) == {}
        assert prefect_view.leaked(view(replace(ended, since=NOW - timedelta(minutes=7)), active=1)) == {LIMIT: 1}

    def test_runs_that_the_leak_itself_cancels_do_not_hide_it(self) -> None:
        refused = [prefect_run(str(i), state_type="CANCELLED", since=NOW - timedelta(minutes=i)) for i in range(3)]
        assert prefect_view.leaked(view(*refused, active=1)) == {LIMIT: 1}

    def test_limits_that_are_not_ours_are_left_alone(self) -> None:
        others = ("deployment:payroll/monthly", "database", "deployment:0a1b", "incremental/incremental")
        limits = tuple(PrefectLimit(name, 1, 1) for name in others)
        assert prefect_view.leaked(View(NOW, limits=limits)) == {}


class TestWaiting:
    def test_late_runs_and_runs_without_a_slot_are_the_queue_and_planned_ones_are_not(self) -> None:
        at = {"late": -10, "just due": -0.5, "planned": 5}
        runs = [
            prefect_run(name, state_type="SCHEDULED", state_name="Scheduled", expected_at=NOW + timedelta(minutes=m))
            for name, m in at.items()
        ]
        waits = prefect_run("slot", state_type="SCHEDULED", state_name="AwaitingConcurrencySlot")
        assert prefect_view.queue(view(*runs, waits, prefect_run("live"))) == 2

    def test_the_next_start_is_the_first_that_is_planned(self) -> None:
        times = [NOW + timedelta(minutes=m) for m in (-5, 10, 5)]
        runs = [prefect_run(str(t), state_type="SCHEDULED", expected_at=t) for t in times]
        assert prefect_view.next_start(view(*runs), "incremental") == NOW + timedelta(minutes=5)
        assert prefect_view.next_start(view(*runs), "full") is None


class TestQueues:
    @pytest.mark.parametrize(("minutes", "found"), [(4, []), (6, ["organism-heavy"])])
    def test_a_queue_of_ours_for_which_no_worker_asks_is_unserved(self, minutes: int, found: list[str]) -> None:
        polled = {"organism-default": 1, "organism-heavy": minutes, "default": 600}
        queues = [PrefectQueue(n, NOW - timedelta(days=9), NOW - timedelta(minutes=m)) for n, m in polled.items()]
        seen = View(NOW, workers=(PrefectWorker("w", "organism", True, NOW),), queues=tuple(queues))
        assert prefect_view.unserved(seen) == found

    def test_one_that_nobody_ever_asked_for_is_so_after_the_same_time(self) -> None:
        worker = PrefectWorker("w", "organism", True, NOW)
        for minutes, found in ((4, []), (6, ["organism-heavy"])):
            queue = PrefectQueue("organism-heavy", NOW - timedelta(minutes=minutes))
            assert prefect_view.unserved(View(NOW, workers=(worker,), queues=(queue,))) == found

    def test_without_any_worker_no_queue_is_told_of_its_own(self) -> None:
        queue = PrefectQueue("organism-heavy", NOW - timedelta(days=1))
        offline = PrefectWorker("w", "organism", False, NOW)
        assert prefect_view.unserved(View(NOW, workers=(offline,), queues=(queue,))) == []


class TestDeployed:
    def test_a_flow_is_deployed_where_it_has_a_limit_or_a_planned_run(self) -> None:
        planned = prefect_run("p", flow_name="full", deployment_name="full/x", state_type="SCHEDULED")
        by_hand = prefect_run("h", flow_name="verify", deployment_name=None, state_type="SCHEDULED")
        limit = PrefectLimit(LIMIT, 1, 0, NOW)
        assert prefect_view.deployed(View(NOW, None, (planned, by_hand), (limit,))) == {
            "incremental": NOW,
            "full": None,
        }


class TestLook:
    def test_it_sees_everything_at_once(self) -> None:
        api = FakeOrchestrator()
        planned = prefect_run("p", state_type="SCHEDULED", expected_at=NOW + timedelta(minutes=5))
        api.add(prefect_run(), planned, prefect_run("old", state_type="FAILED", expected_at=NOW - timedelta(days=2)))
        api.online["organism"] = [PrefectWorker("w", "organism", True, NOW)]
        seen = prefect_view.look(api, "organism", NOW)
        assert (seen.words, seen.clock, {r.run_id for r in seen.runs}) == (None, NOW, {"run-1", "p"})
        assert [w.name for w in seen.workers] == ["w"] and {limit.name for limit in seen.limits} >= {LIMIT}

    @pytest.mark.parametrize("where", ["healthy", "clock", "limits", "runs", "workers", "queues"])
    def test_a_server_that_fails_anywhere_is_a_sentence(self, where: str) -> None:
        api = FakeOrchestrator()
        api.fails, api.only = TransientError("away"), (where,)
        assert prefect_view.look(api, "organism", NOW) == View(NOW, "away")
        api.fails = PermanentError("not allowed")
        assert prefect_view.look(api, "organism", NOW) == View(NOW, "not allowed")
