"""GET /metrics: the numbers of `python -m pipelines.metrics_endpoint`, for Prometheus with an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from pipelines.api.document import TEXT
from pipelines.api.problems import Problem
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.metrics_endpoint import Latest

router = APIRouter(tags=["health"])


def latest(config: Settings) -> Latest:
    """The numbers as they were last learned. What learns them is imported when they are first asked for."""
    from alerts import opening
    from pipelines import wiring_watch
    from pipelines.metrics_endpoint import Latest, numbers

    limits = opening.limits(wiring_watch.alert_settings())
    return Latest(lambda: numbers(config, limits))


def _latest(request: Request) -> Latest:
    state = request.app.state
    if state.latest is None:  # two at once would make two, of which one is forgotten
        state.latest = latest(state.desk.config)
    found: Latest = state.latest
    return found


@router.get(
    "/metrics", summary="Numbers for Prometheus", response_class=PlainTextResponse, responses=TEXT
)  # fmt: skip
def metrics(its: Annotated[object, Depends(_latest)]) -> Response:
    """Runs, durations, backlog, dead letters, incidents, service levels. Learned anew every five seconds at most."""
    text = its.text()  # type: ignore[attr-defined]  # a Latest, which is imported late
    if text is None:
        raise Problem(503, "AWAY", "there are no numbers yet", fix="try again", headers={"Retry-After": "5"})
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
