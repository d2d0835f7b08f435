"""A proposal waits, people are told, somebody presses the button, the message says so: on real stores, the real watch, the
real app and receivers that speak the real protocols.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest

from pipelines import settings, wiring, wiring_watch
from pipelines.access.principals import Role
from pipelines.api import slack
from pipelines.api.app import create_app
from pipelines.api.desk import opened as desk_on
from pipelines.evidence import State
from pipelines.interventions.proposal import Proposal
from tests.conftest import opened
from tests.support import faults
from tests.support.fakes_proposals import TABLES, band, finding, orchestrator
from tests.support.faults import NOTHING, Place
from tests.support.page_site import PASSWORD, SECRET, Browser

URL = "https://organism.example"
WHO = "slack.anna"
#: Sentry is for what is broken.
ASKED_ONCE = {"slack": 1, "webhook": 1, "sentry": 0, "mail": 1}
ASKED_AND_OVER = {name: 2 * count for name, count in ASKED_ONCE.items()}


@dataclass
class Office:
    """A place with proposals, and people who are asked. posted: what the app told Slack of a click."""

    place: Place
    posted: list[tuple[str, Any]] = field(default_factory=list)

    def propose(self, *, team: str = "team-a", hours: float = 0, value: float = 14.0, size: int = 40) -> Proposal:
        """A run of the clock's time plus so many hours, about this team."""
        now = self.place.clock() + timedelta(hours=hours)
        end = now - timedelta(minutes=1)
        weigh = orchestrator(window_end=end, run=f"run-{hours}", requested_by=("carl.requester",)).evaluate
        with wiring.proposals(settings.load()) as store:
            bands = [band(team, size=size, value=value)]
            store.propose(lambda where: weigh([finding()], bands, where), end, f"run-{hours}", now)
            return store.list(list(State))[0]

    def turns(self, count: int, every: int = 40) -> None:
        """Turns of the watch, and of a naive one that tells of every proposal that waits."""
        for _ in range(count):
            self.place.clock.forward(every)
            self.place.turn()
            with wiring.proposals(settings.load()) as store:
                for its in store.list([State.PENDING_APPROVAL]):
                    httpx.post(self.place.naive.url, json={"text": f"{its.id} waits"}).raise_for_status()

    def state_of(self, made: Proposal) -> Proposal:
        with wiring.proposals(settings.load()) as store:
            found = store.get(made.id)
        assert found is not None
        return found

    # -------------------------------------------------------------------------------------------- Slack

    def question(self, n: int = 0) -> list[dict[str, Any]]:
        """All versions of a message of the bot that is no answer in a thread."""
        return [m.versions for m in self.place.sinks.slack.messages.values() if m.thread is None][n]

    def press(self, action: str) -> int:
        """Press a button of the first message, as Slack would say it; the status that Slack gets."""
        (button,) = [each for each in buttons_of(self.question()[0]) if each["action_id"] == action]
        payload = {
            "type": "block_actions",
            "user": {"id": "U111AAAA"},
            "actions": [{"type": "button", "action_id": action, "value": button["value"]}],
            "response_url": "https://hooks.slack.com/actions/T1/2/abc",
        }
        body = urlencode({"payload": json.dumps(payload)}).encode()
        config = settings.load()
        with desk_on(config, self.place.where) as desk:
            app = create_app(desk)
            configured = slack.configured(wiring_watch.alert_settings())
            app.state.slack = slack.Slack(
                configured.secret, configured.names, lambda url, said: self.posted.append((url, said))
            )
            stamp = str(int(desk.clock().timestamp()))
            signature = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
            headers = {"X_Slack_Request_Timestamp": stamp, "X_Slack_Signature": f"v0={signature}"}
            return Browser(app).post(slack.PATH, body, Origin="", Sec_Fetch_Site="", **headers).status_code


def buttons_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for block in said["blocks"] if block["type"] == "actions" for each in block["elements"]]


