"""Every noun of the package: frozen values without behaviour beyond their own arithmetic.

Times are integers, milliseconds since 1970-01-01 UTC (`*_ms`), because that is what the graph keeps exactly on every
server we support; `datetime` (aware, UTC) is used for `now`. Ids of people are pseudonyms, never raw identifiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum


class Medium(StrEnum):
    MESSAGE = "message"
    EMAIL = "email"
    MEETING = "meeting"
    CALL = "call"
    DOC = "doc"
    REVIEW = "review"
    TICKET = "ticket"
    CONTACT = "contact"


class Scope(StrEnum):
    DIRECT = "direct"
    GROUP = "group"
    BROADCAST = "broadcast"


class Code(StrEnum):
    """Why an entry was not applied: the contract's refusal codes, and two for what only the stores can see."""

    UNKNOWN_VERSION = "UNKNOWN_VERSION"
    MISSING_FIELD = "MISSING_FIELD"
    BAD_FORMAT = "BAD_FORMAT"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    FROM_FUTURE = "FROM_FUTURE"
    TOO_LATE = "TOO_LATE"
    RAW_IDENTIFIER = "RAW_IDENTIFIER"
    SELF_ONLY = "SELF_ONLY"
    TOO_MANY_TARGETS = "TOO_MANY_TARGETS"
    BAD_DURATION = "BAD_DURATION"
    FORBIDDEN_CONTENT = "FORBIDDEN_CONTENT"
    BAD_JSON = "BAD_JSON"
    BAD_ENCODING = "BAD_ENCODING"
    EXCLUDED_PERSON = "EXCLUDED_PERSON"
    POISON = "POISON"
    ID_REUSED = "ID_REUSED"
    NOT_IN_ARCHIVE = "NOT_IN_ARCHIVE"


#: Codes whose payload must not be kept anywhere: it is what must never be stored.
PAYLOAD_NOT_KEPT = frozenset({Code.RAW_IDENTIFIER, Code.FORBIDDEN_CONTENT})


class Lane(StrEnum):
    """Where an entry goes that is not applied."""

    DEAD = "dlq"
    LATE = "late"


# ------------------------------------------------------------------------------------------------ events


@dataclass(frozen=True, slots=True)
class Event:
    """What all events share.

    key: 16 characters, a hash of (source, id): the identity for which an effect happens once.
    digest: 63-bit hash of the normalised content, to tell a re-delivery from an id that was used twice.
    """

    key: str
    digest: int
    source: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class Interaction(Event):
    """Who did what with whom, when; never content. `targets` is sorted, without the actor and without duplicates.

    target_count: how many targets the event named before excluded people were taken out; the weight is shared by these.
    """

    medium: Medium
    actor: str
    targets: tuple[str, ...]
    target_count: int
    scope: Scope = Scope.DIRECT
    duration_s: int = 0
    response_s: int | None = None
    tz_offset_min: int | None = None


class RosterKind(StrEnum):
    JOINED = "joined"
    MOVED = "moved"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class RosterChange(Event):
    """A person's place as of `time_ms`."""

    kind: RosterKind
    person: str
    team: str | None = None
    role_class: str | None = None
    manager: str | None = None
    tz: str | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat(Event):
    """A source says that it is alive: silence of a source is not silence of its people."""


@dataclass(frozen=True, slots=True)
class Outcome(Event):
    """A measured outcome of a person and period, such as a survey score."""

    person: str
    measure: str
    value: float
    scale: str | None = None
    period: str | None = None


@dataclass(frozen=True, slots=True)
class Retraction(Event):
    """Withdraws the interaction whose key is `target_key`, whether it came before or comes after."""

    target_key: str


