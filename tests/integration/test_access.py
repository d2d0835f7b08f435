"""Users, keys and tokens on a real PostgreSQL: who is let in, when no longer, and what two at once can get wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import argon2
import psycopg
import pytest

from pipelines import queries, wiring
from pipelines.access import store
from pipelines.access.passwords import Passwords
from pipelines.access.principals import Issued, Kind, Role
from pipelines.access.store import PostgresAccess
from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from pipelines.postgres import Pool, open_pool
from tests.support.fakes_ledger import NOW

CHEAP = argon2.Parameters(argon2.Type.ID, 19, 16, 32, time_cost=1, memory_cost=64, parallelism=1)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
PASSWORD, OTHER = "correct horse battery", "another long password"
Sql = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def sql(pool: Pool) -> Sql:
    def run(statement: str) -> list[tuple[Any, ...]]:
        with pool.connection() as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def access(pool: Pool, sql: Sql) -> PostgresAccess:
    sql("TRUNCATE users, credentials")
    return PostgresAccess(pool, passwords=Passwords(CHEAP))


@pytest.fixture
def anna(access: PostgresAccess) -> str:
    return access.create("anna", PASSWORD, [Role.VIEWER, Role.APPROVER], NOW).name


def key(access: PostgresAccess, now: datetime = NOW, days: int = 90, roles: list[Role] | None = None) -> Issued:
    return access.issue_key("anna", roles, now + days * DAY, now, label="ci")


def refused(do: Callable[[], object]) -> str:
    with pytest.raises(Refused) as error:
        do()
    return error.value.code


class TestAUser:
    def test_a_user_who_was_made_is_listed_with_their_roles(self, access: PostgresAccess) -> None:
        made = access.create("Anna.Berg", PASSWORD, [Role.VIEWER, Role.VIEWER, Role.ADMIN], NOW)
        assert (made.name, made.roles, made.created_at) == ("anna.berg", {Role.VIEWER, Role.ADMIN}, NOW)
        assert access.users() == [made] == [access.user("ANNA.BERG")]

    def test_there_is_no_user_before_one_is_made(self, access: PostgresAccess) -> None:
        assert access.users() == []

    def test_a_name_is_never_used_twice(self, access: PostgresAccess, anna: str) -> None:
        assert refused(lambda: access.create("ANNA", OTHER, [Role.ADMIN], NOW)) == "USER_EXISTS"
        assert access.user(anna).roles == {Role.VIEWER, Role.APPROVER}
        assert access.login(anna, PASSWORD, NOW)

    @pytest.mark.parametrize(
        ("name", "password", "roles"),
        [("anna berg", PASSWORD, [Role.VIEWER]), ("anna", "short", [Role.VIEWER]), ("anna", PASSWORD, [])],
        ids=["name", "password", "roles"],
    )
    def test_one_who_would_not_do_is_not_made(
        self, access: PostgresAccess, name: str, password: str, roles: list[Role]
    ) -> None:
        with pytest.raises(InvalidInput):
            access.create(name, password, roles, NOW)
        assert access.users() == []

    def test_who_does_not_exist_cannot_be_changed(self, access: PostgresAccess) -> None:
        for change in (
            lambda: access.set_roles("nobody", [Role.ADMIN]),
            lambda: access.set_password("nobody", PASSWORD, NOW),
            lambda: access.disable("nobody", NOW),
            lambda: access.enable("nobody"),
            lambda: access.issue_key("nobody", None, NOW + DAY, NOW),
            lambda: access.user("-"),
        ):
            with pytest.raises(InvalidInput, match="there is no user"):
                change()

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO users VALUES ('Anna', '$argon2id$', '{viewer}', now())",
            "INSERT INTO users VALUES ('anna', 'plain', '{viewer}', now())",
            "INSERT INTO users VALUES ('anna', '$argon2id$', '{root}', now())",
            "INSERT INTO users VALUES ('anna', '$argon2id$', '{}', now())",
            "INSERT INTO users VALUES ('anna', '$argon2id$', '{viewer,NULL}', now())",
        ],
    )
    def test_the_table_takes_no_other_spelling_password_or_role(
        self, access: PostgresAccess, sql: Sql, statement: str
    ) -> None:
        with pytest.raises(psycopg.errors.CheckViolation):
            sql(statement)

    def test_neither_password_nor_secret_is_in_the_tables(self, access: PostgresAccess, anna: str, sql: Sql) -> None:
        secrets = [PASSWORD, key(access).bearer.split(".")[1], access.login(anna, PASSWORD, NOW).bearer.split(".")[1]]
        rows = str(sql("SELECT users::text FROM users UNION ALL SELECT credentials::text FROM credentials"))
        assert "anna" in rows
        assert not any(secret in rows or secret.encode().hex() in rows for secret in secrets)


class TestALogin:
    def test_the_right_password_makes_a_token_of_half_an_hour(self, access: PostgresAccess, anna: str) -> None:
        issued = access.login("Anna", PASSWORD, NOW, address="192.0.2.7")
        assert issued.expires_at == NOW + 30 * MINUTE
        assert issued.principal == access.who(issued.bearer, NOW)
        assert (issued.principal.name, issued.principal.roles) == ("anna", {Role.VIEWER, Role.APPROVER})
        assert access.who(issued.bearer, NOW + 30 * MINUTE - SECOND)
        assert access.who(issued.bearer, NOW + 30 * MINUTE) is None
        (kept,) = access.credentials()
        assert (kept.kind, kept.label, kept.roles) == (Kind.TOKEN, "192.0.2.7", None)

    def test_nothing_tells_a_wrong_password_from_an_unknown_or_disabled_user(
        self, access: PostgresAccess, anna: str
    ) -> None:
        said = set()
        for name, password in (("anna", OTHER), ("bert", PASSWORD), ("no name!", ""), ("-", PASSWORD)):
            with pytest.raises(Refused) as error:
                access.login(name, password, NOW)
            said.add(str(error.value))
        access.disable("anna", NOW)
        with pytest.raises(Refused) as error:
            access.login("anna", PASSWORD, NOW)
        assert {*said, str(error.value)} == {f"WRONG_LOGIN: {store._WRONG}"}

    def test_an_unknown_user_costs_one_hash_like_a_known_one(
        self, access: PostgresAccess, anna: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashes: list[str] = []
        verify = argon2.PasswordHasher.verify

        def counted(self: argon2.PasswordHasher, kept: str, password: bytes) -> bool:
            hashes.append(kept)
            return verify(self, kept, password)

        monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
        for name in ("anna", "bert", "no name!"):
            refused(lambda name=name: access.login(name, OTHER, NOW))
        assert len(hashes) == 3
        assert {str(argon2.extract_parameters(kept)) for kept in hashes} == {str(CHEAP)}

    def test_a_password_is_hashed_anew_when_the_parameters_have_changed(
        self, access: PostgresAccess, anna: str, pool: Pool, sql: Sql
    ) -> None:
        stronger = PostgresAccess(pool, passwords=Passwords(replace(CHEAP, time_cost=2)))
        stronger.login("anna", PASSWORD, NOW)
        ((kept,),) = sql("SELECT password_hash FROM users")
        assert "t=2" in kept
        assert stronger.login("anna", PASSWORD, NOW)
        assert sql("SELECT password_hash FROM users") == [(kept,)]

    @pytest.mark.parametrize("change", ["disable", "set_password"])
    def test_who_is_changed_while_their_password_is_checked_is_not_let_in(
        self, access: PostgresAccess, anna: str, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        fits = Passwords.fits

        def meanwhile(self: Passwords, password: str, kept: str | None) -> bool:
            found = fits(self, password, kept)
            access.disable(anna, NOW) if change == "disable" else access.set_password(anna, OTHER, NOW)
            return found

        monkeypatch.setattr(Passwords, "fits", meanwhile)
        assert refused(lambda: access.login(anna, PASSWORD, NOW)) == "WRONG_LOGIN"
        assert all(not kept.is_live(NOW) for kept in access.credentials())

    def test_no_connection_is_held_while_a_password_is_hashed(
        self, access: PostgresAccess, anna: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        idle: list[bool] = []
        fits = Passwords.fits

        def look(self: Passwords, password: str, kept: str | None) -> bool:
            about = pool.get_stats()
            idle.append(about["pool_available"] == about["pool_size"])
            return fits(self, password, kept)

        monkeypatch.setattr(Passwords, "fits", look)
        access.login(anna, PASSWORD, NOW)
        assert idle == [True]

    def test_expired_tokens_are_gone_after_the_next_login(self, access: PostgresAccess, anna: str) -> None:
        for _ in range(3):
            access.login(anna, PASSWORD, NOW)
        lasting = key(access, days=1)
        late = access.login(anna, PASSWORD, NOW + 2 * DAY)
        assert {kept.id for kept in access.credentials()} == {lasting.credential, late.credential}
        assert access.tidy(NOW + 9 * DAY) == 1


class TestWhoIsLetIn:
    def test_a_key_opens_what_its_owner_may(self, access: PostgresAccess, anna: str) -> None:
        issued = key(access)
        found = access.who(issued.bearer, NOW)
        assert found == issued.principal
        assert found
        assert (found.name, found.credential) == ("anna", issued.credential)

    @pytest.mark.parametrize("bearer", ["", "nonsense", "key_0123456789abcdef." + "A" * 43, "\0", "x" * 100_000])
    def test_what_is_no_key_opens_nothing(self, access: PostgresAccess, anna: str, bearer: str) -> None:
        assert access.who(bearer, NOW) is None

    def test_the_secret_of_one_does_not_open_another(self, access: PostgresAccess, anna: str) -> None:
        one, other = key(access), key(access)
        assert access.who(f"{one.credential}.{other.bearer.split('.')[1]}", NOW) is None

    def test_a_key_ends_when_it_should(self, access: PostgresAccess, anna: str) -> None:
        issued = key(access, days=2)
        assert access.who(issued.bearer, NOW + 2 * DAY - SECOND)
        assert access.who(issued.bearer, NOW + 2 * DAY) is None

    def test_a_key_can_have_fewer_roles_than_its_owner_and_never_more(self, access: PostgresAccess, anna: str) -> None:
        assert key(access, roles=[Role.VIEWER]).principal.roles == {Role.VIEWER}
        with pytest.raises(InvalidInput, match="does not have admin"):
            key(access, roles=[Role.VIEWER, Role.ADMIN])
        with pytest.raises(InvalidInput, match="at least one role"):
            key(access, roles=[])

    def test_a_role_that_is_taken_away_is_gone_from_every_key_at_once(self, access: PostgresAccess, anna: str) -> None:
        narrow, wide = key(access, roles=[Role.APPROVER]), key(access)
        access.set_roles(anna, [Role.VIEWER, Role.OPERATOR])
        seen = [access.who(issued.bearer, NOW) for issued in (narrow, wide)]
        assert [its.roles if its else None for its in seen] == [frozenset(), {Role.VIEWER, Role.OPERATOR}]

    def test_of_a_disabled_user_everything_is_dead_and_stays_dead(self, access: PostgresAccess, anna: str) -> None:
        held = [key(access), key(access, roles=[Role.VIEWER]), access.login(anna, PASSWORD, NOW)]
        assert access.disable(anna, NOW).disabled_at == NOW
        assert [access.who(issued.bearer, NOW) for issued in held] == [None] * 3
        assert refused(lambda: key(access)) == "DISABLED"
        assert access.enable(anna).disabled_at is None
        assert [access.who(issued.bearer, NOW) for issued in held] == [None] * 3
        assert access.login(anna, PASSWORD, NOW)

    def test_being_disabled_alone_is_enough(self, access: PostgresAccess, anna: str, sql: Sql) -> None:
        issued = key(access)
        sql("UPDATE users SET disabled_at = now()")
        assert access.who(issued.bearer, NOW) is None

    def test_a_new_password_ends_tokens_and_leaves_keys(self, access: PostgresAccess, anna: str) -> None:
        issued, token = key(access), access.login(anna, PASSWORD, NOW)
        access.set_password(anna, OTHER, NOW)
        assert access.who(token.bearer, NOW) is None
        assert access.who(issued.bearer, NOW)
        assert refused(lambda: access.login(anna, PASSWORD, NOW)) == "WRONG_LOGIN"
        assert access.login(anna, OTHER, NOW)

    def test_a_revoked_one_opens_nothing_and_the_others_go_on(self, access: PostgresAccess, anna: str) -> None:
        one, other = access.login(anna, PASSWORD, NOW), access.login(anna, PASSWORD, NOW)
        access.revoke(one.credential, NOW)
        access.revoke(one.credential, NOW + DAY)
        assert access.who(one.bearer, NOW) is None
        assert access.who(other.bearer, NOW)
        assert access.credential(one.credential).revoked_at == NOW
        with pytest.raises(InvalidInput, match="there is no key"):
            access.revoke("key_0123456789abcdef", NOW)

    @pytest.mark.parametrize("days", [0, -1, 367])
    def test_a_key_always_ends_and_within_a_year(self, access: PostgresAccess, anna: str, days: int) -> None:
        with pytest.raises(InvalidInput, match="366 days"):
            key(access, days=days)


class TestRotation:
    def test_the_old_key_goes_on_beside_the_new_one_for_a_while(self, access: PostgresAccess, anna: str) -> None:
        old = key(access, roles=[Role.VIEWER])
        new = access.rotate(old.credential, NOW + DAY, grace=2 * DAY)
        assert new.expires_at == NOW + 91 * DAY
        assert new.principal.roles == {Role.VIEWER}
        assert access.credential(new.credential).label == "ci"
        assert [bool(access.who(k.bearer, NOW + 3 * DAY - SECOND)) for k in (old, new)] == [True, True]
        assert [bool(access.who(k.bearer, NOW + 3 * DAY)) for k in (old, new)] == [False, True]

    def test_the_grace_period_never_makes_a_key_last_longer(self, access: PostgresAccess, anna: str) -> None:
        old = key(access, days=1)
        access.rotate(old.credential, NOW, grace=9 * DAY)
        assert access.credential(old.credential).expires_at == NOW + DAY

    def test_no_more_than_two_of_one_chain_are_live(self, access: PostgresAccess, anna: str) -> None:
        chain = [key(access)]
        for _ in range(3):
            chain.append(access.rotate(chain[-1].credential, NOW))
        assert [bool(access.who(k.bearer, NOW)) for k in chain] == [False, False, True, True]

    def test_a_key_is_rotated_once(self, access: PostgresAccess, anna: str) -> None:
        old = key(access)
        new = access.rotate(old.credential, NOW)
        with pytest.raises(Refused, match=new.credential) as error:
            access.rotate(old.credential, NOW)
        assert error.value.code == "ROTATED"

    def test_two_who_rotate_at_once_make_one_new_key(self, access: PostgresAccess, anna: str) -> None:
        old = key(access).credential

        def rotate(_: int) -> str:
            try:
                return access.rotate(old, NOW).credential
            except Refused as error:
                return error.code

        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(rotate, range(8)))
        assert said.count("ROTATED") == 7
        assert len(access.credentials()) == 2

    def test_what_has_ended_is_a_token_or_unknown_is_not_rotated(self, access: PostgresAccess, anna: str) -> None:
        ended = key(access)
        access.revoke(ended.credential, NOW)
        assert refused(lambda: access.rotate(ended.credential, NOW)) == "ENDED"
        with pytest.raises(InvalidInput, match="a token"):
            access.rotate(access.login(anna, PASSWORD, NOW).credential, NOW)
        with pytest.raises(InvalidInput, match="there is no key"):
            access.rotate("key_0123456789abcdef", NOW)


class TestTheNoteOfAUse:
    def used(self, access: PostgresAccess) -> datetime | None:
        (kept,) = access.credentials()
        return kept.last_used_at

    def test_it_is_written_at_most_once_a_minute(self, access: PostgresAccess, anna: str) -> None:
        bearer = key(access).bearer
        assert self.used(access) is None
        access.who(bearer, NOW)
        access.who(bearer, NOW + MINUTE - SECOND)
        assert self.used(access) == NOW
        access.who(bearer, NOW + MINUTE)
        assert self.used(access) == NOW + MINUTE

    def test_a_wrong_secret_leaves_no_note(self, access: PostgresAccess, anna: str) -> None:
        id_ = key(access).credential
        access.who(f"{id_}.{'A' * 43}", NOW)
        assert self.used(access) is None

    def test_a_database_that_takes_no_writes_lets_its_readers_in(
        self, access: PostgresAccess, anna: str, embedded: wiring.Endpoints
    ) -> None:
        bearer = key(access).bearer
        with open_pool(embedded.postgres) as reading:
            reading.kwargs["options"] += " -c default_transaction_read_only=on"
            readers = PostgresAccess(reading, passwords=Passwords(CHEAP))
            with pytest.raises(PermanentError):
                readers.revoke("key_0123456789abcdef", NOW)  # the control: it takes none
            assert readers.who(bearer, NOW)
        assert self.used(access) is None

    def test_nobody_waits_for_a_row_that_somebody_holds(
        self, access: PostgresAccess, anna: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bearer, answers = key(access).bearer, []
        with pool.connection() as holder:
            holder.execute("SELECT id FROM credentials FOR UPDATE")
            thread = threading.Thread(target=lambda: answers.append(access.who(bearer, NOW)), daemon=True)
            thread.start()
            thread.join(5)  # a wait would last for the lock's 10 s
            assert not thread.is_alive()
        assert answers[0] is not None


def test_a_database_that_is_away_is_said_as_such(embedded: wiring.Endpoints) -> None:
    with open_pool("postgresql://nobody@127.0.0.1:1/none") as pool:
        pool.timeout = 0.2
        with pytest.raises(TransientError):
            PostgresAccess(pool).who("key_0123456789abcdef." + "A" * 43, NOW)


def test_a_look_at_a_key_reads_by_index(access: PostgresAccess, anna: str, pool: Pool, sql: Sql) -> None:
    sql(
        "INSERT INTO credentials SELECT 'key_' || lpad(to_hex(n), 16, '0'), 'key', 'anna', NULL,"
        " sha256(n::text::bytea), now(), now() + interval '1 day', NULL, NULL, '' FROM generate_series(1, 20000) n"
    )
    sql("ANALYZE credentials")
    asked = {"id": "key_0000000000000007", "decoy": b"", "now": NOW, "fresh": MINUTE}
    with pool.connection() as connection:
        statement = queries.load("pipelines.access", "queries.sql")["presented"]
        plan = str(connection.execute("EXPLAIN " + statement, asked).fetchall())  # type: ignore[call-overload]
    assert "credentials_pkey" in plan
    assert "Seq Scan on credentials" not in plan
