"""The contract of all input and output, on one page. Stores implement these; jobs and tests know nothing else.

Every method may raise `TransientError` (try again later) or `PermanentError` (do not). What else a caller has to know
stands in the docstrings: what is promised, whether it may be repeated, what comes back when there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from pipelines.model import (
    Code,
    Cursor,
    DeadLetter,
    Entry,
    Interaction,
    Lane,
    OutboxItem,
    RosterChange,
    StreamState,
    Tie,
    Window,
)
from pipelines.runs import (
    ErrorKind,
    FlowFigures,
    Mode,
    PrefectLimit,
    PrefectQueue,
    PrefectRun,
    PrefectWorker,
    Run,
    RunStep,
    Status,
    StreamMark,
)

T = TypeVar("T")


class Stream(Protocol):
    """One consumer's view of the interaction stream. An entry that was read stays pending until it is finished."""

    def prepare(self) -> None:
        """The consumer group exists and starts at the beginning. Repeatable; never skips what came before it."""

    def fetch(self, limit: int, idle: timedelta) -> Window:
        """Make up to `limit` new entries pending with us, and adopt what other consumers left for longer than `idle`.

        Entries stay on the server: only counts come back. New entries are counted in the same script, which is what
        makes the loss alarm exact.
        """

    def pending(self, after: str, limit: int) -> list[Entry]:
        """Our pending entries with ids above `after` ("0" for all), ascending, at most `limit`; empty at the end.

        Counts one delivery for each. Entries that were delivered too often come alone, so that one that kills its
        reader is found without taking its neighbours with it.
        """

    def finish(self, done: Sequence[Entry]) -> int:
        """Acknowledge entries, each only if the id still holds the same bytes (or nothing). How many were."""

    def set_aside(self, entry: Entry, lane: Lane, code: Code, words: str, now_ms: int) -> bool:
        """Copy the entry to a lane and acknowledge it, in one script. False when somebody else dealt with it."""

    def forgive(self, entries: Sequence[Entry]) -> None:
        """Forget their deliveries: the failure was ours or a store's, not theirs. Best effort."""

    def state(self) -> StreamState: ...

    def audit(self) -> int:
        """Entries lost unread since it was last asked: exact when all is read, else 0. Negative: it went back."""

    def trim(self, older_than: datetime) -> int:
        """Drop entries that are acknowledged and older; never one that is pending or unread. How many were dropped."""

    def append(self, payloads: Sequence[bytes]) -> None:
        """Add events and return only when the server has them on disk (where it can say so).

        Not repeatable by itself: after an error any part may be in the stream. The caller sends the same events again;
        the ledger counts each once.
        """


class DeadLetters(Protocol):
    def list(self, lane: Lane, *, code: str | None = None, limit: int = 100, after: str = "-") -> list[DeadLetter]: ...

    def get(self, lane: Lane, id_: str) -> DeadLetter | None: ...

    def counts(self, lane: Lane) -> dict[str, int]:
        """Letters by code."""

    def replay(self, lane: Lane, id_: str) -> bool | None:
        """Put the original fields on the stream again and remove the letter, in one script.

        False when it is gone already; None when its payload was not kept, so that nothing can be replayed.
        """

    def drop(self, lane: Lane, id_: str) -> bool: ...

    def erase(self, person: str) -> int:
        """Remove every letter that names the person. How many."""


class Lease(Protocol):
    """Who writes the graph. An efficiency device: exactness does not depend on it."""

    def acquire(self, holder: str) -> str | None:
        """None when it is ours now; else what the holder said of itself."""

    def renew(self) -> bool: ...

    def release(self) -> None: ...


class Outbox(Protocol):
    """Where events wait. Order is kept; nothing is reserved, so two publishers may send the same event."""

    def put(self, payloads: Sequence[bytes]) -> None:
        """Keep the events; on disk when this returns, all of them or none."""

    def next(self, limit: int) -> list[tuple[int, bytes]]:
        """The oldest events with their row ids, at most `limit`; they stay until `done`."""

    def done(self, rowids: Sequence[int]) -> None:
        """Forget events that are on the server's disk. Repeatable."""

    def count(self) -> int: ...


class Cache(Protocol):
    def drop(self, people: Sequence[str]) -> None:
        """Forget what is cached about these people, and only these. Repeatable."""


