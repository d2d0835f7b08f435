"""Old history and late letters: applied part by part outside the stream, each part at most once.

A part is frozen: its name is a hash of what is to be applied, and it is marked in the graph transaction that applies it.
Its keys are checked against the archive besides, because the ledger forgets keys that are older than the horizon.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from pipelines.events import schema
from pipelines.jobs.ingest import Stores, chunks, hand_over, settle
from pipelines.jobs.writing import still_writing, writing
from pipelines.model import Code, DeadLetter, Event, Funnel, Interaction, Lane, Refusal

_PART = 1_000
_DAY_MS = 86_400_000


def part_name(events: Sequence[Event]) -> str:
    """The name of a part: a hash of what is to be applied. What was refused is not in it, and may be accepted later."""
    return hashlib.sha256("\n".join(f"{e.key} {e.digest}" for e in events).encode()).hexdigest()[:32]


def backfill(
    stores: Stores,
    payloads: Sequence[bytes],
    now: datetime,
    keep: timedelta | None,
    watch: Callable[[int], None] = lambda _count: None,
) -> Funnel:
    """Apply a package of interactions; the funnel of it. Repeatable, also after it was cut off.

    What is not a valid interaction is counted under its code and left alone: mend the file and run it again.

    Args:
        keep: how far back the archive keeps single interactions, None for ever. Older ones are refused: their keys would
            be forgotten with the next upkeep, and the same event could be counted again.

    Raises:
        Refused: WRITER_BUSY, a run is writing.
    """
    with writing(stores.lease, "backfill", now):
        settle(stores)
        total, now_ms = Funnel(), int(now.timestamp() * 1000)
        excluded, retired_ms = stores.archive.excluded(), stores.graph.cursor().retired_before * _DAY_MS
        for part in _parts(payloads):
            verdicts = [_verdict(payload, now_ms, keep, retired_ms, excluded) for payload in part]
            total = total + _apply(stores, verdicts, now_ms)
            still_writing(stores.lease)
            watch(total.read)
        return total


def replay_late(stores: Stores, letters: Sequence[DeadLetter], now: datetime, keep: timedelta | None) -> Funnel:
    """Apply late letters and remove from the lane those that are counted now. Repeatable."""
    if not letters:
        return Funnel()
    funnel = backfill(stores, [letter.fields.get(schema.FIELD, b"") for letter in letters], now, keep)
    events = {letter.id: schema.parse(letter.fields.get(schema.FIELD, b""))[0] for letter in letters}
    keys = [e.key for e in events.values() if isinstance(e, Event)]
    known, counted = stores.archive.known(keys), stores.archive.find(keys)
    for id_, event in events.items():
        if isinstance(event, Event) and event.key in known:
            same = event.key not in counted or counted[event.key].digest == event.digest
            if same:  # one that re-uses an id stays in the lane: it was not counted
                stores.letters.drop(Lane.LATE, id_)
    return funnel


def _parts(payloads: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(payloads), _PART):
        yield payloads[start : start + _PART]


def _apply(stores: Stores, verdicts: Sequence[Event | Refusal], now_ms: int) -> Funnel:
    events: dict[str, Event] = {}
    codes: Counter[str] = Counter(v.code for v in verdicts if isinstance(v, Refusal))
    for event in (v for v in verdicts if isinstance(v, Event)):
        if events.setdefault(event.key, event).digest != event.digest:
            codes[Code.ID_REUSED] += 1
    known = stores.archive.known(list(events))
    new = [event for key, event in events.items() if key not in known]
    fresh = 0
    for chunk in chunks(new):
        applied = stores.builder.apply(chunk, now_ms, part_name(chunk))
        hand_over(stores, chunk, applied)
        fresh += len(applied.fresh)
        codes[Code.ID_REUSED] += len(applied.reused)
    codes = +codes
    ignored = codes.total()
    duplicates = len(verdicts) - ignored - fresh
    return Funnel(len(verdicts), fresh, duplicates, ignored=ignored, codes=dict(codes), batches=1)


def _verdict(
    payload: bytes, now_ms: int, keep: timedelta | None, retired_ms: int, excluded: frozenset[str]
) -> Event | Refusal:
    event, _ = schema.parse(payload)
    if isinstance(event, Refusal):
        return event
    if not isinstance(event, Interaction):
        return Refusal(Code.UNKNOWN_TYPE, "a backfill holds interactions only; publish other events on the stream")
    left = schema.without(event, excluded)
    return left if isinstance(left, Refusal) else schema.gate(left, now_ms, keep, retired_ms) or left
