"""What readers yield: one record of somebody else's file each, with raw ids, on its way to become an event or a count.

Nothing in here is ever stored or sent: `jobs.convert` makes pseudonymous events of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipelines.model import Medium, Scope


@dataclass(frozen=True, slots=True)
class RawInteraction:
    """Who did what with whom, when, by raw ids.

    line: where it begins in the file, from 1; for JSON objects in an array the line of the object.
    native_id: what tells it from others of the same actor, time and medium; it is only ever hashed.
    tz_offset_min: the actor's offset from UTC, where the file's times are local ones.
    """

    line: int
    actor: str
    targets: tuple[str, ...]
    medium: Medium
    time: datetime
    scope: Scope = Scope.DIRECT
    duration_s: float | None = None
    native_id: str = ""
    tz_offset_min: int | None = None


@dataclass(frozen=True, slots=True)
class RawPlace:
    """A person's place as of a time. `team_of`: the team is named after this person (raw id), not by `team`."""

    line: int
    person: str
    time: datetime
    team: str | None = None
    team_of: str | None = None
    role_class: str | None = None
    manager: str | None = None
    tz: str | None = None


@dataclass(frozen=True, slots=True)
class RawEvent:
    """A line that should be an event of the contract already."""

    line: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot become an event. `words`: what was seen and expected; never the value of an id."""

    line: int
    words: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that is none of ours, such as a reaction or a cancelled meeting; it is counted by its reason."""

    line: int
    reason: str


Item = RawInteraction | RawPlace | RawEvent | Unreadable | Skipped


@dataclass(slots=True)
class Counts:
    """What a reader saw so far, in rows (CSV) or records (JSON).

    ambiguous, shifted: local times that the clocks of that zone showed twice (the first is taken) or never (moved
    forward by the gap). in_memory: the file is not sorted by time, so all of it was held at once.
    """

    rows: int = 0
    duplicates: int = 0
    self_loops: int = 0
    ambiguous: int = 0
    shifted: int = 0
    in_memory: bool = False


def shown(value: str, limit: int = 40) -> str:
    """A cell for a message: short, and without what may be an address or a control character."""
    if "@" in value:
        return f"a value of {len(value)} characters with '@'"
    return repr(value if len(value) <= limit else value[:limit] + "...")
