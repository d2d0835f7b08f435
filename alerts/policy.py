"""Who is told what, and when: decided here, without a clock, a store or a channel; done in `alerts.dispatch`.

One thread for each incident: opened once, edited now and then, escalated once, and closed with a note. What another problem
explains joins that one's thread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from alerts.model import QUESTIONS, Change, Code, Incident, Problem, Severity
from alerts.rules.causes import explained_by, explains

#: Told once for each event, and closed at once: nothing is open that could recover.
NOTES = frozenset({Code.SLO_DIGEST, Code.ALERT_SILENCED})
_ORDER = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)
_REMEMBERED = 40
#: How a problem that is over is told for the last time.
Ending = Callable[[Problem], Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often and where to. joined_within: an incident that is older is not taken for an effect of what is found now.

    fresh: a cause that was not seen for longer explains nothing new. lease: after it a delivery that was taken up by a
    process that died is taken up by another one. routes: channels by severity, None for all; where nothing but the log
    would be left, all. quiet: what these channels cannot edit, they are not sent again.
    """

    escalate_after: timedelta = timedelta(hours=1)
    update_every: timedelta = timedelta(minutes=30)
    reopen_within: timedelta = timedelta(minutes=15)
    joined_within: timedelta = timedelta(minutes=30)
    fresh: timedelta = timedelta(minutes=30)
    messages_per_hour: int = 20
    retry_first: timedelta = timedelta(minutes=1)
    retry_most: timedelta = timedelta(hours=1)
    give_up_after: timedelta = timedelta(hours=24)
    lease: timedelta = timedelta(minutes=2)
    keep: timedelta = timedelta(days=90)
    routes: tuple[tuple[Severity, frozenset[str] | None], ...] = (
        (Severity.INFO, frozenset({"log", "slack"})),
        (Severity.WARNING, frozenset({"log", "slack", "webhook"})),
        (Severity.CRITICAL, None),
    )
    quiet: frozenset[str] = frozenset({"email", "sentry"})

    def retry_after(self, attempts: int) -> timedelta:
        """The pause after so many failed attempts."""
        doubled: timedelta = self.retry_first * 2 ** min(attempts - 1, 20)
        return min(doubled, self.retry_most)


@dataclass(frozen=True, slots=True)
class Case:
    """An incident, and what was done about it. changes: how many were told. told_digest: of the words that were told last.

    reopened: how often it came back. calm_since: of one that came back, since when all is well. absorbed: (key, event) of
    what it explains. acknowledged_by: a person's name; stays here.
    """

    incident: Incident
    changes: int = 0
    told_digest: str = ""
    reopened: int = 0
    calm_since: datetime | None = None
    absorbed: tuple[tuple[str, str], ...] = ()
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None

    @property
    def open(self) -> bool:
        return self.incident.recovered_at is None

    @property
    def problem(self) -> Problem:
        return self.incident.problem


@dataclass(frozen=True, slots=True)
class Decision:
    """What a case becomes, and what there is to tell of it; None: nothing."""

    case: Case
    change: Change | None


def decide(
    problems: Iterable[Problem],
    cases: Sequence[Case],
    policy: Policy,
    now: datetime,
    *,
    settle: bool,
    unknown: Collection[Code] = (),
    muted: Collection[str] = (),
    off: Collection[str] = (),
    apart: bool = False,
    ending: Ending = lambda problem: problem,
) -> list[Decision]:
    """What to write and tell; cases that stay as they are do not come back.

    Args:
        problems: what is wrong. With `settle` that is all of it, and open incidents that are not among them recover.
        cases: the open ones, and those that recovered within a day.
        unknown: codes about which nobody can say anything; they do not recover.
        muted: keys of which people do not want to hear now; what is open of them stays as it is.
        off: keys of which they never want to hear; what is open of them is closed, and nobody is told.
        apart: other machines may find the same and cannot be seen: new incidents get a name that these would give, too.
        ending: what a problem becomes when it is over.
    """
    turn = _Turn(list(cases), policy, now, settle=settle, apart=apart, ending=ending)
    wrong = _distinct(problems)
    roots = [p for p in wrong if not explained_by(p, wrong)]
    for problem in roots:
        turn.see(problem)
    for problem in wrong:
        if problem not in roots:
            turn.absorb(problem, explained_by(problem, roots) or roots[0])
    if settle:
        turn.silence(off)
        turn.clear({p.key for p in wrong}.union(muted), unknown)
    return turn.decisions()


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    """One of each key, the worst."""
    worst: dict[str, Problem] = {}
    for problem in problems:
        known = worst.get(problem.key)
        if known is None or _ORDER.index(problem.severity) > _ORDER.index(known.severity):
            worst[problem.key] = problem
    return list(worst.values())


