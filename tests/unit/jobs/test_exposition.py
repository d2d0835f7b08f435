"""What Prometheus is told: readable to its own parser, complete, without people, and silent about what is not known."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alerts import rules
from alerts.model import Code, Facts, PrefectFact, StoreFact, StreamFact
from alerts.rules import Limits
from pipelines.jobs import exposition, facts
from pipelines.jobs.exposition import Shown
from pipelines.jobs.facts import Machine, Sources
from pipelines.jobs.flows import FLOWS
from pipelines.runs import ErrorKind, FlowFigures, Mode, Status
from tests.support.fakes_ledger import NOW, FakeLedger, step

LIMITS = Limits()
FACTS = Facts(
    now=NOW,
    stores=(StoreFact("redis"), StoreFact("graph", "postgresql://u:Canary@h p_0123456789abcdef")),
    stream=StreamFact(50, 3, 2, NOW - timedelta(minutes=1)),
    applied_at=NOW,
    prefect=PrefectFact(up=True, queue=4, workers_online=0, leaked=("deployment:full/full",)),
    drift=0,
    memory_share=0.5,
    disk_share=0.25,
)
FIGURES = FlowFigures("incremental", 24, 20, 2, 1, 1, 20 / 22, 0.1, tuple(float(i) for i in range(1, 21)))
ALL = Shown(FACTS, (FIGURES,), {"incremental": NOW}, {"critical": 1, "warning": 0})


def read(shown: Shown) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and values of labels, as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(exposition.text(shown, LIMITS).decode()):
        assert family.type == "gauge" and family.documentation.endswith(".")
        for sample in family.samples:
            key = sample.name, tuple(v for _, v in sorted(sample.labels.items()))
            assert key not in found, "no sample twice"
            found[key] = sample.value
    return found


def test_runs_are_told_by_flow_and_status() -> None:
    found = read(ALL)
    states = {
        status: found["organism_runs", ("incremental", status)] for status in ("completed", "failed", "cancelled")
    }
    assert states == {"completed": 20, "failed": 2, "cancelled": 1}
    assert found["organism_runs", ("incremental", "running")] == 1
    assert found["organism_last_success_timestamp_seconds", ("incremental",)] == NOW.timestamp()


def test_durations_are_quantiles_of_completed_runs() -> None:
    found = read(ALL)
    assert [found["organism_run_seconds", ("incremental", q)] for q in ("0.5", "0.95", "1")] == [10, 19, 20]


def test_service_levels_stand_beside_their_goals() -> None:
    found = read(ALL)
    assert found["organism_slo_ratio", ("incremental", "retry")] == 0.1
    for flow in FLOWS:
        assert found["organism_slo_goal", (flow.name, "seconds")] == flow.slow.total_seconds()
        assert found["organism_slo_goal", (flow.name, "success")] == LIMITS.slo_success


def test_stores_stream_graph_machine_prefect_and_incidents_are_told() -> None:
    found = {name: value for (name, labels), value in read(ALL).items() if not labels}
    assert found == {
        "organism_backlog_entries": 50,
        "organism_pending_entries": 3,
        "organism_dead_letters": 2,
        "organism_oldest_unread_timestamp_seconds": NOW.timestamp() - 60,
        "organism_applied_timestamp_seconds": NOW.timestamp(),
        "organism_drift_ties": 0,
        "organism_memory_ratio": 0.5,
        "organism_disk_ratio": 0.25,
        "organism_prefect_up": 1,
        "organism_prefect_queue_runs": 4,
        "organism_prefect_workers_online": 0,
        "organism_prefect_leaked_limits": 1,
    }
    whole = read(ALL)
    assert (whole["organism_store_up", ("redis",)], whole["organism_store_up", ("graph",)]) == (1, 0)
    assert whole["organism_open_incidents", ("critical",)] == 1


def test_what_is_not_known_is_left_out_and_is_no_zero() -> None:
    nothing = {name for name, _ in read(Shown(Facts(NOW)))}
    assert nothing == {"organism_slo_goal"}
    down = read(Shown(Facts(NOW, prefect=PrefectFact(up=False, words="refused"))))
    assert {name for name, _ in down} == {"organism_slo_goal", "organism_prefect_up"}


def test_no_words_of_a_store_and_no_person_get_out() -> None:
    text = exposition.text(ALL, LIMITS).decode()
    assert "Canary" not in text and not re.search(r"[px]_[0-9a-f]{16}", text)


def test_every_line_that_is_no_sample_explains_one() -> None:
    lines = exposition.text(ALL, LIMITS).decode().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.split(r"[ {]", line)[0] for line in lines if not line.startswith("#")} <= names
    assert all(name.startswith("organism_") for name in names)


class TestOfTheLedger:
    @pytest.fixture
    def ledger(self) -> FakeLedger:
        ledger = FakeLedger()
        for i, kind in enumerate((None, None, ErrorKind.DEFECT)):
            run_id, at = f"r{i}", NOW + timedelta(minutes=i)
            ledger.begin("incremental", run_id, Mode.DIRECT, at, parameters={})
            ledger.note_step(run_id, step(attempts=2 if kind else 1))
            status = Status.FAILED if kind else Status.COMPLETED
            ledger.close(run_id, status, at + timedelta(seconds=5), error_kind=kind)
        ledger.begin("somebody's", "x", Mode.DIRECT, NOW, parameters={})
        return ledger

    def test_the_figures_are_of_our_flows_and_of_a_day(self, ledger: FakeLedger) -> None:
        (found,) = exposition.figures(ledger, NOW + timedelta(hours=1))
        assert (found.flow_name, found.completed, found.failed) == ("incremental", 2, 1)
        assert exposition.figures(ledger, NOW + timedelta(hours=30)) == ()

    def test_the_digest_and_prometheus_say_the_same_of_a_day_that_began_badly(self) -> None:
        """Of 60 runs the oldest 20 failed: the newest 40 alone would have kept every level."""
        ledger = FakeLedger()
        for i in range(60):
            at = NOW + timedelta(minutes=5 * i)
            ledger.begin("incremental", f"r{i}", Mode.PREFECT, at, parameters={})
            ledger.note_step(f"r{i}", step(attempts=2 if i < 20 else 1))
            kind = ErrorKind.TRANSIENT if i < 20 else None
            status = Status.FAILED if kind else Status.COMPLETED
            ledger.close(f"r{i}", status, at + timedelta(seconds=60 if i == 59 else 5), error_kind=kind)
        now = NOW + timedelta(hours=6)
        seen = facts.gather(Sources(ledger=ledger), Machine(lambda: None, lambda: None, ""), now, None)
        (digest,) = [p for p in rules.problems(seen) if p.code is Code.SLO_DIGEST]
        told = read(Shown(seen, exposition.figures(ledger, now)))
        assert told["organism_slo_ratio", ("incremental", "success")] == 40 / 60
        assert told["organism_slo_ratio", ("incremental", "retry")] == 20 / 60
        assert told["organism_run_seconds", ("incremental", "0.95")] == 5
        assert "incremental success 67 % of 60 runs" in digest.what and "incremental retries 33 %" in digest.what
        assert "incremental time 5 s" in digest.works

    def test_the_last_good_run_is_not_the_last_run(self, ledger: FakeLedger) -> None:
        assert facts.last_good(ledger) == {"incremental": NOW + timedelta(minutes=1, seconds=5)}
