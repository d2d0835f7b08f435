"""Settings to stores: the only place that builds one. What has no URL in the environment is the embedded default."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from pipelines import embedded, migrate
from pipelines.access.store import PostgresAccess
from pipelines.archive import effects
from pipelines.archive.store import PostgresArchive
from pipelines.cache.store import RedisCache
from pipelines.embedded import Server
from pipelines.errors import InvalidInput, PermanentError
from pipelines.events.dead_letters import RedisDeadLetters
from pipelines.events.redis_client import open_redis
from pipelines.events.stream import DEFAULT_NAMES, SUSPECT_AFTER, Names, RedisLease, RedisStream
from pipelines.graph.builder import EventDrivenGraphBuilder
from pipelines.graph.store import Neo4jGraph
from pipelines.interventions import policy
from pipelines.interventions.audit_store import PostgresAuditLog
from pipelines.interventions.store import PostgresProposals
from pipelines.jobs.incremental import Upkeep
from pipelines.jobs.ingest import Rules, Stores
from pipelines.keys import key_file
from pipelines.ledger.store import PostgresLedger
from pipelines.outbox.store import SqliteOutbox
from pipelines.postgres import alone, open_pool, translated
from pipelines.report.progress import waiting
from pipelines.requests.store import PostgresRequests
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.causal.within import Fit
    from pipelines.jobs.full import FullStores
    from pipelines.jobs.turns import Plan

_log = logging.getLogger(__name__)
NAMES = DEFAULT_NAMES


@dataclass(frozen=True)
class Endpoints:
    """Where the three servers are. Built from settings, or from the embedded default."""

    redis: str
    cache: str
    graph: str
    graph_user: str
    graph_password: str
    graph_database: str
    postgres: str

    def __repr__(self) -> str:
        return "Endpoints(...)"  # URLs carry passwords


def state_dir(settings: Settings) -> Path:
    return settings.state_dir or embedded.default_state_dir()


def which(settings: Settings) -> str:
    """One line for people: which server is embedded, which is theirs."""
    named = {"Redis": settings.redis_url, "graph": settings.graph_url, "PostgreSQL": settings.postgres_url}
    return ", ".join(f"{name} {'from the environment' if url else 'embedded'}" for name, url in named.items())


@contextmanager
def endpoints(settings: Settings) -> Iterator[Endpoints]:
    """The three servers, the embedded ones started for as long as the context lasts.

    Raises:
        PermanentError: an embedded server did not start, with what to do.
    """
    given = {Server.REDIS: settings.redis_url, Server.GRAPH: settings.graph_url, Server.POSTGRES: settings.postgres_url}
    with _embedded(settings, given) as urls:
        yield _endpoints(settings, urls)


@contextmanager
def _embedded(settings: Settings, given: Mapping[Server, object | None]) -> Iterator[embedded.Urls | None]:
    """The embedded servers for which no URL is given; nothing is started when there is one for each."""
    wanted = frozenset(server for server, url in given.items() if url is None)
    if not wanted:
        yield None
        return
    with ExitStack() as stack:
        try:
            with waiting("starting the embedded servers"):
                urls = stack.enter_context(embedded.running(state_dir(settings), wanted))
        except embedded.EmbeddedError as error:
            raise PermanentError(str(error)) from error
        yield urls


def _endpoints(settings: Settings, urls: embedded.Urls | None) -> Endpoints:
    stream = settings.redis_url.get_secret_value() if settings.redis_url else _own(urls, "redis")
    embedded_graph = settings.graph_url is None
    return Endpoints(
        redis=stream,
        cache=settings.cache_url.get_secret_value() if settings.cache_url else stream,
        graph=settings.graph_url or _own(urls, "graph"),
        graph_user=_own(urls, "graph_user") if embedded_graph else settings.graph_user,
        graph_password=_own(urls, "graph_password") if embedded_graph else settings.graph_password.get_secret_value(),
        graph_database="neo4j" if embedded_graph else settings.graph_database,
        postgres=settings.postgres_url.get_secret_value() if settings.postgres_url else _own(urls, "postgres"),
    )


def _own(urls: embedded.Urls | None, name: str) -> str:
    value: str | None = getattr(urls, name, None)
    if value is None:
        raise PermanentError(f"the embedded servers gave no {name}; remove their state directory and start again")
    return value


@contextmanager
def stores(settings: Settings, where: Endpoints, names: Names = NAMES) -> Iterator[Stores]:
    """Open every store, bring the schemas up to date, and close all of it in the end.

    Raises:
        TransientError, PermanentError: naming the store that cannot be reached or does not let us in.
    """
    with ExitStack() as stack:
        client = stack.enter_context(redis_at(where.redis))
        pool = stack.enter_context(open_pool(where.postgres))
        graph = Neo4jGraph(where.graph, where.graph_user, where.graph_password, where.graph_database, names.consumer)
        stack.callback(graph.close)
        stream = RedisStream(client, where.redis, names)
        stream.prepare()
        bring_up_to_date(where.postgres)
        graph.prepare()
        yield Stores(
            stream=stream,
            letters=RedisDeadLetters(client, where.redis, names),
            lease=RedisLease(client, where.redis, names, timedelta(seconds=settings.lease_s)),
            graph=graph,
            archive=PostgresArchive(pool),
            cache=RedisCache(stack.enter_context(redis_at(where.cache))),
            builder=EventDrivenGraphBuilder(graph, effects.pack),
        )


def bring_up_to_date(url: str, patience_s: float = migrate.PATIENCE_S) -> None:
    """On a connection of its own, which fails at once where the pool would wait for the server.

    Raises:
        TransientError: somebody else has been at it for so long; or PostgreSQL cannot be reached.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInput("ORGANISM_POSTGRES_URL is not a postgresql:// URL")
    with translated(url), psycopg.connect(url, connect_timeout=5) as connection:
        for name in migrate.migrate(connection, patience_s=patience_s):
            _log.info("migration %s applied", name)


