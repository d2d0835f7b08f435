"""`python -m tests.kills`: kill -9 of a run, the API, the worker and the Prefect server, each in the middle of a run.

After each, what the account and the API say over HTTP until they have the truth, and whether the next run counts everything.
Real processes, embedded stores, `deployments serve` for Prefect; nothing is simulated, so it takes some minutes.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support import api_site
from tests.support.api_site import Site
from tests.support.wait import wait_until
from tests.walk import ENDED, WORKFLOW

#: Some twenty seconds of work for an incremental run.
_EVENTS = 60_000
_LONGEST_S = 420
#: We look four times a second and more.
_GENEROUS = {"ORGANISM_API_RATE": "100"}


@dataclass
class Scene:
    """One kill after the other on one state directory. serve: the process below which Prefect runs; None in direct mode."""

    site: Site
    serve: psutil.Process | None = None
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.site.url, headers=self.site.login(), timeout=30)

    def begin(self) -> str:
        """An incremental run that is at work on a full stream."""
        publish(self.site, _EVENTS)
        asked = {"workflow_type": "incremental", "parameters": {}}
        answer = self.http.post(WORKFLOW, json=asked).raise_for_status().json()
        run_id = str(answer["run_id"])
        wait_until(lambda: "update_graph_incremental" in self.steps(run_id), 120, "the run to be at work")
        return run_id

    def steps(self, run_id: str) -> list[str]:
        answer = self.http.get(f"/workflows/flows/{run_id}/metrics")
        return [step["name"] for step in answer.json()["steps"]] if answer.status_code == 200 else []

    def status(self, run_id: str) -> dict[str, Any]:
        with suppress(httpx.HTTPError):
            answer = self.http.get(f"{WORKFLOW}/{run_id}/status")
            if answer.status_code == 200:
                said: dict[str, Any] = answer.json()
                return said
            return {"status": f"HTTP {answer.status_code}", "state": None}
        return {"status": "no answer", "state": None}

    def follow(self, what: str, run_id: str, wanted: str) -> None:
        """Each thing that the API says of the run, with its time, until it has ended."""
        print(f"\n{what}", flush=True)
        began, last = time.monotonic(), ""
        while time.monotonic() - began < _LONGEST_S:
            said = self.status(run_id)
            words = f"{said['status']}, state {said['state']}"
            if words != last:
                error = (said.get("database_record") or {}).get("error")
                print(
                    f"  after {time.monotonic() - began:5.1f} s: {words}" + (f": {error}" if error else ""), flush=True
                )
                last = words
            if said["status"] in ENDED:
                break
            time.sleep(0.25)
        self.expect(f"{what}: {wanted}", said["status"] == wanted)

    def expect(self, what: str, good: bool) -> None:
        if not good:
            self.wrong.append(what)
            print(f"  WRONG: {what}", flush=True)

    def drains(self) -> None:
        """The next runs take over, and the recount finds every event once."""
        for flow in ("incremental", "verify"):
            said = wait_until(partial(self.next, flow), _LONGEST_S, f"a run of {flow} that is not refused")
            result = said["database_record"]["result"] or {}
            told = {
                name: result[name] for name in ("applied", "duplicates", "backlog", "differences") if name in result
            }
            print(f"  the next {flow}: {said['status']}, {told}", flush=True)
            self.expect(f"the next {flow} completes", said["status"] == "completed" and not result.get("differences"))

    def next(self, flow: str) -> dict[str, Any] | None:
        """One run to its end; None while a rule says no: who was killed keeps its lease for a minute."""
        run = self.http.post(WORKFLOW, json={"workflow_type": flow, "parameters": {}}).raise_for_status().json()
        said = wait_until(lambda: self.over(run["run_id"]), _LONGEST_S, f"{flow} to end")
        if said["status"] != "cancelled":
            return said
        print(f"  the next {flow}: {said['database_record']['error']}", flush=True)
        time.sleep(15)
        return None

    def over(self, run_id: str) -> dict[str, Any] | None:
        said = self.status(run_id)
        return said if said["status"] in ENDED else None

    def kill(self, found: list[psutil.Process]) -> None:
        assert found, "there was nothing to kill"
        for process in found:
            process.kill()

    def below_serve(self, mark: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
        assert self.serve is not None
        return [p for p in self.serve.children(recursive=True) if _holds(mark, p)]


def _holds(mark: Callable[[psutil.Process], bool], process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return mark(process)
    return False


def publish(site: Site, events: int) -> None:
    """Contacts of 200 people in the last day, through the command that people use."""
    its, now = random.Random(time.time_ns()), datetime.now(UTC)
    people = [f"person{n}" for n in range(200)]
    rows = ["who,whom,at"]
    for ago in sorted((its.randrange(86_400) for _ in range(events)), reverse=True):  # a pipe must be in order
        rows.append(",".join([*its.sample(people, 2), (now - timedelta(seconds=ago)).isoformat()]))
    command = [sys.executable, "-m", "pipelines.publish", "-", "--format", "csv", "--source", f"/files/{its.random()}"]
    command += ["--actor", "who", "--target", "whom", "--time", "at", "--medium", "message"]
    env, text = api_site.environment(site.state), "\n".join(rows)
    done = subprocess.run(command, input=text, text=True, env=env, cwd=api_site.ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr


def at_work(run_id: str) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if _holds(is_of(run_id), p)]


def is_of(run_id: str) -> Callable[[psutil.Process], bool]:
    return lambda p: p.cmdline()[-3:] == ["-m", "pipelines.started", run_id]


def is_a_run(process: psutil.Process) -> bool:
    return "PREFECT__FLOW_RUN_ID" in process.environ()


def directly(folder: Path) -> list[str]:
    with api_site.running(folder, **_GENEROUS) as site:
        scene = Scene(site)
        run = scene.begin()
        scene.kill(at_work(run))
        scene.follow("direct mode, kill -9 of the run", run, "failed")
        scene.drains()
        run = scene.begin()
        site.process.kill()
        site.process.wait()
    with api_site.running(folder, known=site, **_GENEROUS) as later:
        after = Scene(later, wrong=scene.wrong)
        after.follow("direct mode, kill -9 of the API; asked of the next one", run, "completed")
        after.drains()
        run = after.begin()
        later.process.kill()
        later.process.wait()
        scene.kill(at_work(run))
    with api_site.running(folder, known=site, **_GENEROUS) as last:
        after = Scene(last, wrong=scene.wrong)
        after.follow("direct mode, kill -9 of the API and of the run; asked of the next one", run, "failed")
        after.drains()
    return scene.wrong


def with_prefect(folder: Path) -> list[str]:
    with api_site.serving(folder) as prefect, api_site.running(folder, prefect.url, **_GENEROUS) as site:
        scene = Scene(site, psutil.Process(prefect.process.pid))
        run = scene.begin()
        scene.kill(scene.below_serve(is_a_run))
        scene.follow("Prefect mode, kill -9 of the run", run, "failed")
        scene.drains()
        run = scene.begin()
        scene.kill(scene.below_serve(lambda p: "deployments.worker" in p.cmdline()))
        # Its run has nobody left who would cancel it or notice its end: serve tells it to stop.
        scene.follow("Prefect mode, kill -9 of the worker, which serve starts again", run, "cancelled")
        scene.drains()
        run = scene.begin()
        scene.kill(scene.below_serve(lambda p: {"prefect", "server", "start"} <= set(p.cmdline())))
        scene.follow("Prefect mode, kill -9 of the Prefect server, which serve starts again", run, "completed")
        scene.drains()
        return scene.wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=(__doc__ or "").split("\n")[0])
    modes = {"direct": directly, "prefect": with_prefect}
    parser.add_argument("--mode", choices=[*modes, "both"], default="both")
    wanted, wrong = parser.parse_args().mode, list[str]()
    for mode, kills in modes.items():
        if wanted in (mode, "both"):
            with api_site.folder() as folder:
                wrong += kills(folder)
    print("\n" + ("all as it should be" if not wrong else "WRONG: " + "; ".join(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
