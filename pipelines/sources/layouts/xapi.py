"""xAPI (IEEE 9274.1.1) statements in which one person sends or shares something with another, or with a group."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipelines.model import Medium
from pipelines.sources.layouts.layout import NOT_AN_INTERACTION, Aids, Instant, Layout, interaction, reading
from pipelines.sources.raw import Item, Skipped

#: The last part of the verbs' ids. Learning verbs (completed, passed) are about a person and a thing.
_VERBS = frozenset(
    {"send", "sent", "share", "shared", "reply", "replied", "respond", "responded", "mention", "mentioned"}
)


class _Account(msgspec.Struct, rename="camel"):
    name: str
    home_page: str = ""


class _Agent(msgspec.Struct, rename="camel"):
    object_type: str = "Agent"
    account: _Account | None = None
    mbox: str | None = None
    mbox_sha1sum: str | None = msgspec.field(default=None, name="mbox_sha1sum")
    openid: str | None = None
    member: list[_Agent] = []

    @property
    def id(self) -> str:
        """The inverse functional identifier. An account's name is unique within its home page only."""
        if self.account:
            return f"{self.account.home_page} {self.account.name}"
        return self.mbox or self.mbox_sha1sum or self.openid or ""


class _Thing(_Agent, rename="camel"):
    """An object without a type is an activity, not an agent."""

    object_type: str = "Activity"


class _Verb(msgspec.Struct):
    id: str


class _Context(msgspec.Struct):
    platform: str | None = None


class _Statement(msgspec.Struct):
    actor: _Agent
    verb: _Verb
    object: _Thing
    timestamp: Instant
    id: str = ""
    context: _Context | None = None


def _understand(statement: _Statement, line: int, _aids: Aids) -> Sequence[Item]:
    verb = statement.verb.id.rstrip("/").rpartition("/")[2].casefold()
    thing = statement.object
    if verb not in _VERBS or thing.object_type not in ("Agent", "Group"):
        return [Skipped(line, NOT_AN_INTERACTION)]
    return interaction(
        line,
        statement.actor.id,
        [member.id for member in thing.member] if thing.object_type == "Group" else [thing.id],
        _medium(statement),
        statement.timestamp,
        nobody="nobody but oneself, or a group whose members are not named",
        group=thing.object_type == "Group",
        native_id=statement.id,
    )


def _medium(statement: _Statement) -> Medium:
    platform = (statement.context and statement.context.platform) or ""
    return Medium.EMAIL if platform.casefold() in ("email", "e-mail", "mail") else Medium.MESSAGE


LAYOUT = Layout(
    "xapi",
    lambda keys: {"actor", "verb", "object"} <= set(keys),
    reading(msgspec.json.Decoder(_Statement).decode, _understand),
)
