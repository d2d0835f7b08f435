"""Errors as RFC 9457 problem details: one form for all, without secrets, input values or the insides of the program."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipelines.errors import InvalidInput, OrganismError, Refused, TransientError
from pipelines.jobs.recording import sentence
from pipelines.privacy.traces import mask

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:causal-organism:problem:"
_RETRY_S = 5
#: Refusals that are something else than a conflict for HTTP. A leak that was caught is a defect of ours.
_STATUS = {"WRONG_LOGIN": 401, "LEAK": 500}
_SHORTEST_FIX = {
    "OLD_VERSION": "read the proposal again and decide on the version that it has now",
    "KEY_REUSED": "use another Idempotency-Key for another request",
}
_CODES = {400: "BAD_REQUEST", 401: "NOT_LOGGED_IN", 403: "NOT_ALLOWED", 404: "NOT_FOUND", 405: "WRONG_METHOD"}
_LONGEST_NAME = 64
_JSON = re.compile(r"application/(.+\+)?json\b", re.IGNORECASE)


class Problem(HTTPException):
    """To be raised by a route. code: stable, upper case, for machines. fix: what to do about it, if there is something."""

    def __init__(
        self, status: int, code: str, detail: str, *, fix: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code, self.fix = code, fix


def absent(what: str, fix: str) -> Problem:
    return Problem(404, "NOT_FOUND", f"there is no {what}", fix=fix)


def answer(
    status: int,
    code: str,
    detail: str,
    *,
    fix: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    body = {"type": _TYPE + code.lower().replace("_", "-"), "title": HTTPStatus(status).phrase, "status": status}
    body |= {"detail": mask(detail), "code": code} | more | ({"fix": fix} if fix else {})
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Every error that a route raises on purpose. What it did not mean to raise is answered by the shell around all."""
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, _of_input)
    app.add_exception_handler(OrganismError, _of_ours)


async def of_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = getattr(error, "code", None) or _CODES.get(error.status_code, HTTPStatus(error.status_code).name)
    fix = getattr(error, "fix", None)
    words = error.detail if isinstance(error.detail, str) else HTTPStatus(error.status_code).phrase
    return answer(error.status_code, code, words, fix=fix, headers=error.headers)


async def _of_input(request: Request, error: Exception) -> Response:
    """What was expected, and never what was given: it may be a password."""
    assert isinstance(error, RequestValidationError)
    wrong = [{"where": _where(e["loc"]), "expected": _expected(request, e), "kind": e["type"]} for e in error.errors()]
    detail = (
        "; ".join(f"{each['where']}: {each['expected']}" for each in wrong[:5]) or "the request is not as documented"
    )
    return answer(422, "INVALID_INPUT", detail, fix="see /docs for what this route takes", errors=wrong)


def _expected(request: Request, error: Mapping[str, Any]) -> str:
    """In our words where those of the library say nothing to who asked."""
    if error["type"] == "json_invalid":
        return "this is no JSON"
    if tuple(error["loc"]) != ("body",):
        return str(error["msg"])
    if error["type"] != "missing" and not _JSON.match(request.headers.get("Content-Type", "")):
        return "send Content-Type: application/json with it"
    needed = _needed(request)
    return f"a JSON object is needed{f' with {in_words}' if (in_words := ' and '.join(needed)) else ''}"


def _needed(request: Request) -> list[str]:
    """The fields without which a body of this route is none."""
    body = getattr(request.scope.get("route"), "body_field", None)
    fields = getattr(body.field_info.annotation, "model_fields", {}) if body else {}
    return [name for name, its in fields.items() if its.is_required()]


def _where(loc: tuple[Any, ...]) -> str:
    return mask(".".join(str(part)[:_LONGEST_NAME] for part in loc))


async def _of_ours(request: Request, error: Exception) -> Response:
    """Also what a library raises while it answers in our words."""
    assert isinstance(error, OrganismError)
    if isinstance(error, Refused):
        status = _STATUS.get(error.code) or (
            404 if error.code == "GROUP_TOO_SMALL" and request.method == "GET" else 409
        )
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return answer(status, error.code, error.sentence, fix=_SHORTEST_FIX.get(error.code), headers=headers)
    if isinstance(error, InvalidInput):
        return answer(422, "INVALID_INPUT", str(error))
    if isinstance(error, TransientError):
        return _away(request, error)
    _log.error("%s %s: %s", request.method, template(request), sentence(error))
    return broken()


def _away(request: Request, error: TransientError) -> Response:
    """Which store it was is told to those who are logged in."""
    known = getattr(request.state, "principal", None) is not None
    words = str(error) if known else "something that this needs does not answer just now"
    _log.warning("%s %s: %s", request.method, template(request), sentence(error))
    headers = {"Retry-After": str(_RETRY_S)}
    return answer(503, "AWAY", words, fix=f"try again in {_RETRY_S} s; /readyz says what is missing", headers=headers)


def broken() -> Response:
    return answer(
        500, "DEFECT", "this did not work, and asking again will not help", fix="the log of the API says where it arose"
    )


def template(request: Request) -> str:
    """The path without what somebody put into it."""
    return str(getattr(request.scope.get("route"), "path", "?"))
