"""The worker's command line and folder, and which processes below it are runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from deployments import worker

LATER = worker._STALE_S + 60


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing said by the environment."""
    for name in ("PREFECT_WORK_POOL_NAME", "DRAIN_SECONDS", "PREFECT_WORKER_WEBSERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def words(*given: str) -> list[str]:
    return worker.command(worker._parser().parse_args(list(given)))[4:]


@pytest.mark.usefixtures("bare")
def test_the_worker_serves_all_queues_of_our_pool() -> None:
    assert words() == ["start", "--pool", "organism", "--type", "process", "--limit", "2"]


@pytest.mark.usefixtures("bare")
def test_it_can_be_told_which() -> None:
    given = words("--pool", "p", "--queue", "a", "--queue", "b", "--limit", "1", "--name", "n", "--health-port", "8081")
    wanted = "start --pool p --type process --work-queue a --work-queue b --limit 1 --name n --with-healthcheck"
    assert " ".join(given) == wanted


@pytest.mark.usefixtures("bare")
def test_the_environment_can_say_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_WORK_POOL_NAME", "theirs")
    monkeypatch.setenv("DRAIN_SECONDS", "7")
    monkeypatch.setenv("PREFECT_WORKER_WEBSERVER_PORT", "8085")
    found = worker._parser().parse_args([])
    assert (found.pool, found.drain_seconds, found.health_port) == ("theirs", 7.0, 8085)


def test_what_prefect_leaves_behind_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    env = worker.environment({"TMPDIR": "/tmp", "A": "b"}, tmp_path, None)
    assert env == {"TMPDIR": str(tmp_path), "A": "b", "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}


def test_the_folder_is_ours_alone_and_gone_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with worker._scratch() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "prefect-workspace-attempt-1").mkdir()
        assert not worker._is_left(folder)
    assert list(tmp_path.iterdir()) == []


def test_only_the_folder_of_a_dead_worker_is_removed_and_only_later(tmp_path: Path) -> None:
    dead, alive, other = (tmp_path / name for name in ("organism-worker-a", "organism-worker-b", "something"))
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / ".lock").touch()
    now = dead.stat().st_mtime
    lock = os.open(alive / ".lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert worker.clear_leftovers(tmp_path, now + 60) == []  # a run of it may still be alive
        assert worker.clear_leftovers(tmp_path, now + LATER) == [dead]
    finally:
        os.close(lock)
    assert sorted(tmp_path.iterdir()) == [alive, other]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".lock").touch()
    (tmp_path / "organism-worker-x").symlink_to(theirs)
    assert worker.clear_leftovers(tmp_path, theirs.stat().st_mtime + LATER) == []


@pytest.mark.parametrize(
    ("words", "hook"),
    [
        (["python", "-m", "prefect.engine"], False),
        (["python", "/lib/prefect/runner/_workspace_runtime_bootstrap.py", "hook", "/tmp/x"], True),
        (["python", "/lib/prefect/runner/_workspace_runtime_bootstrap.py", "engine", "hook.py"], False),
    ],
)
def test_a_hook_is_told_from_a_run(words: list[str], hook: bool) -> None:
    assert worker.is_hook(words) is hook
