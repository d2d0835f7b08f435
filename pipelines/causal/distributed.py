"""Which engine a panel needs, and the same regression on a Dask cluster; Dask is an extra and imported only here.

A cluster is not needed below about 50 million rows a machine: it is for panels that lie elsewhere, and for many models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pipelines.causal import out_of_core
from pipelines.causal.out_of_core import Columns, Limits
from pipelines.causal.sufficient import Fit, Rows
from pipelines.causal.two_way import fit, fit_rows
from pipelines.errors import InvalidInput, PermanentError, TransientError

if TYPE_CHECKING:
    from distributed import Client, Future

Part = TypeVar("Part")
#: Rows x columns above which one machine takes minutes where a cluster takes seconds.
_MANY_VALUES = 500_000_000
#: An in-process fit holds the panel and the copy that it works on; the rest of memory is not ours.
_SHARE = 0.4


class Engine(StrEnum):
    IN_MEMORY = "in_memory"
    OUT_OF_CORE = "out_of_core"
    DISTRIBUTED = "distributed"


@dataclass(frozen=True, slots=True)
class Configured:
    """What the settings say. engine: "auto" or the name of one. scheduler: address of a Dask scheduler, "" without one."""

    engine: str = "auto"
    scheduler: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and in one sentence why."""

    engine: Engine
    reason: str


def which_engine(rows: int, columns: int, memory_bytes: int, configured: Configured) -> Choice:
    """The engine for a panel of so many rows and numeric columns on a machine with so much memory.

    Raises:
        InvalidInput: an unknown engine is configured, or a cluster without its scheduler.
    """
    if configured.engine != "auto":
        return _as_configured(configured)
    gigabytes, allowed = 8e-9 * rows * columns, _SHARE * memory_bytes / 1e9
    size = f"{rows:,} rows x {columns} columns are {gigabytes:.1f} GB"
    if rows * columns >= _MANY_VALUES and configured.scheduler:
        return Choice(Engine.DISTRIBUTED, f"{size}, {_MANY_VALUES:,} values or more, and a cluster is configured")
    if gigabytes <= allowed:
        return Choice(Engine.IN_MEMORY, f"{size}, within {_SHARE:.0%} of memory ({allowed:.1f} GB)")
    return Choice(Engine.OUT_OF_CORE, f"{size}, more than {_SHARE:.0%} of memory ({allowed:.1f} GB)")


def _as_configured(configured: Configured) -> Choice:
    if configured.engine not in list(Engine):
        raise InvalidInput(f'the causal engine is "auto", {", ".join(Engine)}; configured is {configured.engine!r}')
    engine = Engine(configured.engine)
    if engine is Engine.DISTRIBUTED and not configured.scheduler:
        raise InvalidInput("the distributed engine needs the address of a Dask scheduler, such as tcp://host:8786")
    return Choice(engine, f"configured: {engine}")


class OnDask:
    """`two_way.Runner`: one task a part, merged pairwise where the results lie; only the last sum travels here."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def map(self, function: Callable[[Part], Any], parts: Sequence[Part]) -> Iterable[Any]:
        # The solution rides in `function`: sent once to each worker, not once a part.
        shared = self._client.scatter(function, broadcast=True)  # type: ignore[no-untyped-call]  # as Dask has it
        return [self._client.submit(_call, shared, part, pure=False) for part in parts]

    def tree_reduce(self, merge: Callable[[Any, Any], Any], results: Iterable[Any]) -> Any:
        pending: list[Future[Any]] = list(results)
        while len(pending) > 1:
            pairs = zip_longest(pending[::2], pending[1::2])
            pending = [a if b is None else self._client.submit(merge, a, b, pure=False) for a, b in pairs]
        with _errors_of_ours():
            return pending[0].result()


def _call(function: Callable[[Part], Any], part: Part) -> Any:
    return function(part)


class DistributedCausalEngine:
    """The linear core on a Dask cluster: the same functions as in process, so results agree to rounding.

    Workers need this package and see the panel's files under the same paths.
    """

    def __init__(self, client: Client) -> None:
        self._runner = OnDask(client)

    def fit(self, parts: Sequence[Part], names: Sequence[str], load: Callable[[Part], Rows]) -> Fit:
        """As `two_way.fit`, every part loaded by a worker.

        Raises:
            TransientError: a worker was lost more often than Dask puts up with, or the scheduler went away.
        """
        return fit(parts, names, load, self._runner)

    def fit_parquet(self, files: Sequence[Path], columns: Columns, limits: Limits | None = None) -> Fit:
        """As `out_of_core.fit_parquet`."""
        return out_of_core.fit_parquet(files, columns, limits, self._runner)


@contextmanager
def connect(scheduler: str, timeout_s: float = 10) -> Iterator[DistributedCausalEngine]:
    """An engine on the cluster at that address.

    Raises:
        PermanentError: Dask is not installed. TransientError: nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as missing:
        raise PermanentError("the distributed engine: pip install 'causal-organism[distributed]'") from missing
    try:
        client = Client(scheduler, timeout=timeout_s)  # type: ignore[no-untyped-call]  # as Dask has it
    except OSError as error:
        raise TransientError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client:
        yield DistributedCausalEngine(client)


Core = Callable[[Rows, Sequence[str]], Fit]
#: Parts that a panel in memory is cut into: for a cluster enough for every worker, in process enough to keep copies small.
_PARTS = 16


@contextmanager
def core(choice: Choice, scheduler: str) -> Iterator[Core]:
    """The regression core of that choice, for `CausalEngine(fit=...)`. A panel that is in memory already is not written out
    for the sake of the out-of-core engine: it is gone through in parts, so that no second copy of all of it is made.

    Raises:
        PermanentError, TransientError: as `connect`.
    """
    if choice.engine is Engine.IN_MEMORY:
        yield fit_rows
    elif choice.engine is Engine.OUT_OF_CORE:
        yield lambda rows, names: fit(by_unit(rows, _PARTS), names, _itself)
    else:
        with connect(scheduler) as engine:
            yield lambda rows, names: engine.fit(by_unit(rows, _PARTS), names, _itself)


def by_unit(rows: Rows, parts: int) -> list[Rows]:
    """The rows in at most so many parts of about equal size, all rows of a unit in one of them."""
    order = np.argsort(rows.unit, kind="stable")
    unit = rows.unit[order]
    starts = (
        np.flatnonzero(np.concatenate([[True], unit[1:] != unit[:-1]])) if unit.size else np.empty(0, dtype=np.int64)
    )
    wanted = np.linspace(0, unit.size, parts + 1)[1:-1]
    cuts = np.unique(starts[np.minimum(np.searchsorted(starts, wanted), starts.size - 1)]) if starts.size else starts
    return [
        Rows(rows.unit[part], rows.period[part], rows.cluster[part], rows.values[:, part])
        for part in np.split(order, cuts)
        if part.size
    ]


def _itself(rows: Rows) -> Rows:
    return rows


@contextmanager
def _errors_of_ours() -> Iterator[None]:
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker, NoValidWorkerError

    try:
        yield
    except (CancelledError, TimeoutError, CommClosedError, KilledWorker, NoValidWorkerError) as error:
        raise TransientError(f"the cluster lost the computation: {error}") from error
