"""What every page has in common: the document around it, tables under pictures, and how a file of it is written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from pipelines.report import figures
from pipelines.report.markup import Markup, tag

#: Nothing may be loaded and nothing may run, even if a name should ever get through as markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, now: datetime, css: str, main: Markup) -> str:
    """One HTML file that needs nothing else: no script, no font, no picture from anywhere."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", f"{title} · {figures.minute(now)}"),
        tag("style", Markup(css)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', main), lang='en')}\n"


def write(path: Path, page: str) -> None:
    """Write the page, for its owner only. Whoever reads the path sees the old page or the new one, never half of one.

    Raises:
        OSError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(draft, "x", encoding="utf-8", newline="\n", opener=_private) as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def facts(numbers: Iterable[tuple[str, str]]) -> Markup:
    """(number, words) as cards in a row."""
    return tag("ul", *(tag("li", tag("b", number), words) for number, words in numbers), class_="facts")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> Markup:
    """A table whose first `words` columns are words, the others numbers."""

    def row(name: str, cells: Sequence[str], scope: str | None = None) -> Markup:
        made = (tag(name, cell, class_=None if i < words else "n", scope=scope) for i, cell in enumerate(cells))
        return tag("tr", *made)

    body = [row("td", cells) for cells in rows]
    return tag("table", tag("caption", caption), tag("thead", row("th", heads, "col")), tag("tbody", *body))


def folded(summary: str, inside: Markup, is_open: bool = False) -> Markup:
    opened = "open" if is_open else None
    return tag("details", tag("summary", summary), tag("div", inside, class_="scroll"), open=opened)


def scrolled(picture: Markup, words: str, tall: bool = False) -> Markup:
    """A picture that may be wider than the page; `words` name the region for those who do not see it."""
    kind = "scroll tall" if tall else "scroll"
    return tag("div", picture, class_=kind, tabindex="0", role="region", aria_label=f"{words}, scrollable")
