"""The status list of the API with 100,000 runs in the ledger, beside a bare FastAPI handler that runs the same SQL.

Both are servers of their own on the same PostgreSQL; they take turns (ours, bare, ours, bare ...), 50 requests a second each,
sent by the clock and not when the last answer came, so that a slow answer delays none. A latency counts from the moment at
which the request was due. What ours adds: the credential, the rate limit, the headers, the rules of what is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psutil
import psycopg

from pipelines import embedded, queries
from pipelines.embedded import Server
from pipelines.embedded.loopback import free_port
from tests.support import api_site
from tests.support.wait import wait_until

_Q = queries.load("pipelines.ledger", "queries.sql")
_LIST = "/api/v1/automation/status"
_EVERYTHING: dict[str, Any] = dict.fromkeys(("flows", "statuses", "since", "until", "before_id", "flow_name"))
_FILL = """
INSERT INTO workflow_runs (flow_name, flow_run_id, status, parameters, result, started_at, completed_at, duration_seconds,
                           created_at, heartbeat_at, execution_mode)
SELECT (ARRAY['incremental', 'incremental', 'incremental', 'full', 'watch', 'verify'])[1 + n %% 6], 'load-' || n,
       CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END, '{"propose": true}', '{"read": 120, "applied": 118}',
       at, at + interval '3 s', 3, at, at + interval '3 s', 'direct'
FROM (SELECT n, now() - (%(runs)s - n) * interval '1 minute' AS at FROM generate_series(1, %(runs)s) n) made
"""
_FILL_STEPS = """
INSERT INTO workflow_steps (run, name, position, status, attempts, started_at, seconds, cpu_seconds)
SELECT id, step, position, status, 1, started_at, 1, 0.5
FROM workflow_runs, (VALUES ('fetch_interactions', 0), ('update_graph_incremental', 1)) steps (step, position)
WHERE flow_run_id LIKE 'load-%%'
"""


# ------------------------------------------------------------------------------------------------ the peer


def bare() -> Any:
    """The handler that anybody would write first: the same statements, rows as they are, nobody asked who they are."""
    from fastapi import FastAPI
    from psycopg.rows import dict_row
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(os.environ["BARE_POSTGRES_URL"], min_size=4, max_size=8, kwargs={"row_factory": dict_row})
    app = FastAPI()

    @app.get(_LIST)
    def status(limit: int = 50) -> dict[str, Any]:
        with pool.connection() as connection:
            found = connection.execute(_Q["find"], _EVERYTHING | {"limit": limit}, prepare=False).fetchall()
            ids = [row["id"] for row in found]
            steps = connection.execute(_Q["steps"], {"ids": ids}).fetchall()
            rows = connection.execute(_Q["rows"], {"ids": ids}).fetchall()
            total = connection.execute(_Q["count"], _EVERYTHING, prepare=False).fetchone()
        return {"recent_executions": rows, "steps": len(steps), "total_executions": total}

    return app


@contextmanager
def bare_server(postgres: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.api_load:bare", "--port", str(port)]
    env = {**os.environ, "BARE_POSTGRES_URL": postgres, "PYTHONPATH": str(api_site.ROOT)}
    process = subprocess.Popen([*command, "--log-level", "warning"], env=env, cwd=api_site.ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), 60, "the bare server")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}{_LIST}", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


# ------------------------------------------------------------------------------------------------ the load


async def load(url: str, headers: dict[str, str], rate: float, seconds: float) -> list[float]:
    """Seconds of each answer, from when its request was due."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        began = time.perf_counter()
        due = [began + n / rate for n in range(int(rate * seconds))]
        return await asyncio.gather(*(_one(client, at) for at in due))


async def _one(client: httpx.AsyncClient, due: float) -> float:
    await asyncio.sleep(due - time.perf_counter())
    answer = await client.get(_LIST)
    answer.raise_for_status()
    return time.perf_counter() - due


def quantile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(int(share * len(seconds)), len(seconds) - 1)] * 1_000


def compare(ours: str, headers: dict[str, str], peer: str, rate: float, seconds: float, rounds: int) -> None:
    taken: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        taken["ours"].append(asyncio.run(load(ours, headers, rate, seconds)))
        taken["bare"].append(asyncio.run(load(peer, {}, rate, seconds)))
    for share in (0.5, 0.99):
        mine, its = (statistics.median(quantile(one, share) for one in taken[name]) for name in ("ours", "bare"))
        print(f"p{share * 100:.0f}: ours {mine:.1f} ms, bare {its:.1f} ms, x{mine / its:.2f}  (target below x2)")


def leaks(site: api_site.Site, headers: dict[str, str], postgres: str, requests: int) -> None:
    """Connections, descriptors and memory before and after so many requests, as fast as they are answered."""
    process = psutil.Process(site.process.pid)

    def state() -> str:
        with psycopg.connect(postgres, autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            found = row.fetchone()
        megabytes = process.memory_info().rss / 2**20
        return f"{found[0] if found else '?'} connections, {process.num_fds()} descriptors, {megabytes:.0f} MB"

    print(f"before {requests:,} requests: {state()}")
    with httpx.Client(base_url=site.url, headers=headers, timeout=30) as client:
        for number in range(requests):
            path = _LIST if number % 2 else "/workflows/flows?limit=20"
            client.get(path).raise_for_status()
    print(f"after: {state()}")


def explain(postgres: str) -> None:
    """Which indexes the questions of the list take."""
    some = {
        "the newest": {},
        "of a flow": {"flows": ["full"]},
        "of a status": {"statuses": ["failed"]},
        "of a flow and a status": {"flows": ["full"], "statuses": ["failed"]},
        "of some hours, a month ago": {"since": "now() - interval '30 days'", "until": "now() - interval '29 days'"},
        "the page after": {"before_id": 50_000},
    }
    with psycopg.connect(postgres) as connection:
        for words, wanted in some.items():
            limits = {k: _time(connection, v) if isinstance(v, str) else v for k, v in wanted.items()}
            rows = connection.execute("EXPLAIN " + _Q["find"], _EVERYTHING | limits | {"limit": 50}, prepare=False)
            plan = [line.strip() for (line,) in rows if "Scan" in line]
            print(f"{words}: {'; '.join(plan)}")


def _time(connection: psycopg.Connection[Any], words: str) -> Any:
    row = connection.execute("SELECT " + words).fetchone()  # type: ignore[arg-type]  # our own words
    return row[0] if row else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api_load", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--requests", type=int, default=10_000, help="of the search for leaks")
    wanted = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}; {wanted.runs:,} runs")
    with api_site.folder() as folder, ExitStack() as stack:
        # Our limit is one of 600 requests a minute; 50 a second are 3,000.
        site = stack.enter_context(api_site.running(folder, ORGANISM_API_RATE="100"))
        urls = stack.enter_context(embedded.running(site.state, frozenset({Server.POSTGRES})))
        assert urls.postgres
        with psycopg.connect(urls.postgres, autocommit=True) as connection:
            connection.execute(_FILL, {"runs": wanted.runs})
            connection.execute(_FILL_STEPS, {})
            connection.execute("VACUUM ANALYZE workflow_runs, workflow_steps")
        headers = site.login()
        explain(urls.postgres)
        with bare_server(urls.postgres) as peer:
            compare(site.url, headers, peer, wanted.rate, wanted.seconds, wanted.rounds)
        leaks(site, headers, urls.postgres, wanted.requests)
    return 0


if __name__ == "__main__":
    sys.exit(main())
