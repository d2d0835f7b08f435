"""What a run leaves in the Prefect UI: a name that says what was processed, progress while it works, its story, an event.

Decoration: a page that cannot be written is a line in the log and never a failed run. Nothing about single people.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar
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

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Seconds between two updates of a progress bar: each is a request.
_UPDATE_S = 2.0
_LONGEST_NAME = 100

#: Seconds that a run waits for its page; a server that hangs must not hold up the work. After one failure it is given up.
_PATIENCE_S = 5.0
_given_up = threading.Event()


@contextmanager
def only_decoration() -> Iterator[None]:
    """What fails here is a line in the log."""
    try:
        yield
    except (httpx.HTTPError, PrefectException, OSError, RuntimeError, Refused) as error:
        _given_up.set()
        _log.warning("the page of this run is incomplete: %s", type(error).__name__)


def _write(request: Callable[[], T]) -> T | None:
    """What the server answered, or None. In a thread: Prefect's client tries for minutes where a server hangs."""
    if _given_up.is_set():
        return None
    found: list[T] = []

    def ask() -> None:
        with only_decoration():
            found.append(request())

    thread = threading.Thread(target=copy_context().run, args=(ask,), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if thread.is_alive():
        _given_up.set()
        _log.warning("the page of this run is incomplete: the server did not answer within %g s", _PATIENCE_S)
    return found[0] if found else None


def name_run(words: str, forbidden: Iterable[str] = ()) -> None:
    """Call the flow run by what it did, such as `incremental: 5,208 applied`, in at most 100 characters."""
    run = UUID(str(flow_run.id))

    def rename() -> None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run, name=_fitting(guard(words, forbidden)))

    _write(rename)


def _fitting(name: str) -> str:
    """Cut at the end of a word: the server's lists show one line."""
    if len(name) <= _LONGEST_NAME:
        return name
    whole, _, _ = name[: _LONGEST_NAME - 1].rpartition(" ")
    return (whole or name[: _LONGEST_NAME - 1]).rstrip(" ,;:") + "…"


def story(key: str, markdown: str, words: str, forbidden: Iterable[str] = ()) -> None:
    """The run's story. key: lower case and dashes; the runs of a flow share it, so that Prefect shows them in a row."""
    _write(
        lambda: create_markdown_artifact(
            markdown=guard(markdown, forbidden), key=key, description=guard(words, forbidden)
        )
    )


def table(key: str, rows: Sequence[Mapping[str, Any]], words: str) -> None:
    def create() -> None:
        guard(json.dumps([*rows, words], default=str))
        create_table_artifact(table=[dict(row) for row in rows], key=key, description=words)

    _write(create)


def event(name: str, flow: str, numbers: Mapping[str, float]) -> None:
    """`organism.<flow>.<name>`, for automations of your own. numbers: counts only."""
    about = {"prefect.resource.id": f"organism.{flow}"}
    _write(lambda: emit_event(f"organism.{flow}.{name}", resource=about, payload=dict(numbers)))


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
        if bar is None:
            made = _write(lambda: create_progress_artifact(100 * share, description=words))
            bar = UUID(str(made)) if made else None
        else:
            _update(bar, 100 * share, words)

    yield show
    if bar is not None:
        _update(bar, 100.0, "done")


def _update(bar: UUID, percent: float, words: str) -> None:
    _write(lambda: update_progress_artifact(bar, percent, description=words))


def draining(show: Callable[[str, float], None], what: str) -> Callable[[int, int], None]:
    """A counter of what is done and what is left as a share."""
    return partial(_share, show, what)


def _share(show: Callable[[str, float], None], what: str, done: int, left: int) -> None:
    show(what, done / (done + left) if done + left else 1.0)
