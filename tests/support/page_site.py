"""The pages and the buttons of Slack on stores in memory, with the guard of the API in front; asked without a socket."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx
from fastapi import FastAPI

from pipelines.access.limits import LIMITS, Allowance, Limit
from pipelines.access.principals import Issued, Kind, Principal, Role, User
from pipelines.api import slack
from pipelines.api.app import create_app
from pipelines.api.desk import Desk
from pipelines.api.pages.glance import Glance
from pipelines.api.security import Recent
from pipelines.errors import OrganismError, Refused
from pipelines.jobs.operating import Operating
from pipelines.model import DeadLetter, Lane
from pipelines.settings import Settings
from tests.support import page_gallery
from tests.support.fakes_ledger import FakeLedger
from tests.support.fakes_proposals import NOW, FakeProposals
from tests.support.fakes_requests import FakeRequests

HOST = "organism.test"
PASSWORD = "the password of everybody here"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


class FakeAccess:
    """Users by name, with one password for all."""

    def __init__(self) -> None:
        self.all: dict[str, User] = {}
        self.live: dict[str, Principal] = {}

    def add(self, name: str, *roles: Role) -> User:
        self.all[name] = User(name, frozenset(roles), NOW)
        return self.all[name]

    def users(self) -> list[User]:
        return list(self.all.values())

    def who(self, bearer: str, now: datetime) -> Principal | None:
        return self.live.get(bearer)

    def login(self, name: str, password: str, now: datetime, *, address: str = "") -> Issued:
        user = self.all.get(name)
        if user is None or password != PASSWORD:
            raise Refused("WRONG_LOGIN", "user name or password is wrong, or this user is not let in")
        id_ = f"token_{secrets.token_hex(8)}"
        bearer = f"{id_}.{secrets.token_urlsafe(32)}"
        ends = now + timedelta(minutes=30)
        self.live[bearer] = Principal(name, user.roles, id_, Kind.TOKEN, ends)
        return Issued(id_, bearer, ends, self.live[bearer])

    def revoke(self, credential_id: str, now: datetime) -> None:
        self.live = {bearer: who for bearer, who in self.live.items() if who.credential != credential_id}


class FakeAudit:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self.details: list[dict[str, Any]] = []
        self.fails: OrganismError | None = None

    def note(self, role: str, who: str, action: str, now: datetime, *, subject: str = "", **detail: Any) -> None:
        if self.fails:
            raise self.fails
        self.rows.append((role, who, action, subject))
        self.details.append(detail)


class FakeLimits:
    """Grants everything, unless a rule is named."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    def take(self, who: str, rule: Limit) -> Allowance:
        assert rule.name in LIMITS
        self.asked.append((rule.name, who))
        return Allowance(rule.name not in self.full, 1, 7.0 if rule.name in self.full else 0.0)


class FakeLetters:
    """`ports.DeadLetters`, of the dead lane."""

    def __init__(self) -> None:
        self.there: dict[str, DeadLetter] = {}
        self.replayed: list[str] = []

    def add(self, id_: str, **changes: Any) -> None:
        made = DeadLetter(
            id=id_, lane=Lane.DEAD, code="BAD_FORMAT", words="it is no event", source_id="1-0", deliveries=1, replays=0,
            dead_ms=int(NOW.timestamp() * 1000), fields={b"event": b"the content of a letter"}, kept="yes",
        )  # fmt: skip
        self.there[id_] = replace(made, **changes)

    def list(self, lane: Lane, *, code: str | None = None, limit: int = 100, after: str = "-") -> list[DeadLetter]:
        return [x for x in self.there.values() if after == "-" or x.id > after.removeprefix("(")][:limit]

    def get(self, lane: Lane, id_: str) -> DeadLetter | None:
        return self.there.get(id_)

    def counts(self, lane: Lane) -> dict[str, int]:
        return {"BAD_FORMAT": len(self.there)} if self.there else {}

    def replay(self, lane: Lane, id_: str) -> bool | None:
        found = self.there.pop(id_, None)
        self.replayed += [id_] if found else []
        return found is not None


