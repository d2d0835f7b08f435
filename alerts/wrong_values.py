"""What a setting should have been, in our words: the library's name its own types and patterns, and sometimes the value."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_KINDS: Mapping[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    timedelta: "a length of time such as 30d",
}


def words(field: FieldInfo, error: Mapping[str, Any]) -> str:
    """`expected a whole number from 1 to 10`; what a check of our own said as it said it. Never the value."""
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    return f"expected {expectation(field)}"


def expectation(field: FieldInfo) -> str:
    """`one of daily, weekly, never`; `a number above 0`; `text`."""
    pattern = next((m.pattern for m in field.metadata if getattr(m, "pattern", None)), None)
    if pattern:
        return f"one of {', '.join(pattern.strip('^$()').split('|'))}"
    kind = next((words for its, words in _KINDS.items() if its in _kinds(field.annotation)), "text")
    return " ".join([kind, *_bounds(field)])


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _bounds(field: FieldInfo) -> Iterator[str]:
    names = ("ge", "gt", "le")
    found = {name: bound for its in field.metadata for name in names if (bound := getattr(its, name, None)) is not None}
    both = "ge" in found and "le" in found
    for name, word in (("ge", "from" if both else "of at least"), ("gt", "above"), ("le", "to" if both else "up to")):
        if name in found:
            yield f"{word} {found[name]}"
