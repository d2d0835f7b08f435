"""The pages: nobody without a login, no form without its token, nothing changed by looking, and nothing that is no text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from threading import Event

import pytest

from pipelines.api.pages import session, views
from pipelines.api.pages.glance import Glance
from pipelines.api.table import TABLE
from pipelines.errors import TransientError
from pipelines.evidence import State
from pipelines.interventions.proposal import Proposal
from pipelines.jobs import startable
from pipelines.report.standing import Standing
from pipelines.runs import ErrorKind, Mode, Run, Status
from tests.support import page_gallery
from tests.support.fakes_ledger import step
from tests.support.fakes_proposals import NOW, proposal
from tests.support.page_site import Browser, World, world

MARKUP = '<script>alert("x")</script><img src=x onerror=alert(1)>'


@pytest.fixture
def its(tmp_path: Path) -> World:
    return world(tmp_path)


@pytest.fixture
def browser(its: World) -> Browser:
    return Browser(its.app())


def logged_in(its: World, name: str) -> Browser:
    made = Browser(its.app())
    assert made.login(name).status_code == 303
    return made


def a_run(its: World, status: Status = Status.COMPLETED, run_id: str = "run-1", **closing: object) -> Run:
    its.ledger.begin("incremental", run_id, Mode.DIRECT, NOW, parameters={})
    its.ledger.note_step(run_id, step())
    if status is not Status.RUNNING:
        its.ledger.close(run_id, status, NOW + timedelta(seconds=4), **closing)  # type: ignore[arg-type]
    return its.ledger.runs[run_id]


def a_proposal(its: World, **changes: object) -> Proposal:
    made = proposal(**changes)  # type: ignore[arg-type]
    its.proposals.there[made.id] = made
    return made


# ------------------------------------------------------------------------------------------------ coming and going


def test_who_is_not_logged_in_is_sent_to_the_form_and_back_to_where_they_wanted(browser: Browser) -> None:
    sent = browser.get("/runs")
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/runs")
    assert 'name="next" value="/runs"' in browser.get("/login?next=/runs").text


def test_a_login_sets_a_cookie_that_no_script_and_no_other_site_can_use(browser: Browser) -> None:
    answer = browser.login("anna")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("secure", "httponly", "samesite=strict", "path=/", "max-age=1800"))
    assert "domain" not in cookie
    assert browser.get("/proposals").status_code == 200


def test_without_tls_the_cookie_is_not_secure_or_no_browser_would_keep_it(its: World) -> None:
    assert "secure" not in Browser(its.app(), "http").login("anna").headers["set-cookie"].lower()


def test_a_wrong_password_says_no_more_than_an_unknown_name_and_sets_nothing(browser: Browser) -> None:
    wrong, unknown = browser.login("anna", "guessed"), browser.login("nobody")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text == unknown.text
    assert "set-cookie" not in wrong.headers


def test_logins_are_limited_by_address_and_by_user(its: World, browser: Browser) -> None:
    browser.login("anna")
    assert [name for name, _ in its.limits.asked] == ["login", "login"]
    its.limits.full.add("login")
    refused = browser.login("anna")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")


def test_a_logout_ends_the_token_and_not_only_the_cookie(its: World) -> None:
    browser = logged_in(its, "anna")
    kept = dict(browser.cookies)
    assert browser.post("/logout", browser.form("/proposals")).status_code == 303
    assert its.access.live == {}
    browser.cookies.update(kept)
    assert browser.get("/proposals").status_code == 303


def test_a_login_that_leaves_no_note_is_none(its: World, browser: Browser) -> None:
    its.audit.fails = TransientError("PostgreSQL is away")
    assert browser.login("anna").status_code == 503
    assert its.access.live == {}


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/a?b", "/%0d%0aSet-Cookie"]
)
def test_a_login_leads_nowhere_else(browser: Browser, path: str) -> None:
    sent = browser.post("/login", {"name": "anna", "password": "the password of everybody here", "next": path})
    assert sent.headers["location"] == "/"


# ------------------------------------------------------------------------------------------------ forms


def the_form(its: World) -> tuple[Browser, str, dict[str, str]]:
    """One that would halt everything."""
    browser = logged_in(its, "anna")
    return browser, "/switch/halt", {"reason": "look into it", **{k: v[0] for k, v in browser.form("/switch").items()}}


def test_a_form_of_ours_does_what_it_says(its: World) -> None:
    browser, path, fields = the_form(its)
    assert browser.post(path, fields).status_code == 303
    assert its.proposals.halted() is not None


def test_a_form_without_its_token_or_with_that_of_another_session_does_nothing(its: World) -> None:
    browser, path, fields = the_form(its)
    other = logged_in(its, "anna").form("/switch")["csrf"][0]
    assert other != fields["csrf"]
    for token in (None, "", "0" * 64, other, fields["csrf"][:-1], "é"):
        forged = {k: v for k, v in fields.items() if k != "csrf"} | ({} if token is None else {"csrf": token})
        assert browser.post(path, forged).status_code == 403
    assert its.proposals.halted() is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "", "Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "", "Origin": "https://organism.test.evil.example"},
        {"Sec_Fetch_Site": "", "Origin": "null"},
        {"Sec_Fetch_Site": "", "Origin": ""},
    ],
)
def test_a_form_that_was_not_sent_from_this_site_does_nothing(its: World, headers: dict[str, str]) -> None:
    browser, path, fields = the_form(its)
    assert browser.post(path, fields, **headers).status_code == 403
    assert its.proposals.halted() is None


def test_a_browser_that_only_says_the_origin_is_believed(its: World) -> None:
    browser, path, fields = the_form(its)
    assert browser.post(path, fields, Sec_Fetch_Site="").status_code == 303


def test_another_site_cannot_log_somebody_in(browser: Browser) -> None:
    fields = {"name": "anna", "password": "the password of everybody here"}
    assert browser.post("/login", fields, Sec_Fetch_Site="cross-site").status_code == 403


def test_only_a_plain_form_is_read(its: World) -> None:
    browser, path, fields = the_form(its)
    assert browser.post(path, fields, Content_Type="text/plain").status_code == 415
    assert browser.post(path, b"&".join(b"a%d=1" % i for i in range(400))).status_code == 413
    assert browser.post(path, b"\xff=1").status_code == 413


def test_the_token_says_nothing_of_the_session() -> None:
    bearer = "token_0123456789abcdef." + "s" * 43
    assert bearer not in session.csrf(bearer)
    assert session.csrf(bearer) == session.csrf(bearer) != session.csrf(bearer + "x")


def test_looking_at_every_page_changes_nothing(its: World) -> None:
    made, run = a_proposal(its), a_run(its, Status.FAILED, error="it broke", error_kind=ErrorKind.DEFECT)
    its.letters.add("1-0")
    paths = ["/", "/runs", f"/runs/{run.id}", f"/runs/{run.id}/logs", f"/runs/{run.id}/retry", "/proposals", "/login"]
    paths += [f"/proposals/{made.id}", f"/proposals/{made.id}/approve", f"/proposals/{made.id}/reject", "/switch"]
    paths += ["/letters", "/letters/replay?id=1-0"]
    its.access.add("boss", *sorted(TABLE["GET", "/"].roles))
    browser = logged_in(its, "boss")
    before = str((its.ledger.runs, its.proposals.there, its.proposals.rows, its.letters.there, its.audit.rows))
    assert [browser.get(path).status_code for path in paths] == [200] * len(paths)
    assert str((its.ledger.runs, its.proposals.there, its.proposals.rows, its.letters.there, its.audit.rows)) == before
    assert its.launched == []


def test_no_route_that_changes_something_is_a_get() -> None:
    ours = [(method, path) for (method, path), access in TABLE.items() if access.page and access.audited]
    assert ours
    assert {method for method, _ in ours} == {"POST"}


# ------------------------------------------------------------------------------------------------ roles

PATHS = {
    "status": "/", "runs": "/runs", "run": "/runs/1", "start": "/flows/full/start", "cancel": "/runs/2/cancel",
    "retry": "/runs/1/retry", "proposals": "/proposals", "approve": "/proposals/{id}/approve", "letters": "/letters",
    "replay": "/letters/replay?id=1-0", "switch": "/switch",
}  # fmt: skip
MAY = {
    "anna": {"status", "runs", "run", "proposals", "approve", "letters", "switch"},
    "ben": {"status", "runs", "run", "start", "cancel", "retry", "letters", "replay", "switch"},
    "vera": {"status", "runs", "run", "proposals", "letters"},
    "adam": {"status", "runs", "run", "letters", "switch"},
    "nora": {"status"},
}


@pytest.mark.parametrize("name", MAY)
def test_a_role_sees_its_pages_and_no_link_to_others(its: World, name: str) -> None:
    made = a_proposal(its)
    a_run(its, Status.FAILED, error="x", error_kind=ErrorKind.DEFECT)
    a_run(its, Status.RUNNING, "run-2")
    its.letters.add("1-0")
    its.standing = page_gallery.standing(list(its.ledger.runs.values()))
    browser = logged_in(its, name)
    answers = {page: browser.get(path.format(id=made.id)) for page, path in PATHS.items()}
    assert {page for page, answer in answers.items() if answer.status_code == 200} == MAY[name]
    assert {answer.status_code for answer in answers.values()} <= {200, 403}
    for answer in answers.values():
        for path in links(answer.text):
            assert browser.get(path.format(id=made.id)).status_code == 200, path


def links(text: str) -> Iterator[str]:
    """Paths of this site, without anchors."""
    yield from (path for path in re.findall(r'href="(/[^"#]*)"', text) if path != "/docs")


def test_a_role_that_may_not_is_refused_also_with_a_token_of_its_own(its: World) -> None:
    made = a_proposal(its)
    browser = logged_in(its, "vera")
    fields = {"csrf": browser.form("/proposals")["csrf"], "version": made.version, "reason": "because"}
    assert browser.post(f"/proposals/{made.id}/approve", fields).status_code == 403
    assert its.proposals.there[made.id] == made


def test_an_approver_without_more_is_led_to_the_proposals(its: World) -> None:
    its.access.add("otto", *[r for r in TABLE["GET", "/proposals"].roles if r.value == "approver"])
    assert logged_in(its, "otto").get("/").headers["location"] == "/proposals"


# ------------------------------------------------------------------------------------------------ text stays text


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Elements()
    parser.feed(text)
    return parser.found


def is_plain(text: str) -> bool:
    """No script, no picture, nothing that is run or loaded."""
    return not any(
        tag in ("script", "img", "iframe", "object", "link", "base")
        or any(name.startswith("on") or name == "style" or name == "src" for name in attributes)
        for tag, attributes in elements(text)
    )


def test_the_check_for_markup_finds_it() -> None:
    assert not is_plain(f"<p>{MARKUP}</p>")
    assert not is_plain('<p style="x">')


def test_what_a_proposal_says_is_text(its: World) -> None:
    made = a_proposal(its, preview=f"{MARKUP} happens", reversibility=f"{MARKUP} undoes")
    browser = logged_in(its, "anna")
    for path in ("/proposals", f"/proposals/{made.id}", f"/proposals/{made.id}/approve"):
        text = browser.get(path).text
        assert "&lt;script&gt;" in text
        assert is_plain(text)


def test_what_a_run_says_is_text(its: World) -> None:
    run = a_run(its, Status.FAILED, error=MARKUP, error_kind=ErrorKind.PERMANENT, result={MARKUP: 3})
    its.ledger.runs[run.run_id] = replace(run, parameters={MARKUP: MARKUP}, correlation_id=MARKUP)
    its.standing = page_gallery.standing([its.ledger.runs[run.run_id]])
    browser = logged_in(its, "ben")
    for path in ("/", "/runs", f"/runs/{run.id}", f"/runs/{run.id}/logs"):
        text = browser.get(path).text
        assert "&lt;script&gt;" in text
        assert is_plain(text)


def test_what_an_incident_and_a_letter_say_is_text(its: World) -> None:
    broken = page_gallery.incident()
    problem = replace(broken.incidents[0].problem, what=MARKUP, fix=MARKUP, subject=MARKUP)
    its.standing = replace(broken, incidents=(replace(broken.incidents[0], problem=problem),), halted=MARKUP)
    its.letters.add("1-0", words=MARKUP)
    browser = logged_in(its, "ben")
    for path in ("/", "/letters"):
        text = browser.get(path).text
        assert "&lt;script&gt;" in text
        assert is_plain(text)


def test_what_is_typed_into_an_address_is_text_or_nothing(its: World) -> None:
    browser = logged_in(its, "anna")
    for path in (f"/runs?flow={MARKUP}", f"/runs/{MARKUP}", f"/proposals/{MARKUP}", f"/login?next={MARKUP}"):
        assert is_plain(browser.get(path).text)


@pytest.mark.parametrize("name", sorted(page_gallery.gallery().keys() - {"narrow"}))
def test_every_state_is_plain_and_can_be_found_through(name: str) -> None:
    text = page_gallery.gallery()[name]
    found = elements(text)
    assert is_plain(text)
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {word for _, a in found for word in (a.get("aria-labelledby") or "").split()}
    assert named <= set(ids)
    assert {"header", "main", "nav", "footer", "h1"} <= {tag for tag, _ in found}
    assert all(attributes.get("scope") for tag, attributes in found if tag == "th")
    assert all(attributes.get("datetime", "").endswith("Z") for tag, attributes in found if tag == "time")  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ what is not shown


def test_people_and_secrets_do_not_get_onto_a_page(its: World) -> None:
    words = "p_0123456789abcdef0123 wrote to anna.berg@corp.example"
    run = a_run(its, Status.FAILED, error=words, error_kind=ErrorKind.PERMANENT)
    text = logged_in(its, "ben").get(f"/runs/{run.id}").text
    assert "[redacted]" in text
    assert "p_0123" not in text
    assert "corp.example" not in text


def test_a_secret_in_a_row_is_not_shown_and_the_rest_of_the_page_is(its: World) -> None:
    run = a_run(its, Status.FAILED, error="said hunter2secret", error_kind=ErrorKind.PERMANENT)
    answer = logged_in(its, "ben").get(f"/runs/{run.id}")
    assert answer.status_code == 200
    assert "hunter2" not in answer.text
    assert "said [redacted]" in answer.text


def test_a_proposal_about_too_few_is_only_said_to_be_there(its: World) -> None:
    made = proposal()
    few = replace(made, target=replace(made.target, size=6), preview="what would happen")
    its.config = its.config.model_copy(update={"min_group_size": 8})
    its.proposals.there[few.id] = few
    browser = logged_in(its, "anna")
    text = browser.get("/proposals").text
    assert "about too few people to show" in text
    assert few.id in text
    assert "what would happen" not in text
    for path in (f"/proposals/{few.id}", f"/proposals/{few.id}/approve"):
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "what would happen" not in answer.text
    fields = {"csrf": browser.form("/proposals")["csrf"], "version": few.version, "reason": "because"}
    assert browser.post(f"/proposals/{few.id}/approve", fields).status_code == 404
    assert its.proposals.there[few.id].state is State.PENDING_APPROVAL


def test_what_a_letter_holds_is_not_shown(its: World) -> None:
    its.letters.add("1-0")
    browser = logged_in(its, "ben")
    assert "the content of a letter" not in browser.get("/letters").text + browser.get("/letters/replay?id=1-0").text


# ------------------------------------------------------------------------------------------------ what it does


def test_an_approval_shows_what_will_happen_and_is_one_decision_however_often_it_is_sent(its: World) -> None:
    made = a_proposal(its)
    browser = logged_in(its, "anna")
    page = html.unescape(browser.get(f"/proposals/{made.id}/approve").text)
    assert made.preview in page
    assert made.reversibility in page
    fields = browser.form(f"/proposals/{made.id}/approve") | {"reason": "worth a try"}
    first, second = (browser.post(f"/proposals/{made.id}/approve", fields) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 409)
    after = its.proposals.there[made.id]
    assert after.state is State.APPROVED
    (decision,) = after.approval.decisions
    assert (decision.by, decision.via, decision.reason) == ("anna", "status page", "worth a try")
    assert [row[2] for row in its.audit.rows].count("asks POST /proposals/{proposal_id}/approve") == 2


def test_an_approval_of_another_version_than_was_shown_is_refused(its: World) -> None:
    made = a_proposal(its)
    browser = logged_in(its, "anna")
    fields = browser.form(f"/proposals/{made.id}/approve") | {"reason": "worth a try"}
    its.proposals.there[made.id] = replace(made, version=made.version + 1)
    refused = browser.post(f"/proposals/{made.id}/approve", fields)
    assert refused.status_code == 409
    assert "look at the new version" in refused.text
    assert its.proposals.there[made.id].state is State.PENDING_APPROVAL


def test_who_asked_for_the_run_cannot_approve_what_it_proposes(its: World) -> None:
    made = a_proposal(its, requested_by=("anna",))
    answer = logged_in(its, "anna").send(f"/proposals/{made.id}/approve", reason="worth a try")
    assert answer.status_code == 409
    assert its.proposals.there[made.id].state is State.PENDING_APPROVAL


def test_a_decision_needs_a_reason_and_a_version(its: World) -> None:
    made = a_proposal(its)
    browser = logged_in(its, "anna")
    form = browser.form(f"/proposals/{made.id}/reject")
    assert browser.post(f"/proposals/{made.id}/reject", {**form, "reason": " "}).status_code == 422
    assert browser.post(f"/proposals/{made.id}/reject", {**form, "version": "x", "reason": "no"}).status_code == 422
    assert its.audit.rows[1:] == []  # but the login


def test_nothing_is_decided_where_the_note_cannot_be_left(its: World) -> None:
    made = a_proposal(its)
    browser = logged_in(its, "anna")
    form = browser.form(f"/proposals/{made.id}/approve")
    its.audit.fails = TransientError("PostgreSQL is away")
    assert browser.post(f"/proposals/{made.id}/approve", {**form, "reason": "yes"}).status_code == 503
    assert its.proposals.there[made.id] == made


def test_a_rejection_closes_it(its: World) -> None:
    made = a_proposal(its)
    assert logged_in(its, "anna").send(f"/proposals/{made.id}/reject", reason="not now").status_code == 200
    assert its.proposals.there[made.id].state is State.REJECTED


def test_a_halt_is_one_form_and_its_end_is_for_who_approves(its: World) -> None:
    ben, anna = logged_in(its, "ben"), logged_in(its, "anna")
    assert ben.post("/switch/halt", ben.form("/switch") | {"reason": "look into it"}).status_code == 303
    assert its.proposals.halted() is not None
    assert "Who may approve may let it go on" in ben.get("/switch").text  # and he may not
    assert "Halted:" in anna.get("/proposals").text
    assert anna.post("/switch/resume", anna.form("/switch") | {"reason": "found it"}).status_code == 303
    assert its.proposals.halted() is None


def test_a_run_is_cancelled_with_a_reason_by_who_operates(its: World) -> None:
    run = a_run(its, Status.RUNNING)
    ben = logged_in(its, "ben")
    assert ben.send(f"/runs/{run.id}/cancel", reason="wrong window").status_code == 303
    after = its.ledger.runs[run.run_id]
    assert after.status is Status.CANCELLED
    assert "cancelled by ben: wrong window" in (after.error or "")
    assert ben.get(f"/runs/{run.id}/cancel").status_code == 409


@pytest.mark.parametrize("flow", startable.alone())
def test_a_flow_is_started_once_however_often_the_form_is_sent(its: World, flow: str) -> None:
    ben = logged_in(its, "ben")
    assert f'href="/flows/{flow}/start"' in ben.get("/runs").text
    form = ben.form(f"/flows/{flow}/start")
    answers = [ben.post(f"/flows/{flow}/start", form) for _ in range(2)]
    (run,) = its.ledger.runs.values()
    assert {answer.headers["location"] for answer in answers} == {f"/runs/{run.id}"}
    assert (run.flow_name, run.parameters, its.launched) == (flow, {}, [run.run_id])
    assert ("operator", "ben", "asks POST /flows/{flow}/start", flow) in its.audit.rows


@pytest.mark.parametrize("flow", ["policy_check", "intervention_planning", "nothing", "retry"])
def test_what_has_to_be_told_more_is_not_started_from_a_page(its: World, flow: str) -> None:
    assert logged_in(its, "ben").get(f"/flows/{flow}/start").status_code == 404
    assert its.launched == []


def test_a_run_is_repeated_once_however_often_the_form_is_sent(its: World) -> None:
    run = a_run(its, Status.FAILED, error="x", error_kind=ErrorKind.TRANSIENT)
    ben = logged_in(its, "ben")
    form = ben.form(f"/runs/{run.id}/retry")
    answers = [ben.post(f"/runs/{run.id}/retry", form) for _ in range(2)]
    assert [a.status_code for a in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"] != f"/runs/{run.id}"
    assert len(its.ledger.runs) == 2


def test_letters_go_back_once_and_what_cannot_is_said(its: World) -> None:
    its.letters.add("1-0")
    its.letters.add("2-0", kept="no")
    ben = logged_in(its, "ben")
    assert ben.get("/letters/replay?id=2-0").status_code == 409
    none = ben.get("/letters/replay")
    assert (none.status_code, "Choose at least one." in none.text) == (422, True)
    form = ben.form("/letters/replay?id=1-0&id=2-0")
    assert form["id"] == ["1-0"]
    for _ in range(2):
        assert ben.post("/letters/replay", form | {"reason": "mended"}).status_code == 200
    assert its.letters.replayed == ["1-0"]
    assert list(its.letters.there) == ["2-0"]


# ------------------------------------------------------------------------------------------------ how it is shown


def test_only_pages_without_a_form_to_fill_in_bring_themselves_up_to_date(its: World) -> None:
    made, run = a_proposal(its), a_run(its, Status.RUNNING)
    its.access.add("boss", *sorted(TABLE["GET", "/"].roles))
    browser = logged_in(its, "boss")
    refresh = 'http-equiv="refresh"'
    assert all(refresh in browser.get(path).text for path in ("/", f"/runs/{run.id}"))
    still = ["/?still=1", "/login", "/switch", "/letters", f"/proposals/{made.id}/approve", f"/runs/{run.id}/cancel"]
    assert not any(refresh in browser.get(path).text for path in still)


def test_the_headers_let_nothing_run_and_nobody_frame_it_and_forms_say_where_they_come_from(its: World) -> None:
    answer = logged_in(its, "ben").get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_runs_come_in_pages_of_two_hundred(its: World) -> None:
    for n in range(203):
        a_run(its, run_id=f"run-{n}")
    browser = logged_in(its, "ben")
    first = browser.get("/runs").text
    assert len(re.findall(r'<th scope="row"', first)) == 200
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = browser.get(following.replace("&amp;", "&")).text
    assert re.findall(r'href="/runs/(\d+)"', second) == ["3", "2", "1"]
    assert 'rel="next"' not in second


def test_a_run_is_found_by_its_number_and_by_its_id(its: World) -> None:
    run = a_run(its)
    browser = logged_in(its, "ben")
    assert browser.get(f"/runs/{run.id}").text == browser.get(f"/runs/{run.run_id}").text
    assert browser.get("/runs/4711").status_code == 404


def test_in_shadow_mode_everybody_who_sees_proposals_knows_before_they_decide(its: World) -> None:
    made = a_proposal(its)
    its.config = its.config.model_copy(update={"shadow": True})
    anna, ben = logged_in(its, "anna"), logged_in(its, "ben")
    for path in ("/", "/runs", "/proposals", f"/proposals/{made.id}", "/switch"):
        assert "Shadow mode:" in anna.get(path).text
    assert "Shadow mode:" not in ben.get("/").text
    assert f"/proposals/{made.id}/approve" not in anna.get(f"/proposals/{made.id}").text
    assert f"/proposals/{made.id}/reject" in anna.get(f"/proposals/{made.id}").text
    refused = anna.get(f"/proposals/{made.id}/approve")
    assert (refused.status_code, "ORGANISM_SHADOW=false" in refused.text) == (409, True)


def test_out_of_shadow_mode_nothing_is_said_of_it(its: World) -> None:
    made = a_proposal(its)
    text = logged_in(its, "anna").get(f"/proposals/{made.id}").text
    assert "Shadow mode" not in text
    assert f"/proposals/{made.id}/approve" in text


def test_what_a_rule_refused_reads_refused_and_is_not_repeated(its: World) -> None:
    run = a_run(its, Status.CANCELLED, error="another run holds the lock", error_kind=ErrorKind.REFUSED)
    its.standing = page_gallery.standing([its.ledger.runs[run.run_id]])
    ben = logged_in(its, "ben")
    for path in ("/", "/runs", f"/runs/{run.id}"):
        text = ben.get(path).text
        assert "</span> refused</span>" in text
        assert "cancelled" not in text
        assert "another run holds the lock" in text
    assert "Run it again" not in ben.get(f"/runs/{run.id}").text


def test_what_was_asked_for_wrongly_is_not_red(its: World) -> None:
    its.ledger.begin("policy_check", "run-1", Mode.DIRECT, NOW, parameters={})
    its.ledger.note_step("run-1", replace(step(), status=Status.FAILED))
    its.ledger.close(
        "run-1", Status.FAILED, NOW + timedelta(seconds=4), error="no such proposal", error_kind=ErrorKind.INPUT
    )
    its.standing = page_gallery.standing(list(its.ledger.runs.values()))
    text = logged_in(its, "ben").get("/").text
    assert '<span class="chip "><span aria-hidden="true">–</span> wrong input</span>' in text
    assert 'class="failed"' not in text
    assert "said wrong" not in text


def test_a_run_that_is_being_repeated_leads_to_its_repetition(its: World) -> None:
    run = a_run(its, Status.CANCELLED, error="cancelled by ben: x", error_kind=ErrorKind.INTERRUPTED)
    ben = logged_in(its, "ben")
    assert "Run it again" in ben.get(f"/runs/{run.id}").text
    again = ben.send(f"/runs/{run.id}/retry").headers["location"]
    text = ben.get(f"/runs/{run.id}").text
    assert f'href="{again}">It is being repeated' in text
    assert "Run it again" not in text
    its.ledger.close(its.launched[0], Status.FAILED, NOW, error="x", error_kind=ErrorKind.DEFECT)
    assert "Run it again" in ben.get(f"/runs/{run.id}").text


def test_a_full_run_that_completed_leads_to_the_proposals(its: World) -> None:
    its.access.add("boss", *sorted(TABLE["GET", "/"].roles | TABLE["GET", "/proposals"].roles))
    button = '<a class="button" href="/proposals">'
    its.ledger.begin("full", "run-1", Mode.DIRECT, NOW, parameters={})
    boss, ben = logged_in(its, "boss"), logged_in(its, "ben")
    assert button not in boss.get("/runs/run-1").text
    its.ledger.close("run-1", Status.COMPLETED, NOW, result={"findings": 4, "notes": 9})
    text = boss.get("/runs/run-1").text
    assert button in text
    assert "It told: 4 findings." in text
    assert button not in ben.get("/runs/run-1").text


def test_the_menu_has_the_switch_for_who_may_use_it(its: World) -> None:
    link = '<a href="/switch">Switch</a>'
    assert link in logged_in(its, "ben").get("/runs").text
    assert link not in logged_in(its, "vera").get("/runs").text


def test_what_is_not_there_is_told_to_people_in_words_for_people(its: World, browser: Browser) -> None:
    text = logged_in(its, "ben").get("/runs/999").text
    assert "There is no such run" in text
    assert 'class="button" href="/runs"' in text
    assert not [word for word in ("GET ", "/workflows", "ORGANISM_") if word in text]
    page = browser.get("/nowhere", Accept="text/html,application/xhtml+xml")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "content-security-policy" in page.headers
    other = browser.get("/nowhere", Accept="*/*")
    assert (other.status_code, other.headers["content-type"]) == (404, "application/problem+json")


def test_a_new_installation_is_not_late_before_something_was_due(its: World) -> None:
    young = page_gallery.young(timedelta(minutes=3))
    assert not [c.name for c in views.clocks(young) if c.mark[2] == "warn"]
    assert "late" not in views.headline(young)[0]
    old = page_gallery.young(timedelta(hours=7))
    late = {c.name for c in views.clocks(old) if c.mark[2] == "warn"}
    assert late == {"interactions applied", "incremental completed", "full completed", "watch completed"}


def standing_of(name: str) -> Standing:
    return {"empty": page_gallery.empty, "healthy": page_gallery.healthy, "incident": page_gallery.incident}[name]()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ["Nothing has run yet", "never yet", "✓</span> up"]),
        ("healthy", ["everything is on time", "proposals wait for a decision", "dead letters", "goal: within 10 min"]),
        (
            "incident",
            ["1 open incident", "docker compose up -d redis", "✗</span> away", "Halted:", "The stream cannot be asked"],
        ),
    ],
)
def test_each_state_says_in_words_what_it_is(its: World, name: str, words: list[str]) -> None:
    its.standing = standing_of(name)
    text = logged_in(its, "vera").get("/").text
    assert [word for word in words if word not in text] == []


def test_how_things_stand_is_asked_once_for_all_who_look() -> None:
    asked, time = [], [0.0]

    def ask() -> Standing:
        asked.append(time[0])
        return page_gallery.healthy()

    glance = Glance(ask, lambda: time[0])
    assert glance() is glance()
    time[0] = 60.0
    glance()
    assert asked == [0.0, 60.0]


def test_who_comes_while_somebody_asks_is_given_what_was_seen_before() -> None:
    """A store that hangs must not take all threads of the API."""
    time, before, lets_go = [0.0], page_gallery.healthy(), Event()

    def ask() -> Standing:
        if time[0]:
            lets_go.wait(10)
        return before

    glance = Glance(ask, lambda: time[0], patience_s=0.05)
    glance()
    time[0] = 60.0
    assert glance() is before and glance() is before
    time[0] = 600.0
    with pytest.raises(TransientError):
        glance()
    lets_go.set()


@pytest.mark.parametrize(
    ("form", "action", "back"),
    [("/switch", "/switch/halt", "/switch"), ("/runs/1/cancel", "/runs/1/cancel", "/runs/1/cancel")],
)
def test_from_a_form_that_was_refused_the_way_back_is_a_page(its: World, form: str, action: str, back: str) -> None:
    a_run(its, Status.RUNNING)
    ben = logged_in(its, "ben")
    its.audit.fails = TransientError("away")
    answer = ben.post(action, {name: each[0] for name, each in ben.form(form).items()} | {"reason": "x"})
    assert answer.status_code == 503
    assert f'href="{back}"' in answer.text
    assert ben.get(back).status_code == 200
