"""`python -m pipelines.review` as a person uses it: what it shows, what it asks, its exit codes, and what stays."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pipelines import command, migrate, review, settings, wiring
from pipelines.evidence import State, Status
from pipelines.interventions.bands import Band
from pipelines.interventions.policy import Rules
from pipelines.interventions.proposal import Proposal, TargetKind
from tests.support.fakes_proposals import LIVE, TABLES, band, finding, orchestrator

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Office:
    """The command on empty tables, in a state directory of its own."""

    url: str = field(repr=False)  # it carries a password
    folder: Path
    capsys: pytest.CaptureFixture[str]
    rules: Rules = LIVE

    def run(self, *arguments: str, code: int = 0) -> str:
        """Standard output; after a failure standard error."""
        self.capsys.readouterr()
        got = command.run(partial(review.main, list(arguments)))
        out, err = self.capsys.readouterr()
        assert got == code, out + err
        return out if code in (0, 1) else " ".join(err.split())

    def propose(
        self,
        hours_ago: float = 0,
        status: Status = Status.CREDIBLE,
        size: int = 20,
        people: int = 400,
        bands: Sequence[Band] = (),
    ) -> Proposal:
        """A run some hours ago that carl started, about the team `sales` or those bands; the first of what came of it."""
        now = datetime.now(UTC) - timedelta(hours=hours_ago)
        evaluate = orchestrator(window_end=now, requested_by=("carl",)).evaluate
        weigh = partial(evaluate, [finding(status=status, people=people)], bands or [band("sales", size=size)])
        with wiring.proposals(settings.load()) as store:
            store.propose(weigh, now, "run-1", now)
            return store.list(list(State))[0]

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def office(
    embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Office:
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
    here = Office(embedded.postgres, tmp_path / "state", capsys)
    here.sql(f"TRUNCATE {TABLES}")
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", embedded.postgres)
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(here.folder))
    monkeypatch.setattr(wiring, "policy_rules", lambda config: replace(here.rules, k=config.min_group_size))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return here


SIGNED = ("--as", "Anna Berg", "--reason", "worth a try")


def test_an_empty_desk_says_so(office: Office) -> None:
    assert office.run("list") == "no proposals\n"
    assert json.loads(office.run("list", "--json")) == {
        "halted": None,
        "withheld": 0,
        "hidden": [],
        "proposals": [],
    }
    assert json.loads(office.run("audit", "verify", "--json")) == {"rows": 0, "head": "0:", "bad": None}


def test_a_proposal_is_listed_and_shown_with_what_happens_and_the_undo(office: Office) -> None:
    made = office.propose()
    listed = office.run("list")
    assert made.id in listed
    assert "pending approval" in listed
    lines = office.run("show", made.id).splitlines()
    shown = " ".join(" ".join(lines).split())
    for words in (
        made.preview,
        made.reversibility,
        "sales (at least 20 people)",
        "meeting_h 14, normal is 8 to 12",
        "lead test passed",
    ):
        assert words in shown
    assert "exhaustion -0.2 (95 % interval -0.28 to -0.12) in 84 days" in shown
    assert json.loads(office.run("show", made.id, "--json"))["preview"] == made.preview
    assert max(len(line) for line in [*listed.splitlines(), *lines]) <= 80


def test_an_approval_shows_what_it_is_about_before_it_asks(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    made = office.propose()
    err = office.run("approve", made.id, *SIGNED, code=3)
    assert "NOT_CONFIRMED" in err
    assert err.index(made.preview) < err.index(made.reversibility) < err.index("NOT_CONFIRMED")
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "n"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    office.run("approve", made.id, *SIGNED, code=3)
    assert asked == ["Agree to this? [y/N] "]
    assert "pending approval" in office.run("show", made.id)


def test_an_approval_is_kept_with_name_and_reason_and_only_once(office: Office) -> None:
    made = office.propose()
    assert office.run("approve", made.id, *SIGNED, "--yes") == f"{made.id} version 1: approved\n"
    assert "Anna Berg" in office.run("show", made.id)
    assert "NOT_PENDING" in office.run("approve", made.id, "--as", "Bo", "--reason", "me too", "--yes", code=3)
    assert "row" in office.run("audit", "verify")


def test_two_approvers_of_a_small_group_and_never_the_same_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.rules = replace(LIVE, two_persons_below=30)
    made = office.propose()
    assert "1 more to agree" in office.run("approve", made.id, *SIGNED, "--yes")
    assert "SAME_PERSON" in office.run("approve", made.id, *SIGNED, "--yes", code=3)
    other = ("approve", made.id, "--as", "Bo", "--reason", "me too", "--yes")
    assert "SAME_PERSON" in office.run(*other, code=3), "another name, the same login"
    monkeypatch.setattr(command, "account", lambda: "bo")
    assert "approved" in office.run(*other)
    decisions = json.loads(office.run("show", made.id, "--json"))["approval"]["decisions"]
    assert decisions[1]["account"] == "bo"
    assert "as they were written" in office.run("audit", "verify")


def test_whoever_started_the_run_cannot_approve_under_another_name(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = office.propose()
    monkeypatch.setattr(command, "account", lambda: "Carl")
    assert "SELF_APPROVAL" in office.run("approve", made.id, *SIGNED, "--yes", code=3)


def test_whoever_started_the_run_cannot_approve(office: Office) -> None:
    made = office.propose()
    assert "SELF_APPROVAL" in office.run("approve", made.id, "--as", "Carl", "--reason", "mine", "--yes", code=3)
    assert "rejected" in office.run("reject", made.id, "--as", "Carl", "--reason", "not now", "--yes")


def test_shadow_mode_shows_and_does_not_approve(office: Office) -> None:
    office.rules = Rules()
    made = office.propose()
    assert "shadow" in office.run("list")
    err = office.run("approve", made.id, *SIGNED, "--yes", code=3)
    assert "NOT_PENDING" in err
    assert "SHADOW_MODE" not in err  # the code is that of the first reason; the sentence names both
    assert "shadow mode" in err


def test_what_is_blocked_says_what_would_unblock_it(office: Office) -> None:
    made = office.propose(status=Status.FEEDBACK_OR_CONFOUNDING)
    assert "unblocked by: a pilot" in " ".join(office.run("show", made.id).split())
    assert "withdrawn" in office.run("withdraw", made.id, *SIGNED, "--yes")


def test_an_old_version_cannot_be_approved(office: Office) -> None:
    made = office.propose()
    assert "OLD_VERSION" in office.run("approve", made.id, *SIGNED, "--yes", "--version", "7", code=3)


def test_the_switch_stops_approvals_until_it_is_released(office: Office) -> None:
    made = office.propose()
    assert office.run("halt", "--reason", "odd numbers", "--as", "Eva") == "halted\n"
    assert office.run("halt", "--reason", "odd numbers") == "halted already\n"
    assert "HALTED" in office.run("list")
    assert "HALTED" in office.run("approve", made.id, *SIGNED, "--yes", code=3)
    assert json.loads(office.run("resume", "--reason", "explained", "--json")) == {"state": "running", "changed": True}
    office.run("approve", made.id, *SIGNED, "--yes")


def test_what_waited_too_long_expires(office: Office) -> None:
    made = office.propose(hours_ago=25)
    assert "EXPIRED" in office.run("approve", made.id, *SIGNED, "--yes", code=3)
    assert office.run("expire") == "expired 1\n"
    assert office.run("expire") == "expired 0\n"
    assert office.run("list") == "no proposals\n"
    assert made.id in office.run("list", "--all")


def test_a_raised_k_withholds_what_was_proposed_before(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    made = office.propose(size=9)
    monkeypatch.setenv("ORGANISM_MIN_GROUP_SIZE", "10")
    listed = office.run("list")
    assert made.id in listed
    assert "about too few" in " ".join(listed.split())
    for verb in ("show", "approve", "reject"):
        err = office.run(verb, made.id, *(() if verb == "show" else (*SIGNED, "--yes")), code=3)
        assert "GROUP_TOO_SMALL" in err
        assert "sales" not in err + listed
    assert "too few people to show" in office.run("withdraw", made.id, *SIGNED, code=3)
    assert "withdrawn" in office.run("withdraw", made.id, *SIGNED, "--yes"), "taking back asks nothing of anybody"


def eight(office: Office) -> tuple[Proposal, Proposal]:
    """An organisation of eight: a team of five, and so three whom nobody may be told of."""
    everybody = band("", kind=TargetKind.ORG, size=8, value=15.75)
    five = band("Big", size=5, value=14.4)
    office.propose(bands=[everybody, five], people=403)
    with wiring.proposals(settings.load()) as store:
        one, other = store.list(list(State))
    return (one, other) if one.target.kind is TargetKind.ORG else (other, one)


def test_what_is_listed_cannot_be_subtracted(office: Office) -> None:
    whole, part = eight(office)
    told = json.loads(office.run("list", "--json"))
    assert [p["id"] for p in told["proposals"]] == [whole.id]
    assert told["hidden"] == [{"id": part.id, "state": "blocked", "words": "about too few people to show"}]
    for shown in (office.run("list"), office.run("list", "--all", "--json"), office.run("show", whole.id)):
        assert "14.4" not in shown
        assert "Big" not in shown
    assert "GROUP_TOO_SMALL" in office.run("show", part.id, "--json", code=3)
    office.run("reject", whole.id, *SIGNED, "--yes")
    assert "GROUP_TOO_SMALL" in office.run("show", part.id, code=3), "who looked before still knows"


def test_numbers_are_shown_as_coarsely_as_on_the_page_and_the_words_whole(office: Office) -> None:
    made = office.propose(bands=[band("sales", size=23, value=14.4567)], people=403)
    for shown in (
        json.loads(office.run("show", made.id, "--json")),
        json.loads(office.run("list", "--json"))["proposals"][0],
    ):
        assert (shown["target"]["size"], shown["evidence"]["units"], shown["finding"]["value"]) == (20, 400, 14.0)
        assert (shown["preview"], shown["reversibility"]) == (made.preview, made.reversibility)
    assert not {"23", "403", "14.4567", "14.46"} & set(office.run("show", made.id).replace("(", " ").split())
    told = json.loads(office.run("approve", made.id, *SIGNED, "--yes", "--json"))
    assert (told["state"], told["target"]["size"]) == ("approved", 20)


@pytest.mark.parametrize("team", ["R&D [/]", "[conceal]Legal[/conceal]", "[red]x", "a\u202eb"])
def test_a_name_of_a_team_is_text_and_nothing_else(office: Office, team: str) -> None:
    made = office.propose(bands=[band(team)])
    listed = "".join(line.split("│")[3].strip() for line in office.run("list").splitlines() if line.startswith("│"))
    assert listed == team.replace("\u202e", "")
    assert "\u202e" not in office.run("show", made.id)


def test_a_name_that_reads_as_an_address_hides_its_proposal_and_no_other(office: Office) -> None:
    office.propose(bands=[band("ops.team%40acme.com"), band("sales")])
    told = json.loads(office.run("list", "--json"))
    assert [p["target"]["key"] for p in told["proposals"]] == ["sales"]
    assert "acme" not in office.run("list")
    assert "another name" in office.run("show", told["hidden"][0]["id"], code=3)


def test_an_operator_named_by_an_address_is_shown_without_it(office: Office) -> None:
    made = office.propose()
    office.run("reject", made.id, "--as", "anna@corp.example", "--reason", "no", "--yes")
    office.run("halt", "--as", "anna@corp.example", "--reason", "a test")
    assert "@" not in office.run("show", made.id) + office.run("list") + office.run("list", "--all", "--json")


def test_only_the_server_that_it_uses_is_named(office: Office) -> None:
    office.capsys.readouterr()
    review.main(["list"])
    assert office.capsys.readouterr().err == "review: PostgreSQL from the environment\n"


def test_wrong_use_is_exit_code_two(office: Office) -> None:
    assert "there is no proposal nothing" in office.run("show", "nothing", code=2)
    made = office.propose()
    assert "NO_REASON" in office.run("approve", made.id, "--as", "Anna", "--reason", " ", "--yes", code=3)
    assert "a name and a reason" in office.run("halt", "--reason", " ", code=2)
    for wrong in (["approve", made.id, "--reason", "x"], ["halt"], ["nothing"], [], ["audit", "verify", "--head", "x"]):
        with pytest.raises(SystemExit) as stopped:
            review.main(wrong)
        assert stopped.value.code == 2


def test_a_reason_that_names_a_pseudonym_or_an_address_is_kept_without_it(office: Office) -> None:
    made = office.propose()
    secret = "p_" + "ab" * 16
    office.run("reject", made.id, "--as", "Anna", "--reason", f"{secret} and kim@corp.example object", "--yes")
    shown = office.run("show", made.id)
    assert "[redacted]" in shown
    assert secret not in shown
    assert "kim@" not in shown


def test_a_changed_row_is_named_and_nothing_is_approved_any_more(office: Office) -> None:
    made = office.propose()
    office.run("halt", "--reason", "a test")
    office.run("resume", "--reason", "a test")
    office.sql("UPDATE audit_log SET who = 'somebody' WHERE seq = 2")
    assert "row 2" in office.run("audit", "verify", code=1)
    err = office.run("approve", made.id, *SIGNED, "--yes", code=3)
    assert "AUDIT_BROKEN" in err
    assert "row 2" in err
    assert "halted" in office.run("halt", "--reason", "the log is broken")


def test_a_log_that_was_emptied_is_seen_by_the_end_that_was_noted(office: Office) -> None:
    office.propose()
    head = json.loads(office.run("audit", "verify", "--json"))["head"]
    office.sql(f"TRUNCATE {TABLES}")
    assert "row 1 is missing" in office.run("audit", "verify", code=1)
    (office.folder / "audit.head").unlink()
    assert "0 rows" in office.run("audit", "verify"), "nothing is left that could tell"
    assert "row 1 is missing" in office.run("audit", "verify", "--head", head, code=1)


def test_a_damaged_note_is_said_and_not_passed_over(office: Office) -> None:
    office.run("audit", "verify")
    (office.folder / "audit.head").write_text("nonsense")
    office.run("audit", "verify", code=1)


def test_it_runs_as_a_command_with_postgresql_alone(office: Office) -> None:
    office.propose()
    nowhere = {"ORGANISM_REDIS_URL": "redis://127.0.0.1:1", "ORGANISM_GRAPH_URL": "bolt://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.review", "list", "--json"],
        env=os.environ | nowhere | {"PYTHONPATH": str(ROOT)},
        cwd=office.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["proposals"]) == 1


def test_a_database_that_is_away_is_said_in_one_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    office.capsys.readouterr()
    assert command.run(partial(review.main, ["list"])) == 1
    err = office.capsys.readouterr().err
    assert "secret" not in err
    assert "Traceback" not in err
