"""The nouns of the weekly load: what the archive hands out, what a week comes to, and what the table `person_weeks` holds.

Columns, never one object a number: a week of a large organisation has ten million interactions. No behaviour here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from pipelines.evidence import Floats, Ints, SubjectKind
from pipelines.model import Medium, Scope

Codes = NDArray[np.int32]
Bools = NDArray[np.bool_]

MEDIA: tuple[Medium, ...] = tuple(Medium)
SCOPES: tuple[Scope, ...] = tuple(Scope)
NO_RESPONSE = -1
#: No offset is that large: 840 minutes is the last one in use.
NO_OFFSET = 9_999

#: Columns of the table that are numbers, in its order; True: counted, hence a whole number. What each means is said once,
#: in `metrics.load.MEANINGS`.
COLUMNS: Mapping[str, bool] = {
    "working_days": True,
    "sent": True,
    "received": True,
    "meeting_h": False,
    "after_hours_share": False,
    "weekend_share": False,
    "short_rests": True,
    "span_h": False,
    "focus_blocks": False,
    "fragmentation": False,
    "response_load": False,
    "response_h": False,
    "network_size": True,
}


@dataclass(frozen=True, slots=True, eq=False)
class Acts:
    """A stretch of the archive: one row an interaction, in no order, and one entry a target.

    medium, scope: places in MEDIA and SCOPES. actor, target: places in `people`. target_count: how many targets the event
    named. response_s, offset_min: NO_RESPONSE and NO_OFFSET where there is none. target_row: row of each target, ascending.
    """

    people: tuple[str, ...]
    time_ms: Ints
    medium: NDArray[np.int8]
    scope: NDArray[np.int8]
    actor: Codes
    target_count: NDArray[np.int16]
    duration_s: Codes
    response_s: Codes
    offset_min: NDArray[np.int16]
    target_row: Ints
    target: Codes

    def __len__(self) -> int:
        return int(self.time_ms.size)


@dataclass(frozen=True, slots=True)
class Shard:
    """Everybody whose pseudonym ends on two hexadecimal digits from `low` to before `high`: a slice of the organisation.

    Pseudonyms are keyed hashes, so that slices are about equal.
    """

    low: int = 0
    high: int = 256

    def has(self, person: str) -> bool:
        return self.low <= int(person[-2:], 16) < self.high


EVERYBODY = Shard()


@dataclass(frozen=True, slots=True, eq=False)
class WeekRows:
    """The rows of one week: one a person inside the organisation, by pseudonym.

    values: one float64 array a name of COLUMNS, to single precision as the table holds it; NaN is NULL. strain: 0-100, NaN
    where it abstains. parts: what it is the sum of.
    """

    week: date
    people: tuple[str, ...]
    teams: tuple[str | None, ...]
    values: Mapping[str, Floats]
    strain: Floats
    parts: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.people)


@dataclass(frozen=True, slots=True)
class WeekState:
    """What is known about a week that was computed.

    version: of the definitions. revision: goes up with every write, 0 before the first. final: computed when nothing of it
    could come unmarked any more. strain_due: a week before it was computed again since. interactions: how many were read.
    """

    week: date
    version: int
    revision: int
    final: bool
    strain_due: bool
    computed_at: datetime
    interactions: int


@dataclass(frozen=True, slots=True)
class ArchiveSpan:
    """Times of the first and the last interaction. retired: retention removed something that was before."""

    first: datetime
    last: datetime
    retired: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A week (Monday, UTC) in which something changed after it was over. The same week may be marked again at any time."""

    week: date
    at: datetime


@dataclass(frozen=True, slots=True)
class Baseline:
    """The normal band of one view of one group: what is usual after the weeks from `from_week` to `to_week` (Mondays).

    people: the fewest behind one of its values. weeks: how many had a value.
    """

    view: str
    version: int
    kind: SubjectKind
    subject: str
    low: float
    high: float
    people: int
    weeks: int
    from_week: date
    to_week: date
