"""The page of a full run: complete, self-contained, accessible, and only ever what the story holds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from pipelines.errors import Refused
from pipelines.evidence import CheckResult, Status
from pipelines.report import forest_svg, story_html, story_json, story_terminal
from pipelines.report import story_words as words
from pipelines.report.markup import fit, width
from pipelines.report.story import StepTold, Strain
from pipelines.report.story_style import level_contrasts
from pipelines.report.story_telling import Material, tell
from tests.support import stories
from tests.support.make import person

WHOLE = stories.material()
MATERIALS = {
    "whole": WHOLE,
    "hostile": stories.material(stories.HOSTILE),
    "empty": stories.empty(),
    "early": stories.early(),
}
_VOID = {"meta"}


def render(material: Material = WHOLE) -> str:
    return story_html.render(tell(material), stories.NOW)


class Page(HTMLParser):
    """What a browser would make of it; every element has to be closed in its place."""

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
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


# ------------------------------------------------------------------------------------------------ safe


@pytest.mark.parametrize("name", MATERIALS)
def test_the_page_needs_nothing_from_anywhere_and_runs_nothing(name: str) -> None:
    page = render(MATERIALS[name])
    assert not [
        tag for tag, _ in Page(page).elements if tag in ("script", "link", "img", "iframe", "object", "form", "input")
    ]
    assert not re.search(r"url\((?!#)|@import|\bsrc=|href=\"(?!#)", page)
    assert set(re.findall(r"https?://[^\"' ]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert not [key for _, attributes in Page(page).elements for key in attributes if key.startswith("on")]
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_hostile_names_are_only_ever_text() -> None:
    """The same elements as with harmless names of the same order."""
    hostile = Page(render(MATERIALS["hostile"]))
    assert "<script>alert(1)</script>" in hostile.text
    assert sorted({tag for tag, _ in hostile.elements}) == sorted({tag for tag, _ in Page(render()).elements})
    assert not re.search("[\u202e\u202c\x00]", hostile.text)


def test_what_findings_and_rules_say_is_escaped_too() -> None:
    bad = "<img src=x onerror=alert(1)>"
    finding = replace(WHOLE.findings[0], words=bad, reasons=(bad,), checks=stories._checks()[:1])
    proposal = replace(WHOLE.proposals[1], what=bad, undo=bad, because=bad)
    page = Page(
        render(replace(WHOLE, findings=[finding], proposals=[proposal], truths=[replace(WHOLE.truths[0], planted=bad)]))
    )
    assert page.all("img") == []
    assert page.text.count(bad) >= 5


def test_a_page_with_a_pseudonym_or_a_secret_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "full.html"
    named = tell(stories.material({"Payments": f"team of {person(7)}"}))
    with pytest.raises(Refused, match="LEAK"):
        story_html.write(path, named, stories.NOW)
    with pytest.raises(Refused, match="LEAK"):
        story_html.write(path, tell(WHOLE), stories.NOW, forbidden=["checkout"])
    assert not path.exists()
    story_html.write(path, tell(WHOLE), stories.NOW)
    assert path.read_text("utf-8") == render()


# ------------------------------------------------------------------------------------------------ complete


def test_every_picture_has_words_for_it_and_a_table_of_its_numbers() -> None:
    page = Page(render())
    pictures = page.all("svg")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(pictures) == 6  # map, strain, forest, matrix, steps, events
    assert all(picture["role"] == "img" and picture["aria-labelledby"] in ids for picture in pictures)
    assert len(ids) == len(set(ids))
    assert len(page.all("figure")) == 6
    assert len(page.all("table")) >= 6 + len([f for f in WHOLE.findings if f.checks]) - 1


def test_headings_go_down_one_level_at_a_time_and_sections_are_named() -> None:
    page = Page(render())
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert all(section["aria-labelledby"] in ids for section in page.all("section"))
    assert {link["href"] for link in page.all("a")} == {
        f"#{section['aria-labelledby']}" for section in page.all("section")
    }


def test_each_finding_has_its_sentence_its_interval_its_checks_and_what_its_status_means() -> None:
    text = Page(render()).text
    for finding in tell(WHOLE).findings:
        meaning = words.MEANINGS[finding.status]
        assert finding.words in text
        assert f"{meaning.sign} {meaning.word}" in text
        assert meaning.means in text
        for check in finding.checks:
            assert check.words in text
    assert "−0.16 (−0.22 to −0.11)" in text
    assert "enough on 13 Apr 2026" in text


def test_each_proposal_says_what_would_happen_how_it_is_undone_and_what_stands_in_its_way() -> None:
    text = Page(render()).text
    for proposal in WHOLE.proposals:
        assert proposal.what in text
        assert proposal.undo in text
        for refusal in proposal.refusals:
            assert refusal.words in text
            assert refusal.unblocks in text
    assert "−0.26 (−0.42 to −0.08)" in text


def test_a_number_that_is_not_credible_is_not_shown_in_bold() -> None:
    page = render()
    assert "<b>Short rests −0.16" in page
    assert "<b>Short rests −0.15" not in page
    assert "not to be relied on: Short rests −0.15" in page


def test_nothing_of_a_small_team_but_its_name_is_on_the_page() -> None:
    few = words.few(stories.K)
    page = render()
    assert f"Legal, Strain index: {few}" in page
    assert re.findall(r"Legal, [^<]*\d[^<]*", page.replace(few, "")) == []


def test_a_first_run_makes_a_whole_page() -> None:
    page = Page(render(MATERIALS["empty"]))
    assert "This is a first run" in page.text
    assert len(page.all("h1")) == 1


def test_too_early_has_no_forest_and_no_proposals() -> None:
    page = Page(render(MATERIALS["early"]))
    assert "Nothing is proposed" in page.text
    assert len(page.all("svg")) == 2


@pytest.mark.parametrize("teams", [1, 2, 60, 300])
def test_any_number_of_teams_makes_a_page_that_opens(teams: int) -> None:
    material = stories.material(teams={f"Team {i}": 5 + i % 9 for i in range(teams)}, with_graph=False)
    page = render(material)
    Page(page)
    assert len(page) < 2_500_000


def test_pictures_take_odd_data() -> None:
    gone = replace(WHOLE.findings[0], effect_sd=None)
    zero = replace(WHOLE.findings[1], estimate=replace(WHOLE.findings[1].estimate, effect=0.0))  # type: ignore[type-var]
    assert forest_svg.bar_of(gone) is None
    assert forest_svg.bar_of(zero) is None
    flat = replace(WHOLE, findings=[gone, zero], steps=[StepTold("one", stories.NOW, 0.0)], strain=WHOLE.strain[:1])
    Page(render(flat))
    Page(story_html.render(replace(tell(WHOLE), strain=Strain(tell(WHOLE).strain.weeks, ())), stories.NOW))


def test_a_negative_effect_keeps_its_interval_in_order_on_the_common_scale() -> None:
    estimate = replace(WHOLE.findings[0].estimate, effect=-0.1, ci_low=-0.2, ci_high=-0.05)  # type: ignore[type-var]
    bar = forest_svg.bar_of(replace(WHOLE.findings[0], estimate=estimate, effect_sd=-0.3))
    assert bar == forest_svg.Bar(-0.3, pytest.approx(-0.6), pytest.approx(-0.15))


def test_failed_checks_are_named_and_counted() -> None:
    (finding,) = (f for f in WHOLE.findings if f.status is Status.FEEDBACK_OR_CONFOUNDING)
    assert words.checks(finding) == "3 of 5 checks held, failed: lead test, 1 not run"
    assert {check.result for check in finding.checks} == set(CheckResult)


def test_a_check_that_refutes_nothing_is_a_caution_and_no_failure() -> None:
    finding = next(f for f in WHOLE.findings if f.status is Status.CREDIBLE)
    spill = replace(finding.checks[0], name="spillover", gate=False, result=CheckResult.FAILED)
    said = words.checks(replace(finding, checks=(*finding.checks, spill)))
    assert "checks held, caution: spillover" in said
    assert "failed" not in said


def test_the_page_is_for_its_owner_only(tmp_path: Path) -> None:
    page = tmp_path / "last-run.html"
    page.write_text("of an older version, which everybody could read")
    page.chmod(0o644)
    story_html.write(page, tell(WHOLE), stories.NOW)
    assert page.stat().st_mode & 0o777 == 0o600


# ------------------------------------------------------------------------------------------------ legible


def test_numbers_in_squares_can_be_read_in_both_schemes() -> None:
    """WCAG 2: 4.5 to 1 for text of this size."""
    assert min(level_contrasts()) >= 4.5


def test_levels_and_marks_have_signs_besides_colours() -> None:
    assert len(set(words.LEVEL_SIGNS.values())) == 5
    assert len({(meaning.sign, meaning.word) for meaning in words.MEANINGS.values()}) == len(Status)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "0"),
        (17.84, "17.8"),
        (1234.4, "1,234"),
        (-2.0, "−2"),
        (0.0819, "0.0819"),
        (2.0, "2"),
        (100.0, "100"),
        (1e-9, "0.000"),
    ],
)
def test_numbers_have_three_digits_and_a_real_minus(value: float, told: str) -> None:
    assert words.number(value) == told


def test_wide_names_are_cut_by_how_wide_they_are() -> None:
    assert width(fit("日本語チーム" * 9, 26)) <= 26
    assert width(fit("W" * 90, 26)) <= 26
    assert fit("Payments", 26) == "Payments"


# ------------------------------------------------------------------------------------------------ JSON


@pytest.mark.parametrize("name", MATERIALS)
def test_the_story_as_json_is_strict_json_and_complete(name: str) -> None:
    story = tell(MATERIALS[name])
    document = json.loads(json.dumps(story_json.as_dict(story), allow_nan=False))
    assert len(document["findings"]) == len(story.findings)
    assert len(document["rows"]) == len(story.rows)
    assert document["run"]["k"] == stories.K
    assert set(document) >= {"changes", "strain", "graph", "proposals", "refused", "notes", "truths", "steps", "events"}


def test_an_infinite_interval_is_null_in_json() -> None:
    estimate = replace(WHOLE.findings[0].estimate, ci_high=float("inf"))  # type: ignore[type-var]
    story = tell(replace(WHOLE, findings=[replace(WHOLE.findings[0], estimate=estimate)]))
    assert (
        json.loads(json.dumps(story_json.as_dict(story), allow_nan=False))["findings"][0]["estimate"]["ci_high"] is None
    )
    Page(story_html.render(story, stories.NOW))


def test_neither_json_nor_the_terminal_tells_a_pseudonym_or_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    named = tell(stories.material({"Payments": f"team of {person(7)}"}))
    for forbidden, story in ((), named), (["checkout"], tell(WHOLE)):
        with pytest.raises(Refused, match="LEAK"):
            story_json.text(story, forbidden)
    with pytest.raises(Refused, match="LEAK"):
        story_terminal.show(tell(stories.material({"Payments": person(7)[:20]})))
    assert capsys.readouterr().out == ""
    assert json.loads(story_json.text(tell(WHOLE))) == json.loads(json.dumps(story_json.as_dict(tell(WHOLE))))
