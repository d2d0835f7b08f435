"""What went wrong, as a page: what was refused and why, with the status that a program would get."""

from __future__ import annotations

import logging

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipelines import log
from pipelines.api.pages import session
from pipelines.api.pages.render import HEADERS, page
from pipelines.api.problems import Problem, of_http
from pipelines.api.table import TABLE
from pipelines.errors import InvalidInput, OrganismError, Refused, TransientError
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.recording import sentence

_log = logging.getLogger(__name__)
_TITLES = {
    403: "This is not yours to do",
    404: "There is nothing here",
    409: "That was refused",
    422: "Something is missing or wrong",
    429: "That was too often",
    503: "Something that this needs is away",
}
_RETRY_S = 5


def failed(request: Request, error: Problem | OrganismError) -> Response:
    """Nothing was changed where a rule said no. Who is not logged in is sent to the form."""
    if isinstance(error, Problem) and error.status_code == 303:
        return RedirectResponse((error.headers or {})["Location"], 303, {"Cache-Control": "no-store"})
    status, words = _told(request, error)
    who = getattr(request.state, "principal", None)
    text = page(
        "told",
        visitor=session.visitor(request, who) if who else None,
        now=utc_now(),
        here="",
        refresh=None,
        refreshes=False,
        halted=None,
        title=_TITLES.get(status, "This did not work"),
        sentences=[_sentence(words), *_fix(error)],
        back=_back(request, status),
    )
    headers = dict(getattr(error, "headers", None) or {})
    headers |= {"Retry-After": str(_RETRY_S)} if status == 503 else {}
    return HTMLResponse(text, status, headers | dict(HEADERS))


async def unknown(request: Request, error: Exception) -> Response:
    """No route at all: a browser is answered with a page, everybody else as by the API."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if request.scope.get("route") is not None or not wants_page:
        return await of_http(request, error)
    return failed(request, Problem(404, "NOT_FOUND", "there is no page with this address"))


def _back(request: Request, status: int) -> str:
    """To the list that it would be in; after a form to where that is asked for, or to the page that it stands on."""
    if request.method != "GET":
        asks = ("GET", getattr(request.scope.get("route"), "path", "")) in TABLE
        return request.url.path if asks else request.url.path.rpartition("/")[0] or "/"
    first, _, rest = request.url.path.strip("/").partition("/")
    return f"/{first}" if rest and status != 403 and request.scope.get("route") is not None else "/"


def _told(request: Request, error: Problem | OrganismError) -> tuple[int, str]:
    if isinstance(error, Problem):
        return error.status_code, str(error.detail)
    if isinstance(error, Refused) and error.code != "LEAK":
        return (404 if error.code == "GROUP_TOO_SMALL" else 409), error.sentence
    if isinstance(error, InvalidInput):
        return (404 if request.method == "GET" else 422), str(error)
    _log.warning("%s %s: %s", request.method, getattr(request.scope.get("route"), "path", "?"), sentence(error))
    if isinstance(error, TransientError):
        known = getattr(request.state, "principal", None) is not None
        return 503, log.redact(str(error)) if known else "something that this needs does not answer just now"
    return 500, "this did not work, and asking again will not help; the log of the API says where it arose"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "?", "!")) else ".")


def _fix(error: Problem | OrganismError) -> list[str]:
    fix = getattr(error, "fix", None)
    return [_sentence(f"what to do: {fix}")] if fix else []
