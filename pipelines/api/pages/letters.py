"""Dead letters as the page shows them: never what they hold. Which may go back is decided where `pipelines.dlq` asks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.api.pages.views import Ask
from pipelines.api.problems import Problem
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import dead_letters as job
from pipelines.model import DeadLetter, Lane
from pipelines.ports import DeadLetters
from pipelines.report import figures

_ID = re.compile(r"\d{1,19}-\d{1,19}", re.ASCII)
_A_PAGE = 100


@dataclass(frozen=True, slots=True)
class Told:
    """One letter. held: why it cannot be replayed; empty where it can."""

    id: str
    code: str
    words: str
    replays: int
    at: datetime
    held: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of letters, the oldest first. next: the id after which the next page begins; None: there is no more."""

    counts: Sequence[tuple[str, int]]
    letters: Sequence[Told]
    next: str | None


def listed(store: DeadLetters, after: str = "") -> Listed:
    found = store.list(Lane.DEAD, limit=_A_PAGE + 1, after=f"({after}" if _ID.fullmatch(after) else "-")
    more = found[_A_PAGE - 1].id if len(found) > _A_PAGE else None
    counts = sorted(store.counts(Lane.DEAD).items(), key=lambda its: -its[1])
    return Listed(counts, list(map(_told, found[:_A_PAGE])), more)


def _told(letter: DeadLetter) -> Told:
    _, held = job.replayable([letter])
    at = datetime.fromtimestamp(letter.dead_ms / 1000, UTC)
    return Told(letter.id, letter.code, letter.words, letter.replays, at, held[0][1] if held else "")


def asked(store: DeadLetters, ids: Sequence[str]) -> Ask:
    """The page before a replay.

    Raises:
        Problem: 422, none is chosen. InvalidInput: what is chosen is no letter. Refused: NOT_REPLAYABLE.
    """
    chosen = ready(store, ids)
    codes = sorted({letter.code for letter in chosen})
    many = figures.counted(len(chosen), "dead letter")
    return Ask(
        title=f"Put {many} back on the stream?",
        happens=(
            f"{many} ({', '.join(codes)}) {'goes' if len(chosen) == 1 else 'go'} back on the stream, and the next"
            " incremental run reads them again. What can still not be read is set aside again, with its reason.",
            "An interaction that was counted before is not counted twice.",
        ),
        undo="Nothing has to be undone. What was applied is withdrawn as any other interaction: by a correction of its"
        " source.",
        action="/letters/replay",
        button=f"Replay {many}",
        back="/letters",
        fields=tuple(("id", letter.id) for letter in chosen),
    )


def replay(store: DeadLetters, ids: Sequence[str]) -> list[str]:
    """Put them back; what became of them, in sentences. Sent twice, each goes back once.

    Raises:
        as `asked`.
    """
    done = sum(bool(store.replay(Lane.DEAD, letter.id)) for letter in ready(store, ids, again=True))
    gone = len(set(ids)) - done
    words = [f"{figures.counted(done, 'dead letter')} went back; the next incremental run reads them."]
    return [*words, f"{gone} had been replayed or dropped before, or cannot be."] if gone else words


def ready(store: DeadLetters, ids: Sequence[str], *, again: bool = False) -> list[DeadLetter]:
    """Those of the chosen that may go back. again: what is gone is no error, the form may have been sent twice.

    Raises:
        as `asked`.
    """
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        raise Problem(422, "INVALID_INPUT", "choose at least one")
    if len(wanted) > _A_PAGE or not all(map(_ID.fullmatch, wanted)):
        raise InvalidInput(f"choose 1 to {_A_PAGE} letters of the list")
    found = [letter for id_ in wanted if (letter := store.get(Lane.DEAD, id_)) is not None]
    may, held = job.replayable(found)
    if not may and not again:
        words = held[0][1] if held else "they were replayed or dropped before"
        raise Refused("NOT_REPLAYABLE", f"none of these letters can be replayed: {words}")
    return may
