from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipelines import check_contract
from pipelines.sources.raw import RawEvent, Unreadable
from tests.support import make
from tests.support.make import NOW


def test_lines_are_judged_as_the_consumer_would() -> None:
    lines = [
        make.event("1"),
        make.event("2", time=NOW - timedelta(days=40)),
        make.event("3", time=NOW + timedelta(minutes=6)),
        make.event("4", actor="anna@corp.example"),
        *[b"{"] * 7,
    ]
    items = [RawEvent(number, line) for number, line in enumerate(lines, start=1)]
    verdicts = check_contract.judge([*items, Unreadable(12, "long")], NOW, timedelta(days=30))
    assert (verdicts.valid, verdicts.late) == (2, 1)
    assert verdicts.refused == {"FROM_FUTURE": 1, "RAW_IDENTIFIER": 1, "BAD_JSON": 8}
    assert verdicts.lines["BAD_JSON"] == [5, 6, 7, 8, 9]


def test_the_exit_code_says_whether_all_are_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(make.event("1") + b"\n")
    bad.write_bytes(make.event("1") + b"\n" + make.event("2", actor="anna@corp.example") + b"\n")
    assert check_contract.main([str(good)]) == 0
    assert check_contract.main([str(bad)]) == 2
    shown = capsys.readouterr().out
    assert "RAW_IDENTIFIER" in shown
    assert "anna" not in shown
