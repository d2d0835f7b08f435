"""The account of runs, in the fake and in PostgreSQL: one suite over both, then what only a database can get wrong."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from pipelines import migrate, queries
from pipelines.errors import PermanentError, TransientError
from pipelines.ledger import rules
from pipelines.ledger.store import PostgresLedger
from pipelines.migrate import available
from pipelines.ports import Ledger
from pipelines.postgres import Pool, open_pool
from pipelines.runs import ErrorKind, Mode, Run, Status, Sum
from tests.support.fakes_ledger import NOW, FakeLedger, step

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
SILENT, UNSTARTED = timedelta(seconds=60), timedelta(minutes=15)
MANY = 100_000
KEY, STATUS, FLOW = "workflow_runs_flow_run_id_key", "ix_workflow_status", "ix_workflow_flow"


@pytest.fixture
def real(pool: Pool) -> PostgresLedger:
    with pool.connection() as connection:
        connection.execute("TRUNCATE workflow_runs, workflow_steps, stream_marks")
    return PostgresLedger(pool)


@pytest.fixture(params=["fake", "embedded"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "fake":
        return FakeLedger()
    real: PostgresLedger = request.getfixturevalue("real")
    return real


def begin(ledger: Ledger, run_id: str = "r1", flow: str = "incremental", now: datetime = NOW, **said: Any) -> Run:
    return ledger.begin(flow, run_id, said.pop("mode", Mode.DIRECT), now, parameters=said.pop("parameters", {}), **said)


def ended(ledger: Ledger, run_id: str, status: Status, seconds: float = 1, now: datetime = NOW, **said: Any) -> None:
    begin(ledger, run_id, said.pop("flow", "incremental"), now)
    assert ledger.close(run_id, status, now + seconds * SECOND, **said)


def heard(ledger: Ledger, at: datetime = NOW + 5 * MINUTE) -> None:
    """Somebody else's account was taken at this time."""
    ended(ledger, f"heard {at}", Status.COMPLETED, 0, at, flow="watch")


def row(ledger: Ledger, run_id: str = "r1") -> Run:
    run = ledger.get(run_id)
    assert run is not None
    return run


