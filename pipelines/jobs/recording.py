"""A run that keeps its own account: a row before the work starts, signs of life while it lasts, the truth when it ends.

The account serves the work and never the other way round: once the row is there, nothing that the ledger does can make a
good run fail or hide why a bad one did. What could not be written is logged, and the reaper closes what stayed open.
"""

from __future__ import annotations

import _thread
import logging
import signal
import threading
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from functools import wraps
from math import isfinite
from typing import Any, TypeVar

from pipelines.errors import Defect, InvalidInput, OrganismError, Refused, TransientError
from pipelines.log import redact
from pipelines.ports import Ledger
from pipelines.runs import ErrorKind, Mode, Run, RunStep, Status
from pipelines.steps import Step

T = TypeVar("T")
_log = logging.getLogger(__name__)
BEAT = timedelta(seconds=15)
#: Seconds between attempts to close the row of a run; a restart of PostgreSQL fits in. Not for one that is interrupted: who
#: was told to stop is killed soon.
_PAUSES = (1.0, 5.0)
#: How long a heartbeat that is under way is waited for.
_PATIENCE_S = 1.0
#: The first that fits.
_KINDS: Sequence[tuple[type[Exception], ErrorKind]] = (
    (Refused, ErrorKind.REFUSED),
    (InvalidInput, ErrorKind.INPUT),
    (TransientError, ErrorKind.TRANSIENT),
    (Defect, ErrorKind.DEFECT),
    (OrganismError, ErrorKind.PERMANENT),
)
#: What stops a run from outside, in words. A worker that is told to end raises SystemExit in its runs.
_STOPPED: Mapping[type[BaseException], str] = {
    KeyboardInterrupt: "told to stop: by Ctrl-C, by a signal, or because somebody cancelled it",
    SystemExit: "told to stop, as when a worker ends",
}
_LONGEST = 2_000  # characters of an error's sentence


@dataclass(frozen=True)
class Gauges:
    """What a step is measured with. peak: the most bytes that the process has used so far, None where nobody knows."""

    cpu: Callable[[], float]
    wall: Callable[[], float]
    peak: Callable[[], int | None]


def _unknown() -> int | None:
    return None


@contextmanager
def recorded(
    ledger: Ledger,
    flow: str,
    run_id: str,
    mode: Mode,
    clock: Callable[[], datetime],
    *,
    parameters: Mapping[str, Any],
    deployment: str | None = None,
    scheduled_at: datetime | None = None,
    beat_every: timedelta = BEAT,
    cpu: Callable[[], float] = time.process_time,
    wall: Callable[[], float] = time.perf_counter,
    peak: Callable[[], int | None] = _unknown,
    pauses: Sequence[float] = _PAUSES,
) -> Iterator[Record]:
    """The block is a run of `flow`: in the ledger before it begins, and closed as what came of it.

    A run that is cancelled in the ledger hears of it with the next beat. In direct mode, in the main thread, it is then
    interrupted as by Ctrl-C; elsewhere (Prefect ends its processes itself) the next attempt of a step refuses to begin.

    Raises:
        TransientError, PermanentError: the row could not be written; the block was not entered.
        Refused: CANCELLED, before it began. Otherwise what the block raises, and nothing else.
    """
    run = ledger.begin(
        flow,
        run_id,
        mode,
        clock(),
        parameters=parameters,
        deployment_name=deployment,
        scheduled_at=scheduled_at,
    )
    if run.status is Status.CANCELLED:
        raise _cancelled(run_id)
    record = Record(ledger, run, clock, Gauges(cpu, wall, peak))
    try:
        with _beating(record, beat_every, interrupts=mode is Mode.DIRECT and _can_interrupt()):
            yield record
    except BaseException as error:
        _close_failed(record, error, pauses)
        raise
    _close(record, Status.COMPLETED, None, None, pauses)


