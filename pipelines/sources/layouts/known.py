"""Which layout a JSON file is in, by the keys of its first object; and its records, read by that layout."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import BinaryIO

import msgspec

from pipelines.errors import InvalidInput
from pipelines.sources import json_objects
from pipelines.sources.layouts import activitystreams, google, microsoft, slack, viva, xapi
from pipelines.sources.layouts.layout import Aids, Layout
from pipelines.sources.raw import Counts, Item, Unreadable

LAYOUTS = {
    layout.name: layout
    for layout in (microsoft.LAYOUT, slack.LAYOUT, google.LAYOUT, activitystreams.LAYOUT, xapi.LAYOUT)
}
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(file: BinaryIO, name: str | None, aids: Aids, counts: Counts) -> Iterator[Item]:
    """What the objects of the file hold. `name` None: the layout of the first object.

    Raises:
        InvalidInput: no layout that is known, or a file of sums instead of events.
    """
    layout = LAYOUTS[name] if name else None
    for found in json_objects.read(file):
        counts.rows += 1
        if found.data is None:
            yield Unreadable(found.line, "is not a JSON object; expected one")
            continue
        if layout is None:
            layout = _layout_of(found.data)
        yield from layout.read(found.data, found.line, aids)


def _layout_of(data: bytes) -> Layout:
    try:
        keys: Collection[str] = _keys(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        keys = ()
    viva.insist_on_events(keys)
    if "specversion" in keys:
        raise InvalidInput("these are events already, but not one on each line; write them as JSONL")
    for layout in LAYOUTS.values():
        if layout.knows(keys):
            return layout
    raise InvalidInput(
        f"the first JSON object is in no layout that is known; say which with --format ({', '.join(LAYOUTS)}), or make"
        " a CSV file with actor, target and time"
    )


def read_members(file: BinaryIO) -> dict[str, list[str]]:
    """The people of each channel, from a JSON object such as {"C024BE91L": ["U061F7AUR", "U024BE7LH"]}.

    Raises:
        InvalidInput: it is something else.
    """
    try:
        return msgspec.json.decode(file.read(), type=dict[str, list[str]])
    except msgspec.DecodeError as error:
        raise InvalidInput(f"--members: {error}; expected an object of channel -> list of people") from None
