"""Proposals in the fake and in PostgreSQL: one suite over both, then what only a database can get wrong."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import psycopg
import pytest

from pipelines.errors import InvalidInput, OrganismError, PermanentError, Refused
from pipelines.evidence import Finding, Series, State, SubjectKind
from pipelines.interventions import audit, lifecycle
from pipelines.interventions.bands import Band
from pipelines.interventions.policy import Context, Rules
from pipelines.interventions.proposal import Choice, Proposal, from_body
from pipelines.interventions.store import PostgresProposals
from pipelines.jobs.evaluate import Proposals, evaluate_interventions
from pipelines.postgres import Pool
from tests.support.fakes_proposals import (
    KEY,
    LIVE,
    NOW,
    TABLES,
    WINDOW_END,
    FakeProposals,
    attempt,
    band,
    finding,
    orchestrator,
)

_MONDAY_MS = 1_771_804_800_000  # 2026-02-23
_WEEK_MS = 7 * 24 * 3_600_000
Make = Callable[[Rules], Proposals]


@pytest.fixture
def empty(pool: Pool) -> Pool:
    with pool.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # triggers off
        connection.execute(f"TRUNCATE {TABLES}")  # type: ignore[call-overload]
    return pool


@pytest.fixture
def real(empty: Pool) -> PostgresProposals:
    return PostgresProposals(empty, KEY, LIVE)


@pytest.fixture(params=["fake", "embedded"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "fake":
        return FakeProposals
    pool: Pool = request.getfixturevalue("empty")
    return partial(PostgresProposals, pool, KEY)


@pytest.fixture
def store(make: Make) -> Proposals:
    return make(LIVE)


def propose(
    store: Proposals,
    findings: list[Finding] | None = None,
    bands: list[Band] | None = None,
    *,
    hours: float = 0,
    run: str = "run-1",
) -> list[int]:
    """A run, so many hours after the first one; counts of fresh, revised, unchanged, withdrawn, expired."""
    later = timedelta(hours=hours)
    weigh = partial(
        orchestrator(run=run, window_end=WINDOW_END + later).evaluate,
        [finding()] if findings is None else findings,
        [band()] if bands is None else bands,
    )
    saved = store.propose(weigh, WINDOW_END + later, run, NOW + later)
    return [saved.fresh, saved.revised, saved.unchanged, saved.withdrawn, saved.expired]


def only(store: Proposals) -> Proposal:
    (found,) = store.list(list(State))
    return found


class TestProposals:
    def test_a_proposal_comes_back_as_it_was_made(self, store: Proposals) -> None:
        (made,) = orchestrator().evaluate([finding()], [band()], Context(now=NOW, rules=LIVE))
        assert propose(store) == [1, 0, 0, 0, 0]
        found = store.get(made.id)
        assert found is not None
        assert replace(found, audit=None) == made
        assert (found.state, store.list([State.SHADOW])) == (State.PENDING_APPROVAL, [])

    def test_the_same_window_again_changes_nothing(self, store: Proposals) -> None:
        propose(store)
        before, rows = only(store), store.verify_audit().rows
        assert propose(store) == [0, 0, 1, 0, 0]
        assert (only(store), store.verify_audit().rows) == (before, rows)

    def test_a_later_run_keeps_what_it_would_propose_again(self, store: Proposals) -> None:
        propose(store)
        before = only(store)
        assert propose(store, hours=6, run="run-2") == [0, 0, 1, 0, 0]
        assert only(store) == before

    def test_what_changed_is_a_new_version_and_decisions_on_the_old_one_are_void(self, make: Make) -> None:
        store = make(replace(LIVE, two_persons_below=30))
        propose(store)
        seen = only(store)
        store.decide(attempt(seen, "Anna"), NOW)
        larger = finding(contrast_effect=(-0.4, -0.5, -0.3))
        assert propose(store, [larger], hours=6) == [0, 1, 0, 0, 0]
        now = only(store)
        assert (now.id, now.version, now.approval.decisions) == (seen.id, 2, ())
        with pytest.raises(Refused, match="OLD_VERSION"):
            store.decide(attempt(seen, "Bo"), NOW + timedelta(hours=7))

    def test_what_has_no_reason_any_more_is_withdrawn(self, store: Proposals) -> None:
        propose(store)
        assert propose(store, bands=[band(value=11.0)], hours=6) == [0, 0, 0, 1, 0]
        assert only(store).state is State.WITHDRAWN

    def test_an_older_window_takes_nothing_back(self, store: Proposals) -> None:
        propose(store, hours=6)
        assert propose(store, bands=[], hours=0) == [0, 0, 0, 0, 0]
        assert only(store).state is State.PENDING_APPROVAL

    def test_empty_input_changes_nothing(self, store: Proposals) -> None:
        assert propose(store, [], []) == [0, 0, 0, 0, 0]
        assert store.list(list(State)) == []

    def test_what_nobody_decides_expires_and_rests(self, store: Proposals) -> None:
        propose(store)
        late = NOW + timedelta(hours=24)
        with pytest.raises(Refused, match="EXPIRED"):
            store.decide(attempt(only(store)), late)
        assert (store.expire(late - timedelta(seconds=1)), store.expire(late), store.expire(late)) == (0, 1, 0)
        assert propose(store, hours=30) == [1, 0, 0, 0, 0]
        (again,) = store.list([State.BLOCKED])
        assert [r.rule for r in again.refusals] == ["COOLDOWN"]

    def test_an_approval_is_final_and_stands_with_its_reason(self, store: Proposals) -> None:
        propose(store)
        after = store.decide(attempt(only(store), "Anna Berg"), NOW)
        assert after.state is State.APPROVED
        (decision,) = only(store).approval.decisions
        assert (decision.by, decision.reason, decision.decision) == ("Anna Berg", "worth a try", Choice.APPROVE)
        with pytest.raises(Refused, match="NOT_PENDING"):
            store.decide(attempt(after, "Bo"), NOW)
        assert propose(store, hours=6) == [0, 0, 1, 0, 0]

    def test_a_small_group_needs_two_different_people(self, make: Make) -> None:
        store = make(replace(LIVE, two_persons_below=30))
        propose(store)
        assert store.decide(attempt(only(store), "Anna Berg"), NOW).state is State.PENDING_APPROVAL
        with pytest.raises(Refused, match="SAME_PERSON"):
            store.decide(attempt(only(store), " anna  BERG"), NOW)
        assert store.decide(attempt(only(store), "Bo"), NOW).state is State.APPROVED
        assert [d.by for d in only(store).approval.decisions] == ["Anna Berg", "Bo"]

    def test_one_login_under_two_names_is_one_person(self, make: Make) -> None:
        store = make(replace(LIVE, two_persons_below=30))
        propose(store)
        store.decide(attempt(only(store), "Anna Berg", account="ops"), NOW)
        with pytest.raises(Refused, match="SAME_PERSON"):
            store.decide(attempt(only(store), "Bo", account="Ops"), NOW)
        store.decide(attempt(only(store), "Bo", account="bo"), NOW)
        assert [d.account for d in only(store).approval.decisions] == ["ops", "bo"]
        assert store.verify_audit().bad is None

    def test_one_rejection_is_enough(self, store: Proposals) -> None:
        propose(store)
        assert store.decide(attempt(only(store), choice=Choice.REJECT), NOW).state is State.REJECTED

    def test_a_halt_stops_runs_and_approvals_but_not_rejections(self, store: Proposals) -> None:
        propose(store)
        assert (store.halt("Eva", "odd numbers", NOW), store.halt("Bo", "again", NOW)) == (True, False)
        halt = store.halted()
        assert halt is not None
        assert (halt.by, halt.reason, halt.at) == ("Eva", "odd numbers", NOW)
        with pytest.raises(Refused, match=r"HALTED.*odd numbers"):
            propose(store, bands=[], hours=6)
        with pytest.raises(Refused, match="HALTED"):
            store.decide(attempt(only(store)), NOW)
        assert only(store).state is State.PENDING_APPROVAL
        assert store.decide(attempt(only(store), choice=Choice.REJECT), NOW).state is State.REJECTED
        assert (store.resume("Eva", "explained", NOW), store.resume("Eva", "explained", NOW)) == (True, False)
        assert store.halted() is None

    def test_an_operator_takes_back_what_is_not_executed(self, store: Proposals) -> None:
        propose(store)
        store.decide(attempt(only(store)), NOW)
        assert store.withdraw(only(store).id, "Eva", "reorganised", NOW).state is State.WITHDRAWN
        with pytest.raises(Refused, match="ILLEGAL_MOVE"):
            store.withdraw(only(store).id, "Eva", "again", NOW)

    def test_what_people_took_back_rests_and_what_a_run_took_back_comes_again(self, store: Proposals) -> None:
        propose(store, bands=[band(), band("team-b")])
        store.withdraw(store.list([State.PENDING_APPROVAL])[0].id, "Eva", "the team does not want it", NOW)
        (left,) = store.list([State.PENDING_APPROVAL])
        (gone,) = store.list([State.WITHDRAWN])
        propose(store, bands=[], hours=3, run="run-2")
        assert store.list([State.PENDING_APPROVAL]) == []
        propose(store, bands=[band(), band("team-b")], hours=6, run="run-3")
        (again,) = store.list([State.BLOCKED])
        assert (again.target.key, [r.rule for r in again.refusals]) == (gone.target.key, ["COOLDOWN"])
        (fresh,) = store.list([State.PENDING_APPROVAL])
        assert fresh.target.key == left.target.key

    def test_what_stands_says_what_the_last_run_found(self, store: Proposals) -> None:
        propose(store)
        seen = only(store)
        later = band(value=35.0, normal_low=3.0, normal_high=9.0, since=date(2026, 2, 16))
        moved = finding(data_version="d2", people=440)
        assert propose(store, [moved], [later], hours=6, run="run-2") == [0, 1, 0, 0, 0]
        now = only(store)
        assert (now.version, now.finding, now.run) == (2, later.found, "run-2")
        assert (now.evidence.data_version, now.evidence.units) == ("d2", 440)
        with pytest.raises(Refused, match="OLD_VERSION"):
            store.decide(attempt(seen), NOW + timedelta(hours=7))

    def test_a_run_of_long_ago_asks_nobody_for_anything(self, store: Proposals) -> None:
        old = orchestrator(run="run-0", window_end=WINDOW_END - timedelta(days=2))
        store.propose(partial(old.evaluate, [finding()], [band()]), WINDOW_END - timedelta(days=2), "run-0", NOW)
        assert [(p.state, p.refusals[0].rule) for p in store.list(list(State))] == [(State.BLOCKED, "STALE_WINDOW")]
        assert propose(store) == [0, 1, 0, 0, 0]
        assert only(store).state is State.PENDING_APPROVAL

    @pytest.mark.parametrize("name", ["p_0123456789abcdef", "A|B"])
    def test_a_team_named_like_a_person_or_a_pair_does_not_stop_the_step(self, store: Proposals, name: str) -> None:
        teams, sizes = (name, "sales"), np.array([20, 20])
        weekly = [
            Series("meeting_h", 1, SubjectKind.TEAM, _MONDAY_MS - ago * _WEEK_MS, teams, np.array([value] * 2), sizes)
            for ago, value in enumerate([16.0, *[10.0, 11.0, 9.0] * 4])
        ]
        people = dict.fromkeys(teams, 20)
        done = evaluate_interventions(
            store, [finding()], weekly, people, run="run-1", window_end=WINDOW_END, now=NOW, requested_by=("anna",)
        )
        assert (done.fresh, done.unnamed, only(store).target.key) == (1, 1, "sales")

    def test_nothing_is_done_without_a_name_and_a_reason(self, store: Proposals) -> None:
        propose(store)
        for call in (store.halt, store.resume, partial(store.withdraw, only(store).id)):
            for by, reason in (("", "why"), ("who", "  ")):
                with pytest.raises(InvalidInput):
                    call(by, reason, NOW)

    def test_an_unknown_id_is_named_as_such(self, store: Proposals) -> None:
        propose(store)
        assert store.get("nothing") is None
        with pytest.raises(InvalidInput, match="nothing"):
            store.decide(attempt(only(store), id="nothing"), NOW)

    def test_every_change_has_its_row_in_the_log(self, store: Proposals) -> None:
        propose(store)
        rows = store.verify_audit().rows
        store.decide(attempt(only(store)), NOW)
        store.withdraw(only(store).id, "Eva", "reorganised", NOW)
        report = store.verify_audit()
        assert (report.rows, report.bad) == (rows + 2, None)
        link = only(store).audit
        assert link is not None
        assert link.hash == report.head[1]


# ------------------------------------------------------------------------------------------------ at the same time


def outcomes(store: Proposals, seen: Proposal, times: int, names: Callable[[int], str]) -> Counter[str]:
    """How many of so many simultaneous approvals came to what."""
    start = threading.Barrier(32)

    def approve(number: int) -> str:
        if number < 32:
            start.wait(30)
        try:
            return store.decide(attempt(seen, names(number)), NOW).state
        except Refused as refused:
            return refused.code

    with ThreadPoolExecutor(32) as threads:
        return Counter(threads.map(approve, range(times)))


class ReadsThenWrites(PostgresProposals):
    """The control: looks whether it is still pending, and then writes, in two steps. Two of it look before either writes."""

    meeting = threading.Barrier(2)
    looks = iter(range(10_000))

    def decide(self, attempt: object, now: object) -> Proposal:  # type: ignore[override]
        found = self.get(attempt.id)  # type: ignore[attr-defined]
        assert found is not None
        if found.state is not State.PENDING_APPROVAL:
            raise Refused("NOT_PENDING", "too late")
        if next(self.looks) < 2:
            self.meeting.wait(30)
        with self._pool.connection() as connection:
            connection.execute("UPDATE proposals SET state = 'approved' WHERE id = %s", (found.id,))
        return replace(found, state=State.APPROVED)


def test_of_a_thousand_simultaneous_approvals_one_succeeds(real: PostgresProposals) -> None:
    propose(real)
    seen = only(real)
    assert outcomes(real, seen, 1_000, "person {}".format) == {"approved": 1, "NOT_PENDING": 999}
    report = real.verify_audit()
    assert (len(only(real).approval.decisions), report.bad) == (1, None)


def test_the_same_harness_catches_a_store_that_reads_and_then_writes(empty: Pool) -> None:
    store = ReadsThenWrites(empty, KEY, LIVE)
    propose(store)
    assert outcomes(store, only(store), 64, "person {}".format)["approved"] >= 2


def test_of_many_simultaneous_approvals_of_a_small_group_two_succeed(empty: Pool) -> None:
    store = PostgresProposals(empty, KEY, replace(LIVE, two_persons_below=30))
    propose(store)
    found = outcomes(store, only(store), 100, lambda n: f"person {n % 3}")
    assert (found["pending_approval"], found["approved"], sum(found.values())) == (1, 1, 100)


def test_runs_at_the_same_moment_propose_once(real: PostgresProposals) -> None:
    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda n: propose(real, hours=n % 3, run=f"run-{n}"), range(24)))
    assert sum(fresh for fresh, *_ in counts) == 1
    assert (len(real.list(list(State))), real.verify_audit().bad) == (1, None)


def test_the_budget_holds_when_runs_propose_at_the_same_moment(empty: Pool) -> None:
    store = PostgresProposals(empty, KEY, replace(LIVE, open_in_all=3))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: propose(store, bands=[band(f"team-{i}") for i in range(n + 1)], hours=n), range(8)))
    assert len(store.list([State.PENDING_APPROVAL])) <= 3
    assert store.verify_audit().bad is None


def test_the_database_itself_refuses_a_second_open_proposal_about_the_same(real: PostgresProposals, pool: Pool) -> None:
    propose(real)
    copy = (
        "INSERT INTO proposals SELECT 'other', version, state, template_id, target_kind, target_key, target_size, metric,"
        " run, window_end, created_at, changed_at, expires_at, body, prev_hash, hash FROM proposals"
    )
    with pytest.raises(psycopg.errors.UniqueViolation), pool.connection() as connection:
        connection.execute(copy)


def test_index_and_table_agree_with_the_lifecycle(real: PostgresProposals, pool: Pool) -> None:
    with pool.connection() as connection:
        ((index,),) = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'ux_proposals_open'")
        ((check,),) = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'proposals_state_check'"
        )
    assert {state for state in State if f"'{state}'" in index} == lifecycle.OPEN
    assert {state for state in State if f"'{state}'" in check} == set(State) - {State.DRAFT}


def test_the_log_keeps_every_version_whole(real: PostgresProposals, pool: Pool) -> None:
    propose(real)
    first = only(real)
    propose(real, [finding(contrast_effect=(-0.4, -0.5, -0.3))], hours=6)
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT detail FROM audit_log WHERE subject = %s ORDER BY seq", (first.id,)
        ).fetchall()
    versions = [from_body(json.dumps(json.loads(detail)["proposal"])) for (detail,) in rows]
    assert versions == [replace(first, audit=None), replace(only(real), audit=None)]


def test_halting_while_others_approve_leaves_one_chain(real: PostgresProposals) -> None:
    propose(real)

    def press(number: int) -> None:
        (real.halt if number % 2 else real.resume)(f"operator {number}", "a test", NOW)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(press, range(60)))
    report = real.verify_audit()
    assert report.bad is None
    assert report.rows > 10


def test_without_the_lock_two_rows_claim_one_place(real: PostgresProposals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the lock: the same presses fail, or leave a log that does not hold."""
    monkeypatch.setattr("pipelines.interventions.store._LOCK", "halted")
    meeting = threading.Barrier(2)
    head = "pipelines.interventions.audit_store._head"
    from pipelines.interventions import audit_store

    look = audit_store._head
    looks = iter(range(1_000))

    def late(connection: psycopg.Connection[tuple[object, ...]]) -> audit.Head | None:
        found = look(connection)
        if next(looks) < 2:
            meeting.wait(30)
        return found

    monkeypatch.setattr(head, late)

    def press(number: int) -> str:
        try:
            return str(propose(real, bands=[band(f"team-{number}")], hours=number))
        except OrganismError:
            return "failed"

    with ThreadPoolExecutor(2) as threads:
        assert "failed" in set(threads.map(press, range(2)))


