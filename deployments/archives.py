"""What a backup is on disk: files, and one manifest that names each of them with its checksum and is written last.

A folder without a manifest is a backup that did not end. Nothing here knows a store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.errors import InvalidInput, PermanentError

MANIFEST = "manifest.json"
FORMAT = 1
#: Fills a file and says what it put there.
Writing = Callable[[BinaryIO], Mapping[str, int]]


@dataclass(frozen=True)
class Part:
    """One file of a backup. `counts` says what is in it, for people and for the check after a restore."""

    name: str
    what: str
    sha256: str
    bytes: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Manifest:
    """Everything that a restore has to know before it touches a store.

    moment: whatever had been published until then is in the backup, once.
    keys: a short fingerprint of each secret, to notice a restore beside another one; see `fingerprint`.
    """

    moment: datetime
    versions: Mapping[str, str]
    keys: Mapping[str, str]
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part | None:
        return next((part for part in self.parts if part.name == name), None)


class Writer:
    """Adds files to a new backup. Files are readable by their owner alone: they hold pseudonyms of people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[Part] = []

    def add(self, name: str, what: str, write: Writing) -> Part:
        """`write` fills the file and returns its counts. The file is on disk when this returns."""
        path = self.folder / name
        with open(path, "xb", opener=_private) as file:
            counts = write(file)
            file.flush()
            os.fsync(file.fileno())
        part = Part(name, what, checksum(path), path.stat().st_size, counts)
        self._parts.append(part)
        return part

    def close(self, moment: datetime, versions: Mapping[str, str], keys: Mapping[str, str]) -> Manifest:
        """Write the manifest beside its name and move it there: it is whole, or it is not there."""
        manifest = Manifest(moment, versions, keys, tuple(self._parts))
        draft = self.folder / f".{MANIFEST}"
        with open(draft, "x", encoding="utf-8", opener=_private) as file:
            file.write(_sealed(_as_json(manifest)))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.folder / MANIFEST)
        return manifest


@contextmanager
def new(folder: Path) -> Iterator[Writer]:
    """A new backup in a folder that is empty or does not exist.

    Raises:
        InvalidInput: something is in it already.
        PermanentError: it cannot be written; what was begun stays there without a manifest.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise InvalidInput(f"{folder} is not empty; expected a new folder for each backup")
        yield Writer(folder)
    except OSError as error:
        raise PermanentError(f"cannot write the backup in {folder}: {error.strerror}") from error


def read(folder: Path) -> Manifest:
    """The manifest of a backup, after every file was compared with its checksum.

    Raises:
        InvalidInput: there is no complete backup here, or a file of it is missing or damaged; each is named.
    """
    manifest = _manifest(folder)
    wrong = [words for part in manifest.parts if (words := _what_is_wrong(folder, part))]
    if wrong:
        raise InvalidInput(f"the backup in {folder} is damaged: {'; '.join(wrong)}. Take another one")
    return manifest


def fingerprint(key: bytes) -> str:
    """Eight digits that tell two keys apart and do not help to guess one: slow to make, and shared by many keys."""
    return hashlib.scrypt(key, salt=b"causal-organism backup", n=2**14, r=8, p=1, dklen=4).hex()


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path) -> Manifest:
    try:
        text = (folder / MANIFEST).read_text("utf-8")
    except FileNotFoundError:
        raise InvalidInput(f"{folder} has no {MANIFEST}: no backup, or one that did not end") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{folder / MANIFEST} cannot be read: {type(error).__name__}") from None
    body = _unsealed(text, folder / MANIFEST)
    if body["format"] != FORMAT:
        raise InvalidInput(f"{folder} is a backup of format {body['format']}, this package reads format {FORMAT}")
    parts = tuple(Part(**part) for part in body["parts"])
    return Manifest(datetime.fromisoformat(body["moment"]), body["versions"], body["keys"], parts)


def _as_json(manifest: Manifest) -> dict[str, Any]:
    body = asdict(manifest) | {"format": FORMAT, "moment": manifest.moment.astimezone(UTC).isoformat()}
    return json.loads(json.dumps(body))  # type: ignore[no-any-return]  # tuples become lists, as they will be read


def _sealed(body: dict[str, Any]) -> str:
    return json.dumps(body | {"seal": _seal(body)}, indent=1, sort_keys=True) + "\n"


def _unsealed(text: str, path: Path) -> dict[str, Any]:
    """The seal finds damage, not deceit: who can write the folder can write a new seal."""
    try:
        body = json.loads(text)
        seal = body.pop("seal")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise InvalidInput(f"{path} is damaged: no sealed JSON object. Take another backup") from None
    if seal != _seal(body):
        raise InvalidInput(f"{path} is damaged: it does not fit its seal. Take another backup")
    return body  # type: ignore[no-any-return]


def _seal(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _what_is_wrong(folder: Path, part: Part) -> str | None:
    path = folder / part.name
    try:
        if path.stat().st_size != part.bytes:
            return f"{part.name} has {path.stat().st_size:,} bytes, expected {part.bytes:,}"
        return None if checksum(path) == part.sha256 else f"{part.name} does not fit its checksum"
    except FileNotFoundError:
        return f"{part.name} is missing"
    except OSError as error:
        return f"{part.name} cannot be read ({error.strerror})"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
