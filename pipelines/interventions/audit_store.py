"""The audit log in PostgreSQL: rows are appended in the transaction of the change that they record.

Who appends holds the lock of `one_at_a_time`; without it two rows would claim the same place, and one of the two
transactions would fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from pipelines import queries
from pipelines.errors import PermanentError
from pipelines.interventions import audit
from pipelines.interventions.audit import AuditReport, BadRow, Entry, Head, Row
from pipelines.interventions.proposal import AuditLink, canonical, digest_of, from_body, mirrored
from pipelines.postgres import Connection, Pool, transaction

_Q = queries.load("pipelines.interventions", "queries.sql")
_CHUNK = 2_000


_Columns = dict[str, Any]


@dataclass(slots=True)
class _Story:
    """What the rows say should be in the tables: the last word on each proposal, every decision, the switch; each with the
    number of its row.
    """

    proposals: dict[str, tuple[int, _Columns]] = field(default_factory=dict)
    decisions: dict[tuple[str, int, str], tuple[int, _Columns]] = field(default_factory=dict)
    switch: tuple[bool, str, str, datetime] | None = None
    switch_seq: int = 0
    last: Row | None = None
    anchored: str | None = None


def append(
    connection: Connection,
    key: bytes,
    now: datetime,
    role: str,
    who: str,
    action: str,
    *,
    subject: str = "",
    version: int = 0,
    anyway: bool = False,
    **detail: Any,
) -> AuditLink:
    """Add one row at the end of the chain; its hashes.

    Raises:
        PermanentError: the end of the log was not written with this key; with `anyway` that is left to `verify`.
    """
    text = canonical(detail).decode()
    entry = Entry(at=now, role=role, who=who, action=action, subject=subject, version=version, detail=text)
    end = _head(connection)
    if end and not anyway and not audit.is_ours(key, end):
        words = (
            "the audit log does not end as we wrote it: another key (it must be the same everywhere) or a changed log"
        )
        raise PermanentError(f"{words}; see `python -m pipelines.review audit verify`")
    row = audit.chained(key, end.seq + 1 if end else 1, end.hash if end else audit.GENESIS, entry)
    columns = {name: getattr(entry, name) for name in Entry.__dataclass_fields__}
    connection.execute(_Q["append_audit"], {**columns, "seq": row.seq, "prev_hash": row.prev_hash, "hash": row.hash})
    moved = audit.head(key, row)
    connection.execute(_Q["move_audit_head"], {"seq": moved.seq, "hash": moved.hash, "mac": moved.mac})
    return AuditLink(row.prev_hash, row.hash)


class PostgresAuditLog:
    """Notes of what people ask for outside the life of a proposal: logins, runs, reads. In the same chain as the rest."""

    def __init__(self, pool: Pool, key: bytes) -> None:
        self._pool, self._key = pool, key

    def note(self, role: str, who: str, action: str, now: datetime, *, subject: str = "", **detail: Any) -> None:
        """One row. To be written before the effect, so that nothing happens that is not on record.

        Raises:
            TransientError: it could not be written; then nothing may happen.
            PermanentError: the log does not end as we wrote it.
        """
        with transaction(self._pool) as connection:
            connection.execute(_Q["one_at_a_time"])
            # Under a name of its own: what a caller says must not read as a move of a proposal when the log is verified.
            append(connection, self._key, now, role, who, action, subject=subject, note=detail)


def verify(connection: Connection, key: bytes, anchor: tuple[int, str] | None) -> AuditReport:
    """Check the chain, its end, and the tables against what the chain says. Reads one moment; changes nothing."""
    connection.execute(_Q["one_moment"])
    problems: list[BadRow] = []
    story = _Story()
    for row in audit.watched(key, _rows(connection), problems):
        _tell(story, row)
        if anchor and row.seq == anchor[0]:
            story.anchored = row.hash
    seq, hash_ = (story.last.seq, story.last.hash) if story.last else (0, audit.GENESIS)
    bad = problems[0] if problems else audit.wrong_end(key, story.last, _head(connection))
    if bad is None and anchor:
        bad = audit.below_anchor(seq, story.anchored, anchor)
    return AuditReport(seq, (seq, hash_), bad or _differs(connection, story))


def _head(connection: Connection) -> Head | None:
    found = connection.execute(_Q["audit_head"]).fetchone()
    return Head(*found) if found else None


def _rows(connection: Connection) -> Iterator[Row]:
    with connection.cursor(name="audit_rows") as cursor:
        cursor.execute(_Q["audit_rows"])
        while rows := cursor.fetchmany(_CHUNK):
            for seq, at, role, who, action, subject, version, detail, prev_hash, hash_ in rows:
                entry = Entry(at=at, role=role, who=who, action=action, subject=subject, version=version, detail=detail)
                yield Row(seq, entry, prev_hash, hash_)


def _tell(story: _Story, row: Row) -> None:
    story.last = row
    entry, detail = row.entry, msgspec.json.decode(row.entry.detail)
    if "to" in detail:
        story.proposals[entry.subject] = (
            row.seq,
            {
                "version": entry.version,
                "state": detail["to"],
                "body": detail["body"],
                "hash": row.hash,
                "prev_hash": row.prev_hash,
                "changed_at": entry.at,
            },
        )
    if "decision" in detail:
        said = {name: detail[name] for name in ("decision", "reason", "via", "account")}
        said |= {"at": entry.at, "role": entry.role}
        story.decisions[entry.subject, entry.version, entry.who] = row.seq, said
    if "halted" in detail:
        story.switch, story.switch_seq = (detail["halted"], detail["reason"], entry.who, entry.at), row.seq


def _differs(connection: Connection, story: _Story) -> BadRow | None:
    """The first row of the log that the tables contradict: somebody changed them and not the log."""
    found = [*_changed_proposals(connection, story), *_changed_decisions(connection, story)]
    switch = connection.execute(_Q["switch_as_it_is"]).fetchone()
    if switch != story.switch:
        found.append(BadRow(story.switch_seq, "the kill switch is not as the log says: it was set past the log"))
    return min(found, key=lambda bad: bad.seq, default=None)


def _changed_proposals(connection: Connection, story: _Story) -> Iterator[BadRow]:
    left = dict(story.proposals)
    for columns in _as_they_are(connection, "proposals_as_they_are"):
        id_ = columns.pop("id")
        if id_ not in left:
            yield BadRow(0, f"proposal {id_} is not in the log: it was put in past it")
            continue
        seq, said = left.pop(id_)
        if names := _changed(said, columns | {"body": digest_of(columns["body"].encode())}) or _off_body(columns):
            words = f"proposal {id_} is not as row {seq} left it ({said['state']}): {names} was changed past the log"
            yield BadRow(seq, words)
    for id_, (seq, _) in left.items():
        yield BadRow(seq, f"proposal {id_} of row {seq} is gone")


def _off_body(columns: _Columns) -> str:
    """What of the columns is not as in the body that they were taken from; the log has only the digest of that."""
    made = from_body(columns["body"])
    return _changed({name: value for name, value in mirrored(made).items() if name in columns}, columns)


def _changed_decisions(connection: Connection, story: _Story) -> Iterator[BadRow]:
    left = dict(story.decisions)
    for columns in _as_they_are(connection, "decisions_as_they_are"):
        key = columns.pop("proposal"), columns.pop("version"), columns.pop("by")
        if key not in left:
            yield BadRow(0, f"a decision on proposal {key[0]} is not in the log: it was put in or renamed past it")
            continue
        seq, said = left.pop(key)
        if names := _changed(said, columns):
            yield BadRow(seq, f"{names} of the decision on proposal {key[0]} of row {seq} was changed past the log")
    for (id_, *_), (seq, _) in left.items():
        yield BadRow(seq, f"the decision on proposal {id_} of row {seq} is gone")


def _as_they_are(connection: Connection, name: str) -> Iterator[_Columns]:
    cursor = connection.execute(_Q[name])
    names = [column.name for column in cursor.description or ()]
    yield from (dict(zip(names, row, strict=True)) for row in cursor.fetchall())


def _changed(said: _Columns, found: _Columns) -> str:
    """The columns that are not as they should be, in words."""
    return " and ".join(name for name, value in said.items() if found[name] != value)