class Record:
    """The account of one run, for the run. What cannot be written now is written with a later beat, or at the end."""

    def __init__(self, ledger: Ledger, run: Run, clock: Callable[[], datetime], gauges: Gauges) -> None:
        self.run = run
        self.cancelled = False
        self.clock, self.gauges = clock, gauges
        self._ledger = ledger
        self._positions = {step.name: step.position for step in run.steps}  # of an earlier attempt
        self._steps: dict[str, RunStep] = {}
        self._unwritten: set[str] = set()
        self._away = False
        self._lock = threading.Lock()
        self._result: dict[str, Any] = {}

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def workflow_id(self) -> int:
        return self.run.id

    def step(self, step: Step) -> Step:
        """The way to run a step, with an account of it. A step that is called several times is one row: times and counts
        add up (a result is of its call, not of the run so far), attempts are the most of any call.
        """
        return _Accounted(self, step)

    def correlate(self, correlation_id: str) -> None:
        """What ties runs of one window together."""
        self.quietly("the correlation", lambda: self._ledger.correlate(self.run_id, correlation_id))

    def result(self, numbers: Mapping[str, Any]) -> None:
        """What came of it, added to what was said before; kept also when the run fails later."""
        self._result |= numbers

    # -------------------------------------------------------------------------------------------- for this module

    def note(self, step: RunStep) -> None:
        with self._lock:
            self._steps[step.name] = step
            self._unwritten.add(step.name)
            if not self._away:  # else every step would wait for a store that does not answer
                self.quietly("a step", self._flush)

    def known(self, name: str) -> RunStep | None:
        return self._steps.get(name)

    def position(self, name: str) -> int:
        """Where the step stands in the run: where it stood in an earlier attempt, else at the end."""
        return self._positions.setdefault(name, max(self._positions.values(), default=-1) + 1)

    def beat(self) -> None:
        status = self._ledger.beat(self.run_id, self.clock())
        self.cancelled = self.cancelled or status is Status.CANCELLED
        with self._lock:
            self._away = False
            self._flush()

    def close(self, status: Status, error: str | None, kind: ErrorKind | None) -> None:
        """The run first: its steps are of use only with it."""
        result = self._result
        if not self._ledger.close(self.run_id, status, self.clock(), result=result, error=error, error_kind=kind):
            self.quietly("who closed it", self._say_who_closed)
        with self._lock:
            self.quietly("a step", self._flush)

    def _say_who_closed(self) -> None:
        now = self._ledger.get(self.run_id)
        cancelled = now is not None and now.status is Status.CANCELLED
        how = "cancelled" if cancelled else "closed by somebody else, and stays as it is"
        _log.info("run %s was %s", self.run_id, how)

    def _flush(self) -> None:
        for name in sorted(self._unwritten, key=self.position):
            self._ledger.note_step(self.run_id, self._steps[name])
            self._unwritten.discard(name)

    def quietly(self, what: str, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001  # whatever it is, the account must not break the run
            level = logging.DEBUG if self._away else logging.WARNING  # once, not every 15 s
            self._away = True
            _log.log(level, "run %s: %s could not be written to the ledger: %s", self.run_id, what, sentence(error))


# ------------------------------------------------------------------------------------------------ steps


class _Accounted:
    """`steps.Step` around another one."""

    def __init__(self, record: Record, step: Step) -> None:
        self._record, self._step = record, step

    def __call__(self, function: Callable[..., T], *args: Any) -> T:
        name = function.__name__
        call = _Call(self._record, name)

        @wraps(function)
        def measured(*given: Any) -> T:
            with call.attempt():
                return function(*given)

        try:
            result = self._step(measured, *args)
        except BaseException as error:
            call.failed(error)
            if isinstance(error, OrganismError) and error.step is None:
                error.step = name
            raise
        call.completed(_numbers(result))
        return result


class _Call:
    """One call of a step with all its attempts, in one row with the calls of the same step before it."""

    def __init__(self, record: Record, name: str) -> None:
        self._record = record
        self._attempts = 0
        self._row = record.known(name) or RunStep(
            name, record.position(name), Status.RUNNING, 1, record.clock(), seconds=0.0
        )

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Measured by itself: what a retry waits for is not work."""
        if self._record.cancelled:
            raise _cancelled(self._record.run_id)
        self._attempts += 1
        self._note(status=Status.RUNNING, attempts=max(self._row.attempts, self._attempts), error=None)
        gauges = self._record.gauges
        wall, cpu = gauges.wall(), gauges.cpu()
        try:
            yield
        finally:
            seconds = self._row.seconds + max(0.0, gauges.wall() - wall)
            cpu_seconds = self._row.cpu_seconds + max(0.0, gauges.cpu() - cpu)
            self._row = replace(self._row, seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=gauges.peak())

    def completed(self, counts: Mapping[str, float]) -> None:
        before = self._row.counts
        self._note(status=Status.COMPLETED, counts={**before, **{n: before.get(n, 0) + c for n, c in counts.items()}})

    def failed(self, error: BaseException) -> None:
        if self._attempts:  # else it has not begun, and there is nothing to tell of it
            self._note(status=ending(error)[0], error=sentence(error))

    def _note(self, **changes: Any) -> None:
        self._row = replace(self._row, **changes)
        self._record.note(self._row)


def _numbers(result: object) -> dict[str, float]:
    """The fields of a step's result that are numbers; true counts as 1."""
    if not is_dataclass(result) or isinstance(result, type):
        return {}
    values = {f.name: getattr(result, f.name) for f in fields(result)}
    return {n: v + 0 for n, v in values.items() if isinstance(v, int | float) and isfinite(v)}


# ------------------------------------------------------------------------------------------------ signs of life


@contextmanager
def _beating(record: Record, every: timedelta, *, interrupts: bool) -> Iterator[None]:
    """A daemon thread that beats. It never interrupts a block that was left: the gate sees to it."""
    stop, gate = threading.Event(), threading.Lock()

    def beat_on() -> None:
        while not (record.cancelled or stop.wait(every.total_seconds())):
            record.quietly("a sign of life", record.beat)
        with gate:
            if interrupts and not stop.is_set():
                _interrupt_main()

    thread = threading.Thread(target=beat_on, name=f"heartbeat {record.run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with gate:
            stop.set()
        thread.join(_PATIENCE_S)


def _can_interrupt() -> bool:
    """Only the main thread can be, and only where Ctrl-C does what it always does: nobody ignores it or took it over."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _interrupt_main() -> None:
    """As Ctrl-C: where it can be sent to the thread itself it also ends a call that waits for a server."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


# ------------------------------------------------------------------------------------------------ the end


def _close_failed(record: Record, error: BaseException, pauses: Sequence[float]) -> None:
    status, kind = ending(error)
    hurry = kind is ErrorKind.INTERRUPTED
    if why := _close(record, status, sentence(error), kind, () if hurry else pauses):
        error.add_note(f"the ledger does not know how this run ended: {why}")


def _close(
    record: Record, status: Status, error: str | None, kind: ErrorKind | None, pauses: Sequence[float]
) -> str | None:
    """None when it is written; else why not, which is logged: the row stays open, and the reaper will find it."""
    for pause in (*pauses, None):
        try:
            record.close(status, error, kind)
            return None
        except Exception as failure:  # noqa: BLE001  # whatever it is, the account must not decide how a run ends
            why = sentence(failure)
            if pause is None or not isinstance(failure, TransientError):
                break
            time.sleep(pause)
    _log.error("run %s is %s, but the ledger could not be told: %s", record.run_id, status, why)
    return why


def _cancelled(run_id: str) -> Refused:
    return Refused("CANCELLED", f"run {run_id} was cancelled; start it again if it is still wanted")


def ending(error: BaseException) -> tuple[Status, ErrorKind]:
    """How a run ends that ends with this error, and why."""
    kind = _kind(error)
    mild = kind in (ErrorKind.REFUSED, ErrorKind.INTERRUPTED)
    return Status.CANCELLED if mild else Status.FAILED, kind


def _kind(error: BaseException) -> ErrorKind:
    told = _signal_behind(error)
    if isinstance(told, CancelledError) or isinstance(error, TimeoutError):  # Prefect's time-outs, inside and outside
        return ErrorKind.TIMEOUT
    if told is not None:
        return ErrorKind.INTERRUPTED
    return next((kind for kinds, kind in _KINDS if isinstance(error, kinds)), ErrorKind.DEFECT)


def _signal_behind(error: BaseException) -> BaseException | None:
    """The interrupt or time-out that lies behind it: a driver that is interrupted in a call fails again while it closes."""
    seen: BaseException | None = error
    while seen is not None and isinstance(seen, Exception):
        seen = seen.__context__
    return seen


def sentence(error: BaseException) -> str:
    """For the ledger and for people. Of an error that is not ours only its kind and place: its text may hold content."""
    if isinstance(error, OrganismError):
        return redact(str(error)[: 5 * _LONGEST])[:_LONGEST]  # in this order, so that no secret is cut and missed
    kind = _kind(error)
    if kind is ErrorKind.INTERRUPTED:
        return _STOPPED.get(type(_signal_behind(error) or error), "stopped before its end")
    if kind is ErrorKind.TIMEOUT:
        return f"took longer than it may ({type(error).__name__})"
    return f"{type(error).__name__}{_place(error)}"


def _place(error: BaseException) -> str:
    """Where in our code it arose, by module and line."""
    ours = [
        f" at {frame.f_globals['__name__']}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").startswith("pipelines.") and frame.f_code.co_filename != __file__
    ]
    return ours[-1] if ours else ""
