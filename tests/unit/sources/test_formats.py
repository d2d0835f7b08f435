from __future__ import annotations

import gzip
import io
import lzma

import pytest

from pipelines.sources.formats import Kind, kind_of


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"specversion": "1.0", "id": "1"}\n', Kind.JSONL),
        (b'\xef\xbb\xbf\n{"specversion": "1.0", broken', Kind.JSONL),
        (b'{"id": "1"}\n', Kind.JSON),
        (b'[{"specversion": "1.0"}]', Kind.JSON),
        (b"{\n", Kind.JSON),
        (b"a;b;c\n", Kind.CSV),
        (b"", Kind.CSV),
    ],
)
def test_a_file_is_known_by_how_it_begins(pack: object, data: bytes, kind: Kind) -> None:
    file = io.BufferedReader(io.BytesIO(pack(data)))  # type: ignore[operator]
    assert kind_of(file) is kind
    assert file.tell() == 0
