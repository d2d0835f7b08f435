"""Requests for runs in memory, with the semantics of the real ones; and an operating place that is all fakes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pipelines.errors import OrganismError
from pipelines.jobs.operating import Line, Operating
from pipelines.requests.request import Request
from pipelines.runs import ENDED, PrefectRun, Run
from tests.support.fakes_ledger import FakeLedger
from tests.support.fakes_orchestrator import FakeOrchestrator

_DAY, _UNFINISHED, _LAUNCHING = timedelta(hours=24), timedelta(minutes=5), timedelta(seconds=30)


class FakeRequests:
    """`jobs.operating.Requests`. fails: raised by what writes or asks while it is set."""

    def __init__(self, ledger: FakeLedger) -> None:
        self.all: dict[str, Request] = {}
        self.launched: dict[str, datetime] = {}
        self.taken: set[str] = set()
        self.fails: OrganismError | None = None
        self._ledger = ledger
        self._lock = threading.RLock()

    def claim(self, wanted: Request) -> Request:
        with self._lock:
            self._called()
            if wanted.key and (held := self.known(wanted.asked_by, wanted.key, wanted.asked_at)):
                return held
            if wanted.retry_of and (other := self.open_retry(wanted.retry_of, wanted.asked_at)):
                return other
            for old in [r for r in self.all.values() if r.key and (r.asked_by, r.key) == (wanted.asked_by, wanted.key)]:
                self.all[old.id] = replace(old, key=None)
            self.all[wanted.id] = wanted
            return wanted

    def known(self, asked_by: str, key: str, now: datetime) -> Request | None:
        self._called()
        its = (r for r in list(self.all.values()) if (r.asked_by, r.key) == (asked_by, key))
        return next((r for r in its if r.asked_at >= now - _DAY), None)

    def of(self, run_id: str) -> Request | None:
        return next((r for r in self.all.values() if r.run_id == run_id), None)

    def open_retry(self, run_id: str, now: datetime) -> Request | None:
        its = [r for r in self.all.values() if r.retry_of == run_id]
        return next((r for r in reversed(its) if self._is_open(r, now)), None)

    def note_run(self, id_: str, run_id: str) -> None:
        self._called()
        if self.all[id_].run_id is None:
            self.all[id_] = replace(self.all[id_], run_id=run_id)

    def withdraw(self, id_: str) -> None:
        if id_ in self.all and self.all[id_].run_id is None:
            del self.all[id_]

    def may_launch(self, id_: str, now: datetime) -> bool:
        with self._lock:
            last = self.launched.get(id_)
            if id_ not in self.all or id_ in self.taken or (last and last >= now - _LAUNCHING):
                return False
            self.launched[id_] = now
            return True

    def take_up(self, run_id: str, now: datetime) -> bool:
        with self._lock:
            request = self.of(run_id)
            if request is None or request.id in self.taken:
                return False
            self.taken.add(request.id)
            return True

    def askers(self, id_: str) -> tuple[str, ...]:
        chain = [r for r in self.all.values() if id_ in (r.id, r.run_id)]
        for request in chain:
            chain += [r for r in self.all.values() if r.run_id and r.run_id == request.retry_of and r not in chain]
        return tuple(dict.fromkeys(r.asked_by for r in sorted(chain, key=lambda r: (r.asked_at, r.asked_by))))

    def forget(self, before: datetime) -> int:
        old = [r.id for r in self.all.values() if r.asked_at < before]
        for id_ in old:
            del self.all[id_]
        return len(old)

    def _is_open(self, request: Request, now: datetime) -> bool:
        run = self._ledger.runs.get(request.run_id or "")
        return run.status not in ENDED if run else request.asked_at > now - _UNFINISHED

    def _called(self) -> None:
        if self.fails is not None:
            raise self.fails


def _one_at_a_time(start: Callable[..., PrefectRun]) -> Callable[..., PrefectRun]:
    lock = threading.Lock()

    def one(*given: Any) -> PrefectRun:
        with lock:
            return start(*given)

    return one


@dataclass
class Place:
    """Where runs are operated. launched, ended: run ids in order; lines: what processes wrote."""

    prefect: bool = False
    ledger: FakeLedger = field(default_factory=FakeLedger)
    api: FakeOrchestrator = field(default_factory=FakeOrchestrator)
    launched: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    lines: dict[str, list[Line]] = field(default_factory=dict)
    launch: Callable[[Run], None] | None = None

    def __post_init__(self) -> None:
        self.requests = FakeRequests(self.ledger)
        self.api.start = _one_at_a_time(self.api.start)  # type: ignore[method-assign]  # as the server's index makes it

    @property
    def op(self) -> Operating:
        launch = self.launch or (lambda run: self.launched.append(run.run_id))
        return Operating(
            self.ledger,
            self.api if self.prefect else None,
            self.requests,
            launch,
            lambda run_id, limit: self.lines.get(run_id, [])[-limit:],
            self.ended.append,
            most=1_000,
        )
