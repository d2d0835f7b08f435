"""Secrets that belong to this installation: made once, kept in files outside every store, never shown."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pipelines.errors import PermanentError


def key_file(path: Path, hint: str) -> bytes:
    """The key in a file, made now if there is none.

    Args:
        hint: what to set if the file cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(f"cannot read or write {path} ({error.strerror}); set {hint}") from error


def _make(path: Path) -> None:
    """Written aside and linked into place: of two processes one wins, and neither ever reads half a key."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(draft, "x", opener=_private) as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
