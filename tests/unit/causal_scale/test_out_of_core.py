"""A panel read part by part from files and chunks gives what it gives in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.causal_golden import Columns, weekly_panel
from pipelines.causal import out_of_core, sufficient, two_way
from pipelines.causal.sufficient import Rows
from pipelines.errors import InvalidInput

duckdb = pytest.importorskip("duckdb", reason="duckdb is an extra: panels larger than memory")

COLUMNS = out_of_core.Columns("unit", "week", "team", "y", ("d", "x"))
SMALL = out_of_core.Limits(memory_mb=64, rows_per_part=5_000)


def in_memory(panel: Columns) -> sufficient.Fit:
    rows = Rows(panel["unit"], panel["week"], panel["team"], np.stack([panel[n] for n in ("y", "d", "x")]))
    return two_way.fit_rows(rows, ["d", "x"])


def write(panel: Columns, path: Path, order: str = "unit, week") -> Path:
    with duckdb.connect() as connection:
        connection.register("panel", panel)
        connection.execute(f"COPY (SELECT * FROM panel ORDER BY {order}) TO '{path}' (ROW_GROUP_SIZE 2048)")
    return path


def same(a: sufficient.Fit, b: sufficient.Fit) -> None:
    np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=1e-10)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-10)
    assert (a.names, a.rows, a.units, a.clusters) == (b.names, b.rows, b.units, b.clusters)


@pytest.fixture(scope="module")
def panel() -> Columns:
    return weekly_panel(units=1_500)


def test_ordered_files_are_read_in_parts_of_whole_units(panel: Columns, tmp_path: Path) -> None:
    path = write(panel, tmp_path / "panel.parquet")
    parts = out_of_core.plan([path], COLUMNS, SMALL)
    loaded = [out_of_core.load(part, COLUMNS, SMALL) for part in parts]
    assert len(parts) >= 3
    assert max(len(rows.unit) for rows in loaded) < 3 * SMALL.rows_per_part
    assert sum(len(np.unique(rows.unit)) for rows in loaded) == len(np.unique(panel["unit"]))
    same(out_of_core.fit_parquet([path], COLUMNS, SMALL), in_memory(panel))


def test_files_in_any_order_are_sorted_first(panel: Columns, tmp_path: Path) -> None:
    path = write(panel, tmp_path / "panel.parquet", order="hash(unit, week)")
    assert out_of_core.plan([path], COLUMNS, SMALL) == ()
    same(out_of_core.fit_parquet([path], COLUMNS, SMALL), in_memory(panel))


def test_several_files_are_one_panel(panel: Columns, tmp_path: Path) -> None:
    late = panel["week"] >= 7
    halves = [{k: v[late == side] for k, v in panel.items()} for side in (False, True)]
    files = [write(half, tmp_path / f"{n}.parquet") for n, half in enumerate(halves)]
    same(out_of_core.fit_parquet(files, COLUMNS, SMALL), in_memory(panel))


def test_chunks_with_names_and_dates_give_the_same_as_numbers(panel: Columns) -> None:
    named = dict(panel)
    named["unit"] = np.array([f"p_{unit:08x}" for unit in panel["unit"]], dtype=object)
    named["team"] = np.array([f"Team {team}" for team in panel["team"]], dtype=object)
    named["week"] = np.datetime64("2026-01-05", "s") + panel["week"] * np.timedelta64(7, "D")
    cut = len(panel["unit"]) // 3
    chunks = [{k: v[:cut] for k, v in named.items()}, {k: v[cut:] for k, v in reversed(named.items())}]
    same(out_of_core.fit_chunks(chunks, COLUMNS, SMALL), in_memory(panel))


@pytest.mark.parametrize("order", ["unit, week", "hash(unit, week)"])
def test_rows_with_a_missing_value_are_left_out(panel: Columns, tmp_path: Path, order: str) -> None:
    holes = np.arange(len(panel["unit"])) % 17 == 0
    path = write(panel | {"hole": holes}, tmp_path / "whole.parquet", order)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT unit, week, CASE WHEN hole AND week % 3 = 0 THEN NULL ELSE team END AS team, "
            f"CASE WHEN hole AND week % 3 = 1 THEN NULL ELSE y END AS y, "
            f"CASE WHEN hole AND week % 3 = 2 THEN 'nan'::DOUBLE ELSE d END AS d, x FROM '{path}') "
            f"TO '{tmp_path / 'holes.parquet'}' (ROW_GROUP_SIZE 2048)"
        )
    rest = {name: column[~holes] for name, column in panel.items()}
    same(out_of_core.fit_parquet([tmp_path / "holes.parquet"], COLUMNS, SMALL), in_memory(rest))


def test_a_sorted_copy_is_gone_afterwards(panel: Columns, tmp_path: Path) -> None:
    path = write(panel, tmp_path / "panel.parquet", order="hash(unit, week)")
    out_of_core.fit_parquet([path], COLUMNS, out_of_core.Limits(memory_mb=64, place=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["panel.parquet"]


def test_a_wrong_column_or_file_is_the_users_mistake(panel: Columns, tmp_path: Path) -> None:
    path = write(panel, tmp_path / "panel.parquet")
    with pytest.raises(InvalidInput, match="no column overtime"):
        out_of_core.fit_parquet([path], out_of_core.Columns("unit", "week", "team", "y", ("overtime",)), SMALL)
    with pytest.raises(InvalidInput, match="integer or a date"):
        out_of_core.fit_parquet([path], out_of_core.Columns("unit", "x", "team", "y", ("d",)), SMALL)
    with pytest.raises(InvalidInput, match="cannot be read"):
        out_of_core.fit_parquet([tmp_path / "nothing.parquet"], COLUMNS, SMALL)


def test_a_column_name_is_a_name_and_never_a_statement(panel: Columns, tmp_path: Path) -> None:
    odd = 'd" FROM panel; DROP TABLE panel; --'
    renamed = {odd if name == "d" else name: column for name, column in panel.items()}
    path = write(renamed, tmp_path / "it's.parquet".replace("'", ""), order="unit, week")
    columns = out_of_core.Columns("unit", "week", "team", "y", (odd, "x"))
    result = out_of_core.fit_parquet([path], columns, SMALL)
    np.testing.assert_allclose(result.coefficients, in_memory(panel).coefficients, rtol=1e-10)
