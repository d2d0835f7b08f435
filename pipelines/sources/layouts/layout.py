"""What a vendor's layout is: how to know it by the keys of an object, and how to read one object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from pipelines.model import Medium, Scope
from pipelines.pseudonyms import normal
from pipelines.sources.raw import Item, RawInteraction, Skipped, Unreadable

#: What is no interaction at all, whatever the vendor calls it.
NOT_AN_INTERACTION = "not an interaction"
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
T = TypeVar("T")


@dataclass(frozen=True)
class Aids:
    """What an export does not say of itself. members: channel -> people; None when it was not given."""

    members: Mapping[str, Collection[str]] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Layout:
    """`knows` is asked with the keys of the first object; `read` gives what one object holds, at least one item."""

    name: str
    knows: Callable[[Collection[str]], bool]
    read: Callable[[bytes, int, Aids], Sequence[Item]]


def reading(decode: Callable[[bytes], T], understand: Callable[[T, int, Aids], Sequence[Item]]) -> _Read:
    """A `Layout.read` of a typed decoder, which never sees more than the fields of its type, and a function."""

    def read(data: bytes, line: int, aids: Aids) -> Sequence[Item]:
        try:
            record = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [Unreadable(line, f"is not as this layout says: {error}")]
        return understand(record, line, aids)

    return read


_Read = Callable[[bytes, int, Aids], Sequence[Item]]


def interaction(
    line: int,
    actor: str,
    targets: Collection[str],
    medium: Medium,
    time: datetime,
    *,
    nobody: str = "no target",
    group: bool = False,
    native_id: str = "",
    duration_s: float | None = None,
) -> list[Item]:
    """One interaction, or a reason why not. Ids in their normal form, targets sorted, without the actor.

    Args:
        nobody: the reason when no target is left. group: it was said to a group, even if that has one member.
    """
    who = normal(actor.removeprefix("mailto:"))
    others = {normal(target.removeprefix("mailto:")) for target in targets} - {who, ""}
    if not who:
        return [Unreadable(line, "names no actor; expected who did it")]
    if not others:
        return [Skipped(line, nobody)]
    scope = Scope.GROUP if group or len(others) > 1 else Scope.DIRECT
    at = time.astimezone(UTC)
    return [RawInteraction(line, who, tuple(sorted(others)), medium, at, scope, duration_s, native_id)]
