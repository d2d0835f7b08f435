"""One look at each store: whether it answers, lets us in and takes writes, and what its clock says. Changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import psycopg.sql
import redis

from deployments.checks import Check, bad, good
from pipelines import migrate, postgres
from pipelines.events import redis_client
from pipelines.graph import driver
from pipelines.wiring import Endpoints

_TIMEOUT_S = 4


def about_redis(url: str, name: str = "Redis", *, keeps_stream: bool = True) -> Check:
    """Raises TransientError, PermanentError."""
    with redis_client.translated(url), _redis(url) as client:
        told = client.info()
    policy, limit, aof = told.get("maxmemory_policy"), told.get("maxmemory"), told.get("aof_enabled")
    seen = f"{told.get('server_name') or 'redis'} {told.get('valkey_version') or told.get('redis_version')} answers"
    if told.get("role") == "slave":
        return bad(name, "a replica, which takes no writes", f"point {_variable(name)} at the primary")
    if keeps_stream and limit and policy != "noeviction":
        return bad(name, f"throws keys away when it is full ({policy})", "set maxmemory-policy noeviction")
    if keeps_stream and not aof:
        return good(name, seen, "it keeps the stream in memory only: set appendonly yes")
    return good(name, seen)


def about_graph(where: Endpoints) -> Check:
    """Raises TransientError, PermanentError."""
    with driver.translated(where.graph), driver.open_driver(where.graph, where.graph_user, where.graph_password) as its:
        with its.session(database=where.graph_database) as session:
            session.run("RETURN 1").consume()
        return good("graph", f"{its.get_server_info().agent} answers")


def about_postgres(url: str) -> Check:
    """Raises TransientError, PermanentError."""
    with postgres.translated(url), _postgres(url) as connection:
        version = connection.info.server_version // 10_000
        read_only = connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
    if read_only:
        return bad(
            "PostgreSQL",
            f"version {version} answers and is read-only",
            "point ORGANISM_POSTGRES_URL at the primary, or see its disk and default_transaction_read_only",
        )
    return good("PostgreSQL", f"version {version} answers and takes writes")


def about_migrations(url: str) -> Check:
    """Raises TransientError, PermanentError."""
    wanted = migrate.available()
    with postgres.translated(url), _postgres(url) as connection:
        there = connection.execute("SELECT to_regclass('schema_migrations')").fetchone() != (None,)
        rows = connection.execute("SELECT version, checksum FROM schema_migrations").fetchall() if there else []
    done: dict[int, str] = dict(rows)
    if edited := [m.name for m in wanted if done.get(m.version, m.checksum) != m.checksum]:
        return bad("migrations", f"applied in another form: {', '.join(edited)}", "restore the file, add a new one")
    if newer := sorted(set(done) - {m.version for m in wanted}):
        return bad("migrations", f"the database has {newer}, which this package does not know", "upgrade the package")
    if missing := [m.name for m in wanted if m.version not in done]:
        return bad("migrations", f"not applied: {', '.join(missing)}", "python -m deployments setup")
    return good("migrations", f"all {len(wanted)} applied")


def redis_clock(url: str) -> datetime:
    with redis_client.translated(url), _redis(url) as client:
        seconds, micro = client.time()
    return datetime.fromtimestamp(seconds + micro / 1_000_000, UTC)


def postgres_clock(url: str) -> datetime:
    with postgres.translated(url), _postgres(url) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at.astimezone(UTC)


def _redis(url: str) -> redis.Redis:
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise redis.ConnectionError("not a redis:// URL")
    return redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)


def _postgres(url: str) -> postgres.Connection:
    connection = psycopg.connect(url, connect_timeout=_TIMEOUT_S, autocommit=True)
    connection.execute(psycopg.sql.SQL("SET statement_timeout = {}").format(_TIMEOUT_S * 1_000))
    return connection


def _variable(name: str) -> str:
    return "ORGANISM_CACHE_URL" if name == "cache" else "ORGANISM_REDIS_URL"
