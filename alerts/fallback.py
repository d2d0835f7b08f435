"""The file that keeps incidents while PostgreSQL is away: a copy of the open ones goes in, and everything comes back.

Both ways may be cut off anywhere and done again: rows have the same ids on both sides, and the newer state of one wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alerts.store import AlertStore, Connection, sqlite
from alerts.tables import deliveries, incidents, threads

#: A copy that is older says nothing of what is open now.
_COPY_IS_GOOD_FOR = timedelta(hours=1)
_NAME = "alerts.sqlite"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Fallback:
    """A SQLite file in the state directory; made when it is first needed."""

    state_dir: Path

    @property
    def path(self) -> Path:
        return self.state_dir / _NAME

    def open(self) -> AlertStore:
        return sqlite(self.path)

    def open_for(self, now: datetime) -> AlertStore:
        """To decide in it: without copies that are out of date."""
        store = self.open()
        with store.locked() as connection:
            _remove(connection, sa.and_(~_has_deliveries(), incidents.c.seen_at < now - _COPY_IS_GOOD_FOR))
        return store

    def give_back(self, server: AlertStore, now: datetime) -> int:
        """Move what happened meanwhile to the server; how many deliveries. What somebody sends just now stays for next time.

        The file is locked until the server has it all. Cut off after that and before the file is emptied, the same rows are
        moved again and change nothing.
        """
        if not self.path.exists():
            return 0
        file = self.open()
        try:
            with file.locked() as connection:
                busy = sa.select(deliveries.c.incident).where(deliveries.c.claimed_until > now)
                free = incidents.c.id.not_in(busy)
                moved = _merge(server, _rows(connection, free))
                _remove(connection, free)
            return moved
        finally:
            file.close()

    def copy_open(self, server: AlertStore, now: datetime | None = None) -> None:
        """Remember what is open on the server and in which threads, so that nobody is told anew when it is away.

        With `now` also what recovered lately: what comes back goes on in its thread, or is told as another occurrence.
        """
        wanted: sa.ColumnElement[bool] = incidents.c.recovered_at.is_(None)
        if now is not None:
            wanted = sa.or_(wanted, incidents.c.recovered_at > now - _COPY_IS_GOOD_FOR)
        with server.engine.begin() as connection:
            found = _rows(connection, wanted, with_deliveries=False)
        if not found.incidents and not self.path.exists():
            return
        file = self.open()
        try:
            with file.locked() as connection:
                _remove(connection, ~_has_deliveries())
                _merge_into(connection, found)
        finally:
            file.close()


@dataclass(frozen=True)
class _Rows:
    incidents: list[Row]
    deliveries: list[Row]
    threads: list[Row]


def _rows(connection: Connection, where: sa.ColumnElement[bool], *, with_deliveries: bool = True) -> _Rows:
    chosen = sa.select(incidents.c.id).where(where)
    return _Rows(
        [dict(row) for row in connection.execute(sa.select(incidents).where(where)).mappings()],
        _of(connection, deliveries, chosen) if with_deliveries else [],
        _of(connection, threads, chosen),
    )


def _of(connection: Connection, table: sa.Table, chosen: sa.Select[tuple[str]]) -> list[Row]:
    rows = connection.execute(sa.select(table).where(table.c.incident.in_(chosen)))
    return [dict(row) for row in rows.mappings()]


def _merge(server: AlertStore, rows: _Rows) -> int:
    with server.locked() as connection:
        return _merge_into(connection, rows)


def _merge_into(connection: Connection, rows: _Rows) -> int:
    """How many deliveries are new."""
    for row in rows.incidents:
        _merge_incident(connection, row)
    _insert_new(connection, threads, rows.threads, ("incident", "channel"))
    return _insert_new(connection, deliveries, rows.deliveries, ("id",))


def _merge_incident(connection: Connection, row: Row) -> None:
    same = incidents.c.id == row["id"]
    known = connection.execute(sa.select(incidents.c.changed_at, incidents.c.changes).where(same)).first()
    if known is None:
        connection.execute(sa.insert(incidents).values(row))
        return
    # The number of changes names the deliveries, so that it never goes back.
    newer = dict(row) if row["changed_at"] > known.changed_at else {}
    values = newer | {"changes": max(row["changes"], known.changes)}
    connection.execute(sa.update(incidents).where(same).values(values))


def _insert_new(connection: Connection, table: sa.Table, rows: Iterable[Row], names: tuple[str, ...]) -> int:
    fresh = 0
    for row in rows:
        same = sa.and_(*(table.c[name] == row[name] for name in names))
        if not connection.execute(sa.select(sa.literal(1)).select_from(table).where(same)).first():
            connection.execute(sa.insert(table).values(row))
            fresh += 1
    return fresh


def _has_deliveries() -> sa.Exists:
    return sa.exists().where(deliveries.c.incident == incidents.c.id)


def _remove(connection: Connection, where: sa.ColumnElement[bool]) -> None:
    ids = list(connection.execute(sa.select(incidents.c.id).where(where)).scalars())
    for table, column in ((deliveries, "incident"), (threads, "incident"), (incidents, "id")):
        connection.execute(sa.delete(table).where(table.c[column].in_(ids)))
