"""Ingestion documents: judged where they come in; what goes on are codes and counts, and nothing of what they hold."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import InvalidInput
from pipelines.jobs import documents
from tests.support.make import NOW, event

SECRET = "anna.canary@example.org"


def judged(*items: bytes, joined: bytes = b"\n") -> dict[str, int]:
    return documents.judged(joined.join(items), NOW)


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(event("e1")) | changes).encode()


@pytest.mark.parametrize("document", [event("a") + b"\n" + event("b"), b"[" + event("a") + b"," + event("b") + b"]"])
def test_lines_and_a_list_are_the_same(document: bytes) -> None:
    assert documents.judged(document, NOW) == {"items": 2, "valid": 2}


def test_one_object_over_several_lines_is_one_item() -> None:
    assert judged(json.dumps(json.loads(event("a")), indent=2).encode()) == {"items": 1, "valid": 1}


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (b"{", "BAD_JSON"),
        (b"\xff\xfe", "BAD_ENCODING"),
        (b'"text"', "BAD_JSON"),
        (changed(body="hello"), "FORBIDDEN_CONTENT"),
        (changed(data={"actor": SECRET, "targets": []}), "RAW_IDENTIFIER"),
        (changed(note=SECRET), "RAW_IDENTIFIER"),
        (changed(specversion="2.0"), "UNKNOWN_VERSION"),
        (changed(type="interaction.telepathy"), "UNKNOWN_TYPE"),
        (event("e", time=NOW + timedelta(hours=1)), "FROM_FUTURE"),
    ],
)
def test_each_rule_says_no_by_its_code(item: bytes, code: str) -> None:
    assert judged(item) == {"items": 1, "valid": 0, code: 1}


class TestMappings:
    def test_a_mapping_of_harmless_fields_is_valid(self) -> None:
        mapping = {"actor": "from_hash", "targets": "to_hashes", "time": "sent_at", "nested": {"duration_s": "length"}}
        assert judged(json.dumps(mapping).encode()) == {"items": 1, "valid": 1}

    @pytest.mark.parametrize(
        ("mapping", "code"),
        [
            ({"note": "body"}, "FORBIDDEN_CONTENT"),
            ({"note": "mail.Subject"}, "FORBIDDEN_CONTENT"),
            ({"subject": "x"}, "FORBIDDEN_CONTENT"),
            ({"who": [{"is": SECRET}]}, "RAW_IDENTIFIER"),
            ({SECRET: "actor"}, "RAW_IDENTIFIER"),
            ({"who": "p_" + "0" * 32}, "RAW_IDENTIFIER"),
        ],
    )
    def test_one_that_names_content_or_somebody_is_not(self, mapping: dict[str, Any], code: str) -> None:
        assert judged(json.dumps(mapping).encode()) == {"items": 1, "valid": 0, code: 1}


def test_nothing_of_a_document_is_in_what_goes_on() -> None:
    """The naive control: the parser's own words may name a key of the payload."""
    found = judged(changed(data={"actor": SECRET, "targets": [SECRET]}), changed(canary_key=SECRET), b"canary")
    assert found["valid"] == 0
    assert "canary" not in json.dumps(found)
    assert set(found) <= {"items", "valid", *documents.CODES}


@pytest.mark.parametrize("document", [b"", b" \n ", b"x" * (documents.MOST_BYTES + 1)])
def test_an_empty_or_a_huge_document_is_wrong_input(document: bytes) -> None:
    with pytest.raises(InvalidInput, match="bytes"):
        documents.judged(document, NOW)


def test_deep_nesting_is_refused_and_not_followed() -> None:
    assert judged(b"[" * 100_000)["valid"] == 0


@pytest.mark.parametrize(
    "given",
    [f'{{"actor": "{SECRET}"}}', {"items": 1}, {"items": 1, "valid": -1}, {"items": 1, "valid": 1, SECRET: 1}, [1]],
)
def test_what_is_not_counted_of_a_document_is_refused_without_being_repeated(given: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        documents.counts(given)
    assert "canary" not in str(caught.value)


def test_counts_come_back_as_they_were_made() -> None:
    found = judged(event("a"), b"{")
    assert documents.counts(found) == found
