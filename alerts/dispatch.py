"""Keeps incidents and sends what there is to tell: writes first, sends then, and marks what arrived.

It never breaks the run that calls it: a store that is away is replaced by a file, and what cannot even be written there is
logged. A process that dies between sending and marking lets one message be sent twice, not more often; where the channel can
edit (Slack with a bot), the second one changes nothing. Two machines that both cannot reach the store tell of the same
matter each: under one name, by which a webhook's receiver, Sentry and mail servers know the second; in Slack there are two.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from alerts import flow_rules
from alerts import policy as policies
from alerts.channels import Channel
from alerts.fallback import Fallback
from alerts.flow_rules import FlowRule
from alerts.model import Change, Code, Failed, Message, Problem, Severity
from alerts.policy import Case, Decision, Ending, Policy
from alerts.scrub import clean, clean_problem
from alerts.store import AlertStore, sqlite
from alerts.tables import Delivery

T = TypeVar("T")
_log = logging.getLogger(__name__)
_HOUR = timedelta(hours=1)
#: So few that their sending ends within the lease also where each takes the channel's whole time-out.
_BATCH = 8
_WORST_FIRST = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
#: What a database that is away, locked or full may raise, a file included.
_STORE_ERRORS = (SQLAlchemyError, OSError)


class Dispatcher:
    """See the module. fallback: the file to use while the store is away; None: there is none, problems are then only logged.

    A store of None means that the server did not answer: the file is used from the start. rules: what operators set for the
    alerts of flows; they hold for everything that is told here.
    """

    def __init__(
        self,
        store: AlertStore | None,
        channels: Sequence[Channel],
        policy: Policy | None = None,
        fallback: Fallback | None = None,
        rules: Sequence[FlowRule] = (),
    ) -> None:
        self.rules = tuple(rules)
        self._server, self._file = store, None if fallback or store else sqlite(None)
        self._channels = {channel.name: channel for channel in channels}
        self._policy = policy or Policy()
        self._fallback = fallback
        self._me = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._given_back = False
        self._now: datetime | None = None

    def tell(self, problems: Iterable[Problem], now: datetime) -> list[Decision]:
        """Something is wrong; nothing recovers by this. Said twice of the same event, it changes nothing.

        What was decided; nothing where it could not be kept, which is logged.
        """
        return self._decide(problems, now, settle=False)

    def settle(
        self,
        problems: Iterable[Problem],
        now: datetime,
        *,
        unknown: Collection[Code] = (),
        ending: Ending = lambda problem: problem,
    ) -> list[Decision]:
        """This is all that is wrong: open incidents that are not among it have recovered, if their code is not unknown.

        ending: how a problem that has is told for the last time.
        """
        decided = self._decide(problems, now, settle=True, unknown=unknown, ending=ending)
        self._kept(lambda store: store.forget(now - self._policy.keep), now)
        return decided

    def deliver(self, now: datetime) -> int:
        """Try everything that is due; how many messages arrived. What did not is due again after a pause."""
        return self._kept(lambda store: _Round(store, self._channels, self._policy, self._me, now).run(), now) or 0

    def close(self) -> None:
        """Leave a copy of what is open for the time when the server is away, and let go of everything."""
        if self._server and self._fallback and self._file is None:
            try:
                self._fallback.copy_open(self._server, self._now)
            except _STORE_ERRORS as error:
                _log.warning("open incidents were not copied into the state directory: %s", kind(error))
        for store in filter(None, (self._server, self._file)):
            store.close()
        for channel in self._channels.values():
            with suppress(Exception):  # a connection that does not close keeps nobody waiting
                channel.close()

    def _decide(
        self,
        problems: Iterable[Problem],
        now: datetime,
        *,
        settle: bool,
        unknown: Collection[Code] = (),
        ending: Ending = lambda problem: problem,
    ) -> list[Decision]:
        ruled = flow_rules.apply([clean_problem(problem) for problem in problems], self.rules, now)
        names = list(self._channels)

        def turn(store: AlertStore) -> list[Decision]:
            def decide(cases: Sequence[Case]) -> list[Decision]:
                apart = store is not self._server  # whoever keeps it in a file sees no other machine
                return policies.decide(
                    ruled.told,
                    cases,
                    self._policy,
                    now,
                    settle=settle,
                    unknown=unknown,
                    muted=ruled.muted,
                    off=ruled.off,
                    apart=apart,
                    ending=lambda problem: clean_problem(ending(problem)),
                )

            return store.turn(decide, names, self._policy, now)

        decided = self._kept(turn, now)
        if decided is None:
            for problem in ruled.told:
                _log.error("not kept, so told here only: %s %s", problem.key, problem.what)
        return decided or []

    # ---------------------------------------------------------------------------------------------- on whichever store works

    def _kept(self, act: Callable[[AlertStore], T], now: datetime) -> T | None:
        """The act on the server, or else on the file; None: on neither, which is logged."""
        self._now = now
        if self._server and self._file is None:
            try:
                self._give_back(self._server, now)
                return act(self._server)
            except _STORE_ERRORS as error:
                _log.warning("alerts are kept in the state directory: PostgreSQL says %s", kind(error))
        try:
            return act(self._in_file(now))
        except _STORE_ERRORS as error:
            _log.error("alerts can be kept nowhere: %s", kind(error))
            return None

    def _in_file(self, now: datetime) -> AlertStore:
        """From now on, too: one run does not change back and forth."""
        if self._file is None:
            self._file = self._opened(now)
        return self._file

    def _opened(self, now: datetime) -> AlertStore:
        try:
            return self._fallback.open_for(now) if self._fallback else sqlite(None)
        except _STORE_ERRORS as error:
            _log.error("the state directory cannot keep alerts (%s): they are sent once, and forgotten", kind(error))
            return sqlite(None)

    def _give_back(self, server: AlertStore, now: datetime) -> None:
        if self._fallback is None or self._given_back:
            return
        self._given_back = True
        try:
            if moved := self._fallback.give_back(server, now):
                _log.info("%d messages from the time without PostgreSQL were taken over", moved)
        except _STORE_ERRORS as error:
            _log.warning("what was kept in the state directory was not taken over: %s", kind(error))


def kind(error: BaseException) -> str:
    """What went wrong, without the words of the driver: they may hold values, names and parts of a URL."""
    origin = getattr(error, "orig", None) or error
    state = getattr(origin, "sqlstate", None)
    return type(origin).__name__ + (f" (SQLSTATE {state})" if state else "")


class _Round:
    """One call of `deliver`. A channel that fails once is left alone for the rest of it: each try may cost a time-out."""

    def __init__(self, store: AlertStore, channels: dict[str, Channel], policy: Policy, me: str, now: datetime) -> None:
        self._store, self._channels, self._policy, self._me, self._now = store, channels, policy, me, now
        self._away: set[str] = set()
        self._held: dict[str, list[Delivery]] = {}
        self._arrived = 0

    def run(self) -> int:
        for dead in self._store.give_up(self._now):
            _log.error("%s was never told of %s (%s): %s", dead.channel, dead.incident.key, dead.change, dead.error)
        self._send_all()
        if self._close_held():
            self._send_all()
            self._close_held()
        return self._arrived

    def _send_all(self) -> None:
        while batch := self._claimed():
            for name in dict.fromkeys(delivery.channel for delivery in batch):
                self._send_some(name, [d for d in batch if d.channel == name])

    def _claimed(self) -> list[Delivery]:
        names = [name for name in self._channels if name not in self._away]
        return self._store.claim(names, self._now, self._now + self._policy.lease, self._me, _BATCH) if names else []

    def _send_some(self, name: str, batch: list[Delivery]) -> None:
        batch.sort(key=lambda d: (not d.summary, _WORST_FIRST.index(d.incident.problem.severity), d.created_at))
        sent = self._store.sent_since(name, self._now - _HOUR)
        changes = [Change.UPDATED if d.summary else d.change for d in batch]
        allowed = policies.within_limit(changes, sent, self._policy)
        self._held.setdefault(name, []).extend(d for d, may in zip(batch, allowed, strict=True) if not may)
        mine = [d for d, may in zip(batch, allowed, strict=True) if may]
        for place, delivery in enumerate(mine, 1):
            if not self._send(self._channels[name], delivery):
                self._store.postpone(mine[place:], self._now + self._policy.retry_first)
                return

    def _send(self, channel: Channel, delivery: Delivery) -> bool:
        """False: the channel is away, and this is tried again."""
        if not self._store.begin(delivery, self._me, self._now + self._policy.lease):
            return True  # it took too long, and another one has it
        try:
            incident = replace(delivery.incident, id=policies.name_for_others(delivery.incident))
            thread = channel.send(Message(incident, delivery.change, delivery.thread), self._now)
        except Failed as failed:
            return self._failed(delivery, clean(failed.words), failed.permanent, failed.retry_after)
        except Exception as error:  # noqa: BLE001  # whatever a channel does, the run that alerts goes on
            return self._failed(delivery, f"a defect of the channel: {type(error).__name__}")
        self._store.sent(delivery, thread, self._now)
        self._arrived += 1
        return True

    def _failed(self, delivery: Delivery, words: str, permanent: bool = False, asked: timedelta = timedelta(0)) -> bool:
        pause = max(self._policy.retry_after(delivery.attempts + 1), asked)
        self._store.failed(delivery, words, None if permanent else self._now + pause)
        then = "nobody tries again; python -m alerts list" if permanent else f"tried again in {pause}"
        _log.warning("%s could not tell of %s: %s; %s", delivery.channel, delivery.incident.key, words, then)
        if not permanent:
            self._away.add(delivery.channel)
        return permanent

    def _close_held(self) -> bool:
        """What is over the limit goes into one summary, or waits for the next hour's. Whether one was made."""
        made = False
        for name, held in filter(lambda item: item[1], self._held.items()):
            last = self._store.summarised_at(name)
            if last is not None and self._now - last < _HOUR:
                self._store.postpone(held, last + _HOUR)
                continue
            told = policies.summary([(d.incident, d.change) for d in held], name, self._now)
            self._store.summarise(told, Change.OPENED, held, name, self._policy, self._now)
            made = True
        self._held = {}
        return made
