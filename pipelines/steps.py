"""How steps are retried: one table for Prefect and for direct mode, and the direct mode's way to run a step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, TypeVar

import stamina

from pipelines.errors import TransientError

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


#: Attempts include the first. Only a TransientError is tried again: refused or wrong input never is.
RETRIES: Mapping[str, Retry] = {
    "fetch_interactions": Retry(attempts=3, base_s=2, factor=2, jitter=0.5, timeout_s=60),
    "update_graph_incremental": Retry(attempts=3, base_s=5, factor=2, jitter=0.5, timeout_s=230),
    "refresh_materialized_views": Retry(attempts=3, base_s=10, factor=2, jitter=0.5, timeout_s=1_200),
    "run_causal_analysis": Retry(attempts=3, base_s=10, factor=2, jitter=0.5, timeout_s=1_200),
    "store_metrics": Retry(attempts=3, base_s=5, factor=2, jitter=0.5, timeout_s=300),
    "evaluate_interventions": Retry(attempts=3, base_s=5, factor=2, jitter=0.5, timeout_s=120),
}


class Step(Protocol):
    """Runs one step of a job by its name's policy: as a Prefect task, or directly."""

    def __call__(self, function: Callable[..., T], *args: Any) -> T: ...


def retryable(error: BaseException) -> bool:
    return isinstance(error, TransientError)


def direct(function: Callable[..., T], *args: Any) -> T:
    """Run a step here and now, retried by the same table as under Prefect."""
    name = function.__name__
    policy = RETRIES[name]
    for attempt in stamina.retry_context(
        on=lambda error: isinstance(error, Exception) and retryable(error),
        attempts=policy.attempts,
        wait_initial=policy.base_s,
        wait_exp_base=policy.factor,
        wait_jitter=policy.base_s * policy.jitter,
        timeout=None,
    ):
        with attempt:
            if attempt.num > 1:
                _log.warning(
                    "%s failed for a reason that may pass; attempt %d of %d", name, attempt.num, policy.attempts
                )
            _log.info("%s started", name)
            result = function(*args)
            _log.info("%s ended: %s", name, in_words(result))
            return result
    raise AssertionError("stamina ends with a result or an error")


def in_words(result: object) -> str:
    """The counts of a step's result that are not zero, for the log."""
    if not is_dataclass(result):
        return "done"
    counts = {f.name.replace("_", " "): getattr(result, f.name) for f in fields(result)}
    return (
        ", ".join(f"{count:,} {name}" for name, count in counts.items() if count and isinstance(count, int))
        or "nothing"
    )
