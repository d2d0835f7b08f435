"""Clicks on the buttons that Slack shows under a proposal: by somebody whom we know, decided by the rules of every decision.

Slack waits three seconds for an answer, so a click that is really Slack's is answered at once; what came of it replaces the
message, or is told to the one who clicked. What a click is not: proof of who did it beyond Slack's word for its user.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.responses import Response

from alerts.channels import slack as buttons
from alerts.channels.http import Poster
from alerts.model import Failed
from alerts.settings import AlertSettings, slack_names
from pipelines import wiring_watch
from pipelines.access.principals import Principal, Role, User
from pipelines.api import decisions
from pipelines.api.decisions import Wanted
from pipelines.api.desk import Desk, desk
from pipelines.api.pages import proposals
from pipelines.api.problems import Problem
from pipelines.api.security import Note, asks, take
from pipelines.errors import InvalidInput, OrganismError, Refused
from pipelines.evidence import State
from pipelines.interventions.proposal import Choice, Proposal
from pipelines.jobs import deciding, proposal_words
from pipelines.jobs.recording import sentence

_log = logging.getLogger(__name__)
PATH = "/slack/interactive"
#: As Slack recommends: https://docs.slack.dev/authentication/verifying-requests-from-slack
_FRESH = timedelta(minutes=5)
_CHOICES = {buttons.APPROVE: Choice.APPROVE, buttons.REJECT: Choice.REJECT}
#: Where Slack takes answers. What the request names is posted to, so anything else is refused.
_SLACK = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
_TIMEOUT_S = 5.0
_JSON = {"Content-Type": "application/json; charset=utf-8"}


# ------------------------------------------------------------------------------------------------ is it Slack


def why_not_slack(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Why this request is not from Slack, or not from now; empty if it is. As slow wherever they differ."""
    stamp = headers.get("x-slack-request-timestamp", "")
    signature = headers.get("x-slack-signature", "")
    expected = "v0=" + hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
        return "the signature is not Slack's; is SLACK_SIGNING_SECRET that of this app?"
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return "its time is no time"
    if abs(datetime.fromtimestamp(int(stamp), UTC) - now) > _FRESH:
        return "it is too old; is the clock of this machine right?"
    return ""


class Seen:
    """Signatures that were taken up, for as long as their time would let them in again. Of this process: what a replay in
    another one wants is decided already, and the rules say so.
    """

    def __init__(self) -> None:
        self._until: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def before(self, signature: str, now: datetime) -> bool:
        """Whether it was; from now on it was."""
        with self._lock:
            self._until = {known: until for known, until in self._until.items() if until > now}
            known = signature in self._until
            self._until[signature] = now + 2 * _FRESH  # a clock may be ahead of ours by as much
            return known


# ------------------------------------------------------------------------------------------------ what is wanted


@dataclass(frozen=True, slots=True)
class Click:
    """user: Slack's id of it. answer_to: where Slack takes what is to be shown."""

    user: str
    wanted: Wanted
    answer_to: str


def clicked(body: bytes) -> Click | None:
    """None for what is no click on a button of ours, such as a link that was followed.

    Raises:
        ValueError: it is nothing that Slack sends.
    """
    payload = json.loads(parse_qs(body.decode(), max_num_fields=10)["payload"][0])
    ours = [action for action in payload.get("actions", ()) if action.get("action_id") in _CHOICES]
    if payload.get("type") != "block_actions" or not ours:
        return None
    value = json.loads(ours[0]["value"])
    id_, version = value["id"], value["version"]
    if not (isinstance(id_, str) and isinstance(version, int)):
        raise ValueError("a button of ours has an id and a version")
    return Click(str(payload["user"]["id"]), Wanted(id_, version, _CHOICES[ours[0]["action_id"]]), _answer_to(payload))


def _answer_to(payload: Mapping[str, Any]) -> str:
    url = str(payload["response_url"])
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.netloc not in _SLACK:
        raise ValueError("Slack takes answers at Slack")
    return url


# ------------------------------------------------------------------------------------------------ what is said


def _replacing(its: Desk, after: Proposal, news: str) -> dict[str, Any]:
    """The message anew, with what happened; the buttons stay where others have to agree."""
    still = after.state is State.PENDING_APPROVAL
    asks = deciding.waiting(after, deciding.page_of(after.id, its.config.api_url))
    return {"replace_original": True, **buttons.asking(asks, buttons=still, news=news)}


def _only_to_them(words: str) -> dict[str, Any]:
    return {"response_type": "ephemeral", "replace_original": False, "text": buttons.told(words)}


# ------------------------------------------------------------------------------------------------ deciding


Post = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Slack:
    """secret: empty where no app is configured, then nothing is taken up. names: Slack's id of a user to the name of ours."""

    secret: str = field(repr=False)
    names: Mapping[str, str]
    post: Post
    seen: Seen = field(default_factory=Seen)