class TestARun:
    def test_a_run_that_begins_is_running_with_all_that_it_was_asked_with(self, ledger: Ledger) -> None:
        asked = {"resume": None, "propose": True, "k": 5, "share": 0.5, "names": ["a", "b"]}
        run = begin(ledger, parameters=asked, deployment_name="incremental", scheduled_at=NOW - MINUTE)
        assert (run.status, run.mode, run.attempts) == (Status.RUNNING, Mode.DIRECT, 1)
        assert (run.created_at, run.started_at, run.heartbeat_at) == (NOW, NOW, NOW)
        assert (run.parameters, run.deployment_name, run.scheduled_at) == (asked, "incremental", NOW - MINUTE)
        assert (run.result, run.error, run.error_kind, run.completed_at, run.duration_seconds) == (
            {},
            None,
            None,
            None,
            None,
        )
        assert row(ledger) == run

    def test_every_run_has_an_id_of_its_own_that_grows(self, ledger: Ledger) -> None:
        ids = [begin(ledger, f"r{n}").id for n in range(5)]
        assert ids == sorted(set(ids))

    def test_who_asks_for_a_run_that_nobody_knows_gets_nothing(self, ledger: Ledger) -> None:
        assert ledger.get("nobody") is None
        assert ledger.beat("nobody", NOW) is None
        assert not ledger.close("nobody", Status.COMPLETED, NOW)
        ledger.note_step("nobody", step())
        ledger.correlate("nobody", "x")
        ledger.note_prefect_state("nobody", "Running")
        assert ledger.find() == []

    def test_a_scheduled_run_is_taken_over_by_who_begins_it(self, ledger: Ledger) -> None:
        asked = ledger.schedule(
            "full", "r1", Mode.PREFECT, NOW, parameters={"by": "api", "k": 5}, scheduled_at=NOW + MINUTE
        )
        assert (asked.status, asked.started_at, asked.heartbeat_at) == (Status.SCHEDULED, None, None)
        run = begin(ledger, flow="full", now=NOW + 2 * MINUTE, parameters={"k": 6}, mode=Mode.DIRECT)
        assert (run.id, run.created_at, run.attempts) == (asked.id, NOW, 1)
        assert (run.started_at, run.scheduled_at) == (NOW + 2 * MINUTE, NOW + MINUTE)
        assert (run.parameters, run.mode) == ({"by": "api", "k": 6}, Mode.DIRECT)

    def test_scheduling_again_changes_nothing(self, ledger: Ledger) -> None:
        first = ledger.schedule("full", "r1", Mode.PREFECT, NOW, parameters={"a": 1}, deployment_name="full")
        assert ledger.schedule("other", "r1", Mode.DIRECT, NOW + DAY, parameters={}) == first
        begun = begin(ledger, flow="full", now=NOW + MINUTE)
        assert begun.deployment_name == "full"
        assert ledger.schedule("full", "r1", Mode.PREFECT, NOW, parameters={}) == begun

    def test_beginning_a_run_that_is_at_work_is_one_more_attempt_of_the_same_life(self, ledger: Ledger) -> None:
        first = begin(ledger)
        again = begin(ledger, now=NOW + MINUTE)
        assert (again.id, again.attempts) == (first.id, 2)
        assert (again.started_at, again.heartbeat_at) == (NOW, NOW + MINUTE)

    @pytest.mark.parametrize("status", [Status.FAILED, Status.COMPLETED, Status.CANCELLED])
    def test_a_run_that_had_ended_begins_anew_and_forgets_how_it_ended(self, ledger: Ledger, status: Status) -> None:
        kind = None if status is Status.COMPLETED else ErrorKind.TRANSIENT
        ended(ledger, "r1", status, error="away", error_kind=kind, result={"read": 1})
        ledger.note_prefect_state("r1", "Failed")
        again = begin(ledger, now=NOW + MINUTE)
        assert (again.status, again.attempts, again.started_at) == (Status.RUNNING, 2, NOW + MINUTE)
        assert (again.error, again.error_kind, again.completed_at, again.prefect_state) == (None, None, None, None)
        assert (again.result, again.duration_seconds, again.created_at) == ({}, None, NOW)

    def test_a_run_that_was_cancelled_before_it_began_does_not_begin(self, ledger: Ledger) -> None:
        ledger.schedule("full", "r1", Mode.PREFECT, NOW, parameters={})
        assert ledger.close("r1", Status.CANCELLED, NOW, error_kind=ErrorKind.INTERRUPTED)
        run = begin(ledger, flow="full", now=NOW + MINUTE)
        assert (run.status, run.started_at, run.duration_seconds) == (Status.CANCELLED, None, None)

    def test_closing_keeps_the_result_the_error_and_how_long_it_took(self, ledger: Ledger) -> None:
        begin(ledger)
        said = {"result": {"read": 3, "reset": 0}, "error": "Redis is away", "error_kind": ErrorKind.TRANSIENT}
        assert ledger.close("r1", Status.FAILED, NOW + 2.5 * SECOND, **said)  # type: ignore[arg-type]
        run = row(ledger)
        assert (run.status, run.completed_at, run.duration_seconds) == (Status.FAILED, NOW + 2.5 * SECOND, 2.5)
        assert (run.result, run.error, run.error_kind) == tuple(said.values())

    def test_a_clock_that_goes_back_makes_no_negative_duration(self, ledger: Ledger) -> None:
        begin(ledger)
        assert ledger.close("r1", Status.COMPLETED, NOW - MINUTE)
        assert row(ledger).duration_seconds == 0

    @pytest.mark.parametrize("first", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_what_a_run_said_of_its_end_stands(self, ledger: Ledger, first: Status) -> None:
        ended(ledger, "r1", first)
        before = row(ledger)
        assert not ledger.close("r1", Status.FAILED, NOW + DAY, error="late", error_kind=ErrorKind.CRASHED)
        assert ledger.beat("r1", NOW + DAY) is first
        assert row(ledger) == before

    def test_an_end_that_is_none_is_refused(self, ledger: Ledger) -> None:
        begin(ledger)
        with pytest.raises(PermanentError):
            ledger.close("r1", Status.RUNNING, NOW)
        with pytest.raises(PermanentError):
            ledger.close("r1", Status.COMPLETED, NOW, error_kind=ErrorKind.DEFECT)
        assert row(ledger).status is Status.RUNNING

    def test_a_beat_is_a_sign_of_life_and_never_goes_back(self, ledger: Ledger) -> None:
        begin(ledger)
        assert ledger.beat("r1", NOW + MINUTE) is Status.RUNNING
        assert ledger.beat("r1", NOW) is Status.RUNNING
        assert row(ledger).heartbeat_at == NOW + MINUTE

    def test_a_run_hears_with_its_next_beat_that_it_was_cancelled(self, ledger: Ledger) -> None:
        begin(ledger)
        assert ledger.close("r1", Status.CANCELLED, NOW, error_kind=ErrorKind.INTERRUPTED)
        assert ledger.beat("r1", NOW + SECOND) is Status.CANCELLED
        assert row(ledger).heartbeat_at == NOW

    def test_a_scheduled_run_has_no_life_to_give_a_sign_of(self, ledger: Ledger) -> None:
        ledger.schedule("full", "r1", Mode.PREFECT, NOW, parameters={})
        assert ledger.beat("r1", NOW) is Status.SCHEDULED
        assert row(ledger).heartbeat_at is None

    def test_the_correlation_and_prefects_words_have_columns_of_their_own(self, ledger: Ledger) -> None:
        begin(ledger)
        ledger.correlate("r1", "full-2026-03-02T06")
        ledger.note_prefect_state("r1", "Crashed")
        run = row(ledger)
        assert (run.status, run.correlation_id, run.prefect_state) == (Status.RUNNING, "full-2026-03-02T06", "Crashed")

    def test_what_a_database_cannot_keep_does_not_stop_a_run(self, ledger: Ledger) -> None:
        odd = {"file": "a\0b\udcff", "share": float("nan"), "when": NOW, "mode": Mode.DIRECT, "of": {"x": (1, 2)}}
        run = begin(ledger, parameters=odd)
        assert run.parameters == {
            "file": "a\ufffdb?",
            "share": None,
            "when": NOW.isoformat(),
            "mode": "direct",
            "of": {"x": [1, 2]},
        }
        assert ledger.close("r1", Status.FAILED, NOW, error="a\0b", error_kind=ErrorKind.INPUT)
        assert row(ledger).error == "a\ufffdb"
        assert ledger.get("no\0such") is None
        assert ledger.find(flow_name="a\0b") == ledger.find(pattern="a\0*") == []


class TestSteps:
    def test_a_step_is_one_row_however_often_it_is_noted(self, ledger: Ledger) -> None:
        begin(ledger)
        ledger.note_step("r1", step(status=Status.RUNNING, attempts=1))
        ledger.note_step("r1", step(attempts=3, error="away", counts={"delivered": 7, "share": 0.5}))
        assert row(ledger).steps == (step(attempts=3, error="away", counts={"delivered": 7, "share": 0.5}),)

    def test_steps_come_in_their_order(self, ledger: Ledger) -> None:
        begin(ledger)
        for position in (2, 0, 1):
            ledger.note_step("r1", step(f"s{position}", position=position, peak_bytes=None))
        assert [s.name for s in row(ledger).steps] == ["s0", "s1", "s2"]

    def test_a_step_that_was_at_work_ended_like_its_run(self, ledger: Ledger) -> None:
        begin(ledger)
        ledger.note_step("r1", step("a", position=0))
        ledger.note_step("r1", step("b", position=1, status=Status.RUNNING))
        ledger.close("r1", Status.FAILED, NOW, error_kind=ErrorKind.DEFECT)
        assert [s.status for s in row(ledger).steps] == [Status.COMPLETED, Status.FAILED]

    def test_a_step_may_be_noted_after_its_run_was_closed(self, ledger: Ledger) -> None:
        ended(ledger, "r1", Status.COMPLETED)
        ledger.note_step("r1", step())
        assert row(ledger).steps == (step(),)


class TestTheReaper:
    def test_who_is_silent_is_closed_as_crashed_with_the_last_time_it_was_heard(self, ledger: Ledger) -> None:
        begin(ledger)
        ledger.beat("r1", NOW + 30 * SECOND)
        ledger.note_step("r1", step(status=Status.RUNNING))
        later = NOW + 10 * MINUTE
        heard(ledger)
        (found,) = ledger.reap(SILENT, UNSTARTED, later)
        assert found == row(ledger)
        assert (found.status, found.error_kind, found.completed_at) == (Status.FAILED, ErrorKind.CRASHED, later)
        assert found.duration_seconds == 30  # as long as it is known to have lived
        assert found.error is not None
        assert "2026-03-02 12:00:30 UTC" in found.error
        assert [s.status for s in found.steps] == [Status.FAILED]
        assert ledger.reap(SILENT, UNSTARTED, later) == []

    def test_who_is_heard_or_not_yet_due_is_left_alone(self, ledger: Ledger) -> None:
        begin(ledger)
        ended(ledger, "r2", Status.COMPLETED)
        ledger.schedule("full", "r3", Mode.PREFECT, NOW, parameters={})
        ledger.schedule("full", "r4", Mode.PREFECT, NOW - DAY, parameters={}, scheduled_at=NOW + DAY)
        assert ledger.reap(SILENT, UNSTARTED, NOW + SILENT) == []
        assert ledger.reap(DAY, UNSTARTED, NOW + UNSTARTED) == []

    def test_a_run_that_nobody_took_up_never_started(self, ledger: Ledger) -> None:
        ledger.schedule("full", "r1", Mode.PREFECT, NOW - DAY, parameters={}, scheduled_at=NOW)
        (found,) = ledger.reap(SILENT, UNSTARTED, NOW + UNSTARTED + SECOND)
        assert (found.status, found.error_kind, found.duration_seconds) == (
            Status.FAILED,
            ErrorKind.NEVER_STARTED,
            None,
        )
        assert found.error is not None
        assert "2026-03-02 12:00:00 UTC" in found.error

    @pytest.mark.parametrize(
        ("others", "dead"), [((), 0), ((-20,), 0), ((29,), 0), ((31,), 1), ((569,), 1), ((571,), 0), ((20, 590), 0)]
    )
    def test_silence_counts_when_somebody_else_was_heard_in_the_middle_of_it(
        self, ledger: Ledger, others: tuple[int, ...], dead: int
    ) -> None:
        """Seconds after its last sign of life; it is judged after 600. Otherwise it was perhaps the ledger that was away."""
        begin(ledger)
        for second in others:
            heard(ledger, NOW + second * SECOND)
        assert len(ledger.reap(SILENT, UNSTARTED, NOW + 600 * SECOND)) == dead

    def test_a_run_that_lives_and_beats_is_a_witness_by_its_start_alone(self, ledger: Ledger) -> None:
        begin(ledger)
        begin(ledger, "r2", now=NOW + MINUTE)
        ledger.beat("r2", NOW + 10 * MINUTE)
        assert [r.run_id for r in ledger.reap(SILENT, UNSTARTED, NOW + 10 * MINUTE)] == ["r1"]

    def test_all_that_were_found_come_back_newest_first(self, ledger: Ledger) -> None:
        for n in range(3):
            begin(ledger, f"r{n}")
        heard(ledger)
        assert [r.run_id for r in ledger.reap(SILENT, UNSTARTED, NOW + DAY)] == ["r2", "r1", "r0"]

    def test_a_beat_afterwards_brings_it_back(self, ledger: Ledger) -> None:
        begin(ledger)
        heard(ledger)
        assert ledger.reap(SILENT, UNSTARTED, NOW + DAY)
        assert ledger.beat("r1", NOW + DAY + SECOND) is Status.RUNNING
        run = row(ledger)
        assert (run.status, run.started_at, run.attempts) == (Status.RUNNING, NOW, 1)
        assert (run.error, run.error_kind, run.completed_at, run.duration_seconds) == (None, None, None, None)

    def test_a_beat_does_not_bring_back_what_failed_by_itself_or_never_started(self, ledger: Ledger) -> None:
        ended(ledger, "r1", Status.FAILED, error_kind=ErrorKind.TIMEOUT)
        assert ledger.beat("r1", NOW + DAY) is Status.FAILED
        ledger.schedule("full", "r2", Mode.PREFECT, NOW, parameters={})
        ledger.reap(SILENT, UNSTARTED, NOW + DAY)
        assert ledger.beat("r2", NOW + DAY) is Status.FAILED

    @pytest.mark.parametrize("kind", sorted(rules.FOUND))
    def test_what_an_onlooker_said_is_replaced_by_the_runs_own_word(self, ledger: Ledger, kind: ErrorKind) -> None:
        begin(ledger)
        ledger.close("r1", Status.FAILED, NOW, error="gone", error_kind=kind)
        assert ledger.close("r1", Status.COMPLETED, NOW + MINUTE, result={"read": 1})
        run = row(ledger)
        assert (run.status, run.error, run.error_kind, run.duration_seconds) == (Status.COMPLETED, None, None, 60)

    def test_a_run_that_begins_late_after_all_is_running(self, ledger: Ledger) -> None:
        ledger.schedule("full", "r1", Mode.PREFECT, NOW, parameters={})
        ledger.reap(SILENT, UNSTARTED, NOW + DAY)
        run = begin(ledger, flow="full", now=NOW + 2 * DAY)
        assert (run.status, run.attempts, run.error_kind) == (Status.RUNNING, 1, None)


class TestLooking:
    @pytest.fixture(autouse=True)
    def _runs(self, ledger: Ledger) -> None:
        flows = ["incremental", "full", "watch", "full_x", "full%", "a[b]c"]
        for n, flow in enumerate(flows):
            begin(ledger, f"r{n}", flow, NOW + n * DAY)
            ledger.note_step(f"r{n}", step())
        ledger.close("r0", Status.COMPLETED, NOW + MINUTE)

    @staticmethod
    def ids(runs: list[Run]) -> list[str]:
        return [run.run_id for run in runs]

    def test_runs_come_newest_first_with_their_steps(self, ledger: Ledger) -> None:
        found = ledger.find()
        assert self.ids(found) == ["r5", "r4", "r3", "r2", "r1", "r0"]
        assert all(run.steps == (step(),) for run in found)

    def test_pages_meet_without_a_gap_or_an_overlap(self, ledger: Ledger) -> None:
        pages, before = [], None
        while page := ledger.find(limit=2, before_id=before):
            pages.append(self.ids(page))
            before = page[-1].id
            begin(ledger, f"new{before}")  # what comes meanwhile does not shift the pages
        assert pages == [["r5", "r4"], ["r3", "r2"], ["r1", "r0"]]
        assert ledger.find(limit=0) == ledger.find(limit=-1) == []

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("full", ["r1"]),
            ("full*", ["r4", "r3", "r1"]),
            ("full?", ["r4"]),
            ("full_x", ["r3"]),  # _ and % are themselves
            ("full%", ["r4"]),
            ("%", []),
            ("*a*", ["r5", "r2", "r0"]),
            ("a[b]c", ["r5"]),
            ("a[bx]c", []),
            ("FULL", []),
            ("", []),
            ("\\*", []),
            ("'; DROP TABLE workflow_runs; --", []),
            ("*" + "a*" * 40 + "b", []),
        ],
    )
    def test_a_pattern_means_stars_and_question_marks_and_nothing_else(
        self, ledger: Ledger, pattern: str, found: list[str]
    ) -> None:
        assert self.ids(ledger.find(pattern=pattern)) == found

    def test_flow_pattern_status_and_time_narrow_each_other(self, ledger: Ledger) -> None:
        assert self.ids(ledger.find(flow_name="full")) == ["r1"]
        assert self.ids(ledger.find(flow_name="full", pattern="w*")) == []
        assert self.ids(ledger.find(statuses=[Status.COMPLETED, Status.FAILED])) == ["r0"]
        assert self.ids(ledger.find(since=NOW + DAY, until=NOW + 3 * DAY)) == ["r2", "r1"]  # half open
        assert self.ids(ledger.find(pattern="*l*", statuses=[Status.RUNNING], until=NOW + 2 * DAY)) == ["r1"]

    def test_runs_are_counted(self, ledger: Ledger) -> None:
        assert (ledger.count(), ledger.count(flow_name="full")) == (6, 1)
        assert ledger.count(statuses=[Status.COMPLETED]) == 1
        assert ledger.count(flow_name="full", statuses=[Status.COMPLETED]) == 0

    def test_only_ended_runs_are_forgotten_and_their_steps_with_them(self, ledger: Ledger) -> None:
        assert ledger.forget(NOW) == 0
        assert ledger.forget(NOW + DAY + SECOND) == 1
        assert self.ids(ledger.find()) == ["r5", "r4", "r3", "r2", "r1"]


class TestFigures:
    def test_figures_are_of_the_runs_that_were_created_in_the_span(self, ledger: Ledger) -> None:
        for n, seconds in enumerate((3.0, 1.0, 2.0)):
            ended(ledger, f"good{n}", Status.COMPLETED, seconds)
        ended(ledger, "bad", Status.FAILED, 9, error_kind=ErrorKind.TRANSIENT)
        ended(ledger, "refused", Status.CANCELLED, 9, error_kind=ErrorKind.REFUSED)
        begin(ledger, "now")
        ledger.schedule("incremental", "later", Mode.PREFECT, NOW, parameters={})
        ended(ledger, "old", Status.COMPLETED, now=NOW - DAY)
        ledger.note_step("bad", step("a", attempts=3))
        ledger.note_step("good0", step("a"))
        ledger.note_step("good1", step("a"))
        ledger.note_step("good1", step("b", attempts=2))
        ended(ledger, "other", Status.CANCELLED, flow="full", error_kind=ErrorKind.REFUSED)
        full, incremental = ledger.figures(NOW, NOW + SECOND)
        assert (full.flow_name, full.runs, full.success_rate, full.retry_rate, full.seconds) == (
            "full",
            1,
            None,
            None,
            (),
        )
        assert (incremental.runs, incremental.completed, incremental.failed) == (7, 3, 1)
        assert (incremental.cancelled, incremental.running) == (1, 1)
        assert (incremental.success_rate, incremental.retry_rate) == (0.75, 0.5)
        assert incremental.seconds == (1.0, 2.0, 3.0)

    def test_no_runs_are_no_figures(self, ledger: Ledger) -> None:
        assert ledger.figures(NOW, NOW + DAY) == []
        assert ledger.first_seen() is None

    def test_what_runs_told_is_summed_with_the_first_time_and_the_last_run(self, ledger: Ledger) -> None:
        told = [{"lost": 2, "read": 5}, {"lost": 0, "read": 7.5}, {"lost": 3, "state": "x", "ok": True, "none": None}]
        for n, result in enumerate(told):
            ended(ledger, f"r{n}", Status.COMPLETED, now=NOW + n * MINUTE, result=result)
        begin(ledger, "open", now=NOW + 9 * MINUTE)
        ended(ledger, "other", Status.FAILED, flow="full", error_kind=ErrorKind.DEFECT, result={"lost": 1})
        full, incremental = ledger.figures(NOW, NOW + DAY)
        assert dict(full.sums) == {"lost": Sum(1, NOW + SECOND, "other")}
        assert dict(incremental.sums) == {
            "lost": Sum(5, NOW + SECOND, "r2"),
            "read": Sum(12.5, NOW + SECOND, "r1"),
        }
        assert ledger.figures(NOW + 90 * SECOND, NOW + DAY)[0].sums["lost"].total == 3
        assert ledger.first_seen() == NOW

    def test_wrong_input_that_was_typed_is_no_failure_of_the_flow(self, ledger: Ledger) -> None:
        for n, (mode, kind) in enumerate(
            [(Mode.DIRECT, ErrorKind.INPUT), (Mode.PREFECT, ErrorKind.INPUT), (Mode.DIRECT, None)]
        ):
            begin(ledger, f"r{n}", mode=mode)
            ledger.close(f"r{n}", Status.FAILED, NOW + SECOND, error_kind=kind)
        ended(ledger, "good", Status.COMPLETED)
        (found,) = ledger.figures(NOW, NOW + DAY)
        assert (found.runs, found.failed, found.judged, found.success_rate) == (4, 3, 3, 1 / 3)


