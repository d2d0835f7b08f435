"""The services that everything stands on, asked now: does each answer (quick), and does it also do its work (full).

Tells nobody: that is the watch's task. A service that is down is what was found, and no failure of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from alerts.model import Code, Facts, Problem, StoreFact
from alerts.rules.causes import ALL_WORKERS
from pipelines.errors import InvalidInput, OrganismError
from pipelines.jobs import prefect_view
from pipelines.jobs.facts import Machine, Sources, gather
from pipelines.jobs.prefect_view import View
from pipelines.ports import Orchestrator

SERVICES = (
    "redis",
    "graph",
    "postgres",
    "prefect_server",
    "work_pool",
    "workers",
    "disk",
    "memory",
    "stream",
)
_PREFECT = frozenset({"prefect_server", "work_pool", "workers"})
_STORES = frozenset({"redis", "graph", "postgres"})
Judge = Callable[[Facts], Sequence[Problem]]


class CheckType(StrEnum):
    """QUICK: does it answer, with one question each. FULL: and what the alert rules say of it, by the runs of a day."""

    QUICK = "quick"
    FULL = "full"


class Health(StrEnum):
    """DEGRADED: it can still do its work in part. ABSENT: there is none here, as a Prefect server where none is used."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    ABSENT = "absent"


#: What a service is in numbers; one that is absent has none, because a zero would be a statement.
_WORTH = {Health.UP: 1.0, Health.DEGRADED: 0.5, Health.DOWN: 0.0}
#: What a rule's problem says of which service. What is not here is about runs, and not about what they stand on.
_ABOUT: Mapping[Code, tuple[str, Health]] = {
    Code.PREFECT_DOWN: ("prefect_server", Health.DOWN),
    Code.SLOT_LEAKED: ("prefect_server", Health.DEGRADED),
    Code.QUEUE_LONG: ("work_pool", Health.DEGRADED),
    Code.STALE_GRAPH: ("stream", Health.DEGRADED),
    Code.ENTRIES_LOST: ("stream", Health.DEGRADED),
    Code.STREAM_RESET: ("stream", Health.DEGRADED),
    Code.DEAD_LETTERS: ("stream", Health.DEGRADED),
    Code.DRIFT: ("graph", Health.DEGRADED),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for. services: in the order of `SERVICES`, without doubles."""

    check_type: CheckType
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One service as it is now. words: what was seen; never a secret or a person."""

    service: str
    health: Health
    words: str


@dataclass(frozen=True, slots=True)
class Examined:
    """How many services were asked, and how many are how; the answers in the order of `SERVICES`."""

    services: int
    up: int
    degraded: int
    down: int
    absent: int
    answers: tuple[Answer, ...] = ()


def asked(parameters: Mapping[str, Any]) -> Asked:
    """What people give, as what is asked; none named: all.

    Raises:
        InvalidInput: a check or a service that nobody knows, with those that are known.
    """
    kind, named = parameters.get("check_type") or CheckType.QUICK, parameters.get("services") or ()
    if kind not in list(CheckType):
        raise InvalidInput(f"check_type is none that is known; expected {' or '.join(CheckType)}")
    if isinstance(named, str) or not isinstance(named, Collection) or not set(map(str, named)) <= set(SERVICES):
        raise InvalidInput(f"services names one that nobody knows; expected a list of {', '.join(SERVICES)}")
    return Asked(CheckType(kind), tuple(name for name in SERVICES if name in named or not named))


def check_health(wanted: Asked, sources: Sources, machine: Machine, judge: Judge, now: datetime) -> Examined:
    """Ask each service now. Never raises for one that is away: that is the answer. now: by this machine's clock.

    Args:
        judge: the alert rules: what is wrong in these facts.
    """
    sources = _only(sources, wanted)
    view = _look(sources, wanted, now)
    facts = _facts(wanted, sources, machine, view, now)
    said = list(_said(judge(facts)))
    answers = tuple(_answer(name, sources, facts, view, said) for name in wanted.services)
    counts = {health.value: sum(a.health is health for a in answers) for health in Health}
    return Examined(services=len(answers), **counts, answers=answers)


def numbers(found: Examined) -> dict[str, float]:
    """What the ledger keeps: the counts, and one number per service: 1 up, 0.5 degraded, 0 down; absent ones have none."""
    counts = {name: getattr(found, name) for name in ("services", "up", "degraded", "down", "absent")}
    return counts | {a.service: _WORTH[a.health] for a in found.answers if a.health in _WORTH}


def words(found: Examined) -> list[str]:
    """One sentence for each service that is not up; empty when all are."""
    return [f"{a.service} is {a.health}: {a.words}" for a in found.answers if a.health is not Health.UP]


# ------------------------------------------------------------------------------------------------ asking


def _only(sources: Sources, wanted: Asked) -> Sources:
    """Without what nobody asked for: each question may cost a time-out."""
    names = set(wanted.services)
    return replace(
        sources,
        stream=sources.stream if names & {"redis", "stream"} else None,
        letters=sources.letters if names & {"redis", "stream"} else None,
        graph=sources.graph if names & {"graph", "stream"} else None,
        ledger=sources.ledger if "postgres" in names or wanted.check_type is CheckType.FULL else None,
        orchestrator=sources.orchestrator if names & _PREFECT else None,
    )


def _look(sources: Sources, wanted: Asked, now: datetime) -> View | None:
    api = sources.orchestrator
    if api is None:
        return None
    return (
        prefect_view.look(api, sources.pool, now) if wanted.check_type is CheckType.FULL else _glance(api, sources, now)
    )


def _glance(api: Orchestrator, sources: Sources, now: datetime) -> View:
    """The server, its workers and queues, without the runs."""
    try:
        if said := api.healthy():
            return View(now, said)
        return View(api.clock(), workers=tuple(api.workers(sources.pool)), queues=tuple(api.queues(sources.pool)))
    except OrganismError as error:
        return View(now, str(error))


def _facts(wanted: Asked, sources: Sources, machine: Machine, view: View | None, now: datetime) -> Facts:
    if wanted.check_type is CheckType.FULL:
        return gather(sources, machine, now, view)
    found = gather(replace(sources, ledger=None), machine, now, view)
    return replace(found, stores=(*found.stores, *_postgres(sources, now)))


def _postgres(sources: Sources, now: datetime) -> Iterator[StoreFact]:
    if sources.ledger is not None:
        try:
            sources.ledger.clock(now)
            yield StoreFact("postgres")
        except OrganismError as error:
            yield StoreFact("postgres", str(error))


# ------------------------------------------------------------------------------------------------ what it means


def _said(problems: Sequence[Problem]) -> Iterator[tuple[str, Health, str]]:
    """(service, how it is, why), of each problem that is about a service."""
    for problem in problems:
        if problem.code is Code.RESOURCES:
            yield problem.subject.split()[0], Health.DEGRADED, problem.what
        elif problem.code is Code.NO_WORKER:
            of_all = problem.subject == ALL_WORKERS
            yield ("workers", Health.DOWN, problem.what) if of_all else ("work_pool", Health.DEGRADED, problem.what)
        elif problem.code in _ABOUT:
            yield (*_ABOUT[problem.code], problem.what)


def _answer(
    name: str, sources: Sources, facts: Facts, view: View | None, said: Sequence[tuple[str, Health, str]]
) -> Answer:
    if (found := _standing(name, sources, facts, view)) is not None:
        return Answer(name, *found)
    against = [(health, why) for about, health, why in said if about == name]
    if not against:
        return Answer(name, Health.UP, _seen(name, facts, view))
    worst = Health.DOWN if any(health is Health.DOWN for health, _ in against) else Health.DEGRADED
    return Answer(name, worst, " ".join(why for _, why in against))


def _standing(name: str, sources: Sources, facts: Facts, view: View | None) -> tuple[Health, str] | None:
    """Down or absent by itself; None: it answers, and the rules say the rest."""
    if name in _STORES:
        return _store(name, facts)
    if name in _PREFECT:
        return _prefect(name, sources, view)
    if name == "stream":
        return _stream(facts)
    share = facts.disk_share if name == "disk" else facts.memory_share
    return None if share is not None else (Health.ABSENT, "the system does not say how much of it is used")


def _store(name: str, facts: Facts) -> tuple[Health, str] | None:
    told = {store.name: store.words for store in facts.stores}
    if name not in told:
        return Health.ABSENT, "it is embedded, and nobody has started it"
    its = told[name]
    return None if its is None else (Health.DOWN, its)


def _stream(facts: Facts) -> tuple[Health, str] | None:
    if (its := _store("redis", facts)) is not None:
        return its[0], f"it lies in redis: {its[1]}"
    return None


def _prefect(name: str, sources: Sources, view: View | None) -> tuple[Health, str] | None:
    if view is None:
        return Health.ABSENT, "no Prefect server is named: runs are started by hand or by a timer"
    if view.words:
        return (
            Health.DOWN,
            view.words if name == "prefect_server" else f"the Prefect server cannot be asked: {view.words}",
        )
    if name == "work_pool" and not view.queues:
        return Health.DOWN, f"there is no work pool {sources.pool} with a queue that is not paused"
    return None


def _seen(name: str, facts: Facts, view: View | None) -> str:
    """What a service that is up shows of itself."""
    if name == "stream" and facts.stream:
        return f"{facts.stream.unread:,} entries wait, {facts.stream.pending:,} are being applied"
    if name == "workers" and view:
        return f"{sum(worker.online for worker in view.workers)} online"
    if name == "work_pool" and view:
        return f"{len(view.queues)} queues"
    share = {"disk": facts.disk_share, "memory": facts.memory_share}.get(name)
    return "answers" if share is None else f"{share:.0%} in use"
