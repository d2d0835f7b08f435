"""One way to open Redis and one way to read its errors, shared by everything that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import redis
from redis import exceptions as failures
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipelines.errors import OrganismError, PermanentError, TransientError


def open_redis(url: str, answer_s: float = 30) -> redis.Redis:
    """A client that never repeats a command by itself. answer_s: for so long it waits for an answer, in seconds.

    redis-py would: one `xadd` call puts up to eleven entries on the stream when replies are lost, and a repeated read
    leaves entries pending that nobody saw. Outboxes, pending entries and step retries decide instead.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=answer_s,
        socket_connect_timeout=min(5, answer_s),
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
    )


@contextmanager
def translated(url: str) -> Iterator[None]:
    """redis-py's errors as ours. The server's message is not quoted: it may hold a command with its arguments."""
    where = urlsplit(url)
    name = f"redis {where.hostname}:{where.port or 6379}"
    try:
        yield
    except OrganismError:
        raise
    except (failures.AuthenticationError, failures.NoPermissionError) as error:
        raise PermanentError(f"{name}: {type(error).__name__}; check user and password in ORGANISM_REDIS_URL") from None
    except (failures.ConnectionError, failures.TimeoutError, failures.BusyLoadingError) as error:
        raise TransientError(f"{name}: {type(error).__name__}; is the server up? check ORGANISM_REDIS_URL") from None
    except failures.ResponseError as error:
        raise _refused(error, name) from None


def _refused(error: failures.ResponseError, name: str) -> OrganismError:
    word = str(error).split(" ", 1)[0]
    if word in ("OOM", "READONLY", "MISCONF", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "NOGROUP"):
        return TransientError(f"{name}: the server said {word}; it cannot take writes just now")
    shown = word if word.isupper() and word.isalpha() else "an error"
    return PermanentError(f"{name}: the server refused a command with {shown}")
