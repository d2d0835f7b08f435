"""What a check is, and how several are run in order. Knows neither the stores nor Prefect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.errors import OrganismError


@dataclass(frozen=True)
class Check:
    """What was looked at. ok: None where it was not asked, because what it needs failed. seen: what is there.

    fix: what to do. Given for a check that is ok, it is advice and turns nothing red.
    """

    name: str
    ok: bool | None
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class Question:
    """A check to be made. ask: an error of ours that it raises is a check that failed. fix: what to do then.

    needs: names of earlier questions, all of which must be good before this one means anything.
    """

    name: str
    ask: Callable[[], Check | Sequence[Check]]
    fix: str = ""
    needs: tuple[str, ...] = ()


def good(name: str, seen: str, advice: str = "") -> Check:
    return Check(name, True, seen, advice)


def bad(name: str, seen: str, fix: str) -> Check:
    return Check(name, False, seen, fix)


def run(questions: Sequence[Question], watch: Callable[[Check], None] = lambda _: None) -> list[Check]:
    """Every question in order; `watch` hears each answer as soon as it is there.

    One that needs something that failed is not asked: its own cause would be a guess, and a wait.
    """
    answers: list[Check] = []
    failed: set[str] = set()
    for question in questions:
        missing = [name for name in question.needs if name in failed]
        found = [_not_asked(question, missing)] if missing else _asked(question)
        if any(not check.ok for check in found):
            failed.add(question.name)
        for check in found:
            answers.append(check)
            watch(check)
    return answers


def is_green(checks: Sequence[Check]) -> bool:
    return all(check.ok for check in checks)


def _asked(question: Question) -> list[Check]:
    try:
        found = question.ask()
    except OrganismError as error:
        return [bad(question.name, str(error), question.fix)]
    return [found] if isinstance(found, Check) else list(found)


def _not_asked(question: Question, missing: Sequence[str]) -> Check:
    return Check(question.name, None, f"not asked: {missing[0]}")
