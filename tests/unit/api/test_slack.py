"""Clicks in Slack: only from Slack, from now, once, by somebody whom we know and who may; and what the message says then."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from pydantic import ValidationError

from alerts.channels import slack as buttons
from alerts.settings import AlertSettings, slack_names
from pipelines.access.principals import Role
from pipelines.api import slack
from pipelines.errors import TransientError
from pipelines.evidence import State
from pipelines.interventions.policy import Rules
from pipelines.interventions.proposal import Proposal
from pipelines.jobs import deciding
from tests.support.fakes_proposals import NOW, FakeProposals, proposal
from tests.support.page_site import SECRET, Browser, World, world

ANSWER_TO = "https://hooks.slack.com/actions/T1/2/abc"


@pytest.fixture
def its(tmp_path: Path) -> World:
    return world(tmp_path)


def a_proposal(its: World, **changes: Any) -> Proposal:
    made = proposal(**changes)
    its.proposals.there[made.id] = made
    return made


def body(made: Proposal, action: str = buttons.APPROVE, user: str = "U111", **changes: Any) -> bytes:
    """As Slack sends it, with the value of the very button that was shown."""
    (actions,) = [b for b in buttons.asking(deciding.waiting(made), buttons=True)["blocks"] if b["type"] == "actions"]
    (button,) = [b for b in actions["elements"] if b["action_id"] == action]
    payload = {
        "type": "block_actions",
        "user": {"id": user},
        "actions": [{"type": "button", "action_id": action, "value": button["value"]}],
        "response_url": ANSWER_TO,
    }
    return urlencode({"payload": json.dumps(payload | changes)}).encode()


def signed(sent: bytes, secret: str = SECRET, at: str = str(int(NOW.timestamp()))) -> dict[str, str]:
    made = hmac.new(secret.encode(), f"v0:{at}:".encode() + sent, hashlib.sha256).hexdigest()
    return {"X_Slack_Request_Timestamp": at, "X_Slack_Signature": f"v0={made}"}


def click(its: World, sent: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """No cookie, no origin, as it comes from Slack's servers."""
    told = {"Origin": "", "Sec_Fetch_Site": ""} | (signed(sent) if headers is None else headers)
    return Browser(its.app()).post(slack.PATH, sent, **told)


# ------------------------------------------------------------------------------------------------ is it Slack


def test_the_signature_is_that_of_slacks_own_example() -> None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    answer_to = "https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    sent = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
        "&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url="
        f"{answer_to}&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    ).encode()
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    then = NOW.fromtimestamp(1531420618, NOW.tzinfo)
    assert slack.why_not_slack("8f742231b10e8888abcd99yyyzzz85a5", headers, sent, then) == ""
    assert "too old" in slack.why_not_slack("8f742231b10e8888abcd99yyyzzz85a5", headers, sent, NOW)


def test_a_click_that_slack_signed_is_a_decision(its: World) -> None:
    made = a_proposal(its)
    assert click(its, body(made)).status_code == 200
    assert its.proposals.there[made.id].state is State.APPROVED


@pytest.mark.parametrize("secret", ["another secret of 32 characters!", "", SECRET[:-1]])
def test_a_signature_by_another_secret_does_nothing(its: World, secret: str) -> None:
    made = a_proposal(its)
    sent = body(made)
    assert click(its, sent, signed(sent, secret)).status_code == 401
    assert (its.proposals.there[made.id], its.said) == (made, [])


def test_a_signature_of_another_body_or_none_does_nothing(its: World) -> None:
    made = a_proposal(its)
    sent = body(made)
    good = signed(sent)
    for headers in (signed(body(made, buttons.REJECT)), {}, good | {"X_Slack_Signature": ""}):
        assert click(its, sent, headers).status_code == 401
    upper = good["X_Slack_Signature"].upper()
    assert click(its, sent, good | {"X_Slack_Signature": upper}).status_code == 401
    assert (its.proposals.there[made.id], its.said) == (made, [])


@pytest.mark.parametrize("seconds", [-301, 301, -86_400])
def test_a_click_of_another_time_does_nothing(its: World, seconds: int) -> None:
    made = a_proposal(its)
    sent = body(made)
    at = str(int((NOW + timedelta(seconds=seconds)).timestamp()))
    assert click(its, sent, signed(sent, at=at)).status_code == 401
    assert its.proposals.there[made.id] == made


