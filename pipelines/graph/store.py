"""The graph behind the Bolt protocol: Neo4j, or the embedded server that speaks it, through the official driver.

Writes go through managed transactions only: the embedded server does not make auto-commit writes atomic, and on Neo4j they
cannot be retried safely. Times are integers because the embedded server would lose the zone of a datetime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import neo4j

from pipelines import queries
from pipelines.errors import WriteConflict
from pipelines.graph.driver import TRANSACTION_TIMEOUT_S, open_driver, translated
from pipelines.model import Cursor, OutboxItem, RosterChange, RosterKind, Tie

T = TypeVar("T")
_Q = queries.load("pipelines.graph", "queries.cypher")
_SCHEMA = queries.load("pipelines.graph", "schema.cypher")
_CHUNK = 10_000


class Neo4jWriter:
    """`ports.GraphWriter` over one open transaction.

    Statements that follow each other without a decision between them are sent as one: the lock with the first look into the
    ledger, and what the transaction leaves with `end`, which whoever commits must call.

    known: people who are in the graph for certain; shared by the writers of one store, and only ever a saving: `add_ties`
    notices when somebody is gone after all.
    settled: items of the outbox that were taken over; those of them that went with this transaction are in `removed`.
    """

    def __init__(self, tx: neo4j.ManagedTransaction, cursor: str, known: set[str], settled: Sequence[int]) -> None:
        self._tx = tx
        self._cursor = cursor
        self._known = known
        self._settled = list(settled)
        self._attempt: int | None = None
        self._items: list[dict[str, Any]] = []
        self._fresh = 0
        self._left_ms: int | None = None
        self.added: set[str] = set()
        self.removed: list[int] = []

    def _run(self, name: str, **parameters: Any) -> list[neo4j.Record]:
        if self._attempt is not None:
            self._tx.run(_Q["lock"], attempt=self._taken()).consume()
        return list(self._tx.run(_Q[name], **parameters))

    def _taken(self) -> int | None:
        attempt, self._attempt = self._attempt, None
        return attempt

    def lock(self, attempt: int) -> None:
        """One for the whole graph, whatever the consumer. Taken with the next statement, before that reads anything."""
        self._attempt = attempt

    def end(self) -> None:
        """Send what has waited for the end of the transaction."""
        if self._left_ms is None:
            return
        self._run(
            "leave",
            cursor=self._cursor,
            fresh=self._fresh,
            now_ms=self._left_ms,
            items=self._items,
            settled=self._settled,
        )
        self.removed += self._settled

    def seen(self, keys: Sequence[str]) -> dict[str, tuple[int, bool]]:
        if self._attempt is None:
            rows = self._run("seen", keys=list(keys))
        else:
            rows = self._run("lock_and_see", attempt=self._taken(), keys=list(keys))
        return {r["k"]: (r["c"], bool(r["r"])) for r in rows}

    def remember(self, keys: Sequence[tuple[str, int, int]]) -> None:
        self._run("remember", events=[{"k": k, "d": d, "c": c} for k, d, c in keys])

    def withdraw(self, keys: Sequence[str]) -> None:
        self._run("withdraw", keys=list(keys))

    def add_people(self, people: Sequence[str]) -> None:
        new = [p for p in people if p not in self._known]
        if new:
            self._run("add_people", people=[{"id": p, "outside": p.startswith("x_")} for p in new])
            self.added.update(new)

    def add_ties(self, ties: Sequence[Tie]) -> None:
        if not ties:
            return
        (row,) = self._run("add_ties", ties=[_row(t) for t in ties])
        if row["done"] != len(ties):
            self._known.clear()
            raise WriteConflict(f"{len(ties) - row['done']} ties lack a person: somebody was removed meanwhile")

    def set_ties(self, ties: Sequence[Tie], gone: Sequence[tuple[str, str, str]]) -> None:
        self._run("set_ties", ties=[_row(t) for t in ties])
        self._run("drop_ties", ties=[{"a": a, "b": b, "m": m} for a, b, m in gone])

    def set_roster(self, changes: Sequence[RosterChange]) -> None:
        rows = [_roster_row(c) for c in sorted(changes, key=lambda c: (c.person, c.time_ms, c.key))]
        if rows:
            self._run("set_roster", changes=rows)

    def put_outbox(self, item: OutboxItem, now_ms: int) -> None:
        self._items.append({"id": item.id, "people": list(item.people), "payload": item.payload, "at": now_ms})
        self._left_ms = now_ms

    def advance(self, fresh: int, now_ms: int) -> None:
        self._fresh += fresh
        self._left_ms = now_ms

    def put_part(self, part: str, attempt: int, now_ms: int) -> bool:
        (row,) = self._run("put_part", part=part, attempt=attempt, now_ms=now_ms)
        return bool(row["fresh"])

    def forget_people(self, people: Sequence[str]) -> None:
        self._known.difference_update(people)
        self._run("forget_people", people=list(people))

    def outbox(self, limit: int) -> list[OutboxItem]:
        if self._settled:
            self._run("delete_outbox", ids=self._settled)
            self.removed, self._settled = self.removed + self._settled, []
        return [_item(r) for r in self._run("read_outbox", limit=limit)]


class Neo4jGraph:
    """`ports.Graph`. One driver (a pool of connections) per instance; close it when done. patience_s: as of `open_driver`."""

    def __init__(
        self, url: str, user: str, password: str, database: str, cursor: str, patience_s: float | None = None
    ) -> None:
        self._driver = open_driver(url, user, password, patience_s)
        self._url = url
        self._database = database
        self._cursor = cursor
        self._known: set[str] = set()
        self._settled: set[int] = set()

    def close(self) -> None:
        self._driver.close()

    def prepare(self) -> None:
        with self._translated():
            self._driver.verify_connectivity()  # fails at once, a managed transaction waits
        for statement in _SCHEMA.values():
            self._execute(statement)

    def write(self, work: Callable[[Neo4jWriter], T]) -> T:
        settled = sorted(self._settled)  # now: what comes while we work is for the next transaction

        @neo4j.unit_of_work(timeout=TRANSACTION_TIMEOUT_S)
        def run(tx: neo4j.ManagedTransaction) -> tuple[T, Neo4jWriter]:
            writer = Neo4jWriter(tx, self._cursor, self._known, settled)
            result = work(writer)
            writer.end()
            return result, writer

        with self._translated(), self._driver.session(database=self._database) as session:
            result, writer = session.execute_write(run)
        self._known |= writer.added
        self._settled.difference_update(writer.removed)
        return result

    def outbox(self, limit: int) -> list[OutboxItem]:
        if self._settled:
            return self.write(lambda writer: writer.outbox(limit))
        return [_item(r) for r in self._execute(_Q["read_outbox"], limit=limit)]

    def delete_outbox(self, ids: Sequence[int]) -> None:
        """They go with the next transaction, or before the outbox is read again: one of their own would cost as much as two
        statements. If we die before that, whoever comes next lets archive and cache take them over once more."""
        self._settled.update(ids)

    def cursor(self) -> Cursor:
        rows = self._execute(_Q["read_cursor"], cursor=self._cursor)
        if not rows:
            return Cursor()
        row = rows[0]
        return Cursor(
            row["applied"] or 0,
            row["at"] or 0,
            row["stream"] or "",
            row["purged_day"] or 0,
            bool(row["rebuilding"]),
            row["purged_before"] or 0,
            row["retired_before"] or 0,
        )

    def note_stream(self, born: str) -> None:
        self._execute(_Q["note_stream"], cursor=self._cursor, stream=born)

    def note_purge(self, day: int, purged_before: int = 0, retired_before: int = 0) -> None:
        days = {"day": day, "purged_before": purged_before, "retired_before": retired_before}
        self._execute(_Q["note_purge"], cursor=self._cursor, **days)

    def note_rebuilding(self, rebuilding: bool) -> None:
        self._execute(_Q["note_rebuilding"], cursor=self._cursor, rebuilding=rebuilding)

    def purge(self, before_day: int) -> int:
        return self._until_none("purge_seen", "purged", day=before_day)

    def wipe(self) -> None:
        self._known.clear()
        for name in ("wipe_ties", "wipe_people", "wipe_seen"):
            self._until_none(name, "wiped")

    def ties(self) -> Iterator[Tie]:
        for r in self._stream("read_ties"):
            yield Tie(r["a"], r["b"], r["m"], r["n"], r["s"], r["w"], r["f"], r["l"])

    def people(self) -> Iterator[tuple[str, str | None]]:
        for r in self._stream("read_people"):
            if not r["outside"] and r["present"] is not False:
                yield r["id"], r["team"]

    def _stream(self, name: str) -> Iterator[neo4j.Record]:
        with self._translated(), self._driver.session(database=self._database) as session:
            yield from session.run(_Q[name])

    def _until_none(self, name: str, count: str, **parameters: Any) -> int:
        """Repeat a statement that handles one chunk until it handles nothing: no transaction outgrows the server."""
        total = 0
        while done := int(self._execute(_Q[name], limit=_CHUNK, **parameters)[0][count]):
            total += done
        return total

    def _execute(self, statement: str, **parameters: Any) -> list[neo4j.Record]:
        with self._translated():
            query = statement
            return self._driver.execute_query(query, parameters, database_=self._database).records

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._url)


def _row(tie: Tie) -> dict[str, Any]:
    return {
        "a": tie.actor,
        "b": tie.target,
        "m": tie.medium,
        "n": tie.n,
        "s": tie.seconds,
        "w": tie.strength,
        "f": tie.first_ms,
        "l": tie.last_ms,
    }


def _roster_row(change: RosterChange) -> dict[str, Any]:
    return {
        "person": change.person,
        "at": change.time_ms,
        "key": change.key,
        "present": change.kind is not RosterKind.LEFT,
        "team": change.team,
        "role_class": change.role_class,
        "manager": change.manager,
        "tz": change.tz,
    }


def _item(record: neo4j.Record) -> OutboxItem:
    return OutboxItem(record["id"], tuple(record["people"] or ()), bytes(record["payload"]))
