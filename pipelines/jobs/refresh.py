"""The graph's part of `refresh_materialized_views`: read the graph, compute what is out of date, write it to the nodes.

The marker that says which views are current is taken back before the first value is written and set after the last, so that
whatever happens in between, the next run computes again what may be half written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TransientError
from pipelines.evidence import Ints, Series, SubjectKind
from pipelines.graph import weights
from pipelines.jobs.resources import machine_name
from pipelines.metrics import snapshot as snapshots
from pipelines.metrics.snapshot import Snapshot
from pipelines.metrics.views import MaterializedViewManager, Watch
from pipelines.model import Tie
from pipelines.ports import Graph, Lease

Acts = Iterable[tuple[Sequence[str], NDArray[np.integer[Any]], Ints]]

#: People in one transaction: a third of a second on the embedded server, which is what an ingest may have to wait.
_BATCH = 1_000
#: An incremental run may take four minutes; looked at often, because a batch takes less than a second.
_PATIENCE_S, _LOOK_AGAIN_S = 300.0, 0.5
#: Before the name of a view on a node.
PREFIX = "m_"


class GraphMetrics(Protocol):
    """The values of the views on the nodes of people, and the marker that says which of them are current.

    Every write is one transaction under the ingest's lock, and may be repeated.
    """

    def prepare(self) -> None:
        """The marker's constraint exists. Repeatable."""

    def current(self, run: str) -> dict[str, str]:
        """Keys of the views whose values are on the nodes, by view; {} when nobody can say.

        Nobody can when there is no marker, or when nodes came or went since. To the run that set it, the marker tells of
        the views that this run left alone: what it computed itself it computes again, with the same result.
        """

    def put(self, values: Sequence[tuple[str, Mapping[str, float | None]]], version: int, now_ms: int) -> None:
        """Set properties of people, with `metrics_version` and `refreshed_at`; None takes one away. Nobody is added."""

    def clear(self, names: Sequence[str], now_ms: int) -> int:
        """Take these properties from people whom no `put` of `now_ms` wrote. How many people."""

    def note(
        self, run: str, people: int, views: Mapping[str, str], others: Mapping[str, str], fingerprint: str, now_ms: int
    ) -> None:
        """Set the marker: these views are current, with these keys, on so many people; `others` without this run's help."""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did. ties: directed, media summed, inside the organisation. values: numbers that are not NaN."""

    people: int = 0
    teams: int = 0
    ties: int = 0
    computed: int = 0
    unchanged: int = 0
    values: int = 0
    nodes: int = 0
    cleared: int = 0


def refresh_views(
    graph: Graph,
    metrics: GraphMetrics,
    window: tuple[int, int],
    *,
    run: str,
    now_ms: int,
    acts: Callable[[], Acts] | None = None,
    excluded: frozenset[str] = frozenset(),
    keep: Callable[[Refreshed, list[Series]], None] = lambda _counts, _series: None,
    watch: Watch = lambda _view, _share: None,
    manager: MaterializedViewManager | None = None,
) -> tuple[Refreshed, list[Series]]:
    """Bring the views of the graph up to date. May be run again at any time; what has not changed is not computed.

    Args:
        window: start and end in ms.
        run: its own earlier attempts are not trusted, because nobody knows whether what they computed was kept.
        acts: reads the archive, in chunks of (people, actor as an index into these, time in ms); without it the views of
            acts are left out.
        excluded: people of whom nothing is computed; what is on their nodes is taken away.
        keep: is given the result before the marker is set, to put it where a crash cannot lose it.

    Returns:
        Counts, and the views that were computed; none when nothing changed.
    """
    manager = manager or MaterializedViewManager()
    taken = read(graph, window, acts, excluded)
    previous = metrics.current(run)
    series = manager.refresh(taken, previous, watch)
    keys = manager.keys(taken)
    computed = {s.view for s in series}
    unchanged = {view: key for view, key in keys.items() if view not in computed}
    if series:
        metrics.note(run, taken.n, unchanged, unchanged, taken.fingerprint, now_ms)
    nodes, cleared = _write_back(metrics, taken, series, manager.version, now_ms)
    counts = Refreshed(
        people=taken.n,
        teams=len(taken.teams),
        ties=taken.directed.m,
        computed=len(series),
        unchanged=len(keys) - len(series),
        values=sum(int((~np.isnan(s.values)).sum()) for s in series),
        nodes=nodes,
        cleared=cleared,
    )
    keep(counts, series)
    if series:
        metrics.note(run, taken.n, keys, unchanged, taken.fingerprint, now_ms)
    return counts, series


@contextmanager
def turn(lease: Lease, pause: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """The writer's lease for one batch, once it is free: a run that ingests is let finish, not refused and not starved.

    Raises:
        TransientError: it was not free for five minutes.
    """
    me = f"refresh, pid {os.getpid()} on {machine_name()}"
    waited = 0.0
    while holder := lease.acquire(me):
        if waited >= _PATIENCE_S:
            raise TransientError(f"another run has been writing the graph for {waited / 60:.0f} minutes ({holder})")
        pause(_LOOK_AGAIN_S)
        waited += _LOOK_AGAIN_S
    try:
        yield
    finally:
        lease.release()


def read(
    graph: Graph,
    window: tuple[int, int],
    acts: Callable[[], Acts] | None = None,
    excluded: frozenset[str] = frozenset(),
) -> Snapshot:
    """The graph over a window (start and end in ms), as arrays, as if the excluded had never been there."""
    start_ms, end_ms = window
    people, ties = without(graph, excluded)
    taken = snapshots.take(ties, people, start_ms, end_ms, weights.shown(1.0, end_ms))
    return taken if acts is None else snapshots.with_acts(taken, acts())


def without(graph: Graph, excluded: frozenset[str]) -> tuple[Iterator[tuple[str, str | None]], Iterator[Tie]]:
    """People with their team, and ties, as if the excluded had never been there. Each is read when it is gone through."""
    people = ((person, team) for person, team in graph.people() if person not in excluded)
    return people, (tie for tie in graph.ties() if excluded.isdisjoint((tie.actor, tie.target)))


def _write_back(
    metrics: GraphMetrics, taken: Snapshot, series: Sequence[Series], version: int, now_ms: int
) -> tuple[int, int]:
    """Put the views of people on their nodes. How many nodes were written, and how many others cleared."""
    columns = [(PREFIX + s.view, s.values.tolist()) for s in series if s.kind is SubjectKind.PERSON]
    if not columns:
        return 0, 0
    for start in range(0, taken.n, _BATCH):
        people = taken.people[start : start + _BATCH]
        rows = [(p, {name: _value(values[i]) for name, values in columns}) for i, p in enumerate(people, start)]
        metrics.put(rows, version, now_ms)
    return taken.n, metrics.clear([name for name, _ in columns], now_ms)


def _value(number: float) -> float | None:
    return None if isnan(number) else number
