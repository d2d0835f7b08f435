"""Traces of people and secrets in a text that is about to leave: the last look before it is written or sent."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from pipelines.errors import Refused

_PATTERNS = (
    ("pseudonym", re.compile(r"(?<![0-9a-z])[px]_[0-9a-f]{16,40}(?![0-9a-f])", re.IGNORECASE)),
    ("e-mail address", re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)),
)
#: Shorter secrets (an empty password, "neo4j") are ordinary words, and no text could pass.
_SHORTEST = 6
_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that must not be in a text. It says what and where, not what it reads: it goes into logs."""

    what: str
    at: int


def check_text(text: str, forbidden: Iterable[str] = ()) -> list[Trace]:
    """What must not be in the text, also where it is escaped for HTML, a URL or JSON. Empty is good.

    Args:
        text: a page, a line of a log, a message; anything that leaves.
        forbidden: strings that may not be in it, in any case of letters: secrets, planted identities.
    """
    found: dict[str, Trace] = {}
    wanted = sorted({word.casefold() for word in forbidden if len(word) >= _SHORTEST})
    for reading in _readings(text):
        for trace in _traces(reading, wanted):
            found.setdefault(f"{trace.what} {trace.at}", trace)
    return sorted(found.values(), key=lambda trace: (trace.at, trace.what))


def guard(text: str, forbidden: Iterable[str] = ()) -> str:
    """The text, if nothing in it is forbidden.

    Raises:
        Refused: LEAK, with what was found and where; the text is not in the message.
    """
    if traces := check_text(text, forbidden):
        first = traces[0]
        seen = f"the text holds a {first.what} at character {first.at:,}"
        raise Refused(
            "LEAK", f"nothing was written or printed: {seen}. If a team is named so, rename it; else it is a defect"
        )
    return text


def secrets_of(settings: BaseModel) -> tuple[str, ...]:
    """Every secret of the settings, whole, and the password in it where it is a URL."""
    held = (getattr(settings, name) for name in type(settings).model_fields)
    values = [value.get_secret_value() for value in held if isinstance(value, SecretStr)]
    return tuple(sorted({secret for value in values for secret in (value, _password(value)) if secret}))


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:  # not a URL
        return ""


def _readings(text: str) -> Iterator[str]:
    """The text, and what a browser, a URL parser or a JSON parser would read."""
    yield text
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield unquote(text)
    if "\\u" in text:
        yield _JSON_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _traces(text: str, wanted: Iterable[str]) -> Iterator[Trace]:
    for what, pattern in _PATTERNS:
        yield from (Trace(what, match.start()) for match in pattern.finditer(text))
    folded = text.casefold()
    for word in wanted:
        if (at := folded.find(word)) >= 0:
            yield Trace("secret", at)
