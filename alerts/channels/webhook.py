"""A webhook of the user's own: one POST of JSON for each change, signed where a secret is given.

The body is `words.as_json`, schema version 1. A receiver checks the signature over `timestamp.body` and refuses old
timestamps, and drops an Idempotency-Key that it has seen.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime

from alerts import words
from alerts.channels.http import TIMEOUT, Poster
from alerts.model import Message

SIGNATURE, TIMESTAMP = "Organism-Signature", "Organism-Timestamp"


class Webhook:
    """secret: shared with the receiver; None sends without a signature."""

    name = "webhook"

    def __init__(self, url: str, secret: str | None, timeout: float = TIMEOUT) -> None:
        self._url, self._secret = url, secret
        self._poster = Poster(timeout)

    def send(self, message: Message, now: datetime) -> None:
        """Raises Failed; permanent when the receiver refuses the message (4xx)."""
        body = json.dumps(words.as_json(message, now), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": words.delivery(message)}
        headers[TIMESTAMP] = stamp = str(int(now.timestamp()))
        if self._secret is not None:
            headers[SIGNATURE] = f"v1={signature(self._secret, stamp, body)}"
        self._poster.post(self._url, body, headers, now)

    def close(self) -> None:
        self._poster.close()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA-256 of `timestamp.body` as hexadecimal digits. The time is signed too, so that nothing can be replayed."""
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hex()
