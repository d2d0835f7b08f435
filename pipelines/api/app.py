"""Routes to an app: pure construction. It is refused if its routes are not those of the table of roles."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from pipelines.api import (
    alert_rules,
    automation,
    document,
    flows,
    health,
    interventions,
    letters,
    metrics,
    numbers,
    problems,
    reading,
    security,
    slack,
    strict,
    table,
    vitals,
)
from pipelines.api.desk import Desk
from pipelines.api.pages import failing, pages
from pipelines.api.repeating import repeated
from pipelines.api.shell import Shell
from pipelines.api.vitals import Ready, Vitals
from pipelines.errors import PermanentError
from pipelines.jobs.recording import sentence

_log = logging.getLogger(__name__)
#: Requests at work at the same time: more than connections to PostgreSQL, because some wait for other things.
_THREADS = 24
_SETTLED_EVERY_S = 30.0


def create_app(desk: Desk) -> FastAPI:
    """The app on these stores; asks none of them.

    Raises:
        PermanentError: a route is not in the table, or is audited and leaves no note.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan, redirect_slashes=False)
    app.state.desk, app.state.recent, app.state.latest = desk, security.Recent(), metrics.latest(desk.config)
    app.state.vitals, app.state.ready = Vitals(partial(vitals.look, desk)), Ready(vitals.needed(desk))
    found = routers()
    table.compare((route for its in found for route in _keys(its)), table.TABLE)
    _insist_on_notes(found)
    for its in found:
        app.include_router(its, dependencies=[Depends(security.guard), Depends(strict.known_query)])
    problems.install(app)
    app.add_exception_handler(404, failing.unknown)
    app.openapi = partial(_once, app)  # type: ignore[method-assign]
    app.add_middleware(Shell)
    if origins := [origin.strip() for origin in desk.config.api_origins.split(",") if origin.strip()]:
        headers = ["Authorization", "Content-Type", "Idempotency-Key"]
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=headers)
    return app


def routers() -> list[APIRouter]:
    """All of them; each flat, so that its routes can be compared with the table."""
    modules = (automation, flows, alert_rules, health, interventions, letters, metrics, numbers, reading, pages, slack)
    return [module.router for module in modules]


def _keys(router: APIRouter) -> Iterator[table.Route]:
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise PermanentError(f"{route} is no plain route, so it cannot be in the table of roles")
        yield from ((method, route.path) for method in route.methods or ())


def _insist_on_notes(found: Iterable[APIRouter]) -> None:
    """An audited route has to take what leaves a note. That it does is for a test of each."""
    for its in found:
        for route in its.routes:
            assert isinstance(route, APIRoute)
            keys = [(method, route.path) for method in route.methods or ()]
            notes = any(dependency.call is security.asks for dependency in route.dependant.dependencies)
            if any(table.TABLE[key].audited for key in keys) and not notes:
                raise PermanentError(f"{route.path} is audited, and its route leaves no note")


def _once(app: FastAPI) -> dict[str, object]:
    if app.openapi_schema is None:
        app.openapi_schema = document.build(app)
    return app.openapi_schema


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    with repeated(partial(_settle_once, app.state.desk), _SETTLED_EVERY_S):
        yield


def _settle_once(desk: Desk) -> None:
    """Whatever was ended together with an earlier API."""
    try:
        for run_id in desk.operating().settle(desk.clock()):
            _log.warning("run %s was open, and its process is gone: closed", run_id)
    except Exception as error:  # noqa: BLE001  # a defect, too: this has to be tried again for as long as the API lives
        _log.warning("runs whose process is gone could not be looked for: %s", sentence(error))
