"""Two real Dask workers give the numbers of one process; needs dask, or skips."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from benchmarks.causal_golden import weekly_panel
from pipelines.causal import distributed, out_of_core, two_way
from pipelines.causal.sufficient import Rows
from pipelines.errors import InvalidInput, TransientError

duckdb = pytest.importorskip("duckdb", reason="duckdb is an extra: panels larger than memory")
dask = pytest.importorskip("distributed", reason="dask is an extra: panels on a cluster")

COLUMNS = out_of_core.Columns("unit", "week", "team", "y", ("d", "x"))
LIMITS = out_of_core.Limits(memory_mb=64, rows_per_part=5_000)


def test_two_workers_give_the_local_numbers(tmp_path: Path) -> None:
    panel, path = weekly_panel(units=1_500), tmp_path / "panel.parquet"
    with duckdb.connect() as connection:
        connection.register("panel", panel)
        connection.execute(f"COPY (SELECT * FROM panel ORDER BY unit) TO '{path}' (ROW_GROUP_SIZE 2048)")
    near = out_of_core.fit_parquet([path], COLUMNS, LIMITS)
    with (
        dask.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.connect(cluster.scheduler_address) as engine,
    ):
        far = engine.fit_parquet([path], COLUMNS, LIMITS)
        with pytest.raises(InvalidInput, match="two rows in one period"):  # a worker's error arrives as what it was
            engine.fit_parquet([path], out_of_core.Columns("team", "week", "team", "y", ("d",)), LIMITS)
    np.testing.assert_allclose(far.coefficients, near.coefficients, rtol=1e-10)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-10)
    assert far.rows == near.rows


def test_a_configured_cluster_answers_as_one_process_does() -> None:
    panel = weekly_panel(units=300)
    rows = Rows(panel["unit"], panel["week"], panel["team"], np.stack([panel[n] for n in ("y", "d", "x")]))
    near = two_way.fit_rows(rows, ["d", "x"])
    with dask.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        configured = distributed.Configured("distributed", cluster.scheduler_address)
        choice = distributed.which_engine(rows.unit.size, 2, 10**9, configured)
        with distributed.core(choice, cluster.scheduler_address) as fit:
            far = fit(rows, ["d", "x"])
    np.testing.assert_allclose(far.coefficients, near.coefficients, rtol=1e-10)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-10)


def test_a_scheduler_that_does_not_answer_is_a_transient_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            pytest.raises(TransientError, match="no Dask scheduler answers"),
            distributed.connect("tcp://127.0.0.1:9", timeout_s=0.2),
        ):
            pass
