"""Runs by request on a real Prefect server with a real worker: started once, cancelled truthfully, repeated, followed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from pipelines import launching, settings, wiring
from pipelines.errors import Refused, TransientError
from pipelines.jobs import operating
from pipelines.jobs.operating import Operating
from pipelines.orchestrator.store import PrefectApi, opened
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.conftest import as_environment
from tests.conftest import opened as opened_stores
from tests.flows import trying
from tests.flows.trying import Pool
from tests.support.wait import wait_until

pytestmark = pytest.mark.prefect
_LIMIT = {
    "concurrency_limit": 1,
    "concurrency_options": {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 60},
}


@dataclass
class Site:
    """Stores, a server and what operates runs on them."""

    op: Operating
    api: PrefectApi
    pool: Pool
    where: wiring.Endpoints
    folder: Path

    def deploy(self, flow: str, entrypoint: str) -> str:
        """As `flow/flow`, with one slot."""
        id_ = self.pool.post("/flows/", name=flow)["id"]
        body = {
            "name": flow,
            "flow_id": id_,
            "work_pool_name": self.pool.name,
            "pull_steps": [],
            "entrypoint": entrypoint,
        }
        made: str = self.pool.post("/deployments/", **body, **_LIMIT)["id"]
        return made

    def row(self, run_id: str) -> Run:
        run = self.op.ledger.get(run_id)
        assert run is not None
        return run

    def until(self, run_id: str, *statuses: Status, seconds: float = 90) -> Run:
        wait_until(lambda: self.row(run_id).status in statuses, seconds, f"{statuses} of a run")
        return self.row(run_id)

    def until_it_hangs(self) -> psutil.Process:
        mark = self.folder / "hangs"
        wait_until(lambda: mark.exists() and mark.read_text(), 90, "the run to be at work")
        return psutil.Process(int(mark.read_text()))


def now(later: timedelta = timedelta(0)) -> datetime:
    return datetime.now(UTC) + later


@pytest.fixture
def site(
    embedded: wiring.Endpoints, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    own = {"ORGANISM_STATE_DIR": str(tmp_path), "HANGS_AT": str(tmp_path / "hangs")}
    for name, value in {**as_environment(embedded), **own}.items():
        monkeypatch.setenv(name, value)
    with (
        trying.pool(prefect_api, tmp_path) as pool,
        opened_stores(embedded),
        wiring.ledger(embedded) as ledger,
        wiring.requests(embedded) as requests,
        opened(prefect_api) as api,
    ):
        op = launching.operating(settings.load(), ledger, requests, api)
        site = Site(op, api, pool, embedded, tmp_path)
        yield site
        for flow in ("incremental", "full"):
            httpx.delete(f"{prefect_api}/deployments/{_id(prefect_api, flow)}", timeout=20)


def _id(api: str, flow: str) -> Any:
    return httpx.get(f"{api}/deployments/name/{flow}/{flow}", timeout=20).json().get("id", "none")


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def start(site: Site, flow: str, key: str | None = None, **asked: Any) -> operating.Started:
    return operating.start(site.op, flow, asked, "ada", key, now())


def lines(site: Site, run: Run) -> list[operating.Line]:
    return operating.logs(site.op, run.run_id, 200)


def test_a_full_run_by_request_completes_and_knows_who_may_not_approve_what_comes_of_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when whoever asked Prefect for it died before writing down which run it became."""
    site.deploy("full", "pipelines.full.full")

    def dies(_id: str, _run_id: str) -> None:
        raise TransientError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(site.op.requests, "note_run", dies)
        with pytest.raises(TransientError):
            start(site, "full", key="k", propose=False)
    with site.pool.worker():
        wait_until(lambda: site.op.ledger.find(flow_name="full", statuses=[Status.COMPLETED]), 120, "the run")
        (run,) = site.op.ledger.find(flow_name="full")
        site.pool.until(run.run_id, "COMPLETED")
        # While its worker lives: a run sends its last lines when it ends, and ends with its worker.
        wait_until(
            lambda: any("run_causal_analysis ended" in line.text for line in lines(site, run)),
            60,
            "the lines on the server",
        )
    again = start(site, "full", key="k", propose=False)
    (run,) = site.op.ledger.find(flow_name="full")
    assert (again.repeated, again.run.run_id) == (True, run.run_id)
    assert (run.mode, run.parameters["propose"], run.deployment_name) == (Mode.PREFECT, False, "full")
    with psycopg.connect(site.where.postgres) as connection:
        begun = "SELECT payload FROM step_results WHERE run = %s AND step = 'begin'"
        found = connection.execute(begun, (run.correlation_id,)).fetchone()
    assert found is not None and bytes(found[0]) == b"ada"
    there = httpx.get(f"{site.pool.api}/flow_runs/{run.run_id}", timeout=20).text
    assert '"ada"' not in there, "everybody may look at Prefect"
    assert any("run_causal_analysis started" in line.text for line in lines(site, run))
    assert operating.live(site.op, run).prefect_state == "Completed"


