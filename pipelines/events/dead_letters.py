"""Dead and late letters in Redis: entries that were set aside, with the reason and their original fields."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import redis

from pipelines import queries
from pipelines.events.redis_client import translated
from pipelines.events.stream import Names
from pipelines.model import DeadLetter, Lane

_LUA = queries.load("pipelines.events", "scripts.lua")
#: Our own fields stand first in a letter (see `set_aside` in scripts.lua); the original ones follow.
_OURS = 7
_PAGE = 1_000


class RedisDeadLetters:
    """`ports.DeadLetters`."""

    def __init__(self, client: redis.Redis, url: str, names: Names) -> None:
        self._redis = client
        self._url = url
        self._names = names
        self._replay = client.register_script(_LUA["replay"])
        self._letters = client.register_script(_LUA["letters"])

    def list(
        self, lane: Lane, *, code: str | None = None, limit: int = 100, after: str = "-"
    ) -> builtins.list[DeadLetter]:
        found: builtins.list[DeadLetter] = []
        for letter in self._all(lane, after):
            if code is None or letter.code == code:
                found.append(letter)
                if len(found) == limit:
                    break
        return found

    def get(self, lane: Lane, id_: str) -> DeadLetter | None:
        rows = self._read(lane, id_, id_)
        return _letter(lane, *rows[0]) if rows else None

    def counts(self, lane: Lane) -> dict[str, int]:
        counts: dict[str, int] = {}
        for letter in self._all(lane, "-"):
            counts[letter.code] = counts.get(letter.code, 0) + 1
        return dict(sorted(counts.items()))

    def replay(self, lane: Lane, id_: str) -> bool | None:
        with translated(self._url):
            done = self._replay(keys=[self._names.stream, self._names.lane(lane)], args=[id_, _OURS])
        return None if done == -1 else bool(done)

    def drop(self, lane: Lane, id_: str) -> bool:
        with translated(self._url):
            return bool(self._redis.xdel(self._names.lane(lane), id_))

    def erase(self, person: str) -> int:
        named = person.encode()
        found = [
            letter.id
            for lane in Lane
            for letter in self._all(lane, "-")
            if any(named in value for value in letter.fields.values()) and self.drop(lane, letter.id)
        ]
        return len(found)

    def _all(self, lane: Lane, after: str) -> Iterator[DeadLetter]:
        start = after
        while True:
            rows = self._read(lane, start, "+")
            yield from (_letter(lane, *row) for row in rows)
            if len(rows) < _PAGE:
                return
            start = f"({rows[-1][0].decode()}"

    def _read(self, lane: Lane, first: str, last: str) -> Any:
        with translated(self._url):
            return self._letters(keys=[self._names.lane(lane)], args=[first, last, _PAGE])


def _letter(lane: Lane, id_: bytes, fields: builtins.list[bytes]) -> DeadLetter:
    ours = dict(zip(fields[: _OURS * 2 : 2], fields[1 : _OURS * 2 : 2], strict=True))
    rest = fields[_OURS * 2 :]
    return DeadLetter(
        id=id_.decode(),
        lane=lane,
        code=ours[b"code"].decode(),
        words=ours[b"words"].decode(),
        source_id=ours[b"source_id"].decode(),
        deliveries=int(ours[b"deliveries"]),
        replays=int(ours[b"replays"]) if ours[b"replays"].isdigit() else 0,
        dead_ms=int(ours[b"dead_ms"]),
        fields=dict(zip(rest[::2], rest[1::2], strict=True)),
        kept=ours[b"kept"].decode(),
    )
