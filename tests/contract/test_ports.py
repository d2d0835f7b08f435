"""One suite over the fakes and the real stores: what a fake promises, the server keeps, and the other way round."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from pipelines.archive import effects
from pipelines.errors import TransientError
from pipelines.events import schema
from pipelines.graph import weights
from pipelines.jobs.ingest import Stores
from pipelines.model import Code, Entry, Interaction, Lane, OutboxItem, RosterChange
from pipelines.ports import GraphWriter
from tests.conftest import KINDS, opened, where
from tests.support import fakes, make
from tests.support.make import person

IDLE = timedelta(hours=1)


@pytest.fixture(params=["fake", *KINDS])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "fake":
        yield fakes.stores(fakes.World())
    else:
        with opened(where(request, request.param)) as stores:
            yield stores


def interaction(id_: str, **changes: object) -> Interaction:
    event, _ = schema.parse(make.event(id_, **changes))  # type: ignore[arg-type]
    assert isinstance(event, Interaction)
    return event


def pending(stores: Stores) -> list[Entry]:
    return stores.stream.pending("0", 100)


class TestStream:
    def test_entries_stay_pending_until_they_are_finished(self, stores: Stores) -> None:
        stores.stream.append([make.event("a"), make.event("b")])
        assert stores.stream.fetch(10, IDLE).delivered == 2
        assert len(pending(stores)) == len(pending(stores)) == 2
        assert stores.stream.finish(pending(stores)) == 2
        assert pending(stores) == []

    def test_fields_come_back_byte_for_byte(self, stores: Stores) -> None:
        payload = b"\xff\x00 not even text"
        stores.stream.append([payload])
        stores.stream.fetch(10, IDLE)
        assert [e.fields for e in pending(stores)] == [{schema.FIELD: payload}]

    def test_fetch_takes_no_more_than_the_limit(self, stores: Stores) -> None:
        stores.stream.append([make.event(str(i)) for i in range(5)])
        assert [stores.stream.fetch(3, IDLE).delivered for _ in range(3)] == [3, 2, 0]

    def test_pending_pages_by_id(self, stores: Stores) -> None:
        stores.stream.append([make.event(str(i)) for i in range(3)])
        stores.stream.fetch(10, IDLE)
        first = stores.stream.pending("0", 2)
        rest = stores.stream.pending(first[-1].id, 2)
        assert [len(first), len(rest), len(stores.stream.pending(rest[-1].id, 2))] == [2, 1, 0]

    def test_each_look_at_a_pending_entry_is_a_delivery_and_forgiving_takes_them_back(self, stores: Stores) -> None:
        stores.stream.append([make.event("a")])
        stores.stream.fetch(10, IDLE)
        assert [pending(stores)[0].deliveries for _ in range(3)] == [2, 3, 4]
        stores.stream.forgive(pending(stores))
        assert pending(stores)[0].deliveries == 1

    def test_an_entry_that_was_delivered_too_often_comes_alone(self, stores: Stores) -> None:
        stores.stream.append([make.event("a"), make.event("b")])
        stores.stream.fetch(10, IDLE)
        for _ in range(3):
            assert len(pending(stores)) == 2
        assert [len(pending(stores)) for _ in range(2)] == [1, 1]

    def test_an_entry_is_set_aside_once_with_its_original_fields(self, stores: Stores) -> None:
        stores.stream.append([b"bad"])
        stores.stream.fetch(10, IDLE)
        (entry,) = pending(stores)
        done = [stores.stream.set_aside(entry, Lane.DEAD, Code.BAD_JSON, "words", 5) for _ in range(2)]
        assert done == [True, False]
        (letter,) = stores.letters.list(Lane.DEAD)
        assert (letter.code, letter.words, letter.dead_ms, dict(letter.fields)) == (
            "BAD_JSON",
            "words",
            5,
            {schema.FIELD: b"bad"},
        )
        assert pending(stores) == []

    @pytest.mark.parametrize("code", [Code.RAW_IDENTIFIER, Code.FORBIDDEN_CONTENT])
    def test_what_must_not_be_stored_is_not_kept_in_the_letter(self, stores: Stores, code: Code) -> None:
        stores.stream.append([b"secret"])
        stores.stream.fetch(10, IDLE)
        stores.stream.set_aside(pending(stores)[0], Lane.DEAD, code, "words", 5)
        (letter,) = stores.letters.list(Lane.DEAD)
        assert (letter.kept, dict(letter.fields)) == ("no", {})
        assert stores.letters.replay(Lane.DEAD, letter.id) is None

    def test_a_letter_is_replayed_once_and_remembers_it(self, stores: Stores) -> None:
        stores.stream.append([b"bad"])
        stores.stream.fetch(10, IDLE)
        stores.stream.set_aside(pending(stores)[0], Lane.DEAD, Code.BAD_JSON, "words", 5)
        (letter,) = stores.letters.list(Lane.DEAD)
        assert [stores.letters.replay(Lane.DEAD, letter.id) for _ in range(2)] == [True, False]
        stores.stream.fetch(10, IDLE)
        stores.stream.set_aside(pending(stores)[0], Lane.DEAD, Code.BAD_JSON, "words", 6)
        (again,) = stores.letters.list(Lane.DEAD)
        assert (again.replays, dict(again.fields)) == (1, {schema.FIELD: b"bad"})

    def test_waiting_for_long_is_no_delivery(self, stores: Stores) -> None:
        stores.stream.append([make.event("a")])
        stores.stream.fetch(10, IDLE)
        for _ in range(12):
            stores.stream.fetch(10, timedelta(0))
        assert pending(stores)[0].deliveries == 2

    def test_a_foreign_replays_field_does_no_harm(self, stores: Stores, request: pytest.FixtureRequest) -> None:
        if "fake" in request.node.name:
            pytest.skip("fields of an entry are the server's matter")
        stores.stream._redis.xadd("organism:interactions:v1", {"event": b"bad", "replays": b"abc"})  # type: ignore[attr-defined]
        stores.stream.fetch(10, IDLE)
        stores.stream.set_aside(pending(stores)[0], Lane.DEAD, Code.BAD_JSON, "words", 5)
        assert [x.replays for x in stores.letters.list(Lane.DEAD)] == [0]

    def test_an_id_that_holds_another_entry_now_is_not_acknowledged(self, stores: Stores) -> None:
        stores.stream.append([make.event("a")])
        stores.stream.fetch(10, IDLE)
        (entry,) = pending(stores)
        other = Entry(entry.id, {schema.FIELD: b"other"}, 1, "0" * 40)
        assert stores.stream.finish([other]) == 0
        assert not stores.stream.set_aside(other, Lane.DEAD, Code.BAD_JSON, "words", 5)
        assert len(pending(stores)) == 1

    def test_entries_are_acknowledged_in_any_order_and_past_others(self, stores: Stores) -> None:
        stores.stream.append([make.event(id_) for id_ in "abcdef"])
        stores.stream.fetch(10, IDLE)
        a, b, c, d, e, f = pending(stores)
        reused = Entry(d.id, {schema.FIELD: b"other"}, 1, "0" * 40)
        assert stores.stream.finish([f, reused, a, c]) == 3
        assert [entry.id for entry in pending(stores)] == [b.id, d.id, e.id]
        assert stores.stream.finish([b, e]) == 2

    def test_a_drained_stream_has_lost_nothing(self, stores: Stores) -> None:
        stores.stream.append([make.event("a")])
        stores.stream.fetch(10, IDLE)
        stores.stream.finish(pending(stores))
        state = stores.stream.state()
        assert (stores.stream.audit(), state.unread, state.pending, state.entries_added) == (0, 0, 0, 1)

    def test_letters_that_name_a_person_can_be_erased(self, stores: Stores) -> None:
        stores.stream.append([make.event("a", person(1)), make.event("b", person(7), [person(8)])])
        stores.stream.fetch(10, IDLE)
        for entry in pending(stores):
            stores.stream.set_aside(entry, Lane.LATE, Code.TOO_LATE, "words", 5)
        assert stores.letters.erase(person(8)) == 1
        assert stores.letters.counts(Lane.LATE) == {"TOO_LATE": 1}


class TestLease:
    def test_it_is_ours_again_and_free_after_release(self, stores: Stores) -> None:
        assert [stores.lease.acquire("me"), stores.lease.acquire("me")] == [None, None]
        assert stores.lease.renew()
        stores.lease.release()
        assert stores.lease.acquire("me") is None


class TestGraph:
    def add(self, stores: Stores, *events: Interaction) -> None:
        def work(writer: GraphWriter) -> None:
            writer.lock(1)
            writer.remember([(e.key, e.time_ms // 86_400_000, e.digest) for e in events])
            ties = weights.ties(events)
            writer.add_people([p for t in ties for p in (t.actor, t.target)])
            writer.add_ties(ties)

        stores.graph.write(work)

    def test_the_ledger_knows_what_it_remembers_and_what_was_withdrawn(self, stores: Stores) -> None:
        one, other = interaction("a"), interaction("b")
        self.add(stores, one, other)
        stores.graph.write(lambda w: w.withdraw([other.key]))
        seen = stores.graph.write(lambda w: w.seen([one.key, other.key, "never seen"]))
        assert seen == {one.key: (one.digest, False), other.key: (other.digest, True)}

    def test_a_person_who_was_removed_meanwhile_is_added_again(self, stores: Stores) -> None:
        self.add(stores, interaction("a"))
        stores.graph.write(lambda w: w.forget_people([person(2)]))
        self.add(stores, interaction("b"))
        assert [t.n for t in stores.graph.ties()] == [1]

    def test_ties_add_up_and_keep_first_and_last(self, stores: Stores) -> None:
        early, late = interaction("a", time=make.NOW - IDLE * 5), interaction("b", kind="interaction.message")
        self.add(stores, late)
        self.add(stores, early)
        (tie,) = stores.graph.ties()
        assert (tie.n, tie.first_ms, tie.last_ms) == (2, early.time_ms, late.time_ms)
        assert tie.strength == pytest.approx(weights.ties([early, late])[0].strength, rel=1e-12)

    def test_a_failed_transaction_leaves_nothing(self, stores: Stores) -> None:
        def work(writer: GraphWriter) -> None:
            writer.add_people([person(1)])
            raise TransientError("on purpose")

        with pytest.raises(TransientError):
            stores.graph.write(work)
        assert list(stores.graph.people()) == []

    def test_the_outbox_keeps_an_item_until_it_is_deleted(self, stores: Stores) -> None:
        item = OutboxItem(7, (person(1),), b"\x00payload\xff" * 20_000)
        stores.graph.write(lambda writer: writer.put_outbox(item, 5))
        assert stores.graph.outbox(10) == [item]
        stores.graph.delete_outbox([7])
        assert stores.graph.outbox(10) == []

    def test_what_was_taken_over_goes_with_the_next_write_that_commits(self, stores: Stores) -> None:
        def put(id_: int) -> OutboxItem:
            item = OutboxItem(id_, (person(1),), b"payload")
            stores.graph.write(lambda writer: writer.put_outbox(item, id_))
            return item

        def fail(writer: GraphWriter) -> None:
            writer.put_outbox(OutboxItem(9, (), b""), 9)
            raise TransientError("on purpose")

        put(7)
        stores.graph.delete_outbox([7])
        with pytest.raises(TransientError):
            stores.graph.write(fail)
        last = put(8)
        assert stores.graph.write(lambda writer: writer.outbox(10)) == [last]
        assert stores.graph.outbox(10) == [last]

    def test_what_was_taken_over_is_seen_by_no_writer(self, stores: Stores) -> None:
        stores.graph.write(lambda writer: writer.put_outbox(OutboxItem(7, (), b"payload"), 5))
        stores.graph.delete_outbox([7])
        assert stores.graph.write(lambda writer: writer.outbox(1)) == []

    def test_the_latest_roster_change_wins_in_any_order(self, stores: Stores) -> None:
        changes = [
            schema.parse(
                make.other(f"roster.{kind}", f"r{day}", time=make.NOW - IDLE * day, person=person(1), team=team)
            )[0]
            for day, kind, team in ((1, "moved", "red"), (3, "joined", "blue"), (2, "moved", "green"))
        ]
        for change in changes:
            stores.graph.write(lambda writer, c=change: writer.set_roster([c]))  # type: ignore[misc]
        assert list(stores.graph.people()) == [(person(1), "red")]

    def test_who_left_is_no_longer_among_the_people(self, stores: Stores) -> None:
        joined = schema.parse(
            make.other("roster.joined", "r1", time=make.NOW - IDLE * 9, person=person(1), team="red")
        )[0]
        left = schema.parse(make.other("roster.left", "r2", person=person(1)))[0]
        assert isinstance(joined, RosterChange)
        assert isinstance(left, RosterChange)
        stores.graph.write(lambda writer: writer.set_roster([joined, left]))
        assert list(stores.graph.people()) == []

    def test_a_part_is_put_once(self, stores: Stores) -> None:
        assert [stores.graph.write(lambda w, a=a: w.put_part("p:0", a, 5)) for a in (1, 2)] == [True, False]  # type: ignore[misc]

    def test_ties_can_be_overwritten_and_dropped(self, stores: Stores) -> None:
        kept, gone = interaction("a"), interaction("b", targets=[person(3)])
        self.add(stores, kept, gone)
        (tie,) = weights.ties([kept])
        stores.graph.write(lambda w: w.set_ties([tie], [t.ends for t in weights.ties([gone])]))
        assert list(stores.graph.ties()) == [tie]

    def test_old_ledger_days_are_forgotten(self, stores: Stores) -> None:
        event = interaction("a")
        self.add(stores, event)
        day = event.time_ms // 86_400_000
        assert [stores.graph.purge(day), stores.graph.purge(day + 1), stores.graph.purge(day + 1)] == [0, 1, 0]

    def test_the_cursor_counts_what_was_applied(self, stores: Stores) -> None:
        def work(writer: GraphWriter) -> None:
            writer.lock(1)
            writer.advance(3, 99)

        stores.graph.write(work)
        stores.graph.note_stream("first")
        cursor = stores.graph.cursor()
        assert (cursor.applied, cursor.at_ms, cursor.stream, cursor.rebuilding) == (3, 99, "first", False)

    def test_outsiders_are_not_people_of_the_organisation(self, stores: Stores) -> None:
        self.add(stores, interaction("a", targets=[make.outsider(1)]))
        assert list(stores.graph.people()) == [(person(1), None)]


class TestArchive:
    def test_storing_twice_stores_once(self, stores: Stores) -> None:
        payload = effects.pack([interaction("a"), interaction("b", targets=[person(2), person(3)])])
        for _ in range(2):
            stores.archive.store([payload])
        assert stores.archive.count() == 2

    def test_what_comes_back_is_what_went_in(self, stores: Stores) -> None:
        event = interaction(
            "a",
            kind="interaction.meeting",
            duration_s=1800,
            response_s=7,
            tz_offset_min=-60,
            scope="group",
            targets=[person(2), make.outsider(3)],
        )
        stores.archive.store([effects.pack([event])])
        assert list(stores.archive.interactions()) == [[event]]
        assert stores.archive.find([event.key, "no such key"]) == {event.key: event}

    def test_outcomes_are_of_a_time_and_of_nobody_who_is_excluded(self, stores: Stores) -> None:
        sent = [("old", 1, 40), ("new", 1, 5), ("hidden", 2, 5)]
        events = [
            schema.parse(
                make.other(
                    "outcome.recorded", id_, person=person(n), measure="rest", value=3.5,
                    time=make.NOW - timedelta(days=days),
                )
            )[0]
            for id_, n, days in sent
        ]  # fmt: skip
        stores.archive.store([effects.pack(events), effects.pack(events)])  # type: ignore[arg-type]
        exclusion = schema.parse(make.other("privacy.exclude", "x", person=person(2)))[0]
        stores.archive.store([effects.pack([exclusion])])  # type: ignore[list-item]
        found = list(stores.archive.outcomes(make.NOW - timedelta(days=30)))
        assert found == [(person(1), make.NOW - timedelta(days=5), "rest", 3.5)]

    def test_a_withdrawn_interaction_no_longer_counts(self, stores: Stores) -> None:
        event = interaction("a")
        retraction = schema.parse(make.retraction("w", of="a"))[0]
        stores.archive.store([effects.pack([event]), effects.pack([retraction])])  # type: ignore[list-item]
        assert stores.archive.count() == 0
        assert stores.archive.find([event.key]) == {}
        assert [key for key, _ in stores.archive.withdrawn()] == [event.key]
        assert stores.archive.known([event.key]) == {event.key}

    def test_retiring_keeps_the_sums(self, stores: Stores) -> None:
        old, new = interaction("a", time=make.NOW - timedelta(days=3)), interaction("b")
        stores.archive.store([effects.pack([old, new])])
        assert stores.archive.retire(make.NOW - timedelta(days=1), weights.ties) == 1
        assert stores.archive.retire(make.NOW - timedelta(days=1), weights.ties) == 0
        (sum_,) = stores.archive.baseline()
        assert (sum_.n, sum_.strength) == (1, pytest.approx(weights.ties([old])[0].strength, rel=1e-12))
        assert stores.archive.count() == 1

    def test_between_finds_what_counts_towards_a_tie(self, stores: Stores) -> None:
        wanted, other = interaction("a"), interaction("b", actor=person(5))
        stores.archive.store([effects.pack([wanted, other])])
        rows, sums = stores.archive.between([weights.ties([wanted])[0].ends])
        assert ([e.key for e in rows], sums) == ([wanted.key], [])

    def test_an_erased_person_is_gone_and_does_not_come_back(self, stores: Stores) -> None:
        about = [interaction("a", targets=[person(2), person(9)]), interaction("b", actor=person(9))]
        request = schema.parse(make.other("privacy.erase", "e", person=person(9)))[0]
        stores.archive.store([effects.pack(about), effects.pack([request])])  # type: ignore[list-item]
        stores.archive.store([effects.pack([interaction("c", actor=person(9))])])
        (left,) = next(stores.archive.interactions())
        assert (left.targets, left.target_count, stores.archive.excluded()) == ((person(2),), 2, frozenset({person(9)}))

    def test_two_writers_of_the_same_effects_do_not_disturb_each_other(self, stores: Stores) -> None:
        payload = effects.pack([interaction(str(i)) for i in range(200)])
        threads = [threading.Thread(target=stores.archive.store, args=([payload],)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stores.archive.count() == 200

    def test_every_kind_of_event_can_be_stored_twice(self, stores: Stores) -> None:
        events = [
            schema.parse(p)[0]
            for p in (
                make.other("roster.joined", "r", person=person(1), team="red", tz="Europe/Berlin"),
                make.other("source.heartbeat", "h"),
                make.other("outcome.recorded", "o", person=person(1), measure="survey", value=3.5, period="2026-W09"),
                make.other("privacy.exclude", "x", person=person(4)),
            )
        ]
        for _ in range(2):
            stores.archive.store([effects.pack(events)])  # type: ignore[arg-type]
        assert [c.team for c in stores.archive.roster()] == ["red"]
        assert stores.archive.excluded() == frozenset({person(4)})
