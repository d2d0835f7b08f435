"""The OpenAPI document: what FastAPI knows of the routes, with what the table and the shell add to each of them.

Every answer that a route may give is in it, errors as problem details: generators of clients and fuzzers take its word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pipelines.api.problems import MEDIA_TYPE
from pipelines.api.shapes import ProblemDetails
from pipelines.api.table import TABLE, Access

VERSION = "1"
_PROBLEM = "ProblemDetails"
_WORDS: Mapping[int, str] = {
    400: "The body is no text in UTF-8.",
    401: "Nobody known asks: no credential, or a wrong or ended one.",
    403: "Who asks has none of the roles that this takes.",
    404: "There is no such thing, or it is not shown.",
    409: "A rule said no; `code` says which.",
    413: "The body is too large.",
    422: "Something that was given is not as documented.",
    429: "Too often; `Retry-After` says when it may be tried again.",
    500: "A defect.",
    503: "Something that this needs is away; `Retry-After` says when to try again.",
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
_LIMITS = {
    "RateLimit-Limit": {"schema": {"type": "string"}, "description": "requests a minute"},
    "RateLimit-Remaining": {"schema": {"type": "string"}, "description": "how many more may follow at once"},
}
HTML_TOO: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
DESCRIPTION = """\
Runs, health, proposals and numbers of a Causal Organism. Log in (`POST /api/v1/auth/login`) or make an API key
(`python -m pipelines.users key create NAME`), and send it as `Authorization: Bearer ...`.

Times are RFC 3339 in UTC. Errors are RFC 9457 problem details; their `code` is stable. Lists take `limit` and `before`, and
say `next`. Starts take an `Idempotency-Key`: the same request with the same key is one run. No route says anything about a
person; numbers of groups are shown from five people on.
"""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Of a route: the errors that are its own. Those that any route may give are added by `build`."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{_PROBLEM}"}
    found: dict[str, Any] = {"description": _WORDS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
    return found | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})


def build(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    made = get_openapi(title="Causal Organism", version=VERSION, description=DESCRIPTION, routes=app.routes, tags=_TAGS)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    own = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= own.pop("$defs", {}) | {_PROBLEM: own}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    made["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "a login token or an API key"}
    }
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _complete(operation, TABLE[method.upper(), path])
    return made


_TAGS = [
    {"name": "automation", "description": "Log in, start a workflow, follow it."},
    {"name": "flows", "description": "Flows and their runs."},
    {"name": "interventions", "description": "Proposals, decisions and the kill switch."},
    {"name": "numbers", "description": "What the full analysis released about groups."},
    {"name": "dead letters", "description": "What could not be applied."},
    {"name": "health", "description": "How everything stands."},
]


def _complete(operation: dict[str, Any], access: Access) -> None:
    responses: dict[str, Any] = operation["responses"]
    for status in _common(operation, access):
        if str(status) == "422" or str(status) not in responses:
            responses[str(status)] = _problem(status)
    if access.limit:
        for response in responses.values():
            response["headers"] = response.get("headers", {}) | _LIMITS
    if access.public:
        operation["security"] = []
        return
    operation["security"] = [{"bearer": []}]
    roles = ", ".join(sorted(access.roles))
    operation["description"] = f"{operation.get('description', '')}\n\nRoles: {roles}.".strip()
    operation["x-roles"] = sorted(access.roles)


def _common(operation: Mapping[str, Any], access: Access) -> Iterable[int]:
    if access.public and not access.limit:
        return
    yield from (500, 503, 429)
    if not access.public:
        yield from (401, 403)
    if "requestBody" in operation:
        yield from (400, 413)
    if "requestBody" in operation or operation.get("parameters") or not access.public:
        yield 422
