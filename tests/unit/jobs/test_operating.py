"""Start, cancel, repeat and follow, over fakes: one request is one run, whoever dies in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import InvalidInput, PermanentError, Refused, TransientError
from pipelines.jobs import operating
from pipelines.jobs.operating import Line, Started
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.support.fakes_ledger import NOW, step
from tests.support.fakes_requests import Place

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@pytest.fixture(params=[False, True], ids=["direct", "prefect"])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(prefect=request.param)


@pytest.fixture
def direct() -> Place:
    return Place()


@pytest.fixture
def prefect() -> Place:
    return Place(prefect=True)


def start(place: Place, flow: str = "incremental", key: str | None = None, by: str = "ada", **said: Any) -> Started:
    now = said.pop("now", NOW)
    return operating.start(place.op, flow, said, by, key, now)


def retry(place: Place, run_id: str, key: str | None = None, by: str = "ada", now: Any = NOW) -> Started:
    return operating.retry(place.op, run_id, by, key, now)


def cancel(place: Place, run_id: str, now: Any = NOW) -> Run:
    return operating.cancel(place.op, run_id, "ada", "too late", now)


def row(place: Place, run_id: str) -> Run:
    run = place.ledger.get(run_id)
    assert run is not None
    return run


def ended(place: Place, run_id: str, status: Status, kind: ErrorKind | None = None) -> Run:
    run = row(place, run_id)
    place.ledger.begin(run.flow_name, run_id, run.mode, NOW, parameters={})
    place.ledger.close(run_id, status, NOW, error_kind=kind)
    return row(place, run_id)


class TestStart:
    def test_the_row_is_in_the_ledger_before_anything_works(self, place: Place) -> None:
        its = start(place, budget_s=5)
        assert (its.run.status, its.run.parameters, its.repeated) == (Status.SCHEDULED, {"budget_s": 5}, False)
        assert row(place, its.run.run_id) == its.run

    def test_without_prefect_a_process_is_launched_and_it_is_said_why(self, direct: Place) -> None:
        its = start(direct)
        assert (its.run.mode, direct.launched) == (Mode.DIRECT, [its.run.run_id])
        assert its.why_direct == "no Prefect server answers"

    def test_with_prefect_it_is_a_run_of_the_deployment(self, prefect: Place) -> None:
        its = start(prefect, "full", propose=False)
        there = prefect.api.all[its.run.run_id]
        assert (there.deployment_name, its.run.mode, its.why_direct) == ("full/full", Mode.PREFECT, None)
        assert (its.run.deployment_name, prefect.launched) == ("full", [])

    def test_a_prefect_that_does_not_answer_means_direct_mode(self, prefect: Place) -> None:
        prefect.api.fails = TransientError("away")
        its = start(prefect)
        assert (its.run.mode, its.why_direct) == (Mode.DIRECT, "away")

    def test_whoever_wires_it_may_ask_more_quickly(self, prefect: Place) -> None:
        op = replace(prefect.op, why_direct=lambda: "it did not answer within 2 s")
        assert operating.start(op, "watch", {}, "ada", None, NOW).run.mode is Mode.DIRECT
        prefect.api.fails, prefect.api.only = TransientError("it was asked as well"), ["healthy"]
        op = replace(prefect.op, why_direct=lambda: None)
        assert operating.start(op, "incremental", {}, "ada", None, NOW).run.mode is Mode.PREFECT
        op = replace(prefect.op, orchestrator=None, why_direct=lambda: "PREFECT_API_URL is not set")
        assert operating.start(op, "watch", {}, "ada", None, NOW).why_direct == "PREFECT_API_URL is not set"

    def test_without_prefect_only_so_many_runs_may_be_open(self, direct: Place) -> None:
        op = replace(direct.op, most=2)
        first = operating.start(op, "incremental", {}, "ada", "a key", NOW)
        operating.start(op, "watch", {}, "ada", None, NOW)
        with pytest.raises(Refused) as caught:
            operating.start(op, "verify", {}, "ada", None, NOW)
        assert caught.value.code == "TOO_MANY_RUNS"
        assert operating.start(op, "incremental", {}, "ada", "a key", NOW).run == first.run  # the same, not one more
        cancel(direct, first.run.run_id)
        assert operating.start(op, "verify", {}, "ada", None, NOW).run.status is Status.SCHEDULED

    def test_runs_of_prefect_do_not_count_for_this_machine(self, direct: Place) -> None:
        for n in range(9):
            direct.ledger.schedule("full", f"prefect-{n}", Mode.PREFECT, NOW, parameters={})
        op = replace(direct.op, most=1)
        assert operating.start(op, "incremental", {}, "ada", None, NOW).run.mode is Mode.DIRECT
        with pytest.raises(Refused, match="ORGANISM_MAX_RUNS"):
            operating.start(op, "incremental", {}, "ada", None, NOW)

    def test_prefect_has_limits_of_its_own(self, prefect: Place) -> None:
        op = replace(prefect.op, most=1)
        runs = {operating.start(op, flow, {}, "ada", None, NOW).run.run_id for flow in ("incremental", "full")}
        assert len(runs) == 2

    def test_who_asked_is_known_and_prefect_is_not_told(self, prefect: Place) -> None:
        its = start(prefect, by="ada")
        request = prefect.requests.of(its.run.run_id)
        assert request is not None
        assert prefect.requests.askers(request.id) == prefect.requests.askers(its.run.run_id) == ("ada",)
        assert "ada" not in str(prefect.api.all) + str(prefect.api._keys) + str(its.run.parameters)

    @pytest.mark.parametrize(
        "said", [{"flow": "incremntal"}, {"flow": "watch", "once": True}, {"key": ""}, {"key": "k" * 256}]
    )
    def test_wrong_input_leaves_nothing(self, place: Place, said: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput):
            start(place, **said)
        assert (place.ledger.runs, place.requests.all, place.launched, place.api.all) == ({}, {}, [], {})

    def test_what_is_not_deployed_is_refused_and_the_same_key_may_be_used_after_it_is(self, prefect: Place) -> None:
        with pytest.raises(Refused, match=r"NOT_TAKEN.*deployments list"):
            start(prefect, "verify", key="k")
        prefect.api.deployments["verify/verify"] = 1
        assert not start(prefect, "verify", key="k").repeated


class TestTheSameRequest:
    def test_is_the_same_run(self, place: Place) -> None:
        first, second = start(place, key="k"), start(place, key="k", now=NOW + 23 * timedelta(hours=1))
        assert (first.run.run_id, first.repeated, second.repeated) == (second.run.run_id, False, True)
        assert len(place.ledger.runs) == 1
        assert len(place.launched) + len(place.api.all) == 1 or place.launched == [first.run.run_id] * 2

    def test_shows_the_run_as_it_is_by_then(self, place: Place) -> None:
        first = start(place, key="k")
        ended(place, first.run.run_id, Status.COMPLETED)
        assert start(place, key="k").run.status is Status.COMPLETED
        assert len(place.launched) <= 1

    def test_without_a_key_is_another_run(self, place: Place) -> None:
        assert start(place).run.run_id != start(place).run.run_id

    def test_of_another_user_is_another_run(self, place: Place) -> None:
        assert start(place, key="k", by="ada").run.run_id != start(place, key="k", by="bob").run.run_id

    def test_after_a_day_is_another_run(self, place: Place) -> None:
        first = start(place, key="k")
        second = start(place, key="k", now=NOW + DAY + SECOND)
        assert (second.repeated, first.run.run_id != second.run.run_id) == (False, True)

    @pytest.mark.parametrize("other", [{"budget_s": 6}, {"flow": "full"}, {"flow": "watch"}])
    def test_with_another_content_is_refused(self, place: Place, other: dict[str, Any]) -> None:
        start(place, key="k", budget_s=5)
        with pytest.raises(Refused, match="KEY_REUSED"):
            start(place, key="k", **other)
        assert len(place.ledger.runs) == 1

    def test_from_twenty_threads_is_one_run_and_one_launch(self, place: Place) -> None:
        with ThreadPoolExecutor(20) as pool:
            done = [f.result() for f in [pool.submit(start, place, key="k") for _ in range(20)]]
        assert len({its.run.run_id for its in done}) == 1
        assert sorted(its.repeated for its in done) == [False] + [True] * 19
        assert (len(place.ledger.runs), len(place.launched) + len(place.api.all)) == (1, 1)

    def test_the_control_without_a_key_makes_twenty(self, place: Place) -> None:
        with ThreadPoolExecutor(20) as pool:
            done = [f.result() for f in [pool.submit(start, place) for _ in range(20)]]
        assert len({its.run.run_id for its in done}) == 20

    def test_keys_are_not_kept_as_they_were_given(self, place: Place) -> None:
        start(place, key="canary-key")
        assert "canary-key" not in str(place.requests.all)


class TestWhoDiesInBetween:
    def test_before_the_row_is_finished_by_the_repetition(self, place: Place) -> None:
        place.ledger.fails, place.ledger.only = TransientError("killed"), ["schedule"]
        with pytest.raises(TransientError):
            start(place, key="k")
        place.ledger.fails = None
        its = start(place, key="k", now=NOW + MINUTE)
        assert (its.repeated, its.run.status, len(place.ledger.runs)) == (True, Status.SCHEDULED, 1)
        assert len(place.launched) + len(place.api.all) == 1

    def test_before_prefect_is_asked_or_after_it_has_made_a_run_makes_no_second_one(self, prefect: Place) -> None:
        for method in ("start", "note_run"):
            key = f"dies at {method}"
            if method == "start":
                prefect.api.fails, prefect.api.only = TransientError("away"), ["start"]
            else:
                real, prefect.requests.note_run = prefect.requests.note_run, _dies  # type: ignore[method-assign]
            with pytest.raises(TransientError):
                start(prefect, key=key)
            prefect.api.fails = None
            if method == "note_run":
                prefect.requests.note_run = real  # type: ignore[method-assign]
            before = set(prefect.api.all)
            its = start(prefect, key=key)
            assert its.repeated and (method == "start") == (its.run.run_id not in before)
        assert len(prefect.api.all) == len(prefect.ledger.runs) == 2

    def test_who_asked_is_known_to_the_run_before_anybody_wrote_down_its_id(self, prefect: Place) -> None:
        prefect.requests.note_run = _dies  # type: ignore[method-assign]
        with pytest.raises(TransientError):
            start(prefect, key="k")
        (prefects_key,) = prefect.api._keys
        request = operating.request_of(prefects_key)
        assert request is not None and prefect.requests.askers(request) == ("ada",)

    def test_before_the_launch_is_launched_by_the_repetition_after_a_while(self, direct: Place) -> None:
        direct.launch = lambda _run: None  # it was killed before it could
        run = start(direct, key="k").run
        direct.launch = None
        start(direct, key="k", now=NOW + SECOND)
        assert direct.launched == []  # perhaps the first one is only slow
        start(direct, key="k", now=NOW + MINUTE)
        assert direct.launched == [run.run_id]

    def test_a_run_that_a_process_took_up_is_not_launched_again(self, direct: Place) -> None:
        run = start(direct, key="k").run
        assert direct.requests.take_up(run.run_id, NOW)
        start(direct, key="k", now=NOW + MINUTE)
        assert direct.launched == [run.run_id]
        assert not direct.requests.take_up(run.run_id, NOW), "two processes would do one run"

    def test_what_was_given_to_prefect_never_becomes_a_run_of_direct_mode(self, prefect: Place) -> None:
        prefect.api.fails, prefect.api.only = TransientError("the answer was lost"), ["start"]
        with pytest.raises(TransientError):
            start(prefect, key="k")
        prefect.api.only = ()  # now nothing of it answers
        with pytest.raises(TransientError):
            start(prefect, key="k")
        prefect.prefect = False
        with pytest.raises(TransientError, match="PREFECT_API_URL"):
            start(prefect, key="k")
        assert (prefect.launched, prefect.ledger.runs) == ([], {})


def _dies(*_: Any) -> None:
    raise TransientError("killed")


class TestRetry:
    def test_is_a_new_run_with_the_same_parameters_and_knows_what_it_repeats(self, place: Place) -> None:
        old = ended(place, start(place, budget_s=5).run.run_id, Status.FAILED, ErrorKind.TRANSIENT)
        its = retry(place, old.run_id, by="bob")
        assert (its.run.flow_name, its.run.parameters, its.run.status) == (
            "incremental",
            {"budget_s": 5},
            Status.SCHEDULED,
        )
        request = place.requests.of(its.run.run_id)
        assert request is not None and request.retry_of == old.run_id
        assert place.requests.askers(its.run.run_id) == ("ada", "bob")
        assert row(place, old.run_id) == old

    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.RUNNING, Status.COMPLETED])
    def test_only_of_what_failed_or_was_cancelled(self, place: Place, status: Status) -> None:
        run = start(place).run
        if status is not Status.SCHEDULED:
            place.ledger.begin("incremental", run.run_id, run.mode, NOW, parameters={})
        if status is Status.COMPLETED:
            place.ledger.close(run.run_id, status, NOW)
        with pytest.raises(Refused, match="NOT_FAILED"):
            retry(place, run.run_id)

    def test_a_full_run_that_did_a_step_goes_on_where_it_stopped(self, place: Place) -> None:
        run = start(place, "full", propose=False).run
        place.ledger.begin("full", run.run_id, run.mode, NOW, parameters={})
        place.ledger.correlate(run.run_id, "full-2026-03-02T12")
        place.ledger.note_step(run.run_id, step("refresh_materialized_views"))
        place.ledger.close(run.run_id, Status.FAILED, NOW, error_kind=ErrorKind.CRASHED)
        assert retry(place, run.run_id).run.parameters == {"resume": "full-2026-03-02T12", "propose": False}

    def test_a_full_run_that_did_none_begins_anew(self, place: Place) -> None:
        """It left nothing behind, and a run that is told to go on with nothing is refused."""
        run = start(place, "full").run
        place.ledger.begin("full", run.run_id, run.mode, NOW, parameters={})
        place.ledger.correlate(run.run_id, "full-2026-03-02T12")
        place.ledger.close(run.run_id, Status.CANCELLED, NOW, error_kind=ErrorKind.INTERRUPTED)
        assert retry(place, run.run_id).run.parameters == {}

    def test_is_refused_while_another_is_open_and_not_after_it(self, place: Place) -> None:
        old = ended(place, start(place).run.run_id, Status.FAILED)
        first = retry(place, old.run_id, by="ada")
        for by, key in (("ada", None), ("bob", None), ("bob", "k"), ("ada", "another")):
            with pytest.raises(Refused, match=f"RETRIED.*{first.run.run_id}"):
                retry(place, old.run_id, by=by, key=key)
        ended(place, first.run.run_id, Status.FAILED)
        assert not retry(place, old.run_id).repeated

    def test_with_the_same_key_is_the_same_run_also_when_that_is_over(self, place: Place) -> None:
        old = ended(place, start(place).run.run_id, Status.FAILED)
        first = retry(place, old.run_id, key="k")
        ended(place, first.run.run_id, Status.COMPLETED)
        again = retry(place, old.run_id, key="k")
        assert (again.repeated, again.run.run_id) == (True, first.run.run_id)

    def test_from_twenty_threads_is_one_run(self, place: Place) -> None:
        old = ended(place, start(place).run.run_id, Status.FAILED)

        def one(n: int) -> str:
            try:
                return retry(place, old.run_id, by=f"user {n}").run.run_id
            except Refused as refused:
                return refused.code

        with ThreadPoolExecutor(20) as pool:
            done = list(pool.map(one, range(20)))
        assert len({*done} - {"RETRIED"}) == 1  # one may finish what another has begun
        assert len(place.ledger.runs) == 2

    def test_that_prefect_did_not_take_is_not_in_the_way_of_the_next(self, prefect: Place) -> None:
        old = ended(prefect, start(prefect).run.run_id, Status.FAILED)
        prefect.api.fails, prefect.api.only = TransientError("503"), ("start",)
        with pytest.raises(TransientError):
            retry(prefect, old.run_id, by="ada")
        prefect.api.fails = None
        runs = {retry(prefect, old.run_id, by="bob").run.run_id}
        assert len(runs) == 1 and len(prefect.ledger.runs) == 2
        with pytest.raises(Refused, match="RETRIED"):
            retry(prefect, old.run_id, by="bob")

    def test_a_key_of_a_start_is_no_key_of_a_retry(self, place: Place) -> None:
        old = ended(place, start(place, key="k").run.run_id, Status.FAILED)
        with pytest.raises(Refused, match="KEY_REUSED"):
            retry(place, old.run_id, key="k")

    def test_a_run_of_a_terminal_is_repeated_with_what_it_was_told(self, place: Place) -> None:
        place.ledger.begin("full", "t1", Mode.DIRECT, NOW, parameters={"resume": None, "propose": True})
        place.ledger.close("t1", Status.FAILED, NOW, error_kind=ErrorKind.DEFECT)
        assert retry(place, "t1").run.parameters == {"propose": True}

    def test_a_flow_that_cannot_be_started_cannot_be_repeated(self, place: Place) -> None:
        place.ledger.begin("demo", "d1", Mode.DIRECT, NOW, parameters={})
        place.ledger.close("d1", Status.FAILED, NOW)
        with pytest.raises(InvalidInput, match="known are"):
            retry(place, "d1")

    def test_nobody_knows_a_run_of_that_id(self, place: Place) -> None:
        for act in (retry, cancel):
            with pytest.raises(InvalidInput, match="no run"):
                act(place, "\0")


class TestCancelWithoutPrefect:
    def test_the_row_says_who_and_why_and_the_process_is_ended(self, direct: Place) -> None:
        run = start(direct).run
        direct.ledger.begin("incremental", run.run_id, Mode.DIRECT, NOW, parameters={})
        done = cancel(direct, run.run_id)
        assert (done.status, done.error_kind) == (Status.CANCELLED, ErrorKind.INTERRUPTED)
        assert done.error == "cancelled by ada: too late"
        assert direct.ended == [run.run_id]

    def test_a_process_that_comes_later_does_not_begin(self, direct: Place) -> None:
        run = start(direct).run
        cancel(direct, run.run_id)
        assert (
            direct.ledger.begin("incremental", run.run_id, Mode.DIRECT, NOW, parameters={}).status is Status.CANCELLED
        )

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_what_has_ended_stays_as_it_is(self, place: Place, status: Status) -> None:
        run = ended(place, start(place).run.run_id, status)
        with pytest.raises(Refused, match="ENDED"):
            cancel(place, run.run_id)
        assert (row(place, run.run_id), place.ended) == (run, [])

    def test_people_and_secrets_do_not_come_into_the_account(self, direct: Place) -> None:
        run = start(direct).run
        words = "p_0123456789abcdef asked by mail@example.com" + "x" * 5_000
        done = operating.cancel(direct.op, run.run_id, "ada", words, NOW)
        assert done.error is not None
        assert "p_0123" not in done.error and "example.com" not in done.error and len(done.error) < 600


class TestCancelWithPrefect:
    def at_work(self, place: Place, beat: timedelta = timedelta(0)) -> str:
        run = start(place).run
        place.ledger.begin("incremental", run.run_id, Mode.PREFECT, NOW, parameters={}, deployment_name="incremental")
        place.ledger.beat(run.run_id, NOW + beat)
        place.api.set_state(run.run_id, "RUNNING", "Running", "")
        return run.run_id

    def test_what_has_not_begun_is_cancelled_at_once(self, prefect: Place) -> None:
        run = start(prefect).run
        done = cancel(prefect, run.run_id)
        assert (done.status, done.prefect_state, done.error) == (
            Status.CANCELLED,
            "Cancelled",
            "cancelled by ada: too late",
        )

    def test_what_works_is_not_called_cancelled_before_it_has_ended(self, prefect: Place) -> None:
        run_id = self.at_work(prefect)
        done = cancel(prefect, run_id)
        assert (done.status, done.prefect_state) == (Status.RUNNING, "Cancelling")
        assert prefect.ended == []

    def test_prefects_word_is_not_believed_of_a_run_that_gives_signs_of_life(self, prefect: Place) -> None:
        """Somebody may set the state in the interface while the process works on."""
        run_id = self.at_work(prefect)
        prefect.api.set_state(run_id, "CANCELLED", "Cancelled", "by hand")
        assert cancel(prefect, run_id, NOW + 30 * SECOND).status is Status.RUNNING
        done = cancel(prefect, run_id, NOW + 2 * MINUTE)
        assert (done.status, done.error) == (Status.CANCELLED, "cancelled by ada: too late")

    def test_a_second_cancel_of_a_run_that_is_being_ended_changes_nothing(self, prefect: Place) -> None:
        run_id = self.at_work(prefect)
        assert cancel(prefect, run_id) == cancel(prefect, run_id)

    def test_what_prefect_says_has_ended_is_refused(self, prefect: Place) -> None:
        run_id = self.at_work(prefect)
        prefect.api.set_state(run_id, "COMPLETED", "Completed", "")
        with pytest.raises(Refused, match=r"ENDED.*Completed"):
            cancel(prefect, run_id)

    def test_what_ends_while_it_is_being_cancelled_is_refused(self, prefect: Place) -> None:
        run_id = self.at_work(prefect)
        api, real = prefect.api, prefect.api.set_state

        def too_late(run: str, *state: str) -> None:
            real(run, "COMPLETED", "Completed", "")
            real(run, *state)

        api.set_state = too_late  # type: ignore[method-assign,assignment]
        with pytest.raises(Refused, match="ENDED"):
            cancel(prefect, run_id)

    def test_a_run_at_a_terminal_is_out_of_reach(self, prefect: Place) -> None:
        run_id = self.at_work(prefect)
        prefect.ledger.runs[run_id] = replace(row(prefect, run_id), deployment_name=None)
        with pytest.raises(Refused, match=r"OUT_OF_REACH.*Ctrl-C"):
            cancel(prefect, run_id)
        assert prefect.api.all[run_id].state_type == "RUNNING"

    def test_what_prefect_forgot_is_cancelled_if_it_never_began(self, prefect: Place) -> None:
        waiting, working = start(prefect).run.run_id, self.at_work(prefect)
        prefect.api.all.clear()
        assert cancel(prefect, waiting).status is Status.CANCELLED
        with pytest.raises(Refused, match="OUT_OF_REACH"):
            cancel(prefect, working)
        assert row(prefect, working).status is Status.RUNNING

    def test_while_prefect_is_away_nothing_is_claimed(self, prefect: Place) -> None:
        run_id = self.at_work(prefect)
        prefect.api.fails = TransientError("away")
        with pytest.raises(TransientError):
            cancel(prefect, run_id)
        prefect.prefect = False
        with pytest.raises(TransientError):
            cancel(prefect, run_id)
        assert row(prefect, run_id).status is Status.RUNNING


class TestFollow:
    def test_prefects_state_is_merged_and_kept_in_its_own_column(self, prefect: Place) -> None:
        run = start(prefect).run
        prefect.api.set_state(run.run_id, "PENDING", "Pending", "")
        shown = operating.live(prefect.op, run)
        assert (shown.prefect_state, shown.status) == ("Pending", Status.SCHEDULED)
        assert row(prefect, run.run_id).prefect_state == "Pending"
        prefect.ledger.calls.clear()
        operating.live(prefect.op, shown)
        assert "note_prefect_state" not in prefect.ledger.calls

    def test_while_the_server_is_away_the_row_is_all_there_is(self, prefect: Place) -> None:
        run = start(prefect).run
        for error in (TransientError("away"), PermanentError("no login")):
            prefect.api.fails = error
            assert operating.live(prefect.op, run) == run
        prefect.api.fails = None
        prefect.api.all.clear()
        assert operating.live(prefect.op, run) == run

    def test_a_run_of_direct_mode_is_not_asked_for_in_prefect(self, direct: Place) -> None:
        run = start(direct).run
        direct.prefect, direct.api.fails = True, PermanentError("it was asked")
        assert operating.live(direct.op, run) == run

    def test_lines_come_from_who_wrote_them_and_are_redacted(self, place: Place) -> None:
        run = start(place).run
        text = "read redis://u:s3cret@host"
        place.lines[run.run_id] = [Line(NOW, "INFO", "earlier"), Line(NOW, "INFO", "read redis://[redacted]@host")]
        place.api.lines[run.run_id] = [(NOW, "INFO", "earlier"), (NOW, "INFO", text)]
        assert operating.logs(place.op, run.run_id, 1) == [Line(NOW, "INFO", "read redis://[redacted]@host")]

    def test_without_lines_the_account_is_told(self, place: Place) -> None:
        run = start(place).run
        place.ledger.begin("incremental", run.run_id, run.mode, NOW + SECOND, parameters={})
        place.ledger.note_step(run.run_id, step(started_at=NOW + 2 * SECOND, attempts=2))
        place.ledger.close(
            run.run_id, Status.FAILED, NOW + MINUTE, error="redis is away", error_kind=ErrorKind.TRANSIENT
        )
        lines = operating.logs(place.op, run.run_id, 100)
        assert [line.text for line in lines][1:] == [
            "began, attempt 1",
            "fetch_interactions began; completed after 2 attempts, 1.5 s: 3 delivered",
            "failed: redis is away",
        ]
        assert lines[-1].level == "ERROR"
        assert operating.logs(place.op, run.run_id, 1) == lines[-1:]

    def test_while_prefect_is_away_the_account_is_told_and_that_it_is_only_that(self, prefect: Place) -> None:
        run = start(prefect).run
        prefect.api.fails = TransientError("away")
        first, *_ = operating.logs(prefect.op, run.run_id, 100)
        assert first.level == "WARNING" and "away" in first.text
