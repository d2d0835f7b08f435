"""A small campaign of `python -m tests.chaos`, with its control: everything is killed, nothing is lost or counted twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_LIMIT_S = 300


def test_a_quick_campaign_is_exact_and_its_control_is_not() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--quick", "--seed", "1"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("RESULT EXACT") == done.stdout.count("RESULT WRONG") == 1, done.stdout
