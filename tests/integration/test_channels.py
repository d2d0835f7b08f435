"""Every channel against a receiver that speaks its protocol, over real sockets, with every fault that a receiver can have."""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from alerts.channels import Channel
from alerts.channels.email import Email
from alerts.channels.http import Busy
from alerts.channels.sentry import Sentry
from alerts.channels.slack import SlackBot, SlackWebhook
from alerts.channels.webhook import SIGNATURE, TIMESTAMP, Webhook, signature
from alerts.model import Change, Failed
from tests.support.alerting import NOW, PROBLEM, came_back, message
from tests.support.http_sink import Fault, Sink
from tests.support.sinks import Sinks, sinks
from tests.support.smtp_sink import MailFault, MailSink

#: Long enough for a loaded machine to answer; tests of silence wait for all of it.
PATIENT, IMPATIENT = 20.0, 0.3
SECRET = "webhook-sink-secret"
SENDER, TO = "organism@sink.example", "on-call@sink.example, second@sink.example"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def s() -> Iterator[Sinks]:
    with sinks() as opened:
        yield opened


#: How to make each channel over HTTP, and which receiver it has.
HTTP: dict[str, tuple[Callable[[Sinks, float], Channel], Callable[[Sinks], Sink]]] = {
    "slack webhook": (lambda s, t: SlackWebhook(s.slack.url, t), lambda s: s.slack),
    "slack bot": (lambda s, t: SlackBot(s.slack.token, s.slack.channel_name, s.slack.api_url, t), lambda s: s.slack),
    "webhook": (lambda s, t: Webhook(s.webhook.url, SECRET, t), lambda s: s.webhook),
    "sentry": (lambda s, t: Sentry(s.sentry.dsn, timeout=t), lambda s: s.sentry),
}


def failing(channel: Channel, told: Any = None) -> Failed:
    """The failure, which must say nothing but what kind it is and where."""
    with closing(channel), pytest.raises(Failed) as caught:
        channel.send(told or message(), NOW)
    # The error behind it holds the request, for whoever walks along the chain.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    for secret in ("sinksecret", "/services", "/hooks", "xoxb", "00000051", SECRET, "hunter22", "on-call", "http:/"):
        assert secret not in shown
    assert "127.0.0.1" in caught.value.words or "sink.example" in caught.value.words
    return caught.value


# ------------------------------------------------------------------------------------------------------- over HTTP, all


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.ENDLESS])
@pytest.mark.parametrize("name", HTTP)
def test_every_fault_is_a_failure_and_afterwards_the_message_arrives_once(s: Sinks, name: str, fault: Fault) -> None:
    make, of = HTTP[name]
    sink = of(s)
    sink.fault = fault
    failure = failing(make(s, IMPATIENT if fault is Fault.HANG else PATIENT))
    assert failure.permanent is (name == "webhook" and fault is Fault.WRONG)  # it says 404
    assert isinstance(failure, Busy) is (fault is Fault.BUSY)
    taken = len(sink.requests)
    assert taken == (1 if fault is Fault.LOST else 0)
    sink.fault = None
    with closing(make(s, PATIENT)) as channel:
        channel.send(message(), NOW)
    assert len(sink.requests) == taken + 1


@pytest.mark.parametrize("name", HTTP)
def test_a_receiver_that_is_busy_says_for_how_long(s: Sinks, name: str) -> None:
    make, of = HTTP[name]
    of(s).fault, of(s).retry_after = Fault.BUSY, "42"
    failure = failing(make(s, PATIENT))
    assert isinstance(failure, Busy)
    assert failure.retry_after == timedelta(seconds=42)


@pytest.mark.parametrize("name", HTTP)
def test_a_redirect_is_not_followed(s: Sinks, name: str) -> None:
    """It would carry the message, and with it the token or the signature, to whoever is named there."""
    make, of = HTTP[name]
    of(s).fault = Fault.MOVED
    assert "302" in failing(make(s, PATIENT)).words
    assert of(s).requests == []


@pytest.mark.parametrize("name", HTTP)
def test_an_answer_without_an_end_is_not_listened_to(s: Sinks, name: str) -> None:
    make, of = HTTP[name]
    of(s).fault = Fault.ENDLESS
    if name == "webhook":  # it asks for a status only
        with closing(make(s, PATIENT)) as channel:
            channel.send(message(), NOW)
    else:
        assert "answered, but not as" in failing(make(s, PATIENT)).words
    assert len(of(s).requests) == 1


@pytest.mark.parametrize("name", ["slack webhook", "sentry"])
def test_what_is_only_an_update_is_not_sent_where_nothing_can_be_edited(s: Sinks, name: str) -> None:
    make, of = HTTP[name]
    with closing(make(s, PATIENT)) as channel:
        for change in Change:
            channel.send(message(change), NOW)
    assert len(of(s).requests) == len(Change) - 1


