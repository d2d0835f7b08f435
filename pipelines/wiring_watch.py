"""Settings to what the watch asks: every store on its own, so that one that is away hides none of the others.

Beside wiring.py because the watch opens stores in another way than the flows do: it starts nothing and gives up nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

import alerts.settings
from alerts import opening
from alerts.fallback import Fallback
from alerts.model import QUESTIONS, Incident
from alerts.settings import AlertSettings, WrongSettings
from pipelines import embedded, settings, wiring
from pipelines.embedded import Server
from pipelines.errors import InvalidInput, OrganismError, PermanentError
from pipelines.events.dead_letters import RedisDeadLetters
from pipelines.events.stream import RedisStream
from pipelines.graph.store import Neo4jGraph
from pipelines.interventions.policy import Rules
from pipelines.interventions.store import PostgresProposals
from pipelines.jobs.asking import Asking
from pipelines.jobs.facts import Machine, Sources
from pipelines.jobs.resources import disk_share, machine_name, memory_share
from pipelines.orchestrator import place as prefect_place
from pipelines.orchestrator import store as orchestrator
from pipelines.postgres import open_pool
from pipelines.settings import Settings

T = TypeVar("T")
#: What `deployments.serve` leaves in the state directory while it runs, and when it did not end well.
_SERVE = "serve.json"
_ENDED = f"the embedded server has ended, and by {_SERVE} python -m deployments serve should be running; start it again"
_ABANDONED = "the embedded server has ended under a program that works with it; any other command starts it again"


@dataclass(frozen=True)
class Watched:
    """postgres: its URL, None where it is embedded and not running. stopped: all is embedded, nothing of it runs, and nothing
    says that it should.
    """

    sources: Sources
    postgres: str | None
    stopped: bool

    def __repr__(self) -> str:
        return "Watched(...)"  # the URL carries a password


@contextmanager
def watching(config: Settings) -> Iterator[Watched]:
    """What there is to watch. Embedded servers that nobody started are not started to be looked at."""
    with ExitStack() as stack:
        given = given_servers(config)
        urls, served, place = stack.enter_context(_running(config, given)), _served(config), prefect_server(config)
        opener = _Opener(stack, _ended(given, urls, _why_not_at_rest(config, served)))
        postgres = _url(_secret(config.postgres_url), urls, "postgres")
        stream, letters = opener.open("redis", _redis, _url(_secret(config.redis_url), urls, "redis")) or (None, None)
        sources = Sources(
            ledger=opener.open("postgres", wiring.ledger_at, postgres),
            stream=stream,
            letters=letters,
            graph=opener.graph(config, urls),
            orchestrator=prefect(stack, place) if place else None,
            away=opener.away,
            pool=prefect_place.pool(),
            asking=opener.open(
                "postgres", partial(_asking, config), postgres if "postgres" not in opener.away else None
            ),
        )
        idle = urls is None and place is None and not opener.away
        yield Watched(sources, postgres, stopped=idle and not any(given.values()))


def prefect_server(config: Settings) -> prefect_place.Place | None:
    """The server that somebody named; else that of `deployments.serve` on this state directory; else None."""
    served = _served(config)
    return prefect_place.find() or (prefect_place.Place(f"{served}/api", ui=served) if served else None)


def _served(config: Settings) -> str | None:
    """Where `deployments.serve` has its user interface, if it runs here or ended as it should not have."""
    try:
        return str(json.loads((wiring.state_dir(config) / _SERVE).read_text("utf-8"))["ui"]).rstrip("/")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _why_not_at_rest(config: Settings, served: str | None) -> str | None:
    """Why an embedded server that is not there should be; None where it may rest between two runs."""
    if served:
        return _ENDED
    try:
        return _ABANDONED if embedded.abandoned(wiring.state_dir(config)) else None
    except embedded.EmbeddedError as error:
        raise PermanentError(str(error)) from error


def _ended(given: Mapping[Server, object | None], urls: embedded.Urls | None, why: str | None) -> dict[str, str]:
    """Of the embedded servers that should be running, those that are not."""
    if why is None:
        return {}
    return {
        server.value: why for server, its in given.items() if its is None and getattr(urls, server.value, None) is None
    }


@contextmanager
def place() -> Iterator[tuple[str | None, Path]]:
    """Where alerts are kept: the URL of PostgreSQL, None where it is embedded and not running; and the state directory."""
    config = settings.load()
    with _running(config, given_servers(config)) as urls:
        yield _url(_secret(config.postgres_url), urls, "postgres"), wiring.state_dir(config)


@contextmanager
def _asking(config: Settings, postgres: str) -> Iterator[Asking]:
    """Only to be looked at: neither the key of the audit log nor the rules are asked for."""
    if config.shadow:
        yield Asking(None, config.min_group_size)
        return
    with open_pool(postgres, size=1) as pool:
        store = PostgresProposals(pool, b"", Rules())
        yield Asking(store, config.min_group_size, config.api_url)


@contextmanager
def proposals(config: Settings, postgres: str | None) -> Iterator[PostgresProposals | None]:
    """Where PostgreSQL is; None where it is embedded and not running."""
    if postgres is None:
        yield None
        return
    with open_pool(postgres, size=1) as pool:
        yield PostgresProposals(pool, wiring.audit_key(config), wiring.policy_rules(config))


def open_incidents(config: Settings, postgres: str | None) -> list[Incident]:
    """As the server has them; while it is away, as the file in the state directory has them. The oldest first.

    A question that waits for an answer is none: nothing is wrong.
    """
    with ExitStack() as stack:
        file = Fallback(wiring.state_dir(config))
        store = opening.server(postgres) or (file.open() if file.path.exists() else None)
        if store is None:
            return []
        stack.callback(store.close)
        return [case.incident for case in store.open_cases() if case.problem.code not in QUESTIONS]


def alert_settings() -> AlertSettings:
    """Raises InvalidInput: names each wrong variable, never a value."""
    try:
        return alerts.settings.load()
    except WrongSettings as error:
        raise InvalidInput(str(error)) from None


def machine(config: Settings) -> Machine:
    where = wiring.state_dir(config)
    return Machine(memory_share, lambda: disk_share(where), "the state directory", machine_name())


def prefect(stack: ExitStack, place: prefect_place.Place) -> orchestrator.PrefectApi:
    """Nothing is asked of it yet."""
    return stack.enter_context(orchestrator.opened(place.url, place.auth, ui=place.ui, cert_file=place.cert_file))


class _Opener:
    """Opens one store after the other; what one says that cannot be opened comes to what is in `away` already."""

    def __init__(self, stack: ExitStack, away: Mapping[str, str]) -> None:
        self._stack = stack
        self.away = dict(away)

    def open(self, name: str, how: Callable[[str], AbstractContextManager[T]], url: str | None) -> T | None:
        if url is None:
            return None
        try:
            return self._stack.enter_context(how(url))
        except OrganismError as error:
            self.away[name] = str(error)
            return None

    def graph(self, config: Settings, urls: embedded.Urls | None) -> Neo4jGraph | None:
        login = (config.graph_user, config.graph_password.get_secret_value(), config.graph_database)
        if config.graph_url is None and urls is not None:
            login = (urls.graph_user or "", urls.graph_password or "", "neo4j")
        return self.open("graph", lambda url: _graph(url, *login), _url(config.graph_url, urls, "graph"))


def given_servers(config: Settings) -> dict[Server, object | None]:
    """What the settings say of each server; None: it is embedded."""
    return {Server.REDIS: config.redis_url, Server.GRAPH: config.graph_url, Server.POSTGRES: config.postgres_url}


@contextmanager
def _running(config: Settings, given: Mapping[Server, object | None]) -> Iterator[embedded.Urls | None]:
    """Those embedded servers that are up and that no setting replaces; None when there are none."""
    where = wiring.state_dir(config)
    try:
        wanted = frozenset(s for s in embedded.pids(where) if given[s] is None)
    except PermissionError:
        words = f"{where} belongs to another user, and nothing in it can be read"
        raise PermanentError(f"{words}; run this as that user, or set ORGANISM_STATE_DIR") from None
    if not wanted:
        yield None
        return
    with ExitStack() as stack:
        try:
            urls = stack.enter_context(embedded.running(where, wanted))
        except embedded.EmbeddedError as error:
            raise PermanentError(str(error)) from error
        yield urls


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None


def _url(given: str | None, urls: embedded.Urls | None, name: str) -> str | None:
    return given or getattr(urls, name, None)


@contextmanager
def _redis(url: str) -> Iterator[tuple[RedisStream, RedisDeadLetters]]:
    with wiring.redis_at(url) as client:
        yield RedisStream(client, url, wiring.NAMES), RedisDeadLetters(client, url, wiring.NAMES)


@contextmanager
def _graph(url: str, user: str, password: str, database: str) -> Iterator[Neo4jGraph]:
    graph = Neo4jGraph(url, user, password, database, wiring.NAMES.consumer)
    try:
        yield graph
    finally:
        graph.close()