@dataclass(frozen=True, slots=True)
class PrivacyRequest(Event):
    """`erase` False: nothing of this person is stored from now on. `erase` True: and what is stored is removed."""

    person: str
    erase: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason for saying no to an entry; `words` never quotes the payload."""

    code: Code
    words: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it lies in the stream. `fields` is empty when the entry vanished while it was pending.

    deliveries: how often the server has handed it out, this time included.
    checksum: of all fields, to tell whether the id still holds this very entry.
    """

    id: str
    fields: Mapping[bytes, bytes]
    deliveries: int = 1
    checksum: str = ""


# ------------------------------------------------------------------------------------------------ graph


@dataclass(frozen=True, slots=True)
class Tie:
    """What a batch adds to one directed edge (actor, target, medium); also one edge as it stands in the graph.

    strength: forward-decayed sum, in units of weight x 2^((t - landmark) / half-life), see `graph.weights`.
    """

    actor: str
    target: str
    medium: str
    n: int
    seconds: int
    strength: float
    first_ms: int
    last_ms: int

    @property
    def ends(self) -> tuple[str, str, str]:
        return (self.actor, self.target, self.medium)


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """Effects of a committed transaction that the other stores have still to take over."""

    id: int
    people: tuple[str, ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """What one transaction did with the events it was given: disjoint sets of keys that cover them all.

    reused: the key came before with other content. withdrawn: it was withdrawn before it came. unknown: a retraction of
    something that was counted and is archived no more. outbox: what the other stores have to take over, if anything.
    """

    fresh: frozenset[str] = frozenset()
    duplicate: frozenset[str] = frozenset()
    reused: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    outbox: OutboxItem | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The writer's bookkeeping in the graph: when it last applied something, and which stream it had in hand."""

    applied: int = 0
    at_ms: int = 0
    stream: str = ""
    purged_day: int = 0
    rebuilding: bool = False
    purged_before: int = 0
    retired_before: int = 0


# ------------------------------------------------------------------------------------------------ stream


@dataclass(frozen=True, slots=True)
class Window:
    """What `fetch_interactions` hands on: counts, never the entries. All numbers are entries."""

    delivered: int = 0
    adopted: int = 0
    vanished: int = 0


@dataclass(frozen=True, slots=True)
class StreamState:
    """One consistent look at the stream. Counts are entries; `born` is the name that this incarnation of it was given.

    oldest_unread_ms: arrival time of the oldest entry that nobody has read, None when there is none. lost: entries that this
    incarnation lost unread, as far as it was audited; it only grows.
    """

    length: int
    entries_added: int
    delivered: int
    unread: int
    pending: int
    born: str = ""
    oldest_unread_ms: int | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Funnel:
    """What became of the entries of a run; `read` must equal the sum of the five fates."""

    read: int = 0
    applied: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    late: int = 0
    ignored: int = 0
    vanished: int = 0
    unknown_fields: int = 0
    batches: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Funnel) -> Funnel:
        codes = dict(self.codes)
        for code, count in other.codes.items():
            codes[code] = codes.get(code, 0) + count
        numbers = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "codes"}
        return Funnel(codes=codes, **numbers)

    @property
    def accounted(self) -> int:
        return self.applied + self.duplicates + self.dead_letters + self.late + self.ignored


@dataclass(frozen=True, slots=True)
class RunReport:
    """One incremental run, as numbers. `rate` is entries per second of this run; `lost` and `reset` are alarms."""

    funnel: Funnel
    started: datetime
    seconds: float
    backlog: int
    lost: int
    reset: bool
    trimmed: int
    drained: bool

    @property
    def rate(self) -> float:
        return self.funnel.read / self.seconds if self.seconds else 0.0

    @property
    def eta_seconds(self) -> float | None:
        return self.backlog / self.rate if self.rate else None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead (or late) letter: where it came from, why it is here, and its fields unchanged.

    kept: "yes"; "no", then there are no fields; or "packed", then one field holds them all.
    """

    id: str
    lane: Lane
    code: str
    words: str
    source_id: str
    deliveries: int
    replays: int
    dead_ms: int
    fields: Mapping[bytes, bytes]
    kept: str = "yes"