def configured(config: AlertSettings) -> Slack:
    secret = config.slack_signing_secret.get_secret_value() if config.slack_signing_secret else ""
    return Slack(secret, slack_names(config.slack_users), _post)


async def slack(request: Request) -> Slack:
    """One for the app; a dependency."""
    state = request.app.state
    if not hasattr(state, "slack"):
        state.slack = configured(wiring_watch.alert_settings())
    found: Slack = state.slack
    return found


def decide(its: Desk, app: Slack, click: Click, request: Request, note: Note) -> dict[str, Any]:
    """What Slack is to show: what came of it, or why nothing was done."""
    try:
        who = _who(its, app, click.user)
        take(request, its, "decide", f"user {who.name}")
        verb = click.wanted.choice.value
        after = decisions.decide(its, who, note, click.wanted, f"{verb} by a button in Slack", "slack")
        return _replacing(its, after, f"{verb.capitalize()} by {who.name}. {' '.join(proposals.after(after))}")
    except Refused as refused:
        return _refused(its, click, refused)
    except Problem as problem:
        return _only_to_them(f"Nothing was done: {problem.detail}.")
    except OrganismError as error:
        _log.warning("slack: %s", sentence(error))
        words = str(error) if isinstance(error, InvalidInput) else "something that this needs does not answer just now"
        return _only_to_them(f"Nothing was done: {words}.")


def _who(its: Desk, app: Slack, user: str) -> Principal:
    """
    Raises:
        Refused: nobody of ours is behind this user of Slack, or they may not decide.
    """
    name = app.names.get(user)
    if name is None:
        how = f"an administrator adds {user}=NAME to SLACK_USERS, with the NAME of your user here"
        raise Refused("NOT_MAPPED", f"nobody knows who you are here; {how}")
    found = _user(its, name)
    if found is None or found.disabled_at or Role.APPROVER not in found.roles:
        raise Refused("NOT_ALLOWED", f"{name} may not decide: it takes the role approver")
    return Principal(found.name, found.roles, f"slack {user}")


def _user(its: Desk, name: str) -> User | None:
    return next((user for user in its.access.users() if user.name == name.casefold()), None)


def _refused(its: Desk, click: Click, refused: Refused) -> dict[str, Any]:
    """What was decided meanwhile takes the buttons away for everybody; any other refusal concerns only who clicked."""
    if refused.code in ("NOT_PENDING", "OLD_VERSION", "EXPIRED"):
        try:
            now = deciding.found(its.proposals, click.wanted.id, its.config.min_group_size)
        except OrganismError:
            return _only_to_them(f"Nothing was done: {refused.sentence}.")
        return _replacing(its, now, f"Nothing was done: {refused.sentence}. It is {proposal_words.spoken(now.state)}.")
    return _only_to_them(f"Nothing was done: {refused.sentence}.")


def _post(url: str, said: Mapping[str, Any]) -> None:
    poster = Poster(_TIMEOUT_S)
    try:
        poster.post(url, json.dumps(said).encode(), _JSON, datetime.now(UTC))
    except Failed as failed:  # what was decided stands; the message shows it no more than before
        _log.warning("slack was not told what came of a click: %s", failed.words)
    finally:
        poster.close()


# ------------------------------------------------------------------------------------------------ the route

router = APIRouter(include_in_schema=False)


@router.post(PATH)
async def interactive(
    request: Request,
    later: BackgroundTasks,
    its: Annotated[Desk, Depends(desk)],
    app: Annotated[Slack, Depends(slack)],
    note: Annotated[Note, Depends(asks)],
) -> Response:
    """
    Raises:
        Problem: 404 no app is configured; 401 not from Slack, or not from now; 409 taken up before; 400 not understood.
    """
    if not app.secret:
        raise Problem(
            404, "NO_SLACK", "no Slack app is configured", fix="set SLACK_SIGNING_SECRET; see docs/status-page.md"
        )
    body, now = await request.body(), its.clock()
    if why := why_not_slack(app.secret, request.headers, body, now):
        raise Problem(401, "NOT_SLACK", why)
    if app.seen.before(request.headers["x-slack-signature"], now):
        raise Problem(409, "REPEATED", "this request was taken up before")
    try:
        click = clicked(body)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise Problem(400, "NOT_UNDERSTOOD", "this is nothing that the buttons send") from None
    if click is not None:
        later.add_task(_answer, its, app, click, request, note)
    return Response(status_code=200)


def _answer(its: Desk, app: Slack, click: Click, request: Request, note: Note) -> None:
    """After Slack has been answered, in a thread of its own."""
    app.post(click.answer_to, decide(its, app, click, request, note))
