"""How each service is, asked every few seconds by one thread at a time; and what that means for the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from alerts import rules
from alerts.rules.limits import Limits
from pipelines import newest
from pipelines.api.desk import Desk
from pipelines.errors import OrganismError
from pipelines.jobs import health
from pipelines.jobs.facts import Machine, Sources
from pipelines.jobs.health import Answer, Asked, CheckType, Examined, Health
from pipelines.jobs.resources import disk_share, memory_share
from pipelines.newest import Newest, Seen
from pipelines.orchestrator import place

T = TypeVar("T")
_FRESH_S, _READY_FRESH_S = 5.0, 2.0
#: For each of the two stores, longer than it mostly takes to be given up; who waits for this has threads of their own.
_READY_PATIENCE_S = 3.0
#: Nobody is told that something is well because it was well so long ago.
_STALE_S = 30.0
_UNKNOWN = "not known: it is still being asked"
_judge = partial(rules.problems, limits=Limits())
#: Without it nothing is let in, started or decided.
_VITAL = "postgres"
_STORES = frozenset({"postgres", "redis", "graph"})


class Vitals:
    """The newest look at all services."""

    def __init__(
        self,
        look: Callable[[], Examined],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = newest.PATIENCE_S,
    ) -> None:
        self._newest = Newest(look, _FRESH_S, clock, patience_s)

    def now(self) -> Seen[Examined]:
        """Not older than some seconds, or as it was before while a store keeps whoever looks waiting."""
        return _told(self._newest.seen())

    def lately(self) -> Examined:
        """As `now`, but the one before while somebody looks: a store that hangs must not hold up a list."""
        return _told(self._newest.seen(wait=False)).value


class Ready:
    """Which stores are missing that every request needs. Asks no other, because one that hangs is not its business.

    asks: each raises OrganismError while its store does not answer. One that hangs says nothing about the other.
    """

    def __init__(self, asks: Mapping[str, Callable[[], object]], patience_s: float = _READY_PATIENCE_S) -> None:
        self._newest = {
            name: Newest(partial(_answers, ask), _READY_FRESH_S, patience_s=patience_s) for name, ask in asks.items()
        }

    def missing(self) -> tuple[str, ...]:
        seen = {name: newest.seen() for name, newest in self._newest.items()}
        return tuple(name for name, its in seen.items() if its is None or its.age_s > _STALE_S or not its.value)


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except OrganismError:
        return False
    return True


def _told(found: Seen[Examined] | None) -> Seen[Examined]:
    """What was seen too long ago is not known."""
    if found is not None and found.age_s <= _STALE_S:
        return found
    answers = tuple(Answer(name, Health.DEGRADED, _UNKNOWN) for name in health.SERVICES)
    unknown = Examined(len(answers), up=0, degraded=len(answers), down=0, absent=0, answers=answers)
    return Seen(unknown, found.age_s if found else 0.0)


async def vitals(request: Request) -> Vitals:
    """Those of the app; a dependency."""
    found: Vitals = request.app.state.vitals
    return found


async def readiness(request: Request) -> Ready:
    """That of the app; a dependency."""
    found: Ready = request.app.state.ready
    return found


Of = Annotated[Vitals, Depends(vitals)]
IsReady = Annotated[Ready, Depends(readiness)]


def look(desk: Desk) -> Examined:
    """Ask each service now, those that are slow to say no included."""
    where = desk.state
    machine = Machine(memory_share, lambda: disk_share(where), "the state directory")
    wanted = Asked(CheckType.QUICK, health.SERVICES)
    return health.check_health(wanted, _sources(desk), machine, _judge, desk.clock())


def needed(desk: Desk) -> dict[str, Callable[[], object]]:
    """What asks each store without which no request is answered as it should be."""
    return {"postgres": lambda: desk.ledger.clock(desk.clock()), "redis": lambda: desk.redis().ping()}


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
