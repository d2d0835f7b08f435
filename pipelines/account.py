"""The frame around every run of every flow, in both modes: in the ledger before it starts, tried once more if the stores
were away, closed with the truth, and told to people when it failed.

It knows no flow. What a flow does is the body that it is given.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from alerts import opening, rules
from alerts import settings as alert_settings
from alerts.model import FlowFact
from pipelines import command, steps, wiring
from pipelines.errors import OrganismError, PermanentError, TransientError
from pipelines.jobs import facts, flows
from pipelines.jobs.facts import Sources
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.recording import Record, ending, recorded, sentence
from pipelines.ports import Ledger
from pipelines.privacy.traces import secrets_of
from pipelines.runs import ErrorKind, Mode, Run, Status
from pipelines.settings import Settings
from pipelines.wiring import Endpoints

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Runs of this process that people were told of: a hook that comes later has nothing to add.
_told: set[str] = set()
_NOT_TOLD = frozenset({ErrorKind.REFUSED, ErrorKind.INTERRUPTED})


@dataclass(frozen=True)
class Origin:
    """How a run came about. link: where people look at it; None where there is no such place."""

    run_id: str = field(default_factory=lambda: str(uuid4()))
    mode: Mode = Mode.DIRECT
    parameters: Mapping[str, Any] = field(default_factory=dict)
    deployment: str | None = None
    scheduled_at: datetime | None = None
    link: str | None = None


@dataclass(frozen=True)
class Going:
    """What a body works with. attempt: 2 when the stores could not be opened the first time."""

    where: Endpoints
    step: steps.Step
    record: Record
    ledger: Ledger
    attempt: int = 1


def run(config: Settings, flow: str, origin: Origin, step: steps.Step, body: Callable[[Going], T]) -> T:
    """One run of a flow. What could not be opened is tried once more; who has to know of a failure is told.

    Raises:
        Refused, TransientError, PermanentError: what the body raised; it is in the ledger.
    """
    where: Endpoints | None = None
    with ExitStack() as stack:
        try:
            where = _twice(lambda _: stack.enter_context(wiring.endpoints(config)), config, flow)
            ledger = _twice(lambda _: stack.enter_context(wiring.ledger(where)), config, flow)
            with in_ledger(ledger, flow, origin) as record:
                going = partial(Going, where, record.step(step), record, ledger)
                return _twice(
                    lambda nth: body(going(nth)),
                    config,
                    flow,
                    lambda: ledger.begin(flow, origin.run_id, origin.mode, utc_now(), parameters={}),
                )
        except BaseException as error:
            _tell(config, where, flow, origin, error)
            raise


def in_ledger(ledger: Ledger, flow: str, origin: Origin) -> AbstractContextManager[Record]:
    """The block is a run of the flow, as `jobs.recording.recorded` has it."""
    return recorded(
        ledger,
        flow,
        origin.run_id,
        origin.mode,
        utc_now,
        parameters=origin.parameters,
        deployment=origin.deployment,
        scheduled_at=origin.scheduled_at,
        peak=command.peak_memory,
    )


@contextmanager
def if_possible(sources: Sources, flow: str, origin: Origin) -> Iterator[tuple[Sources, Record | None]]:
    """For who looks whether the stores are there: a PostgreSQL that cannot be written to is what they look for, and no reason
    to stop. The sources without a ledger then, and no record.
    """
    with ExitStack() as stack:
        record = None
        if sources.ledger is not None:
            try:
                record = stack.enter_context(in_ledger(sources.ledger, flow, origin))
            except (TransientError, PermanentError) as error:
                sources = replace(sources, ledger=None, away={**sources.away, "postgres": str(error)})
        yield sources, record


def _twice(body: Callable[[int], T], config: Settings, flow: str, between: Callable[[], object] = lambda: None) -> T:
    """Once more for what may pass, if no step failed: a step has had all its attempts by then, with longer waits."""
    try:
        return body(1)
    except TransientError as error:
        if error.step is not None:
            raise
        command.say(f"{flow}: {error}; once more in {config.run_again_s:g} s")
    time.sleep(config.run_again_s)
    between()
    return body(2)


# ------------------------------------------------------------------------------------------------ telling people


def _tell(config: Settings, where: Endpoints | None, flow: str, origin: Origin, error: BaseException) -> None:
    _, kind = ending(error)
    asked = origin.mode is Mode.DIRECT or flow in flows.ASKED_FOR
    if kind in _NOT_TOLD or (kind is ErrorKind.INPUT and asked):
        return  # nobody has to act, or who asked has just read it
    if origin.mode is Mode.DIRECT and sys.stderr.isatty():
        return
    step = error.step if isinstance(error, OrganismError) else None
    tell_failed(config, where, flow, origin, kind, sentence(error), step)


def tell_failed(
    config: Settings,
    where: Endpoints | None,
    flow: str,
    origin: Origin,
    kind: ErrorKind,
    words: str,
    step: str | None = None,
) -> None:
    """Tell people that a run failed for good. Never raises: a run does not end otherwise because nobody could be told."""
    now, url = utc_now(), where.postgres if where else None
    its = Run(0, flow, origin.run_id, Status.FAILED, origin.mode, now, error=words, error_kind=kind, completed_at=now)
    _told.add(origin.run_id)
    try:
        fact = facts.run_fact(its, link=origin.link, step=step)
        problem = rules.flow_failed(fact, _flow_fact(where, flow, now))
        if problem is None:  # a kind of end that nobody has to know of
            return
        with opening.dispatcher(
            alert_settings.load(), url, wiring.state_dir(config), known=secrets_of(config)
        ) as dispatcher:
            dispatcher.tell([problem], now)
            dispatcher.deliver(now)
    except Exception as error:  # noqa: BLE001  # alerting is dispatched here, and the run goes on without it
        _log.error("nobody could be told that %s failed: %s", flow, type(error).__name__)


def _flow_fact(where: Endpoints | None, flow: str, now: datetime) -> FlowFact:
    """What the ledger knows of the flow; little, where it cannot be asked."""
    try:
        if where is not None:
            with wiring.ledger(where) as ledger:
                return facts.flow_fact(ledger, flow, now)
    except OrganismError as error:
        _log.warning("the ledger cannot be asked: %s", error)
    return FlowFact(flow, None, flows.BY_NAME[flow].slow)


def closed_from_outside(config: Settings, flow: str, origin: Origin, kind: ErrorKind, words: str) -> None:
    """Close and tell of a run that could not do so itself: its process is gone, or it failed before its body began.

    A run that closed itself as a failure is told of in its own words: perhaps it died before it told, or it is the watch.
    One that ended otherwise is not, such as one that was stopped on purpose by a worker that is told to end.
    """
    if origin.run_id in _told:
        return
    with ExitStack() as stack:
        where: Endpoints | None = None
        try:
            where = stack.enter_context(wiring.endpoints(config))
            with wiring.ledger(where) as ledger:
                if ledger.get(origin.run_id) is None:
                    ledger.begin(flow, origin.run_id, origin.mode, utc_now(), parameters={})
                if not ledger.close(origin.run_id, Status.FAILED, utc_now(), error=words, error_kind=kind):
                    row = ledger.get(origin.run_id)
                    if row is None or row.status is not Status.FAILED:
                        return
                    kind, words = row.error_kind or kind, row.error or words
        except OrganismError as error:
            _log.warning("the ledger cannot be told: %s", error)
        tell_failed(config, where, flow, origin, kind, words)
