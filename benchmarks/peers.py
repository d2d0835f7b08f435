"""What most people write, twice: the peers of `drain`. Neither validates, archives, remembers keys or survives a crash.

plain loop: one MERGE a tie, auto-commit, then XACK. plain batched: one UNWIND MERGE a batch, one transaction, then XACK.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import neo4j
import redis

from pipelines.wiring import Endpoints

STREAM, GROUP = "organism:interactions:v1", "peer"
_MERGE = """
MERGE (a:Employee {id: $a}) MERGE (b:Employee {id: $b})
MERGE (a)-[r:INTERACTS {medium: $m}]->(b)
  ON CREATE SET r.n = 1, r.seconds = $s, r.first = $t, r.last = $t
  ON MATCH SET r.n = r.n + 1, r.seconds = r.seconds + $s, r.last = $t
"""
_UNWIND = """
UNWIND $rows AS row
MERGE (a:Employee {id: row.a}) MERGE (b:Employee {id: row.b})
MERGE (a)-[r:INTERACTS {medium: row.m}]->(b)
  ON CREATE SET r.n = 1, r.seconds = row.s, r.first = row.t, r.last = row.t
  ON MATCH SET r.n = r.n + 1, r.seconds = r.seconds + row.s, r.last = row.t
"""


def plain_loop(where: Endpoints, events: int, batch: int) -> float:
    """Seconds to drain `events` entries, one statement a tie."""
    return _drain(where, events, batch, _one_by_one)


def plain_batched(where: Endpoints, events: int, batch: int) -> float:
    """Seconds to drain `events` entries, one statement a batch."""
    return _drain(where, events, batch, _unwound)


def _one_by_one(session: neo4j.Session, rows: list[dict[str, object]]) -> None:
    for row in rows:
        session.run(_MERGE, row).consume()


def _unwound(session: neo4j.Session, rows: list[dict[str, object]]) -> None:
    session.execute_write(lambda tx: tx.run(_UNWIND, rows=rows).consume())


def _drain(where: Endpoints, events: int, batch: int, apply) -> float:  # type: ignore[no-untyped-def]
    client = redis.Redis.from_url(where.redis)
    client.xgroup_create(STREAM, GROUP, id="0")
    auth = (where.graph_user, where.graph_password) if where.graph_user else None
    with neo4j.GraphDatabase.driver(where.graph, auth=auth) as driver, driver.session() as session:
        session.run("CREATE CONSTRAINT employee_id IF NOT EXISTS FOR (n:Employee) REQUIRE n.id IS UNIQUE").consume()
        started, done = time.perf_counter(), 0
        while done < events:
            ((_, entries),) = client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=min(batch, events - done))
            apply(session, list(_rows(entries)))
            client.xack(STREAM, GROUP, *(id_ for id_, _ in entries))
            done += len(entries)
        return time.perf_counter() - started


def _rows(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> Iterator[dict[str, object]]:
    for _, fields in entries:
        event = json.loads(fields[b"event"])
        data, medium = event["data"], event["type"].partition(".")[2]
        for target in data["targets"]:
            seconds = data.get("duration_s", 0)
            yield {"a": data["actor"], "b": target, "m": medium, "s": seconds, "t": event["time"]}
