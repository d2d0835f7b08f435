"""What the ledger decides, apart from where it is kept: what silence means, which names a pattern means, what is storable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from pipelines.runs import ErrorKind, Run, Status

#: What only an onlooker says of a run. The run itself knows better, if it is there after all.
FOUND = frozenset({ErrorKind.CRASHED, ErrorKind.NEVER_STARTED, ErrorKind.LOST})
#: Of these, what a sign of life refutes.
REFUTED_BY_A_BEAT = frozenset({ErrorKind.CRASHED, ErrorKind.LOST})
#: Two beats. So long after a run's last sign of life, and so long before it is judged, somebody else must have been heard.
PAUSE = timedelta(seconds=30)
_EXACT = timedelta(seconds=1)
_NUL = "\0"


def skew(here_before: datetime, there: datetime, here_after: datetime) -> timedelta:
    """How much the ledger's clock, asked in between, is ahead of this machine's; none where it may be the question's time."""
    found = there - (here_before + (here_after - here_before) / 2)
    return found if abs(found) > max(_EXACT, here_after - here_before) else timedelta(0)


def heard(run: Run) -> list[datetime]:
    """The times at which the ledger is known to have taken an account of this run."""
    return [at for at in (run.created_at, run.started_at, run.heartbeat_at, run.completed_at) if at]


def silence(run: Run) -> tuple[ErrorKind, str]:
    """What the reaper says of an open run that is silent or overdue: for people, with the times that it knows."""
    if run.status is Status.SCHEDULED:
        due = _clock(run.scheduled_at or run.created_at)
        return ErrorKind.NEVER_STARTED, f"was to start at {due} and nobody took it up; is a worker running?"
    seen = _clock(run.heartbeat_at or run.started_at or run.created_at)
    what = "its process was killed, or its machine or network is gone"
    return ErrorKind.CRASHED, f"no sign of life since {seen}: {what}; what it had stored stays"


def _clock(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that a pattern means: `*` for anything, `?` for one character, every other character for itself."""
    literal = pattern.replace("[", "[[]")  # the only other character that fnmatch gives a meaning
    return [name for name in names if fnmatchcase(name, literal)]


def text(words: str) -> str:
    """What PostgreSQL can keep of it. File names and user input may hold NUL bytes and halves of characters."""
    return words.encode("utf-8", "replace").decode().replace(_NUL, "\ufffd")


def plain(value: Any) -> Any:
    """The value as JSON that PostgreSQL can keep. What JSON does not know becomes its text; a number that is none, null."""
    if isinstance(value, Enum):  # first: ours are strings as well
        return plain(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {text(str(name)): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    return text(value.isoformat() if isinstance(value, datetime) else str(value))