class _Turn:
    """One evaluation. Holds the cases as they become, and the one change of each."""

    def __init__(
        self, cases: list[Case], policy: Policy, now: datetime, *, settle: bool, apart: bool, ending: Ending
    ) -> None:
        self._before = {case.incident.id: case for case in cases}
        self._cases = dict(self._before)
        self._changes: dict[str, Change] = {}
        self._policy, self._now, self._settle, self._apart, self._ending = policy, now, settle, apart, ending

    def decisions(self) -> list[Decision]:
        changed = (case for id_, case in self._cases.items() if case != self._before.get(id_))
        return [Decision(case, self._changes.get(case.incident.id)) for case in changed]

    def see(self, problem: Problem) -> None:
        """A problem that no other one of this turn explains."""
        own = self._open(problem.key)
        if problem.code in NOTES:
            self._note(problem)
        elif own is None and self._told_before(problem):
            pass  # a hook that ran twice, or late
        elif cause := self._standing_cause(problem, own):
            self._join(cause, problem)
        elif own:
            self._go_on(own, problem)
        elif case := self._just_recovered(problem.key):
            self._come_back(case, problem)
        elif case := self._effect_of(problem):
            self._name_the_cause(case, problem)
        else:
            self._begin(problem)

    def absorb(self, problem: Problem, root: Problem) -> None:
        """A problem that another one of this turn explains: it is kept in mind, and nobody is told."""
        if case := self._open(root.key):
            self._join(case, problem)

    def silence(self, off: Collection[str]) -> None:
        for case in [c for c in self._cases.values() if c.open and c.incident.key in off]:
            self._keep(replace(case, incident=replace(case.incident, recovered_at=self._now)))

    def clear(self, wrong: Collection[str], unknown: Collection[Code]) -> None:
        """What is open and no longer wrong has recovered; what nobody can say stays as it is, and escalates."""
        for case in [c for c in self._cases.values() if c.open and c.incident.key not in wrong]:
            if case.problem.code in unknown:
                self._escalate_if_due(case)
            else:
                self._recover(case)

    # ---------------------------------------------------------------------------------------------- what becomes of it

    def _note(self, problem: Problem) -> None:
        if any(c.incident.key == problem.key and c.problem.event == problem.event for c in self._cases.values()):
            return
        self._tell(Case(replace(self._new(problem), recovered_at=self._now)), Change.OPENED)

    def _begin(self, problem: Problem) -> None:
        self._tell(Case(self._new(problem)), Change.OPENED)

    def _go_on(self, case: Case, problem: Problem) -> None:
        before = case.problem
        again = bool(problem.event) and problem.event == before.event
        if again and not self._settle:
            return  # a hook that ran twice
        worse = _ORDER.index(problem.severity) > _ORDER.index(before.severity)
        case = self._seen(case, problem, 0 if again else 1)
        if self._escalate_if_due(case):
            return
        self._tell(case, Change.UPDATED) if worse or self._is_news(case) else self._keep(case)

    def _come_back(self, case: Case, problem: Problem) -> None:
        """Told as it was at first: whoever cannot edit a message would have heard last that all is well."""
        again = replace(case, incident=replace(case.incident, recovered_at=None), reopened=case.reopened + 1)
        self._tell(self._seen(again, problem, 1), Change.OPENED)

    def _name_the_cause(self, case: Case, problem: Problem) -> None:
        """The thread that told of an effect tells of the cause from now on."""
        effect = case.problem
        case = replace(case, incident=replace(case.incident, key=problem.key))
        self._tell(_remember(self._seen(case, problem, 1), effect), Change.UPDATED)

    def _join(self, cause: Case, effect: Problem) -> None:
        """It belongs to that one's thread. An incident of its own, opened before the cause was known, waits in silence."""
        self._keep(_remember(cause, effect))
        if own := self._open(effect.key):
            self._keep(replace(own, incident=replace(own.incident, seen_at=self._now), calm_since=None))

    def _recover(self, case: Case) -> None:
        """At once; of one that came back only when it has been well for a while, so that nobody gets a note each time."""
        since = case.calm_since or self._now
        case = replace(case, calm_since=since)
        if case.reopened and self._now - since < self._policy.reopen_within:
            self._keep(case)
            return
        over = replace(case.incident, recovered_at=since, problem=self._ending(case.problem))
        self._tell(replace(case, incident=over), Change.RECOVERED)

    def _escalate_if_due(self, case: Case) -> bool:
        incident = case.incident
        due = (
            incident.problem.severity is Severity.CRITICAL
            and incident.escalated_at is None
            and case.acknowledged_at is None
            and self._now - incident.opened_at >= self._policy.escalate_after
        )
        if due:
            self._tell(replace(case, incident=replace(incident, escalated_at=self._now)), Change.ESCALATED)
        return due

    def _new(self, problem: Problem) -> Incident:
        incident = _incident(problem, self._now)
        return replace(incident, id=f"{self._shared_name(problem)}.{incident.id}") if self._apart else incident

    def _shared_name(self, problem: Problem) -> str:
        """By what it is and the hour in which it began, or the event of a note; and how often that happened before."""
        when = problem.event if problem.code in NOTES else f"{self._now.astimezone(UTC):%Y-%m-%dT%H}"
        taken = {name_for_others(case.incident) for case in self._cases.values()}
        names = (_digits(f"{problem.key}|{when}|{n}") for n in count())
        return next(name for name in names if name not in taken)

    # ---------------------------------------------------------------------------------------------------- what it rests on

    def _open(self, key: str) -> Case | None:
        """The oldest: there are two where two machines could not see each other."""
        found = [c for c in self._cases.values() if c.open and c.incident.key == key]
        return min(found, key=lambda c: c.incident.opened_at, default=None)

    def _told_before(self, problem: Problem) -> bool:
        told = ((c.incident.key, c.problem.event) for c in self._cases.values() if not c.open)
        return bool(problem.event) and (problem.key, problem.event) in told

    def _standing_cause(self, problem: Problem, own: Case | None) -> Case | None:
        """An incident that explains it: open and seen lately, or recovered so lately that its effects still show."""
        causes = (c for c in self._cases.values() if explains(c.problem, problem))
        return next((c for c in causes if self._covers(c, problem, told=own is not None)), None)

    def _covers(self, case: Case, problem: Problem, *, told: bool) -> bool:
        """told: people know of the problem itself; then only a cause that is still there, or was just now, silences it."""
        if case.incident.recovered_at is None:
            return self._now - case.incident.seen_at < self._policy.fresh
        known = not told and bool(problem.event) and (problem.key, problem.event) in case.absorbed
        return known or self._now - case.incident.recovered_at < self._policy.reopen_within

    def _just_recovered(self, key: str) -> Case | None:
        ended = ((c, c.incident.recovered_at) for c in self._cases.values() if c.incident.key == key)
        return next((c for c, at in ended if at and self._now - at < self._policy.reopen_within), None)

    def _effect_of(self, problem: Problem) -> Case | None:
        """The oldest open incident that this problem explains, if it is young enough to have come from it."""
        young = (
            c for c in self._cases.values() if c.open and self._now - c.incident.opened_at <= self._policy.joined_within
        )
        return min((c for c in young if explains(problem, c.problem)), key=lambda c: c.incident.opened_at, default=None)

    def _is_news(self, case: Case) -> bool:
        """Other words after a while; the same words after as long as it had been open when they were told: ever rarer."""
        if case.problem.code in QUESTIONS:
            return False
        told = case.incident.told_at or case.incident.opened_at
        pause = self._policy.update_every
        if digest(case.problem) == case.told_digest:
            pause = max(pause, told - case.incident.opened_at)
        return self._now - told >= pause

    # ------------------------------------------------------------------------------------------------------------- writing

    def _seen(self, case: Case, problem: Problem, more: int) -> Case:
        """With the problem as it is now: as severe as it ever was, since it first began."""
        before = case.problem
        problem = replace(
            problem,
            severity=max(before.severity, problem.severity, key=_ORDER.index),
            since=min(before.since, problem.since),
            last_good=problem.last_good or before.last_good,
        )
        count = case.incident.count + more
        return replace(
            case, incident=replace(case.incident, problem=problem, seen_at=self._now, count=count), calm_since=None
        )

    def _keep(self, case: Case) -> None:
        self._cases[case.incident.id] = case

    def _tell(self, case: Case, change: Change) -> None:
        incident = replace(case.incident, told_at=self._now)
        self._keep(replace(case, incident=incident, changes=case.changes + 1, told_digest=digest(case.problem)))
        self._changes[incident.id] = change