class TestTheStream:
    @staticmethod
    def seen(ledger: Ledger, since: datetime = NOW - DAY) -> list[tuple[str, int]]:
        return [(mark.born, mark.lost) for mark in ledger.stream_marks(since)]

    def test_it_is_noted_when_it_is_other_than_before(self, ledger: Ledger) -> None:
        for n, (born, lost) in enumerate([("a", 0), ("a", 0), ("a", 3), ("a", 2), ("a", 3), ("b", 0), ("b", 1)]):
            ledger.note_stream(born, lost, NOW + n * MINUTE)
        assert self.seen(ledger) == [("a", 0), ("a", 3), ("b", 0), ("b", 1)]
        assert ledger.stream_marks(NOW)[1].at == NOW + 2 * MINUTE

    def test_what_is_asked_since_a_time_comes_with_what_was_so_before(self, ledger: Ledger) -> None:
        for n in range(4):
            ledger.note_stream("a", n, NOW + n * DAY)
        assert self.seen(ledger, NOW + 2 * DAY) == [("a", 1), ("a", 2), ("a", 3)]
        assert self.seen(ledger, NOW + 9 * DAY) == [("a", 3)]
        assert self.seen(ledger, NOW) == [("a", 0), ("a", 1), ("a", 2), ("a", 3)]


