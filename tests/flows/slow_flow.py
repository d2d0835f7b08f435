"""A flow that takes as long as it is told and keeps a diary of when it really ran."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow


@flow(name="slow", log_prints=False)
def slow(seconds: float, diary: str) -> None:
    _write(diary, "began")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05)
    _write(diary, "ended")


def _write(diary: str, what: str) -> None:
    with Path(diary).open("a", encoding="utf-8") as file:  # short appends of one process do not mix
        file.write(f"{what} {os.getpid()} {time.time()}\n")
