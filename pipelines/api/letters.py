"""Dead and late letters: what was set aside and why, and back it goes. Never what was in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from pipelines import wiring
from pipelines.api import runs
from pipelines.api.automation import Asks, The
from pipelines.api.desk import Desk
from pipelines.api.document import documented
from pipelines.api.shapes import Asked, Shape
from pipelines.errors import InvalidInput
from pipelines.jobs import dead_letters as job
from pipelines.jobs.backfill import replay_late
from pipelines.model import Code, DeadLetter, Lane

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])
_MOST = 1_000
LetterId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}-[0-9]{1,19}$", max_length=40)]


class Letter(Shape):
    id: str = Field(examples=["1795334624359-0"])
    lane: Lane
    code: str = Field(examples=["BAD_FORMAT"])
    words: str
    source_id: str = Field(description="its entry in the stream")
    deliveries: int
    replays: int
    set_aside_at: datetime
    payload_bytes: int | None = Field(description="null: it must not be kept")


class Letters(Shape):
    counts: dict[str, int] = Field(description="of the whole lane, by code")
    letters: list[Letter] = Field(description="the oldest first")
    next: str | None


class ReplayAsked(Asked):
    """Either some ids, or all of a code."""

    lane: Lane = Lane.DEAD
    ids: list[LetterId] = Field(default_factory=list, max_length=_MOST)
    code: Code | None = Field(None, description=f"the oldest {_MOST:,} with this code")
    force: bool = Field(False, description=f"also letters that were replayed {job.MAX_REPLAYS} times")


class Held(Shape):
    id: str
    why: str


class Replayed(Shape):
    replayed: int
    gone: list[str] = Field(description="ids that are not there: replayed or dropped before, or mistyped")
    held: list[Held]
    message: str


@router.get("", summary="What was set aside")
def list_letters(
    its: The,
    lane: Lane = Lane.DEAD,
    code: Code | None = None,
    limit: runs.Limit = 50,
    after: Annotated[LetterId | None, Query(description="the id of the last one of the page before")] = None,
) -> Letters:
    """By lane: `dlq` could not be applied, `late` was older than the horizon. Never the payload."""
    letters = its.redis().letters
    wanted = code.value if code else None
    found = letters.list(lane, code=wanted, limit=limit + 1, after=f"({after}" if after else "-")
    page = found[:limit]
    query = {"lane": lane.value} | ({"code": wanted} if wanted else {}) | {"limit": str(limit)}
    more = f"/dead-letters?{urlencode({**query, 'after': page[-1].id})}" if len(found) > limit else None
    return Letters(counts=letters.counts(lane), letters=[_shown(letter) for letter in page], next=more)


def _shown(its: DeadLetter) -> Letter:
    size = None if its.kept == "no" else sum(map(len, its.fields.values()))
    return Letter(
        id=its.id,
        lane=its.lane,
        code=its.code,
        words=its.words,
        source_id=its.source_id,
        deliveries=its.deliveries,
        replays=its.replays,
        set_aside_at=datetime.fromtimestamp(its.dead_ms / 1000, UTC),
        payload_bytes=size,
    )


@router.post("/replay", summary="Put letters back", responses=documented(409))
def replay(asked: ReplayAsked, its: The, note: Asks) -> Replayed:
    """Dead letters go back to the stream, late ones into the graph at once. Safe to repeat: each goes back once."""
    if bool(asked.ids) == (asked.code is not None):
        raise InvalidInput("say which: either ids, or a code")
    found, gone = _chosen(its, asked)
    ready, held = job.replayable(found, force=asked.force)
    note(asked.lane.value, letters=len(ready), code=asked.code.value if asked.code else None)
    count, message = _replayed(its, asked.lane, ready)
    kept = [Held(id=letter.id, why=why) for letter, why in held]
    return Replayed(replayed=count, gone=gone, held=kept, message=message)


def _chosen(its: Desk, asked: ReplayAsked) -> tuple[list[DeadLetter], list[str]]:
    letters = its.redis().letters
    if asked.code is not None:
        return letters.list(asked.lane, code=asked.code.value, limit=_MOST), []
    found = {id_: letters.get(asked.lane, id_) for id_ in dict.fromkeys(asked.ids)}
    return [one for one in found.values() if one is not None], [id_ for id_, one in found.items() if one is None]


def _replayed(its: Desk, lane: Lane, ready: list[DeadLetter]) -> tuple[int, str]:
    if not ready:
        return 0, "nothing was replayed"
    if lane is Lane.DEAD:
        letters = its.redis().letters
        count = sum(bool(letters.replay(letter.lane, letter.id)) for letter in ready)
        return count, "the next incremental run reads them"
    with its.stores() as stores:
        funnel = replay_late(stores, ready, its.clock(), wiring.archive_keeps(its.config))
    words = f"{funnel.applied:,} applied, {funnel.duplicates:,} counted before, {funnel.ignored:,} left"
    return funnel.applied, words
