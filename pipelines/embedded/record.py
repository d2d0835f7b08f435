"""servers.json: the ports, for the next start and for clients, and how the servers are. Readable by the owner only.

Written by whoever holds the supervisor's lock. Process ids and problems are true only while that lock is held.
"""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

STARTING, UP, STOPPING, STOPPED = "starting", "up", "stopping", "stopped"


@dataclass(frozen=True)
class Record:
    """`pids` names the servers that answer now, `problems` those that will not, with the reason."""

    state: str = STOPPED
    supervisor: int | None = None
    ports: dict[str, int] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def fresh(self) -> "Record":
        """What a new supervisor starts from: the ports, and nothing that the last one said."""
        return replace(self, state=STARTING, supervisor=None, pids={}, problems={})


def read(path: Path) -> Record:
    """The record, or an empty one when the file is missing or makes no sense: it can always be made again."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return _parsed(found) if isinstance(found, dict) else Record()
    except (OSError, ValueError, TypeError, AttributeError):
        return Record()


def _parsed(found: dict[str, Any]) -> Record:
    return Record(
        state=str(found["state"]) if "state" in found else STOPPED,
        supervisor=found.get("supervisor"),
        ports={str(name): int(port) for name, port in found.get("ports", {}).items() if 0 < int(port) < 65_536},
        pids={str(name): int(pid) for name, pid in found.get("pids", {}).items()},
        problems={str(name): str(words) for name, words in found.get("problems", {}).items()},
    )


def write(path: Path, record: Record) -> None:
    replace_privately(path, json.dumps(asdict(record), indent=1).encode() + b"\n")


def replace_privately(path: Path, content: bytes) -> None:
    """Replaces the file in one step, so that a reader sees the old or the new, readable by its owner only."""
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    beside.replace(path)
