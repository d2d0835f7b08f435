from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipelines.jobs import contract
from pipelines.model import Code, Interaction, Refusal
from tests.support import make


def changed(**changes: Any) -> bytes:
    """A valid event with other attributes; None removes one."""
    event = msgspec.json.decode(make.event("1")) | changes
    return msgspec.json.encode({key: value for key, value in event.items() if value is not None})


def code(payload: bytes) -> Code | None:
    found = contract.verdict(payload)
    return found.code if isinstance(found, Refusal) else None


def test_a_valid_event_is_valid() -> None:
    assert isinstance(contract.verdict(make.event("1")), Interaction)


@pytest.mark.parametrize(
    "payload",
    [
        changed(specversion="2.0", data={"actor": "anna@corp.example", "targets": []}),
        changed(type="interaction.fax", data={"actor": "anna", "targets": [make.person(2)]}),
        changed(id=None, data={"actor": make.person(1), "targets": ["bert"]}),
        changed(time="soon", data={"person": "anna"}),
        changed(type=None, extra={"deep": [{"manager": "anna"}]}),
        changed(comment="ask anna@corp.example"),
        changed(**{"anna@corp.example": 1}),
    ],
)
def test_a_raw_id_is_found_where_the_parser_does_not_look(payload: bytes) -> None:
    assert code(payload) is Code.RAW_IDENTIFIER


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{", Code.BAD_JSON),
        (b"[]", Code.BAD_JSON),
        (b"\xff", Code.BAD_ENCODING),
        (changed(data={"actor": "anna", "targets": []}), Code.RAW_IDENTIFIER),
        (changed(subject="hello"), Code.FORBIDDEN_CONTENT),
        (changed(specversion="2.0"), Code.UNKNOWN_VERSION),
        (changed(id=None), Code.MISSING_FIELD),
    ],
)
def test_other_refusals_are_the_parser_s(payload: bytes, expected: Code) -> None:
    assert code(payload) is expected


def test_an_event_s_own_id_may_be_anything() -> None:
    assert code(changed(id="<m@corp.example>", unknown=1)) is None


def test_hostile_nesting_is_survived() -> None:
    deep = b'{"specversion": "1.0", "a": ' + b'[{"b": ' * 400 + b"1" + b"}]" * 400 + b"}"
    assert code(deep) in (Code.UNKNOWN_VERSION, Code.BAD_JSON)
