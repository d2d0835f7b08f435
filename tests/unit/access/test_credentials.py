"""What proves who asks: how it is made, taken apart and compared."""

from __future__ import annotations

import hashlib
import re

import pytest

from pipelines.access import credentials
from pipelines.access.credentials import DECOY, NO_ID, checked_id, make, matches, presented
from pipelines.access.principals import Issued, Kind, Principal
from pipelines.errors import InvalidInput
from tests.support.fakes_ledger import NOW

SECRET = "A" * 43


def flipped(text: str, at: int) -> str:
    other = "B" if text[at] != "B" else "C"
    return text[:at] + other + text[at + 1 :] if at >= 0 else text[:at] + other


class TestACredential:
    @pytest.mark.parametrize("kind", list(Kind))
    def test_what_was_made_matches_its_digest(self, kind: Kind) -> None:
        made = make(kind)
        assert made.bearer.startswith(f"{kind.value}_")
        assert presented(made.bearer).id == made.id
        assert matches(presented(made.bearer), made.digest)

    def test_only_a_digest_of_the_secret_is_kept(self) -> None:
        made = make(Kind.KEY)
        id_, _, secret = made.bearer.partition(".")
        assert made.id == id_
        assert made.digest == hashlib.sha256(secret.encode()).digest()

    def test_a_secret_has_256_bits_and_no_two_are_alike(self) -> None:
        made = [make(Kind.TOKEN).bearer for _ in range(1_000)]
        assert len(set(made)) == 1_000
        assert {len(bearer.partition(".")[2]) for bearer in made} == {43}  # 32 bytes in base64

    @pytest.mark.parametrize("at", [0, 21, -1], ids=["first", "middle", "last"])
    def test_one_wrong_character_anywhere_is_wrong(self, at: int) -> None:
        made = make(Kind.KEY)
        id_, _, secret = made.bearer.partition(".")
        assert not matches(presented(f"{id_}.{flipped(secret, at)}"), made.digest)

    def test_neither_kind_shows_a_secret_when_it_is_printed(self) -> None:
        made = make(Kind.KEY)
        issued = Issued(made.id, made.bearer, NOW, Principal("anna", frozenset(), made.id))
        secret = made.bearer.partition(".")[2]
        assert secret not in repr(made) + repr(issued) + repr(presented(made.bearer))

    def test_no_id_reads_as_a_pseudonym(self) -> None:
        assert not re.search(r"\b[px]_[0-9a-f]{16,40}\b", f"{make(Kind.KEY).id} {make(Kind.TOKEN).id}")


MALFORMED = [
    "", ".", "key_0123456789abcdef", f"key_0123456789abcdef.{SECRET}x", f"key_0123456789abcdef.{SECRET[1:]}",
    f"KEY_0123456789ABCDEF.{SECRET}", f"key_0123456789abcde.{SECRET}", f".{SECRET}", f"{NO_ID}.{SECRET}",
    f"key_0123456789abcdef.{SECRET}\n", f" key_0123456789abcdef.{SECRET}", "key_0123456789abcdef." + "ä" * 43,
    f"key_\u0660123456789abcdef.{SECRET}", "\0", "\ud800.", "x" * 1_000_000, "' OR 1=1 --.x",
]  # fmt: skip


class TestWhatIsNone:
    @pytest.mark.parametrize("bearer", MALFORMED, ids=range(len(MALFORMED)))
    def test_it_is_looked_up_as_an_id_that_nobody_has(self, bearer: str) -> None:
        shown = presented(bearer)
        assert shown.id == NO_ID
        assert not matches(shown, DECOY)

    def test_no_id_that_is_made_is_the_one_that_nobody_has(self) -> None:
        assert not any(NO_ID.startswith(kind.value) for kind in Kind)

    def test_it_costs_one_digest_and_one_comparison_like_any_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[str] = []
        digest, compare = credentials._digest, credentials.hmac.compare_digest
        monkeypatch.setattr(credentials, "_digest", lambda secret: done.append("digest") or digest(secret))
        monkeypatch.setattr(credentials.hmac, "compare_digest", lambda a, b: done.append("compare") or compare(a, b))
        for bearer in (make(Kind.KEY).bearer, "nonsense"):
            done.clear()
            credentials.matches(credentials.presented(bearer), DECOY)
            assert done[-2:] == ["digest", "compare"]


class TestAnIdThatAPersonTypes:
    def test_of_a_whole_bearer_only_the_id_is_used(self) -> None:
        made = make(Kind.KEY)
        assert checked_id(f" {made.bearer}\n") == checked_id(made.id) == made.id

    def test_what_is_no_id_is_not_repeated(self) -> None:
        with pytest.raises(InvalidInput) as error:
            checked_id("hunter2-hunter2")
        assert "hunter2" not in str(error.value)