@pytest.mark.parametrize("at", ["", "soon", "-1", "1e9", "９９", "9" * 40])
def test_a_time_that_is_none_does_nothing(its: World, at: str) -> None:
    sent = body(a_proposal(its))
    headers = {"x-slack-request-timestamp": at, "x-slack-signature": signed(sent, at=at)["X_Slack_Signature"]}
    assert slack.why_not_slack(SECRET, headers, sent, NOW)


def test_within_five_minutes_a_click_is_taken(its: World) -> None:
    made = a_proposal(its)
    sent = body(made)
    at = str(int((NOW - timedelta(seconds=299)).timestamp()))
    assert click(its, sent, signed(sent, at=at)).status_code == 200


def test_the_same_request_again_is_refused(its: World) -> None:
    made = a_proposal(its)
    sent, app = body(made, buttons.REJECT, user="U222"), its.app()
    told = {"Origin": "", "Sec_Fetch_Site": ""} | signed(sent)
    assert [Browser(app).post(slack.PATH, sent, **told).status_code for _ in range(2)] == [200, 409]
    assert len(its.said) == 1


def test_what_was_seen_is_forgotten_when_its_time_lets_it_in_no_more() -> None:
    seen = slack.Seen()
    assert [seen.before("v0=a", NOW + timedelta(minutes=m)) for m in (0, 1, 4, 15)] == [False, True, True, False]


def test_without_an_app_there_is_nothing_here(its: World) -> None:
    sent = body(a_proposal(its))
    app = its.app(secret="")
    told = {"Origin": "", "Sec_Fetch_Site": ""} | signed(sent, "")
    assert Browser(app).post(slack.PATH, sent, **told).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [b"", b"payload=", b"payload=[]", b"payload=%7B%7D", b"\xff", b"payload=1", b"payload=%7B%22actions%22%3A5%7D"],
)
def test_what_is_no_click_of_ours_is_no_error_of_ours(its: World, sent: bytes) -> None:
    assert click(its, sent).status_code in (200, 400)
    assert its.said == []


@pytest.mark.parametrize(
    "url",
    ["http://hooks.slack.com/x", "https://hooks.slack.com.evil.example/x", "https://169.254.169.254/x",
     "https://hooks.slack.com@evil.example/x", "https://hooks.slack.com:8443/x", "file:///etc/passwd"],
)  # fmt: skip
def test_an_answer_goes_to_slack_or_nowhere(its: World, url: str) -> None:
    made = a_proposal(its)
    assert click(its, body(made, response_url=url)).status_code == 400
    assert (its.proposals.there[made.id], its.said) == (made, [])


# ------------------------------------------------------------------------------------------------ who may


def the_answer(its: World) -> dict[str, Any]:
    ((url, said),) = its.said
    assert url == ANSWER_TO
    return dict(said)


def test_somebody_whom_nobody_knows_is_told_how_to_be_known(its: World) -> None:
    made = a_proposal(its)
    assert click(its, body(made, user="U999")).status_code == 200
    said = the_answer(its)
    assert "U999=NAME to SLACK_USERS" in said["text"]
    assert (said["response_type"], said["replace_original"]) == ("ephemeral", False)
    assert its.proposals.there[made.id] == made


@pytest.mark.parametrize("user", ["U222", "U333", "U444"])
def test_who_may_not_decide_here_may_not_in_slack(its: World, user: str) -> None:
    """An operator, a user who does not exist, one who is disabled."""
    made = a_proposal(its)
    its.access.add("dora", Role.APPROVER)
    its.access.all["dora"] = replace(its.access.all["dora"], disabled_at=NOW)
    sent = body(made, user=user)
    names = {"U222": "ben", "U333": "nobody", "U444": "dora"}
    told = {"Origin": "", "Sec_Fetch_Site": ""} | signed(sent)
    Browser(its.app(names=names)).post(slack.PATH, sent, **told)
    assert "it takes the role approver" in the_answer(its)["text"]
    assert its.proposals.there[made.id] == made


def test_who_asked_for_the_run_cannot_approve_it_in_slack(its: World) -> None:
    made = a_proposal(its, requested_by=("anna",))
    click(its, body(made))
    assert "cannot approve what it proposes" in the_answer(its)["text"]
    assert its.proposals.there[made.id] == made


def test_while_everything_is_halted_nothing_is_approved(its: World) -> None:
    made = a_proposal(its)
    its.proposals.halt("ben", "look into it", NOW)
    click(its, body(made))
    assert "Nothing was done" in the_answer(its)["text"]
    assert its.proposals.there[made.id] == made