# ---------------------------------------------------------------------------------------------------------------- Slack


def bot(s: Sinks, token: str | None = None, channel: str | None = None) -> SlackBot:
    return SlackBot(token or s.slack.token, channel or s.slack.channel_name, s.slack.api_url, PATIENT)


def test_a_webhook_shows_what_happened_and_what_to_do(s: Sinks) -> None:
    with closing(SlackWebhook(s.slack.url, PATIENT)) as channel:
        assert channel.send(message(), NOW) is None
    (post,) = s.slack.posts
    shown = repr(post)
    for part in (PROBLEM.what, PROBLEM.stale, PROBLEM.works, PROBLEM.lost, PROBLEM.fix, PROBLEM.link or ""):
        assert part in shown


def test_a_bot_keeps_one_message_for_an_incident_and_answers_below_it(s: Sinks) -> None:
    thread = None
    with closing(bot(s)) as channel:
        for change in (Change.OPENED, Change.UPDATED, Change.UPDATED, Change.ESCALATED, Change.RECOVERED):
            thread = channel.send(message(change, thread), NOW)
    first, *answers = s.slack.messages.values()
    assert thread == f"{s.slack.channel}:{first.ts}"
    assert [version["text"].split(":")[0] for version in first.versions] == [
        "Critical", "Critical", "Critical", "Escalated", "Recovered",
    ]  # fmt: skip
    assert [(answer.thread, answer.broadcast) for answer in answers] == [(first.ts, True), (first.ts, False)]


def test_what_comes_back_is_said_aloud_below_its_message(s: Sinks) -> None:
    with closing(bot(s)) as channel:
        thread = channel.send(message(), NOW)
        assert channel.send(came_back(thread), NOW) == thread
    first, answer = s.slack.messages.values()
    assert (len(first.versions), answer.thread, answer.broadcast) == (2, first.ts, True)


def test_a_message_that_somebody_deleted_is_posted_anew(s: Sinks) -> None:
    with closing(bot(s)) as channel:
        old = channel.send(message(), NOW)
        s.slack.messages[f"of somebody else {old}"] = s.slack.messages.popitem()[1]
        new = channel.send(message(Change.RECOVERED, old), NOW)
    assert new != old
    assert len(s.slack.messages) == 2


def test_what_was_never_opened_in_slack_is_posted_when_it_recovers(s: Sinks) -> None:
    with closing(bot(s)) as channel:
        assert channel.send(message(Change.RECOVERED), NOW)
    assert len(s.slack.messages) == 1


def test_an_edit_that_was_done_and_not_answered_is_done_again_without_harm(s: Sinks) -> None:
    with closing(bot(s)) as channel:
        thread = channel.send(message(), NOW)
        s.slack.fault = Fault.LOST
        with pytest.raises(Failed):
            channel.send(message(Change.UPDATED, thread), NOW)
        s.slack.fault = None
        assert channel.send(message(Change.UPDATED, thread), NOW) == thread
    assert len(s.slack.messages) == 1


@pytest.mark.parametrize(
    ("says", "permanent"),
    [
        ("invalid_auth", True), ("channel_not_found", True), ("is_archived", True), ("missing_scope", True),
        ("ratelimited", False), ("internal_error", False), ("fatal_error", False), ("service_unavailable", False),
        ("something_new", False), ("<b>what https://x/y</b>", False),
    ],
)  # fmt: skip
def test_the_words_of_slack_say_whether_to_try_again(s: Sinks, says: str, permanent: bool) -> None:
    s.slack.says = says
    failure = failing(bot(s))
    assert failure.permanent is permanent
    assert (says in failure.words) is says.isidentifier()


def test_a_wrong_token_and_a_wrong_channel_are_permanent(s: Sinks) -> None:
    assert failing(bot(s, token="xoxb-wrong")).permanent
    assert failing(bot(s, channel="#nowhere")).permanent


def test_a_webhook_that_was_removed_is_permanent(s: Sinks) -> None:
    assert failing(SlackWebhook(s.slack.url.replace("/T0SINK/", "/T0GONE/"), PATIENT)).permanent


# -------------------------------------------------------------------------------------------------------------- webhook


def test_a_receiver_can_prove_who_sent_it_and_when(s: Sinks) -> None:
    with closing(Webhook(s.webhook.url, SECRET, PATIENT)) as channel:
        channel.send(message(), NOW)
    (request,) = s.webhook.requests
    stamp = request.headers[TIMESTAMP]
    assert int(stamp) == NOW.timestamp()
    assert request.headers[SIGNATURE] == f"v1={signature(SECRET, stamp, request.body)}"
    assert signature(SECRET, stamp, request.body + b" ") not in request.headers[SIGNATURE]
    assert signature(SECRET, str(int(stamp) + 1), request.body) not in request.headers[SIGNATURE]
    assert request.json["problem"]["code"] == "FLOW_FAILED"


