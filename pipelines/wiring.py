"""Settings to stores: the only place that builds one. What has no URL in the environment is the embedded default."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import redis

from pipelines import embedded
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
from pipelines.jobs.incremental import Upkeep
from pipelines.jobs.ingest import Rules, Stores
from pipelines.migrate import migrate
from pipelines.outbox.store import SqliteOutbox
from pipelines.postgres import open_pool, translated
from pipelines.report.progress import waiting
from pipelines.settings import Settings

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
        client = stack.enter_context(_client(where.redis))
        pool = stack.enter_context(open_pool(where.postgres))
        graph = Neo4jGraph(where.graph, where.graph_user, where.graph_password, where.graph_database, names.consumer)
        stack.callback(graph.close)
        stream = RedisStream(client, where.redis, names)
        stream.prepare()
        _migrate(where.postgres)
        graph.prepare()
        yield Stores(
            stream=stream,
            letters=RedisDeadLetters(client, where.redis, names),
            lease=RedisLease(client, where.redis, names, timedelta(seconds=settings.lease_s)),
            graph=graph,
            archive=PostgresArchive(pool),
            cache=RedisCache(stack.enter_context(_client(where.cache))),
            builder=EventDrivenGraphBuilder(graph, effects.pack),
        )


def _migrate(url: str) -> None:
    """On a connection of its own, which fails at once where the pool would wait for the server."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInput("ORGANISM_POSTGRES_URL is not a postgresql:// URL")
    with translated(url), psycopg.connect(url, connect_timeout=5) as connection:
        for name in migrate(connection):
            _log.info("migration %s applied", name)


@contextmanager
def _client(url: str) -> Iterator[redis.Redis]:
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
    """The stream and the outbox, and no other store: who only publishes needs neither the graph nor PostgreSQL."""
    with ExitStack() as stack:
        given = {Server.REDIS: settings.redis_url}
        urls = stack.enter_context(_embedded(settings, given))
        url = settings.redis_url.get_secret_value() if settings.redis_url else _own(urls, "redis")
        stream = RedisStream(stack.enter_context(_client(url)), url, NAMES)
        stream.prepare()
        yield stream, stack.enter_context(outbox(settings))


def pseudonym_key(settings: Settings) -> bytes:
    """The secret of the pseudonyms: from the environment, or a file of its own that is made once and never shown.

    It lies outside every store, so that nobody who has the stores can go back from a pseudonym to a person.
    """
    if settings.pseudonym_key:
        return settings.pseudonym_key.get_secret_value().encode()
    path = state_dir(settings) / "pseudonym.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        return path.read_bytes()
    except OSError as error:
        words = f"cannot read or write {path} ({error.strerror}); set ORGANISM_STATE_DIR or ORGANISM_PSEUDONYM_KEY"
        raise PermanentError(words) from error


def _make_key(path: Path) -> None:
    """Written aside and linked into place: of two processes one wins, and neither ever reads half a key."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(draft, "x", opener=_private) as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
