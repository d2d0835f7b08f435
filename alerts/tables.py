"""The tables of alerting, and how a row becomes a noun. Migrations 0008 and 0012 make the same in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alerts.model import Change, Code, Incident, Problem, Severity, Waiting
from alerts.policy import Case


class Status(StrEnum):
    """Of a delivery. replaced: a newer update says the same and more. summarised: told in one message for many."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"
    REPLACED = "replaced"
    SUMMARISED = "summarised"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one channel: what there is to tell, and how far it came. error: of the last attempt, without secrets."""

    id: str
    incident: Incident
    seq: int
    channel: str
    change: Change
    status: Status
    summary: bool
    attempts: int
    unsure: int
    created_at: datetime
    due_at: datetime
    give_up_at: datetime
    claimed_until: datetime | None = None
    sent_at: datetime | None = None
    error: str | None = None
    thread: str | None = None


class _Moment(sa.types.TypeDecorator[datetime]):
    """Aware, in UTC. SQLite knows no zones; there it is kept without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
metadata = sa.MetaData()


def _at(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, _Moment(), nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


incidents = sa.Table(
    "alert_incidents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("key"),
    _text("code"),
    _text("severity"),
    sa.Column("problem", _JSON, nullable=False),
    _at("opened_at"),
    _at("seen_at"),
    _number("count"),
    _at("escalated_at", null=True),
    _at("recovered_at", null=True),
    _at("told_at", null=True),
    _number("changes"),
    _text("told_digest"),
    _number("reopened"),
    _at("calm_since", null=True),
    sa.Column("absorbed", _JSON, nullable=False),
    _at("acknowledged_at", null=True),
    _text("acknowledged_by", null=True),
    _at("changed_at"),
    sa.Index("ix_alert_incidents_recovered", "recovered_at"),
)

deliveries = sa.Table(
    "alert_deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("incident", sa.Text, sa.ForeignKey("alert_incidents.id", ondelete="CASCADE"), nullable=False),
    _number("seq"),
    _text("channel"),
    _text("change"),
    sa.Column("snapshot", _JSON, nullable=False),
    _text("status"),
    sa.Column("summary", sa.Boolean, nullable=False),
    _number("attempts"),
    _number("unsure"),
    _at("created_at"),
    _at("due_at"),
    _at("give_up_at"),
    _at("claimed_until", null=True),
    _text("claimed_by", null=True),
    _at("sent_at", null=True),
    _text("error", null=True),
    sa.Index("ix_alert_deliveries_due", "status", "due_at"),
    sa.Index("ix_alert_deliveries_queue", "incident", "channel", "seq"),
    sa.Index("ix_alert_deliveries_sent", "channel", "sent_at"),
)

threads = sa.Table(
    "alert_threads",
    metadata,
    sa.Column("incident", sa.Text, sa.ForeignKey("alert_incidents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    _text("thread"),
)

rules = sa.Table(
    "alert_rules",
    metadata,
    sa.Column("flow", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("cleared", sa.Boolean, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("threshold", sa.Double, nullable=True),
    _text("severity", null=True),
    _at("muted_until", null=True),
    _text("note"),
    _text("set_by"),
    _at("set_at"),
)


# ------------------------------------------------------------------------------------------------------ rows and nouns


def row_of(case: Case, now: datetime) -> dict[str, Any]:
    incident = case.incident
    return {
        "id": incident.id,
        "key": incident.key,
        "code": incident.problem.code.value,
        "severity": incident.problem.severity.value,
        "problem": _problem_out(incident.problem),
        "opened_at": incident.opened_at,
        "seen_at": incident.seen_at,
        "count": incident.count,
        "escalated_at": incident.escalated_at,
        "recovered_at": incident.recovered_at,
        "told_at": incident.told_at,
        "changes": case.changes,
        "told_digest": case.told_digest,
        "reopened": case.reopened,
        "calm_since": case.calm_since,
        "absorbed": [list(pair) for pair in case.absorbed],
        "acknowledged_at": case.acknowledged_at,
        "acknowledged_by": case.acknowledged_by,
        "changed_at": now,
    }


def case_of(row: sa.RowMapping) -> Case:
    incident = Incident(
        id=row["id"],
        key=row["key"],
        problem=_problem_in(row["problem"]),
        opened_at=row["opened_at"],
        seen_at=row["seen_at"],
        count=row["count"],
        escalated_at=row["escalated_at"],
        recovered_at=row["recovered_at"],
        told_at=row["told_at"],
    )
    return Case(
        incident,
        changes=row["changes"],
        told_digest=row["told_digest"],
        reopened=row["reopened"],
        calm_since=row["calm_since"],
        absorbed=tuple((key, event) for key, event in row["absorbed"]),
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
    )


def delivery_of(row: sa.RowMapping) -> Delivery:
    """row: of deliveries, with `thread` from the other table."""
    return Delivery(
        id=row["id"],
        incident=_incident_in(row["snapshot"]),
        seq=row["seq"],
        channel=row["channel"],
        change=Change(row["change"]),
        status=Status(row["status"]),
        summary=row["summary"],
        attempts=row["attempts"],
        unsure=row["unsure"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        give_up_at=row["give_up_at"],
        claimed_until=row["claimed_until"],
        sent_at=row["sent_at"],
        error=row["error"],
        thread=row["thread"],
    )


def snapshot_of(incident: Incident) -> dict[str, Any]:
    """The incident as JSON."""
    whole = {name: _out(value) for name, value in asdict(incident).items() if name != "problem"}
    return whole | {"problem": _problem_out(incident.problem)}


def _problem_out(problem: Problem) -> dict[str, Any]:
    whole = {name: _out(value) for name, value in asdict(problem).items()}
    return whole | ({"asks": {k: _out(v) for k, v in asdict(problem.asks).items()}} if problem.asks else {})


def _out(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


_TIMES_OF_A_PROBLEM = ("since", "last_good", "next_try")
_TIMES_OF_AN_INCIDENT = ("opened_at", "seen_at", "escalated_at", "recovered_at", "told_at")


def _problem_in(stored: Mapping[str, Any]) -> Problem:
    values = dict(stored) | {"code": Code(stored["code"]), "severity": Severity(stored["severity"])}
    if asks := stored.get("asks"):
        values["asks"] = Waiting(**dict(asks) | _times(asks, ("expires_at",)))
    return Problem(**values | _times(stored, _TIMES_OF_A_PROBLEM))


def _incident_in(stored: Mapping[str, Any]) -> Incident:
    values = dict(stored) | {"problem": _problem_in(stored["problem"])}
    return Incident(**values | _times(stored, _TIMES_OF_AN_INCIDENT))


def _times(stored: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, datetime | None]:
    return {name: datetime.fromisoformat(stored[name]) if stored[name] else None for name in names}
