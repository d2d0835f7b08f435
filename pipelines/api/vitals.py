"""How each service is, asked every few seconds by one request at a time; and what that means for the whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from alerts import rules
from alerts.rules.limits import Limits
from pipelines.api.desk import Desk
from pipelines.errors import OrganismError
from pipelines.jobs import health
from pipelines.jobs.facts import Machine, Sources
from pipelines.jobs.health import Answer, Asked, CheckType, Examined, Health
from pipelines.jobs.resources import disk_share, memory_share
from pipelines.orchestrator import place

T = TypeVar("T")
_FRESH_S = 5.0
_judge = partial(rules.problems, limits=Limits())
#: Without it nothing is let in, started or decided.
_VITAL = "postgres"
_STORES = frozenset({"postgres", "redis", "graph"})


class Vitals:
    """The newest look. Who comes while somebody looks and has waited long enough gets the one before."""

    def __init__(self, look: Callable[[], Examined], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock, self._lock = look, clock, threading.Lock()
        self._last: Examined | None = None
        self._until = float("-inf")

    def now(self) -> Examined:
        """Not older than some seconds."""
        with self._lock:
            if self._last is None or self._clock() >= self._until:
                self._last = self._look()
                self._until = self._clock() + _FRESH_S
            return self._last

    def lately(self) -> Examined:
        """As `now`, but the one before while somebody else looks: a store that hangs must not hold up a list."""
        last = self._last
        return last if last is not None and self._lock.locked() else self.now()


async def vitals(request: Request) -> Vitals:
    """Those of the app; a dependency."""
    found: Vitals = request.app.state.vitals
    return found


Of = Annotated[Vitals, Depends(vitals)]


def look(desk: Desk) -> Examined:
    """Ask each service now, those that are slow to say no included."""
    where = desk.state
    machine = Machine(memory_share, lambda: disk_share(where), "the state directory")
    wanted = Asked(CheckType.QUICK, health.SERVICES)
    return health.check_health(wanted, _sources(desk), machine, _judge, desk.clock())


def _sources(desk: Desk) -> Sources:
    away: dict[str, str] = {}

    def opened(name: str, how: Callable[[], T]) -> T | None:
        try:
            return how()
        except OrganismError as error:
            away[name] = str(error)
            return None

    def redis() -> object:
        desk.redis().ping()
        return desk.redis()

    on_redis = desk.redis() if opened("redis", redis) else None
    ledger, graph = opened("postgres", lambda: desk.ledger), opened("graph", desk.graph)
    desk.prefect()
    return Sources(
        ledger=ledger,
        stream=on_redis.stream if on_redis else None,
        letters=on_redis.letters if on_redis else None,
        graph=graph,
        orchestrator=desk.prefect.named,
        away=away,
        pool=place.pool(),
    )


def overall(found: Examined) -> str:
    """healthy; degraded: it does its work in part; down: nothing can be asked for or decided."""
    down = {its.service for its in found.answers if its.health is Health.DOWN}
    if _VITAL in down or down >= _STORES:
        return "down"
    return "degraded" if down or any(its.health is Health.DEGRADED for its in found.answers) else "healthy"


def of(found: Examined, service: str) -> Answer:
    return next(its for its in found.answers if its.service == service)
