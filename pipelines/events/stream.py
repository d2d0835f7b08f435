"""The interaction stream in Redis or Valkey, read through a consumer group with one fixed consumer name per shard.

Fixed, because a name per run would stay in the group for ever; and what a crashed run left pending is then our own.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import redis
from redis import exceptions as failures

from pipelines import queries
from pipelines.errors import TransientError
from pipelines.events.redis_client import translated
from pipelines.events.schema import FIELD
from pipelines.model import PAYLOAD_NOT_KEPT, Code, Entry, Lane, StreamState, Window

T = TypeVar("T")
_LUA = queries.load("pipelines.events", "scripts.lua")
_FETCH_CHUNK = 5_000  # entries per script call: the script holds them all, and the server serves nobody else meanwhile
_DISK_MS = 5_000
#: Deliveries after which an entry is handed out alone. Before that, its neighbours may be to blame.
SUSPECT_AFTER = 3


@dataclass(frozen=True)
class Names:
    """Keys of one stream. They need not share a hash slot: Redis Cluster is not supported."""

    stream: str = "organism:interactions:v1"
    group: str = "graph-builder"
    consumer: str = "graph-writer-0"

    @property
    def counters(self) -> str:
        return f"{self.stream}:counters"

    @property
    def lease(self) -> str:
        return f"{self.stream}:writer:{self.consumer}"

    def lane(self, lane: Lane) -> str:
        return f"{self.stream.rpartition(':')[0]}:{lane}"


DEFAULT_NAMES = Names()


class RedisStream:
    """`ports.Stream`."""

    def __init__(self, client: redis.Redis, url: str, names: Names = DEFAULT_NAMES) -> None:
        self._redis = client
        self._url = url
        self._names = names
        self._scripts = {name: client.register_script(text) for name, text in _LUA.items()}
        self._waits = True

    def prepare(self) -> None:
        with translated(self._url):
            self._create_group()

    def _create_group(self) -> None:
        """At 0, never at '$': after a flush or a restore what came before us would be lost."""
        try:
            self._redis.xgroup_create(self._names.stream, self._names.group, id="0", mkstream=True)
        except failures.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            return
        about: Any = self._redis.xinfo_stream(self._names.stream)
        before_us = about["entries-added"] - about["length"]
        self._redis.hset(self._names.counters, mapping={"delivered": before_us, "born": secrets.token_hex(8)})

    def fetch(self, limit: int, idle: timedelta) -> Window:
        adopted, vanished = self._adopt(limit, idle)
        delivered = 0
        while delivered < limit:
            count = self._run("fetch", self._names.counters, argv=[min(_FETCH_CHUNK, limit - delivered)])
            delivered += count
            if not count:
                break
        return Window(delivered, adopted, vanished)

    def _adopt(self, limit: int, idle: timedelta) -> tuple[int, int]:
        at, adopted, vanished = "0-0", 0, 0
        while adopted < limit:
            at, live, gone = self._claim(at, idle)
            adopted, vanished = adopted + live, vanished + gone
            if at == "0-0":
                break
        return adopted, vanished

    def _claim(self, at: str, idle: timedelta) -> tuple[str, int, int]:
        """One page of what others left: where to go on, how many are ours now, how many the server found gone."""
        reply = self._run("adopt", argv=[_ms(idle), at, _FETCH_CHUNK])
        return _text(reply[0]), len(reply[1]), len(reply[2]) if len(reply) > 2 else 0

    def pending(self, after: str, limit: int) -> list[Entry]:
        reply = self._run("pending", argv=[after, limit, SUSPECT_AFTER], consumer=True)
        if not reply:
            return []
        return [_entry(id_, times, fields or []) for times, (id_, fields) in zip(*reply, strict=True)]

    def finish(self, done: Sequence[Entry]) -> int:
        argv = [part for entry in done for part in (entry.id, entry.checksum)]
        return int(self._run("finish", argv=argv, consumer=False)) if done else 0

    def set_aside(self, entry: Entry, lane: Lane, code: Code, words: str, now_ms: int) -> bool:
        kept = 0 if code in PAYLOAD_NOT_KEPT else 1
        about = ["code", code.value, "words", words[:200], "source_id", entry.id, "dead_ms", now_ms]
        keys = (self._names.lane(lane), self._names.counters)
        return bool(self._run("set_aside", *keys, argv=[entry.id, entry.checksum, kept, *about], consumer=False))

    def forgive(self, entries: Sequence[Entry]) -> None:
        names = self._names
        ids: list[Any] = [entry.id for entry in entries if entry.fields]  # claiming a vanished one would hide it
        if not ids:
            return
        with contextlib.suppress(redis.RedisError):  # best effort: the cost of not knowing is one more delivery counted
            self._redis.xclaim(names.stream, names.group, names.consumer, 0, ids, retrycount=0, justid=True)

    def state(self) -> StreamState:
        with translated(self._url):
            self._create_group()  # after a flush there is neither group nor stream to ask about
            pipe = self._redis.pipeline(transaction=True)
            pipe.xinfo_stream(self._names.stream)
            pipe.hmget(self._names.counters, "delivered", "born", "lost")
            pipe.xinfo_groups(self._names.stream)
            about, (delivered, born, lost), groups = pipe.execute()
            group = next(g for g in groups if _text(g["name"]) == self._names.group)
            state = self._state(about, int(delivered or 0), _text(born or b""), group)
            return replace(state, lost=int(lost or 0))

    def _state(self, about: dict[str, Any], delivered: int, born: str, group: dict[str, Any]) -> StreamState:
        last = _text(group["last-delivered-id"])
        oldest = self._redis.xrange(self._names.stream, min=f"({last}", count=1)
        return StreamState(
            length=about["length"],
            entries_added=about["entries-added"],
            delivered=delivered,
            unread=max(0, about["entries-added"] - delivered) if oldest else 0,
            pending=group["pending"],
            born=born,
            oldest_unread_ms=int(_text(oldest[0][0]).split("-")[0]) if oldest else None,
        )

    def audit(self) -> int:
        return int(self._run("audit", self._names.counters, consumer=False))

    def trim(self, older_than: datetime) -> int:
        return int(self._run("trim", argv=[int(older_than.timestamp() * 1000)], consumer=False))

    def append(self, payloads: Sequence[bytes]) -> None:
        with translated(self._url):
            pipe = self._redis.pipeline(transaction=False)
            for payload in payloads:
                pipe.xadd(self._names.stream, {FIELD: payload})
            pipe.execute()
            self._wait_for_disk()

    def _wait_for_disk(self) -> None:
        """WAITAOF exists from Redis 7.2 and needs append-only files; elsewhere the server's own policy decides."""
        if not self._waits:
            return
        try:
            on_disk: Any = self._redis.waitaof(1, 0, _DISK_MS)
        except failures.ResponseError:
            self._waits = False
            return
        if on_disk[0] < 1:
            raise TransientError(
                f"redis did not have the events on disk within {_DISK_MS / 1000:g} s; they are sent again"
            )

    def _run(self, name: str, *keys: str, argv: Sequence[Any] = (), consumer: bool = True) -> Any:
        who = [self._names.group, self._names.consumer] if consumer else [self._names.group]
        return self._guarded(lambda: self._scripts[name](keys=[self._names.stream, *keys], args=[*who, *argv]))

    def _guarded(self, call: Callable[[], T]) -> T:
        """Call, and when the group is gone (a flush, a restore, an eviction) make it again and call once more."""
        with translated(self._url):
            try:
                return call()
            except failures.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                self._create_group()
                return call()


