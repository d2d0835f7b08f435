"""How channels speak HTTP: one request, no redirect, a limit on time and size, and a failure that says kind and host only.

The URL of a webhook is a credential, and httpx writes every URL to its log: that line is never let through.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from alerts.model import Failed

TIMEOUT = 10.0
#: Of an answer. No channel needs more, and a receiver that never stops talking must not hold us.
_LARGEST = 65_536
#: Worth another try although the receiver blames us: too slow, too early, too many.
_LATER = frozenset({408, 425, 429})
#: A receiver that asks for a longer silence than this is asked again all the same.
_LONGEST_WAIT = timedelta(hours=1)


class Busy(Failed):
    """The receiver asked us to wait. retry_after: for how long, from now."""

    def __init__(self, words: str, retry_after: timedelta) -> None:
        super().__init__(words, retry_after=retry_after)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


# A filter and not a level: whoever sets up logging after us sets levels, and filters stay.
logging.getLogger("httpx").addFilter(_is_worth_a_line)


class Poster:
    """Posts to receivers. timeout: seconds, of each step and of the whole answer. Close it."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        # Alerts are rare: a connection that was kept is one that the receiver has closed meanwhile.
        once = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(timeout=timeout, follow_redirects=False, limits=once)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], now: datetime) -> bytes:
        """What the receiver answered with a status of 2xx, at most 64 KiB of it.

        Raises:
            Busy: the receiver said when to come back.
            Failed: everything else; permanent when the receiver refuses what we send.
        """
        host = host_of(url)
        try:
            status, answered, said = self._exchange(url, body, headers)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError, ValueError) as error:
            # Not the error's own words, which may quote the URL; nor its chain, which holds the request.
            raise Failed(f"{type(error).__name__} from {host}", permanent=_is_hopeless(error)) from None
        if 200 <= status < 300:
            return said
        words = f"HTTP {status} from {host}"
        if (wait := waiting_time(answered, now)) is not None and (status in _LATER or status >= 500):
            raise Busy(words, wait)
        raise Failed(words, permanent=400 <= status < 500 and status not in _LATER)

    def close(self) -> None:
        self._client.close()

    def _exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        deadline = time.monotonic() + self._timeout
        with self._client.stream("POST", url, content=body, headers=dict(headers)) as response:
            said = b""
            for piece in response.iter_bytes():
                said += piece
                if len(said) > _LARGEST:
                    break
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer does not end")
            return response.status_code, response.headers, said[:_LARGEST]


def host_of(url: str) -> str:
    """The host of a URL, for people; nothing else of it."""
    try:
        return urlsplit(url).hostname or "a URL without a host"
    except ValueError:
        return "a URL that is none"


def waiting_time(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long a receiver asks us to wait, between 1 s and an hour; None if it does not say.

    Retry-After is seconds or a date (RFC 9110, 10.2.3); Sentry says `seconds:categories:scope`, several with commas.
    """
    said = headers.get("retry-after") or headers.get("x-sentry-rate-limits", "").partition(":")[0]
    try:
        wait = timedelta(seconds=float(said)) if said[:1].isdigit() else parsedate_to_datetime(said) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(seconds=1)), _LONGEST_WAIT)


def _is_hopeless(error: Exception) -> bool:
    return isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError)
