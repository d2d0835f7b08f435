"""HTML and SVG as text, escaped on the way in: what comes from outside can only ever be text on the page."""

from __future__ import annotations

import html
import unicodedata

from pipelines.privacy.traces import seen as seen  # by this name to all that draw


class Markup(str):
    """Text that is HTML already. Everything else is escaped by `tag`."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """An element. `class_` and `font_size` become `class` and `font-size`; attributes that are None are left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    return Markup("".join(child if isinstance(child, Markup) else text(child) for child in children))


def text(words: str) -> Markup:
    return Markup(html.escape(seen(words)))


def cut(words: str, most: int) -> str:
    """At most so many characters, with a sign that some are left out."""
    words = seen(words).strip() or "(no name)"
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def width(words: str) -> float:
    """About how wide the words are drawn, in widths of a small letter."""
    return sum(map(_width, words))


def _width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 2.0
    return 1.65 if character in "WMwm@%" else 1.25 if character.isupper() else 1.0


def fit(words: str, most: float) -> str:
    """As `cut`, by how wide it is drawn: for a place in a picture."""
    kept = cut(words, int(most))
    while width(kept) > most:
        kept = kept.removesuffix("…")[:-1].rstrip() + "…"
    return kept


def _plain(value: str | float) -> str:
    """Numbers with as many digits as a picture needs."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else seen(str(value))
