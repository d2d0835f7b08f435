from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidInput
from pipelines.pseudonyms import Pseudonymiser, normal

KEY = b"a key of the tests, long enough"
fixed = settings(derandomize=True, deadline=None)


@fixed
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_pseudonym_has_the_contract_s_form_and_is_always_the_same(raw: str) -> None:
    if not normal(raw):
        return
    pseudonym = Pseudonymiser(KEY).of(raw)
    assert re.fullmatch(r"p_[0-9a-f]{32}", pseudonym)
    assert pseudonym == Pseudonymiser(KEY).of(raw)


@fixed
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_normal_form_is_its_own_normal_form(raw: str) -> None:
    assert normal(normal(raw)) == normal(raw)


def test_spellings_of_one_address_are_one_person() -> None:
    of = Pseudonymiser(KEY).of
    assert of("Anna@Corp.Example") == of(" anna@corp.example ") == of("\uff21nna@corp.example")


def test_another_key_gives_another_pseudonym() -> None:
    assert Pseudonymiser(KEY).of("anna") != Pseudonymiser(KEY + b"!").of("anna")


def test_without_own_domains_everybody_is_inside() -> None:
    assert Pseudonymiser(KEY).of("a@elsewhere.example").startswith("p_")


def test_other_domains_are_outside_and_ids_without_one_inside() -> None:
    of = Pseudonymiser(KEY, ["Corp.Example", "@corp.test"]).of
    assert [of(raw)[:2] for raw in ("a@corp.example", "a@CORP.test", "17", "a@eu.corp.example", "a@x.example")] == [
        "p_", "p_", "p_", "x_", "x_",
    ]  # fmt: skip


def test_a_person_keeps_the_digits_inside_and_outside() -> None:
    assert Pseudonymiser(KEY).of("a@b.example")[2:] == Pseudonymiser(KEY, ["c.example"]).of("a@b.example")[2:]


@pytest.mark.parametrize("raw", ["", " \t", "\ud800"])
def test_what_is_no_id_has_no_pseudonym(raw: str) -> None:
    with pytest.raises(ValueError):
        Pseudonymiser(KEY).of(raw)


def test_an_empty_or_short_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 16"):
        Pseudonymiser(b"")


def test_event_ids_are_keyed_and_tell_their_parts_apart() -> None:
    one, other = Pseudonymiser(KEY), Pseudonymiser(KEY + b"!")
    assert one.event_id("s", "<m@x>") == one.event_id("s", "<m@x>") != other.event_id("s", "<m@x>")
    assert one.event_id("ab", "c") != one.event_id("a", "bc")
    assert re.fullmatch(r"[0-9a-f]{32}", one.event_id("s"))


def test_the_key_is_not_in_the_text_form() -> None:
    assert KEY.decode() not in repr(Pseudonymiser(KEY))
