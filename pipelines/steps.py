"""How steps are retried: one table for Prefect and for direct mode, and the direct mode's way to run a step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, TypeVar

import stamina

from pipelines.errors import InvalidInput, TransientError

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """Retry policy of one step. Delays are `base_s` x `factor`^n, each stretched by up to `jitter` of itself.

    timeout_s: of one attempt, where the skin can enforce it (Prefect does).
    """

    attempts: int
    base_s: float
    factor: float
    jitter: float
    timeout_s: float

    def delays(self) -> list[float]:
        return [self.base_s * self.factor**n for n in range(self.attempts - 1)]


#: Three retries after the first attempt. Only a TransientError is tried again: refused or wrong input never is.
RETRIES: Mapping[str, Retry] = {
    "fetch_interactions": Retry(attempts=4, base_s=2, factor=2, jitter=0.5, timeout_s=60),
    "update_graph_incremental": Retry(attempts=4, base_s=5, factor=2, jitter=0.5, timeout_s=230),
    "refresh_materialized_views": Retry(attempts=4, base_s=10, factor=2, jitter=0.5, timeout_s=1_200),
    "run_causal_analysis": Retry(attempts=4, base_s=10, factor=2, jitter=0.5, timeout_s=1_200),
    "store_metrics": Retry(attempts=4, base_s=5, factor=2, jitter=0.5, timeout_s=300),
    "evaluate_interventions": Retry(attempts=4, base_s=5, factor=2, jitter=0.5, timeout_s=120),
    "verify": Retry(attempts=4, base_s=10, factor=2, jitter=0.5, timeout_s=1_200),
    # Finds a store that is away, and does not wait for it.
    "check_health": Retry(attempts=1, base_s=1, factor=2, jitter=0.5, timeout_s=110),
    "check_policy": Retry(attempts=4, base_s=2, factor=2, jitter=0.5, timeout_s=120),
    "plan_interventions": Retry(attempts=4, base_s=2, factor=2, jitter=0.5, timeout_s=120),
}


def table(changes: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Retry]:
    """The retry table with what the settings change of it.

    Raises:
        InvalidInput: there is no step of that name.
    """
    if unknown := sorted(set(changes) - set(RETRIES)):
        raise InvalidInput(
            f"ORGANISM_RETRIES names {unknown[0]}, which is no step; expected one of {', '.join(RETRIES)}"
        )
    return {**RETRIES, **{name: replace(RETRIES[name], **changed) for name, changed in changes.items()}}


class Step(Protocol):
    """Runs one step of a job by its name's policy: as a Prefect task, or directly."""

    def __call__(self, function: Callable[..., T], *args: Any) -> T: ...


def retryable(error: BaseException) -> bool:
    return isinstance(error, TransientError)


def directly(policies: Mapping[str, Retry] = RETRIES) -> Step:
    """A way to run steps here and now, retried by the same table as under Prefect."""

    def run(function: Callable[..., T], *args: Any) -> T:
        policy = policies[function.__name__]
        for attempt in _attempts(policy):
            with attempt:
                return _once(function, args, attempt.num, policy)
        raise AssertionError("stamina ends with a result or an error")

    return run


def direct(function: Callable[..., T], *args: Any) -> T:
    """Run a step here and now by the table as it stands."""
    return directly(RETRIES)(function, *args)


def _attempts(policy: Retry) -> Iterable[Any]:
    return stamina.retry_context(
        on=lambda error: isinstance(error, Exception) and retryable(error),
        attempts=policy.attempts,
        wait_initial=policy.base_s,
        wait_exp_base=policy.factor,
        wait_jitter=policy.base_s * policy.jitter,
        timeout=None,
    )


def _once(function: Callable[..., T], args: Sequence[Any], number: int, policy: Retry) -> T:
    name = function.__name__
    if number > 1:
        _log.warning("%s failed for a reason that may pass; attempt %d of %d", name, number, policy.attempts)
    _log.info("%s started", name)
    result = function(*args)
    _log.info("%s ended: %s", name, in_words(result))
    return result


def in_words(result: object) -> str:
    """The counts of a step's result that are not zero, for the log."""
    if not is_dataclass(result):
        return "done"
    counts = {f.name.replace("_", " "): getattr(result, f.name) for f in fields(result)}
    return (
        ", ".join(f"{count:,} {name}" for name, count in counts.items() if count and isinstance(count, int))
        or "nothing"
    )
