"""What the Prefect flows share: a step as a task with the retry policy of the house, where a run comes from, how it ends.

Imported by flow files at their end only, because importing prefect takes a second that direct mode need not pay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import wraps
from typing import Any, TypeVar

from prefect import Task, flow, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.states import Completed
from prefect.utilities.urls import url_for

from pipelines import account, prefect_page, settings, steps
from pipelines.errors import Defect, OrganismError, Refused
from pipelines.jobs import flows
from pipelines.jobs.recording import ending, sentence
from pipelines.log import Redacting
from pipelines.runs import ErrorKind, Mode

T = TypeVar("T")
SKIPPED = "Skipped"
_CRASHED = "its process is gone, as after a kill, a lack of memory or a restart of its machine"


def skipped(refused: Refused) -> State[Any]:
    """A run that a rule refused: no failure, and nobody is paged."""
    return Completed(name=SKIPPED, message=str(refused))


def outcome(state: State[Any]) -> Any:
    """What a flow returned.

    Raises:
        Refused: it was skipped. Else whatever the flow raised.
    """
    if state.name == SKIPPED:
        code, _, sentence = (state.message or "").partition(": ")
        raise Refused(code, sentence)
    return state.result()


def scheduled(its: flows.Flow) -> Callable[[Callable[..., T]], Flow[..., T]]:
    """A flow of ours: its name, how long a run may take, and who is told when its process is gone.

    No retries of Prefect's: they would run steps again that are done; `account.run` repeats what may be repeated.
    """

    def make(function: Callable[..., T]) -> Flow[..., T]:
        return flow(
            name=its.name,
            timeout_seconds=its.timeout.total_seconds(),
            log_prints=False,
            persist_result=False,
            on_failure=[_on_failure],
            on_crashed=[_on_crashed],
        )(_guarded(_named(its.name, function)))

    return make


def _named(name: str, function: Callable[..., T]) -> Callable[..., T]:
    """A run that fails is called `incremental: failed: transient`; or it would keep the random name of Prefect's."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # every failure has a name, and goes on
            prefect_page.name_run(f"{name}: failed: {ending(error)[1]}")
            raise

    return run


def _guarded(function: Callable[..., T]) -> Callable[..., T]:
    """Prefect keeps the text of what is raised, in its database and its logs: of an error that is not ours, only its kind."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> T:
        _redact_logs()
        try:
            return function(*args, **kwargs)
        except OrganismError:
            raise
        except Exception as error:  # noqa: BLE001  # every run is recorded, and this is where Prefect records it
            raise Defect(sentence(error)) from None

    return run


def _redact_logs() -> None:
    """On Prefect's handlers, the one that sends lines to the server among them."""
    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(its, Redacting) for its in handler.filters):
                handler.addFilter(Redacting())


def origin() -> account.Origin:
    """Of the flow run that this is called in."""
    here = runtime.flow_run
    return account.Origin(
        run_id=str(here.id),
        mode=Mode.PREFECT,
        parameters={k: v for k, v in (here.parameters or {}).items() if v is not None},
        deployment=runtime.deployment.name,
        scheduled_at=here.scheduled_start_time.astimezone(UTC) if here.scheduled_start_time else None,
        link=here.ui_url,
    )


def tasks(policies: Mapping[str, steps.Retry] = steps.RETRIES) -> steps.Step:
    """A way to run steps as Prefect tasks, retried by the table."""

    def run(function: Callable[..., T], *args: Any) -> T:
        name, log = function.__name__, get_run_logger()
        log.info("%s started", name)
        result = _task(function, args, policies[name])()
        log.info("%s ended: %s", name, steps.in_words(result))
        return result

    return run


def _task(function: Callable[..., T], args: tuple[Any, ...], policy: steps.Retry) -> Task[[], T]:
    """The arguments are bound beforehand: Prefect walks and hashes what a task is given, and these are live connections."""
    return Task(
        fn=_guarded(lambda: function(*args)),
        name=function.__name__,
        task_run_name=function.__name__,
        retries=policy.attempts - 1,
        retry_delay_seconds=policy.delays(),
        retry_jitter_factor=policy.jitter,
        retry_condition_fn=_is_transient,
        timeout_seconds=policy.timeout_s,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _is_transient(_task: object, _run: object, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and steps.retryable(error)


# ------------------------------------------------------------------------------------------------ hooks
# The body tells of its own failures. These are for what it cannot see; the same run told twice is told once.


def _on_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A failure before the body: wrong parameters, wrong settings."""
    error = state.result(raise_on_failure=False)
    known = isinstance(error, BaseException)
    _told(flow, flow_run, ErrorKind.PERMANENT, sentence(error) if known else "it failed before it began")


def _on_crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  # Prefect passes three
    """Runs in another process when this one was killed and its worker lives."""
    _told(flow, flow_run, ErrorKind.CRASHED, _CRASHED)


def _told(its: Flow[..., Any], run: FlowRun, kind: ErrorKind, words: str) -> None:
    where = account.Origin(run_id=str(run.id), mode=Mode.PREFECT, link=url_for(run))
    account.closed_from_outside(settings.load(), its.name, where, kind, words)