def test_the_same_key_makes_one_run_of_prefects(site: Site) -> None:
    deployment = site.deploy("incremental", "tests.flows.operated_flow.operated")
    first, second = start(site, "incremental", key="k"), start(site, "incremental", key="k")
    assert (first.run.run_id, second.repeated) == (second.run.run_id, True)
    assert len(site.pool.runs(deployment)) == 1
    assert first.run.status is Status.SCHEDULED and first.why_direct is None


def test_the_same_key_from_many_at_once_makes_one_run_of_prefects(site: Site) -> None:
    """A server on SQLite answers some of them 503; who comes again with the key, as the answer says, gets the same run."""
    deployment = site.deploy("incremental", "tests.flows.operated_flow.operated")

    def one(_: int) -> str:
        for _attempt in range(20):
            with suppress(TransientError):
                return start(site, "incremental", key="k").run.run_id
        raise AssertionError("it was never answered")

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(one, range(8)))
    assert len(found) == len(site.pool.runs(deployment)) == site.op.ledger.count() == 1


def test_what_waits_is_cancelled_at_once(site: Site) -> None:
    site.deploy("incremental", "tests.flows.operated_flow.operated")
    run = start(site, "incremental").run
    done = operating.cancel(site.op, run.run_id, "ada", "too late", now())
    assert (done.status, done.prefect_state, done.error) == (
        Status.CANCELLED,
        "Cancelled",
        "cancelled by ada: too late",
    )
    assert site.pool.state(run.run_id) == "CANCELLED"
    with pytest.raises(Refused, match="ENDED"):
        operating.cancel(site.op, run.run_id, "ada", "", now())


def repeated(site: Site, run_id: str) -> Run | None:
    """None while the server is too busy (on SQLite it answers 503 then): the same key is the same request."""
    try:
        return operating.retry(site.op, run_id, "bob", "once more", now()).run
    except TransientError:
        return None


def test_what_works_is_cancelled_when_its_process_has_ended_and_can_be_repeated(site: Site) -> None:
    deployment = site.deploy("incremental", "tests.flows.operated_flow.operated")
    with site.pool.worker():
        run = start(site, "incremental", budget_s=30).run
        process = site.until_it_hangs()
        told = operating.cancel(site.op, run.run_id, "ada", "too late", now())
        assert told.prefect_state in ("Cancelling", "Cancelled")
        assert "ada" not in str(told.error), "only the run itself may say that it has ended"
        row = site.until(run.run_id, Status.CANCELLED)
        wait_until(lambda: gone(process), 20, "the end of its process")
        assert (row.error_kind, [step.status for step in row.steps]) == (ErrorKind.INTERRUPTED, [Status.CANCELLED])
        site.pool.until(run.run_id, "CANCELLED")
        wait_until(lambda: site.pool.slots(deployment) == 0, 20, "the slot")
        again = wait_until(lambda: repeated(site, run.run_id), 60, "a server that is not too busy")
        done = site.until(again.run_id, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
        assert (done.status, done.parameters["budget_s"]) == (Status.COMPLETED, 30), done.error
    assert operating.live(site.op, site.row(run.run_id)).prefect_state == "Cancelled"
    assert site.op.requests.askers(again.run_id) == ("ada", "bob")


def test_who_is_deaf_to_it_is_killed_and_its_row_is_closed_when_it_is_silent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEAF", "1")
    site.deploy("incremental", "tests.flows.operated_flow.operated")
    with site.pool.worker():
        run = start(site, "incremental").run
        process = site.until_it_hangs()
        told = operating.cancel(site.op, run.run_id, "ada", "too late", now())
        assert (told.status, told.prefect_state) == (Status.RUNNING, "Cancelling")
        site.pool.until(run.run_id, "CANCELLED", 90)
        wait_until(lambda: gone(process), 20, "the end of its process")
    assert site.row(run.run_id).status is Status.RUNNING, "it could say nothing, and it beat a moment ago"
    assert operating.cancel(site.op, run.run_id, "ada", "", now()).status is Status.RUNNING
    done = operating.cancel(site.op, run.run_id, "ada", "too late", now(timedelta(minutes=2)))
    assert (done.status, done.error) == (Status.CANCELLED, "cancelled by ada: too late")


def test_without_a_deployment_it_is_refused_and_says_what_to_do(site: Site) -> None:
    with pytest.raises(Refused, match=r"NOT_TAKEN.*deployments list"):
        start(site, "incremental")
    assert site.op.ledger.count() == 0
