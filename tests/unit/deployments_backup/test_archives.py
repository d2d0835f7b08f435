"""What a backup is on disk: complete or not there, and damage is named."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from deployments import archives
from pipelines.errors import InvalidInput

MOMENT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def some(content: bytes) -> archives.Writing:
    def write(file: BinaryIO) -> Mapping[str, int]:
        file.write(content)
        return {"lines": content.count(b"\n")}

    return write


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "here"
    with archives.new(folder) as writer:
        writer.add("one", "the first", some(b"1\n2\n"))
        writer.add("two", "the second", some(b""))
        writer.close(MOMENT, {"python": "3"}, {"audit": "00"})
    return folder


def test_a_manifest_comes_back_as_it_was_written(backup: Path) -> None:
    manifest = archives.read(backup)
    assert (manifest.moment, manifest.versions, manifest.keys) == (MOMENT, {"python": "3"}, {"audit": "00"})
    assert [(p.name, p.bytes, p.counts) for p in manifest.parts] == [("one", 4, {"lines": 2}), ("two", 0, {"lines": 0})]
    assert manifest.part("two") is not None
    assert manifest.part("three") is None


def test_only_the_owner_may_read_a_backup(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in backup.iterdir()} == {0o600}


def test_a_backup_that_did_not_end_is_none(tmp_path: Path) -> None:
    with archives.new(tmp_path / "half") as writer:
        writer.add("one", "", some(b"1"))
    with pytest.raises(InvalidInput, match="did not end"):
        archives.read(tmp_path / "half")
    with pytest.raises(InvalidInput, match="did not end"):
        archives.read(tmp_path / "nowhere")


def test_a_folder_that_holds_something_is_refused(backup: Path) -> None:
    with pytest.raises(InvalidInput, match="not empty"), archives.new(backup):
        pass


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"1\n3\n"), "one does not fit its checksum"),
        (lambda path: path.write_bytes(b"1\n"), "one has 2 bytes, expected 4"),
        (lambda path: path.unlink(), "one is missing"),
    ],
)
def test_every_kind_of_damage_is_named(backup: Path, damage: object, words: str) -> None:
    archives.read(backup)  # the control: it is whole
    damage(backup / "one")  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=words):
        archives.read(backup)


@pytest.mark.parametrize("change", ["sha256", "moment", "not JSON", "no seal"])
def test_a_damaged_manifest_is_noticed(backup: Path, change: str) -> None:
    path = backup / archives.MANIFEST
    body = json.loads(path.read_text())
    if change == "sha256":
        body["parts"][0]["sha256"] = "0" * 64
    if change == "moment":
        body["moment"] = "2020-01-01T00:00:00+00:00"
    if change == "no seal":
        del body["seal"]
    path.write_text("{" if change == "not JSON" else json.dumps(body))
    with pytest.raises(InvalidInput, match=r"manifest\.json is damaged"):
        archives.read(backup)


def test_a_fingerprint_tells_keys_apart_and_does_not_hold_them() -> None:
    one, other = archives.fingerprint(b"one"), archives.fingerprint(b"other")
    assert one == archives.fingerprint(b"one")
    assert one != other
    assert len(one) == 8
