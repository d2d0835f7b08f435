"""Settings to what the API works with: every store is opened when it is first needed, and may be away until then and after.

Beside wiring.py because a server lives longer than its stores: a command gives up where the API answers 503 and goes on.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Generic, TypeVar

import psycopg

from alerts import store as alert_store
from alerts.rule_store import RuleStore
from pipelines import launching, wiring, wiring_watch
from pipelines.access import limits
from pipelines.access.limits import RateLimits
from pipelines.access.store import PostgresAccess
from pipelines.errors import OrganismError, TransientError
from pipelines.events import redis_client
from pipelines.events.dead_letters import RedisDeadLetters
from pipelines.events.stream import RedisStream
from pipelines.graph.store import Neo4jGraph
from pipelines.interventions.audit_store import PostgresAuditLog
from pipelines.interventions.store import PostgresProposals
from pipelines.jobs.operating import Operating
from pipelines.ledger.store import PostgresLedger
from pipelines.orchestrator import place as prefect_place
from pipelines.orchestrator.place import Place
from pipelines.orchestrator.store import PrefectApi
from pipelines.postgres import Pool, open_impatient, translated
from pipelines.requests.store import PostgresRequests
from pipelines.settings import Settings
from pipelines.timeseries.step_results import StepResults
from pipelines.wiring import Endpoints

T = TypeVar("T")
#: Connections to PostgreSQL: the embedded one has 40 for everybody, and two cores keep no more than these busy.
CONNECTIONS = 12
#: Who asks is waiting: a store that hangs, or is still being opened for somebody else, is given up after so long.
_ANSWER_S = 2.0
#: What could not be opened is left alone for so long, so that not every request waits for the same time-out.
_PAUSE_S = 1.0


class Door(Generic[T]):
    """Something that is opened when it is first needed, by one thread, and tried again when it could not be."""

    def __init__(
        self, how: Callable[[], AbstractContextManager[T]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._how, self._clock, self._lock, self._stack = how, clock, threading.Lock(), ExitStack()
        self._found: list[T] = []
        self._failed: tuple[float, str] | None = None

    def __call__(self) -> T:
        """
        Raises:
            TransientError, PermanentError: it cannot be opened now.
        """
        if self._found:
            return self._found[0]
        if not self._lock.acquire(timeout=_ANSWER_S):
            raise TransientError("a store is still being opened for an earlier request; try again in a moment")
        try:
            if not self._found:
                self._found.append(self._open())
            return self._found[0]
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._found.clear()
            self._stack.close()

    def _open(self) -> T:
        if self._failed and self._clock() < self._failed[0]:
            raise TransientError(self._failed[1])
        try:
            found = self._stack.enter_context(self._how())
        except OrganismError as error:
            self._failed = self._clock() + _PAUSE_S, str(error)
            raise
        self._failed = None
        return found


@dataclass(frozen=True)
class OnPostgres:
    """What is kept in PostgreSQL, on one pool."""

    pool: Pool
    config: Settings
    url: str

    def __repr__(self) -> str:
        return "OnPostgres(...)"  # the URL carries a password

    @cached_property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self.pool)

    @cached_property
    def access(self) -> PostgresAccess:
        return PostgresAccess(self.pool, timedelta(minutes=self.config.token_minutes))

    @cached_property
    def audit(self) -> PostgresAuditLog:
        return PostgresAuditLog(self.pool, wiring.audit_key(self.config))

    @cached_property
    def proposals(self) -> PostgresProposals:
        return PostgresProposals(self.pool, wiring.audit_key(self.config), wiring.policy_rules(self.config))

    @cached_property
    def requests(self) -> PostgresRequests:
        return PostgresRequests(self.pool)

    @cached_property
    def results(self) -> StepResults:
        return StepResults(self.pool)

    @cached_property
    def rules(self) -> RuleStore:
        """By SQLAlchemy, as alerts are kept: with connections of its own."""
        return RuleStore(alert_store.postgres(self.url))

    def close(self) -> None:
        if "rules" in vars(self):
            self.rules.close()


@contextmanager
def on_postgres(config: Settings, where: Endpoints) -> Iterator[OnPostgres]:
    """With the schema up to date.

    Raises:
        TransientError, PermanentError: PostgreSQL cannot be reached or does not let us in.
    """
    with translated(where.postgres), psycopg.connect(where.postgres, connect_timeout=int(_ANSWER_S)):
        pass  # a server that hangs is known by this before the migrations wait for it
    wiring.bring_up_to_date(where.postgres)
    with (
        open_impatient(where.postgres, CONNECTIONS) as pool,
        closing(OnPostgres(pool, config, where.postgres)) as opened,
    ):
        yield opened


class OnRedis:
    """The stream, its lanes of letters, and whether Redis answers at all."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client, self._quick = redis_client.open_redis(url, _ANSWER_S), limits.open_redis(url)
        self.letters = RedisDeadLetters(self._client, url, wiring.NAMES)
        self.stream = RedisStream(self._client, url, wiring.NAMES)

    def ping(self) -> None:
        """Raises TransientError, PermanentError: it does not answer within half a second, or does not let us in."""
        with redis_client.translated(self._url):
            self._quick.ping()

    def close(self) -> None:
        self._client.close()
        self._quick.close()


@contextmanager
def on_redis(where: Endpoints) -> Iterator[OnRedis]:
    opened = OnRedis(where.redis)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def rate_limits(config: Settings, where: Endpoints) -> Iterator[RateLimits]:
    """Nothing is asked yet. The names in Redis are hidden by a digest of the audit log's key, which all processes have."""
    client = limits.open_redis(where.redis)
    try:
        yield RateLimits(client, hashlib.sha256(b"rate limits" + wiring.audit_key(config)).digest())
    finally:
        client.close()


@contextmanager
def graph(where: Endpoints) -> Iterator[Neo4jGraph]:
    opened = Neo4jGraph(
        where.graph, where.graph_user, where.graph_password, where.graph_database, wiring.NAMES.consumer, _ANSWER_S
    )
    try:
        yield opened
    finally:
        opened.close()


# ------------------------------------------------------------------------------------------------ Prefect

#: Prefect is asked no more often than this; a start may take the other mode for so long after the server came or went.
_ASKED_EVERY_S = 3.0


class PrefectServer:
    """The Prefect server, as long as it answers. It may be named, come and go while the API runs."""

    def __init__(self, config: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock, self._lock = config, clock, threading.Lock()
        self._place: Place | None = None
        self._api: PrefectApi | None = None
        self._why: str | None = prefect_place.NOT_SET
        self._until = float("-inf")

    def __call__(self) -> PrefectApi | None:
        """None where there is none, or it does not answer within two seconds: `why` says it."""
        with self._lock:
            if self._clock() >= self._until:
                self._look()
                self._until = self._clock() + _ASKED_EVERY_S
            return None if self._why else self._api

    @property
    def named(self) -> PrefectApi | None:
        """The server that somebody named, whether it answers or not. As of the last call."""
        return self._api

    @property
    def why(self) -> str | None:
        """Why runs are started without it; None where it answers. As of the last call."""
        return self._why

    def close(self) -> None:
        if self._api is not None:
            self._api.close()

    def _look(self) -> None:
        place = wiring_watch.prefect_server(self._config)
        if place != self._place:
            self.close()
            self._place = place
            self._api = PrefectApi(place.url, place.auth, ui=place.ui, cert_file=place.cert_file) if place else None
        self._why = prefect_place.why_not(place) if place else prefect_place.NOT_SET


def operating(config: Settings, postgres: Callable[[], OnPostgres], prefect: PrefectServer) -> Operating:
    """For one request: by Prefect where it answers, else by processes on this machine."""
    on = postgres()
    return launching.operating(config, on.ledger, on.requests, prefect())
