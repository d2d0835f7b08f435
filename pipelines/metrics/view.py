"""What a view is: a named, versioned definition of a metric over the graph.

A value is NaN where its definition has nothing to divide by, and is then not stored; it is 0 only when it is none. Views
do not suppress: a value of a group carries the number of people behind it, by which the privacy sink decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.evidence import Floats, Ints, SubjectKind
from pipelines.metrics.facts import Facts
from pipelines.metrics.snapshot import Part

Column = Floats | Ints

#: The unit of strength: one direct message a moment ago.
MESSAGES = "messages"


@dataclass(frozen=True, slots=True)
class View:
    """One definition.

    version: goes up with every change of what comes out, so that old and new values are never compared. parts: what of the
    graph it reads. function: one value per subject of its kind. meaning: what it says, with the definition's name.
    """

    name: str
    version: int
    kind: SubjectKind
    unit: str
    parts: tuple[Part, ...]
    function: Callable[[Facts], Column]
    meaning: str

    @property
    def fades(self) -> bool:
        """Whether its values halve with every half-life in which nothing happens."""
        return self.unit == MESSAGES


def view(kind: SubjectKind, version: int, unit: str, *parts: Part) -> Callable[[Callable[[Facts], Column]], View]:
    """Make a view of a function: its name is the view's, its docstring the meaning."""

    def made(function: Callable[[Facts], Column]) -> View:
        meaning = " ".join((function.__doc__ or "").split())
        return View(function.__name__, version, kind, unit, parts, function, meaning)

    return made