def _incident(problem: Problem, now: datetime) -> Incident:
    name = _digits(f"{problem.key}|{problem.event}|{now.isoformat()}")
    return Incident(name, problem.key, problem, opened_at=now, seen_at=now)


def _digits(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()


def name_for_others(incident: Incident) -> str:
    """What receivers know it by. Of two incidents that two machines opened apart it is the same, and their ids are not:

    each has messages of its own to edit, and whoever drops repetitions gets the news once.
    """
    return incident.id.partition(".")[0]


def _remember(case: Case, effect: Problem) -> Case:
    known = [pair for pair in case.absorbed if pair != (effect.key, effect.event)]
    return replace(case, absorbed=(*known, (effect.key, effect.event))[-_REMEMBERED:])


def digest(problem: Problem) -> str:
    """Equal for words that differ in numbers only: another count every five minutes is no news. What is lost is."""
    words = "|".join((problem.code, problem.what, problem.stale, problem.works, problem.fix))
    text = re.sub(r"\d+", "#", words) + problem.lost + problem.severity
    return hashlib.blake2s(text.encode(), digest_size=8).hexdigest()


# --------------------------------------------------------------------------------------------------- how many in an hour


def within_limit(waiting: Sequence[Change], sent: int, policy: Policy) -> list[bool]:
    """For each of these messages to one channel whether it may go out of its own. Edits of a message always may.

    sent: new messages to that channel within the last hour.
    """
    allowed: list[bool] = []
    for change in waiting:
        free = change in (Change.UPDATED, Change.TEST)
        allowed.append(free or sent < policy.messages_per_hour)
        sent += allowed[-1] and not free
    return allowed


def summary(of: Sequence[tuple[Incident, Change]], channel: str, now: datetime) -> Incident:
    """One message for many: how many there are, the worst of them in its own words, and where all of them are listed."""
    worst = max((incident for incident, _ in of), key=lambda i: _ORDER.index(i.problem.severity))
    counts = ", ".join(f"{n} {change}" for change, n in _tally(change.value for _, change in of).items())
    problem = replace(
        worst.problem,
        subject="summary",
        what=f"{len(of)} more messages within an hour ({counts}). The worst: {worst.problem.what}"[:290],
        fix="python -m alerts list",
        event=f"{channel} {now.isoformat()}",
        asks=None,
    )
    return replace(_incident(problem, now), key=f"SUMMARY:{channel}", recovered_at=now)


def _tally(words: Iterable[str]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts
