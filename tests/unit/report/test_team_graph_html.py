"""The page: complete, self-contained, and nothing on it that is not in the team graph."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest

from pipelines.model import Funnel, RunReport, Tie
from pipelines.report import matrix_svg, team_graph, team_graph_html
from pipelines.report.markup import Markup, cut, seen, tag
from pipelines.report.style import STEPS, contrasts
from pipelines.report.team_graph import Amount, Group, TeamGraph
from pipelines.report.team_graph_html import Meaning

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
MEANING = Meaning(timedelta(days=14), (("message", "1, or 1/targets in a group"), ("ticket", "0.5")))
RUN = RunReport(
    Funnel(read=110, applied=100, duplicates=4, dead_letters=3, late=2, ignored=1, codes={"BAD_JSON": 3, "TOO_LATE": 2}),
    NOW, 2.0, 0, 0, False, 0, True,
)  # fmt: skip
_VOID = {"meta"}


def graph(count: int = 3, name: str = "team {}") -> TeamGraph:
    """Teams of 5 to 8, each linked to itself, to its neighbour, and the first to all."""
    groups = tuple(Group(name.format(i), 5 + i % 4) for i in range(count))
    ties = {(i, i): Amount(300.0 + i, 900) for i in range(count)}
    ties |= {(i, i + 1): Amount(12.5 * (i + 1), 70) for i in range(count - 1)}
    ties |= {(0, i): Amount(3.0 + i, 20) for i in range(2, count)}
    return TeamGraph(5, groups, ties, Amount(9, 9), Amount(40, 40), (NOW.date(), NOW.date()))


def render(its: TeamGraph, run: RunReport | None = RUN) -> str:
    return team_graph_html.render(its, MEANING, NOW, run)


class Page(HTMLParser):
    """What a browser would make of it: the elements, and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.elements)


# ------------------------------------------------------------------------------------------------ safe


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style><script>alert(1)</script>",
    "{{7*7}} ${7*7} <!-- -->",
    "\u202eetirw ot yaw gnorw",
    "a\ud800b\x00c",
    "' onmouseover='alert(1)",
    "W" * 64,
    " ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_ever_text(name: str) -> None:
    plain = Page(render(graph(3)))
    page = Page(render(graph(3, name.replace("{", "{{").replace("}", "}}"))))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert [set(attributes) for _, attributes in page.elements] == [set(attributes) for _, attributes in plain.elements]
    assert not re.search("[\u202e\ud800\x00]", page.text)


def test_a_hostile_title_is_only_ever_text() -> None:
    page = team_graph_html.render(graph(), MEANING, NOW, RUN, "</title><script>alert(1)</script>")
    assert Page(page).count("script") == 0


def test_the_page_needs_nothing_from_anywhere() -> None:
    page = render(graph(20))
    assert Page(page).count("script") == Page(page).count("link") == Page(page).count("img") == 0
    assert not re.search(r"url\((?!#)|@import|src=|href=", page)
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_no_id_of_a_person_can_be_on_the_page() -> None:
    people: dict[str, str | None] = {f"p_{i:032x}": f"team {i % 3}" for i in range(30)}
    ties = [Tie(a, b, "message", 1, 0, 1.0, 0, 0) for a, b in combinations(people, 2)]
    built = team_graph.build(people.items(), ties, lambda t: t.strength)
    assert "p_" not in render(built)


# ------------------------------------------------------------------------------------------------ complete


@pytest.mark.parametrize("count", [0, 1, 2, 12, 40, 200])
def test_any_number_of_teams_makes_a_whole_page(count: int) -> None:
    page = Page(render(graph(count) if count else TeamGraph(5)))
    assert page.count("h1") == 1
    assert len(render(graph(count) if count else TeamGraph(5))) < 600_000
    if count:
        assert f"{count:,}" in page.text


def test_nothing_to_show_says_why() -> None:
    text = Page(render(TeamGraph(5))).text
    assert "fewer than 5 people take part in any tie" in text
    assert "What the numbers mean" in text


def test_all_is_hidden_says_that_too() -> None:
    text = Page(render(TeamGraph(5, (Group("a", 5), Group("b", 6)), {}, None, Amount(3, 3)))).text
    assert "No pair of teams has ties of 5 or more people" in text
    assert "Hidden are 100 % of all strength" in text
    assert "How much is hidden is not said" in Page(render(TeamGraph(5, (Group("a", 5),)))).text


