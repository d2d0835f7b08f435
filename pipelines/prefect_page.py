"""What a run leaves in the Prefect UI: a name that says what was processed, progress while it works, its story, an event.

Decoration: a page that cannot be written is a line in the log and never a failed run. Nothing about single people.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from pipelines.errors import Refused
from pipelines.privacy.traces import guard

_log = logging.getLogger(__name__)
#: Seconds between two updates of a progress bar: each is a request.
_UPDATE_S = 2.0


@contextmanager
def _only_decoration() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException, OSError, Refused) as error:
        _log.warning("the page of this run in Prefect is incomplete: %s", type(error).__name__)


def name_run(words: str, forbidden: Iterable[str] = ()) -> None:
    """Call the flow run by what it did, such as `incremental 5,208 applied`."""
    with _only_decoration(), get_client(sync_client=True) as client:
        client.update_flow_run(UUID(str(flow_run.id)), name=guard(words, forbidden))


def story(key: str, markdown: str, words: str, forbidden: Iterable[str] = ()) -> None:
    """The run's story. key: lower case and dashes; the runs of a flow share it, so that Prefect shows them in a row."""
    with _only_decoration():
        create_markdown_artifact(markdown=guard(markdown, forbidden), key=key, description=guard(words, forbidden))


def table(key: str, rows: Sequence[Mapping[str, Any]], words: str) -> None:
    with _only_decoration():
        create_table_artifact(table=[dict(row) for row in rows], key=key, description=words)


def event(name: str, flow: str, numbers: Mapping[str, float]) -> None:
    """`organism.<flow>.<name>`, for automations of your own. numbers: counts only."""
    with _only_decoration():
        emit_event(
            f"organism.{flow}.{name}", resource={"prefect.resource.id": f"organism.{flow}"}, payload=dict(numbers)
        )


@contextmanager
def progress(clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str, float], None]]:
    """One bar for the run, over the piece of work that is under way: call it with a name and the share that is done, 0 to 1.

    One, and not one a piece: Prefect draws each as a mark on the run's time line.
    """
    bar: UUID | None = None
    last = -_UPDATE_S

    def show(what: str, share: float) -> None:
        nonlocal bar, last
        if clock() - last < _UPDATE_S:
            return
        last, words = clock(), what.replace("_", " ")
        with _only_decoration():
            if bar is None:
                bar = UUID(str(create_progress_artifact(100 * share, description=words)))
            else:
                update_progress_artifact(bar, 100 * share, description=words)

    yield show
    if bar is not None:
        with _only_decoration():
            update_progress_artifact(bar, 100.0, description="done")


def draining(show: Callable[[str, float], None], what: str) -> Callable[[int, int], None]:
    """A counter of what is done and what is left as a share."""
    return partial(_share, show, what)


def _share(show: Callable[[str, float], None], what: str, done: int, left: int) -> None:
    show(what, done / (done + left) if done + left else 1.0)
