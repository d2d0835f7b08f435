"""The flows that people start, as commands on real servers without Prefect: what they say, their exit codes, what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import (
    command,
    health_monitoring,
    intervention_planning,
    launching,
    policy_check,
    settings,
    wiring,
    wiring_watch,
)
from pipelines.evidence import Finding, SubjectKind
from pipelines.interventions import standing
from pipelines.jobs import operating
from pipelines.privacy.traces import check_text
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.conftest import as_environment
from tests.support import full_runs, make
from tests.support.fakes_proposals import finding
from tests.support.full_runs import NOW, RUN, Site
from tests.support.wait import wait_until

COMMANDS = {m.__name__.rpartition(".")[2]: m for m in (health_monitoring, policy_check, intervention_planning)}
#: The team that worked late. Of it alone: what is proposed to the organisation would take up the budget of every team.
TEAM = "Product Lantern"
LATE: Finding = finding(
    id="late", question="late", treatment="after_hours_share", contrast=-0.1, contrast_effect=(-0.3, -0.4, -0.2),
    subject_kind=SubjectKind.TEAM, subject=TEAM,
)  # fmt: skip


@dataclass
class Office:
    """The three commands on a site whose full run is over. made: the id of the proposal that it made."""

    site: Site
    made: str
    capsys: pytest.CaptureFixture[str]

    def run(self, name: str, *words: str, code: int = 0) -> tuple[dict[str, Any], Run | None]:
        """What it printed as JSON (after a failure its words), and its row in the ledger, if it left one."""
        before = self.newest(name)
        self.capsys.readouterr()
        got = command.run(partial(COMMANDS[name].main, [*words, "--direct", "--json"]))
        out, err = self.capsys.readouterr()
        assert got == code, out + err
        assert not check_text(out)
        row = self.newest(name)
        fresh = row if row and (before is None or row.id != before.id) else None
        return json.loads(out) if out else {"error": " ".join(err.split())}, fresh

    def newest(self, name: str) -> Run | None:
        with wiring.ledger(self.site.where) as ledger:
            return next(iter(ledger.find(flow_name=name, limit=1)), None)

    def proposals(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.site.where.postgres) as connection:
            rows = connection.execute("SELECT id, version, state, changed_at FROM proposals ORDER BY id").fetchall()
            return [*rows, *connection.execute("SELECT count(*) FROM audit_log").fetchall()]


@pytest.fixture(scope="module")
def site(embedded: wiring.Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with full_runs.site(embedded, tmp_path_factory.mktemp("on-demand"), full_runs.organisation()) as site:
        yield replace(site, findings=[LATE])


@pytest.fixture(scope="module")
def analysed(site: Site) -> str:
    """One full run, in the ledger; the one proposal that came of it."""
    site.run()
    with wiring.ledger(site.where) as ledger:
        ledger.begin("full", "the-run", Mode.DIRECT, NOW, parameters={})
        ledger.correlate("the-run", RUN)
        ledger.close("the-run", Status.COMPLETED, NOW)
    with wiring_watch.proposals(site.config, site.where.postgres) as store:
        assert store is not None
        (made,) = standing.context(store, NOW).standing
    assert made.target.key == TEAM
    return made.id


@pytest.fixture
def office(site: Site, analysed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Office:
    for name, value in full_runs.environment(site).items():
        if name.startswith(("ORGANISM_", "PYTHONPATH")):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(policy_check, "utc_now", lambda: NOW)
    monkeypatch.setattr(intervention_planning, "utc_now", lambda: NOW)
    return Office(site, analysed, capsys)


class TestHealth:
    def test_stores_are_up_and_the_run_keeps_a_number_for_each(self, office: Office) -> None:
        found, row = office.run("health_monitoring", "redis", "graph", "postgres", "disk")
        assert {name: found[name] for name in ("services", "up", "redis", "graph", "postgres", "disk")} == {
            "services": 4, "up": 4, "redis": 1, "graph": 1, "postgres": 1, "disk": 1,
        }  # fmt: skip
        assert row is not None and (row.status, row.mode) == (Status.COMPLETED, Mode.DIRECT)
        assert (row.result["up"], row.result["words"]) == (4, [])
        assert row.parameters["services"] == ["redis", "graph", "postgres", "disk"]
        (step,) = row.steps
        assert (step.name, step.counts["services"], step.counts["down"]) == ("check_health", 4, 0)

    @pytest.mark.parametrize("kind", ["quick", "full"])
    def test_a_service_that_is_down_is_a_finding_and_a_completed_run(
        self, office: Office, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        monkeypatch.setenv("ORGANISM_REDIS_URL", "redis://:canary@127.0.0.1:1/0")
        found, row = office.run("health_monitoring", "redis", "postgres", "--check-type", kind, code=1)
        assert (found["down"], found["redis"], found["postgres"]) == (1, 0, 1)
        assert row is not None and row.status is Status.COMPLETED
        assert row.result["words"][0].startswith("redis is down: ")
        assert "canary" not in json.dumps(dict(row.result)) + json.dumps(found)

    def test_without_postgresql_it_still_answers(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORGANISM_POSTGRES_URL", "postgresql://nobody:canary@127.0.0.1:1/none")
        found, row = office.run("health_monitoring", "redis", "postgres", code=1)
        assert (found["redis"], found["postgres"], row) == (1, 0, None)

    def test_an_unknown_service_is_wrong_input_that_lists_the_known_and_no_run(self, office: Office) -> None:
        found, row = office.run("health_monitoring", "mongo", code=2)
        assert "prefect_server" in found["error"]
        assert "mongo" not in found["error"]
        assert row is None

    def test_it_starts_nothing_and_says_so(
        self, office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("ORGANISM_REDIS_URL", "ORGANISM_GRAPH_URL", "ORGANISM_POSTGRES_URL"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path))
        found, row = office.run("health_monitoring", code=3)
        assert "STOPPED" in found["error"]
        assert row is None


class TestPolicy:
    def test_a_proposal_is_asked_about_without_being_touched(self, office: Office) -> None:
        before = office.proposals()
        found, row = office.run("policy_check", "--proposal", office.made)
        assert (found["rules"], found["passed"], found["codes"]) == (15, 15, [])
        assert row is not None and row.status is Status.COMPLETED
        assert {name: row.result[name] for name in ("rules", "refused", "k")} == {"rules": 15, "refused": 0, "k": 5}
        assert row.steps[0].counts == {"rules": 15, "passed": 15, "refused": 0}
        assert office.proposals() == before

    def test_a_rule_that_says_no_is_a_result(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORGANISM_BLACKOUT", f"{NOW:%Y-%m-%d} a holiday")
        found, row = office.run("policy_check", "--proposal", office.made, code=1)
        assert found["codes"] == ["BLACKOUT"]
        assert row is not None and (row.status, row.result["refused"]) == (Status.COMPLETED, 1)
        assert "a holiday" in row.result["words"][1]

    def test_a_playbook_for_a_team(self, office: Office) -> None:
        found, _ = office.run("policy_check", "--playbook", "quiet_hours", "--team", TEAM)
        assert (found["refused"], found["rules"]) == (0, 16)
        found, _ = office.run("policy_check", "--playbook", "shorter_meetings", "--team", TEAM, code=1)
        assert found["codes"] == ["NO_EVIDENCE"]

    def test_a_document_is_kept_nowhere(self, office: Office, tmp_path: Path) -> None:
        document = tmp_path / "sample.json"
        document.write_bytes(make.event("a") + b'\n{"note": "canary@example.org"}\n{"x": "canary.body"}')
        found, row = office.run("policy_check", "--document", str(document), code=1)
        assert sorted(found["codes"]) == ["FORBIDDEN_CONTENT", "RAW_IDENTIFIER"]
        assert row is not None
        assert row.parameters == {"document": {"items": 3, "valid": 1, "FORBIDDEN_CONTENT": 1, "RAW_IDENTIFIER": 1}}
        assert "canary" not in str(row) + json.dumps(found)

    def test_a_proposal_that_nobody_knows_is_wrong_input_in_the_ledger_too(self, office: Office) -> None:
        found, row = office.run("policy_check", "--proposal", "0123456789abcdef", code=2)
        assert "no such proposal" in found["error"]
        assert row is not None and (row.status, row.error_kind) == (Status.FAILED, ErrorKind.INPUT)

    def test_a_group_below_k_is_refused_in_the_ledger_too(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ORGANISM_MIN_GROUP_SIZE", "40")
        found, row = office.run("policy_check", "--proposal", office.made, code=3)
        assert "GROUP_TOO_SMALL" in found["error"]
        assert row is not None and (row.status, row.error_kind) == (Status.CANCELLED, ErrorKind.REFUSED)


class TestPlanning:
    def test_a_plan_names_what_stands_and_changes_nothing(self, office: Office) -> None:
        before = office.proposals()
        found, row = office.run("intervention_planning", TEAM)
        assert (found["planned"], found["credible"], found["effort"], found["effort_most"]) == (1, 1, 2, 4)
        assert found["words"][1].startswith("in: quiet_hours from 2026-03-02")
        assert f"stands as proposal {office.made}" in found["words"][1]
        assert row is not None and row.status is Status.COMPLETED
        assert (row.result["planned"], row.result["words"], row.result["k"]) == (1, found["words"], 5)
        assert row.steps[0].counts["candidates"] == 5
        assert office.proposals() == before

    def test_it_says_the_same_twice(self, office: Office) -> None:
        assert office.run("intervention_planning", TEAM)[0] == office.run("intervention_planning", TEAM)[0]

    def test_a_window_that_is_too_old_leaves_nothing_to_plan(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        for name, value in full_runs.environment(office.site).items():
            if name.startswith("ORGANISM_"):
                monkeypatch.setenv(name, value)
        found, row = office.run("intervention_planning", TEAM)
        assert (found["planned"], row is not None and row.status) == (0, Status.COMPLETED)
        assert "STALE_WINDOW" in found["codes"]

    def test_a_team_below_k_is_refused_and_not_named(self, office: Office) -> None:
        found, row = office.run("intervention_planning", "canary team", code=3)
        assert "GROUP_TOO_SMALL" in found["error"] and "canary" not in found["error"]
        assert row is not None and row.error_kind is ErrorKind.REFUSED

    def test_a_pseudonym_is_wrong_input_and_no_run(self, office: Office) -> None:
        found, row = office.run("intervention_planning", make.person(7), code=2)
        assert make.person(7) not in found["error"]
        assert row is None


@pytest.mark.parametrize(
    ("flow", "given", "status"),
    [
        ("health_monitoring", {"services": ["redis", "postgres"]}, Status.COMPLETED),
        ("policy_check", {"document": '{"note": "pasted@example.org"}'}, Status.COMPLETED),
        ("intervention_planning", {"team_id": TEAM, "horizon": 60}, Status.COMPLETED),
        ("intervention_planning", {"team_id": "nobody"}, Status.CANCELLED),
    ],
)
def test_each_is_done_by_a_process_of_its_own_when_it_is_asked_for(
    office: Office, flow: str, given: dict[str, Any], status: Status
) -> None:
    where = office.site.where
    with wiring.ledger(where) as ledger, wiring.requests(where) as requests:
        op = launching.operating(settings.load(), ledger, requests, None)
        run = operating.start(op, flow, given, "ada", None, datetime.now(UTC)).run
        ended = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)

        def done() -> Run | None:
            row = ledger.get(run.run_id)
            return row if row and row.status in ended else None

        row = wait_until(done, 120, f"the end of {flow}")
        said = "\n".join(line.text for line in operating.logs(op, run.run_id, 100))
    assert row is not None and (row.status, row.mode) == (status, Mode.DIRECT), f"{row}\n{said}"
    assert row.result.get("words") is not None or status is Status.CANCELLED
    with psycopg.connect(where.postgres) as connection:
        kept = connection.execute(
            "SELECT r::text FROM run_requests r UNION SELECT w::text FROM workflow_runs w"
        ).fetchall()
    assert "pasted" not in said + str(kept), "the text of a document stays with who gave it"


def test_reading_the_context_changes_no_row_and_gives_what_a_run_would_weigh_by(office: Office) -> None:
    seen = []
    before = office.proposals()
    with wiring_watch.proposals(settings.load(), office.site.where.postgres) as store:
        assert store is not None
        mine = standing.context(store, NOW)
        assert office.proposals() == before

        def weigh(context: Any) -> list[Any]:
            seen.append(context)
            return list(context.standing)

        store.propose(weigh, NOW, "a later run", NOW)
    assert mine == seen[0]
    assert as_environment(office.site.where)["ORGANISM_POSTGRES_URL"] == office.site.where.postgres
