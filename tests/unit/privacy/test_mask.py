"""What people typed passes the last look, whatever they typed, and what names somebody is not in it any more."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines import log
from pipelines.api.pages.render import page
from pipelines.api.shapes import told
from pipelines.privacy.traces import GONE, check_text, guard, mask
from tests.support.fakes_proposals import NOW

SECRET = "s3cr3t/pässword&co"
HEX = "0123456789abcdef01"
#: What is planted, and what of it must not be read afterwards.
PLANTED = {
    f"p_{HEX}": HEX,
    f"P_{HEX.upper()}": HEX.upper(),
    f"person_x_{HEX}": HEX,
    f"p_%30{HEX[1:]}": HEX[1:],
    f"p_&#48;{HEX[1:]}": HEX[1:],
    f"\\u0070_{HEX}": HEX,
    f"p_0123\u200b{HEX[4:]}": HEX[4:],
    f"p\u00ad_0123\u202e{HEX[4:]}": HEX[4:],
    "anna@example.org": "anna",
    "anna%40example.org": "anna",
    "Anna.B%2540x@Example.ORG": "Anna",
    "100%anna@example.org": "anna",
    "anna&#64;example.org": "anna",
    "anna&#x40;example.org": "anna",
    "anna\\u0040example.org": "anna",
    "anna@exam\u200bple.org": "anna",
    SECRET: "s3cr3t",
    SECRET.upper(): "S3CR3T",
    quote(SECRET): "s3cr3t",
    html.escape(SECRET): "s3cr3t",
    json.dumps(SECRET): "s3cr3t",
    "redis://user:hunter2222@host": "hunter2222",
}
HARMFUL = st.sampled_from(
    ["p_", "X_", HEX, "@", "%40", "&#64;", "&amp;", "\\", "\\u0070", "u0040", "%", ".org", "-", "a"]
)
PIECES = st.one_of(st.text(), st.sampled_from(sorted(PLANTED)), HARMFUL, st.sampled_from([" ", "\u200b", "\n", '"']))
TYPED = st.lists(PIECES, max_size=8).map("".join)


@pytest.mark.parametrize("planted", PLANTED)
def test_what_names_somebody_is_taken_out_and_the_words_around_it_stay(planted: str) -> None:
    masked = mask(f"ticket {planted} of monday", [SECRET])
    assert PLANTED[planted] not in masked
    assert masked.startswith("ticket ") and masked.endswith(" of monday")
    assert GONE in masked


def test_the_redaction_of_the_log_alone_would_leave_some() -> None:
    left = [planted for planted, rest in PLANTED.items() if rest in log.redact(planted)]
    assert len(left) > len(PLANTED) // 3


@given(TYPED)
@settings(max_examples=400, deadline=None)
@example("z\\u0070_" + HEX)
@example("anna@b.co1c@d.org")
def test_what_was_masked_passes_the_last_look_in_every_form_in_which_it_leaves(typed: str) -> None:
    masked = mask(typed, [SECRET])
    for written in (masked, html.escape(masked), json.dumps(masked), json.dumps(masked, ensure_ascii=False)):
        guard(f"<p>{written}</p>", [SECRET])
    assert mask(masked, [SECRET]) == masked


@given(TYPED, st.sampled_from(sorted(PLANTED)), TYPED)
@settings(max_examples=200, deadline=None)
def test_nothing_that_a_word_holds_comes_through_whatever_stands_beside_it(
    before: str, planted: str, after: str
) -> None:
    plain = [planted for planted in ("anna@example.org", f"P_{HEX.upper()}") if planted not in before + after]
    masked = mask(f"{before} {planted} {after}", [SECRET])
    assert planted not in plain or planted not in masked


@given(TYPED, st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_what_is_cut_short_is_as_good(typed: str, most: int) -> None:
    cut = mask(typed, [SECRET], most=most)
    assert len(cut) <= most or cut == GONE
    guard(cut, [SECRET])


def test_what_becomes_a_trace_only_by_the_cut_is_taken_out() -> None:
    typed = "p_" + "a" * 60
    assert check_text(typed) == []  # the control: as long as that it is no pseudonym
    assert mask(typed, most=30) == f"{GONE}…"


@given(TYPED)
@settings(max_examples=60, deadline=None)
def test_a_page_and_an_answer_hold_what_people_typed_and_pass(typed: str) -> None:
    shown = page(
        "told", (SECRET,), visitor=None, now=NOW, here="", refresh=None, refreshes=False, halted=typed, title=typed,
        sentences=[typed, typed], back="/",
    )  # fmt: skip
    guard(shown, [SECRET])
    guard(json.dumps(told({"reason": typed, typed: [typed]}), ensure_ascii=False))


@pytest.mark.parametrize("piece", ["a", "a.", "a@", "://", "x://a:", "%40", "&#64", "\\u", "p_0", " a@b"])
def test_a_text_of_forty_thousand_characters_is_masked_before_anybody_waits(piece: str) -> None:
    """Twice as much for twice as long; a square would be felt by the limit of the test run."""
    assert check_text(mask(piece * (40_000 // len(piece)), most=200)) == []


def test_lines_become_one_and_words_stay_apart() -> None:
    assert mask("first\nsecond\tthird\u200b") == "first second third"
