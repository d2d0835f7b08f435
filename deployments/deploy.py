"""Deployments on the Prefect server made equal to prefect.yaml, by `prefect deploy` itself, and only those that differ.

`prefect deploy` deletes the scheduled runs of a deployment and makes them anew, and what starts within five minutes of that
is not seen by automations for a quarter of an hour. So what is as it should be is left alone.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types

from deployments.checks import Check, bad, good
from deployments.manifest import Deployment, Manifest, pool_name
from deployments.rest import Api, Row

_DEPLOY_LIMIT_S = 180


def full_name(its: Deployment) -> str:
    """`flow/deployment`, as the server calls it."""
    return f"{_flow(its).name}/{its.name}"


def differences(its: Deployment, pull: Sequence[Any], found: Row | None) -> list[str]:
    """What differs between prefect.yaml and the server, in words; empty where nothing does.

    Whether a schedule is active is not compared: who paused one had a reason, and `doctor` tells it.
    """
    if found is None:
        return ["not there"]
    wanted, there = _wanted(its, pull), _there(found)
    return [key.replace("_", " ") for key in wanted if wanted[key] != there[key]]


def deploy(api: Api, manifest: Manifest, file: Path, *, everything: bool = False) -> list[Check]:
    """One check for each deployment: created, changed (what), or unchanged. everything: also those that do not differ."""
    before = api.deployments()
    names = {its.name: full_name(its) for its in manifest.deployments}
    found = {its.name: differences(its, manifest.pull, before.get(names[its.name])) for its in manifest.deployments}
    due = [name for name, differs in found.items() if differs or everything]
    if due and (why := _run(file, due)):
        return [bad(f"deploy {name}", why, "python -m deployments check") for name in due]
    after = api.deployments()
    return [_done(its, manifest.pull, found[its.name], its.name in due, after) for its in manifest.deployments]


def _done(its: Deployment, pull: Sequence[Any], differed: list[str], ran: bool, after: Mapping[str, Row]) -> Check:
    name = f"deploy {its.name}"
    if left := differences(its, pull, after.get(full_name(its))):
        return bad(name, f"deployed, and still differs: {', '.join(left)}", "compare the versions of server and client")
    if differed == ["not there"]:
        return good(name, "created")
    words = f"changed: {', '.join(differed)}" if differed else "deployed again" if ran else "unchanged"
    return good(name, words)


def _run(file: Path, names: Sequence[str]) -> str | None:
    """`prefect deploy` for those; None, or why it did not work."""
    with tempfile.TemporaryDirectory() as folder:
        named = [word for name in names for word in ("--name", name)]
        line = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(_file(file, folder))]
        try:
            done = subprocess.run(
                [*line, *named], cwd=file.parent, capture_output=True, text=True, timeout=_DEPLOY_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"prefect deploy did not end within {_DEPLOY_LIMIT_S} s"
    if done.returncode == 0:
        return None
    said = [line.strip(" │╭╰─╮╯") for line in (done.stdout + done.stderr).splitlines()]
    return f"prefect deploy failed: {next((line for line in reversed(said) if line), 'without a word')}"


def _file(file: Path, folder: str) -> Path:
    """The file itself; a copy with the other pool where PREFECT_WORK_POOL_NAME names one: prefect.yaml has no defaults."""
    data = yaml.safe_load(file.read_text("utf-8"))
    if all(its["work_pool"]["name"] == pool_name() for its in data["deployments"]):
        return file
    for its in data["deployments"]:
        its["work_pool"] = {**its["work_pool"], "name": pool_name()}
    copy = Path(folder) / file.name
    copy.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    return copy


# ------------------------------------------------------------------------------------------------ both sides, comparable


def _wanted(its: Deployment, pull: Sequence[Any]) -> dict[str, Any]:
    from prefect.utilities.callables import parameter_schema

    return {
        "entrypoint": its.entrypoint,
        "description": its.description,
        "tags": sorted(its.tags),
        "parameters": its.parameters,
        "parameter_schema": _given(parameter_schema(_flow(its)).model_dump(mode="json")),
        "schedules": sorted((s.slug, s.cron, s.timezone) for s in its.schedules),
        "concurrency_limit": its.concurrency_limit.model_dump(),
        "pool": its.work_pool.name,
        "queue": its.work_pool.work_queue_name,
        "job_variables": its.work_pool.job_variables.model_dump(exclude_unset=True),
        "pull_steps": list(pull),
    }


def _there(found: Row) -> dict[str, Any]:
    schedules = [(s.get("slug"), s["schedule"]) for s in found.get("schedules") or []]
    return {
        "entrypoint": found.get("entrypoint"),
        "description": found.get("description"),
        "tags": sorted(found.get("tags") or []),
        "parameters": found.get("parameters"),
        "parameter_schema": _given(found.get("parameter_openapi_schema") or {}),
        "schedules": sorted((slug or "", s.get("cron") or "", s.get("timezone") or "") for slug, s in schedules),
        "concurrency_limit": _limit(found),
        "pool": found.get("work_pool_name"),
        "queue": found.get("work_queue_name"),
        "job_variables": found.get("job_variables"),
        "pull_steps": found.get("pull_steps"),
    }


def _limit(found: Row) -> dict[str, Any]:
    options = found.get("concurrency_options") or {}
    return {"limit": (found.get("global_concurrency_limit") or {}).get("limit"), **options}


def _given(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty, which one side leaves out."""
    return {key: value for key, value in schema.items() if value}


def _flow(its: Deployment) -> Any:
    module, _, name = its.entrypoint.rpartition(".")
    return getattr(importlib.import_module(module), name)
