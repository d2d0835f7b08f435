"""The stream with its groups and pending entries, and the lanes of dead and late letters, as lines of JSON and back.

A copy has one moment. Entries that were applied by then are in the archive, which is copied later, so that a restore misses
none; those that were not are pending or unread in the copy, as they were, and are read again.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import redis

from pipelines import queries
from pipelines.errors import InvalidInput, Refused, TransientError
from pipelines.events.redis_client import translated
from pipelines.events.stream import DEFAULT_NAMES, Names
from pipelines.model import Lane

_LUA = queries.load("deployments", "stream_copy.lua")
_PAGE = 1_000
_TRIES = 3
#: XRANGE reads this as: after the id, not at it.
_AFTER = "("


@dataclass(frozen=True)
class Key:
    """One Redis stream at the moment: how far it goes, and what XSETID wants to know to make it again."""

    name: str
    length: int
    last_id: str
    added: int
    deleted_id: str


@dataclass(frozen=True)
class Pending:
    """One entry that a consumer has and has not finished."""

    id: str
    group: str
    consumer: str
    idle_ms: int
    deliveries: int


@dataclass(frozen=True)
class Moment:
    """All of it at one instant of the server. `groups`: name to the last id it was given."""

    at: datetime
    stream: Key
    groups: Mapping[str, str]
    pending: tuple[Pending, ...]
    counters: Mapping[str, str]
    lanes: Mapping[Lane, Key]


class StreamCopy:
    """Reads and writes one stream and its lanes."""

    def __init__(self, client: redis.Redis, url: str, names: Names = DEFAULT_NAMES) -> None:
        self._redis = client
        self._url = url
        self._names = names
        self._scripts = {name: client.register_script(text) for name, text in _LUA.items()}

    def version(self) -> str:
        with translated(self._url):
            about: Any = self._redis.info("server")
        return str(about.get("valkey_version") or about["redis_version"])

    def moment(self) -> Moment:
        """The server holds still for as long as it lists what is pending: milliseconds for a window of 50,000."""
        names = self._names
        with translated(self._url):
            seconds, micros = self._redis.time()
            keys = [names.stream, names.counters, *map(names.lane, Lane)]
            stream, groups, counters, lanes = self._scripts["moment"](keys=keys)
        return Moment(
            at=datetime.fromtimestamp(seconds + micros / 1e6, UTC),
            stream=_key(names.stream, stream),
            groups={_text(_fields(g)["name"]): _text(_fields(g)["last-delivered-id"]) for g, _ in groups},
            pending=tuple(_pending(_text(_fields(g)["name"]), row) for g, rows in groups for row in rows),
            counters={_text(k): _text(v) for k, v in _fields(counters).items()},
            lanes={lane: _key(names.lane(lane), about) for lane, about in zip(Lane, lanes, strict=True)},
        )

    def write_stream(self, moment: Moment, file: BinaryIO) -> dict[str, int]:
        """The stream up to the moment; counts: entries, pending, unread."""
        key, last = moment.stream, moment.groups.get(self._names.group, "0-0")
        head = _head(key) | {"groups": moment.groups, "counters": moment.counters}
        counts = {"entries": 0, "pending": len(moment.pending), "unread": 0}
        with _lines_to(file) as write:
            write(head)
            for id_, fields in self._entries(key):
                write({"id": id_, "fields": fields})
                counts["entries"] += 1
                counts["unread"] += _order(id_) > _order(last)
            for pending in moment.pending:
                write({"pending": vars(pending)})
        return counts

    def write_lane(self, moment: Moment, lane: Lane, file: BinaryIO) -> dict[str, int]:
        """The letters of a lane at the moment.

        Raises:
            TransientError: letters were replayed or dropped meanwhile, three times over: some may be in neither place.
        """
        key = moment.lanes[lane]
        start = file.tell()
        for _ in range(_TRIES):
            file.seek(start)
            file.truncate()
            before = self._removed(lane)
            count = self._write_letters(key, file)
            if self._removed(lane) == before == key.added - key.length:
                return {"letters": count}
        raise TransientError(f"letters of the lane {lane} were replayed or dropped during the backup; take it again")

    def read(self, path: Path) -> Iterator[dict[str, Any]]:
        """The lines of a copy, the head first.

        Raises:
            InvalidInput: it is cut off, or no copy of a stream.
        """
        try:
            with gzip.open(path, "rt", encoding="ascii") as lines:
                yield from map(json.loads, lines)
        except (OSError, EOFError, ValueError) as error:
            raise InvalidInput(f"{path.name} cannot be read: {type(error).__name__}; take another backup") from None

    def is_empty(self) -> bool:
        names = self._names
        with translated(self._url):
            return not any(self._redis.xlen(key) for key in (names.stream, *map(names.lane, Lane)))

    def clear(self) -> None:
        """Nothing is left to be read, so that no run can apply what the restored archive does not have."""
        names = self._names
        with translated(self._url):
            self._redis.delete(names.stream, names.counters, *map(names.lane, Lane))

    def restore_lane(self, lane: Lane, path: Path) -> int:
        """Put the letters back. How many."""
        lines = self.read(path)
        with translated(self._url):
            return self._restore(next(lines), lines, self._names.lane(lane))

    def restore_stream(self, path: Path) -> int:
        """Put the stream back with its groups, what was pending, and the counts of the loss alarm. How many entries.

        Raises:
            Refused: STREAM_IN_USE, somebody has published meanwhile.
        """
        lines = self.read(path)
        head = next(lines)
        with translated(self._url):
            return self._restore(head, lines, self._names.stream)

    # ------------------------------------------------------------------------------------------------ in pieces

    def _entries(self, key: Key) -> Iterator[tuple[str, list[str]]]:
        start = "-"
        while True:
            with translated(self._url):
                rows = self._scripts["entries"](keys=[key.name], args=[start, key.last_id, _PAGE])
            yield from ((_text(id_), [_text(value) for value in fields]) for id_, fields in rows)
            if len(rows) < _PAGE:
                return
            start = _AFTER + _text(rows[-1][0])

    def _write_letters(self, key: Key, file: BinaryIO) -> int:
        count = 0
        with _lines_to(file) as write:
            write(_head(key))
            for id_, fields in self._entries(key):
                write({"id": id_, "fields": fields})
                count += 1
        return count

    def _removed(self, lane: Lane) -> int:
        """How many letters were ever taken out of the lane."""
        name = self._names.lane(lane)
        with translated(self._url):
            if not self._redis.exists(name):
                return 0
            about: Any = self._redis.xinfo_stream(name)
        return int(about["entries-added"]) - int(about["length"])

    def _restore(self, head: Mapping[str, Any], lines: Iterator[dict[str, Any]], name: str) -> int:
        """Beside the key and then in its place, in one piece: who looks meanwhile sees nothing half done."""
        draft, count, pipe = f"{name}:restoring", 0, self._redis.pipeline(transaction=False)
        self._redis.delete(draft)
        self._begin(draft, head)
        for line in lines:
            count += self._add(pipe, draft, line)
            if len(pipe) >= _PAGE:
                pipe.execute()
        pipe.execute()
        if head["added"]:
            last = (head["last_id"], "ENTRIESADDED", head["added"], "MAXDELETEDID", head["deleted_id"])
            self._redis.execute_command("XSETID", draft, *last)  # type: ignore[no-untyped-call]
            self._put_in_place(draft, name, head.get("counters", {}))
        return count

    def _add(self, pipe: Any, draft: str, line: Mapping[str, Any]) -> int:
        """An entry (1), or that one is pending (0)."""
        if "pending" in line:
            pending = Pending(**line["pending"])
            # FORCE makes it pending although nobody was ever given it here.
            how = {"idle": pending.idle_ms, "retrycount": pending.deliveries, "force": True, "justid": True}
            pipe.xclaim(draft, pending.group, pending.consumer, 0, [pending.id], **how)
            return 0
        pipe.execute_command("XADD", draft, line["id"], *map(_bytes, line["fields"]))  # xadd() takes no repeated field
        return 1

    def _begin(self, draft: str, head: Mapping[str, Any]) -> None:
        """The key with its groups, which may stand at ids that come later."""
        if not head["added"]:
            return
        self._redis.xadd(draft, {"made": "1"}, id="0-1")
        self._redis.xdel(draft, "0-1")
        for group, last_id in head.get("groups", {}).items():
            self._redis.xgroup_create(draft, group, id=last_id)

    def _put_in_place(self, draft: str, name: str, counters: Mapping[str, str]) -> None:
        flat = [word for pair in counters.items() for word in pair]
        if not self._scripts["put_in_place"](keys=[draft, name, self._names.counters], args=flat):
            self._redis.delete(draft)
            raise Refused(
                "STREAM_IN_USE", "events were published during the restore; stop the producers and restore again"
            )


@contextmanager
def _lines_to(file: BinaryIO) -> Iterator[Callable[[object], object]]:
    """JSON lines into a gzip stream. Level 3: events shrink to a tenth, and the disk stays the slower one."""
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=3, mtime=0, filename="") as packed:
        yield lambda line: packed.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def _head(key: Key) -> dict[str, Any]:
    return {"key": key.name, "last_id": key.last_id, "added": key.added, "deleted_id": key.deleted_id}


def _key(name: str, about: Sequence[Any]) -> Key:
    fields = {_text(key): value for key, value in _fields(about).items()}
    if not fields:
        return Key(name, 0, "0-0", 0, "0-0")
    last, deleted = _text(fields["last-generated-id"]), _text(fields["max-deleted-entry-id"])
    return Key(name, fields["length"], last, fields["entries-added"], deleted)


def _pending(group: str, row: Sequence[Any]) -> Pending:
    id_, consumer, idle_ms, deliveries = row
    return Pending(_text(id_), group, _text(consumer), int(idle_ms), int(deliveries))


def _fields(flat: Sequence[Any]) -> dict[str, Any]:
    return {_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _order(id_: str) -> tuple[int, int]:
    ms, _, seq = id_.partition("-")
    return int(ms), int(seq)


def _text(value: Any) -> str:
    """Whatever bytes, and back to the same bytes by `_bytes`."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
