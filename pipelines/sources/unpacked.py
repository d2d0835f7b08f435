"""An open file as plain bytes or text, whatever it is packed in: gzip and xz are known by their first bytes."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from pipelines.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 18
_BROKEN = (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, UnicodeError)


def unpacked(file: BinaryIO) -> io.BufferedReader[_Borrowed]:
    """The content of `file` from where it stands, buffered so that it can be looked at without taking it."""
    outer = io.BufferedReader(_Borrowed(file), _BUFFER)
    head = outer.peek(6)
    if head.startswith(b"\x1f\x8b"):
        return io.BufferedReader(_Borrowed(gzip.GzipFile(fileobj=outer)), _BUFFER)
    if head.startswith(b"\xfd7zXZ\x00"):
        return io.BufferedReader(_Borrowed(lzma.LZMAFile(outer)), _BUFFER)
    return outer


class _Borrowed(io.RawIOBase):
    """Somebody else's open file: closing this, as the collector of a dropped reader does, leaves the file open.

    Takes what is there (`read1`) and does not wait for more: a pipe may be slow.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile | lzma.LZMAFile) -> None:
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)


def as_text(file: io.BufferedReader[_Borrowed], encoding: str) -> io.TextIOWrapper:
    """Lines as text with their ends kept, for the csv module. Bytes that are no text become lone surrogates.

    A byte order mark wins over `encoding`: spreadsheets write UTF-16 with one and nobody knows that they do.

    Raises:
        InvalidInput: there is no such encoding.
    """
    head = file.peek(3)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif head.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    try:
        return io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
    except LookupError:
        raise InvalidInput(f"encoding {encoding!r} is not known; use one such as utf-8 or cp1252") from None


@contextmanager
def intact() -> Iterator[None]:
    """Turns a packed file that ends too early or is damaged into a sentence.

    Raises:
        InvalidInput: the rest cannot be unpacked.
    """
    try:
        yield
    except _BROKEN as error:
        raise InvalidInput(f"the file is damaged or cut off ({type(error).__name__}); get it again") from error