# ------------------------------------------------------------------------------------------------ only a database


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """`work` from many threads that start together."""
    gate = threading.Barrier(count)

    def one(n: int) -> Any:
        gate.wait()
        return work(n)

    with ThreadPoolExecutor(count) as crew:
        return list(crew.map(one, range(count)))


class TestManyAtOnce:
    def test_a_hundred_beginnings_of_one_run_are_one_row_with_a_hundred_attempts(self, real: PostgresLedger) -> None:
        runs = at_once(100, lambda n: begin(real, now=NOW + n * SECOND))
        assert len({run.id for run in runs}) == 1
        assert sorted(run.attempts for run in runs) == list(range(1, 101))
        assert (real.count(), row(real).attempts) == (1, 100)

    def test_the_naive_way_to_begin_loses_attempts_or_fails(self, pool: Pool, real: PostgresLedger) -> None:
        """The control: look, then write. Without it the test above could pass because nothing ever met."""

        def naive(_n: int) -> bool:
            with pool.connection() as connection:
                found = connection.execute("SELECT attempts FROM workflow_runs WHERE flow_run_id = 'r1'").fetchone()
                looked.wait()
                if found is None:
                    insert = "INSERT INTO workflow_runs (flow_name, flow_run_id, status, created_at, execution_mode)"
                    try:
                        connection.execute(f"{insert} VALUES ('full', 'r1', 'scheduled', now(), 'direct')")
                    except psycopg.errors.UniqueViolation:
                        connection.rollback()
                        return False
                return True

        looked = threading.Barrier(8)
        assert Counter(at_once(8, naive)) == {True: 1, False: 7}

    def test_scheduling_and_beginning_at_once_is_one_run_at_work(self, real: PostgresLedger) -> None:
        def one(n: int) -> object:
            if n % 2:
                return begin(real)
            return real.schedule("incremental", "r1", Mode.DIRECT, NOW, parameters={})

        at_once(16, one)
        assert (real.count(), row(real).status, row(real).attempts) == (1, Status.RUNNING, 8)

    def test_two_reapers_at_once_close_a_run_once(self, real: PostgresLedger) -> None:
        for n in range(50):
            begin(real, f"r{n}")
        heard(real)
        found = at_once(8, lambda _n: [r.run_id for r in real.reap(SILENT, UNSTARTED, NOW + DAY)])
        closed = Counter(run_id for ids in found for run_id in ids)
        assert closed == {f"r{n}": 1 for n in range(50)}

    def test_of_many_closes_at_once_one_is_the_end(self, real: PostgresLedger) -> None:
        begin(real)
        assert Counter(at_once(16, lambda n: real.close("r1", Status.COMPLETED, NOW, result={"n": n}))) == {
            True: 1,
            False: 15,
        }

    def test_a_close_and_a_reaper_at_the_same_moment_leave_the_runs_own_word(self, real: PostgresLedger) -> None:
        for n in range(40):
            begin(real, f"r{n}")
        heard(real)

        def one(n: int) -> object:
            if n % 4 == 3:
                return real.reap(SILENT, UNSTARTED, NOW + DAY)
            return [real.close(f"r{m}", Status.COMPLETED, NOW) for m in range(n % 4, 40, 3)]

        at_once(8, one)
        assert {run.status for run in real.find()} == {Status.COMPLETED}

    def test_a_beat_and_a_reaper_at_the_same_moment_leave_a_run_that_is_alive(self, real: PostgresLedger) -> None:
        for n in range(40):
            begin(real, f"r{n}")
        heard(real)

        def one(n: int) -> object:
            if n == 0:
                return real.reap(SILENT, UNSTARTED, NOW + DAY)
            return [real.beat(f"r{m}", NOW + DAY) for m in range(n - 1, 40, 3)]

        at_once(4, one)
        assert {run.status for run in real.find(flow_name="incremental")} == {Status.RUNNING}

    def test_a_cancellation_and_an_end_at_the_same_moment_agree_with_what_was_answered(
        self, real: PostgresLedger
    ) -> None:
        for n in range(20):
            begin(real, f"r{n}")

        def end(n: int) -> bool:
            status = Status.CANCELLED if n % 2 else Status.COMPLETED
            return real.close(f"r{n // 2}", status, NOW)

        answers = at_once(40, end)
        for n in range(20):
            expected = Status.COMPLETED if answers[2 * n] else Status.CANCELLED
            assert answers[2 * n] != answers[2 * n + 1]
            assert row(real, f"r{n}").status is expected


