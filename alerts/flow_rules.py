"""Alert rules of a flow: what an operator may turn off, mute or give another threshold, and what that makes of the problems.

Pure; they are kept by `alerts.rule_store`. A rule speaks of one code of one flow. What loses data, or would not be noticed
otherwise, is never turned off; and where something critical is silent, people are told that once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from alerts.model import Code, Problem, Severity
from alerts.rules.limits import Limits
from alerts.rules.words import FLOWS, sentence
from alerts.words import moment

#: A loss stays wrong for a day (`Limits.day`): with half of it muted, what is lost meanwhile is told afterwards.
LONGEST_MUTE, LONGEST_MUTE_OF_LOSS = timedelta(days=30), timedelta(hours=12)
#: So long a loss is heard between two mutes: some turns of the watch.
HEARD_BETWEEN = timedelta(hours=1)
#: So long a note that something is silent is due: as long as it is known that it was told.
_NOTED = timedelta(days=1)
_LONGEST_NOTE = 200
_USUAL = Limits()
_INGEST = frozenset({"incremental"})
_SCHEDULED = frozenset({"incremental", "full", "watch", "verify"})
#: Without a schedule: who asked for a run sees what became of it.
ON_DEMAND = frozenset({"health_monitoring", "policy_check", "intervention_planning"})


class InvalidRule(ValueError):
    """A rule that cannot be set; its words say what was expected."""


class Away(Exception):
    """The rules could not be read or written, because PostgreSQL did not answer; it may later. Without secrets."""


@dataclass(frozen=True, slots=True)
class Known:
    """A code that can be set. unit: of its threshold, "" where it has none. default: None where it depends on the flow, as
    `usual` says. flows: that it is about, None for all. subject: of its problems, None where that is the flow. loss: never
    off, never less than critical, and muted for half a day at most. shared: one message for all flows, and one can be left
    out. critical: unless it is set otherwise. heard: never off for a flow with a schedule.
    """

    code: Code
    about: str
    unit: str = ""
    default: float | None = None
    least: float = 0.0
    most: float = 0.0
    usual: str = ""
    flows: frozenset[str] | None = None
    subject: str | None = None
    loss: bool = False
    shared: bool = False
    critical: bool = False
    heard: bool = False

    @property
    def longest_mute(self) -> timedelta:
        return LONGEST_MUTE_OF_LOSS if self.loss else LONGEST_MUTE

    def may_be_off(self, flow: str) -> bool:
        return not self.loss and not (self.heard and flow not in ON_DEMAND)


@dataclass(frozen=True, slots=True)
class FlowRule:
    """One code of one flow. threshold: in the unit of its code; None: the default. severity: None: as the rule says.

    muted_until: aware; a mute that has passed is none. set_by, set_at: None: nobody set it, it is the default.
    """

    flow: str
    code: str
    enabled: bool = True
    threshold: float | None = None
    severity: str | None = None
    muted_until: datetime | None = None
    note: str = ""
    set_by: str | None = None
    set_at: datetime | None = None


_KNOWN = (
    Known(Code.FLOW_FAILED, "a run failed after all retries", critical=True, heard=True),
    Known(
        Code.BREAKER_OPEN, "a run found too many invalid entries and set nothing aside", flows=_INGEST, critical=True
    ),
    Known(Code.ZOMBIE_RUN, "a run died without a word", critical=True),
    Known(Code.NEVER_STARTED, "a run was due, and nobody took it up", critical=True),
    Known(
        Code.SCHEDULE_MISSED,
        "how long nothing may start the flow",
        unit="intervals",
        default=_USUAL.missed,
        least=1,
        most=100,
        flows=_SCHEDULED,
        critical=True,
    ),
    Known(
        Code.RETRY_RATE,
        "share of the steps of the last runs that may need a retry",
        unit="share",
        default=_USUAL.retry_rate,
        least=0.01,
        most=1,
    ),
    Known(
        Code.SLOW_RUN,
        "how long a run may take",
        unit="seconds",
        least=1,
        most=86_400,
        usual="twice the median of its good runs, and half of its service level",
    ),
    Known(
        Code.DEAD_LETTERS,
        "share of a day's entries that may go to the dead letters",
        unit="share",
        default=_USUAL.dead_share,
        least=0.0001,
        most=1,
        flows=_INGEST,
    ),
    Known(
        Code.STALE_GRAPH,
        "how long nothing may be applied while entries wait",
        unit="minutes",
        default=_USUAL.stale / timedelta(minutes=1),
        least=5,
        most=1_440,
        flows=_INGEST,
        subject="graph",
        critical=True,
        heard=True,
    ),
    Known(
        Code.SLO_DIGEST,
        "share of a day's runs that must complete, in the digest",
        unit="share",
        default=_USUAL.slo_success,
        least=0.5,
        most=0.999,
        shared=True,
    ),
    Known(
        Code.ENTRIES_LOST, "entries left the stream unread", flows=_INGEST, subject="stream", loss=True, critical=True
    ),
    Known(Code.STREAM_RESET, "the stream went back", flows=_INGEST, subject="stream", loss=True, critical=True),
    Known(
        Code.DRIFT, "graph and archive disagree", flows=frozenset({"verify"}), subject="graph", loss=True, critical=True
    ),
)
_BY_CODE: Mapping[str, Known] = {known.code.value: known for known in _KNOWN}
#: What a threshold changes.
_CHANGES: Mapping[Code, Callable[[float], dict[str, Any]]] = {
    Code.SCHEDULE_MISSED: lambda value: {"missed": value},
    Code.RETRY_RATE: lambda value: {"retry_rate": value},
    Code.SLOW_RUN: lambda value: {"slow_after": timedelta(seconds=value)},
    Code.DEAD_LETTERS: lambda value: {"dead_share": value},
    Code.STALE_GRAPH: lambda value: {"stale": timedelta(minutes=value)},
    Code.SLO_DIGEST: lambda value: {"slo_success": value},
}


def known_codes(flow: str | None = None) -> tuple[Known, ...]:
    """Those that can be set, of one flow or at all. Raises InvalidRule: no such flow."""
    if flow is not None and flow not in FLOWS:
        raise InvalidRule(f"no flow {flow[:40]!r}; one of {', '.join(FLOWS)}")
    return tuple(known for known in _KNOWN if flow is None or known.flows is None or flow in known.flows)


def known(flow: str, code: str) -> Known:
    """Raises InvalidRule: no such flow, or nothing of this code can be set for it; says what can."""
    its = {known.code.value: known for known in known_codes(flow)}
    if code not in its:
        raise InvalidRule(f"{code[:40]!r} cannot be set for {flow}; one of {', '.join(its)}")
    return its[code]


def filled(flow: str, stored: Iterable[FlowRule], now: datetime) -> list[FlowRule]:
    """A rule for every code of the flow, with defaults where nobody set anything; mutes that have passed are gone."""
    its = {rule.code: rule for rule in stored if rule.flow == flow}
    return [_filled(its.get(k.code.value, FlowRule(flow, k.code.value)), k, now) for k in known_codes(flow)]


def _filled(rule: FlowRule, its: Known, now: datetime) -> FlowRule:
    return replace(
        rule,
        threshold=its.default if rule.threshold is None else rule.threshold,
        muted_until=rule.muted_until if is_muted(rule, now) else None,
    )


def is_muted(rule: FlowRule, now: datetime) -> bool:
    return rule.muted_until is not None and rule.muted_until > now


# ------------------------------------------------------------------------------------------------ may it be set


def validated(rule: FlowRule, now: datetime, last_mute: datetime | None = None) -> FlowRule:
    """The rule as it is kept: a threshold that is the default is none, times are UTC.

    last_mute: the latest end that any mute of it was set to, also where it was ended before.

    Raises:
        InvalidRule: what is wrong with it, and what was expected.
    """
    its = known(rule.flow, rule.code)
    for check in (_is_heard, _threshold_fits, _severity_fits, _mute_fits, _note_fits):
        check(rule, its, now)
    _loss_is_heard_between(rule, its, now, last_mute)
    return replace(
        rule,
        code=its.code.value,
        threshold=None if rule.threshold == its.default else rule.threshold,
        severity=rule.severity and Severity(rule.severity).value,
        muted_until=rule.muted_until and rule.muted_until.astimezone(UTC),
    )


def _is_heard(rule: FlowRule, its: Known, _now: datetime) -> None:
    if not rule.enabled and not its.may_be_off(rule.flow):
        why = "data is lost, or wrong" if its.loss else "nobody would notice"
        raise InvalidRule(f"{its.code} cannot be turned off, only muted for at most {_hours(its)} h: {why}")


def _hours(its: Known) -> str:
    return f"{its.longest_mute / timedelta(hours=1):g}"


def _loss_is_heard_between(rule: FlowRule, its: Known, now: datetime, last: datetime | None) -> None:
    """Mutes one after the other would be one without an end."""
    if not its.loss or rule.muted_until is None or last is None or rule.muted_until <= last:
        return
    if now < last + HEARD_BETWEEN:
        raise InvalidRule(
            f"{its.code} was muted until {moment(last)}: that cannot be extended, and it is heard for"
            f" {HEARD_BETWEEN / timedelta(hours=1):g} h before it is muted again"
        )


def _threshold_fits(rule: FlowRule, its: Known, _now: datetime) -> None:
    value = rule.threshold
    if value is None:
        return
    if not its.unit:
        raise InvalidRule(f"{its.code} has no threshold; those that have: {', '.join(c.value for c in _CHANGES)}")
    if isinstance(value, bool) or not isfinite(value) or not its.least <= value <= its.most:
        raise InvalidRule(f"the threshold of {its.code} is a number of {its.unit} from {its.least:g} to {its.most:g}")


def _severity_fits(rule: FlowRule, its: Known, _now: datetime) -> None:
    if rule.severity is None:
        return
    if rule.severity not in tuple(Severity):
        raise InvalidRule(f"a severity is one of {', '.join(Severity)}, or left out")
    if its.shared:
        raise InvalidRule(f"{its.code} is one message for all flows: its severity cannot be set for one")
    if its.loss and rule.severity != Severity.CRITICAL:
        raise InvalidRule(f"{its.code} is always critical: data is lost, or wrong")


def _mute_fits(rule: FlowRule, its: Known, now: datetime) -> None:
    until = rule.muted_until
    if until is None:
        return
    if until.tzinfo is None:
        raise InvalidRule("the end of a mute needs a time zone, such as 2026-03-02T14:30:00Z")
    if not now < until <= now + its.longest_mute:
        raise InvalidRule(f"a mute of {its.code} ends in the future, within {_hours(its)} h")


def _note_fits(rule: FlowRule, _its: Known, _now: datetime) -> None:
    if len(rule.note) > _LONGEST_NOTE or not (rule.note.isprintable() or not rule.note):
        raise InvalidRule(f"a note is one line of at most {_LONGEST_NOTE} characters")


# ------------------------------------------------------------------------------------------------ what it makes of things


@dataclass(frozen=True, slots=True)
class Ruled:
    """told: the problems that people may hear of, as severe as they were set. muted, off: keys of which they do not: what is
    open of the first stays as it is, what is open of the second is closed without a word.
    """

    told: tuple[Problem, ...]
    muted: frozenset[str] = frozenset()
    off: frozenset[str] = frozenset()


def apply(problems: Iterable[Problem], rules: Sequence[FlowRule], now: datetime) -> Ruled:
    """What is left of the problems."""
    off = frozenset(_key(rule) for rule in rules if not rule.enabled)
    muted = frozenset(_key(rule) for rule in rules if is_muted(rule, now)) - off
    told = (problem for problem in problems if problem.key not in muted | off)
    return Ruled(tuple(graded(told, rules)), muted, off)


def graded(problems: Iterable[Problem], rules: Sequence[FlowRule]) -> list[Problem]:
    """All of them, as severe as they were set. What was put right already stays news."""
    wanted = {_key(rule): Severity(rule.severity) for rule in rules if rule.severity}
    return [
        replace(p, severity=wanted[p.key]) if p.key in wanted and p.severity is not Severity.INFO else p
        for p in problems
    ]


def hushed(problem: Problem, rules: Sequence[FlowRule], now: datetime) -> str | None:
    """Why people do not hear of it: `turned off`, `muted until 2026-03-02 14:30 UTC`; None: they do."""
    its = [rule for rule in rules if _key(rule) == problem.key]
    if any(not rule.enabled for rule in its):
        return "turned off"
    until = max((rule.muted_until for rule in its if rule.muted_until and rule.muted_until > now), default=None)
    return f"muted until {until:%Y-%m-%d %H:%M} UTC" if until else None


def silenced(rules: Iterable[FlowRule], now: datetime) -> Iterator[Problem]:
    """A note for each critical alert that somebody silenced lately: who, and until when. Its event is that they did."""
    for rule in rules:
        if not _is_critical(rule) or rule.set_at is None or now - rule.set_at >= _NOTED:
            continue
        if rule.enabled and not is_muted(rule, now):
            continue
        how = f"muted until {moment(rule.muted_until)}" if rule.enabled and rule.muted_until else "turned off"
        yield Problem(
            code=Code.ALERT_SILENCED,
            subject=f"{rule.code} of {rule.flow}",
            severity=Severity.INFO,
            what=sentence(f"{rule.code} of {rule.flow} is {how}, by {rule.set_by}: nobody is told of it."),
            since=rule.set_at,
            works="the watch goes on, and shows what is silent",
            fix=f"python -m alerts rule {rule.flow} {rule.code} --on",
            event=rule.set_at.astimezone(UTC).isoformat(),
        )


def _is_critical(rule: FlowRule) -> bool:
    return rule.severity == Severity.CRITICAL or (rule.severity is None and _BY_CODE[rule.code].critical)


def as_heard(rule: FlowRule) -> FlowRule:
    """A rule of an earlier version of this program, which let more be turned off, turns off what may be."""
    return rule if _BY_CODE[rule.code].may_be_off(rule.flow) else replace(rule, enabled=True)


def adjusted(limits: Limits, rules: Sequence[FlowRule], now: datetime) -> Limits:
    """The limits, with those of each flow that has some of its own."""
    changes: dict[str, dict[str, Any]] = {}
    for rule in rules:
        its = changes.setdefault(rule.flow, {})
        if rule.threshold is not None:
            its |= _CHANGES[Code(rule.code)](rule.threshold)
        if _BY_CODE[rule.code].shared and (not rule.enabled or is_muted(rule, now)):
            its["digest"] = "never"
    return replace(limits, flows={flow: replace(limits, **its) for flow, its in changes.items() if its})


def _key(rule: FlowRule) -> str:
    """Of the problems that it is about. That of the digest, which is about all flows, is never found."""
    return f"{rule.code}:{_BY_CODE[rule.code].subject or rule.flow}"
