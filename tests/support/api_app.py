"""The whole API on stores in memory, asked without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import FastAPI

from alerts import flow_rules
from alerts.flow_rules import FlowRule
from pipelines.access.principals import Principal, Role
from pipelines.api import security, vitals
from pipelines.api.app import create_app
from pipelines.api.desk import Desk
from pipelines.api.pages.glance import Glance
from pipelines.api.vitals import Ready, Vitals
from pipelines.errors import TransientError
from pipelines.jobs.health import SERVICES, Answer, Examined, Health
from pipelines.metrics_endpoint import Latest
from pipelines.settings import Settings
from tests.support.fakes_timeseries import FakeStepResults
from tests.support.page_site import World

BEARER = "key_0000000000000000.{}"


class FakeRules:
    """Alert rules in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], FlowRule] = {}

    def rules_for(self, flow: str, now: datetime) -> list[FlowRule]:
        return flow_rules.filled(flow, [r for r in self.kept.values() if r.flow == flow], now)

    def validated(self, rule: FlowRule, now: datetime) -> FlowRule:
        return flow_rules.validated(rule, now)

    def set_rule(self, rule: FlowRule, by: str, now: datetime) -> FlowRule:
        self.kept[rule.flow, rule.code] = flow_rules.validated(rule, now)
        return rule

    def clear_rule(self, flow: str, code: str, by: str, now: datetime) -> FlowRule:
        return self.kept.pop((flow, code))


class NoPrefect:
    named = None
    why = "PREFECT_API_URL is not set"

    def __call__(self) -> None:
        return None


def examined(**health: Health) -> Examined:
    """Every service up, or as it is said."""
    answers = tuple(Answer(name, health.get(name, Health.UP), "as seen") for name in SERVICES)
    counts = {h.value: sum(a.health is h for a in answers) for h in Health}
    return Examined(len(answers), **counts, answers=answers)


@dataclass
class Site(World):
    """`World` with every route in front of it. looks: how the services are."""

    rules: FakeRules = field(default_factory=FakeRules)
    looks: Examined = field(default_factory=examined)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.results = FakeStepResults()
        for role in Role:
            self.let_in(role.value, role)

    def let_in(self, name: str, *roles: Role) -> str:
        """The bearer of somebody with these roles."""
        bearer = BEARER.format(name)
        self.access.live[bearer] = Principal(name, frozenset(roles), f"key_of_{name}")
        return bearer

    def desk(self) -> Desk:
        return Desk(
            config=self.config, state=self.state, postgres=lambda: self, redis=lambda: self, graph=lambda: None,
            limits=lambda: self.limits, prefect=NoPrefect(), stores=lambda: None, operating=self.operating,
            clock=lambda: self.now,
        )  # type: ignore[arg-type]  # fmt: skip

    def whole(self) -> FastAPI:
        """One app for all sites with the same settings of the app itself: to build sixty routes takes a moment."""
        app = _built(self.config.api_origins, self.desk)
        app.state.desk, app.state.recent = self.desk(), security.Recent()
        app.state.vitals, app.state.glance = Vitals(lambda: self.looks), Glance(lambda: self.standing)
        app.state.ready = Ready({name: partial(self._ask, name) for name in ("postgres", "redis")})
        app.state.latest = Latest(lambda: b"organism_up 1\n")
        return app

    def _ask(self, service: str) -> None:
        if vitals.of(self.looks, service).health is not Health.UP:
            raise TransientError(f"{service} is away")


_APPS: dict[str, FastAPI] = {}


def _built(origins: str, desk: Callable[[], Desk]) -> FastAPI:
    if origins not in _APPS:
        _APPS[origins] = create_app(desk())
    return _APPS[origins]


@dataclass
class Client:
    """Asks the app. who: a name that was let in; empty: nobody."""

    app: FastAPI
    who: str = ""
    base: str = "http://organism.test"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {BEARER.format(self.who)}"} if self.who else {}
        if body is not None and not isinstance(body, bytes):
            body, sent = json.dumps(body).encode(), sent | {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}

        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
                return await client.request(method, path, headers=sent, content=body)

        return anyio.run(once)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self.ask("POST", path, body, **headers)

    def by(self, who: str) -> Client:
        return Client(self.app, who, self.base)


@contextmanager
def site(folder: Path, **changes: Any) -> Iterator[Site]:
    given: Mapping[str, Any] = {"state_dir": folder, "postgres_url": "postgresql://user:hunter2secret@db/x", **changes}
    yield Site(Settings(**given, _env_file=None), folder)