def test_without_a_secret_nothing_is_signed(s: Sinks) -> None:
    with closing(Webhook(s.webhook.url, None, PATIENT)) as channel:
        channel.send(message(), NOW)
    assert SIGNATURE not in s.webhook.requests[0].headers


def test_a_second_try_has_the_key_of_the_first(s: Sinks) -> None:
    s.webhook.fault = Fault.LOST
    failing(Webhook(s.webhook.url, SECRET, PATIENT))
    s.webhook.fault = None
    with closing(Webhook(s.webhook.url, SECRET, PATIENT)) as channel:
        channel.send(message(), NOW + timedelta(hours=1))
        channel.send(message(Change.RECOVERED), NOW)
    keys = [request.headers["Idempotency-Key"] for request in s.webhook.requests]
    assert keys[0] == keys[1] != keys[2]


# --------------------------------------------------------------------------------------------------------------- Sentry


def test_sentry_has_one_issue_for_an_incident_with_its_level_and_tags(s: Sinks) -> None:
    with closing(Sentry(s.sentry.dsn, timeout=PATIENT)) as channel:
        for change in (Change.OPENED, Change.ESCALATED, Change.RECOVERED):
            channel.send(message(change), NOW)
    assert {tuple(event["fingerprint"]) for event in s.sentry.events} == {(PROBLEM.key,)}
    assert [event["level"] for event in s.sentry.events] == ["error", "error", "info"]
    assert s.sentry.events[0]["tags"] == {"code": "FLOW_FAILED", "flow": "incremental", "change": "opened"}
    assert PROBLEM.what in s.sentry.events[0]["message"]
    assert len({event["event_id"] for event in s.sentry.events}) == 3


def test_sentry_is_told_nothing_of_this_machine_and_this_process(s: Sinks) -> None:
    scope = sentry_sdk.get_isolation_scope()
    scope.set_tag("of the process", "yes")
    try:
        with closing(Sentry(s.sentry.dsn, timeout=PATIENT)) as channel:
            channel.send(message(), NOW)
    finally:
        scope.clear()
    (event,) = s.sentry.events
    assert set(event["tags"]) == {"code", "flow", "change"}
    assert set(event["contexts"]) == {"alert"}
    assert not event.keys() & {
        "server_name",
        "modules",
        "user",
        "request",
        "breadcrumbs",
        "extra",
        "threads",
        "release",
    }
    assert socket.gethostname() not in s.sentry.envelopes[0].decode()


def test_a_second_try_is_the_same_event_for_sentry(s: Sinks) -> None:
    s.sentry.fault = Fault.LOST
    failing(Sentry(s.sentry.dsn, timeout=PATIENT))
    s.sentry.fault = None
    with closing(Sentry(s.sentry.dsn, timeout=PATIENT)) as channel:
        channel.send(message(), NOW)
    assert len(s.sentry.events) == 2
    assert len({event["event_id"] for event in s.sentry.events}) == 1


def test_a_wrong_key_of_sentry_is_permanent(s: Sinks) -> None:
    assert failing(Sentry(s.sentry.dsn.replace("51@", "52@"), timeout=PATIENT)).permanent


def test_a_defect_is_told_by_its_types_and_lines_and_never_by_its_words(s: Sinks) -> None:
    with closing(Sentry(s.sentry.dsn, timeout=PATIENT)) as channel:
        try:
            _break("canary")
        except ValueError as error:
            channel.capture(error, NOW)
    (event,) = s.sentry.events
    cause, outer = event["exception"]["values"]
    assert (cause["type"], outer["type"]) == ("KeyError", "ValueError")
    frame = outer["stacktrace"]["frames"][-1]
    assert (frame["function"], frame["filename"]) == ("_break", "test_channels.py")
    assert "canary" not in s.sentry.envelopes[0].decode()


def _break(secret: str) -> None:
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise ValueError(f"bad {secret}") from error


# --------------------------------------------------------------------------------------------------------------- e-mail

#: Faults of a mail server: whether another try is worth it, and whether the mail was taken all the same.
MAIL_FAULTS = {
    MailFault.DOWN: (False, 0), MailFault.BUSY: (False, 0), MailFault.GREYLIST: (False, 0), MailFault.REFUSE: (True, 0),
    MailFault.FULL: (True, 0), MailFault.LOGIN: (True, 0), MailFault.LOGIN_LATER: (False, 0), MailFault.HANG: (False, 0),
    MailFault.RESET: (False, 0), MailFault.LOST: (False, 1), MailFault.WRONG: (False, 0),
}  # fmt: skip


