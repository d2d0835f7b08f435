"""GET /metrics: the numbers of `python -m pipelines.metrics_endpoint`, for Prometheus with an API key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from alerts import opening
from pipelines import wiring_watch
from pipelines.api.document import TEXT
from pipelines.api.problems import Problem
from pipelines.metrics_endpoint import Latest, numbers
from pipelines.settings import Settings

router = APIRouter(tags=["health"])


def latest(config: Settings) -> Latest:
    """Nothing is learned yet."""
    return Latest(lambda: numbers(config, opening.limits(wiring_watch.alert_settings())))


async def _latest(request: Request) -> Latest:
    found: Latest = request.app.state.latest
    return found


@router.get("/metrics", summary="Numbers for Prometheus", response_class=PlainTextResponse, responses=TEXT)
def metrics(its: Annotated[Latest, Depends(_latest)]) -> Response:
    """Runs, durations, backlog, dead letters, incidents, service levels. Learned anew every five seconds at most."""
    text = its.text()
    if text is None:
        raise Problem(503, "AWAY", "there are no numbers yet", fix="try again", headers={"Retry-After": "5"})
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
