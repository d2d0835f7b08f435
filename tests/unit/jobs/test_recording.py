"""What a run's own account says, whatever happens to the run, to a step, and to the ledger."""

from __future__ import annotations

import logging
import signal
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipelines.errors import InvalidInput, OrganismError, PermanentError, Refused, TooManyInvalid, TransientError
from pipelines.jobs.recording import Record, ending, recorded, sentence
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.support.fakes_ledger import NOW, FakeLedger
from tests.support.wait import wait_until

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
NEVER, SOON = timedelta(hours=1), timedelta(milliseconds=1)


class Clock:
    """Goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.ticks = 0

    def __call__(self) -> datetime:
        self.ticks += 1
        return NOW + self.ticks * SECOND


class Ticks:
    """A counter of seconds: `step` more with every look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


def record(ledger: FakeLedger, **said: Any) -> AbstractContextManager[Record]:
    usual: dict[str, Any] = {"parameters": {}, "beat_every": NEVER, "pauses": ()}
    usual |= {"cpu": Ticks(0.25), "wall": Ticks(2.0), "peak": lambda: 7_000}
    return recorded(ledger, "incremental", "r1", said.pop("mode", Mode.DIRECT), Clock(), **usual | said)


def row(ledger: FakeLedger) -> Run:
    return ledger.runs["r1"]


def once(function: Callable[..., Any], *args: Any) -> Any:
    """A way to run a step: as it is."""
    return function(*args)


def thrice(function: Callable[..., Any], *args: Any) -> Any:
    """A way to run a step: up to three attempts."""
    for attempt in (1, 2, 3):
        try:
            return function(*args)
        except TransientError:
            if attempt == 3:
                raise
    raise AssertionError


@dataclass(frozen=True)
class Counted:
    read: int = 0
    share: float = 0.0
    reset: bool = False
    name: str = "a secret"
    codes: dict[str, int] = field(default_factory=dict)


def fetch_interactions(*results: Any) -> Any:
    """Raises or returns the next of the results."""
    result = results[0].pop(0)
    if isinstance(result, BaseException):
        raise result
    return result


def refresh(result: Any) -> Any:
    return result


class TestTheRow:
    def test_it_is_there_before_the_work_starts_and_closed_after_it(self, ledger: FakeLedger) -> None:
        asked = {"parameters": {"k": 5}, "deployment": "incremental", "scheduled_at": NOW}
        with record(ledger, **asked) as its:
            assert row(ledger).status is Status.RUNNING
            assert (its.run_id, its.workflow_id) == ("r1", row(ledger).id)
            its.result({"read": 3})
            its.result({"applied": 2})
            its.correlate("full-2026-03-02T06")
        run = row(ledger)
        assert (run.status, run.error, run.error_kind) == (Status.COMPLETED, None, None)
        assert (run.result, run.correlation_id) == ({"read": 3, "applied": 2}, "full-2026-03-02T06")
        assert (run.parameters, run.deployment_name, run.scheduled_at) == ({"k": 5}, "incremental", NOW)

    def test_a_run_whose_row_cannot_be_written_does_not_start(self, ledger: FakeLedger) -> None:
        ledger.fails = TransientError("postgres is away")
        with pytest.raises(TransientError, match="away"), record(ledger):
            pytest.fail("the work began")
        assert [t.name for t in threading.enumerate() if t.name.startswith("heartbeat")] == []

    def test_a_run_that_was_cancelled_before_it_began_does_not_start(self, ledger: FakeLedger) -> None:
        ledger.schedule("incremental", "r1", Mode.DIRECT, NOW, parameters={})
        ledger.close("r1", Status.CANCELLED, NOW)
        with pytest.raises(Refused, match="CANCELLED"), record(ledger):
            pytest.fail("the work began")

    def test_what_came_of_it_is_kept_also_when_it_fails_later(self, ledger: FakeLedger) -> None:
        def work() -> None:
            with record(ledger) as its:
                its.result({"read": 3})
                raise PermanentError("no")

        with pytest.raises(PermanentError):
            work()
        assert row(ledger).result == {"read": 3}

    def test_a_run_that_is_begun_again_has_two_attempts(self, ledger: FakeLedger) -> None:
        with pytest.raises(TransientError), record(ledger):
            raise TransientError("away")
        with record(ledger):
            pass
        assert (row(ledger).attempts, row(ledger).status) == (2, Status.COMPLETED)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "told to stop: by Ctrl-C, by a signal, or because somebody cancelled it"),
        (SystemExit(143), "told to stop, as when a worker ends"),
        (GeneratorExit(), "stopped before its end"),
    ],
)
def test_who_was_stopped_says_what_happened_and_no_class(error: BaseException, words: str) -> None:
    assert sentence(error) == words


def interrupted() -> BaseException:
    """What a driver makes of a Ctrl-C in the middle of a call."""
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise TransientError("the connection is closed") from None
    except TransientError as error:
        return error


class Termination(BaseException):
    """What Prefect raises in a flow when its worker is told to stop."""


ENDS = [
    (Refused("WRITER_BUSY", "another run is writing"), Status.CANCELLED, ErrorKind.REFUSED),
    (KeyboardInterrupt(), Status.CANCELLED, ErrorKind.INTERRUPTED),
    (Termination(15), Status.CANCELLED, ErrorKind.INTERRUPTED),
    (SystemExit(143), Status.CANCELLED, ErrorKind.INTERRUPTED),
    (interrupted(), Status.CANCELLED, ErrorKind.INTERRUPTED),
    (CancelledError(), Status.FAILED, ErrorKind.TIMEOUT),  # inside of Prefect's time-out
    (TimeoutError("Scope timed out"), Status.FAILED, ErrorKind.TIMEOUT),  # outside of it
    (TransientError("away"), Status.FAILED, ErrorKind.TRANSIENT),
    (TooManyInvalid("half of the batch"), Status.FAILED, ErrorKind.PERMANENT),
    (PermanentError("no"), Status.FAILED, ErrorKind.PERMANENT),
    (OrganismError("no"), Status.FAILED, ErrorKind.PERMANENT),
    (InvalidInput("no such file"), Status.FAILED, ErrorKind.INPUT),
    (ValueError("x"), Status.FAILED, ErrorKind.DEFECT),
    (MemoryError(), Status.FAILED, ErrorKind.DEFECT),
]


class TestHowItEnds:
    @pytest.mark.parametrize(("error", "status", "kind"), ENDS, ids=lambda v: type(v).__name__)
    def test_every_error_ends_a_run_in_its_own_way_and_is_raised_as_it_was(
        self, ledger: FakeLedger, error: BaseException, status: Status, kind: ErrorKind
    ) -> None:
        with pytest.raises(type(error)) as raised, record(ledger):
            raise error
        assert raised.value is error
        assert (row(ledger).status, row(ledger).error_kind) == (status, kind) == ending(error)
        assert row(ledger).error == sentence(error)

    def test_a_sentence_of_ours_is_kept_without_secrets(self) -> None:
        words = "redis://user:hunter2@host:6379 is away, said p_0123456789abcdef to ann@example.com"
        said = sentence(TransientError(words))
        assert said.startswith("redis://")
        assert not [secret for secret in ("hunter2", "p_0123456789abcdef", "ann@") if secret in said]
        assert len(sentence(TransientError("x" * 10_000))) == 2_000

    def test_of_a_foreign_error_only_its_kind_and_place_are_kept(self) -> None:
        content = "the text of a message"
        assert sentence(ValueError(content)) == "ValueError"
        with pytest.raises(AttributeError) as raised:
            Refused.__reduce__(object())  # type: ignore[arg-type]
        line = raised.traceback[-1].lineno + 1
        assert sentence(raised.value) == f"AttributeError at pipelines.errors:{line}"
        assert content not in sentence(KeyboardInterrupt(content)) + sentence(TimeoutError(content))


