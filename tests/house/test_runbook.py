"""Whoever is woken by an alert finds its code in the runbook, and the runbook names no code that cannot come."""

from __future__ import annotations

import re
from pathlib import Path

from alerts.model import Code

_RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


def test_every_alert_code_has_an_entry_of_its_name_and_no_other_has() -> None:
    text = _RUNBOOK.read_text("utf-8")
    entries = re.findall(r"^### ([A-Z_]+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(code.value for code in Code)


def test_no_entry_is_empty() -> None:
    parts = re.split(r"^### [A-Z_]+\n", _RUNBOOK.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert all(len(part.strip()) > 80 for part in parts)
