"""The session of a browser: the cookie with the token of a login, and the proof that a form is ours and was sent by them.

The token of a form is made of the session's own secret, so nothing is kept of it, and it ends with the session.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request, Response

from pipelines.access.principals import Issued, Principal
from pipelines.api.pages.views import Visitor
from pipelines.api.problems import Problem
from pipelines.api.security import bearer, cookie_name
from pipelines.api.table import TABLE, Route

_MOST_FIELDS = 300
_URLENCODED = "application/x-www-form-urlencoded"
#: What a visitor may do, by the names that the templates use: the same table that lets them in.
ROUTES: Mapping[str, Route] = {
    "status": ("GET", "/"),
    "runs": ("GET", "/runs"),
    "start": ("POST", "/flows/{flow}/start"),
    "logs": ("GET", "/runs/{run_id}/logs"),
    "cancel": ("POST", "/runs/{run_id}/cancel"),
    "retry": ("POST", "/runs/{run_id}/retry"),
    "proposals": ("GET", "/proposals"),
    "decide": ("POST", "/proposals/{proposal_id}/approve"),
    "letters": ("GET", "/letters"),
    "replay": ("POST", "/letters/replay"),
    "switch": ("GET", "/switch"),
    "halt": ("POST", "/switch/halt"),
    "resume": ("POST", "/switch/resume"),
}


def visitor(request: Request, who: Principal) -> Visitor:
    may = frozenset(name for name, route in ROUTES.items() if TABLE[route].roles & who.roles)
    shadow = request.app.state.desk.config.shadow
    return Visitor(who.name, ", ".join(sorted(who.roles)), may, csrf(shown(request)), shadow)


def shown(request: Request) -> str:
    """The bearer that this request was let in with; empty where it shows none."""
    route = request.method, request.scope["route"].path
    return bearer(request, TABLE[route]) or ""


def csrf(bearer_: str) -> str:
    """What every form of this session carries. Who knows it knows nothing of the bearer."""
    key = hashlib.blake2b(bearer_.encode(), person=b"organism.forms").digest()
    return hmac.new(key, b"a form of ours", hashlib.sha256).hexdigest()


async def sent(request: Request) -> Mapping[str, list[str]]:
    """The fields of a form; a dependency of every POST of a page but the login's.

    Raises:
        Problem: 403, it was not sent from a page of ours by this session; 415, 413: it is no form of ours.
    """
    fields = await posted(request)
    given, expected = one(fields, "csrf"), csrf(shown(request))
    if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        raise Problem(
            403, "NOT_OUR_FORM", "this form is not of your session; open the page again and send it from there"
        )
    return fields


async def posted(request: Request) -> Mapping[str, list[str]]:
    """The fields of a form that a page of this site sent, whoever did.

    Raises:
        Problem: as `sent`.
    """
    if why := why_foreign(request.headers):
        raise Problem(403, "NOT_OUR_FORM", f"nothing was done: {why}; open the page itself and send it from there")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _URLENCODED:
        raise Problem(415, "NOT_A_FORM", f"expected {_URLENCODED}")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem(413, "NOT_A_FORM", f"expected at most {_MOST_FIELDS} fields, in UTF-8") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def one(fields: Mapping[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def why_foreign(headers: Mapping[str, str]) -> str:
    """Why a request that changes something does not come from this site; empty if it does.

    By Sec-Fetch-Site where the browser says it (over TLS and on this machine), else by the host of Origin. Every browser
    sends one of them with a form.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return "it does not say where it comes from"
    ours = site == "same-origin" if site is not None else _host(origin or "") == headers.get("host", "").lower()
    return "" if ours else "the request comes from another site"


def _host(origin: str) -> str | None:
    """With its port, as in `Host`; None for what is no origin, such as `null`."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return None
    return parts.netloc if parts.scheme in ("http", "https") and parts.netloc else None


# ------------------------------------------------------------------------------------------------ the cookie


def begin(response: Response, request: Request, issued: Issued, now: datetime) -> None:
    """For this site alone, out of reach of scripts, never sent along with a request from another site."""
    seconds = max(int((issued.expires_at - now).total_seconds()), 0)
    response.set_cookie(
        cookie_name(request), issued.bearer, max_age=seconds, secure=_is_tls(request), httponly=True, samesite="strict"
    )


def end(response: Response, request: Request) -> None:
    response.delete_cookie(cookie_name(request), secure=_is_tls(request), httponly=True, samesite="strict")


def _is_tls(request: Request) -> bool:
    return request.url.scheme == "https"


def local(path: str) -> str:
    """A path of ours to go on to after the login; the first page for anything else."""
    plain = path.replace("-", "").replace("_", "").replace("/", "").replace(".", "").isalnum() and path.isascii()
    return path if path.startswith("/") and not path.startswith("//") and plain else "/"
