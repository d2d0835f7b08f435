"""ActivityStreams 2.0 (W3C): who created a note or a document, addressed to whom."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipelines.model import Medium
from pipelines.sources.layouts.layout import NOT_AN_INTERACTION, Aids, Instant, Layout, interaction, reading
from pipelines.sources.raw import Item, Skipped

_MEDIA = {
    ("Create", "Note"): Medium.MESSAGE,
    **{(verb, thing): Medium.DOC for verb in ("Create", "Update", "Add") for thing in ("Document", "Page", "Article")},
}
#: Addresses that are nobody in particular.
_EVERYBODY = frozenset({"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"})


class _Named(msgspec.Struct):
    """A link to something, or the thing itself."""

    id: str | None = None
    type: str | list[str] = ""


_Link = str | _Named | None
_Links = str | _Named | list[str | _Named] | None


class _Activity(msgspec.Struct):
    type: str | list[str]
    actor: _Links
    published: Instant
    id: str = ""
    to: _Links = None
    cc: _Links = None
    object: _Link = None


def _ids(links: _Links) -> list[str]:
    found = links if isinstance(links, list) else [links]
    return [link.id or "" if isinstance(link, _Named) else link or "" for link in found]


def _understand(activity: _Activity, line: int, _aids: Aids) -> Sequence[Item]:
    thing = activity.object.type if isinstance(activity.object, _Named) else ""
    medium = _MEDIA.get((str(activity.type), str(thing)))
    if medium is None:
        return [Skipped(line, NOT_AN_INTERACTION)]
    return interaction(
        line,
        _ids(activity.actor)[0],
        set(_ids(activity.to) + _ids(activity.cc)) - _EVERYBODY,
        medium,
        activity.published,
        nobody="addressed to nobody in particular",
        native_id=activity.id,
    )


LAYOUT = Layout(
    "activitystreams",
    lambda keys: "@context" in keys and {"actor", "object"} <= set(keys),
    reading(msgspec.json.Decoder(_Activity).decode, _understand),
)
