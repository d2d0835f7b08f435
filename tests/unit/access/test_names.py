"""Names of users: one spelling, and none that could be taken for somebody else's or for a person who is counted."""

from __future__ import annotations

import pytest

from pipelines import log
from pipelines.access.names import NOBODY, checked, folded
from pipelines.errors import InvalidInput


@pytest.mark.parametrize("typed", ["anna.berg", "Anna.Berg", "ANNA.BERG"])
def test_letters_of_any_case_are_the_same_user(typed: str) -> None:
    assert checked(typed) == folded(typed) == "anna.berg"


WRONG = [
    "", " ", " anna", "anna ", "anna\n", "anna\0", "anna berg", "anna@berg.example", "аnna", "-anna", "anna-", ".", "a" * 65,
    "x'; --", NOBODY,
]  # fmt: skip


@pytest.mark.parametrize("typed", WRONG)
def test_what_is_no_name_is_nobody(typed: str) -> None:
    assert folded(typed) == NOBODY
    with pytest.raises(InvalidInput, match="a user name has"):
        checked(typed)


def test_a_pseudonym_is_no_name() -> None:
    with pytest.raises(InvalidInput):
        checked("p_0123456789abcdef")


@pytest.mark.parametrize("name", ["a", "7", "a" * 64, "anna.berg-2_x"])
def test_every_name_comes_through_a_log_line(name: str) -> None:
    assert log.redact(f"user {checked(name)} logged in") == f"user {name} logged in"
