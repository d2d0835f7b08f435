"""How long a receiver may ask us to wait, and what of a URL is ever said."""

from __future__ import annotations

import logging
from datetime import timedelta

import httpx
import pytest

from alerts.channels.http import host_of, waiting_time
from tests.support.alerting import NOW

DATE = "Mon, 02 Mar 2026 06:31:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "999999999999"}, 3_600),
        ({"retry-after": DATE}, 90),
        ({"retry-after": "Mon, 02 Mar 2020 06:31:30 GMT"}, 1),
        ({"x-sentry-rate-limits": "60:error;default:organization, 2700:transaction:key"}, 60),
        ({"retry-after": "10", "x-sentry-rate-limits": "60:error:key"}, 10),
    ],
)
def test_a_receiver_says_when_to_come_back(headers: dict[str, str], seconds: float) -> None:
    assert waiting_time(headers, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("said", [{}, {"retry-after": "soon"}, {"retry-after": "-1"}, {"retry-after": "1e999"}])
def test_a_receiver_that_says_nothing_sensible_is_asked_by_our_own_plan(said: dict[str, str]) -> None:
    assert waiting_time(said, NOW) is None


@pytest.mark.parametrize(
    "url", ["https://u:p@hook.example:99/secret?k=v#f", "https://hook.example", "//hook.example/x"]
)
def test_nothing_but_the_host_of_a_url_is_said(url: str) -> None:
    assert host_of(url) == "hook.example"
    assert "secret" not in host_of("secret") + host_of("http://[secret")


def test_httpx_logs_no_url_however_logging_is_set_up(caplog: pytest.LogCaptureFixture) -> None:
    """The transport answers without a socket; httpx writes the same line for it."""
    caplog.set_level(logging.DEBUG, "httpx")
    _ask("https://hook.example/canary-secret")
    assert "canary" not in caplog.text


def test_httpx_would_log_the_url_if_it_were_let(caplog: pytest.LogCaptureFixture) -> None:
    """The control: without our filter the same request shows it, already at INFO."""
    caplog.set_level(logging.INFO, "httpx")
    logger = logging.getLogger("httpx")
    filters, logger.filters = logger.filters, []
    try:
        _ask("https://hook.example/canary-secret")
    finally:
        logger.filters = filters
    assert "canary-secret" in caplog.text


def _ask(url: str) -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.post(url)
