"""Who is let in, how often, and what stands around every answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.access.limits import LIMITS
from pipelines.access.principals import Kind, Principal, Role
from pipelines.api.pages.session import csrf
from pipelines.api.security import COOKIE, Recent
from pipelines.api.table import TABLE
from pipelines.errors import TransientError
from tests.support.api_app import BEARER, Client, Site, examined, site
from tests.support.fakes_proposals import NOW, proposal
from tests.support.make import raising
from tests.support.page_site import PASSWORD

AWAY = TransientError("limits: ConnectionError")


def test_a_login_gives_a_token_that_is_let_in_and_logout_ends_it(its: Site, client: Client) -> None:
    said = client.post("/api/v1/auth/login", {"username": "anna", "password": PASSWORD})
    assert said.status_code == 401
    its.access.add("anna", Role.VIEWER)
    said = client.post("/api/v1/auth/login", {"username": "anna", "password": PASSWORD})
    token = said.json()
    assert (token["token_type"], token["expires_in"], token["roles"]) == ("bearer", 1800, ["viewer"])
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert client.get("/workflows/flows", **bearer).status_code == 200
    assert client.post("/api/v1/auth/logout", **bearer).json()["message"] == "logged out"
    assert client.get("/workflows/flows", **bearer).status_code == 401


def test_a_login_that_cannot_be_noted_is_worth_nothing(its: Site, client: Client) -> None:
    its.access.add("anna", Role.VIEWER)
    before, its.audit.fails = dict(its.access.live), AWAY
    assert client.post("/api/v1/auth/login", {"username": "anna", "password": PASSWORD}).status_code == 503
    assert its.access.live == before


@pytest.mark.parametrize("shown", ["Basic abc", "Bearer", "Bearer  ", "bearer x.y", "Token t", "Bearer \x01"])
def test_what_is_no_bearer_is_nobody(client: Client, shown: str) -> None:
    assert client.get("/workflows/flows", Authorization=shown).status_code == 401


def test_the_cookie_is_enough_to_look_and_not_to_do(client: Client) -> None:
    """A browser sends it by itself, also for another site: what changes something wants the header."""
    cookie = {"Cookie": f"{COOKIE}={BEARER.format('operator')}"}
    assert client.get("/workflows/flows", **cookie).status_code == 200
    assert client.post("/workflows/flows/verify/start", **cookie).status_code == 401
    assert client.by("operator").post("/workflows/flows/verify/start").status_code == 200


def test_who_asks_too_often_is_told_when_to_come_back(its: Site, client: Client) -> None:
    answer = client.by("viewer").get("/workflows/flows")
    assert answer.headers["ratelimit-limit"] == f"{LIMITS['read'].rate_per_min:g}"
    assert answer.headers["ratelimit-remaining"] == "1"
    assert its.limits.asked == [("read", "key_of_viewer")]
    its.limits.full = {"read"}
    answer = client.by("viewer").get("/workflows/flows")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "TOO_OFTEN", "7")


def test_logins_are_counted_by_address_and_by_user(its: Site, client: Client) -> None:
    client.post("/api/v1/auth/login", {"username": "Anna", "password": "x"})
    assert [rule for rule, _ in its.limits.asked] == ["login", "login"]
    assert {who for _, who in its.limits.asked} == {"address 127.0.0.1", "user anna"}


def test_decisions_wait_for_redis_and_reads_do_not(its: Site, client: Client) -> None:
    """The rule says what holds while it is away; the store of limits raises for those that are closed then."""
    made = proposal()
    its.proposals.there[made.id] = made
    take = its.limits.take
    its.limits.take = lambda who, rule: raising(AWAY)() if rule.when_away == "closed" else take(who, rule)  # type: ignore[method-assign]
    assert client.by("approver").get("/interventions").status_code == 200
    answer = client.by("approver").post(f"/interventions/{made.id}/approve", {"version": 1, "reason": "good"})
    assert answer.status_code == 503 and its.proposals.there[made.id] == made


def test_every_answer_has_its_headers(client: Client, its: Site) -> None:
    for path in ("/healthz", "/nowhere", "/workflows/flows"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers and "access-control-allow-origin" not in headers
    secure = Client(its.whole(), base="https://organism.test").get("/healthz")
    assert secure.headers["strict-transport-security"].startswith("max-age=31536000")


def test_other_sites_may_ask_only_if_they_are_named(tmp_path: Path, client: Client) -> None:
    assert "access-control-allow-origin" not in client.get("/healthz", Origin="https://board.test").headers
    with site(tmp_path, api_origins="https://board.test") as its:
        app = Client(its.whole())
        assert (
            app.get("/healthz", Origin="https://board.test").headers["access-control-allow-origin"]
            == "https://board.test"
        )
        assert "access-control-allow-origin" not in app.get("/healthz", Origin="https://evil.test").headers


def test_health_is_told_to_who_was_known_while_postgres_is_away(its: Site) -> None:
    app = Client(its.whole(), "viewer")
    assert app.get("/workflows/health").status_code == 200
    from pipelines.jobs.health import Health

    its.looks = examined(postgres=Health.DOWN)
    its.access.who = raising(TransientError("postgres db:5432: away"))  # type: ignore[method-assign]
    assert app.get("/workflows/health").status_code == 200
    assert app.get("/workflows/flows").status_code == 503
    assert app.by("operator").get("/workflows/health").status_code == 503


@pytest.mark.parametrize("how", ["disabled", "logged out", "logged out on the page"])
def test_who_is_no_longer_let_in_is_not_let_in_while_postgres_is_away(its: Site, how: str) -> None:
    app = Client(its.whole(), "viewer")
    assert app.get("/workflows/health").status_code == 200
    if how == "disabled":
        del its.access.live[BEARER.format("viewer")]
        assert app.get("/workflows/health").status_code == 401
    elif how == "logged out":
        assert app.post("/api/v1/auth/logout").status_code == 200
    else:
        given = f"csrf={csrf(BEARER.format('viewer'))}".encode()
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": app.base}
        assert app.ask("POST", "/logout", given, **form).status_code == 303
    its.access.who = raising(TransientError("postgres db:5432: away"))  # type: ignore[method-assign]
    assert app.get("/workflows/health").status_code == 503


def test_who_was_disabled_by_a_command_is_told_of_services_for_two_minutes_and_of_nothing_else(its: Site) -> None:
    app = Client(its.whole(), "viewer")
    assert app.get("/workflows/health").status_code == 200
    its.access.who = raising(TransientError("postgres db:5432: away"))  # type: ignore[method-assign]
    its.now += timedelta(seconds=119)
    told = app.get("/workflows/health")
    assert told.status_code == 200 and set(told.json()) == {"status", "services", "age_s"}
    assert _still_answered(app) == {"/workflows/health", "/"}
    its.now += timedelta(seconds=1)
    assert _still_answered(app) == set()


def _still_answered(app: Client) -> set[str]:
    """Of the routes to read that take no id and are not public, those that let them in."""
    paths = [path for (method, path), its in TABLE.items() if method == "GET" and not its.public and "{" not in path]
    return {path for path in paths if app.get(path).status_code != 503}


def test_who_was_known_is_not_known_beyond_their_own_end() -> None:
    recent, ends = Recent(), NOW + timedelta(minutes=1)
    recent.note("a.b", Principal("anna", frozenset(), "token_1", Kind.TOKEN, ends), NOW)
    assert recent.who("a.b", ends - timedelta(seconds=1)) and recent.who("a.b", ends) is None


def test_a_fresh_login_has_no_fresh_allowance(its: Site, client: Client) -> None:
    its.access.add("anna", Role.VIEWER)
    for _ in range(2):
        token = client.post("/api/v1/auth/login", {"username": "anna", "password": PASSWORD}).json()["access_token"]
        assert client.get("/workflows/flows", Authorization=f"Bearer {token}").status_code == 200
    assert [who for rule, who in its.limits.asked if rule == "read"] == ["user anna", "user anna"]


def test_who_was_known_is_forgotten_after_a_while() -> None:
    recent, who = Recent(), Principal("anna", frozenset(), "key_1")
    recent.note("a.b", who, NOW)
    assert recent.who("a.b", NOW + timedelta(seconds=119)) == who
    assert recent.who("a.b", NOW + timedelta(minutes=2)) is None and recent.who("c.d", NOW) is None
    for n in range(1_100):
        recent.note(str(n), who, NOW)
    assert len(recent._known) <= 1_000
