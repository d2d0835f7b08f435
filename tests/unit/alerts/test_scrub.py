"""What is taken out of a text, and what is left in it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.model import Message
from alerts.scrub import GONE, LONGEST, clean, clean_message, clean_tree, secrets_of
from pipelines.log import redact
from pipelines.privacy.traces import check_text
from tests.support.alerting import message

HEX = "0123456789abcdef0123456789abcdef"

SECRETS = {
    "pseudonym": (f"p_{HEX}", HEX),
    "pseudonym of an outsider": (f"x_{HEX}", HEX),
    "pseudonym cut short": ("p_0123abcd", "0123abcd"),
    "pseudonym after an escaped line break": (f"'\\np_{HEX}'", HEX),
    "pseudonym in capitals": (f"P_{HEX.upper()}", HEX.upper()),
    "pseudonym split by what has no width": (f"p_{HEX[:8]}\u200b{HEX[8:]}", HEX[8:]),
    "mail address": ("anna.meier+x@corp.example", "anna"),
    "mail address of a long name": (f"{'a' * 400}@corp.example", "aaaa"),
    "mail address without a dot": ("anna@corp", "anna"),
    "mail address in a URL": ("?to anna%40corp.example", "anna"),
    "URL with a password": ("postgresql://organism:hunter22@db:5432/x", "hunter22"),
    "URL with @ and / in the password": ("redis://:hun@ter/22@cache:6379", "ter/22"),
    "DSN": (f"https://{HEX}@o12.ingest.sentry.io/34", HEX),
    "Slack webhook": ("https://hooks.slack.com/services/T0/B0/xyzxyzxyz", "xyzxyzxyz"),
    "Slack webhook behind another host": ("http://10.0.0.1:99/services/T0ABC/B0ABC/xyzxyz", "xyzxyz"),
    "Slack token": ("xoxb-12-34-abcdef", "abcdef"),
    "JSON web token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "c2ln"),
    "key in a query": ("http://h/x?sig=abc1&key=abc2", "abc"),
    "password in a setting": ("ORGANISM_GRAPH_PASSWORD=hunter22", "hunter22"),
    "password in a dict": ("{'password': 'hunter 22'}", "hunter"),
    "header": ("Authorization: Bearer abc.def-ghi", "abc.def"),
    "bearer in a sentence": ("sent with bearer abcdefgh12", "abcdefgh12"),
    "long token": ("key is 9f8e7d6c5b4a39281706f5e4d3", "9f8e7d6c"),
    "private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
}

INNOCENT = [
    "incremental failed at update_graph_incremental after 4 attempts: the graph server did not answer.",
    "http://prefect:4200/runs/flow-run/0190f3d2-7c1b-7e32-a2b1-0123456789ab",
    "python -m pipelines.dlq list --code BAD_JSON && python -m deployments doctor",
    "full-2026-03-02T06-00, run 0190f3d2-7c1b-7e32-a2b1-0123456789ab, max_20260302",
    'FATAL: password authentication failed for user "organism"',
    "redis://127.0.0.1:6379/0 and bolt://graph:7687 are away since 2026-03-02 06:00 UTC",
    "deployment:9f3c2a10-aaaa-bbbb-cccc-000000000001 holds 1 of 1 slots",
    "ORGANISM_BREAKER_SHARE=0.5 pipelines.interventions.propose.SafeActionOrchestrator",
    "🔴 Größe 93 % of /var/lib/organism",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_or_a_person_is_taken_out(name: str) -> None:
    text, secret = SECRETS[name]
    cleaned = clean(f"before {text} after")
    assert secret not in cleaned
    assert GONE in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def test_the_redaction_of_the_log_alone_would_leave_half_of_them() -> None:
    """The control: these texts do leak where nothing, or only the log's filter, looks at them."""
    assert sum(secret in redact(text) for text, secret in SECRETS.values()) >= len(SECRETS) // 2
    assert all(secret in text.replace("\u200b", "") for text, secret in SECRETS.values())