class TestClocks:
    """What is kept is by the clock of the server, whatever those of the machines say."""

    @pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(0), timedelta(minutes=5)])
    def test_a_run_and_a_watch_whose_clocks_differ_agree_who_lives(
        self, pool: Pool, real: PostgresLedger, off: timedelta
    ) -> None:
        def now() -> datetime:
            return datetime.now(UTC) + off

        its, right = PostgresLedger(pool, now), datetime.now(UTC)
        heard(real, right - 2 * MINUTE)
        begin(its, now=now())
        its.note_stream("a", 0, now())
        assert its.beat("r1", now()) is Status.RUNNING
        run = row(real)
        for at in (run.created_at, run.started_at, run.heartbeat_at, real.stream_marks(right)[0].at, its.clock(now())):
            assert at is not None and abs(at - right) < MINUTE
        assert real.reap(timedelta(minutes=4), UNSTARTED, datetime.now(UTC)) == []
        assert its.reap(timedelta(minutes=4), UNSTARTED, now()) == []
        assert its.close("r1", Status.COMPLETED, now())
        ended_at = row(real).completed_at
        assert ended_at is not None and abs(ended_at - right) < MINUTE

    def test_times_as_the_machines_tell_them_would_have_ended_a_run_that_lives(self, real: PostgresLedger) -> None:
        """The control: the same without a look at the other clock."""
        right = datetime.now(UTC)
        heard(real, right - 2 * MINUTE)
        begin(real, now=right - 5 * MINUTE)
        assert len(real.reap(timedelta(minutes=4), UNSTARTED, right)) == 1

    def test_the_time_that_the_question_takes_is_no_difference(self) -> None:
        def skew(before: float, there: float, after: float) -> float:
            moments = (NOW + seconds * SECOND for seconds in (before, there, after))
            return rules.skew(*moments).total_seconds()

        assert skew(0, 0.9, 0.1) == 0, "less than a second is exact enough"
        assert skew(0, 7.9, 8) == 0, "the answer was on its way for long"
        assert skew(0, 300, 0.2) == pytest.approx(299.9)
        assert skew(0, -300, 0.2) == pytest.approx(-300.1)