def email_of(sink: MailSink, host: str = "127.0.0.1", scheme: str = "smtp", timeout: float = PATIENT) -> Email:
    return Email(f"{scheme}://organism:hunter22@{host}:{sink.port}", SENDER, TO, timeout)


@pytest.mark.parametrize("fault", MAIL_FAULTS)
def test_every_fault_of_a_mail_server_is_a_failure_and_afterwards_the_mail_arrives(s: Sinks, fault: MailFault) -> None:
    permanent, taken = MAIL_FAULTS[fault]
    s.mail.fault = fault
    failure = failing(email_of(s.mail, timeout=IMPATIENT if fault is MailFault.HANG else PATIENT))
    assert failure.permanent is permanent
    assert len(s.mail.mails) == taken
    s.mail.fault = None
    email_of(s.mail).send(message(), NOW)
    assert len(s.mail.mails) == taken + 1
    assert len({mail.message["Message-ID"] for mail in s.mail.mails}) == 1


def test_a_mail_that_was_taken_is_not_sent_again_because_the_goodbye_failed(s: Sinks) -> None:
    s.mail.fault = MailFault.RUDE
    email_of(s.mail).send(message(), NOW)
    assert len(s.mail.mails) == 1


def test_a_mail_goes_to_everybody_with_the_given_login(s: Sinks) -> None:
    email_of(s.mail).send(message(), NOW)
    (mail,) = s.mail.mails
    assert mail.recipients == ("on-call@sink.example", "second@sink.example")
    assert (mail.sender, mail.login) == (SENDER, ("organism", "hunter22"))
    assert socket.gethostname() not in mail.greeting + mail.readable


def test_one_refused_recipient_does_not_keep_the_mail_from_the_others(
    s: Sinks, caplog: pytest.LogCaptureFixture
) -> None:
    Email(s.mail.url, SENDER, "nobody@sink.example, on-call@sink.example", PATIENT).send(message(), NOW)
    assert s.mail.mails[0].recipients == ("on-call@sink.example",)
    assert "1 of 2 recipients" in caplog.text
    assert "nobody" not in caplog.text


def test_updates_are_not_mailed(s: Sinks) -> None:
    email_of(s.mail).send(message(Change.UPDATED), NOW)
    assert s.mail.mails == []


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ssl.SSLContext:
    """mail.sink.example, which is no name of this machine and leads here all the same, with a certificate to trust."""
    found = socket.getaddrinfo

    def lead_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        return found("127.0.0.1" if host == "mail.sink.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lead_here)
    path = certificate(tmp_path, "mail.sink.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate and its key in one file, good for a day around now."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(text) + key.private_bytes(text, serialization.PrivateFormat.PKCS8, plain))
    return path


def test_mail_to_another_machine_is_secured_before_the_password_is_said(elsewhere: ssl.SSLContext) -> None:
    with closing(MailSink(tls=elsewhere)) as sink:
        email_of(sink, "mail.sink.example").send(message(), NOW)
        assert [(mail.secure, mail.login) for mail in sink.mails] == [(True, ("organism", "hunter22"))]


def test_smtps_is_secure_from_the_start(elsewhere: ssl.SSLContext) -> None:
    with closing(MailSink(tls=elsewhere, implicit=True)) as sink:
        email_of(sink, "mail.sink.example", "smtps").send(message(), NOW)
        assert sink.mails[0].secure


@pytest.mark.usefixtures("elsewhere")
def test_another_machine_that_offers_no_security_gets_no_mail_and_no_password() -> None:
    with closing(MailSink()) as sink:
        failure = failing(email_of(sink, "mail.sink.example"))
        assert failure.permanent
        assert "STARTTLS" in failure.words
        assert sink.mails == []


def test_a_certificate_that_nobody_vouches_for_is_refused(
    elsewhere: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path / "other", "other.sink.example")))
    with closing(MailSink(tls=elsewhere)) as sink:
        assert "SSLCertVerificationError" in failing(email_of(sink, "mail.sink.example")).words
        assert sink.mails == []


# ----------------------------------------------------------------------------------------------------------------- logs


def test_no_log_shows_the_url_of_a_webhook_even_at_its_most_talkative(
    s: Sinks, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "httpx", "httpcore", "urllib3", "sentry_sdk", "alerts"):
        caplog.set_level(logging.DEBUG, name or None)
    for fault in (None, Fault.ERROR, Fault.BUSY, Fault.RESET, Fault.MOVED, Fault.WRONG):
        for make, of in HTTP.values():
            of(s).fault = fault
            with closing(make(s, PATIENT)) as channel:
                try:
                    channel.send(message(), NOW)
                except Failed as failed:
                    logging.getLogger("alerts").warning("not told", exc_info=failed)
    assert len(caplog.records) > 50
    for secret in ("sinksecret", "/services", "/hooks/", "xoxb-", s.sentry.key, SECRET):
        assert secret not in caplog.text
