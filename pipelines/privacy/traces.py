"""Traces of people and secrets in a text that is about to leave: the last look before it is written or sent."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from pipelines import log
from pipelines.errors import Refused

_PATTERNS = (
    ("pseudonym", re.compile(log.PSEUDONYM, re.IGNORECASE)),
    ("e-mail address", re.compile(r"(?<![\w.+%-])[\w.+%-]++@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)),
)
#: What stands in the place of what was taken out.
GONE = "[redacted]"
#: Characters that are not seen but do something: controls, marks of direction, lone surrogates, unassigned ones.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_BLANKS = dict.fromkeys(map(ord, "\t\n\v\f\r\x85"), " ")
#: Shorter secrets (an empty password, "neo4j") are ordinary words, and no text could pass.
_SHORTEST = 6
#: However often it was written as JSON again.
_JSON_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")


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


def mask(text: str, forbidden: Iterable[str] = (), *, most: int | None = None) -> str:
    """The text on one line, with `[redacted]` for all that must not be in it, also where it is escaped or camouflaged.

    What comes back passes `guard`. It is for what people typed: on the way in, and wherever it is shown.

    Args:
        text, forbidden: as `check_text` takes them.
        most: characters that are kept; cut only after everything is taken out, so that no half of it stays.
    """
    masked = _masked(seen(text.translate(_BLANKS)), tuple(forbidden))
    if most is None or len(masked) <= most:
        return masked
    return _masked(masked[: most - 1].rstrip() + "…", tuple(forbidden))  # shorter, it may look like what it was not


def _masked(text: str, forbidden: tuple[str, ...]) -> str:
    text = log.redact(text)
    if not check_text(text, forbidden):
        return text
    text = re.sub(r"\S+", lambda word: GONE if check_text(word[0], forbidden) else word[0], text)
    return GONE if check_text(text, forbidden) else text


def seen(words: str) -> str:
    """The words without characters that are not seen: a name must not turn the line it stands in around."""
    return "".join(c for c in words if unicodedata.category(c) not in _UNSEEN)


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
