"""The cache of values about people, in Redis or Valkey: best a server of its own, since it may evict and the stream must not.

Readers must set a time to live (10 minutes): a reader that read before a commit can store the old value after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import redis

from pipelines.errors import TransientError

_CHUNK = 1_000


def person_key(person: str) -> str:
    return f"organism:cache:person:{person}"


class RedisCache:
    """`ports.Cache`."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def drop(self, people: Sequence[str]) -> None:
        try:
            for start in range(0, len(people), _CHUNK):
                self._redis.unlink(*map(person_key, people[start : start + _CHUNK]))
        except redis.RedisError as error:
            raise TransientError(f"cache: {type(error).__name__}; is the server up? check ORGANISM_CACHE_URL") from None
