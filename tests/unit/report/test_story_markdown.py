"""The story as markdown: the same content, and free text that cannot become markup."""

from __future__ import annotations

from dataclasses import replace

from pipelines.privacy.traces import check_text
from pipelines.report import story_markdown
from pipelines.report.story import Note
from pipelines.report.story_telling import tell
from tests.support import stories


def test_it_tells_what_changed_why_what_is_proposed_and_what_is_missing() -> None:
    text = story_markdown.text(tell(stories.material()))
    for title in ("## What changed", "## Why", "## What is proposed", "## What is missing"):
        assert title in text


def test_a_first_run_says_so_and_has_no_empty_parts() -> None:
    text = story_markdown.text(tell(stories.empty()))
    assert "first run" in text
    assert "##" not in text


def test_signs_of_markdown_in_free_text_stay_signs() -> None:
    hostile = replace(tell(stories.material()), notes=(Note("[x](http://evil) <b> | `a`"),))
    text = story_markdown.text(hostile)
    assert r"\[x\](http://evil) \<b\> \| \`a\`" in text
    assert "[x](http" not in text.replace("\\[", "").replace("\\]", "")


def test_no_person_is_in_it() -> None:
    assert check_text(story_markdown.text(tell(stories.material()))) == []


def test_each_step_is_a_row_with_what_it_counted() -> None:
    story = tell(stories.material())
    rows = story_markdown.steps(story)
    assert [row["step"] for row in rows] == [step.name for step in story.steps]
    assert all(set(row) == {"step", "outcome", "seconds", "peak MiB", "counted"} for row in rows)