class TestALedgerThatGoesAway:
    def test_a_good_run_stays_good_and_it_is_said_in_the_log(
        self, ledger: FakeLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        with record(ledger):
            ledger.fails = TransientError("postgres is away")
        assert row(ledger).status is Status.RUNNING  # the reaper will find it
        assert "run r1 is completed, but the ledger could not be told: postgres is away" in caplog.text

    def test_the_error_of_a_bad_run_is_not_hidden_and_carries_a_note(self, ledger: FakeLedger) -> None:
        error = ValueError("x")

        def work() -> None:
            with record(ledger):
                ledger.fails = TransientError("postgres is away")
                raise error

        with pytest.raises(ValueError, match="x") as raised:
            work()
        assert raised.value is error
        assert error.__notes__ == ["the ledger does not know how this run ended: postgres is away"]

    def test_even_a_defect_of_the_ledger_does_not_break_a_run(self, ledger: FakeLedger) -> None:
        with record(ledger) as its:
            ledger.fails = ValueError("a defect")
            its.correlate("x")
            assert its.step(once)(refresh, 3) == 3

    def test_a_restart_of_the_ledger_is_waited_for(self, ledger: FakeLedger) -> None:
        away = iter([True, True, False])

        def close(*args: Any, **said: Any) -> bool:
            if next(away):
                raise TransientError("postgres is away")
            return FakeLedger.close(ledger, *args, **said)

        ledger.close = close  # type: ignore[method-assign]
        with record(ledger, pauses=(0.0, 0.0)):
            pass
        assert row(ledger).status is Status.COMPLETED

    @pytest.mark.parametrize(
        ("failure", "error", "tries"),
        [
            (TransientError("away"), None, 3),
            (TransientError("away"), PermanentError("no"), 3),
            (PermanentError("read-only"), None, 1),  # waiting changes nothing
            (TransientError("away"), KeyboardInterrupt(), 1),  # who is told to stop is killed soon
        ],
    )
    def test_it_is_waited_for_only_where_that_may_help(
        self, ledger: FakeLedger, failure: OrganismError, error: BaseException | None, tries: int
    ) -> None:
        def run() -> None:
            with record(ledger, pauses=(0.0, 0.0)):
                ledger.fails = failure
                if error:
                    raise error

        if error is None:
            run()
        else:
            with pytest.raises(type(error)):
                run()
        assert ledger.calls.count("close") == tries

    def test_a_step_that_could_not_be_written_is_written_at_the_end(self, ledger: FakeLedger) -> None:
        with record(ledger) as its:
            ledger.fails = TransientError("away")
            its.step(once)(refresh, Counted(read=3))
            its.step(once)(refresh, Counted(read=4))
            tried = ledger.calls.count("note_step")
            ledger.fails = None
        assert tried == 1  # not every step waits for a store that is away
        assert row(ledger).steps[0].counts["read"] == 7

    def test_a_step_that_could_not_be_written_is_written_with_the_next_beat(self, ledger: FakeLedger) -> None:
        with record(ledger, beat_every=SOON) as its:
            ledger.fails, ledger.only = TransientError("away"), {"note_step"}
            its.step(once)(refresh, Counted(read=3))
            assert row(ledger).steps == ()
            ledger.fails = None
            wait_until(lambda: row(ledger).steps, 5, "the step to be written with a beat")
            assert row(ledger).status is Status.RUNNING

    def test_a_run_that_was_cancelled_meanwhile_says_so(
        self, ledger: FakeLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        with record(ledger):
            ledger.close("r1", Status.CANCELLED, NOW + DAY, error="by an operator", error_kind=ErrorKind.INTERRUPTED)
        assert caplog.messages[-1] == "run r1 was cancelled"

    def test_an_account_that_somebody_else_closed_stays_so(self, ledger: FakeLedger) -> None:
        with record(ledger):
            ledger.close("r1", Status.CANCELLED, NOW + DAY, error="by an operator", error_kind=ErrorKind.INTERRUPTED)
        assert (row(ledger).status, row(ledger).error) == (Status.CANCELLED, "by an operator")


class TestSteps:
    def test_a_step_is_measured_and_its_numbers_are_counted(self, ledger: FakeLedger) -> None:
        counted = Counted(read=3, share=0.5, reset=True)
        with record(ledger) as its:
            assert its.step(once)(refresh, counted) is counted
        (step,) = row(ledger).steps
        assert (step.name, step.position, step.status, step.attempts) == ("refresh", 0, Status.COMPLETED, 1)
        assert (step.seconds, step.cpu_seconds, step.peak_bytes) == (2.0, 0.25, 7_000)
        assert step.counts == {"read": 3, "share": 0.5, "reset": 1}
        assert type(step.counts["reset"]) is int

    def test_a_number_that_is_none_is_not_counted(self, ledger: FakeLedger) -> None:
        with record(ledger) as its:
            its.step(once)(refresh, Counted(share=float("nan")))
            its.step(once)(refresh, Counted)  # the class is a dataclass as well
            its.step(once)(refresh, "words")
        assert row(ledger).steps[0].counts == {"read": 0, "reset": 0}

    def test_a_step_is_in_the_ledger_while_it_is_at_work(self, ledger: FakeLedger) -> None:
        def look() -> None:
            assert [(s.name, s.status) for s in row(ledger).steps] == [("look", Status.RUNNING)]

        with record(ledger) as its:
            its.step(once)(look)
        assert row(ledger).steps[0].status is Status.COMPLETED

    def test_attempts_are_counted_and_only_their_own_time(self, ledger: FakeLedger) -> None:
        results = [TransientError("away"), TransientError("away"), Counted(read=3)]
        with record(ledger) as its:
            its.step(thrice)(fetch_interactions, results)
        (step,) = row(ledger).steps
        assert (step.attempts, step.seconds, step.cpu_seconds) == (3, 6.0, 0.75)
        assert (step.status, step.error, step.counts["read"]) == (Status.COMPLETED, None, 3)

    def test_calls_of_one_step_add_up_and_attempts_are_the_most_of_any(self, ledger: FakeLedger) -> None:
        results = [TransientError("away"), Counted(read=3), Counted(read=4, share=0.5), Counted(read=1)]
        with record(ledger) as its:
            run = its.step(thrice)
            for _ in range(3):
                run(fetch_interactions, results)
                run(refresh, 1)
        fetch, other = row(ledger).steps
        assert (fetch.attempts, fetch.seconds, fetch.counts["read"], fetch.counts["share"]) == (2, 8.0, 8, 0.5)
        assert (other.name, other.position, other.attempts, other.seconds) == ("refresh", 1, 1, 6.0)

    def test_a_step_that_fails_says_why_and_the_error_says_which_step(self, ledger: FakeLedger) -> None:
        results: list[Any] = [TransientError("away") for _ in range(3)]
        with pytest.raises(TransientError) as raised, record(ledger) as its:
            its.step(thrice)(fetch_interactions, results)
        assert raised.value.step == "fetch_interactions"
        (step,) = row(ledger).steps
        assert (step.status, step.attempts, step.error) == (Status.FAILED, 3, "away")

    def test_an_error_outside_of_a_step_names_none(self, ledger: FakeLedger) -> None:
        def work() -> None:
            with record(ledger) as its:
                its.step(once)(refresh, 1)
                raise TransientError("away")

        with pytest.raises(TransientError) as raised:
            work()
        assert raised.value.step is None

    def test_a_foreign_error_is_left_as_it_is(self, ledger: FakeLedger) -> None:
        with pytest.raises(ValueError, match="content") as raised, record(ledger) as its:
            its.step(once)(fetch_interactions, [ValueError("content")])
        assert not hasattr(raised.value, "step")
        assert row(ledger).steps[0].error == "ValueError"

    @pytest.mark.parametrize("error", [Refused("NO", "no"), KeyboardInterrupt()])
    def test_a_step_that_was_refused_or_interrupted_did_not_fail(
        self, ledger: FakeLedger, error: BaseException
    ) -> None:
        with pytest.raises(type(error)), record(ledger) as its:
            its.step(once)(fetch_interactions, [error])
        assert row(ledger).steps[0].status is Status.CANCELLED

    def test_the_function_keeps_its_name_for_the_retry_table(self, ledger: FakeLedger) -> None:
        names: list[str] = []

        def named(function: Callable[..., Any], *args: Any) -> Any:
            names.append(function.__name__)
            return function(*args)

        with record(ledger) as its:
            its.step(named)(refresh, 1)
        assert names == ["refresh"]

    def test_the_steps_of_a_second_attempt_stand_where_they_stood_and_count_anew(self, ledger: FakeLedger) -> None:
        def first() -> None:
            with record(ledger) as its:
                its.step(once)(refresh, Counted(read=3))
                its.step(once)(fetch_interactions, [TransientError("away")])

        with pytest.raises(TransientError):
            first()
        with record(ledger) as its:
            its.step(once)(fetch_interactions, [Counted(read=5)])
            its.step(once)(once, refresh, 1)
        refreshed, fetched, last = row(ledger).steps
        assert [s.position for s in (refreshed, fetched, last)] == [0, 1, 2]
        assert (refreshed.name, refreshed.counts["read"]) == ("refresh", 3)  # was not run again, and stays
        assert (fetched.status, fetched.error, fetched.counts["read"]) == (Status.COMPLETED, None, 5)


class TestSignsOfLife:
    def test_it_beats_while_the_work_lasts_and_stops_with_it(self, ledger: FakeLedger) -> None:
        with record(ledger, beat_every=SOON):
            first = row(ledger).heartbeat_at
            wait_until(lambda: row(ledger).heartbeat_at != first, 5, "a beat")
        assert [t.name for t in threading.enumerate() if t.name.startswith("heartbeat")] == []

    def test_it_stops_at_once_also_between_two_beats(self, ledger: FakeLedger) -> None:
        with record(ledger, beat_every=NEVER):
            (thread,) = [t for t in threading.enumerate() if t.name == "heartbeat r1"]
            assert thread.daemon
        assert not thread.is_alive()

    def test_errors_of_the_store_are_logged_once_and_it_beats_on(
        self, ledger: FakeLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        with record(ledger, beat_every=SOON):
            ledger.fails = ValueError("a defect")
            beats = len(ledger.calls)
            wait_until(lambda: len(ledger.calls) > beats + 3, 5, "some beats that fail")
            ledger.fails = None
            before = row(ledger).heartbeat_at
            wait_until(lambda: row(ledger).heartbeat_at != before, 5, "a beat after the store came back")
        assert row(ledger).status is Status.COMPLETED
        warned = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert [r.getMessage() for r in warned] == [
            "run r1: a sign of life could not be written to the ledger: ValueError"
        ]

    def test_a_run_that_was_given_up_too_early_is_brought_back(self, ledger: FakeLedger) -> None:
        with record(ledger, beat_every=SOON):
            ledger.begin("watch", "w", Mode.DIRECT, NOW + DAY, parameters={})
            assert [r.run_id for r in ledger.reap(DAY, DAY, NOW + 2 * DAY)] == ["r1"]
            wait_until(lambda: row(ledger).status is Status.RUNNING, 5, "it to be running again")
        assert row(ledger).status is Status.COMPLETED


def cancel(ledger: FakeLedger) -> None:
    assert ledger.close("r1", Status.CANCELLED, NOW, error="by an operator", error_kind=ErrorKind.INTERRUPTED)


@pytest.fixture
def ordinary_interrupts() -> Iterator[None]:
    """Ctrl-C as in a process of its own, whatever runs the tests does with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ordinary_interrupts")
class TestCancellation:
    def test_in_direct_mode_the_work_is_interrupted_where_it_waits(self, ledger: FakeLedger) -> None:
        def work() -> None:
            with record(ledger, beat_every=SOON):
                cancel(ledger)
                threading.Event().wait(20)

        with pytest.raises(KeyboardInterrupt):
            work()
        assert (row(ledger).status, row(ledger).error) == (Status.CANCELLED, "by an operator")

    def test_under_prefect_the_next_step_does_not_begin(self, ledger: FakeLedger) -> None:
        def work() -> None:
            with record(ledger, beat_every=SOON, mode=Mode.PREFECT) as its:
                cancel(ledger)
                wait_until(lambda: its.cancelled, 5, "the run to hear of it")
                its.step(once)(refresh, 1)

        with pytest.raises(Refused, match="CANCELLED"):
            work()
        assert row(ledger).status is Status.CANCELLED
        assert row(ledger).steps == ()

    def test_a_retry_does_not_begin_either(self, ledger: FakeLedger) -> None:
        def cancelled_meanwhile() -> None:
            cancel(ledger)
            wait_until(lambda: its.cancelled, 5, "the run to hear of it")
            raise TransientError("away")

        with pytest.raises(Refused), record(ledger, beat_every=SOON, mode=Mode.PREFECT) as its:
            its.step(thrice)(cancelled_meanwhile)
        assert [(s.status, s.attempts) for s in row(ledger).steps] == [(Status.CANCELLED, 1)]

    def test_where_ctrl_c_is_ignored_it_is_not_used(self, ledger: FakeLedger) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with record(ledger, beat_every=SOON) as its:
            cancel(ledger)
            wait_until(lambda: its.cancelled, 5, "the run to hear of it")
            with pytest.raises(Refused):
                its.step(once)(refresh, 1)

    def test_a_run_in_another_thread_does_not_interrupt_the_main_one(self, ledger: FakeLedger) -> None:
        def work() -> None:
            with record(ledger, beat_every=SOON) as its:
                cancel(ledger)
                wait_until(lambda: its.cancelled, 5, "the run to hear of it")

        thread = threading.Thread(target=work)
        thread.start()
        try:
            thread.join(10)
        except KeyboardInterrupt:
            pytest.fail("the main thread was interrupted")
        assert row(ledger).status is Status.CANCELLED

    def test_a_run_that_was_not_cancelled_ends_in_peace(self, ledger: FakeLedger) -> None:
        try:
            with record(ledger, beat_every=SOON):
                pass
        except KeyboardInterrupt:
            pytest.fail("the run was interrupted at its end")
        assert row(ledger).status is Status.COMPLETED

    def test_who_has_left_is_not_interrupted(self, ledger: FakeLedger) -> None:
        for _ in range(200):  # the cancellation and the end meet, now before and now after the gate
            ledger.runs.clear()
            try:
                with record(ledger, beat_every=timedelta(0)):
                    cancel(ledger)
            except KeyboardInterrupt:
                pass  # inside; outside it would fail the test
            assert row(ledger).status is Status.CANCELLED
