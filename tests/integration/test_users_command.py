"""`python -m pipelines.users` as an administrator uses it: what it shows once, what it refuses, and what stays on record."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import argon2
import psycopg
import pytest

from pipelines import command, migrate, review, settings, users, wiring
from pipelines.access.passwords import Passwords
from pipelines.access.principals import Principal, Role
from pipelines.access.store import PostgresAccess
from pipelines.errors import Refused
from tests.support.fakes_proposals import TABLES

CHEAP = argon2.Parameters(argon2.Type.ID, 19, 16, 32, time_cost=1, memory_cost=64, parallelism=1)
PASSWORD = "correct horse battery"


@dataclass
class Desk:
    """The command on empty tables, in a state directory of its own."""

    url: str = field(repr=False)
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def both(self, *arguments: str, code: int = 0, main: Any = users.main) -> tuple[str, str]:
        """Standard output and standard error."""
        self.capsys.readouterr()
        got = command.run(partial(main, list(arguments)))
        out, err = self.capsys.readouterr()
        assert got == code, out + err
        return out, err

    def run(self, *arguments: str) -> str:
        return self.both(*arguments)[0]

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def type(self, text: str) -> None:
        self.monkeypatch.setattr("sys.stdin", io.StringIO(text))

    def logs_in(self, name: str, password: str) -> bool:
        with wiring.access(settings.load()) as (access, _):
            try:
                return bool(access.login(name, password, datetime.now(UTC)))
            except Refused:
                return False

    def who(self, bearer: str) -> Principal | None:
        with wiring.access(settings.load()) as (access, _):
            return access.who(bearer, datetime.now(UTC))

    def audit(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT role, who, action, subject, detail FROM audit_log ORDER BY seq")
            return [(*row[:4], json.loads(row[4])["note"]) for row in rows]


@pytest.fixture
def desk(
    embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    with psycopg.connect(embedded.postgres) as connection:
        migrate.migrate(connection)
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(f"TRUNCATE {TABLES}, users, credentials")  # type: ignore[call-overload]
    monkeypatch.setenv("ORGANISM_POSTGRES_URL", embedded.postgres)
    monkeypatch.setenv("ORGANISM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(wiring, "PostgresAccess", partial(PostgresAccess, passwords=Passwords(CHEAP)))
    here = Desk(embedded.postgres, capsys, monkeypatch)
    here.type("")
    return here


class TestUsers:
    def test_a_new_installation_lets_nobody_in(self, desk: Desk) -> None:
        assert "no users" in desk.run("list")
        assert desk.json("list") == {"users": []}
        assert not any(desk.logs_in(name, name) for name in ("admin", "root", "organism"))

    def test_a_random_password_is_shown_once_and_on_standard_output_alone(self, desk: Desk) -> None:
        out, err = desk.both("create", "Anna.Berg", "--role", "approver", "--role", "viewer")
        password = out.strip()
        assert re.fullmatch(r"[\w-]{22}", password)
        assert password not in err
        assert "anna.berg may log in as approver, viewer" in err
        assert desk.logs_in("anna.berg", password)
        assert password not in desk.run("list") + desk.run("list", "--json")

    def test_a_password_can_be_given_on_standard_input(self, desk: Desk) -> None:
        desk.type(f"{PASSWORD}\n")
        out, err = desk.both("create", "anna", "--role", "viewer", "--password-stdin")
        assert PASSWORD not in out + err
        assert desk.logs_in("anna", PASSWORD)

    @pytest.mark.parametrize("typed", ["", "short\n", f"{'x' * 2_000}\n"], ids=["nothing", "short", "long"])
    def test_a_password_that_will_not_do_makes_no_user(self, desk: Desk, typed: str) -> None:
        desk.type(typed)
        _, err = desk.both("create", "anna", "--role", "viewer", "--password-stdin", code=2)
        assert "12 to 1,000 characters" in err
        assert desk.json("list") == {"users": []}
        assert desk.audit() == []

    def test_what_is_printed_for_machines_is_one_object(self, desk: Desk) -> None:
        made = desk.json("create", "anna", "--role", "operator")
        assert (made["name"], made["roles"], made["disabled_at"]) == ("anna", ["operator"], None)
        assert desk.logs_in("anna", made["password"])
        (listed,) = desk.json("list")["users"]
        assert {**listed, "password": made["password"]} == made

    def test_a_user_who_exists_is_left_as_they_are(self, desk: Desk) -> None:
        password = desk.run("create", "anna", "--role", "viewer").strip()
        _, err = desk.both("create", "anna", "--role", "admin", code=3)
        assert "USER_EXISTS" in err
        assert desk.logs_in("anna", password)
        assert desk.json("list")["users"][0]["roles"] == ["viewer"]

    def test_roles_replace_those_that_were(self, desk: Desk) -> None:
        desk.run("create", "anna", "--role", "viewer")
        said = desk.run("roles", "anna", "--role", "analyst", "--role", "operator")
        assert said == "anna: viewer -> analyst, operator\n"

    def test_roles_are_added_and_removed_one_by_one(self, desk: Desk) -> None:
        desk.run("create", "vic", "--role", "viewer")
        assert desk.run("roles", "vic", "--add", "analyst") == "vic: viewer -> analyst, viewer\n"
        said = desk.run("roles", "vic", "--remove", "viewer", "--add", "operator")
        assert said == "vic: analyst, viewer -> analyst, operator\n"
        assert desk.json("list")["users"][0]["roles"] == ["analyst", "operator"]

    @pytest.mark.parametrize(
        ("words", "why"),
        [((), "give --add or --remove"), (("--role", "admin", "--add", "analyst"), "give --add or --remove"),
         (("--add", "admin", "--remove", "admin"), "both added and removed"),
         (("--remove", "viewer"), "no role would be left")],
    )  # fmt: skip
    def test_roles_that_cannot_be_meant_change_and_note_nothing(
        self, desk: Desk, words: tuple[str, ...], why: str
    ) -> None:
        desk.run("create", "vic", "--role", "viewer")
        noted = desk.audit()
        assert why in desk.both("roles", "vic", *words, code=2)[1]
        assert desk.json("list")["users"][0]["roles"] == ["viewer"]
        assert desk.audit() == noted

    def test_a_mistyped_role_is_answered_with_those_there_are(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            users.main(["create", "vic", "--role", "veiwer"])
        said = capsys.readouterr().err
        assert "viewer" in said and "Role." not in said

    def test_a_new_password_ends_the_old_one(self, desk: Desk) -> None:
        old = desk.run("create", "anna", "--role", "viewer").strip()
        new = desk.run("password", "anna").strip()
        assert [desk.logs_in("anna", its) for its in (old, new)] == [False, True]

    def test_a_disabled_user_is_out_until_they_are_enabled(self, desk: Desk) -> None:
        password = desk.run("create", "anna", "--role", "viewer").strip()
        assert desk.run("disable", "anna") == "anna: viewer, disabled\n"
        assert not desk.logs_in("anna", password)
        assert "anna" in desk.run("list")
        assert desk.json("enable", "anna")["disabled_at"] is None
        assert desk.logs_in("anna", password)

    @pytest.mark.parametrize("verb", ["password", "disable", "enable", "key create"])
    def test_a_user_who_does_not_exist_is_wrong_input(self, desk: Desk, verb: str) -> None:
        _, err = desk.both(*verb.split(), "nobody", code=2)
        assert "there is no user nobody" in err
        assert desk.audit() == []

    @pytest.mark.parametrize(
        "words",
        [("create", "anna"), ("create", "anna", "--role", "root"), ("key", "create", "anna", "--days", "0"),
         ("key", "create", "anna", "--days", "99999999999999999999"), ("key", "rotate", "x", "--hours", "-1"), ()],
    )  # fmt: skip
    def test_wrong_arguments_are_said_by_the_parser(self, desk: Desk, words: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit) as ended:
            users.main(list(words))
        assert ended.value.code == 2


class TestKeys:
    @pytest.fixture(autouse=True)
    def _anna(self, desk: Desk) -> None:
        desk.run("create", "anna", "--role", "viewer", "--role", "operator")

    def test_a_key_is_shown_once_on_standard_output_alone(self, desk: Desk) -> None:
        out, err = desk.both("key", "create", "anna", "--role", "viewer", "--label", "nightly")
        bearer = out.strip()
        secret = bearer.split(".")[1]
        found = desk.who(bearer)
        assert found
        assert (found.name, found.roles) == ("anna", {Role.VIEWER})
        assert found.credential in err
        shown = desk.run("key", "list", "--json") + desk.run("list") + err + str(desk.audit())
        assert found.credential in shown
        assert secret not in shown

    def test_a_key_lasts_for_90_days_unless_it_is_said(self, desk: Desk) -> None:
        for words, days in (((), 90), (("--days", "7"), 7)):
            ends = datetime.fromisoformat(desk.json("key", "create", "anna", *words)["expires_at"])
            assert timedelta(days=days - 1) < ends - datetime.now(UTC) <= timedelta(days=days)

    def test_a_key_cannot_have_a_role_that_its_owner_does_not_have(self, desk: Desk) -> None:
        _, err = desk.both("key", "create", "anna", "--role", "admin", code=2)
        assert "anna does not have admin" in err

    def test_the_list_says_what_became_of_each(self, desk: Desk) -> None:
        assert "no keys" in desk.run("key", "list")
        gone, old = desk.json("key", "create", "anna")["id"], desk.json("key", "create", "anna", "--label", "ci")["id"]
        new = desk.json("key", "rotate", old)
        desk.run("key", "revoke", gone)
        desk.who(new["bearer"])
        listed = {its["id"]: its for its in desk.json("key", "list")["keys"]}
        assert [listed[id_]["live"] for id_ in (gone, old, new["id"])] == [False, True, True]
        assert (listed[new["id"]]["replaces"], listed[new["id"]]["label"]) == (old, "ci")
        assert listed[new["id"]]["last_used_at"]
        desk.monkeypatch.setenv("COLUMNS", "60")  # of a narrow terminal: ids are there to be copied
        assert all(id_ in desk.run("key", "list") for id_ in listed)

    def test_a_rotated_key_goes_on_as_long_as_was_said(self, desk: Desk) -> None:
        old = desk.json("key", "create", "anna")
        new = desk.json("key", "rotate", old["id"])
        assert desk.who(old["bearer"])
        last = desk.json("key", "rotate", new["id"], "--hours", "0")
        assert [bool(desk.who(its["bearer"])) for its in (old, new, last)] == [False, False, True]

    def test_a_key_that_is_revoked_by_its_whole_text_leaves_no_secret_behind(self, desk: Desk) -> None:
        made = desk.json("key", "create", "anna")
        out, err = desk.both("key", "revoke", made["bearer"])
        assert desk.who(made["bearer"]) is None
        secret = made["bearer"].split(".")[1]
        assert secret not in out + err + str(desk.audit())

    def test_what_is_no_key_is_wrong_input_and_not_repeated(self, desk: Desk) -> None:
        for words, said in ((PASSWORD, "no id of a key"), ("key_0123456789abcdef", "there is no key")):
            _, err = desk.both("key", "revoke", words, code=2)
            assert said in err
            assert PASSWORD not in err

    def test_an_address_in_a_label_is_not_kept(self, desk: Desk) -> None:
        desk.json("key", "create", "anna", "--label", "for anna@berg.example")
        assert "berg.example" not in desk.run("key", "list", "--json") + str(desk.audit())


class TestTheRecord:
    def test_every_change_is_on_record_with_who_did_it(self, desk: Desk) -> None:
        desk.run("create", "anna", "--role", "viewer")
        desk.run("roles", "anna", "--role", "operator")
        desk.run("password", "anna")
        key = desk.json("key", "create", "anna", "--label", "ci")["id"]
        new = desk.json("key", "rotate", key)["id"]
        desk.run("key", "revoke", new)
        desk.run("disable", "anna")
        desk.run("enable", "anna")
        rows = desk.audit()
        assert {row[:2] for row in rows} == {("admin", command.account())}
        assert [row[2:4] for row in rows] == [
            ("user create", "anna"), ("user roles", "anna"), ("user password", "anna"), ("key create", "anna"),
            ("key rotate", key), ("key revoke", new), ("user disable", "anna"), ("user enable", "anna"),
        ]  # fmt: skip
        assert rows[0][4] == {"via": "command line", "roles": ["viewer"]}

    def test_the_log_is_whole_afterwards(self, desk: Desk) -> None:
        desk.run("create", "anna", "--role", "viewer")
        out, _ = desk.both("audit", "verify", main=review.main)
        assert "1 rows, all as they were written" in out

    def test_looking_leaves_no_trace(self, desk: Desk) -> None:
        for words in (("list",), ("key", "list")):
            desk.run(*words)
        assert desk.audit() == []

    def test_nothing_is_changed_that_could_not_be_recorded(self, desk: Desk) -> None:
        desk.run("create", "anna", "--role", "viewer")
        desk.monkeypatch.setenv("ORGANISM_AUDIT_KEY", "another key than the log was written with")
        desk.both("create", "bert", "--role", "admin", code=1)
        desk.both("roles", "anna", "--role", "admin", code=1)
        assert [(its["name"], its["roles"]) for its in desk.json("list")["users"]] == [("anna", ["viewer"])]
