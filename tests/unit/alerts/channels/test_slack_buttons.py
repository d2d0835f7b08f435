"""A proposal in Slack: all of it above the buttons, what will happen once more behind each, and nothing that is markup."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.channels.slack import APPROVE, REJECT, SlackBot, SlackWebhook, asking
from alerts.model import Change, Code, Message, Severity, Waiting
from tests.support import alerting

LONG = "For 8 weeks, every Wednesday, one appointment is put into the calendar. " * 6
ITS = Waiting(
    "0ad28098b3bb7a67", 3, "team-a", LONG, "The series is deleted. " * 9, datetime(2026, 3, 3, 12, tzinfo=UTC)
)
SHORT = Waiting("0ad28098b3bb7a67", 3, "team-a", "One appointment is made.", "It is deleted.")


def buttons_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for block in said["blocks"] if block["type"] == "actions" for each in block["elements"]]


def test_the_message_has_all_of_it_and_each_button_the_id_and_the_version() -> None:
    said = asking(ITS, buttons=True)
    text = said["blocks"][0]["text"]["text"]
    assert LONG.strip() in text
    assert ITS.undo.strip() in text
    assert "2026-03-03 12:00 UTC" in text
    approve, reject = buttons_of(said)
    assert (approve["action_id"], reject["action_id"]) == (APPROVE, REJECT)
    assert json.loads(approve["value"]) == {"id": ITS.id, "version": 3}


def test_an_approval_asks_once_more_with_what_happens_and_how_it_is_undone() -> None:
    approve, _ = buttons_of(asking(SHORT, buttons=True))
    assert approve["confirm"]["text"]["text"] == "One appointment is made.\nTo undo it: It is deleted."


def test_what_does_not_fit_behind_a_button_says_where_the_rest_is() -> None:
    approve, _ = buttons_of(asking(ITS, buttons=True))
    told = approve["confirm"]["text"]["text"]
    assert len(told) <= 300
    assert "In full in the message" in told
    assert "To undo it: The series is deleted." in told


@pytest.mark.parametrize("its", [ITS, SHORT])
def test_slack_takes_it(its: Waiting) -> None:
    """Limits of the Block Kit reference; what is above one is refused as a whole."""
    said = asking(its, buttons=True, news="Approve by anna. " * 100)
    for button in buttons_of(said):
        limits = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
        assert {name: len(button["confirm"][name]["text"]) <= most for name, most in limits.items()} == dict.fromkeys(
            limits, True
        )
        assert len(button["value"]) <= 2000
    texts = [block["text"]["text"] for block in said["blocks"] if "text" in block]
    assert all(len(text) <= 3000 for text in texts)


def test_without_a_signing_secret_there_are_no_buttons_that_nobody_listens_to() -> None:
    assert buttons_of(asking(ITS, buttons=False)) == []


def test_nothing_in_it_is_markup_for_slack() -> None:
    evil = "<!channel> <https://evil.example|click> & *bold*\nnext"
    said = asking(Waiting(evil, 1, evil, evil, evil), buttons=True, news=evil)
    shown = [b["text"]["text"] for b in said["blocks"] if "text" in b]
    shown += [e["text"] for b in said["blocks"] if b["type"] == "context" for e in b["elements"]]
    assert not any("<!channel>" in text or "<https" in text for text in [*shown, said["text"]])


def test_the_page_with_the_evidence_is_linked_if_it_is_known() -> None:
    linked = Waiting("a", 1, "team-a", "x", "y", link="https://organism.example/proposals/a")
    assert "<https://organism.example/proposals/a|" in json.dumps(asking(linked, buttons=True))


# ------------------------------------------------------------------------------------------------ as a channel sends it


class Post:
    """In place of the network; remembers what was sent, and answers as Slack does."""

    def __init__(self, channel: SlackBot | SlackWebhook) -> None:
        self.sent: list[dict[str, Any]] = []
        self._answer = b'{"ok": true, "channel": "C1", "ts": "1.2"}' if isinstance(channel, SlackBot) else b"ok"
        channel._poster.close()
        channel._poster = self  # type: ignore[assignment]

    def post(self, url: str, body: bytes, headers: object, now: datetime) -> bytes:
        self.sent.append(json.loads(body))
        return self._answer


def question(change: Change = Change.OPENED, thread: str | None = None, **changes: Any) -> Message:
    its = {
        "code": Code.PROPOSAL_WAITING,
        "severity": Severity.INFO,
        "asks": SHORT,
        "what": "It is approved.",
        **changes,
    }
    return alerting.message(change, thread, **its)


@pytest.mark.parametrize("buttons", [True, False])
def test_a_question_is_sent_as_a_proposal_with_buttons_only_where_somebody_listens(buttons: bool) -> None:
    for channel in (SlackBot("xoxb", "C1", buttons=buttons), SlackWebhook("https://hooks.example", buttons=buttons)):
        post = Post(channel)
        channel.send(question(), alerting.NOW)
        (said,) = post.sent
        assert said["blocks"] == asking(SHORT, buttons=buttons)["blocks"]
        assert len(buttons_of(said)) == (2 if buttons else 0)


def test_when_it_is_over_the_message_itself_loses_its_buttons_and_says_why() -> None:
    channel = SlackBot("xoxb", "C1", buttons=True)
    post = Post(channel)
    channel.send(question(Change.RECOVERED, "C1:1.2"), alerting.NOW)
    edit, answer = post.sent
    assert (edit["ts"], buttons_of(edit)) == ("1.2", [])
    assert "It is approved." in json.dumps(edit["blocks"])
    assert answer["thread_ts"] == "1.2" and answer["reply_broadcast"] is False


def test_what_may_not_be_shown_any_more_is_gone_from_the_message() -> None:
    channel = SlackBot("xoxb", "C1", buttons=True)
    post = Post(channel)
    channel.send(question(Change.RECOVERED, "C1:1.2", asks=None), alerting.NOW)
    assert SHORT.about not in json.dumps(post.sent) and SHORT.happens not in json.dumps(post.sent)
