"""Applies a batch of events to the graph, each exactly once, however often it is offered.

The scheme: the key of every event is created in the same transaction as its effect, under a lock that is taken before the
ledger is read. A key that is not there is fresh; any other was counted before. What the other stores have to take over
(archive rows, cache keys) is left in an outbox in that same transaction, so that no crash can lose it.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pipelines.errors import CommitUnknown, TransientError, WriteConflict
from pipelines.graph import weights
from pipelines.model import (
    Applied,
    Event,
    Interaction,
    OutboxItem,
    Outcome,
    PrivacyRequest,
    Retraction,
    RosterChange,
    Tie,
)
from pipelines.ports import Archive, Graph, GraphWriter

_ATTEMPTS = 4
_RESTORED_TIES = 5_000
#: Stands in the ledger for the content of an event that was withdrawn before it came; no digest is negative.
_NO_CONTENT = -1
_jitter = random.Random()  # noqa: S311  # our own, for waiting: the neo4j driver consumes the global one


class EventDrivenGraphBuilder:
    """Turns events into graph changes. Holds no state between calls.

    Args:
        pack: events -> the bytes that `Archive.store` takes over.
        pause: waits that many seconds; tests pass one that does not.
    """

    def __init__(
        self, graph: Graph, pack: Callable[[Sequence[Event]], bytes], pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._graph = graph
        self._pack = pack
        self._pause = pause

    def apply(self, events: Sequence[Event], now_ms: int, part: str | None = None) -> Applied:
        """Count the events that were not counted before. Keys must be distinct.

        Args:
            part: name of a frozen part of a backfill; a part that was applied before is not applied again.

        Raises:
            CommitUnknown: four attempts in a row ended in an unknown commit. Nothing may be acknowledged.
        """
        return self._surely(lambda writer: self._apply(writer, events, now_ms, part))

    def withdraw(self, events: Sequence[Retraction], archive: Archive, now_ms: int) -> Applied:
        """Take counted interactions back, or make sure that they are not counted when they come later.

        The ties concerned are recounted from the archive, not subtracted from: first and last cannot be subtracted, and a
        recount leaves no rounding behind. `unknown` are those whose interaction was counted but is archived no more.

        Raises:
            TransientError: the archive has not taken over everything yet; settle the outbox and call again.
        """
        return self._surely(lambda writer: self._withdraw(writer, events, archive, now_ms))

    def forget(self, events: Sequence[PrivacyRequest], now_ms: int) -> Applied:
        """Apply exclusions, and remove erased people with all their ties.

        Raises:
            TransientError: as `withdraw`.
        """
        return self._surely(lambda writer: self._forget(writer, events, now_ms))

    def restore(self, events: Sequence[Interaction]) -> None:
        """Count archived interactions into a graph that is being made again: ledger and ties, nothing for the outbox."""
        self._surely(lambda writer: self._restore(writer, events))

    def restore_sums(self, ties: Sequence[Tie]) -> None:
        """Add the sums of interactions that are archived no more. Once, on an empty graph."""
        for start in range(0, len(ties), _RESTORED_TIES):
            chunk = ties[start : start + _RESTORED_TIES]
            self._graph.write(partial(_restore_sums, chunk))  # no second try: sums have no key in the ledger

    def restore_rest(self, roster: Sequence[RosterChange], withdrawn: Sequence[tuple[str, int]]) -> None:
        """Put people in their teams, and remember what was withdrawn before it came."""

        def work(writer: GraphWriter) -> Applied:
            _lock(writer)
            _judge(roster, writer)
            writer.set_roster(roster)
            _mark_withdrawn(writer, dict(withdrawn))
            return Applied()

        self._surely(work)

    def _restore(self, writer: GraphWriter, events: Sequence[Interaction]) -> Applied:
        _lock(writer)
        applied = _judge(events, writer)
        _add(writer, weights.ties(e for e in events if e.key in applied.fresh))
        return applied

    def _surely(self, work: Callable[[GraphWriter], Applied]) -> Applied:
        """Run the transaction until its outcome is known. The ledger makes running it again harmless."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._graph.write(work)
            except (CommitUnknown, WriteConflict):
                self._pause(min(30.0, 2.0**attempt) * _jitter.uniform(0.5, 1.0))
        return self._graph.write(work)

    def _apply(self, writer: GraphWriter, events: Sequence[Event], now_ms: int, part: str | None) -> Applied:
        attempt = _lock(writer)
        if part is not None and not writer.put_part(part, attempt, now_ms):
            return Applied(duplicate=frozenset(e.key for e in events))
        applied = _judge(events, writer)
        fresh = [e for e in events if e.key in applied.fresh]
        if not fresh:
            return applied
        interactions = [e for e in fresh if isinstance(e, Interaction)]
        _add(writer, weights.ties(interactions))
        writer.set_roster([e for e in fresh if isinstance(e, RosterChange)])
        return self._leave(writer, fresh, applied, attempt, now_ms)

    def _leave(
        self, writer: GraphWriter, fresh: Sequence[Event], applied: Applied, attempt: int, now_ms: int
    ) -> Applied:
        item = OutboxItem(attempt, tuple(sorted(people_of(fresh))), self._pack(fresh))
        writer.put_outbox(item, now_ms)
        writer.advance(len(fresh), now_ms)
        return replace(applied, outbox=item)

    def _withdraw(self, writer: GraphWriter, events: Sequence[Retraction], archive: Archive, now_ms: int) -> Applied:
        attempt = _lock_settled(writer)
        found = archive.find([e.target_key for e in events])
        lost = _beyond_recount(writer, events, found)
        applied = replace(_judge([e for e in events if e.key not in lost], writer), unknown=frozenset(lost))
        fresh = [e for e in events if e.key in applied.fresh]
        if not fresh:
            return applied
        days = {e.target_key: _day(e.time_ms) for e in fresh}
        _mark_withdrawn(writer, days)
        self._recount(writer, [found[key] for key in days if key in found], archive)
        return self._leave(writer, fresh, applied, attempt, now_ms)

    def _recount(self, writer: GraphWriter, withdrawn: Sequence[Interaction], archive: Archive) -> None:
        ends = [tie.ends for tie in weights.ties(withdrawn)]
        gone = {e.key for e in withdrawn}
        rows, baseline = archive.between(ends)
        ties = recount((e for e in rows if e.key not in gone), baseline)
        kept = [ties[e] for e in ends if e in ties]
        writer.set_ties(kept, [e for e in ends if e not in ties])

    def _forget(self, writer: GraphWriter, events: Sequence[PrivacyRequest], now_ms: int) -> Applied:
        attempt = _lock_settled(writer)
        applied = _judge(events, writer)
        fresh = [e for e in events if e.key in applied.fresh]
        if not fresh:
            return applied
        writer.forget_people(sorted({e.person for e in fresh if e.erase}))
        return self._leave(writer, fresh, applied, attempt, now_ms)


