"""A run that keeps its account and hangs the first time, until somebody ends it: for tests that cancel and repeat it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from pipelines import account, command, settings
from pipelines.account import Going
from pipelines.jobs import flows
from pipelines.skin import origin, scheduled, tasks


@scheduled(flows.INCREMENTAL)
def operated(budget_s: float | None = None) -> None:
    config = settings.load()
    account.run(config, flows.INCREMENTAL.name, origin(), tasks(command.policies(config)), _work)


def _work(going: Going) -> None:
    going.step(fetch_interactions, Path(os.environ["HANGS_AT"]))


def fetch_interactions(mark: Path) -> None:
    if mark.exists():
        return
    if os.environ.get("DEAF"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    mark.write_text(str(os.getpid()))
    threading.Event().wait()
