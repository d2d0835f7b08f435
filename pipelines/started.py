"""`python -m pipelines.started RUN_ID`: the process that does one run of direct mode which somebody asked for.

The run is scheduled in the ledger already. Of two such processes for one run, one does it and the other leaves.
"""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

from pipelines import command, launching, log, settings, steps, wiring
from pipelines.account import Origin
from pipelines.errors import InvalidInput, OrganismError, Refused, TransientError
from pipelines.jobs import flows
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.recording import ending, sentence
from pipelines.launching import LATE, End
from pipelines.runs import Mode, Run, Status
from pipelines.settings import Settings
from pipelines.wiring import Endpoints

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LARGEST_LOG = 20_000  # lines; some megabytes
#: Seconds between attempts to take the run up; half a minute in all.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True)
class Asked:
    """What a run is done with. parameters: as `jobs.startable` let them pass."""

    config: Settings
    step: steps.Step
    origin: Origin
    parameters: Mapping[str, Any]


# Imported when it is its turn: each flow brings what it needs, and Prefect, which takes a second.


def _incremental(asked: Asked) -> object:
    from pipelines import incremental

    return incremental.run_once(asked.config, asked.step, asked.origin, lambda _done, _left: None, **asked.parameters)


def _full(asked: Asked) -> object:
    from pipelines import full

    story = full.run_once(
        asked.config, asked.step, asked.origin, full.Wanted(**asked.parameters), lambda _what, _share: None
    )
    full.leave_page(story, asked.config)
    return story


def _watch(asked: Asked) -> object:
    from pipelines import watch

    return watch.run_once(asked.config, asked.origin)


def _verify(asked: Asked) -> object:
    from pipelines import verify

    return verify.recount_once(asked.config, asked.step, asked.origin, lambda _done: None)


def _health_monitoring(asked: Asked) -> object:
    from pipelines import health_monitoring

    return health_monitoring.run_once(asked.config, asked.step, asked.origin, asked.parameters)


def _policy_check(asked: Asked) -> object:
    from pipelines import policy_check

    return policy_check.run_once(asked.config, asked.step, asked.origin, asked.parameters)


def _intervention_planning(asked: Asked) -> object:
    from pipelines import intervention_planning

    return intervention_planning.run_once(asked.config, asked.step, asked.origin, asked.parameters)


RUNS: Mapping[str, Callable[[Asked], object]] = {
    "incremental": _incremental,
    "full": _full,
    "watch": _watch,
    "verify": _verify,
    "health_monitoring": _health_monitoring,
    "policy_check": _policy_check,
    "intervention_planning": _intervention_planning,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.started", description="Does a run that is scheduled.")
    parser.add_argument("run_id", metavar="RUN_ID")
    run_id = parser.parse_args(argv).run_id
    for wanted in (signal.SIGINT, signal.SIGTERM):  # who starts us may ignore them, and children inherit that
        signal.signal(wanted, signal.default_int_handler)
    config = settings.load()
    with ExitStack() as stack:  # kept, so that embedded servers are not stopped and started in between
        where = _patiently(lambda: stack.enter_context(wiring.endpoints(config)))
        run = _patiently(lambda: take_up(where, run_id))
        _do(config, where, run)
    return command.GOOD


def _patiently(what: Callable[[], T]) -> T:
    """A store that is away for a moment does not cost a run that has not begun."""
    for pause in _PAUSES:
        try:
            return what()
        except TransientError as error:
            command.say(f"{error}; once more in {pause:g} s")
            time.sleep(pause)
    return what()


@contextmanager
def _at_most(timeout: timedelta) -> Iterator[None]:
    """As Prefect ends a flow that takes longer than it may."""

    def end(*_: object) -> None:
        raise TimeoutError(f"it took longer than {timeout}")

    if not hasattr(signal, "setitimer"):  # Windows: no run is ended there
        yield
        return
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, timeout.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def take_up(where: Endpoints, run_id: str) -> Run:
    """The run, which is this process's from now on.

    Raises:
        InvalidInput: there is none, or it is Prefect's. Refused: it has begun, has ended, or another process has it.
    """
    with wiring.ledger(where) as ledger, wiring.requests(where) as requests:
        run = ledger.get(run_id)
        if run is None or run.mode is not Mode.DIRECT or run.flow_name not in RUNS:
            raise InvalidInput("there is no run of direct mode with that id")
        if run.status is not Status.SCHEDULED:
            raise Refused("NOT_SCHEDULED", f"run {run_id} is {run.status}")
        if not requests.take_up(run_id, utc_now()):
            raise Refused("TAKEN", f"another process does run {run_id}")
        return run


def _do(config: Settings, where: Endpoints, run: Run) -> None:
    origin = Origin(run.run_id, Mode.DIRECT, run.parameters, scheduled_at=run.scheduled_at)
    try:
        with _at_most(flows.BY_NAME[run.flow_name].timeout):
            # First: Prefect, which comes with it, has its own idea of logging.
            import_module(f"pipelines.{run.flow_name}")
            _log_in_full(config)
            _log.info("%s began as run %d, direct mode", run.flow_name, run.id)
            RUNS[run.flow_name](Asked(config, steps.directly(command.policies(config)), origin, run.parameters))
            _log.info("%s ended", run.flow_name)
    except BaseException as error:
        status, kind = ending(error)
        _tell(config, where, run.run_id, End(status, utc_now(), kind, sentence(error)))
        raise
    _tell(config, where, run.run_id, End(Status.COMPLETED, utc_now(), words=LATE))


def _tell(config: Settings, where: Endpoints, run_id: str, end: End) -> None:
    """For a run that kept no account of its own, or could not close it; one that did stays as it is. What the ledger cannot
    be told now is left for whoever looks after the processes of this machine.
    """
    try:
        with wiring.ledger(where) as ledger:
            ledger.close(run_id, end.status, end.at, error=end.words, error_kind=end.kind)
    except OrganismError as error:
        _log.warning("how run %s ended is left beside its log: %s", run_id, error)
        try:
            launching.leave(launching.folder_of(config), run_id, end)
        except OSError as why:
            _log.error("how run %s ended could not be left: %s", run_id, why.strerror)


def _log_in_full(config: Settings) -> None:
    """Steps are told from INFO upwards, and this file is all that anybody will see of the run."""
    log.setup("json", "DEBUG" if config.log_level == "DEBUG" else "INFO")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_AtMost(_LARGEST_LOG))


class _AtMost(logging.Filter):
    """So many lines; then one that says so."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._left = lines

    def filter(self, record: logging.LogRecord) -> bool:
        self._left -= 1
        if self._left == 0:
            record.msg, record.args, record.exc_info = "the log is full; nothing more is written", (), None
        return self._left >= 0


if __name__ == "__main__":
    raise SystemExit(command.run(main))
