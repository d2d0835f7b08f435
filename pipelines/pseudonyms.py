"""Raw ids to pseudonyms, with a key that no store has. Pure; the only place that knows how a pseudonym is made.

Keyed (HMAC-SHA-256), because a plain hash of a mail address is undone by hashing all addresses.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Collection
from functools import lru_cache

from pipelines.errors import InvalidInput

#: Below this a key is a typing error or an empty file, and its pseudonyms could be found by trying.
MIN_KEY_BYTES = 16
_HEX = 32  # 128 bits: no two people of any organisation share one by chance
_CACHED = 200_000


@lru_cache(maxsize=_CACHED)
def normal(raw: str) -> str:
    """The form in which two spellings of one raw id are equal: NFKC, case folded, without blanks around it."""
    folded = unicodedata.normalize("NFKC", raw).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


class Pseudonymiser:
    """Deterministic: the same key and raw id give the same pseudonym, on every machine and for ever.

    Args:
        key: the secret; at least 16 bytes.
        own_domains: mail domains of the organisation. A raw id with another mail domain is a person outside (`x_`);
            without any domain given, and for ids that are no mail addresses, everybody is inside (`p_`).

    Raises:
        InvalidInput: the key is too short to protect anybody.
    """

    def __init__(self, key: bytes, own_domains: Collection[str] = ()) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise InvalidInput(
                f"the key of the pseudonyms has {len(key)} bytes and needs at least {MIN_KEY_BYTES}; set"
                " ORGANISM_PSEUDONYM_KEY, or remove the file pseudonym.key if it was never used"
            )
        self._key = key
        self._own = frozenset(normal(domain).removeprefix("@") for domain in own_domains)
        self._id_key = hmac.digest(key, b"event id", "sha256")
        self.of = lru_cache(maxsize=_CACHED)(self._of)

    def _of(self, raw: str) -> str:
        """The pseudonym of a raw id.

        Raises:
            ValueError: there is nothing but blanks in it, or it is not text that UTF-8 can write.
        """
        known = normal(raw)
        if not known:
            raise ValueError("empty")
        digest = hmac.digest(self._key, known.encode("utf-8"), "sha256").hex()[:_HEX]
        return ("x_" if self._is_outside(known) else "p_") + digest

    def _is_outside(self, known: str) -> bool:
        _, at, domain = known.rpartition("@")
        return bool(at) and bool(self._own) and domain not in self._own

    def event_id(self, *parts: str) -> str:
        """A deterministic id of an event from what makes it this one.

        Keyed too: parts may be native ids, such as a Message-ID, that a plain hash would let anybody recognise.
        """
        content = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=16, key=self._id_key).hexdigest()
