"""Events for tests, valid unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.events import schema

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def person(number: int) -> str:
    return f"p_{number:032x}"


def outsider(number: int) -> str:
    return f"x_{number:032x}"


def event(
    id_: str,
    actor: str | None = None,
    targets: list[str] | None = None,
    *,
    kind: str = "interaction.message",
    source: str = "/test/chat",
    time: datetime = NOW - timedelta(hours=1),
    **data: Any,
) -> bytes:
    """An interaction from person 1 to person 2, or as told."""
    body = {"actor": actor or person(1), "targets": targets or [person(2)], **data}
    return schema.encode(kind, source, id_, time, body)


def other(
    kind: str, id_: str, *, source: str = "/test/hr", time: datetime = NOW - timedelta(hours=1), **data: Any
) -> bytes:
    """An event that is not an interaction: roster, retraction, privacy, outcome, heartbeat."""
    return schema.encode(kind, source, id_, time, data)


def retraction(id_: str, of: str, *, source: str = "/test/chat", time: datetime = NOW) -> bytes:
    """Withdraws the event `of` of `source`."""
    return schema.encode("interaction.retracted", "/test/hr", id_, time, {"source": source, "id": of})


def raising(error: Exception) -> Callable[..., Any]:
    """A method that fails."""

    def method(*_args: Any, **_changes: Any) -> Any:
        raise error

    return method