class GraphWriter(Protocol):
    """The statements of one write transaction, which begins with `lock`. `attempt` is new for every attempt."""

    def lock(self, attempt: int) -> None: ...

    def seen(self, keys: Sequence[str]) -> dict[str, tuple[int, bool]]:
        """The keys that the ledger knows, each with the digest of its content and whether it was withdrawn."""

    def remember(self, keys: Sequence[tuple[str, int, int]]) -> None:
        """Add (key, day, digest) to the ledger; none of them may be there."""

    def withdraw(self, keys: Sequence[str]) -> None:
        """Mark keys of the ledger as withdrawn."""

    def add_people(self, people: Sequence[str]) -> None: ...

    def add_ties(self, ties: Sequence[Tie]) -> None: ...

    def set_roster(self, changes: Sequence[RosterChange]) -> None: ...

    def put_outbox(self, item: OutboxItem, now_ms: int) -> None: ...

    def advance(self, fresh: int, now_ms: int) -> None: ...

    def put_part(self, part: str, attempt: int, now_ms: int) -> bool:
        """Mark a part of a backfill as applied; False when it was before."""

    def set_ties(self, ties: Sequence[Tie], gone: Sequence[tuple[str, str, str]]) -> None:
        """Overwrite ties with what the archive says, and delete those that it does not know."""

    def forget_people(self, people: Sequence[str]) -> None: ...

    def outbox(self, limit: int) -> list[OutboxItem]: ...


class Graph(Protocol):
    def prepare(self) -> None:
        """Constraints and indexes exist. Repeatable."""

    def write(self, work: Callable[[GraphWriter], T]) -> T:
        """Run `work` in one transaction; it may be called several times, so it must have no effect outside.

        Raises:
            CommitUnknown: nobody can say whether it was committed. Call again with a new attempt.
        """

    def outbox(self, limit: int) -> list[OutboxItem]: ...

    def delete_outbox(self, ids: Sequence[int]) -> None:
        """They go with the next write that leaves something, at the latest before the outbox is read again."""

    def cursor(self) -> Cursor: ...

    def note_stream(self, born: str) -> None:
        """Which incarnation of the stream was read last: another one later means that it was flushed or restored."""

    def note_purge(self, day: int, purged_before: int = 0, retired_before: int = 0) -> None:
        """Upkeep was done on `day`: keys and archive rows of days before these (since 1970) are gone for good."""

    def note_rebuilding(self, rebuilding: bool) -> None:
        """While it is noted, incremental runs refuse to write: the graph is not whole."""

    def purge(self, before_day: int) -> int:
        """Forget ledger keys of days before `before_day` (days since 1970). How many."""

    def ties(self) -> Iterator[Tie]: ...

    def people(self) -> Iterator[tuple[str, str | None]]:
        """Everybody inside the organisation, with the current team (None when not known)."""

    def wipe(self) -> None:
        """Remove people, ties and ledger, in small transactions. Repeatable; only `rebuild` calls it."""


class Archive(Protocol):
    """Every applied event, in PostgreSQL: the source for recount, rebuild and every load metric."""

    def store(self, payloads: Sequence[bytes]) -> None:
        """Take over the effects of committed transactions, as `archive.effects.pack` made them. Repeatable."""

    def interactions(self) -> Iterator[list[Interaction]]:
        """All interactions that count (not withdrawn), in chunks, in no order."""

    def baseline(self) -> Iterator[Tie]:
        """Sums of interactions that retention removed."""

    def find(self, keys: Sequence[str]) -> dict[str, Interaction]: ...

    def between(self, ends: Sequence[tuple[str, str, str]]) -> tuple[list[Interaction], list[Tie]]:
        """What counts towards these ties: interactions (perhaps with other targets besides), and baseline sums."""

    def known(self, keys: Sequence[str]) -> set[str]: ...

    def roster(self) -> list[RosterChange]: ...

    def outcomes(self, since: datetime) -> Iterator[tuple[str, datetime, str, float]]:
        """(person, time, measure, value) of what was measured from a time on, in no order; nobody who is excluded."""

    def excluded(self) -> frozenset[str]: ...

    def withdrawn(self) -> list[tuple[str, int]]:
        """Keys that were withdrawn, with the day (since 1970) of the withdrawal."""

    def count(self) -> int: ...

    def note_drop(self, lane: Lane, letter: DeadLetter, reason: str, who: str) -> None:
        """Keep who dropped a letter and why. Repeatable."""

    def retire(self, before: datetime, sums: Callable[[Iterable[Interaction]], Sequence[Tie]]) -> int:
        """Move interactions before a time into the baseline, in one transaction. How many."""


