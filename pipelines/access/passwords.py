"""Passwords: argon2id as RFC 9106 recommends it, the rule that a new one keeps, and how many are hashed at once.

A hash takes a tenth of a second and 64 MiB on purpose. So it is made outside every transaction, and only a few at a time.
"""

from __future__ import annotations

import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import Parameters, PasswordHasher, exceptions
from argon2.profiles import RFC_9106_LOW_MEMORY

from pipelines.errors import InvalidInput, PermanentError, TransientError

SHORTEST, LONGEST = 12, 1_000
_AT_ONCE, _PATIENCE_S = 4, 5.0


class Passwords:
    """Hashes and checks. Safe from many threads. patience_s: seconds that a login waits for its turn."""

    def __init__(
        self, parameters: Parameters = RFC_9106_LOW_MEMORY, at_once: int = _AT_ONCE, patience_s: float = _PATIENCE_S
    ) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._turns, self._patience_s = BoundedSemaphore(at_once), patience_s
        self.decoy = _decoy(parameters)

    def hashed(self, password: str) -> str:
        """With a salt of its own and the parameters, as text.

        Raises:
            TransientError: too many are being hashed, or there is no memory for it.
        """
        with self._turn():
            return self._hasher.hash(_bytes(password))

    def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the one that was hashed. None, for a user who does not exist: False, after the same work.

        Raises:
            TransientError: as `hashed`.
            PermanentError: what is kept is no hash.
        """
        with self._turn():
            try:
                return self._hasher.verify(kept or self.decoy, _bytes(password)) and kept is not None
            except exceptions.VerifyMismatchError:
                return False
            except exceptions.InvalidHashError:
                raise PermanentError("a password is kept as no argon2 hash; set it anew on the command line") from None

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than are used now."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=self._patience_s):
            raise TransientError("too many passwords are being checked at this moment; try again in a few seconds")
        try:
            yield
        except (exceptions.HashingError, exceptions.VerificationError) as error:
            if isinstance(error, exceptions.VerifyMismatchError):
                raise
            raise TransientError(f"a password could not be hashed ({type(error).__name__}); is memory short?") from None
        finally:
            self._turns.release()


def check_new(name: str, password: str) -> None:
    """The rule for a new password. Length is what counts (NIST SP 800-63B); which characters is left to its owner.

    Raises:
        InvalidInput: what the rule is; never the password.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(f"a password has {SHORTEST} to {LONGEST:,} characters; this has {len(password):,}")
    if password.strip().casefold() == name.casefold():
        raise InvalidInput("a password must not be the name of its user")


def random_password() -> str:
    """22 characters, 128 bits."""
    return secrets.token_urlsafe(16)


def _bytes(password: str) -> bytes:
    """In one normal form: keyboards of different systems write an accented letter differently. Longer ones are cut where
    no kept one reaches.
    """
    return unicodedata.normalize("NFC", password[: LONGEST + 1]).encode("utf-8", "surrogatepass")


def _decoy(parameters: Parameters) -> str:
    """A hash that costs as much to check as a real one and that nothing fits."""
    salt, digest = (
        b64encode(secrets.token_bytes(n)).decode().rstrip("=") for n in (parameters.salt_len, parameters.hash_len)
    )
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v={parameters.version}${costs}${salt}${digest}"
