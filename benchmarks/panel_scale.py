"""A panel of 26 million person-weeks: ours out of core beside pyfixest, each in a process of its own, in one run.

`python -m benchmarks.panel_scale` makes the panel (parquet, whole people in each file), fits the same regression with every
engine, and prints CPU, wall and peak memory with the largest difference in coefficients and standard errors. pyfixest is
`pip install pyfixest==0.60.0 pyarrow` in an environment of its own, named by `--peers PYTHON`; without it, it is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

_ROWS_PER_FILE, _TEAM = 260_000, 10
_NAMES = ("d", "x0", "x1", "x2")
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


def make(place: Path, people: int, weeks: int, missing: float) -> None:
    """The panel, the same on every machine for the same sizes; `missing`: share of person-weeks that are not there."""
    import duckdb

    season = 0.5 * np.random.default_rng(11).standard_normal(weeks)
    step = -(-_ROWS_PER_FILE // weeks)
    with duckdb.connect() as connection:
        for number, first in enumerate(range(0, people, step)):
            chunk = _people(first, min(step, people - first), weeks, season, missing, number)
            connection.register("chunk", chunk)
            connection.execute(f"COPY chunk TO '{place / f'{number:04d}.parquet'}' (ROW_GROUP_SIZE 262144)")


def _people(first: int, count: int, weeks: int, season: np.ndarray, missing: float, seed: int) -> dict[str, np.ndarray]:
    """Person and calendar confounding, covariates that move slowly, the effect 0.12."""
    rng = np.random.default_rng([2026, seed])
    own = rng.standard_normal((count, 1))
    x = rng.standard_normal((3, count, weeks))
    for week in range(1, weeks):
        x[:, :, week] = 0.6 * x[:, :, week - 1] + 0.8 * x[:, :, week]
    d = 0.8 * np.tanh(1.5 * x[0]) + 0.6 * (x[1] > 0) + 0.8 * own + season + rng.standard_normal((count, weeks))
    y = 0.12 * d + 0.7 * np.tanh(1.5 * x[0]) + 0.3 * x[2] ** 2 + own + season + rng.standard_normal((count, weeks))
    unit = np.repeat(np.arange(first, first + count, dtype=np.int32), weeks)
    columns = {"emp": unit, "week": np.tile(np.arange(weeks, dtype=np.int32), count), "team": unit // _TEAM}
    columns |= {"y": y.ravel(), "d": d.ravel(), "x0": x[0].ravel(), "x1": x[1].ravel(), "x2": x[2].ravel()}
    kept = rng.random(len(unit)) >= missing
    return columns if missing == 0 else {name: column[kept] for name, column in columns.items()}


# ------------------------------------------------------------------------------------------------ engines


def ours(files: list[Path], cluster: str) -> dict[str, Any]:
    from pipelines.causal import out_of_core, sufficient

    columns = out_of_core.Columns("emp", "week", cluster, "y", _NAMES)
    result = out_of_core.fit_parquet(files, columns)
    return {"b": result.coefficients.tolist(), "se": sufficient.se(result).tolist(), "rows": result.rows}


def on_dask(files: list[Path], cluster: str) -> dict[str, Any]:
    from distributed import LocalCluster

    from pipelines.causal import distributed, out_of_core, sufficient

    columns = out_of_core.Columns("emp", "week", cluster, "y", _NAMES)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1GB", dashboard_address=None) as local,
        distributed.connect(local.scheduler_address) as engine,
    ):
        result = engine.fit_parquet(files, columns)
    return {"b": result.coefficients.tolist(), "se": sufficient.se(result).tolist(), "rows": result.rows}


def pyfixest(files: list[Path], cluster: str) -> dict[str, Any]:
    """Read with only the columns needed, and without the copies that pyfixest lets one turn off.

    Clustered by person, the cluster is a renamed copy: see `causal_golden.two_way`.
    """
    import pandas as pd
    import pyfixest as pf

    wanted = list(dict.fromkeys(["emp", "week", cluster, "y", *_NAMES]))
    frame = pd.concat([pd.read_parquet(file, columns=wanted) for file in files], ignore_index=True)
    if cluster == "emp":
        frame["cluster"] = frame["emp"]
        cluster = "cluster"
    model = pf.feols(
        f"y ~ {' + '.join(_NAMES)} | emp + week",
        frame,
        vcov={"CRV1": cluster},
        demeaner=pf.MapDemeaner(fixef_tol=1e-10),
        copy_data=False,
        store_data=False,
        lean=True,
    )
    return {"b": model.coef().tolist(), "se": model.se().tolist(), "rows": int(model._N)}


ENGINES: dict[str, Callable[[list[Path], str], dict[str, Any]]] = {
    "ours (DuckDB)": ours,
    "ours (Dask, 2 workers)": on_dask,
    "pyfixest": pyfixest,
}


def measured(python: str, engine: str, place: Path, cluster: str) -> dict[str, Any] | None:
    """One engine in a new process: figures, CPU of it and its workers, peak memory of the largest process."""
    command = [python, "-m", "benchmarks.panel_scale", "--engine", engine, "--place", str(place), "--cluster", cluster]
    done = subprocess.run(command, env=os.environ | _ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"  {engine}: did not finish (exit {done.returncode}); left out", flush=True)
        return None
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def engine_process(engine: str, place: Path, cluster: str) -> None:
    started = time.perf_counter()
    figures = ENGINES[engine](sorted(place.glob("*.parquet")), cluster)
    figures["wall_s"] = time.perf_counter() - started
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(w) for w in who]
    figures["cpu_s"] = sum(u.ru_utime + u.ru_stime for u in usage)
    figures["peak_gb"] = max(u.ru_maxrss for u in usage) / (1e9 if sys.platform == "darwin" else 1e6)
    print(json.dumps(figures))


# ------------------------------------------------------------------------------------------------ command


def campaign(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for cluster in options.clusters.split(","):
        print(f"clustered by {cluster}", flush=True)
        found = {}
        for engine in ENGINES:
            python = options.peers if engine == "pyfixest" else sys.executable
            figures = measured(python, engine, place, cluster) if python else None
            if figures is not None:
                found[engine] = figures
                _show(engine, figures, found["ours (DuckDB)"])
        results[cluster] = found
    return results


def _show(engine: str, figures: dict[str, Any], first: dict[str, Any]) -> None:
    apart = {key: max(abs(a / b - 1) for a, b in zip(figures[key], first[key], strict=True)) for key in ("b", "se")}
    print(
        f"  {engine:24s} CPU {figures['cpu_s']:6.1f} s  wall {figures['wall_s']:6.1f} s  peak {figures['peak_gb']:5.2f} GB"
        f"  d = {figures['b'][0]:.8f} ({figures['se'][0]:.8f})  {figures['rows']:,} rows"
        f"  from the first: b {apart['b']:.1e}, se {apart['se']:.1e}"
        f"  CPU x{figures['cpu_s'] / first['cpu_s']:.1f}, memory x{figures['peak_gb'] / first['peak_gb']:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel_scale")
    parser.add_argument("--rows", type=int, default=26_000_000, help="person-weeks before any are missing")
    parser.add_argument("--weeks", type=int, default=260)
    parser.add_argument(
        "--missing", type=float, default=0.0, help="share of person-weeks left out: an unbalanced panel"
    )
    parser.add_argument("--clusters", default="emp", help="emp, team, or both with a comma")
    parser.add_argument("--peers", default="", help="a Python that has pyfixest")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--engine", choices=list(ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cluster", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        engine_process(options.engine, options.place, options.cluster)
        return
    with TemporaryDirectory(prefix="panel-scale-") as name:
        people = options.rows // options.weeks
        make(Path(name), people, options.weeks, options.missing)
        print(f"{people:,} people x {options.weeks} weeks, {options.missing:.0%} missing", flush=True)
        results = campaign(Path(name), options)
    if options.json:
        machine = (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