class RedisLease:
    """`ports.Lease`: who writes the graph, for `ttl` after the last renewal."""

    def __init__(self, client: redis.Redis, url: str, names: Names, ttl: timedelta) -> None:
        self._redis = client
        self._url = url
        self._key = names.lease
        self._ttl = ttl
        self._token = secrets.token_hex(8)
        self._scripts = {n: client.register_script(text) for n, text in _LUA.items() if n.startswith("lease_")}

    def acquire(self, holder: str) -> str | None:
        with translated(self._url):
            args: list[Any] = [self._token, holder, _ms(self._ttl)]
            said: bytes = self._scripts["lease_take"](keys=[self._key], args=args)
        return said.decode() or None

    def renew(self) -> bool:
        with translated(self._url):
            return bool(self._scripts["lease_renew"](keys=[self._key], args=[self._token, _ms(self._ttl)]))

    def release(self) -> None:
        with contextlib.suppress(redis.RedisError):  # it expires by itself
            self._scripts["lease_release"](keys=[self._key], args=[self._token])


def checksum(fields: Sequence[bytes]) -> str:
    """What the scripts compute of an entry's fields (names and values in turn)."""
    return hashlib.sha1(b"\0".join(fields), usedforsecurity=False).hexdigest()


def _entry(id_: bytes, deliveries: int, fields: list[bytes]) -> Entry:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(id_.decode(), pairs, deliveries, checksum(fields))


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
