"""A mail as it is written: one conversation for each incident, and nothing of it taken for a header."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from alerts.channels.email import Email, compose
from alerts.model import Change, Failed
from tests.support.alerting import NOW, PROBLEM, came_back, message

SENDER, TO = "organism@corp.example", ["a@corp.example", "b@corp.example"]


def mail(change: Change, **problem: str) -> EmailMessage:
    """As a client reads it."""
    written = compose(message(change, **problem), SENDER, TO, NOW).as_bytes()
    read = email.message_from_bytes(written, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


def test_later_mails_answer_the_first() -> None:
    opened = mail(Change.OPENED)
    assert opened["In-Reply-To"] is None
    for change in (Change.ESCALATED, Change.RECOVERED):
        later = mail(change)
        assert later["In-Reply-To"] == later["References"] == opened["Message-ID"]
        assert later["Message-ID"] != opened["Message-ID"]


def test_a_mail_about_what_came_back_is_a_new_one_in_the_same_conversation() -> None:
    again = compose(came_back(), SENDER, TO, NOW)
    assert again["References"] == mail(Change.OPENED)["Message-ID"] != again["Message-ID"]


def test_the_same_news_has_the_same_message_id_so_that_a_second_try_can_be_dropped() -> None:
    assert mail(Change.OPENED)["Message-ID"] == mail(Change.OPENED)["Message-ID"]


def test_a_mail_is_readable_as_text_and_as_html() -> None:
    read = mail(Change.OPENED)
    for kind in ("plain", "html"):
        part = read.get_body((kind,))
        assert part is not None
        assert PROBLEM.what in part.get_content()


def test_a_text_never_becomes_a_header() -> None:
    read = mail(Change.OPENED, subject="x\r\nBcc: everybody@corp.example", what="\r\n.\r\nDATA\r\n")
    assert read["Bcc"] is None
    assert read["To"] == ", ".join(TO)


def test_machines_are_asked_not_to_answer() -> None:
    assert mail(Change.OPENED)["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("url", ["http://mail.example", "smtp://", "mail.example:25", "smtps:"])
def test_what_is_no_mail_server_is_a_permanent_failure(url: str) -> None:
    with pytest.raises(Failed) as failed:
        Email(url, SENDER, "a@corp.example").send(message(), NOW)
    assert failed.value.permanent
