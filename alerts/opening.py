"""Settings to a dispatcher: which channels, which store, which policy. The only place that builds one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from alerts import flow_rules
from alerts import store as stores
from alerts.channels import configured
from alerts.channels.log import Log
from alerts.dispatch import Dispatcher, kind
from alerts.fallback import Fallback
from alerts.flow_rules import Away, FlowRule
from alerts.policy import Policy
from alerts.rule_store import RuleStore
from alerts.rules import Limits
from alerts.settings import AlertSettings, minutes
from alerts.store import AlertStore

_log = logging.getLogger(__name__)


@contextmanager
def dispatcher(
    config: AlertSettings, postgres_url: str | None, state_dir: Path, known: Collection[str] = ()
) -> Iterator[Dispatcher]:
    """A dispatcher with the configured channels, on PostgreSQL where it answers within 2 s, else on a file.

    Nothing that goes wrong with alerts is raised into the block.

    Args:
        config: see `alerts.settings.load`.
        postgres_url: with the migrations applied; None: there is no server.
        state_dir: where the file is.
        known: secrets that no channel may show, besides those of the alerts themselves.
    """
    found = _opened(config, postgres_url, state_dir, known)
    try:
        yield found
    finally:
        found.close()


def _opened(config: AlertSettings, postgres_url: str | None, state_dir: Path, known: Collection[str]) -> Dispatcher:
    if not config.alert_enabled:
        return Dispatcher(None, [Log()], policy(config))
    store = server(postgres_url)
    return Dispatcher(store, configured(config, known), policy(config), Fallback(state_dir), rules_of(store))


def server(postgres_url: str | None) -> AlertStore | None:
    """The store on the server; None where it does not answer or lacks the tables, which is logged."""
    if postgres_url is None:
        return None
    found = stores.postgres(postgres_url)
    try:
        found.check()
    except SQLAlchemyError as error:
        found.close()
        _log.warning("alerts are kept in the state directory: PostgreSQL says %s", kind(error))
        return None
    return found


def rules_of(store: AlertStore | None) -> tuple[FlowRule, ...]:
    """What operators set; nothing where it cannot be read, which is logged: then every alert is told, by the defaults."""
    if store is None:
        return ()
    try:
        return RuleStore(store).stored()
    except Away as error:
        _log.warning("the alert rules of flows cannot be read, so the defaults hold: %s", error)
        return ()


def policy(config: AlertSettings) -> Policy:
    return replace(
        Policy(),
        escalate_after=minutes(config.alert_escalate_after_min),
        update_every=minutes(config.alert_update_every_min),
        reopen_within=minutes(config.alert_reopen_within_min),
        messages_per_hour=config.alert_messages_per_hour,
        give_up_after=timedelta(hours=config.alert_give_up_after_h),
        keep=timedelta(days=config.alert_keep_days),
    )


def limits(config: AlertSettings, rules: Sequence[FlowRule] = (), now: datetime | None = None) -> Limits:
    """For `alerts.rules.problems`. rules: what operators set for flows, which needs `now`, too."""
    usual = Limits(digest=config.alert_digest, digest_hour=config.alert_digest_hour)
    return flow_rules.adjusted(usual, rules, now) if now else usual
