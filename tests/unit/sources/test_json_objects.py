from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidInput
from pipelines.sources import json_objects
from pipelines.sources.json_objects import JsonObject

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    max_leaves=8,
)
records = st.lists(st.dictionaries(st.text().filter(lambda key: key not in json_objects._PAGES), values), max_size=5)


class Dripping(io.BytesIO):
    """Gives a few bytes at a time, as a slow pipe does."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size) if size and size > 0 else size)

    read1 = read


def objects(data: bytes) -> list[bytes | None]:
    return [found.data for found in json_objects.read(io.BytesIO(data))]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(records, st.sampled_from(["array", "pretty", "lines", "page"]))
def test_every_way_to_write_objects_gives_these_objects(found: list[dict[str, object]], way: str) -> None:
    written = {
        "array": lambda: json.dumps(found),
        "pretty": lambda: json.dumps(found, indent=2),
        "lines": lambda: "\n".join(map(json.dumps, found)),
        "page": lambda: json.dumps({"@odata.context": "x", "value": found}),
    }[way]().encode()
    for file in (io.BytesIO(written), Dripping(written)):
        assert [json.loads(one.data or b"") for one in json_objects.read(file)] == found


def test_a_broken_line_does_not_take_the_next_one_along() -> None:
    assert objects(b'{"a": 1}\n{"a": \nnothing\n{"a": 2}\n') == [b'{"a": 1}', b'{"a":', None, b'{"a": 2}']


def test_lines_are_counted() -> None:
    found = json_objects.read(io.BytesIO(b'[\n{"a":\n1},\n\n{"b": 2}\n]'))
    assert list(found) == [JsonObject(2, b'{"a":\n1}'), JsonObject(5, b'{"b": 2}')]


def test_what_stands_between_objects_and_is_none_is_reported() -> None:
    assert objects(b'[{"a": 1}, 17, {"b": 2}]') == [b'{"a": 1}', None, b'{"b": 2}']


@pytest.mark.parametrize("data", [b'[{"a": 1}, {"b": ', b"nothing", b'[{"a": "x', b'[{"a": 1}, 17]'])
def test_a_file_that_is_cut_off_or_no_json_is_bad_input(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not end"):
        objects(data)


def test_no_objects_are_none() -> None:
    assert objects(b"") == objects(b"[]") == objects(b'{"value": []}') == []


def test_brackets_and_quotes_in_strings_are_text() -> None:
    assert objects(b'[{"a": "}]\\"{"}]') == [b'{"a": "}]\\"{"}']


def test_an_object_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_objects, "_LARGEST", 1 << 20)
    with pytest.raises(InvalidInput, match="more than 1 MB"):
        objects(b'[{"a": "' + b"x" * (3 << 20))
