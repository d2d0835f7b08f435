"""`python -m alerts`: try the channels, look at incidents, say who looks after one, set what is told, watch without Prefect.

Exit codes as everywhere: 0 good, 1 failed, 2 wrong use or settings; and the watch's own.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from alerts import opening, rule_command, settings
from alerts.channels import Channel, configured
from alerts.dispatch import kind
from alerts.fallback import Fallback
from alerts.flow_rules import Away, InvalidRule
from alerts.model import Change, Code, Failed, Incident, Message, Problem, Severity
from alerts.policy import Case
from alerts.rule_store import RuleStore
from alerts.scrub import clean
from alerts.settings import AlertSettings, WrongSettings
from alerts.store import AlertStore
from alerts.tables import Delivery, Status

GOOD, FAILED, WRONG = 0, 1, 2
_CHANNELS = {
    "slack": "SLACK_WEBHOOK_URL, or SLACK_BOT_TOKEN and SLACK_CHANNEL",
    "sentry": "SENTRY_DSN",
    "email": "ALERT_SMTP_URL, ALERT_EMAIL_FROM and ALERT_EMAIL_TO",
    "webhook": "ALERT_WEBHOOK_URL, and ALERT_WEBHOOK_SECRET for its signature",
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["watch"]:
        return _watch(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        code: int = options.verb(options, settings.load(), _now())
        return code
    except (WrongSettings, InvalidRule) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    except Away as error:
        print(f"error: the rules cannot be asked: {error}", file=sys.stderr)
        return FAILED
    except (SQLAlchemyError, OSError) as error:
        print(f"error: the incidents cannot be read: {kind(error)}; check ORGANISM_POSTGRES_URL", file=sys.stderr)
        return FAILED


def _now() -> datetime:
    return datetime.now(UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m alerts", description="Who is told when something is wrong.")
    verbs = parser.add_subparsers(required=True, metavar="test | list | ack | retry | rules | rule | watch")
    test = verbs.add_parser("test", help="one message through every configured channel, each result reported")
    test.set_defaults(verb=_test)
    listing = verbs.add_parser("list", help="open incidents, and messages that did not arrive")
    listing.add_argument("--json", action="store_true", help="as one JSON object")
    listing.set_defaults(verb=_list)
    ack = verbs.add_parser("ack", help="somebody looks after an incident: it is not escalated")
    ack.add_argument("id", help="of the incident, as `list` shows it")
    ack.add_argument("--by", required=True, metavar="NAME", help="who; stays in our database")
    ack.set_defaults(verb=_ack)
    retry = verbs.add_parser("retry", help="try again what was given up within the last week, after a mend")
    retry.set_defaults(verb=_retry)
    rule_command.add_to(verbs, _with_rules)
    verbs.add_parser("watch", help="one look at everything, without Prefect: watch --once, for cron or systemd")
    return parser


def _watch(arguments: list[str]) -> int:
    """As a program of its own, which is run and not imported: whoever imports a flow imports Prefect, and needs it."""
    sys.argv = ["watch", *arguments]
    try:
        runpy.run_module("pipelines.watch", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else FAILED
    return GOOD


# ---------------------------------------------------------------------------------------------------------------- test


def _test(_options: argparse.Namespace, config: AlertSettings, now: datetime) -> int:
    channels = configured(config)
    results = [(channel.name, _tried(channel, now)) for channel in channels]
    for name, words in results:
        print(f"✔ {name:8} sent" if words is None else f"✘ {name:8} {words}")
    tried = {name for name, _ in results}
    for name, variables in _CHANNELS.items():
        if name not in tried:
            print(f"- {name:8} not configured: set {variables}")
    if not tried & set(_CHANNELS):
        print("No channel is configured: whatever goes wrong is only in the log.")
        return WRONG
    return FAILED if any(words for _, words in results) else GOOD


def _tried(channel: Channel, now: datetime) -> str | None:
    """None: it was sent; else the cause and what to do."""
    with closing(channel):
        try:
            channel.send(Message(_example(now), Change.TEST), now)
            return None
        except Failed as failed:
            fix = (
                f"check {_CHANNELS.get(channel.name, 'the settings')}"
                if failed.permanent
                else "is it up, and reachable?"
            )
            return f"{clean(failed.words)}; {fix}"
        except Exception as error:  # noqa: BLE001  # a report of every channel is what was asked for
            return f"a defect of the channel: {type(error).__name__}"


def _example(now: datetime) -> Incident:
    problem = Problem(
        code=Code.TEST,
        subject="alerts",
        severity=Severity.INFO,
        what="Somebody ran python -m alerts test to see whether this arrives. It does, and there is nothing to do.",
        since=now,
        works="everything",
        event=f"test {now.isoformat()}",
    )
    return Incident(f"test-{now:%Y%m%dT%H%M%S}", problem.key, problem, opened_at=now, seen_at=now)


# ---------------------------------------------------------------------------------------------------- list, ack, retry


@contextmanager
def _stores() -> Iterator[dict[str, AlertStore]]:
    """By name: the server's, where there is one; and the file's, where there is one."""
    with ExitStack() as stack:
        url, state_dir = stack.enter_context(_place())
        found: dict[str, AlertStore] = {}
        if server := opening.server(url):
            found["PostgreSQL"] = server
        file = Fallback(state_dir)
        if file.path.exists():
            found["the state directory"] = file.open()
        for store in found.values():
            stack.callback(store.close)
        yield found


@contextmanager
def _place() -> Iterator[tuple[str | None, Path]]:
    """The URL of PostgreSQL and the state directory. What no variable names, the pipelines know: the embedded servers."""
    named = settings.place()
    if named.organism_postgres_url and named.organism_state_dir:
        yield named.organism_postgres_url.get_secret_value(), named.organism_state_dir
        return
    from pipelines import wiring_watch

    with wiring_watch.place() as found:
        yield found


def _with_rules(act: rule_command.Act) -> Callable[[argparse.Namespace, AlertSettings, datetime], int]:
    """On the server, where it answers; without a store where it does not, or there is none."""

    def verb(options: argparse.Namespace, _config: AlertSettings, now: datetime) -> int:
        with _place() as (url, _), ExitStack() as stack:
            store = opening.server(url)
            if store is not None:
                stack.callback(store.close)
            print(act(options, RuleStore(store) if store else None, now))
        return GOOD

    return verb


def _list(options: argparse.Namespace, _config: AlertSettings, now: datetime) -> int:
    cases: dict[str, Case] = {}
    waiting: dict[str, Delivery] = {}
    with _stores() as stores:
        for store in stores.values():
            cases = {case.incident.id: case for case in store.open_cases()} | cases
            waiting = {delivery.id: delivery for delivery in store.undelivered()} | waiting
    if options.json:
        whole = {"open": [_as_dict(c) for c in cases.values()], "undelivered": [asdict(d) for d in waiting.values()]}
        print(json.dumps(whole, default=_plain))
    else:
        _show(list(cases.values()), list(waiting.values()), list(stores), now)
    return GOOD


def _as_dict(case: Case) -> dict[str, Any]:
    rest = {"acknowledged_at": case.acknowledged_at, "acknowledged_by": case.acknowledged_by, "reopened": case.reopened}
    return asdict(case.incident) | rest


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _show(cases: Sequence[Case], waiting: Sequence[Delivery], stores: Sequence[str], now: datetime) -> None:
    print(
        f"{len(cases) or 'No'} open incident{'' if len(cases) == 1 else 's'} ({' and '.join(stores) or 'none kept yet'})"
    )
    for case in cases:
        incident, problem = case.incident, case.incident.problem
        by = f", {case.acknowledged_by} looks after it" if case.acknowledged_by else ""
        print(f"{incident.id}  {problem.severity:8} {incident.key}  open for {_long(now - incident.opened_at)}{by}")
        print(f"  {problem.what}")
        print(f"  fix: {problem.fix or 'see docs/runbook.md'}")
    for delivery in waiting:
        state = "given up" if delivery.status is Status.DEAD else f"due {delivery.due_at:%H:%M} UTC"
        print(
            f"not delivered: {delivery.channel} {delivery.change} of {delivery.incident.key}, {state},"
            f" {delivery.attempts} tries{f': {delivery.error}' if delivery.error else ''}"
        )


def _long(time: timedelta) -> str:
    minutes = int(time.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _ack(options: argparse.Namespace, _config: AlertSettings, now: datetime) -> int:
    with _stores() as stores:
        done = [store.acknowledge(options.id, options.by, now) for store in stores.values()]
    if not any(done):
        print(f"error: no open incident {clean(options.id)}; python -m alerts list shows them", file=sys.stderr)
        return WRONG
    print(f"{options.id}: noted, it is not escalated")
    return GOOD


def _retry(_options: argparse.Namespace, config: AlertSettings, now: datetime) -> int:
    with _stores() as stores:
        revived = sum(
            store.revive(now, now + timedelta(hours=config.alert_give_up_after_h)) for store in stores.values()
        )
    print(
        f"{revived} message{'' if revived == 1 else 's'} will be tried again at the next look (python -m alerts watch --once)"
    )
    return GOOD


if __name__ == "__main__":
    raise SystemExit(main())
