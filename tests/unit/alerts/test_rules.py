"""Each rule with a case in which it speaks, one in which it is silent, and the boundary between them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import timedelta

import pytest

from alerts import rules
from alerts.model import Code, Facts, MachineFact, PrefectFact, Problem, Severity, StoreFact, StreamFact, SumFact
from alerts.rules import EXPLAINS, Limits, explains
from alerts.rules.runs import flow_failed
from tests.support.fakes_alerts import DOWN, FAILED, HOUR, MINUTE, NOW, bad, facts, flow, problem, run

NO_DIGEST = Limits(digest="never")
UP = PrefectFact(up=True, queue=0, workers_online=1)


def codes(of: Facts, limits: Limits = NO_DIGEST) -> list[Code]:
    return [found.code for found in rules.problems(of, limits)]


def only(of: Facts, limits: Limits = NO_DIGEST) -> Problem:
    (found,) = rules.problems(of, limits)
    return found


GOOD = tuple(run(5 * n) for n in range(1, 13))


def test_when_all_is_well_no_rule_speaks() -> None:
    well = facts(
        flow(*GOOD),
        stores=(StoreFact("redis"), StoreFact("graph"), StoreFact("postgres")),
        stream=StreamFact(unread=10, pending=0, dead_letters=0, oldest_unread_at=NOW - MINUTE),
        applied_at=NOW - 5 * MINUTE,
        prefect=UP,
        drift=0,
        memory_share=0.5,
        disk_share=0.5,
        proposals=(),
    )
    assert codes(well) == []
    assert rules.unknown(well) == set()


# ---------------------------------------------------------------------------------------------------------- runs


def test_a_run_that_failed_after_all_retries_says_everything_that_people_need() -> None:
    newest = bad(5, step="fetch_interactions", link="https://prefect/runs/1", resume="python -m pipelines.incremental")
    found = only(facts(flow(newest, bad(10), *GOOD[2:])))
    assert (found.key, found.severity) == ("FLOW_FAILED:incremental", Severity.CRITICAL)
    assert found.what.startswith("incremental failed in fetch_interactions after all retries: redis localhost:6379")
    assert found.since == bad(10).ended_at
    assert found.last_good == GOOD[2].ended_at
    assert (found.next_try, found.link, found.lost) == (NOW + 5 * MINUTE, "https://prefect/runs/1", "nothing")
    assert found.stale
    assert found.works
    assert found.fix == "python -m pipelines.incremental"
    assert found.event == "transient run-5"


def test_the_hook_and_the_watch_say_the_same() -> None:
    newest = bad(5)
    whole = flow(newest, *GOOD[1:])
    assert flow_failed(newest, replace(whole, runs=whole.runs[1:])) == flow_failed(newest, whole)
    assert rules.problems(facts(whole), NO_DIGEST) == [flow_failed(newest, whole)]


def test_a_good_run_after_a_bad_one_ends_it() -> None:
    assert codes(facts(flow(run(5), bad(10)))) == []


@pytest.mark.parametrize("kind", ["refused", "interrupted"])
def test_what_a_rule_or_a_person_stopped_pages_nobody_and_hides_nothing(kind: str) -> None:
    stopped = bad(5, kind)
    assert flow_failed(stopped) is None
    assert codes(facts(flow(stopped, run(10)))) == []
    assert codes(facts(flow(stopped, bad(10)))) == [Code.FLOW_FAILED]


def test_a_cancelled_or_good_run_is_no_failure() -> None:
    assert flow_failed(run(status="cancelled", error_kind="refused")) is None
    assert flow_failed(run()) is None


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("transient", Code.FLOW_FAILED),
        ("permanent", Code.FLOW_FAILED),
        ("input", Code.FLOW_FAILED),
        ("timeout", Code.FLOW_FAILED),
        ("defect", Code.FLOW_FAILED),
        (None, Code.FLOW_FAILED),
        ("crashed", Code.ZOMBIE_RUN),
        ("lost", Code.ZOMBIE_RUN),
        ("never_started", Code.NEVER_STARTED),
    ],
)
def test_each_kind_of_end_has_its_code(kind: str | None, code: Code) -> None:
    found = flow_failed(bad(5, kind))  # type: ignore[arg-type]
    assert found is not None
    assert found.code is code
    assert codes(facts(flow(bad(5, kind), run(10)))) == [code]  # type: ignore[arg-type]


def test_the_breaker_is_known_by_its_own_sentence() -> None:
    """The sentence is made where the breaker is, and read here."""
    from pipelines.jobs import ingest

    assert 'f"{count} of {read} entries are invalid ({codes})' in inspect.getsource(ingest)
    words = "312 of 1000 entries are invalid (UNKNOWN_TYPE 312), more than 20%: nothing was set aside"
    assert codes(facts(flow(bad(5, "permanent", error=words)))) == [Code.BREAKER_OPEN]
    assert codes(facts(flow(run(5), bad(10, "permanent", error=words)))) == []


def test_a_run_that_died_is_told_for_an_hour_also_when_a_later_one_went_well() -> None:
    died = only(facts(flow(run(5), bad(30, "crashed", error="its process is gone"))))
    assert (died.code, died.severity) == (Code.ZOMBIE_RUN, Severity.WARNING)
    at_the_edge = replace(bad(70, "crashed"), ended_at=NOW - HOUR)
    assert codes(facts(flow(run(5), at_the_edge))) == [Code.ZOMBIE_RUN]
    assert codes(facts(flow(run(5), replace(at_the_edge, ended_at=NOW - HOUR - MINUTE)))) == []


def test_the_newest_run_that_died_is_critical_however_old() -> None:
    found = only(facts(flow(bad(300, "lost"), every=None)))
    assert (found.code, found.severity) == (Code.ZOMBIE_RUN, Severity.CRITICAL)


def test_a_run_that_hangs_in_pending_is_told_after_ten_minutes() -> None:
    def stuck(minutes: float) -> Facts:
        return facts(flow(*GOOD), prefect=replace(UP, stuck=(("blue-ox", "incremental", NOW - minutes * MINUTE),)))

    assert codes(stuck(10)) == []
    found = only(stuck(11))
    assert (found.code, found.subject) == (Code.NEVER_STARTED, "incremental")
    assert "blue-ox hangs in PENDING" in found.what


@pytest.mark.parametrize(("retried", "speaks"), [(2, False), (3, True)])
def test_more_than_a_fifth_of_the_steps_retried_is_a_warning(retried: int, speaks: bool) -> None:
    runs = [run(5 * n, retried_steps=1 if n <= retried else 0) for n in range(1, 6)]  # 10 steps
    found = rules.problems(facts(flow(*runs)), NO_DIGEST)
    assert [p.code for p in found] == ([Code.RETRY_RATE] if speaks else [])
    assert all(p.severity is Severity.WARNING for p in found)


def test_few_steps_say_nothing_about_retries() -> None:
    assert codes(facts(flow(*(run(5 * n, retried_steps=2) for n in range(1, 5))))) == []


@pytest.mark.parametrize(("seconds", "speaks"), [(59.9, False), (60, False), (60.1, True)])
def test_a_run_of_more_than_twice_the_normal_time_is_a_warning(seconds: float, speaks: bool) -> None:
    before = [run(5 * n, seconds=30.0) for n in range(2, 8)]
    assert codes(facts(flow(run(5, seconds=seconds), *before))) == ([Code.SLOW_RUN] if speaks else [])


def test_a_run_that_is_still_going_can_be_too_slow() -> None:
    going = run(2, status="running", ended_at=None, seconds=None)
    before = [run(5 * n, seconds=30.0) for n in range(1, 7)]
    found = only(facts(flow(going, *before)))
    assert found.what == "incremental has been running for 2 min; normal is 30 s (median of its good runs)."
    assert codes(facts(flow(replace(going, started_at=NOW - timedelta(seconds=50)), *before))) == []


def test_what_is_normal_takes_five_good_runs_and_twenty_at_most() -> None:
    slow = run(5, seconds=600.0)
    assert codes(facts(flow(slow, *(run(5 * n, seconds=30.0) for n in range(2, 6))))) == []
    assert codes(facts(flow(slow, *(run(5 * n, seconds=30.0) for n in range(2, 7))))) == [Code.SLOW_RUN]
    older = [run(5 * n, seconds=600.0) for n in range(22, 41)]
    assert codes(facts(flow(slow, *(run(5 * n, seconds=30.0) for n in range(2, 22)), *older))) == [Code.SLOW_RUN]


def test_twice_next_to_nothing_is_no_news() -> None:
    assert codes(facts(flow(run(5, seconds=9.0), *(run(5 * n, seconds=0.4) for n in range(2, 9))))) == []


@pytest.mark.parametrize(("minutes", "speaks"), [(15, False), (15.1, True)])
def test_a_schedule_is_missed_after_two_intervals_and_a_grace(minutes: float, speaks: bool) -> None:
    assert codes(facts(flow(run(minutes)))) == ([Code.SCHEDULE_MISSED] if speaks else [])


def test_a_run_that_goes_on_misses_no_schedule_and_without_a_schedule_nothing_is_missed() -> None:
    assert codes(facts(flow(run(60, status="running", ended_at=None, seconds=None)))) == []
    assert codes(facts(flow(run(600), every=None))) == []
    assert codes(facts(flow())) == []
    assert codes(facts(flow(since=NOW - HOUR))) == [Code.SCHEDULE_MISSED]


def test_a_run_that_was_refused_was_started() -> None:
    refused = run(4, status="cancelled", error_kind="refused")
    assert codes(facts(flow(refused, run(34)))) == []
    late = only(facts(flow(refused, run(36))))
    assert late.code is Code.SCHEDULE_MISSED, "but not for ever"
    assert late.what == "incremental did not complete for 36 min; its runs are refused."


@pytest.mark.parametrize("kind", ["refused", "interrupted"])
def test_a_flow_whose_runs_never_complete_is_told(kind: str) -> None:
    hours = [6 * n + 1 for n in range(40)]
    stopped = [run(60 * h, flow="full", status="cancelled", error_kind=kind) for h in hours]
    found = only(facts(flow(*stopped, flow="full", every=6 * HOUR, since=NOW - 240 * HOUR)))
    assert (found.code, found.severity, found.subject) == (Code.SCHEDULE_MISSED, Severity.CRITICAL, "full")
    assert codes(facts(flow(*stopped[:5], flow="full", every=6 * HOUR, since=NOW - 30 * HOUR))) == []
    assert codes(facts(flow(*stopped, flow="full", every=6 * HOUR))) == [Code.SCHEDULE_MISSED], "since its first run"
    assert codes(facts(flow(*stopped, flow="full", every=None, since=NOW - 240 * HOUR))) == [], "by hand"


def test_a_flow_that_fails_every_time_is_told_as_that() -> None:
    assert codes(facts(flow(*(bad(5 * n) for n in range(1, 20)), since=NOW - 24 * HOUR))) == [Code.FLOW_FAILED]


def test_a_flow_that_never_ran_counts_from_when_there_was_something_to_run_it() -> None:
    assert codes(facts(flow(since=NOW - 14 * MINUTE))) == []
    found = only(facts(flow(since=NOW - 16 * MINUTE)))
    assert (found.code, found.what) == (
        Code.SCHEDULE_MISSED, "incremental never ran, for 16 min; it should be every 5 min.",
    )  # fmt: skip


def test_wrong_input_that_was_typed_pages_nobody_and_says_nothing_of_the_flow() -> None:
    typo = bad(5, "input", asked=True)
    assert flow_failed(typo) is None
    assert codes(facts(flow(typo, run(10)))) == []
    assert codes(facts(flow(typo, bad(10)))) == [Code.FLOW_FAILED]
    assert codes(facts(flow(bad(5, "input", asked=False), run(10)))) == [Code.FLOW_FAILED], "nobody sits there"


# ---------------------------------------------------------------------------------------------- stream and graph


@pytest.mark.parametrize(
    ("unread_for", "applied_ago", "speaks"), [(15, 30, False), (16, 30, True), (30, 15, False), (30, 16, True)]
)
def test_the_graph_is_stale_when_nothing_was_applied_for_a_quarter_of_an_hour(
    unread_for: float, applied_ago: float, speaks: bool
) -> None:
    stream = StreamFact(12, 0, 0, NOW - unread_for * MINUTE)
    found = codes(facts(stream=stream, applied_at=NOW - applied_ago * MINUTE))
    assert found == ([Code.STALE_GRAPH] if speaks else [])


def test_a_stream_that_is_read_is_not_stale_however_long_ago_that_was() -> None:
    assert codes(facts(stream=StreamFact(0, 0, 0, None), applied_at=NOW - 24 * HOUR)) == []


def test_a_graph_that_never_got_anything_is_stale_too() -> None:
    assert codes(facts(stream=StreamFact(5, 0, 0, NOW - HOUR))) == [Code.STALE_GRAPH]


@pytest.mark.parametrize(
    ("dead", "read", "speaks"), [(10, 1_000, False), (11, 1_000, True), (11, 199, False), (51, 100, True)]
)
def test_more_than_one_percent_of_dead_letters_is_a_warning(dead: int, read: int, speaks: bool) -> None:
    of_today = run(5, result={"read": read, "dead_letters": dead})
    of_last_week = run(60 * 24 * 7, result={"read": 10, "dead_letters": 10})
    found = codes(facts(flow(of_today, of_last_week)))
    assert found == ([Code.DEAD_LETTERS] if speaks else [])


def test_lost_entries_are_told_for_a_day_and_as_what_they_are() -> None:
    found = only(facts(flow(run(5), run(60, result={"lost": 3}), run(90, result={"vanished": 2}))))
    assert (found.code, found.severity) == (Code.ENTRIES_LOST, Severity.CRITICAL)
    assert found.lost == "5 entries, until producers send that time again"
    assert codes(facts(flow(run(5), run(60 * 25, result={"lost": 3})))) == []


def test_what_the_stream_counts_itself_is_told_when_no_run_did() -> None:
    counted = StreamFact(0, 0, 0, lost=SumFact(3, NOW - HOUR, "3 of a"), reset=SumFact(1, NOW - HOUR, "born b"))
    lost, reset = rules.problems(facts(flow(run(5)), stream=counted), NO_DIGEST)
    assert (lost.code, lost.lost, lost.since) == (
        Code.ENTRIES_LOST, "3 entries, until producers send that time again", NOW - HOUR,
    )  # fmt: skip
    assert (reset.code, reset.event) == (Code.STREAM_RESET, "born b")


def test_what_both_say_is_one_loss() -> None:
    counted = StreamFact(0, 0, 0, lost=SumFact(5, NOW - HOUR, "5 of a"))
    of = facts(flow(run(5), run(60, result={"lost": 3}), run(90, result={"vanished": 2})), stream=counted)
    assert only(of).lost.startswith("7 entries")


def test_of_a_day_all_runs_count_and_not_the_newest_forty() -> None:
    """Forty runs of every five minutes are three hours and a quarter."""
    whole = [run(5 * n, result={"lost": 5} if n == 60 else {}) for n in range(1, 100)]
    seen = flow(*whole)
    assert codes(facts(replace(seen, runs=seen.runs[:40]))) == [Code.ENTRIES_LOST]


def test_a_stream_that_went_back_is_told() -> None:
    assert codes(facts(flow(run(5, result={"reset": 1})))) == [Code.STREAM_RESET]
    assert codes(facts(flow(run(5, result={"reset": 0})))) == []


@pytest.mark.parametrize(("drift", "found"), [(0, []), (1, [Code.DRIFT])])
def test_any_drift_is_told(drift: int, found: list[Code]) -> None:
    assert codes(facts(drift=drift, drift_at=NOW - HOUR)) == found


# ---------------------------------------------------------------------------------------------- stores, Prefect, machine


def test_a_store_that_does_not_work_is_critical_and_says_why() -> None:
    found = only(facts(stores=(StoreFact("graph", "AuthError"), StoreFact("redis"))))
    assert (found.key, found.severity, found.what) == (
        "STORE_DOWN:graph", Severity.CRITICAL, "graph does not work: AuthError",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prefect", "found"),
    [
        (PrefectFact(up=False, words="ConnectError"), [Code.PREFECT_DOWN]),
        (replace(UP, workers_online=0), [Code.NO_WORKER]),
        (replace(UP, queue=50), []),
        (replace(UP, queue=51), [Code.QUEUE_LONG]),
        (replace(UP, leaked=("deployment:1",)), [Code.SLOT_LEAKED]),
        (replace(UP, given_back=("deployment:1",)), [Code.SLOT_LEAKED]),
        (replace(UP, unserved=("organism-heavy",)), [Code.NO_WORKER]),
        (replace(UP, unserved=("organism-heavy", "organism-default")), [Code.NO_WORKER] * 2),
        (PrefectFact(up=False, workers_online=0, queue=99), [Code.PREFECT_DOWN, Code.QUEUE_LONG]),
    ],
)
def test_what_prefect_says(prefect: PrefectFact, found: list[Code]) -> None:
    assert codes(facts(prefect=prefect)) == found


@pytest.mark.parametrize(
    ("share", "severity"), [(0.90, None), (0.91, Severity.WARNING), (0.95, Severity.WARNING), (0.96, Severity.CRITICAL)]
)
def test_memory_and_disk_are_told_before_they_are_full(share: float, severity: Severity | None) -> None:
    found = rules.problems(facts(memory_share=share, disk_share=share, disk_of="the state directory"), NO_DIGEST)
    assert [p.subject for p in found] == (["memory", "disk"] if severity else [])
    assert {p.severity for p in found} == ({severity} if severity else set())


def test_each_machine_is_an_incident_of_its_own() -> None:
    here = facts(memory_share=0.2, disk_share=0.97, disk_of="the state directory", machine="machine aa")
    of = replace(here, others=(MachineFact("machine bb", 0.2, 0.92, "the state directory"),))
    found = {p.subject: p.severity for p in rules.problems(of, NO_DIGEST)}
    assert found == {"disk on machine aa": Severity.CRITICAL, "disk on machine bb": Severity.WARNING}
    assert Code.RESOURCES in rules.unknown(here), "what the others told is in the ledger, which is away"


# ------------------------------------------------------------------------------------------------------ the digest


def test_the_digest_is_a_note_when_all_levels_were_kept() -> None:
    found = only(facts(flow(*GOOD), prefect=UP), Limits())
    assert (found.code, found.severity, found.event) == (Code.SLO_DIGEST, Severity.INFO, "2026-03-02")
    assert found.what == "All 4 service levels were kept."
    assert found.works.startswith(
        "incremental success 100 % of 12 runs (goal > 95 %); incremental retries 0 % (goal < 10 %)"
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"status": "failed", "error_kind": "defect"}, "incremental success"),
        ({"retried_steps": 2}, "incremental retries"),
        ({"seconds": 31.0}, "incremental time"),
    ],
)
def test_the_digest_warns_of_each_level_that_was_not_kept(changed: dict[str, object], words: str) -> None:
    runs = [run(5 * n, **(changed if n in (3, 4) else {})) for n in range(1, 13)]
    (found,) = [p for p in rules.problems(facts(flow(*runs))) if p.code is Code.SLO_DIGEST]
    assert found.severity is Severity.WARNING
    assert f"1 of 3 service levels not kept: {words}" in found.what


@pytest.mark.parametrize(("queue", "broken"), [(9, False), (10, True)])
def test_ten_runs_in_the_queue_are_no_kept_level(queue: int, broken: bool) -> None:
    found = only(facts(prefect=replace(UP, queue=queue)), Limits())
    assert (found.severity is Severity.WARNING) is broken


def test_one_failure_in_twenty_is_not_more_than_95_percent() -> None:
    def severity(count: int) -> Severity:
        runs = [
            run(5 * n, **({"status": "failed", "error_kind": "defect"} if n == 9 else {})) for n in range(1, count + 1)
        ]
        return next(p.severity for p in rules.problems(facts(flow(*runs))) if p.code is Code.SLO_DIGEST)

    assert severity(20) is Severity.WARNING
    assert severity(21) is Severity.INFO


def test_the_digest_waits_for_its_hour_and_for_monday() -> None:
    early = replace(facts(flow(*GOOD)), now=NOW.replace(hour=6, minute=59))
    assert codes(early, Limits()) == []
    weekly = Limits(digest="weekly")  # 2026-03-02 is a Monday
    assert only(facts(flow(*GOOD)), weekly).event == "2026-W10"
    assert codes(replace(facts(flow(*GOOD, every=None)), now=NOW + 24 * HOUR), weekly) == []


# ------------------------------------------------------------------------------------------- what cannot be asked


def test_facts_that_are_missing_fire_nothing_and_are_unknown() -> None:
    nothing = facts()
    assert rules.problems(nothing) == []
    assert rules.unknown(nothing) == set(Code) - {Code.SLO_DIGEST, Code.ALERT_SILENCED, Code.TEST}


def test_a_stream_that_is_away_takes_back_no_loss() -> None:
    assert {Code.ENTRIES_LOST, Code.STREAM_RESET} <= rules.unknown(facts(flow(*GOOD)))


def test_a_server_that_is_down_says_nothing_about_its_workers() -> None:
    of = facts(flow(*GOOD), prefect=PrefectFact(up=False, words="ConnectError"))
    silent = {Code.NO_WORKER, Code.QUEUE_LONG, Code.SLOT_LEAKED, Code.NEVER_STARTED}
    assert silent <= rules.unknown(of)
    assert Code.PREFECT_DOWN not in rules.unknown(of)


def test_a_run_that_never_started_is_known_without_prefect() -> None:
    assert Code.NEVER_STARTED not in rules.unknown(facts(flow(*GOOD)))


# ------------------------------------------------------------------------------------------------ causes and effects


def test_the_table_of_causes_has_no_circle_and_is_complete() -> None:
    for cause, effects in EXPLAINS.items():
        assert cause not in effects
        for effect in effects:
            indirect = EXPLAINS.get(effect, frozenset())
            assert cause not in indirect
            assert indirect <= effects, f"{cause} explains {effect}, which explains more"


@pytest.mark.parametrize(
    ("cause", "effect", "follows"),
    [
        (DOWN, FAILED, True),
        (DOWN, replace(FAILED, event="defect run-1"), False),
        (DOWN, replace(FAILED, event="input run-1"), False),
        (DOWN, replace(FAILED, what="graph db:7687: AuthError; check ORGANISM_GRAPH_URL"), False),
        (DOWN, problem(Code.ZOMBIE_RUN), False),
        (replace(DOWN, subject="postgres"), problem(Code.ZOMBIE_RUN), True),
        (FAILED, problem(Code.STALE_GRAPH, subject="graph"), True),
        (replace(FAILED, subject="full"), problem(Code.STALE_GRAPH, subject="graph"), False),
        (problem(Code.PREFECT_DOWN, subject="prefect"), problem(Code.NO_WORKER, subject="worker"), True),
        (problem(Code.NEVER_STARTED, subject="full"), problem(Code.SCHEDULE_MISSED), False),
        (problem(Code.NO_WORKER, subject="organism-heavy"), problem(Code.STALE_GRAPH, subject="graph"), False),
        (problem(Code.SLOT_LEAKED, subject="x"), problem(Code.STALE_GRAPH, subject="graph"), True),
        (problem(Code.SLOT_LEAKED, severity=Severity.INFO), problem(Code.STALE_GRAPH, subject="graph"), False),
        (FAILED, DOWN, False),
    ],
)
def test_what_follows_from_what(cause: Problem, effect: Problem, follows: bool) -> None:
    assert explains(cause, effect) is follows


# ------------------------------------------------------------------------------------------------------- the words


def test_every_sentence_is_short_and_nothing_secret_is_in_one() -> None:
    canary = "redis://:canary-password@host:6379 p_0123456789abcdef " + "long " * 100
    worst = facts(
        flow(bad(5, error=canary), *(bad(60 + n, "crashed") for n in range(3))),
        stores=(StoreFact("redis", canary),),
        stream=StreamFact(9, 0, 0, NOW - HOUR),
        prefect=PrefectFact(up=False, words=canary),
        drift=2,
        memory_share=0.99,
        disk_of=canary,
        disk_share=0.99,
    )
    found = rules.problems(worst)
    assert len(found) >= 7
    for problem_ in found:
        words = (problem_.what, problem_.stale, problem_.works, problem_.lost, problem_.fix)
        assert max(map(len, words)) < 200
        assert not [w for w in words if "canary-password" in w or "p_0123456789abcdef" in w]
        assert problem_.what
        assert problem_.fix
        assert problem_.since.tzinfo
