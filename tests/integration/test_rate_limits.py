"""Limits on a real server: several who ask at once, its clock and not ours, keys that go by themselves; and no server."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from pipelines import wiring
from pipelines.access import limits
from pipelines.access.limits import LIMITS, Limit, RateLimits
from pipelines.errors import TransientError
from pipelines.events.stream import Names, RedisLease, RedisStream
from tests.support.tcp_proxy import Cut, proxied, wait_for
from tests.support.wait import wait_until

#: Refills so slowly that nothing comes back while a test runs, however slow the machine.
SLOW = Limit("slow", 11, 10, "closed")
#: 1,000 a second come back.
FAST = Limit("fast", 60_020, 20, "closed")


@pytest.fixture
def client(embedded: wiring.Endpoints) -> Iterator[redis.Redis]:
    with limits.open_redis(embedded.redis) as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.fixture
def fresh(embedded: wiring.Endpoints, client: redis.Redis) -> Iterator[Callable[[], RateLimits]]:
    """As many processes as a test wants: each has a client of its own."""
    clients: list[redis.Redis] = []

    def make() -> RateLimits:
        clients.append(limits.open_redis(embedded.redis))
        return RateLimits(clients[-1], b"key")

    yield make
    for its in clients:
        its.close()


Fresh = Callable[[], RateLimits]


def test_a_bucket_gives_what_it_holds_and_says_how_long_to_wait(fresh: Fresh) -> None:
    its = fresh()
    said = [its.take("anna", SLOW) for _ in range(12)]
    assert [a.granted for a in said] == [True] * 10 + [False] * 2
    assert [a.remaining for a in said] == [*range(9, -1, -1), 0, 0]
    assert 0 < said[-1].retry_after_s <= SLOW.each_us / 1e6


def test_two_processes_share_a_bucket(fresh: Fresh) -> None:
    one, other = fresh(), fresh()
    said = [its.take("anna", SLOW).granted for _ in range(10) for its in (one, other)]
    assert sum(said) == SLOW.burst


def test_everybody_has_a_bucket_of_their_own_for_every_rule(fresh: Fresh) -> None:
    its = fresh()
    while its.take("anna", SLOW).granted:
        pass
    assert its.take("bert", SLOW).granted
    assert its.take("anna", replace(SLOW, name="another")).granted


class Naive:
    """What is left out of Lua: a look, and then a write. The control."""

    def __init__(self, client: redis.Redis, together: threading.Barrier) -> None:
        self._redis, self._together = client, together

    def take(self, who: str, rule: Limit) -> bool:
        left = int(self._redis.get(f"naive:{who}") or rule.burst)  # type: ignore[arg-type]
        self._together.wait(10)  # where a scheduler may stop a thread at any time
        if left > 0:
            self._redis.set(f"naive:{who}", left - 1)
        return left > 0


def test_many_at_once_never_get_more_than_there_is(fresh: Fresh, client: redis.Redis) -> None:
    together, processes = threading.Barrier(8), [fresh() for _ in range(8)]

    def ask(its: RateLimits) -> int:
        together.wait(10)
        return sum(its.take("anna", SLOW).granted for _ in range(50))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, processes)) == SLOW.burst
        control = Naive(client, threading.Barrier(8))
        naive = list(threads.map(lambda _: sum(control.take("anna", SLOW) for _ in range(10)), range(8)))
    assert sum(naive) > SLOW.burst, "the control must be able to let too many through"


def test_what_was_used_up_comes_back_by_the_clock_of_the_server(fresh: Fresh) -> None:
    its = fresh()
    its._clock = lambda: 0.0  # ours stands still
    while its.take("anna", FAST).granted:
        pass
    wait_until(lambda: its.take("anna", FAST).granted, 10, "a token that came back")


def test_a_bucket_goes_by_itself_once_it_is_full(fresh: Fresh, client: redis.Redis) -> None:
    its = fresh()
    its.take("anna", SLOW)
    (name,) = client.keys("*")
    assert 0 < client.pttl(name) <= SLOW.each_us / 1_000  # type: ignore[operator]
    client.flushall()
    its.take("anna", FAST)
    wait_until(lambda: client.dbsize() == 0, 10, "the key of a full bucket to be gone")


def test_a_bucket_from_a_clock_that_was_set_back_is_empty_and_no_worse(fresh: Fresh, client: redis.Redis) -> None:
    its = fresh()
    its.take("anna", SLOW)
    (name,) = client.keys("*")
    seconds, micros = client.time()  # type: ignore[misc]
    client.set(name, (seconds + 10**7) * 1_000_000 + micros)
    refused = its.take("anna", SLOW)
    assert not refused.granted
    assert refused.retry_after_s == pytest.approx(SLOW.each_us / 1e6, abs=0.01)


def test_a_number_of_microseconds_is_kept_to_the_last_digit(fresh: Fresh, client: redis.Redis) -> None:
    """Lua writes large numbers with 14 digits unless it is told otherwise: a tenth of a second would be lost each time."""
    fresh().take("anna", SLOW)
    (name,) = client.keys("*")
    kept = client.get(name)
    assert isinstance(kept, bytes)
    assert kept.isdigit()
    assert len(kept) == 16


def test_only_what_is_meant_lies_on_the_server(fresh: Fresh, client: redis.Redis) -> None:
    for rule in LIMITS.values():
        fresh().take("anna.berg", rule)
    names = sorted(client.keys("*"))  # type: ignore[type-var]
    assert len(names) == 4
    assert all(name.startswith(b"organism:limit:") and b"anna" not in name for name in names)


class TestWhileTheServerIsAway:
    @pytest.fixture
    def away(self) -> Iterator[RateLimits]:
        with limits.open_redis("redis://127.0.0.1:1/0") as client:
            yield RateLimits(client)

    def test_decisions_wait_and_reads_go_on(self, away: RateLimits) -> None:
        with pytest.raises(TransientError, match="ORGANISM_REDIS_URL"):
            away.take("anna", LIMITS["decide"])
        assert all(away.take("anna", LIMITS["read"]).granted for _ in range(1_000))

    def test_logins_are_counted_here(self, away: RateLimits) -> None:
        assert sum(away.take("anna", LIMITS["login"]).granted for _ in range(50)) == LIMITS["login"].burst

    def test_a_server_that_loses_its_answer_grants_nothing(
        self, embedded: wiring.Endpoints, client: redis.Redis
    ) -> None:
        with proxied(embedded.redis) as (proxy, url), limits.open_redis(url) as cut:
            its = RateLimits(cut)
            assert its.take("anna", SLOW).granted
            trap = proxy.set_trap(b"EVALSHA", Cut.REPLY)
            with pytest.raises(TransientError):
                its.take("anna", SLOW)
            wait_for(trap)

    def test_a_server_that_has_no_memory_left_is_away(self, fresh: Fresh, client: redis.Redis) -> None:
        its: Any = fresh()
        its.take("anna", SLOW)
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(TransientError):
                its.take("anna", SLOW)
        finally:
            client.config_set("maxmemory", "0")

    def test_it_is_asked_again_after_a_moment(self, fresh: Fresh, client: redis.Redis) -> None:
        its, clock = fresh(), [100.0]
        its._clock = lambda: clock[0]
        its._back_at = 102.0
        with pytest.raises(TransientError):
            its.take("anna", SLOW)
        clock[0] = 102.0
        assert its.take("anna", SLOW).granted


def test_the_user_of_redis_that_the_page_on_security_shows_is_enough(
    embedded: wiring.Endpoints, client: redis.Redis
) -> None:
    """For the limits, the stream and the lease; and not for anything else."""
    page = (Path(__file__).parents[2] / "docs/security.md").read_text("utf-8")
    (words,) = re.findall(r"^user organism (.*)$", page, re.MULTILINE)
    client.execute_command("ACL", "SETUSER", "organism", "reset", *words.split())
    try:
        at = urlsplit(embedded.redis).netloc.rpartition("@")[2]
        url = f"redis://organism:PASSWORD@{at}/0"
        with limits.open_redis(url) as theirs:
            assert RateLimits(theirs).take("anna", SLOW).granted
            stream = RedisStream(theirs, url)
            stream.prepare()
            stream.append([b"{}"])
            assert stream.fetch(10, timedelta(0)).delivered == 1
            assert stream.finish(stream.pending("0-0", 10)) == 1
            assert theirs.info("server")  # as `deployments doctor` asks
            assert RedisLease(theirs, url, Names(), timedelta(seconds=9)).acquire("somebody") is None
            for forbidden in (theirs.flushall, lambda: theirs.get("another:key"), lambda: theirs.acl_list()):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    forbidden()
    finally:
        client.execute_command("ACL", "DELUSER", "organism")
