"""A run that keeps its account and then hangs, as one that waits for a machine that is gone: for tests that kill it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pipelines import account, settings
from pipelines.account import Going
from pipelines.jobs import flows
from pipelines.skin import origin, scheduled, tasks


@scheduled(flows.INCREMENTAL)
def hanging() -> None:
    account.run(settings.load(), flows.INCREMENTAL.name, origin(), tasks(), _hang)


def _hang(going: Going) -> None:
    Path(os.environ["HANGS_AT"]).write_text(going.record.run_id)
    threading.Event().wait()