# ------------------------------------------------------------------------------------------------ whole or not at all


def test_a_change_whose_audit_row_cannot_be_written_is_not_made(real: PostgresProposals, pool: Pool) -> None:
    propose(real)
    with pool.connection() as connection:
        connection.execute("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (action <> 'approved') NOT VALID")
    try:
        with pytest.raises(PermanentError):
            real.decide(attempt(only(real)), NOW)
    finally:
        with pool.connection() as connection:
            connection.execute("ALTER TABLE audit_log DROP CONSTRAINT full_disk")
    assert (only(real).state, only(real).approval.decisions) == (State.PENDING_APPROVAL, ())
    assert real.verify_audit().bad is None
    assert real.decide(attempt(only(real)), NOW).state is State.APPROVED


def test_a_run_that_dies_half_way_leaves_nothing(real: PostgresProposals) -> None:
    def weigh(context: Context) -> list[Proposal]:
        made = orchestrator().evaluate([finding()], [band("team-a"), band("team-b")], context)
        return [
            made[0],
            replace(made[1], target=made[0].target, finding=made[0].finding),
        ]  # the index refuses the second

    with pytest.raises(PermanentError):
        real.propose(weigh, WINDOW_END, "run-1", NOW)
    assert (real.list(list(State)), real.verify_audit().rows) == ([], 0)


