"""In front of every route: who asks, may they, do they ask too often; and the note that is left before anything is done.

A dependency of every route, by the table. What it decides by is read from the stores again for every request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from itertools import islice
from math import ceil
from typing import Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from pipelines.access.limits import LIMITS, Allowance, Limit, network
from pipelines.access.names import folded
from pipelines.access.principals import Issued, Kind, Principal, Role
from pipelines.api.desk import Desk, desk
from pipelines.api.problems import Problem
from pipelines.api.table import TABLE, Access
from pipelines.errors import OrganismError, TransientError
from pipelines.privacy.traces import mask

#: Holds the bearer of a login by the form of the status page; for browsers alone.
COOKIE = "organism_session"
LOGIN = "/login"
Note = Callable[..., None]
_SAFE = frozenset({"GET", "HEAD"})
_LEAST_FIRST = (Role.VIEWER, Role.ANALYST, Role.OPERATOR, Role.APPROVER, Role.ADMIN)
#: Routes that say how things stand also while PostgreSQL is away, to who was known a moment ago.
_WHILE_AWAY = frozenset({"/workflows/health", "/"})
#: Of a note in the audit log: characters of a text, parts of a list.
_LONGEST_NOTE, _MOST_NOTED = 200, 20
#: A restart of PostgreSQL, and no longer: who is disabled by a command meanwhile or just before is still let in for so long.
_REMEMBERED, _MOST = timedelta(minutes=2), 1_000


async def guard(request: Request, its: Desk = Depends(desk)) -> None:  # noqa: B008  # how FastAPI is told
    """Let the request pass, or not.

    Raises:
        Problem: 401 nobody known asks, 403 they may not, 429 too often.
        TransientError: it cannot be found out.
    """
    access = TABLE[request.method, request.scope["route"].path]
    if access.public and not access.limit:
        return
    await run_in_threadpool(_admit, request, its, access)


def _admit(request: Request, its: Desk, access: Access) -> None:
    if access.public:
        take(request, its, access.limit, _from(request))
        return
    who = _known(request, its, access)
    request.state.principal = who
    take(request, its, access.limit, counted_as(who))
    if not who.roles & access.roles:
        needed = " or ".join(sorted(access.roles)) or "nobody"
        raise Problem(
            403,
            "NOT_ALLOWED",
            f"this takes the role {needed}",
            fix=how_to_have(access.roles),
        )


def how_to_have(roles: Collection[Role]) -> str | None:
    """The command that adds one of them and takes none away: the one that may do least."""
    least = next((role for role in _LEAST_FIRST if role in roles), None)
    return f"python -m pipelines.users roles NAME --add {least} gives it" if least else None


def _known(request: Request, its: Desk, access: Access) -> Principal:
    shown = bearer(request, access)
    if shown is None:
        raise _nobody(request, access, "say who you are: Authorization: Bearer, with a login token or an API key")
    now, path = its.clock(), request.scope["route"].path
    recent: Recent = request.app.state.recent
    try:
        found = its.access.who(shown, now)
    except TransientError:
        found = recent.who(shown, now) if path in _WHILE_AWAY else None
        if found is None:
            raise
        return found
    if found is None:
        recent.forget(shown)
        take(request, its, "read", _from(request))  # who tries keys has no credential to be counted by
        raise _nobody(request, access, "this key or token is not known, or has ended; log in again")
    recent.note(shown, found, now)
    return found


def counted_as(who: Principal) -> str:
    """By whom requests are counted. A login makes a new token at will, so a user has one allowance for all of theirs."""
    return f"user {who.name}" if who.kind is Kind.TOKEN else who.credential


def cookie_name(request: Request) -> str:
    """Over TLS with the prefix that neither another host nor a plain connection can set."""
    return f"__Host-{COOKIE}" if request.url.scheme == "https" else COOKIE


def bearer(request: Request, access: Access) -> str | None:
    """What they show. The cookie, which browsers send by themselves, is enough to look, and for forms with a token."""
    kind, _, shown = request.headers.get("Authorization", "").partition(" ")
    if kind:
        return shown.strip() if kind.lower() == "bearer" else None
    cookie = request.cookies.get(cookie_name(request))
    return cookie if cookie and (access.page or request.method in _SAFE) else None


def _nobody(request: Request, access: Access, words: str) -> Problem:
    if access.page:
        back = quote(request.url.path, safe="/") if request.method in _SAFE else "/"
        return Problem(303, "NOT_LOGGED_IN", words, headers={"Location": f"{LOGIN}?next={back}"})
    return Problem(401, "NOT_LOGGED_IN", words, fix="POST /api/v1/auth/login", headers={"WWW-Authenticate": "Bearer"})


def take(request: Request, its: Desk, rule: str, who: str) -> None:
    """One token. Also for what is known only inside a route, such as the name in a login.

    Raises:
        Problem: 429.
        TransientError: Redis is away, and the rule is closed then.
    """
    limit = LIMITS[rule].times(its.config.api_rate)
    allowance = its.limits().take(who, limit)
    request.state.allowance = limit, allowance
    insist(allowance)


def insist(allowance: Allowance) -> None:
    if not allowance.granted:
        wait = max(1, ceil(allowance.retry_after_s))
        raise Problem(
            429, "TOO_OFTEN", "too many requests", fix=f"try again in {wait} s", headers={"Retry-After": str(wait)}
        )


def _from(request: Request) -> str:
    return f"address {network(address(request))}"


def address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def principal(request: Request) -> Principal:
    """Who asks; a dependency of routes that are not public."""
    found: Principal = request.state.principal
    return found


async def asks(request: Request, its: Desk = Depends(desk)) -> Note:  # noqa: B008
    """`note(subject, **detail)`, for audited routes: to be called before the effect. When it raises, nothing may happen."""

    def note(subject: str = "", *, who: Principal | None = None, **detail: Any) -> None:
        asking = who or request.state.principal
        route = request.scope["route"].path
        allowed = TABLE[request.method, route].roles & asking.roles
        role = sorted(allowed)[0] if allowed else "user"
        its.audit.note(
            role, asking.name, f"asks {request.method} {route}", its.clock(),
            subject=mask(subject, its.forbidden, most=_LONGEST_NOTE),
            **_noted(detail | {"credential": asking.credential}, its.forbidden),
        )  # fmt: skip

    return note


def _noted(value: Any, forbidden: tuple[str, ...]) -> Any:
    """As the log keeps it, from which nothing is ever taken out again: short, without people and secrets."""
    if isinstance(value, str):
        return mask(value, forbidden, most=_LONGEST_NOTE)
    if isinstance(value, Mapping):
        kept = islice(value.items(), _MOST_NOTED)
        return {mask(str(name), forbidden, most=_LONGEST_NOTE): _noted(part, forbidden) for name, part in kept}
    if isinstance(value, list | tuple):
        left = [f"and {len(value) - _MOST_NOTED} more"] if len(value) > _MOST_NOTED else []
        return [_noted(part, forbidden) for part in value[:_MOST_NOTED]] + left
    return value


class Recent:
    """Who was let in lately, by a digest of what they showed. In this process, and asked only while PostgreSQL is away.

    It forgets whom this process refused or logged out. Of a key revoked or a user disabled elsewhere it cannot know.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Principal, datetime]] = {}

    def note(self, bearer: str, who: Principal, now: datetime) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        until = now + _REMEMBERED
        self._known[_digest(bearer)] = who, min(until, who.expires_at) if who.expires_at else until

    def forget(self, bearer: str) -> None:
        self._known.pop(_digest(bearer), None)

    def who(self, bearer: str, now: datetime) -> Principal | None:
        found = self._known.get(_digest(bearer))
        return found[0] if found and now < found[1] else None


def _digest(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode()).digest()


def log_in(request: Request, its: Desk, note: Note, name: str, password: str) -> Issued:
    """Who comes in without a note does not come in.

    Raises:
        Refused: no such user with this password.
    """
    take(request, its, "login", f"user {folded(name)}")
    now = its.clock()
    issued = its.access.login(name, password, now, address=address(request))
    try:
        note(issued.principal.name, who=issued.principal)
    except OrganismError:
        its.access.revoke(issued.credential, now)
        raise
    return issued


def log_out(request: Request, its: Desk, note: Note, who: Principal) -> None:
    """What this request shows is not let in again, not even while nobody can be asked."""
    note(who.credential)
    its.access.revoke(who.credential, its.clock())
    access = TABLE[request.method, request.scope["route"].path]
    request.app.state.recent.forget(bearer(request, access) or "")


def headers_of(limit: Limit, allowance: Allowance) -> dict[str, str]:
    """Of a rate limit, for every answer that it was asked for."""
    return {"RateLimit-Limit": f"{limit.rate_per_min:g}", "RateLimit-Remaining": str(allowance.remaining)}
