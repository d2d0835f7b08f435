"""The JSON objects of a file, one at a time and as bytes: a single object, an array, JSON lines, or pages of an API.

The objects are cut out and not parsed: what reads them takes the fields that it needs, and content is never looked at.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from pipelines.errors import InvalidInput
from pipelines.sources.unpacked import intact, unpacked

_CHUNK = 1 << 18
_LARGEST = 64 << 20  # an API's page has some hundred records; this is a hundred times as much
#: A string, or a bracket outside strings. Of a string that the data cut off only the first quotation mark matches.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|["{}]', re.DOTALL)
#: What may stand between objects: the array around them, and the end of one line.
_BETWEEN = re.compile(rb"[\s,\[\]]*")
#: Names under which APIs put the records of a page: Microsoft Graph, Google Reports, ActivityStreams, xAPI.
_PAGES = ("value", "items", "orderedItems", "statements")


@dataclass(frozen=True, slots=True)
class JsonObject:
    """`data` is None for something between the objects that is none; `line` is where it begins, from 1."""

    line: int
    data: bytes | None


class _Page(msgspec.Struct):
    value: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    items: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    orderedItems: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815  # the name in the file
    statements: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_page = msgspec.json.Decoder(_Page)


def read(file: BinaryIO) -> Iterator[JsonObject]:
    """The objects in their order; pages are opened, so that their records come one by one.

    Raises:
        InvalidInput: an object that does not end, is larger than 64 MB, or a packed file that is damaged.
    """
    lines = unpacked(file)
    with intact():
        found = _by_line(lines) if _is_json_lines(lines) else _by_brackets(lines)
        for one in found:
            yield from _opened(one)


def _opened(found: JsonObject) -> Iterator[JsonObject]:
    if found.data is None:
        yield found
        return
    try:
        page = _page.decode(found.data)
        records = next(r for name in _PAGES if isinstance(r := getattr(page, name), list))
    except (msgspec.DecodeError, StopIteration):
        yield found
        return
    for record in records:
        yield JsonObject(found.line, bytes(record))


def _is_json_lines(lines: io.BufferedReader[Any]) -> bool:
    """The first line is a whole object. Then a line that is broken cannot take the next ones with it."""
    first = lines.peek().lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
    if not first.startswith(b"{"):
        return False
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def _by_line(lines: io.BufferedReader[Any]) -> Iterator[JsonObject]:
    for number, line in enumerate(lines, start=1):
        if data := line.strip().removeprefix(b"\xef\xbb\xbf"):
            yield JsonObject(number, data if data.startswith(b"{") else None)


def _by_brackets(file: io.BufferedReader[Any]) -> Iterator[JsonObject]:
    rest, line = file.read(3).removeprefix(b"\xef\xbb\xbf"), 1
    while chunk := file.read1(max(_CHUNK, len(rest))):  # twice as much each time, as what is left is looked at again
        rest += chunk
        start = 0
        for begin, end in _objects(rest):
            line += rest.count(b"\n", start, begin)
            if _BETWEEN.match(rest, start, begin).end() < begin:  # type: ignore[union-attr]  # it matches nothing too
                yield JsonObject(line, None)
            yield JsonObject(line, rest[begin:end])
            line, start = line + rest.count(b"\n", begin, end), end
        rest = rest[start:]
        if len(rest) > _LARGEST:
            raise InvalidInput(f"line {line}: an object of more than {_LARGEST >> 20} MB; expected records of some kB")
    if _BETWEEN.fullmatch(rest) is None:
        raise InvalidInput(f"line {line}: the last object does not end; the file is cut off or is not JSON")


def _objects(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the outermost objects begin and end; one that the data cut off is left out."""
    depth = begin = 0
    for token in _TOKEN.finditer(data):
        match token.group():
            case b'"':
                return  # a string that goes on beyond the data
            case b"{":
                begin = begin if depth else token.start()
                depth += 1
            case b"}" if depth:
                depth -= 1
                if not depth:
                    yield begin, token.end()
