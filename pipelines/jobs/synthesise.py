"""A synthetic organisation as the bytes that a producer would send."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines import synthetic
from pipelines.events import schema


def events(options: synthetic.Options) -> Iterator[bytes]:
    """The events of the options in order of time, each valid by the contract; the same options give the same bytes."""
    return (schema.encode(e.kind, e.source, e.id, e.time, e.data) for e in synthetic.events(options))