@pytest.fixture
def office(embedded: wiring.Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with opened(embedded):
        pass  # empty stores, with their schema
    with faults.place(embedded, tmp_path, monkeypatch, ORGANISM_SHADOW="false", ORGANISM_API_URL=URL) as place:
        ours = {**place.sinks.bot, "SLACK_SIGNING_SECRET": SECRET, "SLACK_USERS": f"U111AAAA={WHO}"}
        for name, value in ours.items():
            monkeypatch.setenv(name, value)
        _clean(embedded)
        with desk_on(settings.load(), embedded) as desk:
            access: Any = desk.postgres().access
            access.create(WHO, PASSWORD, [Role.APPROVER], desk.clock())
        yield Office(place)
        _clean(embedded)


def _clean(where: wiring.Endpoints) -> None:
    with wiring.ledger(where), psycopg.connect(where.postgres) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # triggers off
        connection.execute(f"TRUNCATE {TABLES}, credentials, users, run_requests, workflow_runs CASCADE")
        connection.execute("TRUNCATE alert_incidents, alert_deliveries, alert_threads CASCADE")


# ------------------------------------------------------------------------------------------------ told


def test_a_proposal_is_one_message_on_each_channel_and_its_decision_one_more(office: Office) -> None:
    made = office.propose()
    office.turns(5)
    assert office.place.told() == ASKED_ONCE
    assert office.place.naively == 5, "who tells at every turn tells five times"
    assert len(office.question()) == 1, "nor was it edited"

    assert office.press("organism.approve") == 200
    after = office.state_of(made)
    assert after.state is State.APPROVED
    assert [(d.by, d.via) for d in after.approval.decisions] == [(WHO, "slack")]
    assert "Approve by" in json.dumps(office.posted[0][1]) and not buttons_of(office.posted[0][1])

    office.turns(5)
    assert office.place.told() == ASKED_AND_OVER
    first, last = office.question()
    assert (len(buttons_of(first)), buttons_of(last)) == (2, [])
    assert "It is approved." in json.dumps(last)
    (answer,) = [m for m in office.place.sinks.slack.messages.values() if m.thread]
    assert not answer.broadcast and answer.thread in office.place.sinks.slack.messages
    assert office.place.incidents() == [(f"PROPOSAL_WAITING:{made.id}:1", True)]


def test_the_same_button_again_decides_nothing_more(office: Office) -> None:
    made = office.propose()
    office.turns(1)
    assert [office.press("organism.approve"), office.press("organism.reject")] == [200, 200]
    after = office.state_of(made)
    assert (after.state, len(after.approval.decisions)) == (State.APPROVED, 1)
    assert "Nothing was done" in json.dumps(office.posted[1][1])


def test_a_message_has_all_that_who_decides_has_to_know_and_nobodys_name(office: Office) -> None:
    made = office.propose(size=98_768)
    office.turns(1)
    sinks = office.place.sinks
    (mail,) = sinks.mail.mails
    body = sinks.webhook.requests[0].json
    for text in (mail.readable, json.dumps(body), json.dumps(office.question()[0])):
        assert "team-a" in text and f"{URL}/proposals/{made.id}" in text.replace("=\n", "")
    assert f"python -m pipelines.review show {made.id}" in body["problem"]["fix"]
    assert made.preview in body["problem"]["what"] and made.reversibility in body["problem"]["what"]
    assert (body["problem"]["code"], body["problem"]["severity"]) == ("PROPOSAL_WAITING", "info")
    assert "at least 98765 people" in body["problem"]["what"], "counted down to fives"
    assert not [word for word in ("carl.requester", WHO, SECRET, "98768", "98,768") if word in sinks.bodies()]


def test_a_new_version_is_a_new_message_and_ends_that_of_the_old_one(office: Office) -> None:
    office.propose()
    office.turns(2)
    again = office.propose(hours=1, value=16.0)
    assert (again.version, again.state) == (2, State.PENDING_APPROVAL)
    office.turns(3)
    assert office.place.told() == {"slack": 3, "webhook": 3, "sentry": 0, "mail": 3}
    assert "Version 2 of it has taken its place." in json.dumps(office.question(0)[-1])
    assert buttons_of(office.question(0)[-1]) == []
    (second,) = office.question(1)
    assert [json.loads(b["value"])["version"] for b in buttons_of(second)] == [2, 2]


def test_one_that_nobody_decides_on_expires_in_the_message_too(office: Office) -> None:
    office.propose()
    office.turns(1)
    office.turns(2, every=24 * 60)
    assert "It expired" in json.dumps(office.question()[-1])
    assert buttons_of(office.question()[-1]) == []
    assert office.place.told()["slack"] == 2


# ------------------------------------------------------------------------------------------------ not told


def test_in_shadow_mode_nobody_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    made = office.propose()
    monkeypatch.setenv("ORGANISM_SHADOW", "true")
    office.turns(2)
    assert made.state is State.PENDING_APPROVAL, "it would have been told"
    assert office.place.told() == NOTHING


def test_of_a_group_that_is_too_small_nobody_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    made = office.propose()
    monkeypatch.setenv("ORGANISM_MIN_GROUP_SIZE", "50")
    office.turns(2)
    assert made.target.size < 50 and made.state is State.PENDING_APPROVAL
    assert office.place.told() == NOTHING


def test_what_may_not_be_shown_any_more_is_taken_out_of_the_message(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.propose()
    office.turns(1)
    monkeypatch.setenv("ORGANISM_MIN_GROUP_SIZE", "50")
    office.turns(2)
    first, last = office.question()
    assert "team-a" in json.dumps(first) and "team-a" not in json.dumps(last)
    assert "team-a" not in json.dumps(office.place.sinks.webhook.requests[-1].json)


def test_without_a_signing_secret_there_are_no_buttons_in_what_is_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLACK_SIGNING_SECRET")
    office.propose()
    office.turns(1)
    assert buttons_of(office.question()[0]) == []
    assert "What happens:" in json.dumps(office.question()[0])