def test_other_limits_are_noted_in_the_log_once(real: PostgresProposals, empty: Pool) -> None:
    propose(real)
    rows = real.verify_audit().rows
    looser = PostgresProposals(empty, KEY, replace(LIVE, open_per_team=3))
    for _ in range(2):
        propose(looser)
    assert looser.verify_audit().rows == rows + 1


# ------------------------------------------------------------------------------------------------ the log


@pytest.fixture
def log(real: PostgresProposals) -> PostgresProposals:
    """A log of ten rows: a rule row, two proposals, decisions, halts."""
    propose(real, bands=[band("team-a"), band("team-b")])
    one, two = real.list([State.PENDING_APPROVAL])
    real.decide(attempt(one, account="anna"), NOW)
    real.decide(attempt(two, choice=Choice.REJECT), NOW)
    for _ in range(2):
        real.halt("Eva", "a test", NOW)
        real.resume("Eva", "a test", NOW)
    real.withdraw(one.id, "Eva", "a test", NOW)
    assert (real.verify_audit().rows, real.verify_audit().bad) == (10, None)
    return real


def tamper(pool: Pool, *statements: str) -> None:
    """As somebody who may do anything in the database, and has no key."""
    with pool.connection() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET who = 'x'", "DELETE FROM audit_log WHERE seq = 3"])
