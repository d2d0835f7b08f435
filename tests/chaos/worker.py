"""A worker process: the real incremental job, again and again, until it is killed. And the control: the naive loop."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

from pipelines import settings, wiring
from pipelines.archive import effects
from pipelines.errors import OrganismError, PermanentError, Refused, TransientError
from pipelines.events import schema
from pipelines.events.stream import Names
from pipelines.graph import weights
from pipelines.graph.builder import EventDrivenGraphBuilder, people_of
from pipelines.jobs import incremental
from pipelines.jobs.ingest import Rules, Stores
from pipelines.model import Interaction
from pipelines.ports import Lease
from pipelines.settings import Settings
from pipelines.wiring import Endpoints
from tests.chaos.points import HOUSEKEEPING, NEW_STREAM, Doom, Grace, Reaper, Watched, WatchedGraph, note

T = TypeVar("T")
INGEST, NAIVE = "ingest", "naive"
LEASE_S, CLAIM_IDLE_S = 0.7, 1.5
_BUDGET = timedelta(seconds=20)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Files:
    """Where processes leave word: a kill that is about to happen, an error that was survived, a run that ended."""

    folder: Path

    @property
    def kills(self) -> Path:
        return self.folder / "kills"

    @property
    def errors(self) -> Path:
        return self.folder / "errors"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def grace(self, consumer: str) -> Grace:
        return Grace(self.folder / f"deaths-{consumer}")


@dataclass(frozen=True)
class Life:
    """One worker from its start to its end.

    lease: False: the lease never refuses, so that two workers write at the same time.
    """

    endpoints: Endpoints
    folder: Path
    consumer: str
    pipeline: str
    lease: bool
    doom: Doom | None


def config() -> Settings:
    """Small batches and short times: as many transactions, take-overs and overlaps as possible."""
    return settings.load(
        _env_file=None,
        batch_size=200,
        window_size=2_000,
        claim_idle_s=CLAIM_IDLE_S,
        lease_s=LEASE_S,
        horizon=timedelta(days=30),
    )


class OpenLease:
    """Takes part and never refuses: what a lease that expired under a living writer amounts to."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def acquire(self, holder: str) -> None:
        self._lease.acquire(holder)

    def renew(self) -> bool:
        self._lease.renew()
        return True

    def release(self) -> None:
        self._lease.release()


# ------------------------------------------------------------------------------------------------ the process


def live(life: Life) -> None:
    """The body of the process. Returns only when its parent is gone."""
    settle_in(life.folder)
    files, parent = Files(life.folder), os.getppid()
    while os.getppid() == parent:
        try:
            with wiring.stores(config(), life.endpoints, Names(consumer=life.consumer)) as stores:
                _begin_what_is_rare(stores, life.doom)
                _work(watched(stores, life), life, files, parent)
        except OrganismError as error:
            note_error(files, error)
            time.sleep(0.1)


def settle_in(folder: Path) -> None:
    """Die with the parent, answer Ctrl-C by leaving it to the parent, and complain into a file."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # The fork server ends when nobody holds this descriptor. A child gets one so that it could start processes too, and
    # would keep its parent alive when the campaign itself is killed.
    if (alive := getattr(forkserver._forkserver, "_forkserver_alive_fd", None)) is not None:
        os.close(alive)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(Files(folder).log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def note_error(files: Files, error: Exception) -> None:
    note(files.errors, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _begin_what_is_rare(stores: Stores, doom: Doom | None) -> None:
    if doom and doom.points & HOUSEKEEPING:
        stores.graph.note_purge(0)
    if doom and doom.points & NEW_STREAM:
        stores.graph.note_stream("")


def watched(stores: Stores, life: Life) -> Stores:
    """The same stores, each call a point at which this life may end."""
    files = Files(life.folder)
    reaper = Reaper(life.doom, files.kills, files.grace(life.consumer))
    graph: Any = WatchedGraph(stores.graph, "graph", reaper)
    lease: Any = stores.lease if life.lease else OpenLease(stores.lease)
    others: dict[str, Any] = {
        name: Watched(getattr(stores, name), name, reaper) for name in ("stream", "letters", "archive", "cache")
    }
    builder = EventDrivenGraphBuilder(graph, effects.pack, pause=lambda seconds: time.sleep(seconds / 20))
    return replace(stores, graph=graph, lease=Watched(lease, "lease", reaper), builder=builder, **others)


def _work(stores: Stores, life: Life, files: Files, parent: int) -> None:
    rules = wiring.rules(config())
    turn = _incremental if life.pipeline == INGEST else _naive
    while os.getppid() == parent:
        try:
            turn(stores, rules, files)
        except Refused:
            time.sleep(0.05)
        except (TransientError, PermanentError) as error:
            note_error(files, error)
            time.sleep(0.05)


def _incremental(stores: Stores, rules: Rules, files: Files) -> None:
    report = incremental.run(stores, rules, wiring.upkeep(config()), _BUDGET, _step)
    note(files.runs, f"lost {report.lost} reset {int(report.reset)}")
    if report.drained:
        time.sleep(0.02)


def _step(function: Callable[..., T], *args: Any) -> T:
    """As `steps.direct` does it, with waits that fit a campaign of minutes."""
    for wait in (0.2, 0.5):
        try:
            return function(*args)
        except TransientError:
            time.sleep(wait)
    return function(*args)


def _naive(stores: Stores, rules: Rules, files: Files) -> None:
    """What most people write: read, add with MERGE, acknowledge. No ledger, no outbox; invalid entries are skipped."""
    stores.stream.prepare()
    stores.stream.fetch(rules.window_size, rules.claim_idle)
    while entries := stores.stream.pending("0", rules.batch_size):
        events = [schema.parse(entry.fields.get(schema.FIELD, b""))[0] for entry in entries]
        good = [event for event in events if isinstance(event, Interaction)]
        ties = weights.ties(good)

        def add(writer: Any, ties: Any = ties) -> None:
            writer.add_people(sorted({person for tie in ties for person in (tie.actor, tie.target)}))
            writer.add_ties(ties)

        stores.graph.write(add)
        stores.stream.finish(entries)
        stores.cache.drop(sorted(people_of(good)))
    note(files.runs, "lost 0 reset 0")
    time.sleep(0.02)
