"""The alert rules of flows as rows, beside the incidents: in PostgreSQL, in SQLite for trials. The newest version holds.

While PostgreSQL is away nothing of them is known, and the defaults hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from alerts import flow_rules
from alerts import store as stores
from alerts.flow_rules import Away, FlowRule, InvalidRule
from alerts.store import AlertStore, Connection
from alerts.tables import rules

_NAMES = tuple(field.name for field in fields(FlowRule))
_LONGEST_NAME = 100


@contextmanager
def opened(postgres_url: str) -> Iterator[RuleStore]:
    """On the table of migration 0012. Connects when it is used; may be used by several threads."""
    store = RuleStore(stores.postgres(postgres_url))
    try:
        yield store
    finally:
        store.close()


class RuleStore:
    """Every method raises Away when the database does not answer, and InvalidRule for what cannot be set."""

    def __init__(self, alerts: AlertStore) -> None:
        self._alerts = alerts

    def close(self) -> None:
        self._alerts.close()

    def rules_for(self, flow: str, now: datetime) -> list[FlowRule]:
        """One for every code of the flow, with the defaults where nobody set anything."""
        flow_rules.known_codes(flow)
        return flow_rules.filled(flow, self.stored(), now)

    def stored(self) -> tuple[FlowRule, ...]:
        """What is set, of all flows; of those alone that can still be set."""
        with self._turn() as connection:
            newest = sa.select(rules.c.flow, rules.c.code, sa.func.max(rules.c.version)).group_by(
                rules.c.flow, rules.c.code
            )
            wanted = sa.tuple_(rules.c.flow, rules.c.code, rules.c.version).in_(newest)
            found = connection.execute(sa.select(rules).where(wanted, rules.c.cleared.is_(False))).mappings().all()
        return tuple(flow_rules.as_heard(rule) for row in found if _is_known(rule := _rule(row)))

    def set_rule(self, rule: FlowRule, by: str, now: datetime) -> FlowRule:
        """In force from now on; the whole rule, with the defaults filled in, and who set it when."""
        rule = replace(self.validated(rule, now), set_by=_name(by), set_at=now)
        self._write(rule, cleared=False)
        return next(r for r in flow_rules.filled(rule.flow, [rule], now) if r.code == rule.code)

    def validated(self, rule: FlowRule, now: datetime) -> FlowRule:
        """As `flow_rules.validated`, with the mutes that there were."""
        its = (rules.c.flow == rule.flow, rules.c.code == rule.code)
        with self._turn() as connection:
            ends = connection.execute(sa.select(rules.c.muted_until).where(*its, rules.c.muted_until.is_not(None)))
            last = max(ends.scalars(), default=None)
        return flow_rules.validated(rule, now, last)

    def clear_rule(self, flow: str, code: str, by: str, now: datetime) -> FlowRule:
        """The defaults hold again, which are returned. Done twice, it is noted twice."""
        its = flow_rules.known(flow, code)
        self._write(FlowRule(flow, its.code.value, set_by=_name(by), set_at=now), cleared=True)
        return next(rule for rule in flow_rules.filled(flow, [], now) if rule.code == its.code)

    def _write(self, rule: FlowRule, *, cleared: bool) -> None:
        its = (rules.c.flow == rule.flow, rules.c.code == rule.code)
        row: dict[str, Any] = {name: getattr(rule, name) for name in _NAMES}
        with self._turn() as connection:
            last = connection.execute(sa.select(sa.func.max(rules.c.version)).where(*its)).scalar_one()
            connection.execute(sa.insert(rules).values(**row, cleared=cleared, version=(last or 0) + 1))

    @contextmanager
    def _turn(self) -> Iterator[Connection]:
        try:
            with self._alerts.locked() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise Away(f"PostgreSQL did not answer ({type(error).__name__}); check ORGANISM_POSTGRES_URL") from None


def _rule(row: sa.RowMapping) -> FlowRule:
    return FlowRule(**{name: row[name] for name in _NAMES})


def _is_known(rule: FlowRule) -> bool:
    try:
        flow_rules.known(rule.flow, rule.code)
    except InvalidRule:  # of another version of this program
        return False
    return True


def _name(by: str) -> str:
    if not by.strip() or len(by) > _LONGEST_NAME or not by.isprintable():
        raise InvalidRule(f"who sets a rule has a name of 1 to {_LONGEST_NAME} characters")
    return by.strip()
