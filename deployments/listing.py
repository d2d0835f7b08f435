"""Checks and deployments as tables of at most 80 columns, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from deployments.checks import Check
from pipelines.log import redact

_WIDTH, _NAME = 80, 19
_ON_DEMAND = "none"
_SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}


def show(check: Check, console: Console) -> None:
    """One check, under the one before: a sign, its name, what was seen; below it, what to do."""
    sign, colour = _SIGNS[check.ok]
    if check.ok and check.fix:
        sign, colour = "!", "yellow"
    seen, *more = _wrapped(check.seen)
    head = Text.assemble("  ", (sign, colour), f" {check.name:<{_NAME}}")
    if len(check.name) >= _NAME:  # it would run into what stands beside it
        console.print(head)
        head = Text(" " * (_NAME + 4))
    console.print(head.append(seen, "dim" if check.ok is None else ""))
    for line in more:
        console.print(" " * (_NAME + 4) + line, markup=False)
    for i, line in enumerate(_wrapped(check.fix, 2) if check.fix else ()):
        console.print(Text(" " * (_NAME + 4) + ("→ " if i == 0 else "  ") + line, "bold" if check.ok is False else ""))


def _wrapped(words: str, indent: int = 0) -> list[str]:
    width = _WIDTH - _NAME - 4 - indent
    lines = textwrap.wrap(redact(words), width, break_on_hyphens=False, break_long_words=False)
    return lines or [""]


def verdict(checks: Sequence[Check]) -> str:
    """One line: how many are good, which are not."""
    wrong = [check.name for check in checks if check.ok is False]
    unasked = sum(check.ok is None for check in checks)
    if not wrong and not unasked:
        return f"all {len(checks)} good"
    return f"{len(wrong)} of {len(checks)} wrong: {', '.join(wrong)}" + (f"; {unasked} not asked" if unasked else "")


def as_json(checks: Sequence[Check]) -> str:
    """`{"ok": ..., "checks": [{"name", "ok", "seen", "fix"}]}`; ok is null for what was not asked."""
    told = [
        {key: redact(value) if isinstance(value, str) else value for key, value in asdict(c).items()} for c in checks
    ]
    return json.dumps({"ok": all(c.ok for c in checks), "checks": told}, indent=2)


def console() -> Console:
    return Console(highlight=False, soft_wrap=True)


# ------------------------------------------------------------------------------------------------ python -m deployments list


def rows(deployments: Mapping[str, Mapping[str, Any]], next_runs: Mapping[str, datetime]) -> list[dict[str, Any]]:
    """What `list` shows: one row per deployment (`flow/name`), in alphabetical order."""
    return [_row(name, deployments[name], next_runs.get(name)) for name in sorted(deployments)]


def _row(name: str, its: Mapping[str, Any], next_run: datetime | None) -> dict[str, Any]:
    limit = its.get("global_concurrency_limit") or {}
    strategy = (its.get("concurrency_options") or {}).get("collision_strategy")
    schedules = its.get("schedules") or []
    paused = its.get("paused") or (schedules and not any(s["active"] for s in schedules))
    return {
        "deployment": name,
        "schedule": ", ".join(_words(s["schedule"]) for s in schedules) or _ON_DEMAND,
        "active": not paused,
        "queue": its.get("work_queue_name"),
        "pool": its.get("work_pool_name"),
        "limit": f"{limit.get('limit', 'none')}" + (f" {strategy}" if strategy else ""),
        "next_run": next_run.isoformat(timespec="seconds") if next_run else None,
    }


def _words(schedule: Mapping[str, Any]) -> str:
    zone = schedule.get("timezone") or "UTC"
    return f"{schedule['cron']} {zone}" if schedule.get("cron") else f"every {schedule.get('interval', '?')} s {zone}"


def show_rows(table: Sequence[Mapping[str, Any]], console: Console, now: datetime) -> None:
    console.print(Text(f"{'deployment':<25}{'schedule':<22}{'queue':<17}next run", "dim"))
    for row in table:
        soon = _soon(row, now) if row["active"] else "paused"
        line = f"{_short(row['deployment']):<25}{row['schedule']:<22}{row['queue'] or '-':<17}{soon}"
        console.print(line, markup=False, style=None if row["active"] else "yellow")


def _short(name: str) -> str:
    """`flow/deployment`; without the flow where the line would grow too long."""
    return name if len(name) < 25 else f"…/{name.rpartition('/')[2]}"


def _soon(row: Mapping[str, Any], now: datetime) -> str:
    asked = row["schedule"] == _ON_DEMAND and row["next_run"] is None
    return "when asked" if asked else _until(row["next_run"], now)


def _until(when: str | None, now: datetime) -> str:
    if when is None:
        return "none scheduled"
    minutes = (datetime.fromisoformat(when) - now).total_seconds() / 60
    if minutes < 0:
        return f"late by {-minutes:.0f} min"
    return f"in {minutes:.0f} min" if minutes < 120 else f"in {minutes / 60:.0f} h"
