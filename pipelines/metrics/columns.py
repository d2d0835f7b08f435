"""Columns of points as bytes and back, bit for bit: what a step leaves for the next one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PermanentError
from pipelines.evidence import Series, SubjectKind

_VERSION = 1


def pack(series: Sequence[Series]) -> bytes:
    """An .npz archive without pickle: equal series, equal bytes. Subjects that several series share are kept once."""
    texts: dict[tuple[str, ...], int] = {}
    heads = [[s.view, s.version, s.kind.value, s.time_ms, texts.setdefault(s.subjects, len(texts))] for s in series]
    arrays: dict[str, NDArray[Any]] = {f"values{i}": s.values for i, s in enumerate(series)}
    arrays |= {f"sizes{i}": s.sizes for i, s in enumerate(series)}
    arrays |= {f"subjects{i}": _bytes(json.dumps(text)) for text, i in texts.items()}
    arrays["series"] = _bytes(json.dumps({"version": _VERSION, "series": heads}))
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(payload: bytes) -> list[Series]:
    """What `pack` made.

    Raises:
        PermanentError: these bytes are something else, or of another version.
    """
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            head = json.loads(arrays["series"].tobytes())
            if head["version"] != _VERSION:
                raise PermanentError(f"columns of version {head['version']} instead of {_VERSION}; run the step again")
            texts: dict[int, tuple[str, ...]] = {}
            return [_series(arrays, i, row, texts) for i, row in enumerate(head["series"])]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise PermanentError("what the step left cannot be read as columns of points; run the step again") from error


def _series(arrays: np.lib.npyio.NpzFile, i: int, row: list[Any], texts: dict[int, tuple[str, ...]]) -> Series:
    view, version, kind, time_ms, text = row
    if text not in texts:
        texts[text] = tuple(json.loads(arrays[f"subjects{text}"].tobytes()))
    return Series(view, version, SubjectKind(kind), time_ms, texts[text], arrays[f"values{i}"], arrays[f"sizes{i}"])


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
