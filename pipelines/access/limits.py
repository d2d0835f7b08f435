"""How often somebody may ask: a token bucket for each of them in Redis, on its clock, and what holds while Redis is away.

Whoever is limited is named in a key by a keyed digest: a failed login may hold a password in the place of a name.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipelines import queries
from pipelines.errors import TransientError

_LUA = queries.load("pipelines.access", "limits.lua")
_MINUTE_US = 60_000_000
#: A server that hangs must not hold up every read: it is given half a second, and is then left alone for two.
_ANSWER_S, _LEAVE_ALONE_S = 0.5, 2.0
_MOST_LOCAL = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """In no minute more than `rate_per_min`, and of these no more than `burst` at once.

    A bucket of `burst` tokens that refills by the rest in a minute; so who never pauses gets `rate_per_min - burst`.
    when_away: what holds while Redis cannot be asked: everything is let through (open), nothing is (closed), or this
    process counts for itself (local).
    """

    name: str
    rate_per_min: float
    burst: int
    when_away: Literal["open", "closed", "local"]

    def __post_init__(self) -> None:
        if not 1 <= self.burst < self.rate_per_min:
            raise ValueError(f"limit {self.name}: expected 1 <= burst < rate_per_min")

    @property
    def each_us(self) -> float:
        """Microseconds until there is one token more."""
        return _MINUTE_US / (self.rate_per_min - self.burst)

    def times(self, factor: float) -> Limit:
        """The same for a larger or smaller house; at least one token, and more to come."""
        burst = max(1, round(self.burst * factor))
        return replace(self, rate_per_min=max(self.rate_per_min * factor, burst + 1), burst=burst)


#: Without Redis reads and starts go on, nobody decides, and each process counts logins for itself.
LIMITS = {
    limit.name: limit
    for limit in (
        Limit("read", 600, 100, "open"),
        Limit("act", 60, 10, "open"),
        Limit("decide", 30, 5, "closed"),
        Limit("login", 10, 5, "local"),
    )
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """remaining: how many more may follow at once. retry_after_s: seconds until one is granted; 0 if this one was."""

    granted: bool
    remaining: int
    retry_after_s: float


def open_redis(url: str) -> redis.Redis:
    """A client that gives up soon: who asks is waiting for the answer, and there is a rule for no answer."""
    return redis.Redis.from_url(
        url, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S, retry=Retry(NoBackoff(), 0)
    )


def network(address: str) -> str:
    """Whom an address is counted as: an IPv6 host has 2^64 of them, so all of its /64 are one."""
    try:
        its = ip_address(address.partition("%")[0])
    except ValueError:  # no address: a socket's path, a test client
        return address
    its = (its.version == 6 and its.ipv4_mapped) or its
    return str(its) if its.version == 4 else str(ip_network((its, 64), strict=False))


class RateLimits:
    """Safe from many threads, and the same for all processes that share a server.

    key: keeps the names in Redis from being guessed; the same in all processes. clock: of local buckets, in seconds.
    """

    def __init__(self, client: redis.Redis, key: bytes = b"", clock: Callable[[], float] = time.monotonic) -> None:
        self._take: Any = client.register_script(_LUA["take"])
        self._key, self._clock = hashlib.blake2b(key).digest(), clock
        self._local, self._back_at = _LocalBuckets(), 0.0

    def take(self, who: str, rule: Limit) -> Allowance:
        """Ask for one token of somebody's bucket. While Redis is away, what the rule says of that.

        Raises:
            TransientError: Redis is away, and the rule is closed then.
        """
        name = self._name(who, rule)
        try:
            return self._shared(name, rule)
        except TransientError:
            if rule.when_away == "closed":
                raise
        if rule.when_away == "open":
            return Allowance(True, rule.burst, 0)
        return self._local.take(name, rule, self._clock() * 1e6)

    def _shared(self, name: str, rule: Limit) -> Allowance:
        if self._clock() < self._back_at:
            raise TransientError("limits: Redis did not answer a moment ago; check ORGANISM_REDIS_URL")
        try:
            granted, left, wait = self._take(keys=[name], args=[rule.each_us, rule.burst])
        except redis.RedisError as error:
            self._back_at = self._clock() + _LEAVE_ALONE_S
            words = f"limits: {type(error).__name__}; is Redis up? check ORGANISM_REDIS_URL"
            raise TransientError(words) from None
        return Allowance(bool(granted), left, wait / 1e6)

    def _name(self, who: str, rule: Limit) -> str:
        text = who.encode("utf-8", "surrogatepass")
        return f"organism:limit:{rule.name}:{hashlib.blake2b(text, key=self._key, digest_size=16).hexdigest()}"


class _LocalBuckets:
    """The same arithmetic in this process. Full buckets are forgotten; of too many, all: an attacker has used up memory."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, name: str, rule: Limit, now: float) -> Allowance:
        with self._lock:
            full, allowance = taken(self._full_at.get(name, 0.0), now, rule)
            self._full_at[name] = full
            if len(self._full_at) > _MOST_LOCAL:
                self._forget(now)
            return allowance

    def _forget(self, now: float) -> None:
        self._full_at = {name: full for name, full in self._full_at.items() if full > now}
        if len(self._full_at) > _MOST_LOCAL:
            self._full_at.clear()


def taken(full_at: float, now: float, rule: Limit) -> tuple[float, Allowance]:
    """A token out of a bucket that is full at a time, as limits.lua has it. Times in microseconds.

    Returns:
        When it is full now, and whether there was one.
    """
    holds = rule.each_us * rule.burst
    full = min(max(full_at, now), now + holds)
    after = full + rule.each_us
    if (wait := after - now - holds) > 0:
        return full, Allowance(False, 0, wait / 1e6)
    return after, Allowance(True, int((holds - (after - now)) / rule.each_us), 0)
