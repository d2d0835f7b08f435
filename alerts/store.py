"""Incidents and deliveries as rows: in PostgreSQL, or in a SQLite file while that is away. One class, one behaviour.

Every turn holds a lock, so that two dispatchers decide one after the other; a delivery is claimed before it is sent, so that
only one sends it. Errors of the database come out as they are (`sqlalchemy.exc.SQLAlchemyError`); who calls, logs them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from alerts.model import Change, Incident
from alerts.policy import Case, Decision, Policy
from alerts.routes import route
from alerts.tables import (
    Delivery,
    Status,
    case_of,
    deliveries,
    delivery_of,
    incidents,
    metadata,
    row_of,
    rules,
    snapshot_of,
    threads,
)

_LOCK = 0x616C65727473  # "alerts"
_DAY = timedelta(days=1)
#: One send whose end nobody knows is repeated; a second one is not, or a message that kills its sender would do so for ever.
_MOST_UNSURE = 2
#: Longer than anything is taken for the same incident come back, and less than the day for which it is known what was told.
_NOT_LATELY = timedelta(hours=12)
_PENDING = deliveries.c.status == Status.PENDING.value

Connection = sa.Connection
Decide = Callable[[Sequence[Case]], Sequence[Decision]]


def postgres(url: str) -> AlertStore:
    """On the tables of migrations 0008 and 0012. Connects when it is used; waits 2 s for the server and 5 s for an answer."""

    def connect() -> psycopg.Connection[Any]:
        options = (
            "-c TimeZone=UTC -c statement_timeout=5s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
        )
        return psycopg.connect(
            url, connect_timeout=2, options=options, application_name="causal-organism-alerts", tcp_user_timeout=5_000
        )

    # The URL is not given to SQLAlchemy, which would put it into its own messages.
    return AlertStore(sa.create_engine("postgresql+psycopg://", creator=connect, pool_size=2, hide_parameters=True))


def sqlite(path: Path | None) -> AlertStore:
    """In a file that is made if it is not there, readable by its owner only; None: in memory."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    place: dict[str, Any] = {"poolclass": sa.StaticPool} if path is None else {"poolclass": sa.NullPool}
    connect = {"timeout": 10, "check_same_thread": False}
    engine = sa.create_engine(f"sqlite:///{path or ':memory:'}", connect_args=connect, hide_parameters=True, **place)

    @sa.event.listens_for(engine, "connect")
    def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _lock_at_once(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    metadata.create_all(engine)
    return AlertStore(engine)


class AlertStore:
    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def close(self) -> None:
        self.engine.dispose()

    def check(self) -> None:
        """Raises SQLAlchemyError where the tables cannot be read."""
        with self.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(sa.select(table).limit(0))

    # ---------------------------------------------------------------------------------------------------------- deciding

    def turn(self, decide: Decide, channels: Sequence[str], policy: Policy, now: datetime) -> list[Decision]:
        """Hand all open cases, and those that recovered within a day, to `decide`; keep what it says, all or nothing.

        Each change becomes one delivery for each channel that it goes to. Nobody else decides meanwhile.
        """
        with self.locked() as connection:
            decided = list(decide(self._cases(connection, now)))
            for decision in decided:
                self._keep(connection, decision.case, now)
                if decision.change:
                    self._enqueue(connection, decision.case, decision.change, channels, policy, now)
        return decided

    def _cases(self, connection: Connection, now: datetime) -> list[Case]:
        lately = sa.or_(incidents.c.recovered_at.is_(None), incidents.c.recovered_at > now - _DAY)
        rows = connection.execute(sa.select(incidents).where(lately).order_by(incidents.c.opened_at, incidents.c.id))
        return [case_of(row) for row in rows.mappings()]

    def _keep(self, connection: Connection, case: Case, now: datetime) -> None:
        row = row_of(case, now)
        if not connection.execute(sa.update(incidents).where(incidents.c.id == row["id"]).values(row)).rowcount:
            connection.execute(sa.insert(incidents).values(row))

    def _enqueue(
        self,
        connection: Connection,
        case: Case,
        change: Change,
        channels: Sequence[str],
        policy: Policy,
        now: datetime,
    ) -> None:
        names = route(case.problem, change, channels, policy)
        if change is Change.RECOVERED:
            names = self._told(connection, case, channels) or names
        for name in names:
            if change is Change.UPDATED:
                self._replace_updates(connection, case, name, now)
            self._deliver_later(connection, case.incident, case.changes, name, change, policy, now)

    def _told(self, connection: Connection, case: Case, channels: Sequence[str]) -> list[str]:
        """The channels that this incident was told by, or will be: who did not hear of it need not hear that it is over."""
        found = connection.execute(
            sa.select(deliveries.c.channel).distinct().where(deliveries.c.incident == case.incident.id)
        )
        heard = set(found.scalars())
        return [name for name in channels if name in heard]

    def _replace_updates(self, connection: Connection, case: Case, channel: str, now: datetime) -> None:
        """An update that waits is out of date when the next one comes."""
        older = sa.and_(
            deliveries.c.incident == case.incident.id,
            deliveries.c.channel == channel,
            deliveries.c.change == Change.UPDATED.value,
            _PENDING,
            sa.or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until <= now),
        )
        connection.execute(sa.update(deliveries).where(older).values(status=Status.REPLACED.value))

    def _deliver_later(
        self,
        connection: Connection,
        incident: Incident,
        seq: int,
        channel: str,
        change: Change,
        policy: Policy,
        now: datetime,
        *,
        summary: bool = False,
    ) -> None:
        row = {
            "id": f"{incident.id}:{seq}:{channel}",
            "incident": incident.id,
            "seq": seq,
            "channel": channel,
            "change": change.value,
            "snapshot": snapshot_of(incident),
            "status": Status.PENDING.value,
            "summary": summary,
            "attempts": 0,
            "unsure": 0,
            "created_at": now,
            "due_at": now,
            "give_up_at": now + policy.give_up_after,
        }
        connection.execute(sa.insert(deliveries).values(row))

    # -------------------------------------------------------------------------------------------------------- delivering

    def claim(self, channels: Collection[str], now: datetime, until: datetime, by: str, limit: int) -> list[Delivery]:
        """Up to `limit` deliveries that are due, ours until then; of each incident and channel only the first that waits.

        What another dispatcher holds is passed over. What one held that died comes back, once.
        """
        chosen = sa.select(deliveries.c.id).where(*self._due(channels, now))
        chosen = chosen.order_by(deliveries.c.due_at, deliveries.c.incident, deliveries.c.seq).limit(limit)
        with self.engine.begin() as connection:
            ids = list(connection.execute(chosen.with_for_update(skip_locked=True)).scalars())
            values = {"claimed_until": until, "claimed_by": by}
            connection.execute(sa.update(deliveries).where(deliveries.c.id.in_(ids)).values(values))
            return self._deliveries(connection, deliveries.c.id.in_(ids))

    def _due(self, channels: Collection[str], now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
        earlier = deliveries.alias("earlier")
        first = ~sa.exists().where(
            earlier.c.incident == deliveries.c.incident,
            earlier.c.channel == deliveries.c.channel,
            earlier.c.seq < deliveries.c.seq,
            earlier.c.status == Status.PENDING.value,
        )
        free = sa.or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until <= now)
        return _PENDING, deliveries.c.due_at <= now, deliveries.c.channel.in_(list(channels)), free, first

    def begin(self, delivery: Delivery, by: str, until: datetime) -> bool:
        """Note that it is being sent, in case that nobody lives to say how it ended. False: it is no longer ours."""
        where = (deliveries.c.id == delivery.id, deliveries.c.claimed_by == by, _PENDING)
        values = {"unsure": delivery.unsure + 1, "claimed_until": until}
        with self.engine.begin() as connection:
            return bool(connection.execute(sa.update(deliveries).where(*where).values(values)).rowcount)

    def give_up(self, now: datetime) -> list[Delivery]:
        """Close what was tried for long enough, or twice by processes that died; what was closed by this call."""
        free = sa.or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until <= now)
        crashed = deliveries.c.unsure >= _MOST_UNSURE
        hopeless = sa.select(deliveries.c.id).where(_PENDING, free, sa.or_(deliveries.c.give_up_at <= now, crashed))
        words = sa.case((crashed, "sent or not, nobody knows: two processes died while they sent it"), else_=None)
        with self.engine.begin() as connection:
            ids = list(connection.execute(hopeless.with_for_update(skip_locked=True)).scalars())
            values = {"status": Status.DEAD.value, "error": sa.func.coalesce(words, deliveries.c.error, "nobody tried")}
            connection.execute(sa.update(deliveries).where(deliveries.c.id.in_(ids)).values(values))
            return self._deliveries(connection, deliveries.c.id.in_(ids))

    def sent(self, delivery: Delivery, thread: str | None, now: datetime) -> None:
        """It arrived; `thread` is remembered for what follows."""
        with self.engine.begin() as connection:
            self._set(connection, delivery, status=Status.SENT.value, sent_at=now, error=None)
            if thread is not None and thread != delivery.thread:
                place = sa.and_(threads.c.incident == delivery.incident.id, threads.c.channel == delivery.channel)
                if not connection.execute(sa.update(threads).where(place).values(thread=thread)).rowcount:
                    row = {"incident": delivery.incident.id, "channel": delivery.channel, "thread": thread}
                    connection.execute(sa.insert(threads).values(row))

    def failed(self, delivery: Delivery, words: str, again_at: datetime | None) -> None:
        """It did not arrive; None: and never will."""
        status = Status.PENDING if again_at else Status.DEAD
        values = {"status": status.value, "attempts": delivery.attempts + 1, "error": words}
        with self.engine.begin() as connection:
            self._set(connection, delivery, **values, due_at=again_at or delivery.due_at)

    def postpone(self, waiting: Collection[Delivery], until: datetime) -> None:
        """Nothing was tried; give them back."""
        with self.engine.begin() as connection:
            for delivery in waiting:
                self._set(connection, delivery, due_at=until)

    def summarise(
        self, incident: Incident, change: Change, of: Collection[Delivery], channel: str, policy: Policy, now: datetime
    ) -> None:
        """One delivery in place of many, in one transaction."""
        with self.engine.begin() as connection:
            self._keep(connection, Case(incident, changes=1), now)
            self._deliver_later(connection, incident, 1, channel, change, policy, now, summary=True)
            for delivery in of:
                self._set(connection, delivery, status=Status.SUMMARISED.value, error=f"told in {incident.id}")

    def _set(self, connection: Connection, delivery: Delivery, **values: Any) -> None:
        """Write the outcome of a claim, and let go of it."""
        values |= {"claimed_until": None, "claimed_by": None, "unsure": delivery.unsure}
        connection.execute(sa.update(deliveries).where(deliveries.c.id == delivery.id, _PENDING).values(values))

    def sent_since(self, channel: str, since: datetime) -> int:
        """New messages to a channel; edits, tests and summaries are not counted."""
        counted = deliveries.c.change.not_in([Change.UPDATED.value, Change.TEST.value])
        where = (
            deliveries.c.channel == channel,
            deliveries.c.sent_at > since,
            counted,
            deliveries.c.summary.is_(False),
        )
        with self.engine.begin() as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).select_from(deliveries).where(*where)).scalar_one()
            )

    def summarised_at(self, channel: str) -> datetime | None:
        """When the last summary was made for a channel."""
        where = (deliveries.c.channel == channel, deliveries.c.summary.is_(True))
        with self.engine.begin() as connection:
            last: datetime | None = connection.execute(
                sa.select(sa.func.max(deliveries.c.created_at)).where(*where)
            ).scalar_one()
            return last

    # ----------------------------------------------------------------------------------------------------------- looking

    def open_cases(self) -> list[Case]:
        """The oldest first."""
        where = incidents.c.recovered_at.is_(None)
        with self.engine.begin() as connection:
            rows = connection.execute(sa.select(incidents).where(where).order_by(incidents.c.opened_at, incidents.c.id))
            return [case_of(row) for row in rows.mappings()]

    def case(self, incident: str) -> Case | None:
        with self.engine.begin() as connection:
            row = connection.execute(sa.select(incidents).where(incidents.c.id == incident)).mappings().first()
            return case_of(row) if row else None

    def undelivered(self, limit: int = 200) -> list[Delivery]:
        """What waits or was given up, the newest first."""
        with self.engine.begin() as connection:
            wanted = deliveries.c.status.in_([Status.PENDING.value, Status.DEAD.value])
            return self._deliveries(connection, wanted)[::-1][:limit]

    def deliveries_of(self, incident: str) -> list[Delivery]:
        """In the order in which they are sent."""
        with self.engine.begin() as connection:
            return self._deliveries(connection, deliveries.c.incident == incident)

    def _deliveries(self, connection: Connection, where: sa.ColumnElement[bool]) -> list[Delivery]:
        same = sa.and_(threads.c.incident == deliveries.c.incident, threads.c.channel == deliveries.c.channel)
        query = sa.select(deliveries, threads.c.thread).join_from(deliveries, threads, same, isouter=True).where(where)
        query = query.order_by(deliveries.c.created_at, deliveries.c.incident, deliveries.c.seq, deliveries.c.channel)
        return [delivery_of(row) for row in connection.execute(query).mappings()]

    def acknowledge(self, incident: str, by: str, now: datetime) -> bool:
        """Somebody looks after it: it is not escalated. False: there is no such open incident.

        incident: its id, or the name by which a message called it.
        """
        named = sa.or_(incidents.c.id == incident, incidents.c.id.startswith(f"{incident}.", autoescape=True))
        where = (named, incidents.c.recovered_at.is_(None))
        values = {"acknowledged_at": now, "acknowledged_by": by, "changed_at": now}
        with self.locked() as connection:
            return bool(connection.execute(sa.update(incidents).where(*where).values(values)).rowcount)

    def revive(self, now: datetime, give_up_at: datetime) -> int:
        """Try again what was given up within the last week. How many."""
        where = (deliveries.c.status == Status.DEAD.value, deliveries.c.created_at > now - 7 * _DAY)
        values = {"status": Status.PENDING.value, "due_at": now, "give_up_at": give_up_at, "unsure": 0}
        with self.engine.begin() as connection:
            return connection.execute(sa.update(deliveries).where(*where).values(values)).rowcount

    def lay_to_rest(self, now: datetime) -> None:
        """After these rows came back from a backup: nothing is open, and nothing has still to be told.

        What is still wrong is found anew, with its own beginning. What a hook has told of is told, so that it is not again.
        `changed_at` stays, so that a file of this machine that knows an incident better has the last word.
        """
        with self.locked() as connection:
            values = {"status": Status.REPLACED.value, "error": "restored from a backup", "claimed_until": None}
            connection.execute(sa.update(deliveries).where(_PENDING).values(values))
            ended = {"recovered_at": now - _NOT_LATELY, "calm_since": None}
            connection.execute(sa.update(incidents).where(incidents.c.recovered_at.is_(None)).values(ended))

    def forget(self, before: datetime) -> int:
        """Remove incidents that recovered before this, with their deliveries; and rules that had been replaced by then.

        How many incidents.
        """
        newer = rules.alias("newer")
        same = (newer.c.flow == rules.c.flow, newer.c.code == rules.c.code, newer.c.version > rules.c.version)
        old = sa.select(incidents.c.id).where(incidents.c.recovered_at < before)
        with self.locked() as connection:
            for table in (deliveries, threads):
                connection.execute(sa.delete(table).where(table.c.incident.in_(old)))
            connection.execute(sa.delete(rules).where(sa.exists().where(*same, newer.c.set_at < before)))
            return connection.execute(sa.delete(incidents).where(incidents.c.recovered_at < before)).rowcount

    @contextmanager
    def locked(self) -> Iterator[Connection]:
        """A transaction that no other turn runs beside. SQLite's transactions all are such."""
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection
