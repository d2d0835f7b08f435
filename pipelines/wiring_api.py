"""Settings to what the API works with: every store is opened when it is first needed, and may be away until then and after.

Beside wiring.py because a server lives longer than its stores: a command gives up where the API answers 503 and goes on.
"""

from __future__ import annotations

import hashlib
import logging
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
from pipelines import embedded, launching, newest, wiring, wiring_watch
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
from pipelines.newest import Newest
from pipelines.orchestrator import place as prefect_place
from pipelines.orchestrator.place import Place
from pipelines.orchestrator.store import PrefectApi
from pipelines.postgres import Pool, open_impatient, translated
from pipelines.requests.store import PostgresRequests
from pipelines.settings import Settings
from pipelines.timeseries.step_results import StepResults
from pipelines.wiring import Endpoints

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Connections to PostgreSQL: the embedded one has 40 for everybody, and two cores keep no more than these busy.
CONNECTIONS = 12
#: Who asks is waiting: a store that hangs, or is still being opened for somebody else, is given up after so long.
_ANSWER_S = 2.0
#: What could not be opened is left alone for so long, so that not every request waits for the same time-out.
_PAUSE_S = 1.0
#: Who ends waits so long for a store that is being opened: for one that hangs this process must not stay.
_END_S = 1.0


class Door(Generic[T]):
    """Something that is opened when it is first needed, by one thread, and tried again when it could not be."""

    def __init__(
        self, how: Callable[[], AbstractContextManager[T]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._how, self._clock, self._lock, self._stack = how, clock, threading.Lock(), ExitStack()
        self._found: list[T] = []
        self._failed: tuple[float, str] | None = None
        self._closed = False

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
        """For good. Who is opening it now closes it again, and is not waited for longer than a moment."""
        self._closed = True
        if self._lock.acquire(timeout=_END_S):
            try:
                self._found.clear()
                self._stack.close()
            finally:
                self._lock.release()

    def _open(self) -> T:
        if self._failed and self._clock() < self._failed[0]:
            raise TransientError(self._failed[1])
        try:
            found = self._stack.enter_context(self._how())
        except OrganismError as error:
            self._failed = self._clock() + _PAUSE_S, str(error)
            raise
        self._failed = None
        if self._closed:
            self._stack.close()
            raise TransientError("this process is ending")
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
    wiring.bring_up_to_date(where.postgres, patience_s=_ANSWER_S)
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


def start_again(config: Settings, where: Endpoints) -> None:
    """The embedded servers, if their supervisor has ended: it looks after them, and nobody else looks after it.

    They end with whoever holds them, as those before. They come back at their ports, so that every pool finds them.
    """
    if None not in wiring_watch.given_servers(config).values():
        return
    try:
        if not embedded.abandoned(wiring.state_dir(config)):
            return
        _log.warning("the embedded servers have ended; starting them again")
        with wiring.endpoints(config) as found:
            back = found == where
    except (OrganismError, embedded.EmbeddedError) as error:
        _log.error("the embedded servers cannot be started again: %s", " ".join(str(error).split()))
        return
    if back:
        _log.warning("the embedded servers are there again")
    else:
        _log.error("the embedded servers are there again, and not where they were: start this API again")


# ------------------------------------------------------------------------------------------------ Prefect

#: Prefect is asked no more often than this; a start may take the other mode for so long after the server came or went.
_ASKED_EVERY_S = 3.0
_STALE_S = 15.0


@dataclass(frozen=True)
class _Asked:
    """why: why it cannot be used; None: it answers. api: None where nobody named a server."""

    api: PrefectApi | None
    why: str | None


class PrefectServer:
    """The Prefect server, as long as it answers. It may be named, come and go while the API runs."""

    def __init__(self, config: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._place: Place | None = None
        self._asked = _Asked(None, prefect_place.NOT_SET)
        self._newest = Newest(self._look, _ASKED_EVERY_S, clock, newest.PATIENCE_S)

    def __call__(self) -> PrefectApi | None:
        """None where there is none, or it does not answer within two seconds: `why` says it."""
        seen = self._newest.seen()
        if seen is not None and seen.age_s <= _STALE_S:
            self._asked = seen.value
        else:  # names may take long to be resolved
            self._asked = _Asked(self._asked.api, "the Prefect server keeps us waiting")
        return None if self._asked.why else self._asked.api

    @property
    def named(self) -> PrefectApi | None:
        """The server that somebody named, whether it answers or not. As of the last call."""
        return self._asked.api

    @property
    def why(self) -> str | None:
        """Why runs are started without it; None where it answers. As of the last call."""
        return self._asked.why

    def close(self) -> None:
        last = self._newest.last()
        if last is not None and last.value.api is not None:
            last.value.api.close()

    def _look(self) -> _Asked:
        """By one thread at a time. Who still asks the server that was named before is told to try again."""
        place, last = wiring_watch.prefect_server(self._config), self._newest.last()
        api = last.value.api if last else None
        if place != self._place:
            if api is not None:
                api.close()
            self._place = place
            api = PrefectApi(place.url, place.auth, ui=place.ui, cert_file=place.cert_file) if place else None
        return _Asked(api, prefect_place.why_not(place) if place else prefect_place.NOT_SET)


def operating(config: Settings, postgres: Callable[[], OnPostgres], prefect: PrefectServer) -> Operating:
    """For one request: by Prefect where it answers, else by processes on this machine."""
    on, api = postgres(), prefect()
    return launching.operating(config, on.ledger, on.requests, api, None if api else lambda: prefect.why)
