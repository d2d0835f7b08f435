"""The facts for the rules: each store asked once, a store that is away is a sentence and hides nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.model import Facts, FlowFact
from pipelines.errors import OrganismError, PermanentError, TransientError
from pipelines.jobs import facts, prefect_view
from pipelines.jobs.facts import Machine, Sources
from pipelines.model import Cursor, Lane, StreamState
from pipelines.runs import ErrorKind, Mode, PrefectRun, PrefectWorker, Status
from tests.support.fakes_ledger import FakeLedger, step
from tests.support.fakes_orchestrator import NOW, FakeOrchestrator, prefect_run

MACHINE = Machine(lambda: 0.5, lambda: 0.25, "the state directory")
AT_MS = 1_772_452_800_000  # NOW


class Store:
    """A stream, its letters and a graph in one, each of which can be away."""

    def __init__(self, fails: OrganismError | None = None) -> None:
        self.fails, self.asked = fails, 0

    def _said(self, value: Any) -> Any:
        self.asked += 1
        if self.fails:
            raise self.fails
        return value

    def state(self) -> StreamState:
        return self._said(StreamState(9, 9, 4, 5, 2, oldest_unread_ms=AT_MS))  # type: ignore[no-any-return]

    def counts(self, lane: Lane) -> dict[str, int]:
        return self._said({"BAD_JSON": 2, "POISON": 1} if lane is Lane.DEAD else {"TOO_LATE": 50})  # type: ignore[no-any-return]

    def cursor(self) -> Cursor:
        return self._said(Cursor(applied=7, at_ms=AT_MS))  # type: ignore[no-any-return]


def sources(**changes: Any) -> Sources:
    store: Any = Store()
    return replace(Sources(FakeLedger(), store, store, store, FakeOrchestrator(), {}, "organism"), **changes)


def gathered(of: Sources) -> Facts:
    view = prefect_view.look(of.orchestrator, of.pool, NOW) if of.orchestrator else None
    return facts.gather(of, MACHINE, NOW, view)


def ended(ledger: FakeLedger, flow: str, run_id: str, mode: Mode = Mode.PREFECT, **closed: Any) -> None:
    ledger.begin(flow, run_id, mode, NOW, parameters={})
    ledger.close(run_id, closed.pop("status", Status.COMPLETED), NOW + timedelta(seconds=9), **closed)


def flow(of: Facts, name: str) -> FlowFact:
    return next(f for f in of.flows if f.flow == name)


def test_all_is_there_when_all_is_well() -> None:
    found = gathered(sources())
    assert [f.flow for f in found.flows] == ["incremental", "full", "watch", "verify"]
    assert {s.name: s.words for s in found.stores} == {"redis": None, "graph": None, "postgres": None}
    assert found.stream and (found.stream.unread, found.stream.pending, found.stream.dead_letters) == (5, 2, 3)
    assert found.stream.oldest_unread_at == found.applied_at == NOW
    assert (found.memory_share, found.disk_share, found.disk_of) == (0.5, 0.25, "the state directory")
    assert found.prefect and found.prefect.up and found.prefect.words is None


class TestAway:
    @pytest.mark.parametrize("error", [TransientError("away"), PermanentError("not allowed")])
    def test_a_store_that_fails_is_a_sentence_and_the_others_are_asked(self, error: OrganismError) -> None:
        away: Any = Store(error)
        found = gathered(sources(stream=away, letters=away))
        assert {s.name: s.words for s in found.stores} == {"redis": str(error), "graph": None, "postgres": None}
        assert found.stream is None and found.applied_at == NOW and len(found.flows) == 4
        assert away.asked == 1, "each question may cost a time-out"

    def test_a_graph_that_is_away(self) -> None:
        away: Any = Store(TransientError("away"))
        found = gathered(sources(graph=away))
        assert {s.name for s in found.stores if s.words} == {"graph"}
        assert found.applied_at is None and found.stream is not None

    def test_a_ledger_that_is_away_says_nothing_of_any_flow(self) -> None:
        ledger = FakeLedger()
        ledger.fails = TransientError("away")
        found = gathered(sources(ledger=ledger))
        assert found.flows == () and found.drift is None
        assert {s.name for s in found.stores if s.words} == {"postgres"}
        assert ledger.calls == ["find"]

    def test_what_could_not_be_opened_is_away_and_is_not_asked(self) -> None:
        found = gathered(sources(ledger=None, stream=None, away={"postgres": "refused", "redis": "no"}))
        assert {s.name: s.words for s in found.stores} == {"redis": "no", "graph": None, "postgres": "refused"}

    def test_what_is_not_there_at_all_is_no_fact(self) -> None:
        found = gathered(Sources())
        assert (found.stores, found.flows, found.stream, found.applied_at, found.prefect) == ((), (), None, None, None)

    def test_a_prefect_that_is_down_is_a_sentence(self) -> None:
        api = FakeOrchestrator()
        api.fails = TransientError("refused")
        found = gathered(sources(orchestrator=api))
        assert found.prefect and not found.prefect.up and found.prefect.words == "refused"
        assert (found.prefect.queue, found.prefect.workers_online, found.prefect.leaked) == (None, None, ())


class TestFlows:
    def test_a_run_is_told_with_what_it_said(self) -> None:
        ledger = FakeLedger()
        ledger.begin("incremental", "a", Mode.PREFECT, NOW, parameters={})
        ledger.note_step("a", step(attempts=3))
        ledger.note_step("a", step("update_graph_incremental", position=1, status=Status.FAILED, attempts=4))
        ledger.note_step("a", step("third", position=2))
        said = {"error": "no", "error_kind": ErrorKind.TRANSIENT, "result": {"read": 7, "ok": True, "at": "x"}}
        ledger.close("a", Status.FAILED, NOW + timedelta(seconds=9), **said)  # type: ignore[arg-type]
        (run,) = flow(gathered(sources(ledger=ledger)), "incremental").runs
        assert (run.status, run.error_kind, run.error, run.seconds) == ("failed", "transient", "no", 9.0)
        assert (run.step, run.steps, run.retried_steps) == ("update_graph_incremental", 3, 2)
        assert run.result == {"read": 7.0, "ok": 1.0}
        assert run.link == "http://prefect/runs/flow-run/a"
        assert run.resume == "python -m pipelines.incremental"

    def test_a_direct_run_has_no_place_in_prefect(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "incremental", "a", Mode.DIRECT)
        assert flow(gathered(sources(ledger=ledger)), "incremental").runs[0].link is None

    def test_a_full_run_goes_on_by_its_name_where_it_has_one(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "full", "a")
        ended(ledger, "full", "b")
        ledger.correlate("b", "full-2026-03-02T06")
        named, nameless = flow(gathered(sources(ledger=ledger)), "full").runs
        assert named.resume == "python -m pipelines.full --resume full-2026-03-02T06"
        assert nameless.resume == "python -m pipelines.full"

    def test_a_run_of_a_flow_that_is_not_in_the_table_has_no_command(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "other", "a")
        assert facts.run_fact(ledger.runs["a"]).resume is None
        assert facts.run_fact(ledger.runs["a"], link="http://x", step="s").step == "s"

    def test_forty_runs_are_enough_and_the_newest_comes_first(self) -> None:
        ledger = FakeLedger()
        for i in range(45):
            ended(ledger, "incremental", f"r{i}")
        runs = flow(gathered(sources(ledger=ledger)), "incremental").runs
        assert (len(runs), runs[0].run_id) == (40, "r44")

    def test_an_interval_is_expected_where_something_keeps_it(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "incremental", "a", Mode.DIRECT)
        assert flow(gathered(sources(ledger=ledger)), "incremental").every == timedelta(minutes=5)
        assert flow(gathered(sources(ledger=ledger, orchestrator=None)), "incremental").every is None
        ended(ledger, "verify", "v", Mode.DIRECT)
        assert flow(gathered(sources(ledger=ledger)), "verify").every is None, "the server has no deployment of it"

    def test_a_flow_that_never_ran_is_expected_since_the_installation_or_its_deployment_is_there(self) -> None:
        ledger, api, since = FakeLedger(), FakeOrchestrator(), NOW - timedelta(days=3)
        assert flow(gathered(sources(orchestrator=api)), "full").since is None
        ledger.begin("watch", "w", Mode.DIRECT, since, parameters={})
        seen = flow(gathered(sources(ledger=ledger, orchestrator=api)), "full")
        assert (seen.every, seen.since, seen.runs) == (timedelta(hours=6), since, ())
        api.made["deployment:full/full"] = NOW - timedelta(hours=1)
        assert flow(gathered(sources(ledger=ledger, orchestrator=api)), "full").since == NOW - timedelta(hours=1)

    def test_the_last_good_run_is_known_behind_forty_bad_ones(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "incremental", "good")
        for i in range(45):
            ended(ledger, "incremental", f"r{i}", status=Status.CANCELLED, error_kind=ErrorKind.REFUSED)
        seen = flow(gathered(sources(ledger=ledger)), "incremental")
        assert seen.good_at == NOW + timedelta(seconds=9) and "completed" not in {r.status for r in seen.runs}
        assert facts.flow_fact(ledger, "incremental", NOW).good_at == seen.good_at

    def test_a_day_is_all_of_it_and_says_which_run_was_the_last(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "incremental", "first", result={"lost": 3, "note": "x", "ok": True})
        for i in range(45):
            ended(ledger, "incremental", f"r{i}", result={"lost": 0, "read": 10})
        ended(ledger, "incremental", "typo", Mode.DIRECT, status=Status.FAILED, error_kind=ErrorKind.INPUT)
        day = flow(gathered(sources(ledger=ledger)), "incremental").day
        assert (day.runs, day.success, day.seconds) == (46, 1.0, 9.0)
        assert {name: (s.total, s.newest) for name, s in day.sums.items()} == {
            "lost": (3, "first"),
            "read": (450, "r44"),
        }
        assert (day.sums["read"].link, day.sums["lost"].link) == ("http://prefect/runs/flow-run/r44", None)

    def test_a_schedule_is_known_from_the_runs_too(self) -> None:
        ledger, planned = FakeLedger(), NOW - timedelta(minutes=7)
        ledger.begin("incremental", "a", Mode.PREFECT, planned, parameters={}, scheduled_at=planned)
        found = facts.flow_fact(ledger, "incremental", NOW)
        assert (found.every, found.next_try, found.since) == (timedelta(minutes=5), NOW + timedelta(minutes=3), planned)
        assert facts.flow_fact(ledger, "incremental", planned).next_try == planned + timedelta(minutes=5)
        assert facts.flow_fact(FakeLedger(), "incremental", NOW) == FlowFact("incremental", None, timedelta(seconds=30))
        assert not found.runs[0].asked

    def test_the_server_knows_the_next_start_best(self) -> None:
        api = FakeOrchestrator()
        api.add(prefect_run(state_type="SCHEDULED", expected_at=NOW + timedelta(minutes=2)))
        assert flow(gathered(sources(orchestrator=api)), "incremental").next_try == NOW + timedelta(minutes=2)


class TestDrift:
    def test_it_is_that_of_the_last_recount_that_came_to_an_end(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "verify", "a", result={"differences": 0})
        ended(ledger, "verify", "b", result={"differences": 3})
        ended(ledger, "verify", "c", status=Status.FAILED, error_kind=ErrorKind.TRANSIENT)
        found = gathered(sources(ledger=ledger))
        assert (found.drift, found.drift_at) == (3, NOW + timedelta(seconds=9))


class TestPrefect:
    def test_it_counts_workers_waiting_runs_and_what_was_left_behind(self) -> None:
        api = FakeOrchestrator()
        stuck = prefect_run("s", state_type="PENDING", since=NOW - timedelta(minutes=11))
        late = prefect_run("l", state_type="SCHEDULED", state_name="Late", deployment_name=None)
        api.add(stuck, late)
        api.active["deployment:full/full"] = 1
        api.online["organism"] = [PrefectWorker(n, "organism", n == "a", NOW) for n in "ab"]
        found = gathered(sources(orchestrator=api)).prefect
        assert found and (found.queue, found.workers_online) == (1, 1)
        assert found.stuck == (("calm-owl", "incremental", stuck.since),)
        assert found.leaked == ("deployment:full/full",)


def test_times_are_aware_and_zero_is_never() -> None:
    assert facts._time(0) is None and facts._time(None) is None
    assert facts._time(AT_MS) == datetime.fromtimestamp(AT_MS / 1000, UTC)


def test_a_prefect_run_is_what_the_fake_says_it_is() -> None:
    assert isinstance(prefect_run(), PrefectRun)


class TestOnDemand:
    def test_what_people_start_is_looked_at_for_a_day_and_is_never_missed(self) -> None:
        ledger = FakeLedger()
        ended(ledger, "policy_check", "1", status=Status.FAILED, error="away", error_kind=ErrorKind.TRANSIENT)
        found = flow(gathered(sources(ledger=ledger)), "policy_check")
        assert [run.status for run in found.runs] == ["failed"]
        assert (found.every, found.next_try, found.day.runs) == (None, None, 0)
        ledger.clock = lambda now: now + timedelta(hours=25)  # type: ignore[method-assign]
        later = facts.gather(sources(ledger=ledger), MACHINE, NOW + timedelta(hours=25), None)
        assert "policy_check" not in {f.flow for f in later.flows}