def test_only_people_without_a_team_asks_for_the_roster() -> None:
    merged = TeamGraph(5, (Group(team_graph.OTHER, 9, 0),), {(0, 0): Amount(5, 5)}, None, Amount())
    assert "No team of anybody is known yet" in Page(render(merged)).text


def test_every_picture_has_words_and_a_table_of_its_numbers() -> None:
    page = Page(render(graph(3)))
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert len(pictures) == 3
    assert all(picture["role"] == "img" and picture["aria-labelledby"] in ids for picture in pictures)
    assert page.count("table") == 4
    for number in ("300", "12.5", "25.0", "900", "70"):
        assert number in page.text


def test_the_units_the_dates_and_what_is_hidden_are_said() -> None:
    text = Page(render(graph(3))).text
    for words in (
        "Strength 1 is one direct message a moment ago",
        "every 14 days",
        "1, or 1/targets in a group",
        "Interactions from 2 Mar 2026 to 2 Mar 2026",
        "fewer than 5 people",
        "goes to people outside the organisation",
    ):
        assert words in text


def test_the_run_is_told_with_its_sum() -> None:
    text = Page(render(graph(3))).text
    assert "110 entries were read, 110 have one of five fates. They add up" in text
    assert "BAD_JSON" in text
    assert "The run behind it" not in Page(render(graph(3), None)).text


def test_alarms_stand_at_the_top_with_what_to_do() -> None:
    page = Page(render(graph(3), replace(RUN, lost=7, reset=True)))
    alerts = [attributes for _, attributes in page.elements if attributes.get("role") == "alert"]
    assert len(alerts) == 2
    assert page.text.index("7 entries were removed") < page.text.index("Ties within")


def test_the_same_graph_gives_the_same_page() -> None:
    assert render(graph(12)) == render(graph(12))


# ------------------------------------------------------------------------------------------------ legible


def test_numbers_in_squares_can_be_read_in_both_schemes() -> None:
    """WCAG 2: 4.5 to 1 for text of this size."""
    assert min(contrasts()) >= 4.5


@pytest.mark.parametrize(
    ("strengths", "bounds"),
    [
        ([], ()),
        ([7.0], ()),
        ([11.0, 2_062.0], (50, 100, 200, 500, 1_000, 2_000)),
        ([1.0, 10.0], (2, 5, 10)),
        ([0.02, 4_000.0], (0.1, 1, 10, 100, 1_000)),
        ([1e-4, 4_000.0], (0.01, 0.1, 1, 10, 100, 1_000)),
    ],
)
def test_classes_have_round_bounds_and_as_many_as_colours_at_most(
    strengths: list[float], bounds: tuple[float, ...]
) -> None:
    scale = matrix_svg.scale_of(strengths)
    assert scale.bounds == pytest.approx(bounds)
    assert len(scale.classes()) == len(bounds) + 1 <= STEPS


def test_a_stronger_tie_never_has_a_weaker_colour() -> None:
    for bounds in ((), (1.0,), (1.0, 2.0), tuple(map(float, range(1, STEPS)))):
        scale = matrix_svg.Scale(bounds)
        colours = [scale.step(strength) for strength in (0.5, *bounds, 99.0)]
        assert colours == sorted(colours)
        assert set(colours) <= set(range(STEPS))
        assert len(set(colours)) == len(bounds) + 1


def test_long_names_are_cut_and_unseen_characters_go() -> None:
    assert cut("W" * 64, 10) == "W" * 9 + "…"
    assert cut("  ", 10) == "(no name)"
    assert seen("a\u200bb\u202ec\td") == "abcd"
    assert tag("p", "a < b", Markup("<b>"), class_='"') == '<p class="&quot;">a &lt; b<b></p>'


# ------------------------------------------------------------------------------------------------ the file


def test_a_page_is_written_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    team_graph_html.write(path, graph(), MEANING, NOW, RUN)
    assert path.read_text(encoding="utf-8") == render(graph())
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_failed_write_leaves_the_old_page_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        team_graph_html.write(path, graph(), MEANING, NOW, RUN)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]
