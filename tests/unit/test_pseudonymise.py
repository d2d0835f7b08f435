from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import pseudonymise
from pipelines.errors import InvalidInput
from pipelines.pseudonyms import Pseudonymiser

KEY = "a key of the tests, long enough"
of = Pseudonymiser(KEY.encode(), ["corp.example"]).of


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANISM_PSEUDONYM_KEY", KEY)


def run(path: Path, text: str | bytes, *options: str) -> None:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert pseudonymise.main([str(path), "--own-domain", "corp.example", *options]) == 0


def test_each_line_becomes_its_pseudonym(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "ids", "Anna@corp.example\r\n\nb@else.example\n17")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [of("anna@corp.example"), "", of("b@else.example"), of("17")]
    assert [line[:2] for line in lines] == ["p_", "", "x_", "p_"]


def test_columns_are_replaced_in_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "x.csv", "who;team;boss\nanna;Sales;\nbert;Ops;anna\n", "--column", "who", "--column", "3")
    assert capsys.readouterr().out == f"who;team;boss\n{of('anna')};Sales;\n{of('bert')};Ops;{of('anna')}\n"


def test_numbered_columns_need_no_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "x.csv", "anna,1\n", "--column", "1")
    run(tmp_path / "x.csv", "who,n\nanna,1\n", "--column", "1", "--header")
    assert capsys.readouterr().out == f"{of('anna')},1\nwho,n\n{of('anna')},1\n"


def test_a_line_that_is_no_text_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="line 2"):
        run(tmp_path / "ids", b"anna\nM\xfcller\n")