def test_decisions_in_slack_are_limited_like_all_others(its: World) -> None:
    made = a_proposal(its)
    its.limits.full.add("decide")
    click(its, body(made))
    assert "too many" in the_answer(its)["text"]
    assert its.proposals.there[made.id] == made
    assert ("decide", "user anna") in its.limits.asked


def test_nothing_is_decided_in_slack_where_the_note_cannot_be_left(its: World) -> None:
    made = a_proposal(its)
    its.audit.fails = TransientError("PostgreSQL at db is away")
    click(its, body(made))
    said = the_answer(its)
    assert "does not answer just now" in said["text"]
    assert "PostgreSQL" not in said["text"]
    assert its.proposals.there[made.id] == made


# ------------------------------------------------------------------------------------------------ what comes of it


def test_the_message_says_what_happened_and_has_no_buttons_any_more(its: World) -> None:
    made = a_proposal(its)
    click(its, body(made))
    said = the_answer(its)
    assert said["replace_original"] is True
    assert "Approve by anna" in json.dumps(said)
    assert "actions" not in {block["type"] for block in said["blocks"]}
    (decision,) = its.proposals.there[made.id].approval.decisions
    assert (decision.by, decision.account, decision.via) == ("anna", "anna", "slack")
    assert [row[1:] for row in its.audit.rows] == [("anna", f"asks POST {slack.PATH}", made.id)]


def test_a_second_click_is_no_second_decision_and_says_how_it_stands(its: World) -> None:
    made = a_proposal(its)
    for user in ("U111", "U222"):
        its.access.add("ben", Role.APPROVER)
        click(its, body(made, user=user))
    assert len(its.proposals.there[made.id].approval.decisions) == 1
    last = its.said[-1][1]
    assert "it does not wait for a decision" in json.dumps(last)
    assert "actions" not in {block["type"] for block in last["blocks"]}


def test_a_proposal_that_needs_two_keeps_its_buttons_for_the_second(its: World) -> None:
    strict = Rules(shadow=False, two_persons_below=30)
    its.proposals = FakeProposals(strict)
    made = a_proposal(its, rules=strict)
    assert made.approval.needed == 2
    click(its, body(made))
    assert its.proposals.there[made.id].state is State.PENDING_APPROVAL
    said = the_answer(its)
    assert "1 more has to agree" in json.dumps(said)
    assert "actions" in {block["type"] for block in said["blocks"]}
    its.access.add("ben", Role.APPROVER)
    click(its, body(made, user="U222"))
    assert its.proposals.there[made.id].state is State.APPROVED


def test_the_buttons_of_an_old_version_decide_nothing(its: World) -> None:
    made = a_proposal(its)
    its.proposals.there[made.id] = replace(made, version=2)
    click(its, body(made))
    assert "look at the new version" in json.dumps(the_answer(its))
    assert its.proposals.there[made.id].state is State.PENDING_APPROVAL


def test_a_proposal_that_is_not_shown_is_not_decided(its: World) -> None:
    made = a_proposal(its)
    its.config = its.config.model_copy(update={"min_group_size": 50})
    click(its, body(made))
    said = json.dumps(the_answer(its))
    assert "is not shown" in said
    assert made.preview not in said
    assert its.proposals.there[made.id] == made


# ------------------------------------------------------------------------------------------------ settings


def test_users_of_slack_are_named_once_each() -> None:
    assert slack_names("U0123ABCD=anna; W0456EFGH=ben;") == {"U0123ABCD": "anna", "W0456EFGH": "ben"}
    for wrong in ("anna", "U1=", "=anna", "U12=a;U12=b", "u12=a"):
        with pytest.raises(ValidationError):
            AlertSettings(slack_users=wrong, _env_file=None)  # type: ignore[call-arg]


def test_an_app_is_configured_by_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    none = slack.configured(AlertSettings(_env_file=None))  # type: ignore[call-arg]
    assert (none.secret, none.names) == ("", {})
    some = AlertSettings(slack_signing_secret=f"{SECRET}\n", slack_users="U12=anna", _env_file=None)  # type: ignore[arg-type, call-arg]
    assert (slack.configured(some).secret, SECRET in repr(slack.configured(some))) == (SECRET, False)
    with pytest.raises(ValidationError):
        AlertSettings(slack_signing_secret="short", _env_file=None)  # type: ignore[arg-type, call-arg]
