"""`python -m benchmarks.credential_timing`: does the time of a refusal tell what was wrong with a key or a login?

Unknown id, wrong first character, wrong last character and nonsense take turns, in an order that is shuffled every round,
through `PostgresAccess.who` on an embedded PostgreSQL. "unknown id, again" is the same question once more: what it differs by
is the noise. Controls in the same harness leak on purpose, so that a ratio near 1 means something.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import platform
import random
import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from pipelines import embedded
from pipelines.access import credentials
from pipelines.access.passwords import random_password
from pipelines.access.principals import Issued, Kind, Role
from pipelines.access.store import PostgresAccess
from pipelines.embedded import Server
from pipelines.errors import Refused
from pipelines.migrate import migrate
from pipelines.postgres import Pool, open_pool

NOW = datetime.now(UTC)
KEYS, WARM_UP, TARGET = 200, 500, 0.05
_LOOK = "SELECT secret_digest FROM credentials WHERE id = %s"
Ask = Callable[[], object]


# ------------------------------------------------------------------------------------------------ what is presented


def wrong(character: str) -> str:
    return "B" if character != "B" else "C"


def attempts(issued: Issued) -> dict[str, str]:
    """One of each kind. All have the length of a real one, but for the nonsense."""
    id_, _, secret = issued.bearer.partition(".")
    unknown = f"{Kind.KEY}_{secrets.token_hex(8)}.{secret}"
    return {
        "unknown id": unknown,
        "unknown id, again": f"{Kind.KEY}_{secrets.token_hex(8)}.{secret}",
        "wrong first character": f"{id_}.{wrong(secret[0])}{secret[1:]}",
        "wrong last character": f"{id_}.{secret[:-1]}{wrong(secret[-1])}",
        "nonsense": secrets.token_urlsafe(45),
    }


# ------------------------------------------------------------------------------------------------ controls


def naive_who(pool: Pool, bearer: str) -> bool:
    """As it is often written: what cannot be a key is sent away at once, and an unknown one before anything is compared."""
    id_, dot, secret = bearer.partition(".")
    if not dot:
        return False
    with pool.connection() as connection:
        row = connection.execute(_LOOK, (id_,)).fetchone()
    if row is None:
        return False
    return slow_hash(secret) == row[0]


def slow_hash(secret: str) -> bytes:
    """What follows a lookup where secrets can be guessed: here some thousandths of argon2."""
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), b"salt", 200)


def naive_compare(shown: str, kept: str) -> bool:
    """The plaintext, one character after the other, until one differs."""
    for a, b in zip(shown, kept, strict=True):  # noqa: SIM110  # the early exit is the point
        if a != b:
            return False
    return True


# ------------------------------------------------------------------------------------------------ measuring


def medians(make: Callable[[int], Mapping[str, Ask]], tries: int) -> dict[str, list[float]]:
    """Microseconds of each try, by what was asked; all take a turn in every round, in an order by lot."""
    rng, took = random.Random(5), dict[str, list[float]]()
    gc.collect()
    gc.disable()
    try:
        for number in range(-min(WARM_UP, tries), tries):
            asks = list(make(number).items())
            rng.shuffle(asks)
            for name, ask in asks:
                began = time.perf_counter_ns()
                ask()
                elapsed = time.perf_counter_ns() - began
                if number >= 0:
                    took.setdefault(name, []).append(elapsed / 1_000)
    finally:
        gc.enable()
    return took


def show(title: str, took: Mapping[str, list[float]], against: str, names: list[str], unit: str = "µs") -> float:
    """Print a table; the largest difference of a median from that of `against`, as a share."""
    print(f"\n{title}")
    middle = {name: statistics.median(took[name]) for name in names}
    for name in names:
        low, _, high = statistics.quantiles(took[name], n=4)
        ratio = middle[name] / middle[against]
        print(f"  {name:24s} {middle[name]:10,.2f} {unit}   half of them {low:,.2f} to {high:,.2f}   x{ratio:.3f}")
    worst = max(abs(m / middle[against] - 1) for m in middle.values())
    print(f"  largest difference: {worst:.1%} ({len(took[against]):,} tries each)")
    return worst


@contextmanager
def place() -> Iterator[str]:
    """An embedded PostgreSQL with our schema, in a directory of its own."""
    folder = Path(mkdtemp(prefix="organism-bench-", dir="/var/tmp" if os.geteuid() == 0 else None))
    folder.chmod(0o755)
    try:
        with embedded.running(folder, frozenset({Server.POSTGRES})) as urls:
            assert urls.postgres
            with psycopg.connect(urls.postgres) as connection:
                migrate(connection)
            yield urls.postgres
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def through_who(pool: Pool, access: PostgresAccess, keys: list[Issued], tries: int) -> float:
    """Ours, and the naive one in the same rounds."""

    def asks(number: int) -> dict[str, Ask]:
        shown = attempts(keys[number % len(keys)])
        ours = {name: lambda bearer=bearer: access.who(bearer, NOW) for name, bearer in shown.items()}
        naive = {f"naive: {name}": lambda bearer=bearer: naive_who(pool, bearer) for name, bearer in shown.items()}
        return {**ours, **naive}

    took = medians(asks, tries)
    names = [name for name in took if not name.startswith("naive")]
    order = sorted(names, key=list(attempts(keys[0])).index)
    worst = show("PostgresAccess.who, on PostgreSQL", took, "wrong last character", order)
    show("control: a naive lookup", took, "naive: wrong last character", [f"naive: {name}" for name in order])
    return worst


def comparing(tries: int) -> float:
    """What remains without the database, whose noise could hide a comparison."""
    made = credentials.make(Kind.KEY)
    id_, _, secret = made.bearer.partition(".")
    shown = {
        "wrong first character": wrong(secret[0]) + secret[1:],
        "wrong last character": secret[:-1] + wrong(secret[-1]),
    }
    several = range(50)  # the clock is no finer than one of them

    def asks(_: int) -> dict[str, Ask]:
        ours = {
            name: lambda bearer=f"{id_}.{text}": [
                credentials.matches(credentials.presented(bearer), made.digest) for _ in several
            ]
            for name, text in shown.items()
        }
        naive = {
            f"naive: {name}": lambda text=text: [naive_compare(text, secret) for _ in several]
            for name, text in shown.items()
        }
        return {**ours, **naive}

    took = {name: [t / len(several) for t in its] for name, its in medians(asks, tries).items()}
    worst = show("digest and comparison alone", took, "wrong last character", list(shown))
    show("control: character by character", took, "naive: wrong last character", [f"naive: {name}" for name in shown])
    return worst


def logins(access: PostgresAccess, tries: int) -> float:
    """An unknown user beside a wrong password; the control looks the user up first."""

    def refused(name: str) -> None:
        try:
            access.login(name, "not the password", NOW)
        except Refused:
            return
        raise AssertionError("let in")

    def naive(name: str) -> None:
        if name in {user.name for user in access.users()}:
            refused(name)

    def asks(number: int) -> dict[str, Ask]:
        names = {"wrong password": "anna", "unknown user": f"user-{number + WARM_UP}"}
        ours = {what: lambda name=name: refused(name) for what, name in names.items()}
        return {**ours, **{f"naive: {what}": lambda name=name: naive(name) for what, name in names.items()}}

    took = {name: [t / 1_000 for t in its] for name, its in medians(asks, tries).items()}
    names = ["wrong password", "unknown user"]
    worst = show("PostgresAccess.login, argon2id", took, names[0], names, "ms")
    show("control: a user is looked up first", took, "naive: wrong password", [f"naive: {n}" for n in names], "ms")
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.credential_timing")
    parser.add_argument("--tries", type=int, default=10_000, help="of each kind (default 10,000)")
    parser.add_argument("--logins", type=int, default=100, help="of each kind (default 100)")
    options = parser.parse_args()
    print(
        f"{platform.platform(terse=True)}, {os.cpu_count()} cores, Python {platform.python_version()}, {NOW:%Y-%m-%d}"
    )
    with place() as url, open_pool(url) as pool:
        access = PostgresAccess(pool)
        access.create("anna", random_password(), [Role.VIEWER], NOW)
        keys = [access.issue_key("anna", None, NOW + timedelta(days=1), NOW) for _ in range(KEYS)]
        worst = {
            "keys": through_who(pool, access, keys, options.tries),
            "the comparison alone": comparing(options.tries),
            "logins": logins(access, options.logins),
        }
    print("\nlargest differences: " + ", ".join(f"{what} {share:.1%}" for what, share in worst.items()))
    print(f"all within {TARGET:.0%}: {'yes' if max(worst.values()) <= TARGET else 'NO'}")
    return int(max(worst.values()) > TARGET)


if __name__ == "__main__":
    raise SystemExit(main())
