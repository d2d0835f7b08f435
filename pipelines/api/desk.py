"""What every route works with: the settings, the time, and the stores, each opened when it is first needed.

A store that is away is an error of the request that needs it, and of no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fastapi import Request, Response

from alerts.flow_rules import FlowRule
from pipelines import wiring, wiring_api
from pipelines.access.limits import Allowance, Limit
from pipelines.access.principals import Issued, Principal, User
from pipelines.jobs.evaluate import Proposals
from pipelines.jobs.full_ports import StepResults
from pipelines.jobs.ingest import Stores, utc_now
from pipelines.jobs.operating import Operating, Requests
from pipelines.ports import DeadLetters, Graph, Ledger, Orchestrator, Stream
from pipelines.privacy.traces import guard, secrets_of
from pipelines.settings import Settings
from pipelines.wiring import Endpoints


class Access(Protocol):
    """Who is let in, and as whom."""

    def who(self, bearer: str, now: datetime) -> Principal | None: ...

    def login(self, name: str, password: str, now: datetime, *, address: str = "") -> Issued: ...

    def revoke(self, credential_id: str, now: datetime) -> None: ...

    def users(self) -> list[User]: ...


class Rules(Protocol):
    """Alert rules of flows. Raises alerts.flow_rules.Away and InvalidRule."""

    def rules_for(self, flow: str, now: datetime) -> list[FlowRule]: ...

    def validated(self, rule: FlowRule, now: datetime) -> FlowRule: ...

    def set_rule(self, rule: FlowRule, by: str, now: datetime) -> FlowRule: ...

    def clear_rule(self, flow: str, code: str, by: str, now: datetime) -> FlowRule: ...


class Limits(Protocol):
    def take(self, who: str, rule: Limit) -> Allowance: ...


class AuditLog(Protocol):
    def note(self, role: str, who: str, action: str, now: datetime, *, subject: str = "", **detail: Any) -> None: ...


class OnPostgres(Protocol):
    """Everything that is kept in PostgreSQL."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def access(self) -> Access: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def proposals(self) -> Proposals: ...
    @property
    def requests(self) -> Requests: ...
    @property
    def results(self) -> StepResults: ...
    @property
    def rules(self) -> Rules: ...


class OnRedis(Protocol):
    @property
    def letters(self) -> DeadLetters: ...
    @property
    def stream(self) -> Stream: ...

    def ping(self) -> None:
        """Raises TransientError, PermanentError: it does not answer, or does not let us in."""


class Prefect(Protocol):
    """The server, or None while it does not answer. As of that call: the server that should be there, and why it is not."""

    def __call__(self) -> Orchestrator | None: ...
    @property
    def named(self) -> Orchestrator | None: ...
    @property
    def why(self) -> str | None: ...


@dataclass(frozen=True)
class Desk:
    """Each of the callables raises TransientError or PermanentError while its store cannot be used.

    state: the directory of this installation. stores: everything that applies events, for as long as the block lasts.
    """

    config: Settings
    state: Path
    postgres: Callable[[], OnPostgres]
    redis: Callable[[], OnRedis]
    graph: Callable[[], Graph]
    limits: Callable[[], Limits]
    prefect: Prefect
    stores: Callable[[], AbstractContextManager[Stores]]
    operating: Callable[[], Operating]
    clock: Callable[[], datetime] = utc_now

    @property
    def ledger(self) -> Ledger:
        return self.postgres().ledger

    @property
    def access(self) -> Access:
        return self.postgres().access

    @property
    def audit(self) -> AuditLog:
        return self.postgres().audit

    @property
    def proposals(self) -> Proposals:
        return self.postgres().proposals

    @property
    def forbidden(self) -> tuple[str, ...]:
        """What must not be in any answer."""
        return secrets_of(self.config)

    def guarded(self, body: Any) -> Response:
        """The body as JSON. Raises Refused: LEAK, and nothing of it has left."""
        text = json.dumps(body, ensure_ascii=False)
        return Response(guard(text, self.forbidden), media_type="application/json")

    def has_users(self) -> bool:
        return bool(self.access.users())

    def __repr__(self) -> str:
        return "Desk(...)"  # settings carry passwords


@contextmanager
def opened(config: Settings, where: Endpoints) -> Iterator[Desk]:
    """On real stores. Nothing is asked of them yet."""
    with ExitStack() as stack:
        postgres = wiring_api.Door(partial(wiring_api.on_postgres, config, where))
        redis = wiring_api.Door(partial(wiring_api.on_redis, where))
        graph = wiring_api.Door(partial(wiring_api.graph, where))
        limits = wiring_api.Door(partial(wiring_api.rate_limits, config, where))
        prefect = wiring_api.PrefectServer(config)
        for door in (prefect, postgres, redis, graph, limits):
            stack.callback(door.close)
        yield Desk(
            config=config,
            state=wiring.state_dir(config),
            postgres=postgres,
            redis=redis,
            graph=graph,
            limits=limits,
            prefect=prefect,
            stores=partial(wiring.stores, config, where),
            operating=partial(wiring_api.operating, config, postgres, prefect),
        )


async def desk(request: Request) -> Desk:
    """The one of the app; a dependency."""
    found: Desk = request.app.state.desk
    return found
