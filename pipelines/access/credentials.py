"""What proves who asks: `id.secret`, of which only the SHA-256 of the secret is kept. Pure.

A secret is 256 random bits, so a fast hash is enough: nobody can guess through that many. Whatever is presented is worth the
same work, malformed or not, so that its time says nothing about what is in the table.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from pipelines.access.principals import Kind
from pipelines.errors import InvalidInput

_SECRET_BYTES, _ID_BYTES = 32, 8
#: As `make` writes it. The words in front are for people, and for programs that look for secrets where none should be.
_ID = re.compile(r"(?:key|token)_[0-9a-f]{16}", re.ASCII)
_SHAPE = re.compile(rf"({_ID.pattern})\.([A-Za-z0-9_-]{{43}})", re.ASCII)
#: Asked for in place of an id that cannot be one; never made, because `make` writes a kind in front.
NO_ID = "none_0000000000000000"
#: Compared with in place of the digest of an unknown id. Nobody knows what it is the digest of, and it changes every start.
DECOY = secrets.token_bytes(hashlib.sha256().digest_size)


@dataclass(frozen=True, slots=True)
class Made:
    """A new credential. bearer is shown once and never kept; digest is kept."""

    id: str
    bearer: str = field(repr=False)
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presented:
    """What somebody shows: the id to look up, and the digest to compare with that of the id."""

    id: str
    digest: bytes = field(repr=False)


def make(kind: Kind) -> Made:
    id_, secret = f"{kind.value}_{secrets.token_hex(_ID_BYTES)}", secrets.token_urlsafe(_SECRET_BYTES)
    return Made(id_, f"{id_}.{secret}", _digest(secret))


def presented(bearer: str) -> Presented:
    """Never raises. What is no bearer has an id that nobody has."""
    found = _SHAPE.fullmatch(bearer)
    id_, secret = found.groups() if found else (NO_ID, "")
    return Presented(id_, _digest(secret))


def checked_id(text: str) -> str:
    """The id that somebody gave, also when they gave all of a bearer: the secret goes no further.

    Raises:
        InvalidInput: it is none; what they gave is not in the message.
    """
    id_ = text.strip().partition(".")[0]
    if not _ID.fullmatch(id_):
        raise InvalidInput("that is no id of a key; `python -m pipelines.users key list` shows them")
    return id_


def matches(presented: Presented, kept: bytes) -> bool:
    """Whether the secret is the one that is kept. Takes equally long wherever the two differ."""
    return hmac.compare_digest(presented.digest, kept)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
