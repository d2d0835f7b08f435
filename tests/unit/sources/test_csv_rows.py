from __future__ import annotations

import gzip
import io
import lzma

import pytest

from pipelines.errors import InvalidInput
from pipelines.sources.csv_rows import Row, Sheet, SheetOptions, open_sheet
from pipelines.sources.raw import Unreadable


def sheet(data: bytes | str, **options: object) -> Sheet:
    raw = data.encode() if isinstance(data, str) else data
    return open_sheet(io.BytesIO(raw), SheetOptions(**{"header": False, **options}), lambda _: False)  # type: ignore[arg-type]


def cells(data: bytes | str, **options: object) -> list[list[str]]:
    return [row.cells for row in sheet(data, **options).rows if isinstance(row, Row)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
def test_the_separator_is_found(separator: str) -> None:
    assert cells(f"1{separator}2{separator}3\n4{separator}5{separator}6\n") == [["1", "2", "3"], ["4", "5", "6"]]


def test_runs_of_blanks_are_one_separator() -> None:
    assert cells("1 2   3\n 4\t5 6  \n") == [["1", "2", "3"], ["4", "5", "6"]]


def test_blanks_after_a_separator_belong_to_nothing() -> None:
    assert cells('9, 10, "x, y"\n') == [["9", "10", "x, y"]]


def test_a_time_with_a_blank_does_not_make_the_blank_the_separator() -> None:
    assert cells("a;b;2026-03-02 08:14:05\nc;d;2026-03-02 08:14:06\n")[0] == ["a", "b", "2026-03-02 08:14:05"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_packing_line_ends_and_byte_order_marks_are_dealt_with(pack: object, end: str, encoding: str) -> None:
    assert cells(pack(f"a,ż{end}c,d{end}".encode(encoding))) == [["a", "ż"], ["c", "d"]]  # type: ignore[operator]


def test_an_empty_file_has_no_rows() -> None:
    assert (sheet(b"").width, cells(b""), cells(b"\n\n")) == (0, [], [])


def test_a_header_alone_has_no_rows() -> None:
    only = sheet("a,b\n", header=True)
    assert (only.header, list(only.rows)) == (("a", "b"), [])


def test_blank_lines_are_no_rows_but_count_as_lines() -> None:
    assert list(sheet("a,b\n\n,\nc,d\n").rows) == [Row(1, ["a", "b"]), Row(4, ["c", "d"])]


def test_a_row_of_another_width_is_not_read() -> None:
    (_, bad) = sheet("a,b\nc,d,e\n").rows
    assert bad == Unreadable(2, "has 3 columns; expected 2 as in the first row")


def test_a_stray_quote_does_not_swallow_rows() -> None:
    rows = list(sheet('a,b\nc,"d\ne,f\ng,"h\ni,j\n', separator=",").rows)
    assert any(isinstance(row, Unreadable) for row in rows)
    assert all("\n" not in cell for row in rows if isinstance(row, Row) for cell in row.cells)


def test_a_quoted_cell_over_several_lines_is_reported_with_both() -> None:
    (_, bad) = sheet('a,b\n"c\nd",e\n').rows
    assert isinstance(bad, Unreadable)
    assert (bad.line, "until line 3" in bad.words) == (2, True)


def test_bytes_that_are_no_text_are_reported_and_another_encoding_reads_them() -> None:
    latin = "a,b\nMüller,x\n".encode("cp1252")
    (_, bad) = sheet(latin).rows
    assert isinstance(bad, Unreadable)
    assert "--encoding" in bad.words
    assert cells(latin, encoding="cp1252")[1] == ["Müller", "x"]


def test_a_nul_is_reported() -> None:
    assert any(isinstance(row, Unreadable) for row in sheet("a,b\nc\0,d\n").rows)


def test_a_cell_without_end_is_reported() -> None:
    assert any(isinstance(row, Unreadable) for row in sheet("a,b\n" + "x" * 200_000 + ",d\n").rows)


def test_columns_are_found_by_name_in_any_case_and_by_number() -> None:
    named = sheet("Sender;Recipient\n1;2\n", header=True)
    assert (named.column("recipient", "--target"), named.column("1", "--actor")) == (1, 0)


@pytest.mark.parametrize("wanted", ["0", "3", "Receiver", "\u0661"])
def test_a_column_that_is_not_there_is_bad_input(wanted: str) -> None:
    with pytest.raises(InvalidInput, match="Sender, Recipient"):
        sheet("Sender;Recipient\n1;2\n", header=True).column(wanted, "--target")


def test_a_damaged_file_is_bad_input() -> None:
    whole = gzip.compress(b"a,b\n" * 100_000)
    with pytest.raises(InvalidInput, match="cut off"):
        list(sheet(whole[:-20]).rows)


def test_an_unknown_encoding_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="utf-7000"):
        sheet("a,b\n", encoding="utf-7000")


def test_a_first_row_that_is_not_csv_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="line 1"):
        sheet('"a"b,c\n', separator=",")


def test_the_file_stays_open() -> None:
    file = io.BytesIO(gzip.compress(b"a,b\n"))
    list(open_sheet(file, SheetOptions(), lambda _: False).rows)
    assert not file.closed
