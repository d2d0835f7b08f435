"""One writer of the graph at a time: who wants to write says so, and a second one is refused instead of queued."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pipelines.errors import Refused, TransientError
from pipelines.jobs.resources import machine_name
from pipelines.ports import Lease


@contextmanager
def writing(lease: Lease, purpose: str, now: datetime) -> Iterator[None]:
    """The writer's lease for the length of a `with`.

    Raises:
        Refused: WRITER_BUSY, with what the present holder said of itself.
    """
    me = f"{purpose}, pid {os.getpid()} on {machine_name()}, since {now:%Y-%m-%d %H:%M:%S} UTC"
    if holder := lease.acquire(me):
        raise Refused("WRITER_BUSY", f"another run writes the graph ({holder}). If it died, wait for ORGANISM_LEASE_S")
    try:
        yield
    finally:
        lease.release()


def still_writing(lease: Lease) -> None:
    """Say that we live, between two pieces of long work.

    Raises:
        TransientError: we were silent for too long and somebody else writes now; what is done stays, run again.
    """
    if not lease.renew():
        raise TransientError("another run has taken over the graph meanwhile; run again when it has ended")
