from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import PermanentError, TransientError
from pipelines.outbox import store
from pipelines.outbox.store import SqliteOutbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(path)
    yield outbox
    outbox.close()


def test_events_come_back_in_their_order_until_they_are_done(outbox: SqliteOutbox) -> None:
    outbox.put([b"a", b"b"])
    outbox.put([b"c"])
    first = outbox.next(2)
    assert [payload for _, payload in first] == [b"a", b"b"]
    assert outbox.next(2) == first
    outbox.done([rowid for rowid, _ in first])
    assert [payload for _, payload in outbox.next(9)] == [b"c"]
    assert outbox.count() == 1


def test_done_is_repeatable(outbox: SqliteOutbox) -> None:
    outbox.put([b"a", b"b"])
    rowids = [rowid for rowid, _ in outbox.next(1)]
    outbox.done(rowids)
    outbox.done(rowids)
    assert outbox.count() == 1


def test_a_row_id_is_never_used_again(outbox: SqliteOutbox) -> None:
    outbox.put([b"a"])
    ((first, _),) = outbox.next(1)
    outbox.done([first])
    outbox.put([b"b"])
    outbox.done([first])  # another publisher, late
    assert outbox.count() == 1


def test_another_process_sees_what_was_put(outbox: SqliteOutbox, path: Path) -> None:
    outbox.put([b"a"])
    other = SqliteOutbox(path)
    assert [payload for _, payload in other.next(1)] == [b"a"]
    other.close()


def test_a_put_that_fails_leaves_nothing(outbox: SqliteOutbox) -> None:
    with pytest.raises(PermanentError):
        outbox.put([b"a", None])  # type: ignore[list-item]
    assert outbox.count() == 0
    outbox.put([b"b"])
    assert outbox.count() == 1


def test_only_its_owner_may_read_it(outbox: SqliteOutbox, path: Path) -> None:
    outbox.put([b"a"])
    files = list(path.parent.iterdir())
    assert len(files) == 3  # with the write-ahead log and its index
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_writer_that_does_not_let_go_is_transient(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PATIENCE_S", 0)
    outbox = SqliteOutbox(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="another publisher"):
        outbox.put([b"a"])
    other.close()
    outbox.close()


def test_a_damaged_file_says_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and long enough to be seen as one" * 100)
    with pytest.raises(PermanentError, match="put it aside"):
        SqliteOutbox(path)


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match="ORGANISM_STATE_DIR"):
        SqliteOutbox(tmp_path / "file" / "outbox.sqlite")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_was_put_survives_a_kill(path: Path) -> None:
    if (child := os.fork()) == 0:
        SqliteOutbox(path).put([b"a", b"b"])
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    outbox = SqliteOutbox(path)
    assert outbox.count() == 2
    outbox.close()
