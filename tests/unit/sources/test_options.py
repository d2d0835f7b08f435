from __future__ import annotations

import argparse
import io

import pytest

from pipelines.errors import InvalidInput
from pipelines.sources import options
from pipelines.sources.layouts.layout import Aids
from pipelines.sources.raw import Counts, Item

CSV = b"a;b;t\n1;2;2026-03-02 08:00:00\n"
EVENT = b'{"specversion": "1.0"}\n'


def read(data: bytes, *arguments: str) -> list[Item]:
    parser = argparse.ArgumentParser()
    options.add_to(parser)
    file = io.BufferedReader(io.BytesIO(data))
    return list(options.chosen(file, parser.parse_args(arguments), Aids())(file, Counts()))


def test_the_reader_follows_from_the_file_and_the_options() -> None:
    assert len(read(EVENT)) == 1
    columns = ["--actor", "a", "--target", "b", "--time", "t", "--medium", "doc", "--zone", "UTC"]
    assert len(read(CSV, *columns)) == 1
    assert len(read(b"17,Sales\n", "--roster", "--as-of", "2026-01-01", "--zone", "UTC")) == 1
    assert len(read(b'{"hello": 1}', "--format", "slack")) == 1


@pytest.mark.parametrize(
    ("data", "arguments", "expected"),
    [
        (EVENT, ["--zone", "UTC"], "--zone: says nothing"),
        (EVENT, ["--source", "/x"], "--source: says nothing"),
        (CSV, ["--team", "b"], "--team: says nothing"),
        (CSV, ["--roster", "--slot", "20"], "--slot: says nothing"),
        (CSV, ["--medium", "doc", "--separator", "ab"], "--separator"),
    ],
)
def test_an_option_that_cannot_be_meant_is_bad_input(data: bytes, arguments: list[str], expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(data, *arguments)


def test_a_separator_may_have_a_name() -> None:
    with pytest.raises(InvalidInput, match="which column is the actor"):
        read(CSV, "--medium", "doc", "--separator", "tab", "--header", "no")


@pytest.mark.parametrize("slot", ["0", "-1", "x", "86401"])
def test_a_slot_is_a_number_of_seconds(slot: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(CSV, f"--slot={slot}")
    assert "seconds" in capsys.readouterr().err