class TestTheTable:
    COLUMNS = (
        "id flow_name flow_run_id deployment_name status parameters result error scheduled_at started_at completed_at"
        " duration_seconds created_at execution_mode prefect_state heartbeat_at correlation_id error_kind attempts"
    )

    def test_it_has_the_columns_and_indexes_of_the_contract(self, pool: Pool) -> None:
        columns = "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position"
        indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s"
        with pool.connection() as connection:
            names = [name for (name,) in connection.execute(columns, ("workflow_runs",))]
            found: dict[str, str] = dict(connection.execute(indexes, ("workflow_runs",)).fetchall())
        assert names == self.COLUMNS.split()
        assert found["ix_workflow_flow_status"].endswith("(flow_name, status)")
        assert found["ix_workflow_created"].endswith("(created_at)")
        assert "UNIQUE" in found["workflow_runs_flow_run_id_key"]

    @pytest.mark.parametrize("column", ["status", "execution_mode"])
    def test_it_takes_no_word_that_the_code_does_not_know(self, pool: Pool, real: PostgresLedger, column: str) -> None:
        begin(real)
        with pytest.raises(psycopg.errors.CheckViolation), pool.connection() as connection:
            connection.execute(f"UPDATE workflow_runs SET {column} = 'skipped'")

    def test_every_status_and_mode_and_kind_of_the_code_can_be_kept(self, real: PostgresLedger) -> None:
        for n, status in enumerate((Status.COMPLETED, Status.FAILED, Status.CANCELLED)):
            ended(real, f"s{n}", status)
        for n, kind in enumerate(ErrorKind):
            ended(real, f"k{n}", Status.FAILED, error_kind=kind)
        for n, mode in enumerate(Mode):
            begin(real, f"m{n}", mode=mode)
            real.note_step(f"m{n}", step(status=list(Status)[n]))
        assert real.count() == 3 + len(ErrorKind) + len(Mode)

    def test_a_second_schema_migration_changes_nothing(self, pool: Pool) -> None:
        with pool.connection() as connection:
            assert migrate.migrate(connection) == []
        assert "0007_runs.sql" in [m.name for m in available()]

    def test_a_ledger_that_is_away_says_so_as_transient(self) -> None:
        with open_pool("postgresql://nobody@127.0.0.1:9/none", size=1) as pool:
            pool.timeout = 0.2
            with pytest.raises(TransientError):
                begin(PostgresLedger(pool))


