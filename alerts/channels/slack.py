"""Slack, in two ways: an incoming webhook, which can only post, and a bot token, which edits and answers its own message.

A proposal that waits is shown so that it can be decided with a button; what a click does is `pipelines.api.slack`.

Neither takes a key against repetitions, so a post whose answer was lost is posted again: twice is better than never.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerts import words
from alerts.channels.http import TIMEOUT, Poster, host_of
from alerts.model import Change, Failed, Message, Waiting

#: The message of the incident cannot be edited or answered any more: somebody deleted it, or the workspace forbids it.
_GONE = frozenset({"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"})
#: Words of Slack about a matter that only a person can mend. What is not listed is tried again, an alert being precious.
_PERMANENT = frozenset(
    {
        "access_denied", "account_inactive", "cannot_reply_to_message", "channel_not_found", "channel_type_not_supported",
        "ekm_access_denied", "enterprise_is_restricted", "invalid_arguments", "invalid_auth", "invalid_blocks",
        "invalid_blocks_format", "invalid_post_type", "is_archived", "messages_tab_disabled", "method_deprecated",
        "missing_scope", "msg_blocks_too_long", "msg_too_long", "no_permission", "no_text", "not_allowed_token_type",
        "not_authed", "not_in_channel", "org_login_required", "restricted_action",
        "restricted_action_non_threadable_channel", "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel", "team_access_not_granted", "token_expired", "token_revoked",
    }
)  # fmt: skip
API = "https://slack.com/api"
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class SlackWebhook:
    """Posts to one channel. What is only an update is not posted: the channel would fill with news that are none.

    buttons: below a proposal that waits; only where somebody listens to them.
    """

    name = "slack"

    def __init__(self, url: str, timeout: float = TIMEOUT, *, buttons: bool = False) -> None:
        self._url, self._buttons = url, buttons
        self._poster = Poster(timeout)

    def send(self, message: Message, now: datetime) -> None:
        """Raises Failed; permanent when the webhook was removed or Slack refuses what is in it."""
        if message.change is Change.UPDATED:
            return
        said = self._poster.post(self._url, json.dumps(_content(message, self._buttons)).encode(), _JSON, now)
        if said.strip() != b"ok":
            raise Failed(f"{host_of(self._url)} answered, but not as Slack does")

    def close(self) -> None:
        self._poster.close()


class _Refused(Exception):
    """Slack's word for why not."""


class SlackBot:
    """One message for each incident, kept up to date, with a thread below it. Its thread reference is `channel:timestamp`.

    Edits come before the answer in the thread: done twice they change nothing, so that a second try is harmless.
    buttons: as for the webhook.
    """

    name = "slack"

    def __init__(
        self, token: str, channel: str, api_url: str = API, timeout: float = TIMEOUT, *, buttons: bool = False
    ) -> None:
        self._token, self._channel, self._api, self._buttons = token, channel, api_url.rstrip("/"), buttons
        self._poster = Poster(timeout)

    def send(self, message: Message, now: datetime) -> str:
        """The message of the incident, as `channel:timestamp`; a new one where the old one is gone.

        Raises:
            Failed: with Slack's own word for it; permanent when a person has to change something in Slack.
        """
        try:
            return self._told(message, now)
        except _Refused as refused:
            word = str(refused)
        raise Failed(f"{host_of(self._api)} said {word}", permanent=word in _PERMANENT | _GONE)

    def close(self) -> None:
        self._poster.close()

    def _told(self, message: Message, now: datetime) -> str:
        if message.thread is not None and message.change is not Change.TEST:
            try:
                return self._continued(message, message.thread, now)
            except _Refused as refused:
                if str(refused) not in _GONE:
                    raise
        said = self._call("chat.postMessage", {"channel": self._channel, **_content(message, self._buttons)}, now)
        return f"{said.get('channel')}:{said.get('ts')}"

    def _continued(self, message: Message, thread: str, now: datetime) -> str:
        channel, _, stamp = thread.rpartition(":")
        self._call("chat.update", {"channel": channel, "ts": stamp, **_content(message, self._buttons)}, now)
        if message.change is not Change.UPDATED:
            reply = {"text": words.notice(message), "blocks": words.answer(message), **_NO_PREVIEWS}
            # An answer in a thread is seen by nobody who was not in it; that it is worse or back is for the whole channel.
            loud = message.change is not Change.RECOVERED
            where = {"channel": channel, "thread_ts": stamp, "reply_broadcast": loud}
            self._call("chat.postMessage", {**where, **reply}, now)
        return thread

    def _call(self, method: str, arguments: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
        headers = {**_JSON, "Authorization": f"Bearer {self._token}"}
        body = self._poster.post(f"{self._api}/{method}", json.dumps(arguments).encode(), headers, now)
        said = _object(body)
        if said is None or not isinstance(said.get("ok"), bool):
            raise Failed(f"{host_of(self._api)} answered, but not as Slack does")
        if not said["ok"]:
            raise _Refused(_word(said.get("error")))
        return said


_NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}


