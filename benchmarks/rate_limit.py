"""`python -m benchmarks.rate_limit`: who asks at twice the rate for a minute, how much of the excess is refused?

Several threads, each with a connection of its own as if it were a process, share one bucket on an embedded Valkey. The excess
is what was asked beyond the rate. The control is a counter that is read and then written, with no script around the two.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

import redis

from pipelines import embedded
from pipelines.access import limits
from pipelines.access.limits import LIMITS, Limit, RateLimits
from pipelines.embedded import Server

TARGET = 0.99
Take = Callable[[], bool]


@dataclass(frozen=True)
class Told:
    """What came of it. worst: the most that was granted in any minute."""

    asked: int
    granted: int
    seconds: float
    worst: int

    def refused_of_excess(self, rule: Limit) -> float:
        """1 at most: a bucket that fills a little slower than the rate refuses a few more than it has to."""
        allowed = rule.rate_per_min * self.seconds / 60
        return min(1.0, (self.asked - self.granted) / (self.asked - allowed))


def naive(client: redis.Redis, rule: Limit) -> bool:
    """A window of a minute, read and then written: two that read the same number both write the next one."""
    count = int(client.get("naive") or 0)  # type: ignore[arg-type]
    if count >= rule.rate_per_min:
        return False
    client.set("naive", count + 1, ex=120)
    return True


def ask(takes: list[Take], per_second: float, seconds: float) -> Told:
    """Each thread asks in its turn at a steady pace; all of them make `per_second`."""
    began, given, lock = time.monotonic() + 0.1, list[float](), threading.Lock()
    each = len(takes) / per_second

    def one(number: int) -> int:
        asked, take = 0, takes[number]
        while (due := began + asked * each) < began + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            granted = take()
            asked += 1
            if granted:
                with lock:
                    given.append(time.monotonic())
        return asked

    with ThreadPoolExecutor(len(takes)) as threads:
        asked = sum(threads.map(one, range(len(takes))))
    return Told(asked, len(given), seconds, max((sum(at <= t < at + 60 for t in given) for at in given), default=0))


@contextmanager
def place() -> Iterator[str]:
    """An embedded Valkey in a directory of its own."""
    folder = Path(mkdtemp(prefix="organism-bench-", dir="/var/tmp" if os.geteuid() == 0 else None))
    folder.chmod(0o755)
    try:
        with embedded.running(folder, frozenset({Server.REDIS})) as urls:
            assert urls.redis
            yield urls.redis
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(url: str, rule: Limit, options: argparse.Namespace) -> dict[str, Told]:
    """Ours and then the control, with the same number of threads at the same pace."""
    with ExitStack() as stack:
        clients = [stack.enter_context(limits.open_redis(url)) for _ in range(options.threads)]
        ours = [lambda its=its: its.take("somebody", rule).granted for its in map(RateLimits, clients)]
        control = [lambda client=client: naive(client, rule) for client in clients]
        pace = 2 * rule.rate_per_min / 60
        return {
            "token bucket (Lua)": ask(ours, pace, options.seconds),
            "control: GET, then SET": ask(control, pace, options.seconds),
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_limit")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--threads", type=int, default=8, help="how many ask at once (default 8)")
    parser.add_argument("--rule", choices=list(LIMITS), default="read")
    parser.add_argument("--factor", type=float, default=1, help="multiplies the rule, as ORGANISM_API_RATE")
    options = parser.parse_args()
    rule = LIMITS[options.rule].times(options.factor)
    print(f"{platform.platform(terse=True)}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}")
    print(
        f"rule {rule.name}: {rule.rate_per_min:g} a minute, {rule.burst} at once; {options.threads} threads at twice that"
    )
    with place() as url:
        told = run(url, rule, options)
    for name, its in told.items():
        share = its.refused_of_excess(rule)
        counts = f"{its.asked:6,} asked  {its.granted:6,} granted  {its.worst:6,} in the worst minute"
        print(f"  {name:24s} {counts}  {share:.2%} of the excess refused")
    good = told["token bucket (Lua)"].refused_of_excess(rule) >= TARGET
    print(f"at least {TARGET:.0%} of the excess refused: {'yes' if good else 'NO'}")
    return int(not good)


if __name__ == "__main__":
    raise SystemExit(main())
