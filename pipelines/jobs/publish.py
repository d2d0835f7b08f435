"""Events onto the stream through the outbox: whatever happens on the way, each arrives at least once.

An event is committed to the outbox before it is sent, and deleted after the server has it on disk. A run that was
killed leaves the rest there, and the next run sends it first; ids stay the same, so that the consumer counts each once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import stamina

from pipelines.errors import Refused, TransientError
from pipelines.ports import Outbox, Stream
from pipelines.steps import Retry

T = TypeVar("T")
#: About twelve seconds: long enough for a server that is started again.
RETRY = Retry(attempts=6, base_s=0.5, factor=2, jitter=0.5, timeout_s=30)
_LONGEST_WAIT_S = 5.0


@dataclass(frozen=True)
class Published:
    """What a run has sent so far: `resumed` lay in the outbox when it began, `sent` are its own events."""

    sent: int = 0
    resumed: int = 0


def publish(
    stream: Stream,
    outbox: Outbox,
    events: Iterable[bytes],
    *,
    cap: int,
    chunk: int = 1_000,
    watch: Callable[[Published], None] = lambda _: None,
) -> Published:
    """Send what the outbox holds, then the events, chunk by chunk. Safe to repeat with the same events.

    Args:
        cap: the stream is not grown beyond this many entries.
        watch: told after each chunk that is on the server's disk.

    Raises:
        Refused: STREAM_FULL; what was sent stays sent, the rest of `events` was not taken.
        TransientError: after all retries; what was not sent, and the rest of `events`, is in the outbox.
    """
    left = _chunks(events, chunk)
    try:
        return _publish(stream, outbox, left, cap, chunk, watch)
    except TransientError as error:
        for batch in left:  # a pipe cannot be read again
            outbox.put(batch)
        error.add_note(
            f"{outbox.count():,} events wait in the outbox of this machine; the next publish sends them first"
        )
        raise


def _publish(
    stream: Stream,
    outbox: Outbox,
    left: Iterator[list[bytes]],
    cap: int,
    chunk: int,
    watch: Callable[[Published], None],
) -> Published:
    _patiently(stream.prepare)
    published = Published()
    waiting = outbox.count()
    if waiting:
        _insist_on_room(stream, min(waiting, chunk), cap)
        _send(stream, outbox, chunk)
        published = Published(resumed=waiting)
        watch(published)
    for batch in left:
        try:
            _insist_on_room(stream, len(batch), cap)
        except TransientError:
            outbox.put(batch)
            raise
        outbox.put(batch)
        _send(stream, outbox, chunk)
        published = replace(published, sent=published.sent + len(batch))
        watch(published)
    return published


def _send(stream: Stream, outbox: Outbox, chunk: int) -> None:
    """Everything that lies in the outbox, also what another publisher has put there meanwhile."""
    while rows := outbox.next(chunk):
        payloads = [payload for _, payload in rows]
        _patiently(lambda payloads=payloads: stream.append(payloads))  # type: ignore[misc]  # bound now, not later
        outbox.done([rowid for rowid, _ in rows])


def _patiently(call: Callable[[], T]) -> T:
    """Calls again after a transient error. A chunk is sent as a whole again: nobody can say which part has arrived."""
    for attempt in stamina.retry_context(
        on=TransientError,
        attempts=RETRY.attempts,
        wait_initial=RETRY.base_s,
        wait_exp_base=RETRY.factor,
        wait_jitter=RETRY.base_s * RETRY.jitter,
        wait_max=_LONGEST_WAIT_S,
        timeout=None,
    ):
        with attempt:
            return call()
    raise AssertionError("stamina ends with a result or an error")


def _insist_on_room(stream: Stream, more: int, cap: int) -> None:
    length = _patiently(stream.state).length
    if length + more > cap:
        raise Refused(
            "STREAM_FULL",
            f"the stream holds {length:,} entries and may hold {cap:,} (ORGANISM_STREAM_CAP). Let"
            " `python -m pipelines.incremental` drain it; applied entries leave it after ORGANISM_STREAM_KEEP_H hours."
            " Then publish again: what was sent is not counted twice",
        )


def _chunks(events: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    left = iter(events)
    while batch := list(islice(left, size)):
        yield batch
