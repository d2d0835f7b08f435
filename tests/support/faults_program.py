"""Runs that something happens to, as programs: `python -m tests.support.faults_program WHAT ...`.

    failing MODE TIMES...   the incremental command, once for each number; so often its first step fails
    waiting MODE FOLDER     it stops in its first step, says so in FOLDER/there, and goes on when there is FOLDER/go
    hooks RUN               the hooks of a run that failed, twice, as in another process

A hook that knows nothing of incidents stands beside ours: it posts to NAIVE_URL whenever a run fails.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import httpx

from pipelines import account, command, settings
from pipelines import incremental as flow
from pipelines.account import Going
from pipelines.errors import TransientError
from pipelines.jobs import flows
from pipelines.jobs import incremental as job
from pipelines.jobs.recording import recorded

DIRECT = "direct"


def naively(*_: object, **__: object) -> None:
    httpx.post(os.environ["NAIVE_URL"], json={"text": "a run failed"}).raise_for_status()


def _run(mode: str, first_step: Callable[..., Any]) -> int:
    """The command, with another first step. Signs of life come often, so that a test need not wait for one."""
    often = partial(recorded, beat_every=timedelta(seconds=0.2))
    arguments = ["--json", *(["--direct"] if mode == DIRECT else [])]
    with mock.patch.object(job, "fetch_interactions", first_step), mock.patch.object(account, "recorded", often):
        return command.run(partial(flow.main, arguments))


def _failing(mode: str, *times: str) -> int:
    if mode != DIRECT:
        flow.incremental.on_failure(naively)
    codes = []
    for count in map(int, times):
        codes.append(_run(mode, _fails(count)))
        if mode == DIRECT and codes[-1]:
            naively()
    print(json.dumps({"codes": codes}), flush=True)
    return max(codes)


def _fails(times: int) -> Callable[..., Any]:
    whole, left = job.fetch_interactions, [times]

    @wraps(whole)
    def fetch_interactions(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise TransientError("the store is away, on purpose")
        return whole(*args)

    return fetch_interactions


def _waiting(mode: str, folder: str) -> int:
    whole, place = job.fetch_interactions, Path(folder)

    @wraps(whole)
    def fetch_interactions(*args: Any) -> Any:
        (place / "there").touch()
        while not (place / "go").exists():
            time.sleep(0.05)
        return whole(*args)

    return _run(mode, fetch_interactions)


def _hooks(run_id: str) -> int:
    """What Prefect hands to hooks in another process, which has no memory of the first one."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(run_id))
    assert run.state is not None
    crashed = run.state.is_crashed()
    for hook in (flow.incremental.on_crashed_hooks if crashed else flow.incremental.on_failure_hooks) * 2:
        hook(flow.incremental, run, run.state)  # type: ignore[arg-type]
    return 0


# ------------------------------------------------------------------------------------------------ as a deployment

from pipelines import skin  # noqa: E402


@skin.scheduled(flows.INCREMENTAL)
def hanging() -> None:
    """A run that keeps its account, writes its id to HANGS_AT and waits to be killed."""
    account.run(settings.load(), flows.INCREMENTAL.name, skin.origin(), skin.tasks(), _hang)


hanging.on_crashed(naively)


def _hang(going: Going) -> None:
    Path(os.environ["HANGS_AT"]).write_text(going.record.run_id)
    threading.Event().wait()


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    sys.exit({"failing": _failing, "waiting": _waiting, "hooks": _hooks}[what](*rest))
