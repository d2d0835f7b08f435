"""A message in words: complete, within every limit, and never taken for mark-up."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts import words
from alerts.model import Change, Message, Severity
from tests.support.alerting import NOW, PROBLEM, came_back, message
from tests.support.sinks import wrong_content

NASTY = "<!channel> & <https://evil.example|click> ``` *b* _i_ \n\r\x0b"


@pytest.mark.parametrize("change", Change)
def test_everything_there_is_to_say_is_said(change: Change) -> None:
    text = words.text(message(change))
    for part in (PROBLEM.what, PROBLEM.stale, PROBLEM.works, PROBLEM.lost, PROBLEM.fix, PROBLEM.link or ""):
        assert part in text
    assert "2026-03-02 05:25 UTC" in text  # since
    assert "2026-03-02 05:20 UTC" in text  # the last good run
    assert ("2026-03-02 06:35 UTC" in text) is (change is not Change.RECOVERED)  # the next try


def test_nothing_is_said_where_nothing_is_known() -> None:
    bare = message(stale="", works="", last_good=None, next_try=None, fix="", link=None)
    text = words.text(bare) + words.page(bare) + json.dumps(words.blocks(bare))
    for label in ("stale", "still works", "Last good", "Next try", "command", "Open the run", "None"):
        assert label not in text


@pytest.mark.parametrize(
    ("change", "severity", "state"),
    [
        (Change.OPENED, Severity.CRITICAL, "Critical"),
        (Change.UPDATED, Severity.WARNING, "Warning"),
        (Change.ESCALATED, Severity.CRITICAL, "Escalated"),
        (Change.RECOVERED, Severity.CRITICAL, "Recovered"),
        (Change.TEST, Severity.INFO, "Test"),
    ],
)
def test_the_title_says_the_state(change: Change, severity: Severity, state: str) -> None:
    assert words.title(message(change, severity=severity)) == f"{state}: FLOW_FAILED (incremental)"


def test_what_recovered_says_how_long_it_lasted() -> None:
    assert "after 1 h 5 min" in words.line(message(Change.RECOVERED))
    assert "after 1 h 5 min" in words.text(message(Change.RECOVERED))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (40, "40 s"), (60, "1 min"), (3_900, "1 h 5 min"), (3_605, "1 h"), (97_200, "1 d 3 h"), (-5, "0 s")],
)
def test_a_span_is_said_in_its_two_largest_units(seconds: int, said: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == said


def test_a_line_is_one_line() -> None:
    assert len(words.line(message(what="a\nb\r\nc\u2028d", fix="e\x0bf")).splitlines()) == 1
    assert len(words.subject(message(subject="a\nBcc: x")).splitlines()) == 1


def test_all_mails_of_an_incident_have_one_subject() -> None:
    opened, *later = [words.subject(message(change, severity=Severity.WARNING)) for change in list(Change)[:4]]
    assert {subject.removeprefix("Re: ") for subject in later} == {opened}


# --------------------------------------------------------------------------------------------------------------- Slack


@pytest.mark.parametrize("change", Change)
def test_blocks_are_what_slack_takes(change: Change) -> None:
    told = message(change)
    assert wrong_content({"text": words.notice(told), "blocks": words.blocks(told)}) is None
    assert wrong_content({"text": words.notice(told), "blocks": words.answer(told)}) is None
    kinds = [block["type"] for block in words.blocks(told)]
    assert kinds == ["header", "section", "section", "section", "context"]


#: Escaping makes one character five; half of them are such characters.
LONG = st.text(st.sampled_from("&<>`|x 🔴\n"), max_size=60).map(lambda piece: piece * 400)


@settings(max_examples=60, deadline=None)
@given(LONG, LONG, LONG, LONG)
def test_no_text_is_above_the_limits_of_slack(subject: str, what: str, stale: str, fix: str) -> None:
    told = message(subject=subject, what=what, stale=stale, works=stale, lost=what, fix=fix)
    assert wrong_content({"text": words.notice(told), "blocks": words.blocks(told)}) is None
    assert wrong_content({"text": words.notice(told), "blocks": words.answer(told)}) is None


def test_the_limits_are_those_of_slack() -> None:
    """The control: the same check refuses what was not fitted."""
    one = {"type": "section", "text": {"type": "mrkdwn", "text": "&" * 3_001}}
    assert wrong_content({"text": "x", "blocks": [one]}) == "invalid_blocks"
    assert wrong_content({"text": "x", "blocks": [{"type": "divider"}] * 51}) == "invalid_blocks"
    assert wrong_content({"text": "x" * 40_001}) == "msg_too_long"


def test_mark_up_in_a_text_is_only_text() -> None:
    told = message(subject=NASTY, what=NASTY, stale=NASTY, works=NASTY, lost=NASTY, fix=NASTY)
    marked = [part["text"] for part in _marked(words.blocks(told))] + [words.notice(told)]
    for text in marked:
        assert "<!channel>" not in text
        assert "<https://evil" not in text
    command = next(text for text in marked if "command" in text)
    assert command.count("```") == 2


def _marked(node: object) -> list[dict[str, str]]:
    if isinstance(node, dict):
        return ([node] if node.get("type") == "mrkdwn" else []) + [m for v in node.values() for m in _marked(v)]
    return [m for v in node for m in _marked(v)] if isinstance(node, list) else []


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("&<>abc"), max_size=80), st.integers(1, 40))
def test_what_is_fitted_is_never_cut_inside_of_an_escape(text: str, limit: int) -> None:
    fitted = words.fitted(text, limit, words.escaped)
    assert len(fitted) <= limit
    assert text.startswith(html.unescape(fitted.removesuffix("…")))


# ------------------------------------------------------------------------------------------------------- mail and JSON


def test_a_page_shows_a_text_as_it_is() -> None:
    page = words.page(message(what="<script>x</script>", stale='"><img src=x>', fix="a && b <c>"))
    assert "<script>" not in page
    assert "<img" not in page
    assert "a &amp;&amp; b &lt;c&gt;" in page


def test_a_page_loads_nothing() -> None:
    page = words.page(message())
    assert not any(word in page for word in ("src=", "<link", "<script", "url(", "<img"))


def test_the_json_is_schema_version_1() -> None:
    """Receivers rely on it: fields may be added, and nothing else changed without a new version."""
    shown = words.as_json(message(Change.RECOVERED), NOW)
    assert shown["version"] == words.SCHEMA == 1
    assert set(shown) == {"version", "change", "sent_at", "title", "incident", "problem"}
    assert set(shown["incident"]) == {"id", "key", "count", "opened_at", "seen_at", "escalated_at", "recovered_at"}
    names = {"code", "subject", "severity", "what", "since", "stale", "works", "lost", "last_good", "next_try", "fix"}
    assert set(shown["problem"]) == names | {"link"}
    assert json.loads(json.dumps(shown)) == shown


def test_the_id_of_an_incident_is_the_same_everywhere_and_shows_nothing_of_it() -> None:
    told = message()
    other = replace(told, incident=replace(told.incident, id="incident-2"))
    assert words.reference(told.incident) in words.blocks(told)[-1]["elements"][0]["text"]
    assert words.reference(told.incident) != words.reference(other.incident)
    assert "incident-1" not in words.text(told) + json.dumps(words.as_json(told, NOW))


def test_an_id_that_the_store_made_is_the_one_that_people_see() -> None:
    """They give it to `python -m alerts`."""
    told = message()
    assert words.reference(replace(told.incident, id="0a1b2c3d4e5f")) == "0a1b2c3d4e5f"


def test_the_same_news_has_the_same_delivery_and_other_news_another() -> None:
    told = [message(change) for change in Change]
    assert len({words.delivery(one) for one in told}) == len(Change)
    later = [replace(one, incident=replace(one.incident, seen_at=NOW + timedelta(hours=1))) for one in told]
    same = [words.delivery(one) == words.delivery(two) for one, two in zip(told, later, strict=True)]
    assert same == [change is not Change.TEST for change in Change]
    updated = message(Change.UPDATED)
    assert words.delivery(replace(updated, incident=replace(updated.incident, count=9))) != words.delivery(updated)


def test_an_incident_that_comes_back_and_recovers_again_is_news() -> None:
    """Else a receiver that drops repetitions would drop the second time."""
    assert words.delivery(came_back()) != words.delivery(message())
    first = message(Change.RECOVERED)
    second = replace(first, incident=replace(first.incident, recovered_at=NOW + timedelta(hours=1)))
    assert words.delivery(second) != words.delivery(first)
    assert words.subject(came_back()) == f"Re: {words.subject(message())}"


def test_what_only_happened_is_not_said_to_have_recovered() -> None:
    opened = message()
    happened = replace(opened, incident=replace(opened.incident, recovered_at=NOW))
    assert "ecovered" not in words.text(happened) + words.line(happened)


def test_a_test_is_unmistakable_wherever_it_arrives() -> None:
    from alerts.__main__ import _example

    test = Message(_example(NOW), Change.TEST)
    sent = {
        "log": words.line(test),
        "mail": words.subject(test),
        "body": words.text(test),
        "page": words.page(test),
        "slack": words.notice(test) + str(words.blocks(test)),
        "webhook": str(words.as_json(test, NOW)),
    }
    assert all("TEST" in text for text in sent.values())
    assert not [name for name, text in sent.items() if "FAILED" in text or "fix:" in text]
    assert words.title(test) == "TEST of the alerts, nothing is wrong"
    assert words.as_json(test, NOW)["problem"]["code"] == "TEST"
