"""An ingestion document, judged where it comes in: a sample of events, or a mapping of a source's fields.

What leaves this module are codes and counts. The document itself may be just what must never be kept, so it is no parameter
of a run: who starts one judges it first and passes on the counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from pipelines.errors import InvalidInput
from pipelines.events import schema
from pipelines.jobs import contract
from pipelines.model import Code, Refusal
from pipelines.privacy.traces import check_text

MOST_BYTES = 1_000_000
ITEMS, VALID = "items", "valid"
#: What the consumer would ask of a document's events; the other codes are about what only the stores can see.
CODES = (
    Code.BAD_ENCODING,
    Code.BAD_JSON,
    Code.FORBIDDEN_CONTENT,
    Code.RAW_IDENTIFIER,
    Code.UNKNOWN_VERSION,
    Code.UNKNOWN_TYPE,
    Code.MISSING_FIELD,
    Code.BAD_FORMAT,
    Code.SELF_ONLY,
    Code.TOO_MANY_TARGETS,
    Code.BAD_DURATION,
    Code.FROM_FUTURE,
)
_decode = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def judged(document: bytes, now: datetime) -> dict[str, int]:
    """How many items it has, how many of them are valid at `now`, and how many each code refuses.

    An object without `type` and `specversion` is a mapping: no name in it may be one of content, and no value an address.

    Args:
        document: one JSON object, a list of them, or one per line.

    Raises:
        InvalidInput: empty, or larger than a megabyte. The message holds nothing of it.
    """
    if not document.strip() or len(document) > MOST_BYTES:
        raise InvalidInput(f"a document of {len(document):,} bytes; expected 1 to {MOST_BYTES:,}")
    verdicts = [_verdict(item, int(now.timestamp() * 1000)) for item in _items(document)]
    refused = Counter(code.value for code in verdicts if code)
    return {ITEMS: len(verdicts), VALID: verdicts.count(None), **dict(sorted(refused.items()))}


def kept(given: object, now: datetime) -> dict[str, int]:
    """What a run keeps of a document that somebody gave as text; what was kept of one before stays as it is.

    Raises:
        InvalidInput: as `judged` and `counts`.
    """
    return judged(given.encode("utf-8", "surrogatepass"), now) if isinstance(given, str) else counts(given)


def counts(given: object) -> dict[str, int]:
    """Counts that `judged` made, back from the parameters of a run.

    Raises:
        InvalidInput: they are something else, perhaps the document itself. The message holds nothing of it.
    """
    known = {ITEMS, VALID, *CODES}
    if (
        not isinstance(given, Mapping)
        or not {ITEMS, VALID} <= set(given) <= known
        or not all(map(_is_count, given.values()))
    ):
        raise InvalidInput(
            "document is not what was counted of one; python -m pipelines.policy_check --document FILE counts"
        )
    return dict(given)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _items(document: bytes) -> Iterator[bytes]:
    """Each item by itself, as JSON; what cannot be read goes on as it is, for the parser to refuse."""
    try:
        whole = _decode(document)
    except _UNREADABLE:
        yield from (line for line in document.splitlines() if line.strip())
        return
    yield from map(msgspec.json.encode, whole) if isinstance(whole, list) else (document,)


def _verdict(item: bytes, now_ms: int) -> Code | None:
    """The first reason to refuse it; None: it is valid."""
    if (mapping := _mapping(item)) is not None:
        return _against(mapping)
    found = contract.verdict(item)
    refusal = found if isinstance(found, Refusal) else schema.gate(found, now_ms, None)
    return refusal.code if refusal else None


def _mapping(item: bytes) -> dict[str, Any] | None:
    try:
        raw = _decode(item)
    except _UNREADABLE:
        return None
    return raw if isinstance(raw, dict) and raw and not {"type", "specversion"} & set(raw) else None


def _against(mapping: dict[str, Any]) -> Code | None:
    """A mapping names fields: those of the source, and ours. What it names must be no content and nobody."""
    names = [word for pair in contract._values(mapping) for word in pair if word]
    if any(name.lower().rpartition(".")[2] in schema.FORBIDDEN for name in names):
        return Code.FORBIDDEN_CONTENT
    return Code.RAW_IDENTIFIER if any("@" in name or check_text(name) for name in names) else None
