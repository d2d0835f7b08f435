"""Every role on every route, by the table; and an app that is not the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

from pipelines.access.principals import Role
from pipelines.api import app as apps
from pipelines.api import table
from pipelines.api.table import TABLE, Access
from pipelines.errors import PermanentError, TransientError
from pipelines.interventions.proposal import Proposal
from pipelines.jobs import released
from pipelines.report import story_json
from pipelines.report.story_telling import tell
from pipelines.runs import Mode, Status
from tests.support import stories
from tests.support.api_app import Client, Site, site
from tests.support.fakes_proposals import NOW, proposal

RUN = "0b6e7a5c-3f6e-4f0e-9d53-8f1f9f0a8f1e"
GUARDED = sorted((method, path) for (method, path), access in TABLE.items() if not access.public)
#: What each POST of the API needs to get past its own checks of what is given.
BODIES: dict[str, Any] = {
    "/api/v1/automation/workflow": {"workflow_type": "verify"},
    "/interventions/{proposal_id}/approve": {"version": 1, "reason": "good"},
    "/interventions/{proposal_id}/reject": {"version": 1, "reason": "bad"},
    "/interventions/{proposal_id}/withdraw": {"reason": "late"},
    "/interventions/halt": {"reason": "stop"},
    "/interventions/resume": {"reason": "go"},
    "/dead-letters/replay": {"ids": ["1-0"]},
    "/workflows/flows/{flow_id}/alerts": {"code": "SLOW_RUN", "threshold": 60},
}


def filled(path: str, made: Proposal) -> str:
    names = {"run_id": RUN, "flow_id": RUN, "proposal_id": made.id, "name": "start.js"}
    names |= dict.fromkeys(("flow", "flow_type"), "verify")
    return path.format(**names)


def ready(its: Site) -> Proposal:
    """A run, a proposal and a letter to ask about."""
    made = proposal()
    its.proposals.there[made.id] = made
    its.ledger.schedule("verify", RUN, Mode.DIRECT, NOW, parameters={})
    its.letters.add("1-0")
    return made


def asked(client: Client, route: table.Route, made: Proposal) -> Any:
    method, path = route
    return client.ask(method, filled(path, made), BODIES.get(path) if method == "POST" else None)


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_each_role_passes_where_the_table_says_so_and_nowhere_else(route: table.Route, tmp_path: Path) -> None:
    for role in Role:
        with site(tmp_path) as its:
            made = ready(its)
            answer = asked(Client(its.whole(), role.value), route, made)
        refused = answer.status_code == 403 and ("NOT_ALLOWED" in answer.text or "takes the role" in answer.text)
        assert refused == (role not in TABLE[route].roles), (role, answer.status_code, answer.text)
        assert answer.status_code not in (401, 500, 503), answer.text


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_without_a_credential_nobody_passes(route: table.Route, its: Site, client: Client) -> None:
    answer = asked(client, route, ready(its))
    if TABLE[route].page:
        assert answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")
    else:
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert its.audit.rows == [] and its.launched == [] and its.letters.replayed == []


@pytest.mark.parametrize("route", [r for r in GUARDED if TABLE[r].audited and not TABLE[r].page], ids=" ".join)
def test_an_audited_route_leaves_a_note_before_anything_happens(route: table.Route, tmp_path: Path) -> None:
    role = sorted(TABLE[route].roles)[0]
    with site(tmp_path) as its:
        made = ready(its)
        if route[1].endswith(("findings", "points")):
            keep_story(its)
        answer = asked(Client(its.whole(), role), route, made)
        notes = [row for row in its.audit.rows if row[2] == f"asks {route[0]} {route[1]}"]
        assert [(role_, who) for role_, who, *_ in notes] == [(role, role)], answer.text
    with site(tmp_path) as its:
        made = ready(its)
        if route[1].endswith(("findings", "points")):
            keep_story(its)
        before = repr((its.ledger.runs, its.proposals.there, its.letters.there, its.proposals.halted(), its.rules.kept))
        its.audit.fails = table_away()
        answer = asked(Client(its.whole(), role), route, made)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        after = repr((its.ledger.runs, its.proposals.there, its.letters.there, its.proposals.halted(), its.rules.kept))
        assert before == after and its.launched == [] and its.ended == []


def keep_story(its: Site) -> None:
    its.ledger.begin("full", "f", Mode.DIRECT, NOW, parameters={})
    its.ledger.correlate("f", "full-2026-03-02T06")
    its.ledger.close("f", Status.COMPLETED, NOW)
    released.keep(its.results, "full-2026-03-02T06", story_json.as_dict(tell(stories.material())), NOW)


def table_away() -> Any:
    return TransientError("postgres db:5432: away")


# ------------------------------------------------------------------------------------------------ the app and the table


def test_the_app_is_the_table() -> None:
    found = [key for router in apps.routers() for key in apps._keys(router)]
    table.compare(found, TABLE)
    assert len(found) == len(TABLE)


def test_a_route_without_rights_and_rights_without_a_route_are_refused() -> None:
    with pytest.raises(PermanentError, match="no rights for GET /new"):
        table.compare([*TABLE, ("GET", "/new")], TABLE)
    with pytest.raises(PermanentError, match="no route for GET /gone"):
        table.compare(TABLE, {**TABLE, ("GET", "/gone"): Access()})
    with pytest.raises(PermanentError, match="twice GET /healthz"):
        table.compare([*TABLE, ("GET", "/healthz")], TABLE)


def test_an_audited_route_that_takes_no_note_is_refused(monkeypatch: pytest.MonkeyPatch, its: Site) -> None:
    router = APIRouter()
    router.post("/careless")(lambda: None)
    monkeypatch.setattr(apps, "routers", lambda: [router])
    monkeypatch.setattr(table, "TABLE", {("POST", "/careless"): Access(audited=True)})
    with pytest.raises(PermanentError, match="/careless is audited"):
        apps.create_app(its.desk())


def test_rights_for_nobody_are_for_nobody() -> None:
    assert not Access().public and not Access().roles