def _lock(writer: GraphWriter) -> int:
    attempt = secrets.randbits(62)  # new for each call of the transaction function, also for the driver's own retries
    writer.lock(attempt)
    return attempt


def _add(writer: GraphWriter, ties: Sequence[Tie]) -> None:
    """Ties and the people at their ends, in the one order in which all writers take locks."""
    writer.add_people(sorted({person for tie in ties for person in (tie.actor, tie.target)}))
    writer.add_ties(ties)


def _restore_sums(ties: Sequence[Tie], writer: GraphWriter) -> Applied:
    _lock(writer)
    _add(writer, ties)
    return Applied()


def _lock_settled(writer: GraphWriter) -> int:
    """The lock, on a graph of which the archive knows everything: what is recounted or erased must not come later."""
    attempt = _lock(writer)
    if writer.outbox(1):
        raise TransientError("the archive has not taken over every committed batch yet; the outbox is settled first")
    return attempt


def _judge(events: Sequence[Event], writer: GraphWriter) -> Applied:
    """Enter the events into the ledger: which are new, which were counted before, which re-use the id of another one."""
    seen = writer.seen([e.key for e in events])
    new = [e for e in events if e.key not in seen]
    if new:
        writer.remember([(e.key, _day(e.time_ms), e.digest) for e in new])
    withdrawn = {key for key, (_, was_withdrawn) in seen.items() if was_withdrawn}
    reused = {e.key for e in events if e.key in seen and e.digest != seen[e.key][0]} - withdrawn
    duplicate = seen.keys() - withdrawn - reused
    return Applied(frozenset(e.key for e in new), frozenset(duplicate), frozenset(reused), frozenset(withdrawn))


def _beyond_recount(writer: GraphWriter, events: Sequence[Retraction], found: Mapping[str, Interaction]) -> set[str]:
    """Retractions of what counts and is archived no more. They leave no trace, so that a crash before they are set aside
    changes nothing: they are judged the same when they come again."""
    seen = writer.seen([e.target_key for e in events if e.target_key not in found])
    return {e.key for e in events if e.target_key in seen and not seen[e.target_key][1]}


def _mark_withdrawn(writer: GraphWriter, days: Mapping[str, int]) -> None:
    """Mark keys as withdrawn, those too that never came."""
    seen = writer.seen(list(days))
    if unseen := [(key, day, _NO_CONTENT) for key, day in days.items() if key not in seen]:
        writer.remember(unseen)
    writer.withdraw(list(days))


def recount(events: Iterable[Interaction], baseline: Iterable[Tie] = ()) -> dict[tuple[str, str, str], Tie]:
    """The ties that the given events and baseline sums amount to, by (actor, target, medium)."""
    total = {tie.ends: tie for tie in weights.ties(events)}
    for tie in baseline:
        total[tie.ends] = weights.add(total[tie.ends], tie) if tie.ends in total else tie
    return total


def people_of(events: Iterable[Event]) -> set[str]:
    """The people whom the events concern: their cached values are no longer true."""
    people: set[str] = set()
    for event in events:
        match event:
            case Interaction():
                people.add(event.actor)
                people.update(event.targets)
            case RosterChange() | Outcome() | PrivacyRequest():
                people.add(event.person)
    return people


def _day(time_ms: int) -> int:
    return time_ms // 86_400_000
