"""The ingest job over in-memory stores: each fate, each limit, each correction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from pipelines.errors import PermanentError, Refused, TooManyInvalid, TransientError
from pipelines.events import schema
from pipelines.jobs import incremental, reconcile
from pipelines.model import Funnel, Lane
from tests.support import fakes, make, runs
from tests.support.make import NOW, person


def world_of(*payloads: bytes) -> fakes.World:
    world = fakes.World()
    for payload in payloads:
        world.add(payload)
    return world


def run(world: fakes.World, **changes: Any) -> Funnel:
    return runs.run(fakes.stores(world), **changes).funnel


def drift(world: fakes.World) -> int:
    return len(reconcile.verify(fakes.stores(world)).differences)


def test_an_empty_stream_is_a_run_of_nothing() -> None:
    report = runs.run(fakes.stores(fakes.World()))
    assert (report.funnel.read, report.drained, report.lost, report.eta_seconds) == (0, True, 0, None)


def test_every_entry_ends_in_exactly_one_place() -> None:
    world = world_of(
        make.event("a"),
        make.event("a"),
        b"bad",
        make.event("old", time=NOW - timedelta(days=90)),
        make.other("privacy.exclude", "x", person=person(9)),
    )
    run(world)
    world.add(make.event("excluded", person(9)))
    world.add(make.event("b"))
    total = run(world)
    assert (total.read, total.applied, total.ignored) == (2, 1, 1)
    assert total.codes == {"EXCLUDED_PERSON": 1}
    assert not world.pel
    assert len(world.archive) == 2


def test_the_sum_of_the_fates_is_what_was_read() -> None:
    world = world_of(make.event("a"), make.event("a"), b"bad", make.event("o", time=NOW - timedelta(days=90)))
    funnel = run(world)
    assert funnel.read == funnel.accounted == 4
    assert (funnel.applied, funnel.duplicates, funnel.dead_letters, funnel.late) == (1, 1, 1, 1)


@pytest.mark.parametrize("batch", [1, 2, 1_000])
def test_an_id_with_other_content_is_set_aside_and_the_first_stays(batch: int) -> None:
    world = world_of(make.event("a", targets=[person(2)]), make.event("a", targets=[person(3)]))
    funnel = run(world, batch_size=batch)
    assert (funnel.applied, funnel.codes) == (1, {"ID_REUSED": 1})
    assert [t.target for t in world.ties.values()] == [person(2)]


def test_a_run_leaves_nothing_in_the_outbox() -> None:
    world = world_of(*(make.event(str(i)) for i in range(5)))
    run(world, batch_size=2)
    assert (world.outbox, len(world.archive)) == ({}, 5)


def test_a_run_that_fails_says_what_it_did_before(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(make.event("a"), b"bad")
    monkeypatch.setattr(type(fakes.stores(world).stream), "audit", make.raising(TransientError("gone")))
    monkeypatch.setattr(type(fakes.stores(world).lease), "renew", make.raising(TransientError("gone")))
    with pytest.raises(TransientError) as caught:
        run(world)
    assert "2 read, 1 applied, 1 dead letters" in caught.value.__notes__[0]


def test_a_payload_that_must_not_be_kept_is_not() -> None:
    world = world_of(make.event("a", actor="anna@corp.example"))
    run(world)
    (letter,) = world.letters[Lane.DEAD].values()
    assert (letter.code, dict(letter.fields), "anna" in letter.words) == ("RAW_IDENTIFIER", {}, False)


def test_an_entry_without_the_event_field_is_set_aside_whole() -> None:
    world = fakes.World()
    world.last = world.added = 1
    world.entries[1] = {b"other": b"\xff"}
    run(world)
    (letter,) = world.letters[Lane.DEAD].values()
    assert (letter.code, dict(letter.fields)) == ("MISSING_FIELD", {b"other": b"\xff"})


def test_a_vanished_entry_is_counted_and_not_waited_for() -> None:
    world = world_of(make.event("a"), make.event("b"))
    fakes.stores(world).stream.fetch(10, timedelta(0))
    del world.entries[1]
    funnel = run(world)
    assert (funnel.read, funnel.applied, funnel.vanished, world.pel) == (1, 1, 1, {})


class TestBreaker:
    def test_small_batches_never_stop_the_line(self) -> None:
        world = world_of(*[b"bad"] * 99)
        assert run(world).dead_letters == 99

    def test_what_is_late_is_not_invalid(self) -> None:
        world = world_of(*[make.event(str(i), time=NOW - timedelta(days=90)) for i in range(100)])
        assert run(world).late == 100

    def test_a_person_can_let_them_through(self) -> None:
        world = world_of(*[b"bad"] * 100)
        with pytest.raises(TooManyInvalid, match=r"100 of 100 entries are invalid \(BAD_JSON 100\)"):
            run(world)
        assert run(world, accept_invalid=True).dead_letters == 100

    def test_stopping_the_line_does_not_make_its_entries_poison(self) -> None:
        world = world_of(*[b"bad" if i < 50 else make.event(str(i)) for i in range(100)])
        for _ in range(20):
            with pytest.raises(TooManyInvalid):
                run(world)
        assert run(world, accept_invalid=True).codes == {"BAD_JSON": 50}


class TestPoison:
    def test_only_the_entry_that_kills_its_reader_is_set_aside(self) -> None:
        world = world_of(make.event("a"), make.event("poison"), make.event("b"))
        deaths = 0
        while not self.survives(world):
            deaths += 1
            assert deaths < 20
        assert [x.code for x in world.letters[Lane.DEAD].values()] == ["POISON"]
        assert deaths == 3 + 5
        assert [t.n for t in world.ties.values()] == [2]

    @staticmethod
    def survives(world: fakes.World) -> bool:
        """One run of a reader that dies whenever it parses the poison."""
        parse = schema.parse

        def deadly(payload: bytes) -> Any:
            if b"poison" in payload:
                raise fakes.Crash
            return parse(payload)

        schema.parse = deadly
        try:
            run(world)
        except fakes.Crash:
            return False
        finally:
            schema.parse = parse
        return True

    def test_a_store_that_is_away_for_a_day_makes_nobody_poison(self) -> None:
        world = world_of(make.event("a"))
        stores = fakes.stores(world)
        away = fakes.stores(world)
        object.__setattr__(away, "archive", _Away(world))
        for _ in range(288):
            with pytest.raises(TransientError):
                runs.run(away)
        assert runs.run(stores).funnel.dead_letters == 0
        assert len(world.archive) == 1


class _Away(fakes.FakeArchive):
    def __init__(self, world: fakes.World) -> None:
        super().__init__(world, fakes.Faults())

    def store(self, payloads: object) -> None:
        raise TransientError("postgres is away")


class TestCorrections:
    def test_a_withdrawal_restores_first_and_last(self) -> None:
        early, late = NOW - timedelta(hours=9), NOW - timedelta(hours=1)
        world = world_of(make.event("a", time=early), make.event("b", time=late))
        run(world)
        world.add(make.retraction("w", of="b"))
        run(world)
        (tie,) = world.ties.values()
        assert (tie.n, tie.first_ms, tie.last_ms) == (1, *[int(early.timestamp() * 1000)] * 2)
        assert drift(world) == 0

    def test_withdrawing_the_only_interaction_removes_the_tie(self) -> None:
        world = world_of(make.event("a"))
        run(world)
        world.add(make.retraction("w", of="a"))
        assert run(world).applied == 1
        assert (world.ties, drift(world)) == ({}, 0)

    def test_withdrawing_twice_withdraws_once(self) -> None:
        world = world_of(make.event("a"), make.event("b"), make.retraction("w", of="a"), make.retraction("v", of="a"))
        run(world)
        world.add(make.retraction("u", of="a"))
        run(world)
        assert [t.n for t in world.ties.values()] == [1]
        assert drift(world) == 0

    def test_what_comes_after_its_withdrawal_is_ignored(self) -> None:
        world = world_of(make.retraction("w", of="a"))
        run(world)
        world.add(make.event("a"))
        assert run(world).ignored == 1
        assert (world.ties, world.archive) == ({}, {})

    def test_withdrawing_what_the_archive_has_summed_up_is_set_aside(self) -> None:
        world = world_of(make.event("a", time=NOW - timedelta(days=20)))
        run(world)
        fakes.stores(world).archive.retire(NOW - timedelta(days=10), incremental.weights.ties)
        world.add(make.retraction("w", of="a"))
        assert run(world).codes == {"NOT_IN_ARCHIVE": 1}
        assert ([t.n for t in world.ties.values()], drift(world)) == ([1], 0)

    def test_a_crash_before_it_is_set_aside_does_not_lose_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = world_of(make.event("a", time=NOW - timedelta(days=20)))
        run(world)
        fakes.stores(world).archive.retire(NOW - timedelta(days=10), incremental.weights.ties)
        world.add(make.retraction("w", of="a"))
        with monkeypatch.context() as patch:
            patch.setattr(type(fakes.stores(world).stream), "set_aside", make.raising(TransientError("gone")))
            with pytest.raises(TransientError):
                run(world)
        assert run(world).codes == {"NOT_IN_ARCHIVE": 1}
        assert len(world.letters[Lane.DEAD]) == 1

    def test_an_erased_person_is_gone_from_graph_archive_and_letters_and_stays_away(self) -> None:
        gone = person(9)
        world = world_of(
            make.event("a", gone, [person(2)]),
            make.event("b", person(2), [gone, person(3)], scope="group"),
            make.event("late", gone, time=NOW - timedelta(days=90)),
        )
        run(world)
        world.add(make.other("privacy.erase", "e", person=gone))
        world.add(make.event("c", gone, [person(3)]))
        run(world)
        world.add(make.event("d", person(3), [gone]))
        run(world)
        assert gone not in str(world.ties) + str(world.people) + str(world.archive) + str(world.letters)
        assert drift(world) == 0

    def test_a_failure_after_an_erasure_was_committed_does_not_bring_the_person_back(self) -> None:
        gone = person(9)
        for spoiled in ("store", "erase"):
            world = world_of(
                b"bad", b"bad", make.other("privacy.erase", "e", person=gone),
                make.event("f1", gone, [person(2)]), make.event("f2", person(2), [gone, person(3)]),
            )  # fmt: skip
            stores = fakes.stores(world)
            _fail_once(stores.archive if spoiled == "store" else stores.letters, spoiled)
            runs.run(stores, batch_size=3)
            assert gone not in str(world.ties) + str(world.people) + str(world.archive)
            assert drift(world) == 0

    def test_an_excluded_person_is_in_no_lane_either(self) -> None:
        world = world_of(make.other("privacy.exclude", "x", person=person(9)))
        run(world)
        world.add(make.event("late", person(9), time=NOW - timedelta(days=90)))
        assert run(world).ignored == 1
        assert world.letters[Lane.LATE] == {}


def _fail_once(store: Any, name: str) -> None:
    call, failures = getattr(store, name), iter([True])

    def flaky(*args: Any) -> Any:
        if next(failures, False):
            raise TransientError("once")
        return call(*args)

    setattr(store, name, flaky)


class TestLimits:
    def test_a_run_stops_when_its_time_is_over_and_says_what_is_left(self) -> None:
        world = world_of(*[make.event(str(i)) for i in range(10)])
        times = iter([NOW] * 4 + [NOW + timedelta(hours=1)] * 50)
        stores = fakes.stores(world)
        rules = runs.RULES.__class__(**{**_fields(runs.RULES), "batch_size": 2})
        report = incremental.run(
            stores, rules, runs.UPKEEP, timedelta(minutes=4), runs.at_once, clock=lambda: next(times)
        )
        assert report.funnel.read < 10
        assert report.backlog == 10 - report.funnel.read
        assert not report.drained
        assert run(world).read == report.backlog

    def test_a_backlog_larger_than_a_window_is_drained_in_one_run(self) -> None:
        world = world_of(*[make.event(str(i)) for i in range(25)])
        assert run(world, window_size=10, batch_size=3).applied == 25

    def test_a_writer_that_lost_its_lease_stops(self) -> None:
        world = world_of(*[make.event(str(i)) for i in range(10)])
        stores = fakes.stores(world, strict_lease=True)
        renewals = iter([True])
        object.__setattr__(stores.lease, "renew", lambda: next(renewals, False))
        assert runs.run(stores, batch_size=2).funnel.read < 10

    def test_a_graph_that_is_half_rebuilt_is_not_written_to(self) -> None:
        world = world_of(make.event("a"))
        fakes.stores(world).graph.note_rebuilding(True)
        with pytest.raises(Refused, match="GRAPH_UNFINISHED"):
            run(world)
        assert world.lease is None

    def test_a_trim_ahead_of_the_reader_is_reported_to_the_entry_and_once(self) -> None:
        world = world_of(*[make.event(str(i)) for i in range(5)])
        fakes.stores(world).stream.prepare()
        for i in (1, 2, 3):
            del world.entries[i]
        assert [runs.run(fakes.stores(world)).lost for _ in range(2)] == [3, 0]

    def test_a_stream_that_went_back_is_noticed(self) -> None:
        world = world_of(make.event("a"), make.event("b"))
        run(world)
        world.entries, world.added, world.last, world.group, world.delivered = {}, 0, 0, None, 0
        world.add(make.event("c"))
        report = runs.run(fakes.stores(world))
        assert (report.reset, report.funnel.applied) == (True, 1)


class TestUpkeep:
    def test_ledger_days_beyond_the_horizon_are_forgotten_and_no_duplicate_slips_in(self) -> None:
        world = world_of(make.event("a", time=NOW - timedelta(days=29)))
        run(world)
        later = NOW + timedelta(days=10)
        runs.run(fakes.stores(world), now=later)
        assert world.ledger == {}
        world.add(make.event("a", time=NOW - timedelta(days=29)))
        assert runs.run(fakes.stores(world), now=later).funnel.late == 1
        assert [t.n for t in world.ties.values()] == [1]

    def test_old_interactions_become_sums_and_the_recount_stays_exact(self) -> None:
        world = world_of(make.event("a"), make.event("b"))
        run(world)
        runs.run(fakes.stores(world), now=NOW + timedelta(days=401))
        assert world.archive == {}
        assert ([t.n for t in world.baseline.values()], drift(world)) == ([2], 0)

    def test_a_longer_horizon_does_not_bring_forgotten_keys_back(self) -> None:
        old = make.event("a", time=NOW - timedelta(days=29))
        world = world_of(old)
        run(world)
        later = NOW + timedelta(days=10)
        runs.run(fakes.stores(world), now=later)
        world.add(old)
        assert runs.run(fakes.stores(world), now=later, horizon=None).funnel.late == 1
        assert (drift(world), [t.n for t in world.ties.values()]) == (0, [1])

    def test_with_an_endless_horizon_every_key_is_kept(self) -> None:
        world = world_of(make.event("a", time=datetime(2010, 1, 2, tzinfo=NOW.tzinfo)))
        run(world, horizon=None)
        runs.run(fakes.stores(world), now=NOW + timedelta(days=5_000), horizon=None)
        assert len(world.ledger) == len(world.archive) == 1


def test_what_a_failed_attempt_did_stays_in_the_funnel() -> None:
    world = world_of(*[make.event(str(i)) for i in range(4)])
    stores = fakes.stores(world)
    store, failures = stores.archive.store, iter([False, True])

    def flaky(payloads: Any) -> None:
        if next(failures, False):
            raise TransientError("once")
        store(payloads)

    stores.archive.store = flaky  # type: ignore[method-assign]
    funnel = runs.run(stores, batch_size=2).funnel
    assert (funnel.applied + funnel.duplicates, sum(t.n for t in world.ties.values())) == (4, 4)
    assert funnel.read == funnel.accounted


def test_a_permanent_error_of_a_store_stops_the_line_and_sets_nothing_aside() -> None:
    world = world_of(make.event("a"))
    stores = fakes.stores(world)

    def refuse(work: object) -> None:
        raise PermanentError("wrong password")

    stores.graph.write = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(PermanentError):
        runs.run(stores)
    assert (len(world.pel), world.letters[Lane.DEAD]) == (1, {})


def _fields(rules: Any) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.__dataclass_fields__}
