"""What a committed graph transaction leaves for the archive to take over, as bytes in the outbox. Pure.

One JSON object, records by kind, compressed: the records go into SQL as they are, without becoming Python objects again.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import msgspec

from pipelines.model import Event, Heartbeat, Interaction, Outcome, PrivacyRequest, Retraction, RosterChange

_KINDS: Mapping[type[Event], str] = {
    Interaction: "interactions",
    RosterChange: "roster",
    Heartbeat: "heartbeats",
    Outcome: "outcomes",
    Retraction: "retractions",
    PrivacyRequest: "privacy",
}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def pack(events: Sequence[Event]) -> bytes:
    """The records of these events, about 60 bytes for each."""
    records: dict[str, list[Event]] = {}
    for event in events:
        records.setdefault(_KINDS[type(event)], []).append(event)
    return zlib.compress(_encode(records), 1)


def unpack(payload: bytes) -> dict[str, str]:
    """Kind -> a JSON array of records."""
    return {kind: bytes(raw).decode() for kind, raw in _decode(zlib.decompress(payload)).items()}
