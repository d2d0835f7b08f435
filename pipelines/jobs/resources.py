"""The machine: its name for others, and how much of its memory and disk is used, where a container's own limit counts."""

from __future__ import annotations

import hashlib
import shutil
import socket
from pathlib import Path

_NO_LIMIT = 1 << 60  # version 1 says a huge number where there is none, version 2 says "max"


def machine_name() -> str:
    """Tells machines apart. What a machine is called may be the name of a person, and this goes to third parties."""
    return f"machine {hashlib.blake2s(socket.gethostname().encode(), digest_size=3).hexdigest()}"


def disk_share(path: Path) -> float | None:
    """Used share of the file system that holds `path`, or the next folder above it that exists."""
    there = next((p for p in (path.absolute(), *path.absolute().parents) if p.exists()), None)
    if there is None:
        return None
    usage = shutil.disk_usage(there)
    return 1 - usage.free / (usage.used + usage.free)  # what only root may fill is not free to us


def memory_share(root: Path = Path("/")) -> float | None:
    """Used share: of the control group's limit, else of the machine. Pages that the kernel can drop at once count as free."""
    return _version_2(root) or _version_1(root) or _machine(root)


def _version_2(root: Path) -> float | None:
    group = next((line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    folder = root / "sys/fs/cgroup"
    own = folder / group.strip("/")  # inside a container the group's path is the host's, and not there
    folder = own if (own / "memory.max").exists() else folder
    return _share(folder / "memory.max", folder / "memory.current", _stat(folder, "inactive_file"))


def _version_1(root: Path) -> float | None:
    folder = root / "sys/fs/cgroup/memory"
    limit, used = folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes"
    return _share(limit, used, _stat(folder, "total_inactive_file"))


def _share(limit: Path, used: Path, droppable: int) -> float | None:
    most, now = _number(limit), _number(used)
    if not most or now is None or most >= _NO_LIMIT:
        return None
    return max(0, now - droppable) / most


def _machine(root: Path) -> float | None:
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in _lines(root / "proc/meminfo")}
    if not sizes.get("MemTotal") or "MemAvailable" not in sizes:
        return None
    return 1 - sizes["MemAvailable"] / sizes["MemTotal"]


def _stat(folder: Path, name: str) -> int:
    pairs = (line.split() for line in _lines(folder / "memory.stat"))
    return next((int(size) for key, size in pairs if key == name), 0)


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:  # another kernel, another system: then nobody says
        return []
