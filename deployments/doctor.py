"""`python -m deployments doctor`: every store, the Prefect server, its pool, workers, schedules and slots, and all clocks.

Asks and changes nothing. What hangs is reported after some seconds, and what stands on something that failed is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from deployments import automations, deploy, ground, manifest, stores
from deployments.checks import Check, Question, bad, good
from deployments.rest import Api, Row
from deployments.setup import NO_SERVER, in_order
from pipelines.settings import Settings
from pipelines.wiring import Endpoints

#: Prefect's Date header is in whole seconds, and leases of a writer are 60 s: more than this is worth an alarm.
MOST_SKEW = timedelta(seconds=10)
_LATE = timedelta(minutes=15)
_AGAIN = "python -m deployments setup"


@dataclass(frozen=True)
class Around:
    """What is examined. now: this machine's clock, asked again for each comparison."""

    api: Api
    where: Endpoints
    config: Settings
    file: Path
    now: Callable[[], datetime]

    @property
    def pool(self) -> str:
        return manifest.pool_name()


def questions(its: Around) -> list[Question]:
    """In the order in which one stands on the other."""
    api, where, server = its.api, its.where, ("Prefect API",)
    return [
        Question("settings", lambda: ground.about_settings(its.config)),
        Question("prefect.yaml", lambda: ground.about_file(its.file)),
        Question("versions", ground.about_versions),
        Question("package", ground.about_package),
        Question("Redis", lambda: stores.about_redis(where.redis), "see ORGANISM_REDIS_URL"),
        *_second_redis(where),
        Question("graph", lambda: stores.about_graph(where), "see ORGANISM_GRAPH_URL and ORGANISM_GRAPH_PASSWORD"),
        Question("PostgreSQL", lambda: stores.about_postgres(where.postgres), "see ORGANISM_POSTGRES_URL"),
        Question("migrations", lambda: stores.about_migrations(where.postgres), needs=("PostgreSQL",)),
        Question("Prefect API", lambda: ground.about_api(api), NO_SERVER),
        Question("server", lambda: about_server(api.settings()), needs=server),
        Question("work pool", lambda: about_pool(api, its.pool), needs=server),
        Question("queues", lambda: about_queues(api, its.pool), needs=(*server, "work pool")),
        Question("workers", lambda: about_workers(api, its.pool), needs=(*server, "work pool")),
        Question("deployments", lambda: about_deployments(api, its.file), needs=("prefect.yaml", *server)),
        Question("schedule", lambda: about_schedule(api, its.file, its.now()), needs=("prefect.yaml", *server)),
        Question("automations", lambda: automations.examine(api, its.pool), needs=server),
        Question("slots", lambda: about_slots(api), needs=server),
        *_clocks(its),
    ]


def _second_redis(where: Endpoints) -> list[Question]:
    if where.cache == where.redis:
        return []
    ask = lambda: stores.about_redis(where.cache, "cache", keeps_stream=False)  # noqa: E731
    return [Question("cache", ask, "see ORGANISM_CACHE_URL")]


def _clocks(its: Around) -> list[Question]:
    asked: Mapping[str, Callable[[], datetime]] = {
        "Redis": lambda: stores.redis_clock(its.where.redis),
        "PostgreSQL": lambda: stores.postgres_clock(its.where.postgres),
        "Prefect API": its.api.clock,
    }
    return [
        Question(f"clock {name.split()[0]}", lambda n=name, a=ask: about_clock(n.split()[0], a, its.now), needs=(name,))  # type: ignore[misc]
        for name, ask in asked.items()
    ]


# ------------------------------------------------------------------------------------------------ the server itself


def about_server(told: Row) -> list[Check]:
    """What its own settings say that would show only after a crash, or after months."""
    its = told.get("server") or {}
    storage = (its.get("concurrency") or {}).get("lease_storage") or "not shown"
    enabled = ((its.get("services") or {}).get("db_vacuum") or {}).get("enabled")
    return [_leases(storage), _retention(enabled), _database(its.get("database") or {})]


def _leases(storage: str) -> Check:
    if storage.endswith(".memory"):
        return bad(
            "slot leases",
            "in memory: after a restart of the server the slots of killed runs are taken for ever",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem for one server"
            " process, prefect_redis.lease_storage for several; then restart it",
        )
    return good("slot leases", f"kept by {storage.rpartition('.lease_storage.')[2] or storage}")


def _retention(enabled: object) -> Check:
    if isinstance(enabled, list) and "flow_runs" in enabled:
        return good("retention", "old runs and events are deleted")
    advice = (
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs on the server: runs are kept for ever otherwise"
    )
    return good("retention", "runs are never deleted", advice)


def _database(its: Row) -> Check:
    url, driver = its.get("connection_url"), its.get("driver") or ""
    if url is None and "postgresql" not in driver:
        return good("server database", "SQLite", "good for a trial; unattended it locks up: give the server PostgreSQL")
    return good("server database", "its own, by URL" if url else driver)


def about_pool(api: Api, pool: str) -> Check:
    found = api.pool(pool)
    if found is None:
        others = ", ".join(api.pools()) or "none"
        return bad("work pool", f"there is no pool {pool}; there are: {others}", f"{_AGAIN}, or PREFECT_WORK_POOL_NAME")
    if found["type"] != "process":
        return bad("work pool", f"{pool} is of type {found['type']}, expected process", "PREFECT_WORK_POOL_NAME")
    if found["is_paused"]:
        return bad("work pool", f"{pool} is paused: nothing is started", f"prefect work-pool resume {pool}")
    return good("work pool", f"{pool}, type process")