@contextmanager
def redis_at(url: str) -> Iterator[redis.Redis]:
    try:
        client = open_redis(url)
    except ValueError:  # not quoted: the URL carries a password
        raise InvalidInput("ORGANISM_REDIS_URL or ORGANISM_CACHE_URL is not a redis:// URL") from None
    try:
        yield client
    finally:
        client.close()


def rules(settings: Settings, *, accept_invalid: bool = False) -> Rules:
    return Rules(
        horizon=settings.horizon,
        batch_size=settings.batch_size,
        window_size=settings.window_size,
        claim_idle=timedelta(seconds=settings.claim_idle_s),
        breaker_share=settings.breaker_share,
        breaker_min=settings.breaker_min,
        suspect_after=SUSPECT_AFTER,
        accept_invalid=accept_invalid,
        overlap=True,
    )


def upkeep(settings: Settings) -> Upkeep:
    return Upkeep(timedelta(hours=settings.stream_keep_h), timedelta(days=settings.archive_days))


def archive_keeps(settings: Settings) -> timedelta | None:
    """How far back single interactions are kept; None: for ever, as their keys are."""
    return None if settings.horizon is None else timedelta(days=settings.archive_days)


def budget(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.time_budget_s)


@contextmanager
def outbox(settings: Settings) -> Iterator[SqliteOutbox]:
    """Where events of this machine wait until the stream has them."""
    with closing(SqliteOutbox(state_dir(settings) / "outbox.sqlite")) as outbox:
        yield outbox


@contextmanager
def producer(settings: Settings) -> Iterator[tuple[RedisStream, SqliteOutbox]]:
    """The stream and the outbox, and no other store: who only publishes needs neither the graph nor PostgreSQL.

    The stream is not asked yet: what is to be published can wait in the outbox for it.
    """
    with ExitStack() as stack:
        given = {Server.REDIS: settings.redis_url}
        urls = stack.enter_context(_embedded(settings, given))
        url = settings.redis_url.get_secret_value() if settings.redis_url else _own(urls, "redis")
        stream = RedisStream(stack.enter_context(redis_at(url)), url, NAMES)
        yield stream, stack.enter_context(outbox(settings))


def pseudonym_key(settings: Settings) -> bytes:
    """The secret of the pseudonyms. Nobody who has the stores can go back from a pseudonym to a person without it."""
    if settings.pseudonym_key:
        return settings.pseudonym_key.get_secret_value().encode()
    return key_file(state_dir(settings) / "pseudonym.key", "ORGANISM_STATE_DIR or ORGANISM_PSEUDONYM_KEY")


def ledger(where: Endpoints) -> AbstractContextManager[PostgresLedger]:
    """The account of runs, as `ledger_at` its PostgreSQL."""
    return ledger_at(where.postgres)


@contextmanager
def ledger_at(url: str) -> Iterator[PostgresLedger]:
    """The account of runs, with its schema up to date.

    Raises:
        TransientError, PermanentError: PostgreSQL cannot be reached or does not let us in.
    """
    bring_up_to_date(url)
    with open_pool(url, size=2) as pool:
        yield PostgresLedger(pool)


@contextmanager
def requests(where: Endpoints) -> Iterator[PostgresRequests]:
    """Who asked for which run. Its schema is that of the ledger, which is opened first."""
    with open_pool(where.postgres, size=1) as pool:
        yield PostgresRequests(pool)


# ------------------------------------------------------------------------------------------------ weigh and propose
# What these need is imported in them: statistics take two seconds to import, which no other command need pay.


