"""The arithmetic of a bucket, the four rules, and what holds while Redis is away. No server."""

from __future__ import annotations

import random
from typing import Any

import pytest
import redis

from pipelines.access import limits
from pipelines.access.limits import LIMITS, Limit, RateLimits, network, taken
from pipelines.errors import TransientError

SECOND = 1e6
RULE = Limit("test", 60, 10, "closed")
BEGIN = 1.8e15  # microseconds since 1970


def granted(times: list[float], rule: Limit = RULE) -> list[float]:
    """When something was granted, of somebody who asks at these times."""
    full, given = 0.0, []
    for now in times:
        full, allowance = taken(full, now, rule)
        given += [now] if allowance.granted else []
    return given


class TestABucket:
    def test_a_full_one_gives_all_that_it_holds_at_once_and_no_more(self) -> None:
        assert len(granted([BEGIN] * 50)) == RULE.burst

    def test_it_refills_by_the_rest_of_the_rate(self) -> None:
        assert RULE.each_us == 60 * SECOND / 50
        assert len(granted([BEGIN] * 50 + [BEGIN + 60 * SECOND] * 50)) == 20
        assert len(granted([BEGIN] * 50 + [BEGIN + 2.4 * SECOND] * 50)) == 12

    def test_no_minute_holds_more_than_the_rate_however_it_is_asked(self) -> None:
        rng = random.Random(7)
        for _ in range(20):
            times, now = [], BEGIN
            for _ in range(2_000):
                now += rng.choice((0, 0, 0.01, 0.1, 1, 5)) * SECOND * rng.random()
                times.append(now)
            given = granted(times)
            assert len(given) > 20
            assert max(sum(start <= at < start + 60 * SECOND for at in given) for start in given) <= RULE.rate_per_min

    def test_a_wait_as_long_as_was_said_is_long_enough(self) -> None:
        full, now = 0.0, BEGIN
        for _ in range(RULE.burst):
            full, _ = taken(full, now, RULE)
        full, refused = taken(full, now, RULE)
        assert not refused.granted
        later = now + refused.retry_after_s * SECOND
        assert not taken(full, later - 0.01 * SECOND, RULE)[1].granted
        assert taken(full, later + 1, RULE)[1].granted

    def test_what_remains_can_be_taken_and_no_more(self) -> None:
        full, allowance = taken(0, BEGIN, RULE)
        assert allowance.remaining == 9
        for left in range(8, -1, -1):
            full, allowance = taken(full, BEGIN, RULE)
            assert (allowance.granted, allowance.remaining) == (True, left)
        assert not taken(full, BEGIN, RULE)[1].granted

    def test_asking_in_vain_does_not_make_the_wait_longer(self) -> None:
        full = BEGIN + RULE.burst * RULE.each_us
        first = taken(full, BEGIN, RULE)
        assert taken(first[0], BEGIN, RULE) == first

    def test_a_clock_that_was_set_back_costs_one_bucket_at_most(self) -> None:
        full, _ = taken(0, BEGIN + 365 * 86_400 * SECOND, RULE)
        full, allowance = taken(full, BEGIN, RULE)
        assert (allowance.granted, allowance.retry_after_s) == (False, RULE.each_us / SECOND)


class TestTheRules:
    def test_they_are_as_strict_as_the_page_says(self) -> None:
        assert {name: (rule.rate_per_min, rule.when_away) for name, rule in LIMITS.items()} == {
            "read": (600, "open"), "act": (60, "open"), "decide": (30, "closed"), "login": (10, "local"),
        }  # fmt: skip

    @pytest.mark.parametrize("factor", [0.001, 0.1, 1, 7, 1_000])
    @pytest.mark.parametrize("name", list(LIMITS))
    def test_a_factor_never_makes_one_that_lets_nobody_through(self, name: str, factor: float) -> None:
        rule = LIMITS[name].times(factor)
        assert taken(0, BEGIN, rule)[1].granted
        assert rule.rate_per_min >= LIMITS[name].rate_per_min * factor

    @pytest.mark.parametrize(("rate", "burst"), [(10, 0), (10, 10), (5, 10)])
    def test_one_that_could_never_refill_is_refused(self, rate: float, burst: int) -> None:
        with pytest.raises(ValueError, match="burst"):
            Limit("wrong", rate, burst, "open")


class AwayRedis:
    """A server that cannot be asked. asked: how often somebody tried."""

    def __init__(self, error: type[redis.RedisError] = redis.ConnectionError) -> None:
        self.error, self.asked, self.keys = error, 0, []

    def register_script(self, _text: str) -> Any:
        def call(keys: list[str], args: list[object]) -> None:
            self.asked += 1
            self.keys += keys
            raise self.error("secret words of the server")

        return call


class Clock:
    """Seconds, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def limits_on(away: AwayRedis, clock: Clock | None = None) -> RateLimits:
    return RateLimits(away, clock=clock or Clock())  # type: ignore[arg-type]


class TestWhileRedisIsAway:
    def test_an_open_rule_lets_everything_through(self) -> None:
        its = limits_on(AwayRedis())
        assert all(its.take("anna", LIMITS["read"]).granted for _ in range(1_000))

    @pytest.mark.parametrize(
        "error", [redis.ConnectionError, redis.TimeoutError, redis.AuthenticationError, redis.OutOfMemoryError]
    )
    def test_a_closed_rule_lets_nothing_through(self, error: type[redis.RedisError]) -> None:
        with pytest.raises(TransientError) as raised:
            limits_on(AwayRedis(error)).take("anna", LIMITS["decide"])
        assert "secret" not in str(raised.value)

    def test_a_local_rule_is_counted_by_this_process(self) -> None:
        clock = Clock()
        its, rule = limits_on(AwayRedis(), clock), LIMITS["login"]
        assert [its.take("anna", rule).granted for _ in range(7)] == [True] * 5 + [False] * 2
        assert its.take("bert", rule).granted
        clock.now += rule.each_us / 1e6
        assert its.take("anna", rule).granted

    def test_a_server_that_failed_is_left_alone_for_a_moment(self) -> None:
        away, clock = AwayRedis(), Clock()
        its = limits_on(away, clock)
        for _ in range(100):
            its.take("anna", LIMITS["read"])
        assert away.asked == 1
        clock.now += limits._LEAVE_ALONE_S
        its.take("anna", LIMITS["read"])
        assert away.asked == 2

    def test_local_buckets_do_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "_MOST_LOCAL", 100)
        its = limits_on(AwayRedis())
        for n in range(1_000):
            its.take(f"name {n}", LIMITS["login"])
        assert len(its._local._full_at) <= 100


def test_a_name_of_a_key_tells_neither_who_nor_what_they_typed() -> None:
    away = AwayRedis()
    for who in ("anna.berg", "my password, typed in the wrong field", "key_0123456789abcdef", "\ud800"):
        limits_on(away).take(who, LIMITS["login"])
    assert not any(word in key for key in away.keys for word in ("anna", "password", "key_"))
    assert len(set(away.keys)) == 4


def test_with_another_key_the_names_are_others() -> None:
    one, other = AwayRedis(), AwayRedis()
    RateLimits(one, b"1").take("anna", LIMITS["login"])  # type: ignore[arg-type]
    RateLimits(other, b"2").take("anna", LIMITS["login"])  # type: ignore[arg-type]
    assert one.keys != other.keys


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1:2", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_all_addresses_of_one_host_are_counted_as_one(address: str, counted: str) -> None:
    assert network(address) == counted
