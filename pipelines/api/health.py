"""How everything stands: for people and monitors who are let in, and for whoever restarts or routes to this process."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from pipelines.api import vitals
from pipelines.api.shapes import Shape, told
from pipelines.api.vitals import Of
from pipelines.jobs.health import Health

router = APIRouter(tags=["health"])


class Service(Shape):
    name: str = Field(examples=["redis"])
    status: Health
    words: str = Field(description="what was seen", examples=["answers"])


class HealthOfAll(Shape):
    status: str = Field(description="healthy; degraded: works in part; down: nothing works", examples=["healthy"])
    services: list[Service]


class Alive(Shape):
    status: str = Field(examples=["alive"])


class Ready(Shape):
    status: str = Field(description="ready, or missing", examples=["ready"])
    missing: list[str] = Field(examples=[[]])


@router.get("/workflows/health", summary="How each service is")
def health_of_all(its: Of) -> HealthOfAll:
    """Prefect server, work pool, workers, Redis, graph, PostgreSQL, disk, memory, stream: each up, degraded, down or absent.

    Without PostgreSQL nobody can be known anew: who was let in during the last quarter of an hour is told nevertheless.
    """
    found = its.now()
    services = [Service(name=a.service, status=a.health, words=str(told(a.words))) for a in found.answers]
    return HealthOfAll(status=vitals.overall(found), services=services)


@router.get("/healthz", summary="Is this process alive")
async def healthz() -> Alive:
    """It answers, whatever is away."""
    return Alive(status="alive")


@router.get("/readyz", summary="Can this process do its work", response_model=Ready, responses={503: {"model": Ready}})
def readyz(its: Of) -> Response:
    """Whether what every request needs can be had: PostgreSQL and Redis, as of some seconds ago. Names what is missing."""
    found = its.lately()
    missing = [name for name in ("postgres", "redis") if vitals.of(found, name).health is not Health.UP]
    body = Ready(status="missing" if missing else "ready", missing=missing)
    return JSONResponse(body.model_dump(), 503 if missing else 200)
