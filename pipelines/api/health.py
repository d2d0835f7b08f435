"""How everything stands: for people and monitors who are let in, and for whoever restarts or routes to this process."""

from __future__ import annotations

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response

from pipelines.api import vitals
from pipelines.api.shapes import Shape, told
from pipelines.api.vitals import IsReady, Of
from pipelines.jobs.health import Health

router = APIRouter(tags=["health"])
#: Threads of its own: whoever routes to this process is answered also while all others wait for something.
_ASKING = CapacityLimiter(2)


class Service(Shape):
    name: str = Field(examples=["redis"])
    status: Health
    words: str = Field(description="what was seen", examples=["answers"])


class HealthOfAll(Shape):
    status: str = Field(description="healthy; degraded: works in part; down: nothing works", examples=["healthy"])
    services: list[Service]
    age_s: float = Field(description="how long ago they were asked, in seconds", examples=[1.5])


class Alive(Shape):
    status: str = Field(examples=["alive"])


class Ready(Shape):
    status: str = Field(description="ready, or missing", examples=["ready"])
    missing: list[str] = Field(examples=[[]])


@router.get("/workflows/health", summary="How each service is")
def health_of_all(its: Of) -> HealthOfAll:
    """Prefect server, work pool, workers, Redis, graph, PostgreSQL, disk, memory, stream: each up, degraded, down or absent.

    Without PostgreSQL nobody can be known anew: who was let in during the last two minutes is told nevertheless.
    A service that hangs keeps nobody waiting: after two seconds the last look is told, with its age.
    """
    seen = its.now()
    services = [Service(name=a.service, status=a.health, words=str(told(a.words))) for a in seen.value.answers]
    return HealthOfAll(status=vitals.overall(seen.value), services=services, age_s=round(seen.age_s, 1))


@router.get("/healthz", summary="Is this process alive")
async def healthz() -> Alive:
    """It answers, whatever is away."""
    return Alive(status="alive")


@router.get("/readyz", summary="Can this process do its work", response_model=Ready, responses={503: {"model": Ready}})
async def readyz(its: IsReady) -> Response:
    """Whether what every request needs can be had: PostgreSQL and Redis, as of some seconds ago. Names what is missing."""
    missing = list(await to_thread.run_sync(its.missing, limiter=_ASKING))
    body = Ready(status="missing" if missing else "ready", missing=missing)
    return JSONResponse(body.model_dump(), 503 if missing else 200)
