"""Passwords: what is kept of them, what a new one must be, and that an unknown user costs what a known one does."""

from __future__ import annotations

import threading
from dataclasses import replace

import argon2
import pytest
from argon2.profiles import RFC_9106_LOW_MEMORY

from pipelines.access import passwords
from pipelines.access.passwords import Passwords, check_new, random_password
from pipelines.errors import InvalidInput, PermanentError, TransientError

CHEAP = argon2.Parameters(argon2.Type.ID, 19, 16, 32, time_cost=1, memory_cost=64, parallelism=1)
GOOD = "correct horse battery"


@pytest.fixture
def cheap() -> Passwords:
    return Passwords(CHEAP)


class TestAHash:
    def test_it_is_argon2id_with_the_parameters_of_rfc_9106(self) -> None:
        kept = Passwords().hashed(GOOD)
        assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert GOOD not in kept

    def test_the_right_password_fits_and_another_does_not(self, cheap: Passwords) -> None:
        kept = cheap.hashed(GOOD)
        assert cheap.fits(GOOD, kept)
        assert not cheap.fits(GOOD + " ", kept)

    def test_the_same_password_is_never_kept_alike(self, cheap: Passwords) -> None:
        assert cheap.hashed(GOOD) != cheap.hashed(GOOD)

    def test_a_letter_with_its_accent_apart_is_the_same_letter(self, cheap: Passwords) -> None:
        assert cheap.fits("mu\u0308nchen am see", cheap.hashed("m\u00fcnchen am see"))

    @pytest.mark.parametrize("odd", ["nul\0 in the middle", "half of a pair \ud800", "x" * 1_000], ids=range(3))
    def test_any_text_can_be_a_password(self, cheap: Passwords, odd: str) -> None:
        assert cheap.fits(odd, cheap.hashed(odd))

    def test_one_that_is_far_too_long_fits_nothing_and_is_not_all_hashed(self, cheap: Passwords) -> None:
        assert not cheap.fits("x" * 5_000_000, cheap.hashed("x" * passwords.LONGEST))
        assert len(passwords._bytes("x" * 5_000_000)) == passwords.LONGEST + 1

    def test_other_parameters_make_it_outdated(self, cheap: Passwords) -> None:
        kept = cheap.hashed(GOOD)
        assert not cheap.is_outdated(kept)
        assert Passwords(replace(CHEAP, time_cost=2)).is_outdated(kept)

    def test_what_is_kept_and_is_no_hash_is_said(self, cheap: Passwords) -> None:
        with pytest.raises(PermanentError, match="no argon2 hash"):
            cheap.fits(GOOD, "plain text")


class TestAnUnknownUser:
    def test_the_decoy_costs_the_same_work_and_fits_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        its = Passwords()
        assert argon2.extract_parameters(its.decoy) == RFC_9106_LOW_MEMORY
        assert its.fits(GOOD, None) is False

    def test_the_hash_is_computed_also_when_there_is_nothing_to_compare_with(
        self, cheap: Passwords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked: list[str] = []
        verify = argon2.PasswordHasher.verify

        def counted(self: argon2.PasswordHasher, kept: str, password: bytes) -> bool:
            checked.append(kept)
            return verify(self, kept, password)

        monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
        cheap.fits(GOOD, None)
        assert checked == [cheap.decoy]

    def test_even_a_password_that_fits_the_decoy_lets_nobody_in(
        self, cheap: Passwords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cheap, "decoy", cheap.hashed(GOOD))
        assert cheap.fits(GOOD, None) is False


class TestManyAtOnce:
    def test_no_more_are_hashed_at_once_than_there_is_memory_for(self) -> None:
        its = Passwords(CHEAP, at_once=1, patience_s=0)
        with its._turn(), pytest.raises(TransientError, match="too many"):
            its.hashed(GOOD)
        assert its.hashed(GOOD)  # the turn was given back

    def test_a_turn_is_given_back_after_a_wrong_password(self) -> None:
        its = Passwords(CHEAP, at_once=1, patience_s=0)
        assert not any(its.fits("wrong", None) for _ in range(3))

    def test_who_waits_gets_a_turn(self) -> None:
        its, held, done = Passwords(CHEAP, at_once=1, patience_s=30), threading.Event(), []
        with its._turn():
            thread = threading.Thread(target=lambda: (held.set(), done.append(its.hashed(GOOD))))
            thread.start()
            assert held.wait(10)
        thread.join(10)
        assert len(done) == 1

    def test_no_memory_passes(self, cheap: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise argon2.exceptions.HashingError("Memory allocation error")

        monkeypatch.setattr(argon2.PasswordHasher, "hash", fail)
        with pytest.raises(TransientError, match="memory short"):
            cheap.hashed(GOOD)


class TestANewPassword:
    @pytest.mark.parametrize("wrong", ["", "elevenchars", "x" * 1_001], ids=["empty", "short", "long"])
    def test_its_length_is_limited(self, wrong: str) -> None:
        with pytest.raises(InvalidInput, match="12 to 1,000 characters"):
            check_new("anna", wrong)

    def test_it_is_not_the_user_name(self) -> None:
        with pytest.raises(InvalidInput, match="must not be the name"):
            check_new("anna.katharina", " Anna.Katharina ")

    def test_it_is_not_quoted_when_it_is_refused(self) -> None:
        with pytest.raises(InvalidInput) as error:
            check_new("anna", "hunter2")
        assert "hunter2" not in str(error.value)

    def test_a_random_one_keeps_the_rule_and_is_never_the_same(self) -> None:
        made = {random_password() for _ in range(100)}
        assert len(made) == 100
        for password in made:
            check_new("anna", password)
