"""The last look at every text before it leaves: what names a person or opens a door is taken out, whoever wrote it.

It knows how secrets look, and the secrets that were configured. A name in plain letters it cannot know; those who write
facts must not write one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from alerts.model import Message, Problem, Waiting

_Linked = TypeVar("_Linked", Problem, Waiting)
GONE = "[redacted]"
#: A text is cut here before it is looked at: nothing sensible is longer, and a screenful is all that a channel shows.
LONGEST = 20_000
#: Shorter secrets are ordinary words ("neo4j"), and taking them out would leave no sentence whole.
SHORTEST = 6
_LONG = 16

#: Control characters, halves of characters that no encoding takes, and what has no width and could split a secret.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ud800-\udfff]"
)

#: In this order: a URL goes before the address that its password looks like. `keep` is what stays in front of it.
_LOOKS = re.compile(
    r"""
    -----BEGIN[ ][\s\S]{0,4000}?-----END[^-]{0,40}-----                          # a private key
  | (?P<keep>[a-z][a-z0-9+.-]{0,20}://) [^\s"'<>]{1,500} @                        # user:password@, and the key of a DSN
  | hooks\.slack(?:-gov)?\.com/[^\s"'<>]*                                        # the URL is the credential
  | /(?:services|workflows|triggers)/[TE][^\s"'<>]{8,}                           # the same, behind another host
  | (?P<question>[?&][\w.~%-]{1,60}=) [^\s&\#"'<>]+                              # keys travel in queries
  | (?P<bearer>\b(?:bearer|basic)\s+) (?-i:[A-Za-z0-9._~+/=-]{8,})
  | (?P<name>\b[\w-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|authorization|dsn)["']?\s{0,3}[=:]\s{0,3})
        (?:"[^"\n]*" | '[^'\n]*' | (?:(?:bearer|basic)\s+)?[^\s,;"']+)
  | \bxox[a-z]-[\w-]+ | \bxapp-[\w-]+ | \beyj[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?      # Slack's tokens, JSON web tokens
  | (?:(?<![a-z0-9])[px]_[0-9a-f]{8,} | [px]_[0-9a-f]{16,})                      # pseudonyms, also cut short
  | (?<![\w.+'-]) [\w.+'-]++ (?:@|%40) [\w-]++ (?:\.[\w-]++)*+   # mail addresses
    """,
    re.VERBOSE | re.IGNORECASE,
)
#: Letters and digits mixed, of a length that nobody types. With `-` and `_` between them they are names and run ids.
_TOKEN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{20,}(?![A-Za-z0-9])")


def clean(text: str, known: Collection[str] = ()) -> str:
    """The text without secrets and people, each replaced by `[redacted]`; at most `LONGEST` characters. Idempotent.

    Args:
        text: anything.
        known: secrets to take out wherever they stand, in any case of letters; those below `SHORTEST` are left.
    """
    text = _shortened(_UNSEEN.sub("", text))
    if secrets := _any_of(frozenset(known)):
        text = secrets.sub(GONE, text)
    return _TOKEN.sub(_unless_a_word, _LOOKS.sub(_without, text))


def clean_problem(problem: Problem, known: Collection[str] = ()) -> Problem:
    """The problem with every text cleaned; the link is dropped if it was not clean or leads to no web page."""
    asks = _clean_texts(problem.asks, known) if problem.asks else None
    return replace(_clean_texts(problem, known), asks=asks)


def _clean_texts(its: _Linked, known: Collection[str]) -> _Linked:
    texts = {f.name: getattr(its, f.name) for f in fields(its) if isinstance(getattr(its, f.name), str)}
    texts = {name: clean(text, known) for name, text in texts.items() if name not in ("code", "severity")}
    link = its.link if its.link and _is_safe(its.link, known) else None
    return replace(its, **texts | {"link": link})


def clean_message(message: Message, known: Collection[str] = ()) -> Message:
    """The message as it may leave. The thread stays: the channel made it. So does the id: only a digest of it is sent."""
    incident, problem = message.incident, clean_problem(message.incident.problem, known)
    return replace(message, incident=replace(incident, key=clean(incident.key, known), problem=problem))


def clean_tree(node: Any, known: Collection[str] = ()) -> Any:
    """A tree of dicts, lists and texts with every text in it cleaned, keys included."""
    if isinstance(node, str):
        return clean(node, known)
    if isinstance(node, dict):
        return {clean(str(key), known): clean_tree(value, known) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [clean_tree(value, known) for value in node]
    return node


def secrets_of(secret: str) -> Iterator[str]:
    """What opens something: the secret itself and, where it is a URL, its password, query, and what is long in the rest.

    Short users and paths are no secrets ("organism", "alerts"), and no text could do without them.
    """
    yield secret
    parts = urlsplit(secret)
    for word in filter(None, (parts.password, parts.query)):
        yield from (word, unquote(word))
    yield from (word for word in (parts.username or "", parts.path, *parts.path.split("/")) if len(word) >= _LONG)


def _shortened(text: str) -> str:
    """Cut between two words: half of a secret looks like none."""
    return text if len(text) <= LONGEST else text[: max(text.rfind(blank, 0, LONGEST) for blank in " \n") + 1]


@lru_cache(maxsize=8)
def _any_of(known: frozenset[str]) -> re.Pattern[str] | None:
    """Any of the secrets in any of its spellings, the longest first; None without one."""
    forms = {form for one in known if len(one) >= SHORTEST for form in (one, quote(one, safe=""), repr(one)[1:-1])}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None


def _without(found: re.Match[str]) -> str:
    kept = found["keep"] or found["question"] or found["bearer"] or found["name"] or ""
    return kept + GONE + ("@" if found["keep"] else "")


def _unless_a_word(found: re.Match[str]) -> str:
    mixed = any(c.isdigit() for c in found[0]) and any(c.isalpha() for c in found[0])
    return GONE if mixed else found[0]


def _is_safe(link: str, known: Collection[str]) -> bool:
    return (
        link.startswith(("http://", "https://")) and clean(link, known) == link and not re.search(r"[\s<>|\"']", link)
    )
