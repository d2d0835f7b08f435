"""What the Prefect flows share: a step as a task with the retry policy of the house.

Imported by flow files at their end only, because importing prefect takes a second that direct mode need not pay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from pipelines import steps
from pipelines.errors import Refused

T = TypeVar("T")


SKIPPED = "Skipped"


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


def as_task(function: Callable[..., T], *args: Any) -> T:
    """Run a step as a Prefect task by the retry table.

    The arguments are bound beforehand: Prefect walks and hashes what a task is given, and these are live connections.
    """
    policy = steps.RETRIES[function.__name__]
    task: Task[[], T] = Task(
        fn=lambda: function(*args),
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
    log = get_run_logger()
    log.info("%s started", function.__name__)
    result = task()
    log.info("%s ended: %s", function.__name__, steps.in_words(result))
    return result


def _is_transient(_task: object, _run: object, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and steps.retryable(error)
