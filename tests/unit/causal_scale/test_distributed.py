"""The choice of an engine, and the Dask runner on a client that computes at once; real workers: tests/integration."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from benchmarks.causal_golden import weekly_panel
from pipelines.causal import two_way
from pipelines.causal.distributed import (
    Choice,
    Configured,
    DistributedCausalEngine,
    Engine,
    by_unit,
    core,
    which_engine,
)
from pipelines.causal.sufficient import Rows
from pipelines.errors import InvalidInput

GB = 10**9


class Done:
    """A future that is there already. What goes in and out of it is pickled, as between machines."""

    def __init__(self, value: Any) -> None:
        self._bytes = pickle.dumps(value)

    def result(self) -> Any:
        return pickle.loads(self._bytes)


class ClientAtOnce:
    def __init__(self) -> None:
        self.tasks = 0

    def scatter(self, value: Any, broadcast: bool) -> Done:
        assert broadcast
        return Done(value)

    def submit(self, function: Any, *given: Any, pure: bool) -> Done:
        self.tasks += 1
        return Done(function(*(g.result() if isinstance(g, Done) else pickle.loads(pickle.dumps(g)) for g in given)))


def itself(rows: Rows) -> Rows:
    return rows


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_cluster_gives_the_local_numbers(parts: int) -> None:
    pytest.importorskip("distributed", reason="dask is an extra: panels on a cluster")
    panel = weekly_panel()
    rows = Rows(panel["unit"], panel["week"], panel["team"], np.stack([panel[n] for n in ("y", "d", "x")]))
    pieces = [
        Rows(rows.unit[at], rows.period[at], rows.cluster[at], rows.values[:, at])
        for at in (rows.unit % parts == part for part in range(parts))
    ]
    client: Any = ClientAtOnce()
    far = DistributedCausalEngine(client).fit(pieces, ["d", "x"], itself)
    near = two_way.fit_rows(rows, ["d", "x"])
    np.testing.assert_allclose(far.coefficients, near.coefficients, rtol=1e-12)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-12)
    passes = 3  # the statistics twice: the panel has a week of one row
    assert client.tasks == passes * (2 * parts - 1)


@pytest.mark.parametrize("parts", [1, 3, 16, 10_000])
def test_rows_are_cut_between_units_only(parts: int) -> None:
    panel = weekly_panel()
    rows = Rows(panel["unit"], panel["week"], panel["team"], np.stack([panel[n] for n in ("y", "d", "x")]))
    cut = by_unit(rows, parts)
    assert len(cut) <= parts
    units = [set(part.unit.tolist()) for part in cut]
    assert sum(map(len, units)) == len(set().union(*units)) == len(set(rows.unit.tolist()))
    assert sorted(np.concatenate([part.values[0] for part in cut])) == sorted(rows.values[0])


def test_nothing_is_cut_into_nothing() -> None:
    none = np.empty(0, dtype=np.int64)
    assert by_unit(Rows(none, none, none, np.empty((2, 0))), 4) == []


def test_going_through_in_parts_gives_the_same_numbers() -> None:
    panel = weekly_panel()
    rows = Rows(panel["unit"], panel["week"], panel["team"], np.stack([panel[n] for n in ("y", "d", "x")]))
    near = two_way.fit_rows(rows, ["d", "x"])
    with core(Choice(Engine.OUT_OF_CORE, ""), "") as fit:
        far = fit(rows, ["d", "x"])
    np.testing.assert_allclose(far.coefficients, near.coefficients, rtol=1e-12)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "columns", "memory", "configured", "engine", "words"),
    [
        (520_000, 6, 16 * GB, Configured(), Engine.IN_MEMORY, "within 40% of memory"),
        (26_000_000, 8, 2 * GB, Configured(), Engine.OUT_OF_CORE, "more than 40% of memory"),
        (26_000_000, 8, 16 * GB, Configured(scheduler="tcp://s:8786"), Engine.IN_MEMORY, "1.7 GB"),
        (100_000_000, 8, 12 * GB, Configured(), Engine.OUT_OF_CORE, "6.4 GB"),
        (100_000_000, 8, 16 * GB, Configured(scheduler="tcp://s:8786"), Engine.DISTRIBUTED, "a cluster is configured"),
        (10, 2, 16 * GB, Configured("out_of_core"), Engine.OUT_OF_CORE, "configured"),
        (10, 2, 16 * GB, Configured("distributed", "tcp://s:8786"), Engine.DISTRIBUTED, "configured"),
    ],
)
def test_the_engine_is_chosen_by_size_and_says_why(
    rows: int, columns: int, memory: int, configured: Configured, engine: Engine, words: str
) -> None:
    choice = which_engine(rows, columns, memory, configured)
    assert choice.engine is engine
    assert words in choice.reason


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(InvalidInput, match="configured is 'spark'"):
        which_engine(10, 2, GB, Configured("spark"))
    with pytest.raises(InvalidInput, match="address of a Dask scheduler"):
        which_engine(10, 2, GB, Configured("distributed"))
