"""Templates to pages. Everything that is set into one is escaped, and freed of secrets, people and what is not seen."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipelines.privacy.traces import mask
from pipelines.report import figures
from pipelines.report.gantt_svg import memory
from pipelines.report.story_style import STORY_CSS

_HERE = "pipelines.api.pages"
#: What every page looks like: as the story, and what only the pages have.
CSS = STORY_CSS + resources.files(_HERE).joinpath("page.css").read_text("utf-8")
_CSS_HASH = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
#: No script at all, from nowhere; and no style but ours. Forms go to us, and nobody may frame us.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_CSS_HASH}'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    # Not `no-referrer`: a browser would then say `Origin: null` with our own forms (https://fetch.spec.whatwg.org).
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def _clean(value: object, forbidden: tuple[str, ...]) -> object:
    """On everything that a template sets. What is markup already was made by a template of ours."""
    if isinstance(value, Markup) or value is None:
        return value
    return mask(str(value), forbidden)


@lru_cache(maxsize=4)
def _environment(forbidden: tuple[str, ...]) -> Environment:
    made = Environment(
        loader=PackageLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=partial(_clean, forbidden=forbidden),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=figures.duration, minute=figures.minute, iso=_iso, ago=_ago, memory=memory, plain=_plain, rate=_rate
    )
    return made


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _ago(at: datetime, now: datetime) -> str:
    return f"{figures.duration(max((now - at).total_seconds(), 0.0))} ago"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _rate(share: float | None) -> str:
    return "" if share is None else figures.share(share, 1.0)


def page(name: str, /, forbidden: tuple[str, ...] = (), **values: Any) -> str:
    """The page `name`.html with these values in it; the same values give the same page.

    forbidden: secrets, which are taken out of each value by itself, so that one of them does not take the page away.
    """
    return _environment(forbidden).get_template(f"{name}.html").render(css=Markup(CSS), **values)  # noqa: S704  # a file of ours
