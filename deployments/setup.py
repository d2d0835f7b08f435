"""`python -m deployments setup`: everything that has to be there before the first scheduled run, in one command.

Safe to run again at any time: what is as it should be is left alone, and said to be unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from deployments import automations, deploy, ground, manifest
from deployments.checks import Check, Question, bad, good
from deployments.rest import Api
from pipelines import migrate, postgres, wiring
from pipelines.errors import InvalidInput
from pipelines.settings import Settings

_SCHEDULED_WITHIN_S = 30.0
NO_SERVER = (
    "start one: python -m deployments serve; or set PREFECT_API_URL, and PREFECT_API_AUTH_STRING if it asks for it"
)


def questions(api: Api, config: Settings, file: Path, now: Callable[[], datetime]) -> list[Question]:
    """What to make, in order; each needs what is named."""
    pool, path = manifest.pool_name(), file
    ready = ("prefect.yaml", "versions", "Prefect API")
    return [
        Question("settings", lambda: ground.about_settings(config, strict=False)),
        Question("prefect.yaml", lambda: ground.about_file(path)),
        Question("versions", ground.about_versions),
        Question("package", ground.about_package),
        Question("Prefect API", lambda: ground.about_api(api), NO_SERVER),
        Question("migrations", lambda: migrated(config), "see the server that ORGANISM_POSTGRES_URL names"),
        Question("work pool", lambda: made_pool(api, pool), needs=("Prefect API",)),
        Question("queues", lambda: made_queues(api, pool), needs=("Prefect API", "work pool")),
        Question("deployments", lambda: deployed(api, path), needs=(*ready, "queues")),
        Question("automations", lambda: automated(api, pool), needs=("Prefect API",)),
        Question("schedule", lambda: scheduled(api, path, now), needs=(*ready, "queues", "deployments")),
    ]


def migrated(config: Settings) -> Check:
    """Raises TransientError, PermanentError."""
    with wiring.endpoints(config) as where:
        if not where.postgres.startswith(("postgresql://", "postgres://")):
            raise InvalidInput("ORGANISM_POSTGRES_URL is not a postgresql:// URL")
        with postgres.translated(where.postgres), psycopg.connect(where.postgres, connect_timeout=5) as connection:
            done = migrate.migrate(connection)
    return good("migrations", f"applied: {', '.join(done)}" if done else "unchanged")


def made_pool(api: Api, pool: str) -> Check:
    found = api.pool(pool)
    if found is None:
        from prefect.workers.process import ProcessWorker

        template = ProcessWorker.get_default_base_job_template()
        words = "Runs of the organisation graph, as processes of the worker."
        api.post("/work_pools/", {"name": pool, "type": "process", "description": words, "base_job_template": template})
        return good("work pool", f"created: {pool}, type process")
    if found["type"] != "process":
        fix = "set PREFECT_WORK_POOL_NAME to another name, here and where the worker is started"
        return bad("work pool", f"{pool} is of type {found['type']}, expected process", fix)
    return good("work pool", f"unchanged: {pool}")


def made_queues(api: Api, pool: str) -> Check:
    """The queues by their priorities. One may only have to be behind the other: others in the pool are not ours to order."""
    done: list[str] = []
    for name, (priority, limit) in manifest.QUEUES.items():
        found = api.queues(pool).get(name)
        if found is None:
            wanted = {"name": name, "priority": priority, "concurrency_limit": limit}
            api.post(f"/work_pools/{pool}/queues", wanted)
            done.append(f"{name} made")
        elif found["concurrency_limit"] != limit:
            api.patch(f"/work_pools/{pool}/queues/{name}", {"concurrency_limit": limit})
            done.append(f"limit of {name} changed")
    if not in_order(api.queues(pool)):
        for name, (priority, _) in manifest.QUEUES.items():
            api.patch(f"/work_pools/{pool}/queues/{name}", {"priority": priority})
        done.append("priorities changed")
    return good("queues", f"changed: {', '.join(done)}" if done else f"unchanged: {', '.join(manifest.QUEUES)}")


def in_order(queues: dict[str, Any]) -> bool:
    """Whether ours are served in the order in which we name them."""
    there = [queues[name]["priority"] for name in manifest.QUEUES if name in queues]
    return there == sorted(there)


def deployed(api: Api, file: Path) -> list[Check]:
    return deploy.deploy(api, manifest.load(file), file)


def automated(api: Api, pool: str) -> list[Check]:
    told = automations.blocks(ground.webhooks())
    ids = [block for block, _ in told]
    return [check for _, check in told] + automations.install(api, automations.shipped(pool, ids))


def scheduled(api: Api, file: Path, now: Callable[[], datetime]) -> Check:
    """Whether the server really creates runs: with a wrong sqlalchemy everything looks right and none ever appears."""
    wanted = [deploy.full_name(its) for its in manifest.load(file).deployments if its.schedules]
    until = time.monotonic() + _SCHEDULED_WITHIN_S
    while missing := _without_runs(api, wanted, now()):
        if time.monotonic() > until:
            seen = f"no run within {_SCHEDULED_WITHIN_S:g} s: {', '.join(missing)}"
            return bad(
                "schedule", seen, "paused? see the Prefect UI; else the server's log and its sqlalchemy (below 2.1)"
            )
        time.sleep(0.5)
    return good("schedule", "the server has scheduled the next runs of all that have a schedule")


def _without_runs(api: Api, wanted: list[str], now: datetime) -> list[str]:
    there = api.deployments()
    return [name for name in wanted if name not in there or not api.runs(there[name]["id"], "SCHEDULED", after=now)]
