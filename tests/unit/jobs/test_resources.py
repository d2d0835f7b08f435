"""Shares of memory and disk: of the container's limit where there is one, of the machine else, unknown elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.jobs.resources import disk_share, memory_share

MEMINFO = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    400 kB\nHugePages_Total:       0\n"


def put(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_the_limit_of_a_container_counts_and_dropped_pages_do_not(tmp_path: Path) -> None:
    group = "sys__fs__cgroup__memory_dot_"
    put(tmp_path, proc__self__cgroup="0::/\n", proc__meminfo=MEMINFO)
    put(
        tmp_path, **{f"{group}max": "1000\n", f"{group}current": "900\n", f"{group}stat": "anon 1\ninactive_file 200\n"}
    )
    assert memory_share(tmp_path) == 0.7


def test_on_a_machine_the_own_group_is_asked_first(tmp_path: Path) -> None:
    group = "sys__fs__cgroup__ours__memory_dot_"
    put(tmp_path, proc__self__cgroup="0::/ours\n", **{f"{group}max": "100", f"{group}current": "50"})
    assert memory_share(tmp_path) == 0.5


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    group = "sys__fs__cgroup__memory_dot_"
    put(tmp_path, proc__meminfo=MEMINFO, **{f"{group}max": "max\n", f"{group}current": "900\n"})
    assert memory_share(tmp_path) == 0.6


@pytest.mark.parametrize(("limit", "share"), [("1000", 0.5), (str((1 << 63) - 4096), 0.6)])
def test_the_older_kind_of_group_is_read_too(tmp_path: Path, limit: str, share: float) -> None:
    group = "sys__fs__cgroup__memory__memory_dot_"
    put(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="4:memory:/\n")
    put(tmp_path, **{f"{group}limit_in_bytes": limit, f"{group}usage_in_bytes": "600"})
    put(tmp_path, **{f"{group}stat": "total_inactive_file 100\n"})
    assert memory_share(tmp_path) == share


def test_where_nobody_says_it_is_unknown(tmp_path: Path) -> None:
    assert memory_share(tmp_path) is None


def test_a_disk_is_asked_through_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    share = disk_share(tmp_path / "not" / "yet")
    assert share is not None and 0 <= share <= 1
