"""Putting letters back on the stream, or dropping them with a line that says who and why."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.errors import InvalidInput
from pipelines.jobs.ingest import Stores
from pipelines.model import DeadLetter, Lane
from pipelines.privacy.traces import mask

#: A letter that came back this often comes back again: something else has to change first.
MAX_REPLAYS = 3


def replayable(
    letters: Sequence[DeadLetter], *, force: bool = False
) -> tuple[list[DeadLetter], list[tuple[DeadLetter, str]]]:
    """The letters that may go back, and the others each with why not."""
    ready: list[DeadLetter] = []
    held: list[tuple[DeadLetter, str]] = []
    for letter in letters:
        if letter.kept == "no":
            held.append(
                (letter, "its payload must not be kept, so there is nothing to replay; have the producer send it again")
            )
        elif letter.replays >= MAX_REPLAYS and not force:
            held.append((letter, f"it was replayed {letter.replays} times already; mend the cause, or say --force"))
        else:
            ready.append(letter)
    return ready, held


def replay(stores: Stores, letters: Sequence[DeadLetter]) -> int:
    """Put letters back on the stream; how many. Safe to repeat and to run twice at once: each goes back once."""
    return sum(bool(stores.letters.replay(letter.lane, letter.id)) for letter in letters)


def drop(stores: Stores, lane: Lane, letters: Sequence[DeadLetter], reason: str, who: str) -> int:
    """Remove letters for good; how many. The archive keeps who dropped what and why, without the payload."""
    if not reason.strip():
        raise InvalidInput("a reason is needed: it is all that stays of a dropped letter")
    for letter in letters:
        stores.archive.note_drop(lane, letter, mask(reason.strip(), most=500), who)
    return sum(stores.letters.drop(lane, letter.id) for letter in letters)
