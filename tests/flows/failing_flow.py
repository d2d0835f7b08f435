"""A flow whose steps fail as often as it is told, run as a program: `failing_flow.py transient|permanent TIMES`."""

from __future__ import annotations

import json
import sys
from typing import Any

from prefect import flow

from pipelines import steps
from pipelines.errors import PermanentError, TransientError
from pipelines.skin import tasks

calls = 0


def fetch_interactions(kind: type[Exception], times: int) -> int:
    global calls
    calls += 1
    if calls <= times:
        raise kind("on purpose")
    return calls


@flow(name="failing")
def failing(kind: Any, times: int) -> int:
    quick = steps.Retry(attempts=4, base_s=0.01, factor=2, jitter=0.5, timeout_s=60)
    return tasks({"fetch_interactions": quick})(fetch_interactions, kind, times)


if __name__ == "__main__":
    wanted = {"transient": TransientError, "permanent": PermanentError}[sys.argv[1]]
    state = failing(wanted, int(sys.argv[2]), return_state=True)
    print(json.dumps({"state": state.name, "calls": calls}))
