"""Requests for runs, in the fake and in PostgreSQL: one suite over both, then what only a database can get wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from pipelines.errors import Refused
from pipelines.jobs import operating
from pipelines.jobs.operating import Operating, Requests
from pipelines.ledger.store import PostgresLedger
from pipelines.ports import Ledger
from pipelines.postgres import Pool
from pipelines.requests.request import Request
from pipelines.requests.store import PostgresRequests
from pipelines.runs import Mode, Status
from tests.support.fakes_ledger import NOW, FakeLedger
from tests.support.fakes_requests import FakeRequests

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@dataclass
class Stores:
    requests: Requests
    ledger: Ledger


@pytest.fixture
def real(pool: Pool) -> Stores:
    with pool.connection() as connection:
        connection.execute("TRUNCATE workflow_runs, workflow_steps, run_requests")
    return Stores(PostgresRequests(pool), PostgresLedger(pool))


@pytest.fixture(params=["fake", "embedded"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        ledger = FakeLedger()
        return Stores(FakeRequests(ledger), ledger)
    its: Stores = request.getfixturevalue("real")
    return its


def request(**changes: Any) -> Request:
    id_ = str(uuid4())
    its = Request(id_, "full", Mode.DIRECT, "ada", "digest", NOW, {"propose": False}, run_id=id_)
    return replace(its, **changes)


def test_who_claims_gets_what_was_claimed(stores: Stores) -> None:
    wanted = request(key="k", retry_of="r0")
    assert stores.requests.claim(wanted) == wanted
    assert stores.requests.known("ada", "k", NOW) == stores.requests.of(wanted.id) == wanted


def test_the_key_of_a_user_is_held_by_the_first_for_a_day(stores: Stores) -> None:
    first = stores.requests.claim(request(key="k"))
    assert stores.requests.claim(request(key="k", asked_at=NOW + DAY)) == first
    assert stores.requests.claim(request(key="k", asked_by="bob")).asked_by == "bob"
    later = request(key="k", asked_at=NOW + DAY + SECOND)
    assert stores.requests.claim(later) == later
    assert stores.requests.known("ada", "k", later.asked_at) == later
    kept = stores.requests.of(first.id)
    assert kept is not None and kept.key is None, "the request stays with its run"


def test_without_a_key_nothing_is_held(stores: Stores) -> None:
    for wanted in (request(), request()):
        assert stores.requests.claim(wanted) == wanted
    assert stores.requests.known("ada", "k", NOW) is None


def test_the_first_word_of_which_run_it_became_counts(stores: Stores) -> None:
    wanted = stores.requests.claim(request(mode=Mode.PREFECT, run_id=None))
    for run_id in ("r1", "r2"):
        stores.requests.note_run(wanted.id, run_id)
    assert stores.requests.of("r1") == replace(wanted, run_id="r1")
    assert stores.requests.of("r2") is None


def test_what_has_no_run_can_be_withdrawn(stores: Stores) -> None:
    without, with_ = request(mode=Mode.PREFECT, run_id=None, key="k1"), request(key="k2")
    for wanted in (without, with_):
        stores.requests.claim(wanted)
        stores.requests.withdraw(wanted.id)
    assert stores.requests.known("ada", "k1", NOW) is None
    assert stores.requests.known("ada", "k2", NOW) == with_


def test_it_is_launched_once_and_again_after_a_while_and_never_once_it_was_taken_up(stores: Stores) -> None:
    id_ = stores.requests.claim(request()).id
    at = [NOW, NOW + SECOND, NOW + MINUTE]
    assert [stores.requests.may_launch(id_, now) for now in at] == [True, False, True]
    assert [stores.requests.take_up(id_, NOW + MINUTE) for _ in range(2)] == [True, False]
    assert not stores.requests.may_launch(id_, NOW + DAY)
    assert not stores.requests.may_launch("nobody", NOW)
    assert not stores.requests.take_up("nobody", NOW)


def test_whoever_asked_for_what_is_repeated_is_among_the_askers(stores: Stores) -> None:
    first = stores.requests.claim(request())
    prefects = request(mode=Mode.PREFECT, run_id=None, asked_by="bob", retry_of=first.id, asked_at=NOW + SECOND)
    second = stores.requests.claim(prefects)
    stores.requests.note_run(second.id, "r2")
    third = stores.requests.claim(request(asked_by="eve", retry_of="r2", asked_at=NOW + MINUTE))
    assert stores.requests.askers(third.id) == ("ada", "bob", "eve")
    assert stores.requests.askers(second.id) == stores.requests.askers("r2") == ("ada", "bob")
    assert stores.requests.askers("nobody") == ()


def test_runs_that_repeat_each_other_do_not_go_round_for_ever(stores: Stores) -> None:
    stores.requests.claim(request(id="a", run_id="a", retry_of="b"))
    stores.requests.claim(request(id="b", run_id="b", retry_of="a", asked_by="bob"))
    assert stores.requests.askers("a") == ("ada", "bob")


def test_of_one_run_there_is_one_open_retry(stores: Stores) -> None:
    first = stores.requests.claim(request(retry_of="r0"))
    stores.ledger.schedule("full", first.id, Mode.DIRECT, NOW, parameters={})
    for later in (SECOND, DAY):
        assert stores.requests.claim(request(retry_of="r0", asked_by="bob", asked_at=NOW + later)) == first
        assert stores.requests.open_retry("r0", NOW + later) == first
    assert stores.requests.claim(request(retry_of="another")) != first
    stores.ledger.close(first.id, Status.CANCELLED, NOW)
    assert stores.requests.open_retry("r0", NOW) is None
    again = request(retry_of="r0")
    assert stores.requests.claim(again) == again


def test_a_retry_whose_maker_died_is_in_the_way_for_some_minutes_only(stores: Stores) -> None:
    dead = stores.requests.claim(request(retry_of="r0", mode=Mode.PREFECT, run_id=None))
    assert stores.requests.claim(request(retry_of="r0", asked_at=NOW + MINUTE)) == dead
    later = request(retry_of="r0", asked_at=NOW + 6 * MINUTE)
    assert stores.requests.claim(later) == later


def test_old_requests_are_forgotten(stores: Stores) -> None:
    old, new = stores.requests.claim(request()), stores.requests.claim(request(asked_at=NOW + DAY))
    assert stores.requests.forget(NOW + SECOND) == 1
    assert (stores.requests.of(old.id), stores.requests.of(new.id)) == (None, new)


# ------------------------------------------------------------------------------------------------ at the same moment


def operated(stores: Stores, launched: list[str]) -> Operating:
    return Operating(stores.ledger, None, stores.requests, lambda run: launched.append(run.run_id), lambda *_: [])


def test_the_same_key_from_twenty_threads_is_one_run_and_one_launch(real: Stores) -> None:
    for round_ in range(5):
        launched: list[str] = []
        op, key = operated(real, launched), f"key {round_}"
        with ThreadPoolExecutor(20) as pool:
            done = list(pool.map(lambda _: operating.start(op, "full", {}, "ada", key, NOW), range(20)))  # noqa: B023
        (run_id,) = {its.run.run_id for its in done}
        assert launched == [run_id]
        assert sorted(its.repeated for its in done) == [False] + [True] * 19
    assert real.ledger.count() == 5


def test_the_control_without_a_key_makes_twenty(real: Stores) -> None:
    launched: list[str] = []
    op = replace(operated(real, launched), most=100)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: operating.start(op, "full", {}, "ada", None, NOW), range(20)))
    assert len(set(launched)) == real.ledger.count() == 20


def test_retries_by_twenty_users_at_once_are_one_run(real: Stores) -> None:
    real.ledger.begin("full", "r0", Mode.DIRECT, NOW, parameters={})
    real.ledger.close("r0", Status.FAILED, NOW)
    op = operated(real, [])

    def one(n: int) -> str:
        try:
            return operating.retry(op, "r0", f"user {n}", None, NOW).run.run_id
        except Refused as refused:
            return refused.code

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(one, range(20)))
    assert done.count("RETRIED") == 19
    assert real.ledger.count() == 2


def test_of_twenty_processes_for_one_run_one_does_it(real: Stores) -> None:
    id_ = real.requests.claim(request()).id
    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(lambda _: real.requests.take_up(id_, NOW), range(20))) == 1
