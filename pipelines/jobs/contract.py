"""What may go onto the stream as it is: the parser's verdict on a line, sharpened where a raw id might slip through.

The parser stops at the first fault, and an event that it refuses for its version may hold mail addresses further on.
Dead letters of most codes keep their payload, so these lines must not even be sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pipelines.events import schema
from pipelines.model import Code, Event, Interaction, Refusal, Retraction

#: A line with one of these never reaches the stream.
NEVER_SENT = frozenset({Code.BAD_JSON, Code.BAD_ENCODING, Code.RAW_IDENTIFIER, Code.FORBIDDEN_CONTENT})
_PEOPLE = frozenset({"actor", "targets", "person", "manager"})
_PSEUDONYM = re.compile(r"[px]_[0-9a-f]{16,40}")
_decode = msgspec.json.Decoder().decode


def verdict(payload: bytes) -> Event | Refusal:
    """The event, or the reason to refuse it; RAW_IDENTIFIER also for ids in what the parser does not look at."""
    found, unknown = schema.parse(payload)
    is_settled = isinstance(found, Refusal) and found.code in NEVER_SENT
    if is_settled or (isinstance(found, Event) and not unknown):
        return found
    if any(_is_raw(key, value) for key, value in _values(_decode(payload))):
        return Refusal(Code.RAW_IDENTIFIER, "an id that is not a pseudonym (p_ or x_ and 16-40 hex digits)")
    return found


def has_horizon(event: Event) -> bool:
    """Whether the horizon is asked of it (`schema.gate`): only of what is counted."""
    return isinstance(event, (Interaction, Retraction))


def _is_raw(key: str, value: str) -> bool:
    """A person who is no pseudonym, or an address anywhere but in the event's id, which its source makes."""
    return not _PSEUDONYM.fullmatch(value) if key in _PEOPLE else key != "id" and "@" in value


def _values(raw: Any) -> Iterator[tuple[str, str]]:
    """All strings with the key that they stand under. Iterative, as nesting may be hostile."""
    stack: list[tuple[str, Any]] = [("", raw)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            stack.extend(value.items())
            yield from _keys(value)
        elif isinstance(value, list):
            stack.extend((key, item) for item in value)


def _keys(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names of fields are strings too, and may be addresses."""
    yield from (("", name) for name in names)
