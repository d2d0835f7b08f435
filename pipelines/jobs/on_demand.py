"""What the flows that people start share: how words get into what a run keeps."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.privacy.traces import guard

_MOST, _LONGEST = 40, 300


def kept(sentences: Iterable[str], forbidden: Iterable[str] = ()) -> list[str]:
    """The sentences as a run keeps them for people: few, short, one line each.

    Raises:
        Refused: LEAK, one holds a pseudonym, an address or a secret.
    """
    secrets = tuple(forbidden)
    lines = [" ".join(guard(sentence, secrets).split()) for sentence in sentences]
    short = [line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…" for line in lines]
    return short if len(short) <= _MOST else [*short[: _MOST - 1], f"and {len(short) - _MOST + 1} more"]
