"""The story on a terminal: 80 columns, 40 lines, plain where nobody looks."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from pipelines.evidence import RuleRefusal, Status
from pipelines.report import story_terminal
from pipelines.report.story import Note, Story
from pipelines.report.story_telling import Material, tell
from tests.support import stories

PAGE = Path("/var/reports/full.html")
WHOLE = stories.material()
_LONG = "word " * 100


def huge() -> Material:
    """A hundred of everything, each with more words than a line holds."""
    names = {team: f"{team} " + "W" * 90 for team in stories.TEAMS}
    whole = stories.material(names)
    return replace(
        whole,
        findings=[replace(f, id=f"{f.id}{i}", words=_LONG) for i in range(12) for f in whole.findings],
        proposals=[replace(p, id=f"{p.id}{i}", what=_LONG) for i in range(34) for p in whole.proposals],
        refused=[RuleRefusal("BUDGET", _LONG, _LONG)] * 100,
        notes=[Note(_LONG, "python -m pipelines.status")] * 100,
        truths=list(whole.truths) * 20,
    )


MATERIALS = {
    "whole": WHOLE,
    "hostile": stories.material(stories.HOSTILE),
    "huge": huge(),
    "empty": stories.empty(),
    "early": stories.early(),
}


def printed(story: Story, colours: bool = False, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colours, color_system="standard" if colours else None)
    story_terminal.show(story, PAGE, console)
    return out.getvalue()


@pytest.mark.parametrize("name", MATERIALS)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_forty_lines_of_eighty_columns(name: str, width: int) -> None:
    lines = printed(tell(MATERIALS[name]), width=width).rstrip("\n").split("\n")
    assert len(lines) <= 40
    assert max(map(cell_len, lines)) <= 80


def test_the_huge_story_fills_its_lines_and_says_what_it_leaves_out() -> None:
    lines = printed(tell(MATERIALS["huge"])).rstrip("\n").split("\n")
    assert len(lines) > 32
    assert sum("more on the page" in line for line in lines) == 5


def test_every_part_of_a_story_is_told() -> None:
    text = printed(tell(WHOLE))
    for words in (
        "▲▲ Payments: strain index",
        "✓ credible: More hours in meetings",
        "−0.16 (−0.22 to −0.11)",
        "4 of 5 checks held",
        "failed: lead test",
        "pr-7f3a91 Payments: waits for a decision",
        "expected −0.26 (−0.42 to −0.08) short rests a week",
        "Unblocked by: A trial",
        "412 late events",
        "5 of 6 planted truths: 3 found, 2 rightly silent, 1 missed",
        "peak 671 MiB",
        str(PAGE),
    ):
        assert words in text, words


def test_credible_answers_come_first_and_whole() -> None:
    last_first = replace(WHOLE, findings=list(reversed(WHOLE.findings)))
    text = printed(tell(last_first))
    assert text.index("✓ credible") < text.index("…", text.index("why"))


def test_it_is_plain_where_there_is_no_terminal() -> None:
    assert "\x1b" not in printed(tell(WHOLE))
    assert "\x1b[" in printed(tell(WHOLE), colours=True)


def test_names_are_not_read_as_colours_and_cannot_move_the_cursor() -> None:
    text = printed(tell(stories.material({"Payments": "[bold red]x[/] \x1b[2J\x07\u202e\nnext"})))
    assert "[bold red]x" in text
    assert not set(text) & set("\x1b\x07\u202e")


def test_a_first_run_says_that_there_is_nothing_yet() -> None:
    text = printed(tell(stories.empty()))
    assert "This is a first run" in text
    assert "changed" not in text


def test_too_early_says_when_it_will_be_enough_and_proposes_nothing() -> None:
    text = printed(tell(stories.early()))
    assert "enough on 13 Apr 2026" in text
    assert "proposed nothing" in text
    assert "No team has a normal range yet" in text


def test_nothing_unusual_is_said_too() -> None:
    calm = replace(WHOLE, bands=[replace(band, low=-1e6, high=1e6) for band in WHOLE.bands])
    assert "Nothing unusual: all 10 teams are within their own normal range." in printed(tell(calm))


def test_a_suppressed_answer_tells_nothing_but_that() -> None:
    only = replace(WHOLE, findings=[f for f in WHOLE.findings if f.subject == "Legal"])
    story = tell(only)
    assert [f.status for f in story.findings] == [Status.SUPPRESSED]
    assert "not shown" in printed(story)
    assert "stronger" not in printed(story)
