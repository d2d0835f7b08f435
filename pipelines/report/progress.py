"""Progress on a terminal, and silence elsewhere: a log file needs no bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


@contextmanager
def counting(words: str) -> Iterator[Callable[[int], None]]:
    """A counter without a known end: call it with what was done so far."""
    with _bar(SpinnerColumn(), TextColumn("{task.description} {task.completed:,}"), TimeElapsedColumn()) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def draining(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over what was done and what is left: call it with both."""
    with _bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, left: bar.update(task, completed=done, total=done + left)


@contextmanager
def working() -> Iterator[Callable[[str, float], None]]:
    """A bar for each of several pieces of work, as they come: call it with a name and the share that is done, 0 to 1."""
    with _bar(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what.replace("_", " "), total=1.0)
            bar.update(tasks[what], completed=share, visible=share < 1.0)

        yield show


def _bar(*columns: object) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)  # type: ignore[arg-type]


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Says what is being waited for, for as long as it takes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(words):
        yield