@contextmanager
def full_stores(settings: Settings, where: Endpoints) -> Iterator[FullStores]:
    """Everything that the full analysis reads and writes; neither the stream nor the letters.

    Raises:
        TransientError, PermanentError: naming the store that cannot be reached or does not let us in.
    """
    from pipelines.archive.weeks import PostgresWeeks
    from pipelines.graph.metrics_store import Neo4jMetrics
    from pipelines.jobs.full import FullStores
    from pipelines.timeseries.step_results import StepResults
    from pipelines.timeseries.store import TimescaleMetricsWriter

    with ExitStack() as stack:
        pool = stack.enter_context(open_pool(where.postgres))
        login = (where.graph, where.graph_user, where.graph_password, where.graph_database)
        graph = Neo4jGraph(*login, NAMES.consumer)
        stack.callback(graph.close)
        metrics = Neo4jMetrics(*login, _turns(settings, where, stack))
        stack.callback(metrics.close)
        bring_up_to_date(where.postgres)
        graph.prepare()
        yield FullStores(
            graph=graph,
            metrics=metrics,
            archive=PostgresArchive(pool),
            weeks=PostgresWeeks(pool),
            points=TimescaleMetricsWriter(pool),
            results=StepResults(pool),
            proposals=PostgresProposals(pool, audit_key(settings), policy_rules(settings)),
            cores=partial(_core, settings),
            alone=partial(alone, pool, "full"),
        )


@contextmanager
def _core(settings: Settings, rows: int, columns: int) -> Iterator[Fit]:
    """Where the regressions of a panel run: by its size and the settings."""
    from pipelines.causal import distributed

    configured = distributed.Configured(settings.causal_engine, settings.dask_scheduler)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    choice = distributed.which_engine(rows, columns, memory, configured)
    _log.info("causal engine: %s", choice.reason)
    with distributed.core(choice, settings.dask_scheduler) as fit:
        yield fit


def _turns(settings: Settings, where: Endpoints, stack: ExitStack) -> Callable[[], AbstractContextManager[None]]:
    """The embedded graph has no locks that wait: without turns, many small writes would starve one large one."""
    if settings.graph_url is not None:
        return nullcontext
    from pipelines.jobs.refresh import turn

    client = stack.enter_context(redis_at(where.redis))
    return partial(turn, RedisLease(client, where.redis, NAMES, timedelta(seconds=settings.lease_s)))


@contextmanager
def proposals(settings: Settings) -> Iterator[PostgresProposals]:
    """PostgreSQL alone: who decides needs neither the stream nor the graph."""
    with ExitStack() as stack:
        urls = stack.enter_context(_embedded(settings, {Server.POSTGRES: settings.postgres_url}))
        url = settings.postgres_url.get_secret_value() if settings.postgres_url else _own(urls, "postgres")
        bring_up_to_date(url)
        yield PostgresProposals(stack.enter_context(open_pool(url)), audit_key(settings), policy_rules(settings))


@contextmanager
def access(settings: Settings) -> Iterator[tuple[PostgresAccess, PostgresAuditLog]]:
    """Users and their keys, and where changes of them are noted: PostgreSQL alone."""
    with ExitStack() as stack:
        urls = stack.enter_context(_embedded(settings, {Server.POSTGRES: settings.postgres_url}))
        url = settings.postgres_url.get_secret_value() if settings.postgres_url else _own(urls, "postgres")
        yield stack.enter_context(access_at(url, settings))


@contextmanager
def access_at(url: str, settings: Settings) -> Iterator[tuple[PostgresAccess, PostgresAuditLog]]:
    """As `access`, where PostgreSQL is known.

    Raises:
        TransientError, PermanentError: PostgreSQL cannot be reached or does not let us in.
    """
    bring_up_to_date(url)
    with open_pool(url) as pool:
        life = timedelta(minutes=settings.token_minutes)
        yield PostgresAccess(pool, life), PostgresAuditLog(pool, audit_key(settings))


def audit_key(settings: Settings) -> bytes:
    """The secret of the audit log: who has the database and not this cannot rewrite it unnoticed."""
    if settings.audit_key:
        return settings.audit_key.get_secret_value().encode()
    return key_file(state_dir(settings) / "audit.key", "ORGANISM_STATE_DIR or ORGANISM_AUDIT_KEY")


def policy_rules(settings: Settings) -> policy.Rules:
    return policy.Rules(
        k=settings.min_group_size,
        shadow=settings.shadow,
        zone=settings.zone,
        blackout=policy.blackouts(settings.blackout),
        better=policy.directions(settings.better),
    )


def plan(settings: Settings, now: datetime, resume: str | None = None, **rest: Any) -> Plan:
    """The full run of this hour, or the one of that name again; `rest` as in `Plan`."""
    from pipelines.jobs import turns

    window, history = timedelta(days=settings.window_days), timedelta(weeks=settings.history_weeks)
    rest |= {"k": settings.min_group_size, "points": timedelta(days=settings.points_days)}
    return (
        turns.resumed(resume, now, window, history, **rest) if resume else turns.plan_for(now, window, history, **rest)
    )
