"""What can go wrong with the embedded servers, said so that a person can act on it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADVICE = {
    errno.EACCES: ("read and write access for this user", "run as its owner, or set ORGANISM_STATE_DIR to your own"),
    errno.EPERM: ("read and write access for this user", "run as its owner, or set ORGANISM_STATE_DIR to your own"),
    errno.ENOSPC: ("about 100 MB of free disk space", "free some space, or set ORGANISM_STATE_DIR to another disk"),
    errno.EDQUOT: ("about 100 MB of disk quota", "free some space, or set ORGANISM_STATE_DIR to another disk"),
    errno.EROFS: ("a file system that can be written", "set ORGANISM_STATE_DIR to a directory that can be written"),
    errno.EEXIST: ("a directory", "move that file away, or set ORGANISM_STATE_DIR to a directory"),
    errno.ENOTDIR: ("a directory", "move that file away, or set ORGANISM_STATE_DIR to a directory"),
}
_NO_ADVICE = ("an operation that succeeds", "look at the state directory and its logs folder")


class EmbeddedError(Exception):
    """An embedded server could not be had. The message says what was seen, what was expected and what to do."""


def problem(seen: str, expected: str, to_do: str, log_tail: str = "") -> EmbeddedError:
    """The error in the one form that all of them have; `log_tail` is appended where a server has said more itself."""
    message = f"{seen}\n  expected: {expected}\n  to do: {to_do}"
    return EmbeddedError(f"{message}\n  last lines of the log:\n{log_tail}" if log_tail else message)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turns what the operating system says about the state directory into an EmbeddedError."""
    try:
        yield
    except OSError as error:
        expected, to_do = _ADVICE.get(error.errno or 0, _NO_ADVICE)
        seen = f"{error.strerror or error}: {error.filename or place} (state directory {place})"
        raise problem(seen, expected, to_do) from error
