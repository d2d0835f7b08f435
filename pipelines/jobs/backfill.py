"""Old history and late letters: applied part by part outside the stream, each part at most once.

A package is frozen: its name is a hash of its content, and each part is marked in the graph transaction that applies
it. Its keys are checked against the archive besides, because the ledger forgets keys that are older than the horizon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from pipelines.events import schema
from pipelines.jobs.ingest import Stores, hand_over, settle
from pipelines.jobs.writing import writing
from pipelines.model import Code, DeadLetter, Event, Funnel, Interaction, Lane, Refusal

_PART = 1_000


def package_name(payloads: Sequence[bytes]) -> str:
    """The name of a package: a hash of its events in their order."""
    content = hashlib.sha256()
    for payload in payloads:
        content.update(hashlib.sha256(payload).digest())
    return content.hexdigest()[:32]


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
        name, total = package_name(payloads), Funnel()
        excluded = stores.archive.excluded()
        for number, part in enumerate(_parts(payloads)):
            verdicts = [_verdict(payload, int(now.timestamp() * 1000), keep, excluded) for payload in part]
            total = total + _apply(stores, verdicts, f"{name}:{number}", int(now.timestamp() * 1000))
            stores.lease.renew()
            watch(total.read)
        return total


def replay_late(stores: Stores, letters: Sequence[DeadLetter], now: datetime, keep: timedelta | None) -> Funnel:
    """Apply late letters and remove from the lane those that are counted now. Repeatable."""
    if not letters:
        return Funnel()
    funnel = backfill(stores, [letter.fields.get(schema.FIELD, b"") for letter in letters], now, keep)
    events = {letter.id: schema.parse(letter.fields.get(schema.FIELD, b""))[0] for letter in letters}
    known = stores.archive.known([e.key for e in events.values() if isinstance(e, Event)])
    for id_, event in events.items():
        if isinstance(event, Event) and event.key in known:
            stores.letters.drop(Lane.LATE, id_)
    return funnel


def _parts(payloads: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(payloads), _PART):
        yield payloads[start : start + _PART]


def _apply(stores: Stores, verdicts: Sequence[Event | Refusal], name: str, now_ms: int) -> Funnel:
    refused = [v for v in verdicts if isinstance(v, Refusal)]
    events = {v.key: v for v in verdicts if isinstance(v, Interaction)}
    known = stores.archive.known(list(events))
    new = [event for key, event in events.items() if key not in known]
    applied = stores.builder.apply(new, now_ms, name)
    hand_over(stores, new, applied)
    codes: dict[str, int] = {}
    for refusal in refused:
        codes[refusal.code] = codes.get(refusal.code, 0) + 1
    fresh, valid = len(applied.fresh), len(verdicts) - len(refused)
    return Funnel(
        read=len(verdicts), applied=fresh, duplicates=valid - fresh, ignored=len(refused), codes=codes, batches=1
    )


def _verdict(payload: bytes, now_ms: int, keep: timedelta | None, excluded: frozenset[str]) -> Event | Refusal:
    event, _ = schema.parse(payload)
    if isinstance(event, Refusal):
        return event
    if not isinstance(event, Interaction):
        return Refusal(Code.UNKNOWN_TYPE, "a backfill holds interactions only; publish other events on the stream")
    return schema.gate(event, now_ms, keep) or schema.without(event, excluded)
