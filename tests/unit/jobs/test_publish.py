from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from pipelines.jobs.publish import RETRY, Published, publish
from pipelines.model import StreamState
from pipelines.ports import Stream


@dataclass
class FakeStream:
    """Keeps what is appended. `faults`: one per call, None for none; "lost" keeps the events and loses the reply,
    "half" keeps a part and fails, "down" keeps nothing; "killed before" and "killed after" end the process."""

    faults: list[str | None] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)

    def append(self, payloads: Sequence[bytes]) -> None:
        fault = self.faults.pop(0) if self.faults else None
        kept = {"half": len(payloads) // 2, "down": 0, "broken": 0, "killed before": 0}.get(fault or "", len(payloads))
        self.entries += payloads[:kept]
        if fault == "broken":
            raise PermanentError("no")
        if fault in ("killed before", "killed after"):
            raise Crash
        if fault:
            raise TransientError(fault)

    def prepare(self) -> None:
        if self.faults and self.faults[0] == "away":
            raise TransientError("away")

    def state(self) -> StreamState:
        return StreamState(len(self.entries), len(self.entries), 0, 0, 0)


class Crash(BaseException):
    """The process is gone."""


@dataclass
class FakeOutbox:
    rows: dict[int, bytes] = field(default_factory=dict)
    last: int = 0

    def put(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.last += 1
            self.rows[self.last] = payload

    def next(self, limit: int) -> list[tuple[int, bytes]]:
        return sorted(self.rows.items())[:limit]

    def done(self, rowids: Sequence[int]) -> None:
        for rowid in rowids:
            self.rows.pop(rowid, None)

    def count(self) -> int:
        return len(self.rows)


EVENTS = [b"%d" % n for n in range(10)]


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=RETRY.attempts):
        yield


def run(stream: FakeStream, outbox: FakeOutbox, events: Iterable[bytes] = EVENTS, **options: Any) -> Published:
    return publish(cast(Stream, stream), outbox, events, **{"cap": 1_000, "chunk": 3, **options})


def test_every_event_is_sent_in_order_and_none_stays() -> None:
    stream, outbox = FakeStream(), FakeOutbox()
    assert run(stream, outbox) == Published(sent=10)
    assert (stream.entries, outbox.count()) == (EVENTS, 0)


def test_events_are_in_the_outbox_before_they_are_sent() -> None:
    stream, outbox = FakeStream(["broken"]), FakeOutbox()
    with pytest.raises(PermanentError):
        run(stream, outbox)
    assert sorted(outbox.rows.values()) == EVENTS[:3]


def test_what_an_earlier_run_left_is_sent_first() -> None:
    stream, outbox = FakeStream(), FakeOutbox()
    outbox.put([b"left"])
    assert run(stream, outbox) == Published(sent=10, resumed=1)
    assert stream.entries == [b"left", *EVENTS]


def test_a_transient_error_is_tried_again() -> None:
    stream, outbox = FakeStream(["down", "down", None]), FakeOutbox()
    assert run(stream, outbox).sent == 10
    assert stream.entries == EVENTS


def test_a_lost_reply_sends_twice_and_never_less() -> None:
    stream, outbox = FakeStream(["lost", "half"]), FakeOutbox()
    run(stream, outbox)
    assert set(stream.entries) == set(EVENTS)
    assert len(stream.entries) == 10 + 3 + 1


def test_a_server_that_stays_away_fails_with_everything_kept() -> None:
    stream, outbox = FakeStream(["down"] * RETRY.attempts), FakeOutbox()
    with pytest.raises(TransientError):
        run(stream, outbox)
    assert outbox.count() == 10  # what comes through a pipe cannot be read again
    assert run(stream, outbox, []) == Published(resumed=10)
    assert stream.entries == EVENTS


def test_a_server_that_was_away_from_the_start_loses_nothing_of_a_pipe() -> None:
    stream, outbox = FakeStream(["away"]), FakeOutbox()
    with pytest.raises(TransientError) as caught:
        run(stream, outbox, iter(EVENTS))
    assert "10 events wait in the outbox" in caught.value.__notes__[0]
    stream.faults.clear()
    run(stream, outbox, [])
    assert (stream.entries, outbox.count()) == (EVENTS, 0)


def test_a_permanent_error_is_not_tried_again() -> None:
    stream, outbox = FakeStream(["broken", None]), FakeOutbox()
    with pytest.raises(PermanentError):
        run(stream, outbox)
    assert stream.faults == [None]


def test_a_full_stream_is_refused_before_anything_is_taken() -> None:
    stream, outbox = FakeStream(), FakeOutbox()
    with pytest.raises(Refused, match="STREAM_FULL"):
        run(stream, outbox, cap=7)
    assert (stream.entries, outbox.count()) == (EVENTS[:6], 0)


def test_leftovers_wait_too_when_the_stream_is_full() -> None:
    stream, outbox = FakeStream(), FakeOutbox()
    outbox.put([b"left"])
    with pytest.raises(Refused):
        run(stream, outbox, cap=0)
    assert outbox.count() == 1


def test_bad_input_on_the_way_stops_and_keeps_what_was_sent() -> None:
    def events() -> Iterator[bytes]:
        yield from EVENTS[:4]
        raise InvalidInput("line 5")

    stream, outbox = FakeStream(), FakeOutbox()
    seen: list[int] = []
    with pytest.raises(InvalidInput):
        run(stream, outbox, events(), watch=lambda published: seen.append(published.sent))
    assert (stream.entries, outbox.count(), seen) == (EVENTS[:3], 0, [3])


def test_two_publishers_on_one_outbox_lose_nothing() -> None:
    stream, outbox = FakeStream(), FakeOutbox()

    def events() -> Iterator[bytes]:
        for event in EVENTS:
            outbox.put([b"of the other"])
            yield event

    run(stream, outbox, events())
    assert Counter(stream.entries)[b"of the other"] == 10
    assert outbox.count() == 0


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from([None, "down", "lost", "half", "killed before", "killed after", "broken"]), max_size=12),
    st.integers(1, 4),
)
def test_whatever_happens_on_the_way_a_run_that_ends_well_has_sent_everything(
    faults: list[str | None], chunk: int
) -> None:
    stream, outbox = FakeStream(faults), FakeOutbox()
    with stamina.set_testing(True, attempts=2):
        for _ in range(len(faults) + 1):
            try:
                run(stream, outbox, chunk=chunk)
                break
            except (TransientError, PermanentError, Crash):
                continue
    assert set(stream.entries) == set(EVENTS)
    assert outbox.count() == 0


class HastyOutbox(FakeOutbox):
    """The control: forgets events when it hands them out, not when they have arrived."""

    def next(self, limit: int) -> list[tuple[int, bytes]]:
        rows = super().next(limit)
        self.done([rowid for rowid, _ in rows])
        return rows


@pytest.mark.parametrize(("outbox", "all_arrive"), [(FakeOutbox(), True), (HastyOutbox(), False)])
def test_a_feed_that_cannot_be_read_twice_arrives_only_because_of_the_outbox(
    outbox: FakeOutbox, all_arrive: bool
) -> None:
    stream, feed = FakeStream(["broken"]), iter(EVENTS)
    with pytest.raises(PermanentError):
        run(stream, outbox, feed)
    run(stream, outbox, feed)
    assert (set(stream.entries) == set(EVENTS)) is all_arrive
