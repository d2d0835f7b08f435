"""One incremental run: take the writer's lease, drain the stream under a time budget, keep house, report the funnel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pipelines.errors import OrganismError, Refused
from pipelines.graph import weights
from pipelines.jobs.ingest import (
    Clock,
    Rules,
    Stores,
    Tally,
    fetch_interactions,
    update_graph_incremental,
    utc_now,
)
from pipelines.jobs.writing import writing
from pipelines.model import Cursor, Funnel, RunReport
from pipelines.steps import Step, in_words

_DAY = timedelta(days=1)
_DAY_S = 86_400
#: Ledger days are kept for this long beyond the horizon, so that a clock that is off cannot open a gap.
_LEDGER_SLACK = timedelta(days=2)


@dataclass(frozen=True)
class Upkeep:
    """How long things are kept."""

    stream: timedelta
    archive: timedelta


@dataclass(frozen=True)
class Progress:
    """What a run tells while it works; entries."""

    done: int
    backlog: int


def run(
    stores: Stores,
    rules: Rules,
    upkeep: Upkeep,
    budget: timedelta,
    step: Step,
    clock: Clock = utc_now,
    watch: Callable[[Progress], None] = lambda _progress: None,
) -> RunReport:
    """Drain the stream, or as much of it as the budget allows.

    Raises:
        Refused: WRITER_BUSY, another run is writing; GRAPH_UNFINISHED, a rebuild did not end.
        TooManyInvalid, TransientError, PermanentError: after all retries; what was not applied stays pending.
    """
    started = clock()
    with writing(stores.lease, "incremental", started):
        cursor = stores.graph.cursor()
        if cursor.rebuilding:
            raise Refused("GRAPH_UNFINISHED", "a rebuild of the graph did not end; run `python -m pipelines.rebuild`")
        rules = replace(rules, floor_ms=cursor.purged_before * _DAY_S * 1000)
        tally = Tally()
        try:
            _drain(stores, rules, started + budget, tally, step, clock, watch)
        except OrganismError as error:
            error.add_note(f"before that, this run: {in_words(tally.funnel)}; the rest stays pending for the next one")
            raise
        return _close(stores, rules, upkeep, tally, cursor, started, clock)


def _drain(
    stores: Stores,
    rules: Rules,
    until: datetime,
    tally: Tally,
    step: Step,
    clock: Clock,
    watch: Callable[[Progress], None],
) -> None:
    """Window after window: what one step hands to the next is a count, the entries stay on the server."""
    while True:
        window = step(fetch_interactions, stores, rules)
        tally.add(Funnel(vanished=window.vanished))
        part = Tally()  # its own, so that what a step says of itself is about that call
        try:
            step(update_graph_incremental, stores, rules, until, part, clock)
        finally:
            tally.add(part.funnel)
        watch(Progress(tally.funnel.read, backlog(stores)))
        idle = window.delivered == 0 and window.adopted == 0 and part.funnel.read == 0
        over = clock() >= until or not stores.lease.renew()  # silent for too long: somebody else writes now
        if idle or over or window.delivered < rules.window_size:
            return


def backlog(stores: Stores) -> int:
    """Entries that are on the stream and not yet dealt with."""
    state = stores.stream.state()
    return state.unread + state.pending


def _close(
    stores: Stores, rules: Rules, upkeep: Upkeep, tally: Tally, cursor: Cursor, started: datetime, clock: Clock
) -> RunReport:
    lost = stores.stream.audit()
    state, now = stores.stream.state(), clock()
    reset = cursor.stream not in ("", state.born)
    if cursor.stream != state.born:
        stores.graph.note_stream(state.born)
    trimmed = stores.stream.trim(now - upkeep.stream)
    if cursor.purged_day < _day(now):
        _keep_house(stores, rules, upkeep, now)
    waiting = state.unread + state.pending
    seconds = (clock() - started).total_seconds()
    return RunReport(tally.funnel, started, seconds, waiting, max(0, lost), reset, trimmed, waiting == 0)


def _day(now: datetime) -> int:
    return int(now.timestamp()) // _DAY_S


def _keep_house(stores: Stores, rules: Rules, upkeep: Upkeep, now: datetime) -> None:
    """Once a day: forget ledger keys beyond the horizon, and keep only sums of what the archive is too old for.

    What is forgotten stays noted: a longer horizon later does not bring the keys back.
    """
    today, cursor = _day(now), stores.graph.cursor()
    purged, retired = cursor.purged_before, cursor.retired_before
    if rules.horizon is not None:
        purged = max(purged, today - (rules.horizon + _LEDGER_SLACK) // _DAY)
        retired = max(retired, today - upkeep.archive // _DAY)
        stores.graph.note_purge(cursor.purged_day, purged, retired)  # before it is done: a crash must not hide it
        stores.graph.purge(purged)
        stores.archive.retire(datetime.fromtimestamp(retired * _DAY_S, UTC), weights.ties)
    stores.graph.note_purge(today, purged, retired)