def test_the_log_cannot_be_changed_by_an_ordinary_statement(log: PostgresProposals, pool: Pool, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), pool.connection() as connection:
        connection.execute(statement)  # type: ignore[call-overload]


_MOVE = "UPDATE audit_log SET seq = {1} WHERE seq = {0}"
_COPY = (
    "INSERT INTO audit_log SELECT {1}, at, role, who, action, subject, version, detail, prev_hash, hash"
    " FROM audit_log WHERE seq = {0}"
)
_APPROVED = "UPDATE proposal_decisions SET {} = {} WHERE decision = 'approve'"
_REJECTED = "UPDATE proposals SET {} = {} WHERE state = 'rejected'"
_TAMPERED = {
    "changed who": (["UPDATE audit_log SET who = 'Bo' WHERE seq = 4"], 4),
    "changed when": (["UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 1"], 1),
    "changed detail": (["UPDATE audit_log SET detail = replace(detail, 'worth', 'Worth') WHERE seq = 4"], 4),
    "changed hash": (["UPDATE audit_log SET hash = prev_hash WHERE seq = 6"], 6),
    "changed last": (["UPDATE audit_log SET who = 'Bo' WHERE seq = 10"], 10),
    "removed in the middle": (["DELETE FROM audit_log WHERE seq = 5"], 5),
    "removed first": (["DELETE FROM audit_log WHERE seq = 1"], 1),
    "removed and closed up": (
        ["DELETE FROM audit_log WHERE seq = 5", *(_MOVE.format(n, n - 1) for n in range(6, 11))],
        5,
    ),
    "removed at the end": (["DELETE FROM audit_log WHERE seq >= 9"], 9),
    "removed at the end with the head set back": (
        [
            "DELETE FROM audit_log WHERE seq = 10",
            "UPDATE audit_head SET seq = 9, hash = (SELECT hash FROM audit_log WHERE seq = 9)",
        ],
        9,
    ),
    "removed with the head": (["TRUNCATE audit_log, audit_head"], 0),
    "swapped": ([_MOVE.format(3, 99), _MOVE.format(4, 3), _MOVE.format(99, 4)], 3),
    "put in at the end": ([_COPY.format(3, 11)], 11),
    "put in in the middle": ([*(_MOVE.format(n, n + 1) for n in range(10, 4, -1)), _COPY.format(3, 5)], 5),
    "put in before the first": ([_COPY.format(3, 0)], 1),
    "state changed past the log": (["UPDATE proposals SET state = 'approved' WHERE state = 'rejected'"], 5),
    "body changed past the log": (["UPDATE proposals SET body = replace(body, '09:00', '08:00')"], 5),
    "proposal removed": (["DELETE FROM proposals WHERE state = 'rejected'"], 5),
    "proposal put in": (
        [
            "INSERT INTO proposals SELECT 'new', version, 'approved', template_id, target_kind, 'team-z', target_size,"
            " metric, run, window_end, created_at, changed_at, expires_at, body, prev_hash, hash FROM proposals LIMIT 1"
        ],
        0,
    ),
    "decision under another name": (["UPDATE proposal_decisions SET by = 'Bo' WHERE decision = 'approve'"], 0),
    "decision removed": (["DELETE FROM proposal_decisions WHERE decision = 'approve'"], 4),
    "channel of a decision changed": ([_APPROVED.format("via", "'board'")], 4),
    "time of a decision changed": ([_APPROVED.format("at", "at - interval '30 days'")], 4),
    "role of a decision changed": ([_APPROVED.format("role", "'operator'")], 4),
    "login of a decision changed": ([_APPROVED.format("account", "'bo'")], 4),
    "reason of a decision changed": ([_APPROVED.format("reason", "'none'")], 4),
    "time of a state changed": ([_REJECTED.format("changed_at", "changed_at - interval '300 days'")], 5),
    "expiry changed": ([_REJECTED.format("expires_at", "now() + interval '1 year'")], 5),
    "size changed": ([_REJECTED.format("target_size", "500")], 5),
    "playbook changed": ([_REJECTED.format("template_id", "'x'")], 5),
    "group changed": ([_REJECTED.format("target_key", "'team-z'")], 5),
    "metric changed": ([_REJECTED.format("metric", "'x'")], 5),
    "run changed": ([_REJECTED.format("run", "'x'")], 5),
    "window changed": ([_REJECTED.format("window_end", "now()")], 5),
    "birth changed": ([_REJECTED.format("created_at", "now()")], 5),
    "link changed": ([_REJECTED.format("prev_hash", "hash")], 5),
    "time of the switch changed": (["UPDATE interventions_switch SET at = at - interval '1 day'"], 9),
    "switch set past the log": (["UPDATE interventions_switch SET halted = true"], 9),
}


