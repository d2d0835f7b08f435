"""Which kind of file this is, by how it begins."""

from __future__ import annotations

import io
import lzma
import zlib
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"


def kind_of(file: io.BufferedReader[Any]) -> Kind:
    """Looks at the next bytes without taking them. What is no JSON is CSV; so is nothing at all."""
    head = _plain(file.peek()).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return Kind.CSV
    first = head.split(b"\n", 1)[0]
    return Kind.JSONL if first.startswith(b"{") and b'"specversion"' in first else Kind.JSON


def _plain(head: bytes) -> bytes:
    """As much of the content as the beginning of a packed file tells."""
    try:
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(wbits=31).decompress(head)
        if head.startswith(b"\xfd7zXZ\x00"):
            return lzma.LZMADecompressor().decompress(head)
    except (zlib.error, lzma.LZMAError):
        return b""  # the reader will say what is wrong with it
    return head