@pytest.mark.parametrize("text", INNOCENT)
def test_what_a_reader_needs_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("written", ["{}", "x{}y", "({})", "<{}>", '"{}"', "{}\n", "=>{},", "\\t{}"])
def test_a_pseudonym_is_found_in_any_surroundings(written: str) -> None:
    assert HEX not in clean(written.format(f"p_{HEX}"))


def test_a_known_secret_is_taken_out_in_every_spelling() -> None:
    known = ["correct horse/battery"]
    for spelling in ("Correct Horse/Battery", "correct%20horse%2Fbattery", "correct horse/battery"):
        assert clean(f"said {spelling}!", known) == f"said {GONE}!"
    assert clean("neo4j is up", ["neo4j"]) == "neo4j is up"


def test_the_parts_of_a_url_that_open_something_are_secrets() -> None:
    found = set(secrets_of("smtp://organism:p%40ssw0rd@mail.example:587/alerts"))
    assert {"p%40ssw0rd", "p@ssw0rd"} <= found
    assert not found & {"organism", "mail.example", "/alerts", "alerts"}
    assert "abcdefghijklmnop" in set(secrets_of("https://hook.example/in/abcdefghijklmnop"))


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters() | st.sampled_from("@:/._-=?&%px0a"), max_size=200))
def test_cleaning_twice_is_cleaning_once_and_can_be_encoded(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    once.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.sampled_from(sorted(SECRETS)), st.text(max_size=60))
def test_no_trace_is_left_whatever_stands_around_it(before: str, name: str, after: str) -> None:
    assert check_text(clean(f"{before} {SECRETS[name][0]} {after}")) == []


def test_a_text_is_cut_between_words_so_that_half_a_secret_is_not_left() -> None:
    secret = "postgresql://organism:hunter22hunter22@db"
    for start in range(LONGEST - 60, LONGEST + 2, 4):
        cleaned = clean("x " * (start // 2) + secret + " y" * 100)
        assert "hunter" not in cleaned
        assert len(cleaned) <= LONGEST
    assert clean("a" * (LONGEST + 1)) == ""


@pytest.mark.parametrize(
    "piece", ["a", "a@", "a.", "p_", "a1", "://", "password=", "%40", "eyJ", "-----BEGIN ", "?a=", "'\""]
)
def test_no_text_takes_long(piece: str) -> None:
    """A bound of a hundred times what it takes: catastrophic backtracking takes minutes."""
    began = time.process_time()
    clean(piece * (LONGEST // len(piece)))
    assert time.process_time() - began < 20


def test_every_text_of_a_message_is_cleaned_and_an_unclean_link_is_dropped() -> None:
    secret = f"p_{HEX}"
    dirty = message(
        subject=secret, what=secret, stale=secret, works=secret, lost=secret, fix=secret, event=secret,
        link=f"http://ui:4200/runs/{secret}",
    )  # fmt: skip
    assert HEX in repr(dirty)
    cleaned = clean_message(dirty)
    assert HEX not in repr(cleaned)
    assert cleaned.incident.problem.link is None
    assert cleaned.incident.id == dirty.incident.id


@pytest.mark.parametrize("link", ["javascript:alert(1)", "http://u:p@h/", "http://h/|x", "http://h/ x", "ftp://h/x"])
def test_a_link_that_is_none_or_opens_something_is_dropped(link: str) -> None:
    assert clean_message(message(link=link)).incident.problem.link is None


def test_a_clean_message_is_not_changed() -> None:
    untouched: Message = message(thread="C1:1700000000.000001")
    assert clean_message(untouched) == untouched


def test_a_tree_is_cleaned_down_to_its_keys() -> None:
    tree = {f"p_{HEX}": [{"a": (f"x_{HEX}", 3, None)}]}
    assert not re.search(HEX, repr(clean_tree(tree)))
    assert clean_tree({"a": [1, True, None, "b"]}) == {"a": [1, True, None, "b"]}