@pytest.fixture(scope="class")
def full(pool: Pool) -> Iterator[Pool]:
    with pool.connection() as connection:
        connection.execute("TRUNCATE workflow_runs, workflow_steps")
        connection.execute(_RUNS, {"many": MANY, "now": NOW})
        connection.execute(_STEPS)
    with psycopg.connect(str(pool.conninfo), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE workflow_runs, workflow_steps")
    yield pool
    with pool.connection() as connection:
        connection.execute("TRUNCATE workflow_runs, workflow_steps")


class TestPlans:
    """100,000 runs and 200,000 steps: what is asked often is found by an index."""

    @pytest.mark.parametrize(
        ("name", "said", "either"),  # of several where the sample of ANALYZE decides, all of them good
        [
            ("beat", {"run_id": "run-5", "now": NOW}, f"{KEY} {STATUS}"),
            ("revive", {"run_id": "run-5", "now": NOW, "refuted": ["crashed"]}, KEY),
            ("id_of", {"run_id": "run-5"}, KEY),
            ("status_of", {"run_id": "run-5"}, KEY),
            ("correlate", {"run_id": "run-5", "correlation_id": "x"}, KEY),
            ("note_prefect_state", {"run_id": "run-5", "state": "x"}, KEY),
            ("rows", {"ids": [5, 6]}, "workflow_runs_pkey"),
            ("steps", {"ids": [5, 6]}, "workflow_steps_pkey"),
            ("end_steps", {"ids": [5, 6], "status": "failed"}, "workflow_steps_pkey"),
            ("flow_names", {}, f"{FLOW} {FLOW}_status"),
            ("silent", {"now": NOW, "silent": SILENT, "unstarted": UNSTARTED, "pause": rules.PAUSE}, STATUS),
            ("sums", {"since": NOW - DAY, "until": NOW}, "ix_workflow_created"),
            ("first_seen", {}, "workflow_runs_pkey"),
            ("count", {"flow_name": None, "statuses": ["running"]}, STATUS),
            ("count", {"flow_name": "full", "statuses": ["failed"]}, f"{FLOW}_status"),
            ("count", {"flow_name": "full", "statuses": None}, f"{FLOW} {FLOW}_status"),
            ("figures", {"since": NOW - DAY, "until": NOW}, "ix_workflow_created"),
            ("forget", {"before": NOW - 340 * DAY}, "ix_workflow_created"),
            ("find", {}, "workflow_runs_pkey"),
            ("find", {"before_id": 500}, "workflow_runs_pkey"),
            ("find", {"flows": ["full"]}, f"{FLOW} {FLOW}_status"),
            ("find", {"flows": ["rare"]}, f"{FLOW} {FLOW}_status"),
            ("find", {"flows": ["rare"], "before_id": 90_000}, f"{FLOW} {FLOW}_status"),
            ("find", {"statuses": ["running"]}, STATUS),
            ("find", {"statuses": ["cancelled"], "before_id": 50_000}, STATUS),
            ("find", {"flows": ["rare"], "statuses": ["failed"]}, f"{FLOW} {FLOW}_status {STATUS}"),
            ("find", {"since": NOW - 300 * DAY, "until": NOW - 299 * DAY}, "ix_workflow_created"),
            ("find", {"since": NOW - DAY}, "ix_workflow_created"),
        ],
    )
    def test_an_index_is_used(self, full: Pool, name: str, said: dict[str, Any], either: str) -> None:
        if name == "find":
            said = dict.fromkeys(("flows", "statuses", "since", "until", "before_id")) | {"limit": 100} | said
        plan = explained(full, name, said)
        assert not [node for node in plan if node["Node Type"] == "Seq Scan"], plan
        assert {node.get("Index Name") for node in plan} & set(either.split()), plan

    def test_a_plan_without_an_index_is_seen(self, full: Pool) -> None:
        """The control: a question that no index answers."""
        text = "SELECT id FROM workflow_runs WHERE correlation_id = 'x'"
        assert [node for node in explain(full, text, {}) if node["Node Type"] == "Seq Scan"]

    def test_many_calls_of_one_list_do_not_end_in_a_plan_for_all(self, full: Pool) -> None:
        """A server that has prepared a statement may stop to look at its values, and then walks past 99,000 rows."""
        with open_pool(str(full.conninfo), size=1) as pool:
            ledger = PostgresLedger(pool)
            for _ in range(12):
                assert [run.flow_name for run in ledger.find(pattern="rar?", limit=3)] == ["rare"] * 3
            with pool.connection() as connection:
                prepared = [text for (text,) in connection.execute("SELECT statement FROM pg_prepared_statements")]
        assert prepared  # the others are
        assert not [text for text in prepared if "ORDER BY id DESC LIMIT" in text]


_RUNS = """
INSERT INTO workflow_runs (flow_name, flow_run_id, status, parameters, started_at, heartbeat_at, completed_at,
                           duration_seconds, created_at, execution_mode, error_kind)
SELECT CASE WHEN n %% 5000 = 0 THEN 'rare' WHEN n %% 72 = 0 THEN 'full' WHEN n %% 2 = 0 THEN 'watch' ELSE 'incremental' END,
       'run-' || n, s, '{}', at, at, CASE WHEN s <> 'running' THEN at END, CASE WHEN s <> 'running' THEN 5 END, at,
       'prefect', CASE WHEN s = 'failed' THEN 'transient' END
FROM (SELECT n, %(now)s::timestamptz - interval '1 year' * (%(many)s - n) / %(many)s AS at,
             CASE WHEN n > %(many)s - 3 THEN 'running' WHEN n %% 100 = 0 THEN 'failed' WHEN n %% 999 = 0 THEN 'cancelled'
             ELSE 'completed' END AS s FROM generate_series(1, %(many)s) n) runs
"""
_STEPS = """
INSERT INTO workflow_steps (run, name, position, status, attempts, started_at, seconds, cpu_seconds)
SELECT id, name, 0, 'completed', 1, created_at, 1, 1 FROM workflow_runs, (VALUES ('a'), ('b')) names (name)
"""


def explained(pool: Pool, name: str, said: dict[str, Any]) -> list[dict[str, Any]]:
    return explain(pool, queries.load("pipelines.ledger", "queries.sql")[name], said)


def explain(pool: Pool, text: str, said: dict[str, Any]) -> list[dict[str, Any]]:
    """Every node of the plan."""
    with pool.connection() as connection:
        row = connection.execute(f"EXPLAIN (FORMAT JSON) {text}", said, prepare=False).fetchone()
        assert row is not None
        plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
        return list(_nodes(plan[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