def _content(message: Message, buttons: bool) -> dict[str, Any]:
    if asks := message.incident.problem.asks:
        over = message.change is Change.RECOVERED
        return asking(asks, buttons=buttons and not over, news=message.incident.problem.what if over else "")
    return {"text": words.notice(message), "blocks": words.blocks(message), **_NO_PREVIEWS}


# ------------------------------------------------------------------------------------------------ a proposal that waits


#: What the buttons are called in what Slack sends when one is clicked.
APPROVE, REJECT = "organism.approve", "organism.reject"
#: Slack's limits of a confirm dialogue. The message above it has everything in full.
_CONFIRM_TEXT, _UNDO_TEXT = 300, 130


def asking(its: Waiting, *, buttons: bool, news: str = "") -> dict[str, Any]:
    """A message that shows what exactly will happen and how it is undone. news: what has been decided of it so far.

    Args:
        buttons: only where a signing secret is configured, for without it nobody listens to them. Each asks once more.
    """
    words_of = [f"*Proposal about {told(its.about)}*", f"*What happens:* {told(its.happens)}"]
    words_of.append(f"*To undo it:* {told(its.undo)}")
    if its.expires_at:
        words_of.append(f"*Decide by:* {words.moment(its.expires_at)}")
    blocks: list[dict[str, Any]] = [{"type": "section", "text": _marked("\n".join(words_of))}]
    if news:
        blocks.append({"type": "context", "elements": [_marked(words.fitted(news, 1_000, words.escaped))]})
    if buttons:
        blocks.append({"type": "actions", "block_id": f"organism.{its.id}"[:255], "elements": _buttons(its)})
    link = f"<{words.escaped(its.link)}|Look at the evidence> · " if its.link else ""
    blocks.append({"type": "context", "elements": [_marked(f"{link}{told(its.id)}, version {its.version}")]})
    notice = f"Proposal about {' '.join(its.about.split())}: {' '.join((news or its.happens).split())}"
    return {"text": words.fitted(notice, 1_000, words.escaped), "blocks": blocks, **_NO_PREVIEWS}


def _buttons(its: Waiting) -> list[dict[str, Any]]:
    undo = f"To undo it: {words.fitted(its.undo, _UNDO_TEXT)}"
    above = " (In full in the message.)"
    happens = words.fitted(its.happens, _CONFIRM_TEXT - len(undo) - len(above) - 1)
    approving = f"{happens}{above if happens != its.happens else ''}\n{undo}"
    return [
        _button(its, APPROVE, "Approve", "primary", "Should this happen?", approving),
        _button(
            its,
            REJECT,
            "Reject",
            "danger",
            "Turn it down?",
            "Nothing will happen. A later analysis may propose it anew.",
        ),
    ]


def _button(its: Waiting, action: str, label: str, style: str, title: str, text: str) -> dict[str, Any]:
    said = {"title": title, "text": text, "confirm": label, "deny": "Leave it"}
    asked = {name: {"type": "plain_text", "text": words_} for name, words_ in said.items()}
    shown = {"type": "plain_text", "text": label}
    value = json.dumps({"id": its.id, "version": its.version})
    return {"type": "button", "action_id": action, "text": shown, "style": style, "value": value, "confirm": asked}


def told(text: str) -> str:
    """One line for Slack, escaped."""
    return words.fitted(" ".join(text.split()), 900, words.escaped)


def _marked(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links of its own out of what a text holds.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _word(error: object) -> str:
    """Slack's errors are single words; anything else is not repeated."""
    return error if isinstance(error, str) and error.isidentifier() and len(error) < 60 else "something unreadable"
