"""Reads named statements out of `queries.sql` and `queries.cypher`; no multi-line SQL or Cypher lives in Python.

A block starts with a comment line `-- name: words` (SQL) or `// name: words` (Cypher) and runs to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^(?:--|//) name: (\w+)\s*$", re.MULTILINE)


@cache
def load(package: str, filename: str) -> Mapping[str, str]:
    """Statements of one file by name.

    Raises:
        ValueError: a name occurs twice, or a file has no named block.
    """
    text = files(package).joinpath(filename).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], [_statement(body) for body in parts[1::2]]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"{package}/{filename}: every statement needs a '-- name: words' line of its own, found {names}"
        )
    return MappingProxyType(dict(zip(names, bodies, strict=True)))


def _statement(body: str) -> str:
    """The block without the comments that stand in front of the next one, and without its final semicolon."""
    lines = body.strip().splitlines()
    while lines and (not lines[-1].strip() or lines[-1].startswith(("--", "//"))):
        lines.pop()
    return "\n".join(lines).rstrip(";")
