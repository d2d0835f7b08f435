"""The values of the views on the nodes of people, through the official driver.

Each write is a repeatable transaction of its own, in a turn of its own and under the ingest's lock: an ingest waits for one
batch at the most, and a crash between two is mended by writing all of them again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import neo4j

from pipelines import queries
from pipelines.errors import CommitUnknown, WriteConflict
from pipelines.graph.driver import TRANSACTION_TIMEOUT_S, open_driver, translated

_Q = queries.load("pipelines.graph", "metrics.cypher")
_ATTEMPTS = 4
_CHUNK = 1_000
#: What belongs to every written person, beside the values themselves.
_KEPT = ("metrics_version", "refreshed_at")


class Neo4jMetrics:
    """`ports.GraphMetrics`. One driver per instance; close it when done.

    Args:
        turn: entered around every write, to take turns with the ingest (`jobs.refresh.turn`). The lock alone keeps the graph
            exact; but on the embedded server who commits first wins, and a row of short transactions starves a long one.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        database: str,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._driver = open_driver(url, user, password)
        self._url = url
        self._database = database
        self._turn = turn

    def close(self) -> None:
        self._driver.close()

    def prepare(self) -> None:
        self._read("metrics_state_id")

    def current(self, run: str) -> dict[str, str]:
        state = self._read("read_state")
        (written,) = self._read("count_written")
        if not state or written["people"] != state[0]["people"]:
            return {}
        known = state[0]["others"] if state[0]["run"] == run else state[0]["views"]
        return dict(view.split("=", 1) for view in known or ())

    def put(self, values: Sequence[tuple[str, Mapping[str, float | None]]], version: int, now_ms: int) -> None:
        rows = [{"id": person, "values": dict(row)} for person, row in values]
        self._write("put_values", rows=rows, version=version, now_ms=now_ms)

    def clear(self, names: Sequence[str], now_ms: int) -> int:
        nothing = dict.fromkeys([*names, *_KEPT])
        total = 0
        while cleared := self._write("clear_values", nothing=nothing, now_ms=now_ms, limit=_CHUNK)[0]["cleared"]:
            total += int(cleared)
        return total

    def note(
        self, run: str, people: int, views: Mapping[str, str], others: Mapping[str, str], fingerprint: str, now_ms: int
    ) -> None:
        found = {"run": run, "people": people, "views": _lines(views), "others": _lines(others)}
        self._write("note_state", **found, fingerprint=fingerprint, now_ms=now_ms)

    def _read(self, name: str) -> list[neo4j.Record]:
        with translated(self._url):
            return self._driver.execute_query(_Q[name], database_=self._database).records

    def _write(self, name: str, **parameters: Any) -> list[neo4j.Record]:
        """One statement under the lock, until its outcome is known: each of them may be repeated."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._once(name, parameters)
            except (CommitUnknown, WriteConflict):
                time.sleep(0.1 * 2.0**attempt)
        return self._once(name, parameters)

    def _once(self, name: str, parameters: Mapping[str, Any]) -> list[neo4j.Record]:
        @neo4j.unit_of_work(timeout=TRANSACTION_TIMEOUT_S)
        def run(tx: neo4j.ManagedTransaction) -> list[neo4j.Record]:
            tx.run(_Q["lock_graph"], attempt=secrets.randbits(62)).consume()
            return list(tx.run(_Q[name], **parameters))

        with self._turn(), translated(self._url), self._driver.session(database=self._database) as session:
            return session.execute_write(run)


def _lines(keys: Mapping[str, str]) -> list[str]:
    return [f"{view}={key}" for view, key in sorted(keys.items())]
