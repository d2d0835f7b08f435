"""Whoever is woken by an alert finds its code in the runbook, and the runbook names no code that cannot come.

Whoever asks what is stored finds every table of runs and alerts on the page about privacy.
"""

from __future__ import annotations

import re
from pathlib import Path

from alerts.model import Code

_ROOT = Path(__file__).parents[2]
_RUNBOOK = _ROOT / "docs" / "runbook.md"


def test_every_alert_code_has_an_entry_of_its_name_and_no_other_has() -> None:
    text = _RUNBOOK.read_text("utf-8")
    entries = re.findall(r"^### ([A-Z_]+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(code.value for code in Code)


def test_no_entry_is_empty() -> None:
    parts = re.split(r"^### [A-Z_]+\n", _RUNBOOK.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert all(len(part.strip()) > 80 for part in parts)


def test_what_is_kept_of_runs_and_alerts_is_on_the_privacy_page() -> None:
    stored = (_ROOT / "docs" / "privacy.md").read_text("utf-8").partition("## What is stored")[2].partition("\n## ")[0]
    made = "\n".join(p.read_text("utf-8") for p in (_ROOT / "pipelines" / "migrations").glob("000[78]_*.sql"))
    tables = re.findall(r"CREATE TABLE (\w+)", made)
    assert {"workflow_runs", "alert_incidents"} <= set(tables)
    wanted = [*tables, "acknowledged_by", "alerts.sqlite", "Prefect's database", "log lines", "backups"]
    assert [words for words in wanted if words not in stored] == []
