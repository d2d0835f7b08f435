"""`python -m benchmarks.prefect_overhead`: what Prefect costs an incremental run of 0 events, and where the time goes.

The same run in three ways that take turns: directly, as a flow of this process, and as a deployment that a worker starts; on
one set of servers (`python -m deployments serve` in a directory of its own). Figures are medians; the schedules are off.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import uuid4

import httpx

from deployments import server
from pipelines.embedded.loopback import free_port

ROOT = Path(__file__).parents[1]
Figures = dict[str, float]
#: What each program loads before it does anything.
IMPORTS = {
    "an empty program": "pass",
    "the job without Prefect": "from pipelines import command, settings, steps, wiring",
    "prefect alone": "import prefect",
    "the flow with Prefect": "import pipelines.incremental",
}


@contextmanager
def served(state: Path, port: int) -> Iterator[dict[str, str]]:
    """Everything on one machine, with no schedules; the environment of its clients."""
    env = server.client_environment(os.environ, state / "prefect", port)
    env |= {"ORGANISM_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}
    log = state / "said"
    with open(log, "wb") as file:
        command = [sys.executable, "-m", "deployments", "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=state, env=env, stdout=file, stderr=file)
    try:
        while "Ctrl-C" not in log.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.5)
        for deployment in httpx.post(f"{env['PREFECT_API_URL']}/deployments/filter", json={}).json():
            httpx.post(f"{env['PREFECT_API_URL']}/deployments/{deployment['id']}/pause_deployment").raise_for_status()
        yield env
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def program(env: dict[str, str], *words: str) -> Figures:
    """Wall and processor seconds of a program."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, *words], env=env, check=True, capture_output=True, cwd=env["ORGANISM_STATE_DIR"])
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime}


def by_worker(api: str) -> Figures:
    """A run of the deployment, by the times of its states as the server has them."""
    deployment = httpx.get(f"{api}/deployments/name/incremental/incremental").json()["id"]
    run = httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json={}).json()["id"]
    while (row := _get(f"{api}/flow_runs/{run}"))["state_type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        time.sleep(0.2)
    if row["state_type"] != "COMPLETED":
        raise SystemExit(f"the run is {row['state_type']}: {row['state']['message']}")
    at = {
        state["type"]: _time(state["timestamp"])
        for state in reversed(_get(f"{api}/flow_run_states/?flow_run_id={run}"))
    }
    tasks = httpx.post(f"{api}/task_runs/filter", json={"flow_runs": {"id": {"any_": [run]}}}).json()
    return {
        "until the worker looks": at["PENDING"] - at["SCHEDULED"],
        "until the flow begins": at["RUNNING"] - at["PENDING"],
        "the flow": at["COMPLETED"] - at["RUNNING"],
        "of it in steps": sum(task["total_run_time"] for task in tasks),
        "wall": at["COMPLETED"] - at["PENDING"],
    }


def _get(url: str) -> Any:
    return httpx.get(url, timeout=30).json()


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def measured(repeats: int) -> dict[str, list[Figures]]:
    state = Path("/var/tmp" if os.geteuid() == 0 else gettempdir()) / f"organism-bench-{uuid4().hex[:8]}"
    state.mkdir(mode=0o755)
    found: dict[str, list[Figures]] = defaultdict(list)
    try:
        with served(state, free_port()) as env:
            direct = ("-m", "pipelines.incremental", "--json")
            ways: dict[str, Callable[[], Figures]] = {
                "direct": lambda: program(env, *direct, "--direct"),
                "flow": lambda: program(env, *direct),
                "worker": lambda: by_worker(env["PREFECT_API_URL"]),
                **{f"import: {name}": lambda words=words: program(env, "-c", words) for name, words in IMPORTS.items()},  # type: ignore[misc]
            }
            for turn in range(repeats + 1):
                for name, way in ways.items():
                    figures = way()
                    if turn:  # the first one warms up
                        found[name].append(figures)
                print(f"{turn} of {repeats}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return found


def medians(found: dict[str, list[Figures]]) -> dict[str, Figures]:
    return {name: {key: statistics.median(f[key] for f in many) for key in many[0]} for name, many in found.items()}


def show(result: dict[str, Figures]) -> None:
    base = result["direct"]["wall"]
    for name, figures in result.items():
        rest = "   ".join(f"{key} {value:6.2f} s" for key, value in figures.items() if key != "wall")
        beside = "" if name.startswith("import") else f"  {figures['wall'] / base:4.1f} x direct"
        print(f"{name:34} {figures['wall']:6.2f} s{beside}   {rest}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prefect_overhead", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, and the machine")
    options = parser.parse_args(argv)
    before = os.getloadavg()[0]
    found = measured(options.repeats)
    result = medians(found)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": [before, os.getloadavg()[0]]}
    print(f"{options.repeats} repeats; {machine}")
    show(result)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "medians": result, "all": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
