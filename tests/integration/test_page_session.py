"""The page on real servers: log in by the form, approve behind the confirm page, and what the stores hold then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import settings
from pipelines.access.principals import Role
from pipelines.api.app import create_app
from pipelines.api.desk import Desk, opened
from pipelines.evidence import State
from pipelines.interventions.proposal import Proposal
from pipelines.jobs.ingest import utc_now
from pipelines.runs import Mode, Status
from pipelines.wiring import Endpoints
from tests.support.fakes_proposals import TABLES, band, finding, orchestrator
from tests.support.page_site import PASSWORD, Browser

NAME = "page.anna"


@pytest.fixture
def its(embedded: Endpoints, tmp_path: Path) -> Iterator[Desk]:
    """On the embedded servers, out of shadow mode, with one user who may decide and operate."""
    config = settings.load(state_dir=tmp_path, shadow=False, postgres_url=embedded.postgres, redis_url=embedded.redis)
    with opened(config, embedded) as desk:
        desk.postgres()  # with it the schema is there
        _clean(embedded)
        desk.postgres().access.create(NAME, PASSWORD, [Role.VIEWER, Role.OPERATOR, Role.APPROVER], utc_now())  # type: ignore[attr-defined]
        yield desk
        _clean(embedded)


def _clean(where: Endpoints) -> None:
    with psycopg.connect(where.postgres) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # triggers off
        connection.execute(f"TRUNCATE {TABLES}, credentials, users, run_requests, workflow_runs CASCADE")


def proposed(its: Desk) -> Proposal:
    """One that waits, proposed just now by the real orchestrator."""
    now = utc_now()
    end = now - timedelta(hours=1)
    made = orchestrator(window_end=end)
    its.proposals.propose(lambda where: made.evaluate([finding()], [band(size=40)], where), end, "run-1", now)
    (found,) = its.proposals.list([State.PENDING_APPROVAL])
    return found


@pytest.fixture
def browser(its: Desk) -> Browser:
    made = Browser(create_app(its))
    assert made.login(NAME).headers["location"] == "/"
    return made


def test_an_approval_behind_the_confirm_page_is_one_decision_although_it_is_sent_twice(
    its: Desk, browser: Browser
) -> None:
    made = proposed(its)
    fields = browser.form(f"/proposals/{made.id}/approve") | {"reason": "worth a try"}
    answers = [browser.post(f"/proposals/{made.id}/approve", fields) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 409]
    after = its.proposals.get(made.id)
    assert after is not None
    decisions = [(d.by, d.via, d.reason) for d in after.approval.decisions]
    assert decisions == [(NAME, "status page", "worth a try")]
    assert its.proposals.verify_audit().bad is None


def test_the_switch_is_pulled_and_put_back(its: Desk, browser: Browser) -> None:
    assert browser.post("/switch/halt", browser.form("/switch") | {"reason": "look into it"}).status_code == 303
    halt = its.proposals.halted()
    assert halt is not None
    assert (halt.by, halt.reason) == (NAME, "look into it")
    assert "look into it" in browser.get("/proposals").text
    assert browser.post("/switch/resume", browser.form("/switch") | {"reason": "found"}).status_code == 303
    assert its.proposals.halted() is None


def test_a_run_of_the_ledger_is_on_the_page_and_can_be_cancelled(its: Desk, browser: Browser) -> None:
    run = its.ledger.begin("incremental", "00000000-0000-4000-8000-000000000001", Mode.DIRECT, utc_now(), parameters={})
    assert f'href="/runs/{run.id}"' in browser.get("/").text
    assert browser.send(f"/runs/{run.id}/cancel", reason="a trial").status_code == 303
    found = its.ledger.get(run.run_id)
    assert found is not None
    assert found.status is Status.CANCELLED
    assert f"cancelled by {NAME}: a trial" in browser.get(f"/runs/{run.id}").text


def test_after_the_logout_the_cookie_opens_nothing(its: Desk, browser: Browser) -> None:
    kept = dict(browser.cookies)
    assert browser.post("/logout", browser.form("/proposals")).status_code == 303
    browser.cookies.update(kept)
    assert browser.get("/").headers["location"].startswith("/login")


def test_every_form_that_was_sent_left_its_note_in_the_chain(its: Desk, browser: Browser, embedded: Endpoints) -> None:
    browser.post("/switch/halt", browser.form("/switch") | {"reason": "look into it"})
    with psycopg.connect(embedded.postgres) as connection:
        rows: list[tuple[Any, ...]] = connection.execute("SELECT who, action FROM audit_log ORDER BY seq").fetchall()
    assert [row for row in rows if row[1].startswith("asks")] == [
        (NAME, "asks POST /login"),
        (NAME, "asks POST /switch/halt"),
    ]


def test_a_page_says_when_it_is_from(its: Desk, browser: Browser) -> None:
    text = browser.get("/").text
    at = text.rpartition('As of <time datetime="')[2].partition('"')[0]
    assert abs(datetime.fromisoformat(at) - utc_now()) < timedelta(minutes=1)