def about_queues(api: Api, pool: str) -> Check:
    there = api.queues(pool)
    if missing := [name for name in manifest.QUEUES if name not in there]:
        return bad("queues", f"there is no {', '.join(missing)}", _AGAIN)
    if paused := [name for name in manifest.QUEUES if there[name]["is_paused"]]:
        fix = f"prefect work-queue resume {paused[0]} --pool {pool}"
        return bad("queues", f"paused: {', '.join(paused)}", fix)
    if not in_order(there):
        return bad("queues", "the heavy queue is served first: short runs would wait for long ones", _AGAIN)
    return good("queues", ", ".join(manifest.QUEUES))


def about_workers(api: Api, pool: str) -> Check:
    found = api.workers(pool)
    online = [row["name"] for row in found if row["status"] == "ONLINE"]
    if online:
        return good("workers", f"{len(online)} online: {', '.join(sorted(online))}")
    seen = max((row["last_heartbeat_time"] for row in found if row.get("last_heartbeat_time")), default=None)
    last = f"; the last one was seen at {seen[:16].replace('T', ' ')} UTC" if seen else ""
    return bad("workers", f"none online in {pool}{last}", "start one: python -m deployments.worker")


# ------------------------------------------------------------------------------------------------ what should run


def about_deployments(api: Api, file: Path) -> list[Check]:
    its, there = manifest.load(file), api.deployments()
    return [_deployment(one, its.pull, there.get(deploy.full_name(one))) for one in its.deployments]


def _deployment(its: manifest.Deployment, pull: list[dict[str, dict[str, object]]], found: Row | None) -> Check:
    name = f"deploy {its.name}"
    if differs := deploy.differences(its, pull, found):
        words = "not deployed" if found is None else f"not as in prefect.yaml: {', '.join(differs)}"
        return bad(name, words, "python -m deployments deploy")
    assert found is not None
    if found["paused"] or not all(schedule["active"] for schedule in found["schedules"]):
        return bad(
            name, "its schedule is paused", "resume it in the Prefect UI, or: python -m deployments deploy --all"
        )
    return good(name, f"as in prefect.yaml, in {found['work_queue_name']}")


def about_schedule(api: Api, file: Path, now: datetime) -> Check:
    """Runs that the server has created for the future, and none that has waited for long."""
    there = api.deployments()
    wanted = [deploy.full_name(its) for its in manifest.load(file).deployments if its.schedules]
    rows = [there[name] for name in wanted if name in there]
    runs = {row["name"]: api.runs(row["id"], "SCHEDULED") for row in rows}
    if not rows:
        return bad("schedule", "nothing is deployed", _AGAIN)
    if late := [f"{name} by {_minutes(now, found)} min" for name, found in runs.items() if _is_late(now, found)]:
        return bad(
            "schedule", f"late: {', '.join(late)}", "see workers and queues; a run that is too long holds the slot"
        )
    if empty := [name for name, found in runs.items() if not any(_at(run) > now for run in found)]:
        fix = "resume a paused schedule; else read the server's log, and see that its sqlalchemy is below 2.1"
        return bad("schedule", f"the server has created no run of {', '.join(empty)}", fix)
    return good("schedule", f"next: {_next_runs(runs, now)}")


def _next_runs(runs: Mapping[str, list[Row]], now: datetime) -> str:
    soon = {name: min(_at(run) for run in found if _at(run) > now) for name, found in runs.items()}
    return ", ".join(f"{name} {at:%H:%M}" for name, at in sorted(soon.items(), key=lambda pair: pair[1])) + " UTC"


def _is_late(now: datetime, runs: list[Row]) -> bool:
    return any(now - _at(run) > _LATE for run in runs)


def _minutes(now: datetime, runs: list[Row]) -> int:
    return int((now - min(map(_at, runs))).total_seconds() / 60)


def _at(run: Row) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def about_slots(api: Api) -> Check:
    """Slots of deployments that no run holds. Live runs are asked before and after: one may begin or end meanwhile."""
    rows = api.deployments()
    before = {name: _live(api, row) for name, row in rows.items()}
    held = {name: _slots(row) for name, row in api.deployments().items()}
    leaked = {
        name: slots
        for name, slots in held.items()
        if name in rows and slots > len(before[name] | (_live(api, rows[name]) if slots else set()))
    }
    if not leaked:
        return good("slots", f"{sum(held.values())} in use, each by a live run")
    named = ", ".join(f"{name} ({slots:g})" for name, slots in leaked.items())
    fix = "freed by the server within 5 minutes if leases are kept; else set the run that died to Crashed in the Prefect UI"
    return bad("slots", f"held by no live run: {named}; new runs are refused", fix)


def _slots(row: Row) -> int:
    return int((row.get("global_concurrency_limit") or {}).get("active_slots", 0))


def _live(api: Api, row: Row) -> set[str]:
    if not row.get("global_concurrency_limit"):
        return set()
    return {run["id"] for run in api.runs(row["id"], "PENDING", "RUNNING", "CANCELLING")}


# ------------------------------------------------------------------------------------------------ clocks


def about_clock(whose: str, ask: Callable[[], datetime], now: Callable[[], datetime]) -> Check:
    before = now()
    theirs = ask()
    skew = theirs - (before + (now() - before) / 2)
    name, seconds = f"clock {whose}", skew.total_seconds()
    if abs(skew) > MOST_SKEW:
        words = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine"
        return bad(name, words, "keep both in time (chrony, systemd-timesyncd): windows and leases are wrong otherwise")
    return good(name, f"within {max(1, abs(seconds)):.0f} s of this machine")
