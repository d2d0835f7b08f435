"""How the services are, for the terminal and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

_COLOURS = {"up": "green", "degraded": "yellow", "down": "red", "absent": "dim"}


class Answer(Protocol):
    """One service: how it is (up, degraded, down, absent) and what was seen."""

    @property
    def service(self) -> str: ...

    @property
    def health(self) -> str: ...

    @property
    def words(self) -> str: ...


def show(answers: Sequence[Answer]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for its in answers:
        console.print(Text.assemble(f"{its.service:<15}", (f"{its.health:<9}", _COLOURS[its.health]), its.words))


def as_list(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [{"service": its.service, "health": str(its.health), "words": its.words} for its in answers]
