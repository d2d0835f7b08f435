"""The story of a run on a terminal and as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from pipelines.model import Funnel, RunReport
from pipelines.report import figures, funnel

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
GOOD = Funnel(
    read=110, applied=100, duplicates=4, dead_letters=3, late=2, ignored=1, codes={"BAD_JSON": 3, "TOO_LATE": 2}
)
RUN = RunReport(GOOD, NOW, 2.0, 0, 0, False, 5, True)
_HUGE = Funnel(
    read=10**9, applied=10**9 - 5, duplicates=1, dead_letters=1, late=1, ignored=1, vanished=3,
    codes={code: 10**6 + i for i, code in enumerate(("RAW_IDENTIFIER", "FORBIDDEN_CONTENT", "TOO_MANY_TARGETS", "POISON"))},
)  # fmt: skip
WORST = RunReport(_HUGE, NOW, 86_400.0, 10**9, 10**6, True, 5, False)


def lines(report: RunReport, colours: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=colours, color_system="standard" if colours else None)
    funnel.show(report, console)
    return out.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("report", [RUN, WORST, RunReport(Funnel(), NOW, 0.0, 0, 0, False, 0, True)])
def test_it_fits_twenty_lines_of_eighty_columns(report: RunReport) -> None:
    told = lines(report)
    assert len(told) <= 20
    assert max(map(len, told)) <= 80


def test_the_sum_is_shown_and_right() -> None:
    assert "sum      100 + 4 + 3 + 2 + 1 = 110 = read ✓" in lines(RUN)


def test_a_wrong_sum_is_an_alarm_in_red() -> None:
    wrong = replace(RUN, funnel=replace(GOOD, applied=99))
    assert "sum      99 + 4 + 3 + 2 + 1 = 109, not 110: +1" in lines(wrong)
    assert any("\x1b[1;31msum" in line for line in lines(wrong, colours=True))
    assert funnel.as_dict(wrong)["unaccounted"] == 1


def test_alarms_are_red_and_say_what_to_run() -> None:
    told = lines(replace(RUN, lost=7, reset=True), colours=True)
    assert any("\x1b[1;31mLOST" in line and "7 entries were removed" in line for line in told)
    assert any("\x1b[1;31mRESET" in line for line in told)
    assert sum("python -m pipelines." in line for line in told) == 3
    assert not any("31m" in line for line in lines(RUN, colours=True))


def test_reasons_come_the_most_frequent_first_and_name_the_command() -> None:
    assert "codes    BAD_JSON 3, TOO_LATE 2" in lines(RUN)
    assert any("dlq list" in line and "--late" not in line for line in lines(RUN))
    only_late = replace(RUN, funnel=Funnel(read=1, late=1, codes={"TOO_LATE": 1}))
    assert any("dlq list --late" in line for line in lines(only_late))
    assert (
        funnel.codes(_HUGE) == "POISON 1,000,003, TOO_MANY_TARGETS 1,000,002, FORBIDDEN_CONTENT 1,000,001, and 1 more"
    )


def test_the_backlog_has_a_rate_and_an_end() -> None:
    assert funnel.state(replace(RUN, backlog=5_500)) == "backlog 5,500 · 55 entries/s · done in 100 s"
    assert funnel.state(replace(RUN, backlog=9, funnel=Funnel())) == "backlog 9 · 0 entries/s · done in not known"


def test_what_is_little_is_still_seen_in_its_bar() -> None:
    late = next(line for line in lines(WORST) if line.startswith("+ late"))
    assert "▏" in late
    assert "< 0.1 %" in late


def test_the_dictionary_is_json_and_complete() -> None:
    told = funnel.as_dict(replace(WORST, lost=2))
    assert json.loads(json.dumps(told)) == told
    assert told["read"] == 10**9
    assert told["dead_letters"] == 1
    assert told["eta_seconds"] == pytest.approx(86_400)
    assert told["started"] == "2026-03-02T09:30:00+00:00"
    assert told["lost"] == 2


# ------------------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.004, "< 0.01"), (0.012, "0.012"), (0.5, "0.50"), (9.999, "10.0"), (12.34, "12.3"), (99.96, "100"),
     (1234.5, "1,234")],
)  # fmt: skip
def test_amounts_have_three_digits_that_count(value: float, words: str) -> None:
    assert figures.amount(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.04, "0.0"), (9.96, "10"), (345, "345"), (999.6, "1.0k"), (34_000, "34k"), (2e6, "2.0M"), (3e10, "30G")],
)
def test_short_numbers_have_four_characters_at_most(value: float, words: str) -> None:
    assert figures.short(value) == words
    assert len(words) <= 4


@pytest.mark.parametrize(
    ("part", "words"), [(0, "0 %"), (1, "< 0.1 %"), (50_000, "5.0 %"), (999_999, "> 99.9 %"), (1_000_000, "100 %")]
)
def test_a_share_is_all_or_nothing_only_if_it_is_so(part: float, words: str) -> None:
    assert figures.share(part, 1_000_000) == words


def test_durations_and_counts_are_words() -> None:
    assert [figures.duration(s) for s in (0.31, 42, 600, 9_000, 200_000)] == [
        "0.3 s",
        "42 s",
        "10 min",
        "2.5 h",
        "2.3 days",
    ]
    assert [figures.counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
