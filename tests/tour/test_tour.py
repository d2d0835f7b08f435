"""Read this first: what the incremental pipeline promises, in eight tests over in-memory stores."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from pipelines.errors import Refused, TooManyInvalid
from pipelines.events import schema
from pipelines.jobs import dead_letters, reconcile
from pipelines.model import Lane
from tests.support import fakes, make, runs
from tests.support.make import NOW, person


def test_an_interaction_becomes_a_tie_and_an_archive_row() -> None:
    world = fakes.World()
    world.add(make.event("a", person(1), [person(2)]))
    report = runs.run(fakes.stores(world))
    assert [(t.actor, t.target, t.n) for t in world.ties.values()] == [(person(1), person(2), 1)]
    assert len(world.archive) == report.funnel.read == report.funnel.applied == 1


def test_a_second_delivery_changes_nothing() -> None:
    world = fakes.World()
    for _ in range(3):
        world.add(make.event("a"))
        report = runs.run(fakes.stores(world))
    assert [t.n for t in world.ties.values()] == [1]
    assert report.funnel.duplicates == 1


def test_a_crash_before_the_acknowledgement_changes_nothing() -> None:
    world = fakes.World()
    world.add(make.event("a"))
    committed = fakes.Faults(at=_first(world, "commit"), how="after")
    assert not runs.run_until_crash(world, committed, "w0", 1_000)
    assert len(world.pel) == 1
    runs.run(fakes.stores(world))
    assert ([t.n for t in world.ties.values()], world.pel) == ([1], {})


def _first(world: fakes.World, name: str) -> int:
    faults = fakes.Faults()
    runs.run(fakes.stores(copy.deepcopy(world), faults))
    return faults.names.index(name)


def test_what_cannot_be_read_is_set_aside_with_its_reason_and_can_be_replayed() -> None:
    world = fakes.World()
    world.add(b"not json")
    stores = fakes.stores(world)
    runs.run(stores)
    (letter,) = stores.letters.list(Lane.DEAD)
    assert (letter.code, dict(letter.fields)) == ("BAD_JSON", {schema.FIELD: b"not json"})
    assert dead_letters.replay(stores, [letter]) == 1
    assert dead_letters.replay(stores, [letter]) == 0


def test_too_much_that_is_invalid_stops_the_line_and_touches_nothing() -> None:
    world = fakes.World()
    for number in range(100):
        world.add(b"nonsense" if number < 30 else make.event(str(number)))
    with pytest.raises(TooManyInvalid, match="30 of 100"):
        runs.run(fakes.stores(world))
    assert (len(world.pel), world.ties, world.letters[Lane.DEAD]) == (100, {}, {})


def test_a_withdrawn_interaction_is_not_counted_whichever_came_first() -> None:
    events = [make.event("a"), make.event("b"), make.retraction("w", of="a")]
    for order in (events, events[::-1]):
        world = fakes.World()
        for payload in order:
            world.add(payload)
            runs.run(fakes.stores(world))
        assert [t.n for t in world.ties.values()] == [1]
        assert reconcile.verify(fakes.stores(world)).differences == ()


def test_an_event_older_than_the_horizon_waits_for_a_person() -> None:
    world = fakes.World()
    world.add(make.event("a", time=NOW - timedelta(days=31)))
    report = runs.run(fakes.stores(world))
    assert (report.funnel.late, world.ties) == (1, {})
    assert [x.code for x in fakes.stores(world).letters.list(Lane.LATE)] == ["TOO_LATE"]


def test_two_runs_do_not_write_at_the_same_time() -> None:
    world = fakes.World()
    assert fakes.stores(world, strict_lease=True).lease.acquire("the other run") is None
    with pytest.raises(Refused, match="WRITER_BUSY"):
        runs.run(fakes.stores(world, consumer="w1", strict_lease=True))
