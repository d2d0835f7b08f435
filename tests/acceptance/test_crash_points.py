"""Every single and every double crash of the real ingest code, over fakes: nothing lost, nothing counted twice.

Between any two I/O calls the worker may die before the call or after it, and a commit may be done or not done without
our knowing, or conflict. The same harness runs the loop that most people write, and there it must find errors: a
harness that cannot fail proves nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import lru_cache

import pytest

from pipelines.events import schema
from pipelines.graph import builder, weights
from pipelines.graph.builder import recount
from pipelines.jobs import ingest
from pipelines.model import Applied, Entry, Event, Interaction, Lane
from tests.support import fakes, make, runs
from tests.support.fakes import Faults, World
from tests.support.make import person

Run = Callable[[World, Faults, str, int], bool]
BATCH = 4
CRASHES = ("before", "after")
COMMITS = ("unknown_done", "unknown_not", "conflict")
RETRACTED = "e3"


def payloads() -> list[bytes]:
    """Two batches and a bit: interactions, a producer's duplicate, poison, a roster change, a retraction."""
    return [
        make.event("e0", person(1), [person(2)]),
        make.event("e1", person(2), [person(3), person(1)]),
        make.event("e1", person(2), [person(3), person(1)]),
        b"not json",
        make.other("roster.joined", "r1", person=person(1), team="blue"),
        make.event("e3", person(1), [person(2)], kind="interaction.call", duration_s=900),
        make.retraction("w1", of=RETRACTED),
        make.event("e4", person(3), [person(1)]),
        make.event("e0", person(1), [person(2)]),
    ]


def world() -> World:
    world = World()
    for payload in payloads():
        world.add(payload)
    world.cache = {person(i): "old" for i in (1, 2, 3)}
    return world


@pytest.fixture(autouse=True)
def _parse_each_payload_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The enumeration parses the same nine payloads many thousand times."""
    monkeypatch.setattr(schema, "parse", lru_cache(schema.parse))


def expected_ties(*, retracted: bool) -> dict[tuple[str, str, str], weights.Tie]:
    parsed = {e.key: e for p in payloads() if isinstance(e := schema.parse(p)[0], Interaction)}
    gone = schema.event_key("/test/chat", RETRACTED)
    return recount(e for key, e in parsed.items() if not (retracted and key == gone))


def wrong(world: World, *, retracted: bool = True) -> list[str]:
    """What is wrong with the end state, in words; nothing for a right one."""
    expected = expected_ties(retracted=retracted)
    found = []
    if {e: t.n for e, t in world.ties.items()} != {e: t.n for e, t in expected.items()}:
        found.append("ties")
    if retracted and recount(fakes.FakeArchive(world, Faults())._live()).keys() != expected.keys():
        found.append("archive")
    if retracted and len(world.letters[Lane.DEAD]) != 1:
        found.append("dead letters")
    if world.pel:
        found.append("pending")
    if world.outbox:
        found.append("outbox")
    if world.cache:
        found.append("stale cache")
    return found


def points(run: Run, start: World, consumer: str) -> list[str]:
    faults = Faults()
    run(copy.deepcopy(start), faults, consumer, BATCH)
    return faults.names


def faults_of(names: list[str]) -> Iterator[tuple[int, str]]:
    for at, name in enumerate(names):
        yield from ((at, how) for how in CRASHES)
        if name == "commit":
            yield from ((at, how) for how in COMMITS)


def after_fault(run: Run, start: World, fault: tuple[int, str], consumer: str) -> World:
    left = copy.deepcopy(start)
    run(left, Faults(*fault), consumer, BATCH)
    return left


def finished(run: Run, left: World, consumer: str) -> World:
    """Two clean runs: what a crash left is settled by whoever comes next."""
    for _ in range(2):
        run(left, Faults(), consumer, BATCH)
    return left


@pytest.mark.parametrize("next_consumer", ["w0", "w1"], ids=["same consumer", "takeover"])
def test_no_single_crash_loses_or_doubles_anything(next_consumer: str) -> None:
    start = world()
    cases = list(faults_of(points(runs.run_until_crash, start, "w0")))
    found = {
        fault: wrong(
            finished(runs.run_until_crash, after_fault(runs.run_until_crash, start, fault, "w0"), next_consumer)
        )
        for fault in cases
    }
    assert len(cases) > 80
    assert {fault: words for fault, words in found.items() if words} == {}


@pytest.mark.parametrize("next_consumer", ["w0", "w1"], ids=["same consumer", "takeover"])
def test_no_two_crashes_lose_or_double_anything(next_consumer: str) -> None:
    start, bad, count = world(), {}, 0
    for first in faults_of(points(runs.run_until_crash, start, "w0")):
        between = after_fault(runs.run_until_crash, start, first, "w0")
        for second in faults_of(points(runs.run_until_crash, between, next_consumer)):
            left = after_fault(runs.run_until_crash, between, second, next_consumer)
            count += 1
            if words := wrong(finished(runs.run_until_crash, left, "w0")):
                bad[first, second] = words
    assert count > 3_000
    assert bad == {}


def test_the_loop_that_most_people_write_is_wrong_in_the_same_harness() -> None:
    start = world()
    start.entries = {i: f for i, f in start.entries.items() if b"retracted" not in f[schema.FIELD]}
    cases = list(faults_of(points(runs.naive_until_crash, start, "w0")))
    found = [
        wrong(
            finished(runs.naive_until_crash, after_fault(runs.naive_until_crash, start, fault, "w0"), "w0"),
            retracted=False,
        )
        for fault in cases
    ]
    assert sum("ties" in words for words in found) > len(cases) // 10


def _token_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder.secrets, "randbits", lambda bits: 7)


def _acknowledged_first(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = ingest._Batch._apply

    def early(batch: ingest._Batch, good: list[tuple[Entry, Event]]) -> frozenset[str]:
        batch.stores.stream.finish([entry for entry, _ in good])
        return apply(batch, good)

    monkeypatch.setattr(ingest._Batch, "_apply", early)


def _outbox_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    take_over = ingest.take_over

    def early(stores: ingest.Stores, events: list[Event], applied: Applied) -> None:
        if applied.outbox:
            stores.graph.delete_outbox([applied.outbox.id])
            stores.graph.outbox(1)  # and at once
        take_over(stores, events, applied)

    monkeypatch.setattr(ingest, "take_over", early)


def _no_outbox_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "settle", lambda stores: None)


@pytest.mark.parametrize(
    "break_it", [_token_of_the_batch, _acknowledged_first, _outbox_dropped_first, _no_outbox_settled]
)
def test_the_harness_notices_when_one_rule_of_the_scheme_is_broken(
    break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    start = world()
    found = [
        wrong(finished(runs.run_until_crash, after_fault(runs.run_until_crash, start, fault, "w0"), "w0"))
        for fault in faults_of(points(runs.run_until_crash, start, "w0"))
    ]
    assert any(found)