@dataclass
class World:
    """All stores, and how things stand; what a test looks at and changes."""

    config: Settings
    state: Path
    ledger: FakeLedger = field(default_factory=FakeLedger)
    access: FakeAccess = field(default_factory=FakeAccess)
    audit: FakeAudit = field(default_factory=FakeAudit)
    proposals: FakeProposals = field(default_factory=FakeProposals)
    letters: FakeLetters = field(default_factory=FakeLetters)
    limits: FakeLimits = field(default_factory=FakeLimits)
    standing: Any = field(default_factory=page_gallery.healthy)
    now: datetime = NOW
    said: list[tuple[str, Any]] = field(default_factory=list)
    results: Any = None
    stream: Any = None

    def __post_init__(self) -> None:
        self.requests = FakeRequests(self.ledger)
        self.launched: list[str] = []
        self.ended: list[str] = []

    def ping(self) -> None: ...

    def operating(self) -> Operating:
        return Operating(
            self.ledger, None, self.requests, lambda run: self.launched.append(run.run_id), lambda *_: [],
            self.ended.append,
        )  # fmt: skip

    def app(self, **slack_settings: Any) -> FastAPI:
        """The one app of this process, on these stores from now on: its many routes are made once."""
        app, desk = _app(), self._desk()
        app.state.desk, app.state.recent = desk, Recent()
        app.state.glance = Glance(lambda: self.standing)
        names = slack_settings.pop("names", {"U111": "anna", "U222": "ben"})
        secret = slack_settings.pop("secret", SECRET)
        app.state.slack = slack.Slack(secret, names, lambda url, said: self.said.append((url, said)))
        return app

    def _desk(self) -> Desk:
        """What the pages do not ask for is not there."""
        given: dict[str, Any] = {
            "config": self.config, "state": self.state, "postgres": lambda: self, "redis": lambda: self,
            "limits": lambda: self.limits, "operating": self.operating, "clock": lambda: self.now,
        }  # fmt: skip
        return Desk(**{each.name: given.get(each.name) for each in fields(Desk)})


@cache
def _app() -> FastAPI:
    return create_app(Desk(**{each.name: Settings(_env_file=None) for each in fields(Desk)}))  # type: ignore[call-arg]


class Browser:
    """Asks the app as a browser does: keeps its cookie, says where a form was. follows: no redirects."""

    def __init__(self, app: FastAPI, scheme: str = "https") -> None:
        self._app, self.base = app, f"{scheme}://{HOST}"
        self.cookies = httpx.Cookies()
        self.last: httpx.Response | None = None

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._ask("GET", path, headers)

    def post(self, path: str, fields: Any, **headers: str) -> httpx.Response:
        """As from a form of this site, unless the headers say otherwise; a header that is empty is left out."""
        sent = {"Origin": self.base, "Sec-Fetch-Site": "same-origin"}
        sent |= {"Content-Type": "application/x-www-form-urlencoded"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = fields if isinstance(fields, bytes) else urlencode(fields, doseq=True).encode()
        return self._ask("POST", path, {k: v for k, v in sent.items() if v}, body)

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base, cookies=self.cookies) as client:
                answer = await client.request(method, path, headers=dict(headers), content=body)
                self.cookies = client.cookies
                return answer

        self.last = anyio.run(ask)
        return self.last

    def login(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/login", {"name": name, "password": password, "next": "/"})

    def form(self, path: str) -> dict[str, Any]:
        """The hidden fields of the last form on a page."""
        text = self.get(path).text
        found: dict[str, Any] = {}
        for name, value in re.findall(
            r'<input type="hidden" name="(\w+)" value="([^"]*)"', text.rpartition("<form")[2]
        ):
            found.setdefault(name, []).append(value)
        return found

    def send(self, path: str, **more: str) -> httpx.Response:
        """Open the confirm page at a path, and send its form there."""
        return self.post(path, {**self.form(path), **more})


def world(folder: Path, **changes: Any) -> World:
    """anna approves, ben operates, vera looks, adam is an admin, nora an analyst."""
    url = "postgresql://user:hunter2secret@db/x"
    config = Settings(shadow=False, state_dir=folder, postgres_url=url, _env_file=None)  # type: ignore[call-arg]
    its = World(config, folder, **changes)
    its.access.add("anna", Role.APPROVER, Role.VIEWER)
    its.access.add("ben", Role.OPERATOR)
    its.access.add("vera", Role.VIEWER)
    its.access.add("adam", Role.ADMIN)
    its.access.add("nora", Role.ANALYST)
    return its