@pytest.mark.parametrize("how", _TAMPERED)
def test_the_first_bad_row_is_named(log: PostgresProposals, pool: Pool, how: str) -> None:
    statements, row = _TAMPERED[how]
    tamper(pool, *statements)
    bad = log.verify_audit().bad
    assert bad is not None
    assert bad.seq == row, bad.words


@pytest.mark.parametrize("column", ["via", "at", "role", "account", "changed_at", "expires_at", "target_size"])
def test_what_was_changed_past_the_log_is_named(log: PostgresProposals, pool: Pool, column: str) -> None:
    new = {"at": "now()", "changed_at": "now()", "expires_at": "now()", "target_size": "77"}.get(column, "'x'")
    table = "proposal_decisions" if column in ("via", "at", "role", "account") else "proposals"
    tamper(pool, f"UPDATE {table} SET {column} = {new}")
    bad = log.verify_audit().bad
    assert bad is not None
    assert column in bad.words.split()


def test_a_log_set_back_as_a_whole_is_seen_by_an_end_that_was_noted_outside(log: PostgresProposals, pool: Pool) -> None:
    noted = log.verify_audit().head
    with pool.connection() as connection:
        saved = {t: connection.execute(f"SELECT * FROM {t}").fetchall() for t in TABLES.split(", ")}  # type: ignore[call-overload]
    assert log.verify_audit(noted).bad is None
    log.halt("Eva", "a real emergency", NOW)
    later = log.verify_audit(noted)
    assert (later.rows, later.bad) == (11, None)
    tamper(pool, f"TRUNCATE {TABLES}")
    with pool.connection() as connection:
        for table, rows in saved.items():
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # type: ignore[call-overload]
    assert log.verify_audit().bad is None, "by itself the old copy is whole"
    bad = log.verify_audit(later.head).bad
    assert bad is not None
    assert bad.seq == 11


def test_another_key_neither_verifies_nor_goes_on_writing_but_may_still_halt(
    log: PostgresProposals, empty: Pool
) -> None:
    other = PostgresProposals(empty, b"another key", LIVE)
    bad = other.verify_audit().bad
    assert bad is not None
    assert bad.seq == 1
    with pytest.raises(PermanentError, match="another key"):
        propose(other, hours=6)
    assert log.verify_audit().bad is None
    assert other.halt("Eva", "an emergency", NOW)
    assert log.halted() is not None


def test_the_key_is_nowhere_in_the_database(log: PostgresProposals, pool: Pool) -> None:
    with pool.connection() as connection:
        texts = [str(connection.execute(f"SELECT * FROM {t}").fetchall()) for t in TABLES.split(", ")]  # type: ignore[call-overload]
    assert all(KEY.decode() not in text and KEY.hex() not in text for text in texts)