class Ledger(Protocol):
    """Every run of every flow, in Prefect mode and without it. A row is there before the run's work begins.

    `now` is by the clock of the machine that calls. What is kept is by the ledger's own clock, so that runs and watch on
    machines whose clocks differ agree.
    """

    def clock(self, now: datetime) -> datetime:
        """The same moment by the ledger's clock."""

    def schedule(
        self,
        flow_name: str,
        run_id: str,
        mode: Mode,
        now: datetime,
        *,
        parameters: Mapping[str, Any],
        scheduled_at: datetime | None = None,
        deployment_name: str | None = None,
    ) -> Run:
        """A row for a run that somebody asked for and nobody has begun. Repeatable by run_id: the row that is there wins."""

    def begin(
        self,
        flow_name: str,
        run_id: str,
        mode: Mode,
        now: datetime,
        *,
        parameters: Mapping[str, Any],
        deployment_name: str | None = None,
        scheduled_at: datetime | None = None,
    ) -> Run:
        """The run is at work from now on. A row that is there (scheduled, or an earlier attempt) is taken over: one more
        attempt for one that had begun. A run that was closed as crashed or lost and goes on after all is running again. One
        that was cancelled before it began stays cancelled, and comes back so.
        """

    def correlate(self, run_id: str, correlation_id: str) -> None: ...

    def beat(self, run_id: str, now: datetime) -> Status | None:
        """A sign of life. The status of the row, so that a run hears that it was cancelled; None: there is no such run."""

    def note_step(self, run_id: str, step: RunStep) -> None:
        """A row per step, upserted by (run, name)."""

    def close(
        self,
        run_id: str,
        status: Status,
        now: datetime,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        error_kind: ErrorKind | None = None,
    ) -> bool:
        """The run ended. False: it was closed before by itself or cancelled, and stays so. What the reaper said of a run that
        was alive after all is replaced.
        """

    def note_prefect_state(self, run_id: str, state: str) -> None:
        """What the Prefect server says, in a column of its own."""

    def reap(self, silent: timedelta, unstarted: timedelta, now: datetime) -> list[Run]:
        """Close as failed what gave no sign of life for `silent` (crashed), or was to start `unstarted` ago (never_started).

        Silence counts when the ledger was heard by somebody else in the middle of it: else it was perhaps the ledger that was
        away. Those that were closed by this call.
        """

    def get(self, run_id: str) -> Run | None:
        """With its steps."""

    def find(
        self,
        *,
        flow_name: str | None = None,
        pattern: str | None = None,
        statuses: Collection[Status] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        before_id: int | None = None,
    ) -> list[Run]:
        """Newest first, with their steps. pattern: of the flow's name, `*` and `?`. since, until: of created_at, half open.
        before_id: the page after the one that ended with this id.
        """

    def count(self, *, flow_name: str | None = None, statuses: Collection[Status] = ()) -> int: ...

    def figures(self, since: datetime, until: datetime) -> list[FlowFigures]:
        """By flow, of runs created in [since, until); ordered by name."""

    def first_seen(self) -> datetime | None:
        """When the oldest run that is still known was created, of any flow."""

    def note_stream(self, born: str, lost: int, now: datetime) -> None:
        """What the stream says of itself, where it is other than it was last."""

    def stream_marks(self, since: datetime) -> list[StreamMark]:
        """Those noted since then, the oldest first; before them the last one of the time before, if there is one."""

    def forget(self, before: datetime) -> int:
        """Remove ended runs older than this. How many."""


class Orchestrator(Protocol):
    """The Prefect server, as far as we ask it: over HTTP with short time-outs, never through its client library."""

    def healthy(self) -> str | None:
        """None when it answers and lets us in; else why not, in words."""

    def version(self) -> str: ...

    def clock(self) -> datetime:
        """The server's time."""

    def runs(
        self, state_types: Collection[str], since: datetime | None = None, limit: int = 200, flows: Collection[str] = ()
    ) -> list[PrefectRun]:
        """Newest first. flows: names of those whose runs are wanted; none: of all."""

    def run(self, run_id: str) -> PrefectRun | None: ...

    def start(self, deployment: str, parameters: Mapping[str, Any], idempotency_key: str | None = None) -> PrefectRun:
        """A run of a deployment, `flow/name`. The same key gives the same run."""

    def set_state(self, run_id: str, state_type: str, name: str, message: str) -> None:
        """End or move a run by the server's own rules, never by force; gives its slot back.

        Raises:
            PermanentError: it has ended otherwise, or a limit said no.
        """

    def logs(self, run_id: str, limit: int = 200) -> list[tuple[datetime, str, str]]:
        """(time, level, message), oldest first."""

    def workers(self, pool: str) -> list[PrefectWorker]:
        """Empty where the pool does not exist."""

    def queues(self, pool: str) -> list[PrefectQueue]:
        """Empty where the pool does not exist. Without those that somebody paused."""

    def limits(self) -> list[PrefectLimit]: ...

    def release(self, limit: str, slots: int) -> None:
        """Give back slots of a limit that no live run holds."""

    def url_of(self, run_id: str) -> str: ...
