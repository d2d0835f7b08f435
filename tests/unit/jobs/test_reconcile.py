"""Recount, rebuild, backfill and the dead letter commands over in-memory stores."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta

import pytest

from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import backfill, dead_letters, reconcile
from pipelines.model import Lane
from tests.support import fakes, make, runs
from tests.support.make import NOW, person

KEEP = timedelta(days=400)


def filled() -> fakes.World:
    world = fakes.World()
    for payload in (
        make.other("roster.joined", "r1", person=person(1), team="red"),
        make.event("a", person(1), [person(2)]),
        make.event("b", person(1), [person(2), person(3)], kind="interaction.meeting", duration_s=900),
        make.retraction("w", of="never-came"),
        make.event("c", person(3), [person(1)]),
        make.retraction("v", of="c"),
    ):
        world.add(payload)
    runs.run(fakes.stores(world))
    return world


def test_a_graph_that_is_right_has_no_drift() -> None:
    drift = reconcile.verify(fakes.stores(filled()))
    assert (drift.differences, drift.ties, drift.interactions) == ((), 3, 2)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: replace(t, n=t.n + 1), "n: graph 2, archive 1"),
        (lambda t: replace(t, strength=t.strength * (1 + 1e-8)), "strength: "),
        (lambda t: replace(t, last_ms=t.last_ms + 1), "last_ms: "),
    ],
)
def test_one_spoiled_tie_is_named_with_what_differs(spoil: object, words: str) -> None:
    world = filled()
    ends = (person(1), person(2), "message")
    world.ties[ends] = spoil(world.ties[ends])  # type: ignore[operator]
    (difference,) = reconcile.verify(fakes.stores(world)).differences
    assert difference.ends == ends
    assert difference.words.startswith(words)


def test_a_missing_and_an_invented_tie_are_both_named() -> None:
    world = filled()
    tie = world.ties.pop((person(1), person(2), "message"))
    world.ties[person(7), person(8), "message"] = replace(tie, actor=person(7), target=person(8))
    assert sorted(d.words for d in reconcile.verify(fakes.stores(world)).differences) == [
        "only in the archive", "only in the graph",
    ]  # fmt: skip


def test_a_drift_is_not_named_by_people_unless_asked() -> None:
    world = filled()
    world.ties.clear()
    drift = reconcile.verify(fakes.stores(world))
    assert "p_" not in str(drift.report())
    assert person(1) in str(drift.report(reveal=True))


def test_a_rebuilt_graph_is_the_graph_that_was() -> None:
    world = filled()
    ties, people, ledger = dict(world.ties), dict(world.people), {k: row[1] for k, row in world.ledger.items()}
    drift = reconcile.rebuild(fakes.stores(world))
    assert drift.differences == ()
    assert {e: (t.n, t.seconds, t.first_ms, t.last_ms) for e, t in world.ties.items()} == {
        e: (t.n, t.seconds, t.first_ms, t.last_ms) for e, t in ties.items()
    }
    assert {p: world.people[p]["team"] for p in people if p in world.people} == {
        p: people[p]["team"] for p in world.people
    }
    gone = {k for k in ledger if k not in world.ledger}
    assert {k: row[1] for k, row in world.ledger.items()} == {k: r for k, r in ledger.items() if k not in gone}


def test_after_a_rebuild_a_second_delivery_still_changes_nothing_and_a_withdrawal_still_holds() -> None:
    world = filled()
    reconcile.rebuild(fakes.stores(world))
    for payload in (
        make.event("a", person(1), [person(2)]),
        make.event("never-came"),
        make.event("c", person(3), [person(1)]),
    ):
        world.add(payload)
    funnel = runs.run(fakes.stores(world)).funnel
    assert (funnel.applied, funnel.duplicates, funnel.ignored) == (0, 1, 2)
    assert reconcile.verify(fakes.stores(world)).differences == ()


def test_a_rebuild_that_was_cut_off_holds_up_incremental_runs_until_it_is_done() -> None:
    world = filled()
    names = fakes.Faults()
    reconcile.rebuild(fakes.stores(copy.deepcopy(world), names))
    crash = fakes.Faults(at=names.names.index("wipe"), how="after")
    with pytest.raises(fakes.Crash):
        reconcile.rebuild(fakes.stores(world, crash))
    with pytest.raises(Refused, match="GRAPH_UNFINISHED"):
        runs.run(fakes.stores(world))
    assert reconcile.rebuild(fakes.stores(world)).differences == ()
    assert runs.run(fakes.stores(world)).drained


def test_sums_of_retired_interactions_are_part_of_a_rebuild() -> None:
    world = filled()
    runs.run(fakes.stores(world), now=NOW + timedelta(days=401))
    assert reconcile.rebuild(fakes.stores(world)).differences == ()


class TestBackfill:
    old = NOW - timedelta(days=300)

    def package(self) -> list[bytes]:
        return [make.event(f"h{i}", targets=[person(2 + i % 3)], time=self.old + timedelta(days=i)) for i in range(5)]

    def test_old_history_is_counted_once_however_often_it_is_applied(self) -> None:
        world = fakes.World()
        funnels = [backfill.backfill(fakes.stores(world), self.package(), NOW, KEEP) for _ in range(3)]
        assert [f.applied for f in funnels] == [5, 0, 0]
        assert (sum(t.n for t in world.ties.values()), len(world.archive)) == (5, 5)

    def test_keys_that_the_ledger_forgot_are_found_in_the_archive(self) -> None:
        world = fakes.World()
        backfill.backfill(fakes.stores(world), self.package(), NOW, KEEP)
        runs.run(fakes.stores(world))
        assert world.ledger == {}
        assert backfill.backfill(fakes.stores(world), self.package()[::-1], NOW, KEEP).applied == 0

    def test_what_is_older_than_the_archive_keeps_is_refused_because_its_key_would_be_forgotten(self) -> None:
        ancient = [make.event("a", time=NOW - timedelta(days=401))]
        funnel = backfill.backfill(fakes.stores(fakes.World()), ancient, NOW, KEEP)
        assert (funnel.applied, funnel.codes) == (0, {"TOO_LATE": 1})
        assert backfill.backfill(fakes.stores(fakes.World()), ancient, NOW, None).applied == 1

    def test_what_was_refused_once_can_be_accepted_later(self) -> None:
        world = fakes.World()
        ancient = [make.event("a", time=NOW - timedelta(days=401))]
        assert backfill.backfill(fakes.stores(world), ancient, NOW, KEEP).applied == 0
        assert backfill.backfill(fakes.stores(world), ancient, NOW, timedelta(days=500)).applied == 1

    def test_a_late_letter_that_reuses_an_id_stays_in_the_lane(self) -> None:
        world = fakes.World()
        for target in (2, 3):
            world.add(make.event("same", targets=[person(target)], time=self.old))
        runs.run(fakes.stores(world))
        stores = fakes.stores(world)
        funnel = backfill.replay_late(stores, stores.letters.list(Lane.LATE), NOW, KEEP)
        assert (funnel.applied, funnel.codes, len(stores.letters.list(Lane.LATE))) == (1, {"ID_REUSED": 1}, 1)

    def test_a_crash_anywhere_changes_nothing(self) -> None:
        names = fakes.Faults()
        backfill.backfill(fakes.stores(fakes.World(), names), self.package(), NOW, KEEP)
        for at in range(len(names.names)):
            for how in ("before", "after"):
                world = fakes.World()
                with pytest.raises(fakes.Crash):
                    backfill.backfill(fakes.stores(world, fakes.Faults(at, how)), self.package(), NOW, KEEP)
                backfill.backfill(fakes.stores(world), self.package(), NOW, KEEP)
                assert (sum(t.n for t in world.ties.values()), len(world.archive), world.outbox) == (5, 5, {}), (
                    at,
                    how,
                )

    def test_what_is_not_an_interaction_is_counted_and_left(self) -> None:
        odd = [b"bad", make.other("source.heartbeat", "h"), make.event("ok", time=self.old)]
        funnel = backfill.backfill(fakes.stores(fakes.World()), odd, NOW, KEEP)
        assert (funnel.read, funnel.applied, funnel.ignored) == (3, 1, 2)
        assert funnel.codes == {"BAD_JSON": 1, "UNKNOWN_TYPE": 1}

    def test_late_letters_are_applied_and_leave_the_lane(self) -> None:
        world = fakes.World()
        for payload in self.package():
            world.add(payload)
        assert runs.run(fakes.stores(world)).funnel.late == 5
        stores = fakes.stores(world)
        letters = stores.letters.list(Lane.LATE)
        assert backfill.replay_late(stores, letters, NOW, KEEP).applied == 5
        assert backfill.replay_late(stores, letters, NOW, KEEP).applied == 0
        assert (stores.letters.list(Lane.LATE), reconcile.verify(stores).differences) == ([], ())

    def test_nothing_to_replay_is_nothing(self) -> None:
        assert backfill.replay_late(fakes.stores(fakes.World()), [], NOW, KEEP).read == 0


class TestLetters:
    def letters(self, *payloads: bytes) -> tuple[fakes.World, list[fakes.DeadLetter]]:
        world = fakes.World()
        for payload in payloads:
            world.add(payload)
        runs.run(fakes.stores(world))
        return world, fakes.stores(world).letters.list(Lane.DEAD)

    def test_a_letter_that_came_back_three_times_needs_force(self) -> None:
        _, (letter,) = self.letters(b"bad")
        worn = replace(letter, replays=3)
        assert dead_letters.replayable([worn])[0] == []
        assert dead_letters.replayable([worn], force=True)[0] == [worn]

    def test_a_letter_without_payload_cannot_be_replayed_even_by_force(self) -> None:
        _, (letter,) = self.letters(make.event("a", actor="anna"))
        ready, ((_, why),) = dead_letters.replayable([letter], force=True)
        assert (ready, "must not be kept" in why) == ([], True)

    def test_replaying_everything_three_times_counts_each_event_once(self) -> None:
        world, letters = self.letters(make.event("a", time=NOW + timedelta(minutes=10)))
        stores = fakes.stores(world)
        for _ in range(3):
            dead_letters.replay(stores, letters)
        later = NOW + timedelta(hours=1)
        assert runs.run(stores, now=later).funnel.applied == 1
        assert runs.run(stores, now=later).funnel.read == 0

    def test_a_dropped_letter_leaves_who_and_why(self) -> None:
        world, letters = self.letters(b"bad")
        assert dead_letters.drop(fakes.stores(world), Lane.DEAD, letters, " a test file ", "anna") == 1
        assert [(reason, who) for _, _, reason, who in world.drops] == [("a test file", "anna")]
        assert world.letters[Lane.DEAD] == {}

    def test_a_reason_is_not_blank(self) -> None:
        world, letters = self.letters(b"bad")
        with pytest.raises(InvalidInput):
            dead_letters.drop(fakes.stores(world), Lane.DEAD, letters, "  ", "anna")
        assert len(world.letters[Lane.DEAD]) == 1
