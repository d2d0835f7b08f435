"""`python -m alerts rules` and `rule`: what operators set for the alerts of a flow, on the command line."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from alerts import flow_rules
from alerts.flow_rules import Away, FlowRule, InvalidRule, Known
from alerts.rule_store import RuleStore
from alerts.rules.words import FLOWS

_UNITS = {"m": timedelta(minutes=1), "min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
#: What was asked for, in words: with the store, None where there is no server to ask.
Act = Callable[[argparse.Namespace, RuleStore | None, datetime], str]


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser], verb: Callable[[Act], object]) -> None:
    """verb: makes of an act what the command line calls."""
    rules = verbs.add_parser("rules", help="what is told of each flow, from which number on, and what is muted")
    rules.add_argument("flow", nargs="?", help=f"one of {', '.join(FLOWS)}; all, if left out")
    rules.add_argument("--json", action="store_true", help="as one JSON list")
    rules.set_defaults(verb=verb(shown))
    rule = verbs.add_parser("rule", help="turn one alert of a flow off or on, mute it, or give it another threshold")
    rule.add_argument("flow")
    rule.add_argument("code", type=str.upper, help="as `rules` lists them")
    what = rule.add_argument_group("what to set; with none of it the rule is shown")
    switch = what.add_mutually_exclusive_group()
    switch.add_argument("--off", action="store_true", help="never told; alerts of lost data cannot be turned off")
    switch.add_argument("--on", action="store_true", help="told, and no longer muted")
    switch.add_argument("--clear", action="store_true", help="back to the defaults")
    what.add_argument("--threshold", type=float, metavar="X", help="in the unit that `rules` shows")
    what.add_argument("--severity", metavar="S", help="info, warning or critical")
    what.add_argument("--mute", type=_time, metavar="2h", help="not told for so long (30m, 2h, 3d); ends by itself")
    what.add_argument("--note", metavar="WORDS", help="why, for the others")
    what.add_argument("--by", metavar="NAME", help="who sets it; the account of this process, if left out")
    rule.set_defaults(verb=verb(set_as_asked))


def _time(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})\s*(m|min|h|d)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time such as 30m, 2h or 3d")
    return int(found[1]) * _UNITS[found[2]]


def shown(options: argparse.Namespace, store: RuleStore | None, now: datetime) -> str:
    flows = [options.flow] if options.flow else list(FLOWS)
    stored = store.stored() if store else ()
    rules = [rule for flow in flows for rule in flow_rules.filled(flow, stored, now)]
    if options.json:
        return json.dumps([asdict(rule) for rule in rules], default=str)
    lines = [line for flow in flows for line in (flow, *_lines([rule for rule in rules if rule.flow == flow]))]
    return "\n".join(
        lines if store else [*lines, "PostgreSQL is not there: the defaults hold, and every alert is told."]
    )


def _lines(rules: Sequence[FlowRule]) -> Iterator[str]:
    for rule in rules:
        its = flow_rules.known(rule.flow, rule.code)
        yield f"  {rule.code:16} {_state(rule):3}  {_threshold(rule, its) or its.about}{_rest(rule)}"


def _state(rule: FlowRule) -> str:
    return "on" if rule.enabled else "off"


def _threshold(rule: FlowRule, its: Known) -> str:
    if not its.unit:
        return ""
    unit = "" if its.unit == "share" else f" {its.unit}"
    return f"{its.about}: {its.usual if rule.threshold is None else f'{rule.threshold:g}{unit}'}"


def _rest(rule: FlowRule) -> str:
    said = [
        f"told as {rule.severity}" if rule.severity else "",
        f"muted until {rule.muted_until:%Y-%m-%d %H:%M} UTC" if rule.muted_until else "",
        f"set by {rule.set_by}, {rule.set_at:%Y-%m-%d %H:%M} UTC" if rule.set_by and rule.set_at else "",
        rule.note,
    ]
    return "".join(f"; {words}" for words in said if words)


def set_as_asked(options: argparse.Namespace, store: RuleStore | None, now: datetime) -> str:
    its = flow_rules.known(options.flow, options.code)
    stored = store.stored() if store else ()
    before = next(rule for rule in flow_rules.filled(options.flow, stored, now) if rule.code == its.code)
    wanted = FlowRule(options.flow, its.code) if options.clear else changed(before, options, now)
    flow_rules.validated(wanted, now)
    if store is None:
        raise Away("PostgreSQL is not there; check ORGANISM_POSTGRES_URL, or start the embedded one")
    if options.clear:
        after = store.clear_rule(options.flow, its.code, _who(options), now)
    else:
        after = store.set_rule(wanted, _who(options), now) if wanted != before else before
    return "\n".join([options.flow, *_lines([after])])


def changed(rule: FlowRule, options: argparse.Namespace, now: datetime) -> FlowRule:
    """The rule with what was asked for; what was not stays as it is."""
    if options.on:
        rule = replace(rule, enabled=True, muted_until=None)
    if options.off:
        rule = replace(rule, enabled=False)
    if options.mute is not None:
        rule = replace(rule, muted_until=now + options.mute)
    asked = {name: getattr(options, name) for name in ("threshold", "severity", "note")}
    return replace(rule, **{name: value for name, value in asked.items() if value is not None})


def _who(options: argparse.Namespace) -> str:
    if options.by:
        return str(options.by)
    try:  # as the system knows it: LOGNAME and USER can say anything
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # no such table here, or a user without a name, as in some containers
        raise InvalidRule("who sets it? --by NAME") from None
