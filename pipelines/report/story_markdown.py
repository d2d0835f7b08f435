"""The story of a full run as markdown: for the Prefect UI, and wherever else markdown is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.evidence import State
from pipelines.report import figures
from pipelines.report import story_words as words
from pipelines.report.story import ProposalTold, Story


def text(story: Story) -> str:
    """A page: in short, what changed, why, what is proposed, what is missing."""
    start, end = story.run.window
    parts = [
        f"# {story.run.id}",
        f"{figures.day(start)} to {figures.day(end)}; nothing here is about fewer than {story.run.k} people.",
        " ".join(_escaped(sentence) for sentence in words.in_short(story)),
        *_part("What changed", (words.change(its) for its in story.changes)),
        *_part("Why", _findings(story)),
        *_part("What is proposed", (_proposal(its) for its in story.proposals if its.state is not State.BLOCKED)),
        *_part("What is missing", (f"{note.words} {note.do}" for note in story.notes)),
    ]
    return "\n\n".join(parts) + "\n"


def steps(story: Story) -> list[dict[str, Any]]:
    """One row for each step: name, outcome, seconds, memory in MiB, and what it counted."""
    return [
        {
            "step": step.name,
            "outcome": step.outcome,
            "seconds": round(step.seconds, 2),
            "peak MiB": round(step.peak_bytes / 2**20) if step.peak_bytes else None,
            "counted": ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in step.counts.items() if count),
        }
        for step in story.steps
    ]


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    items = list(dict.fromkeys(f"- {_escaped(line.strip())}" for line in lines))  # one sentence about several is one
    if items:
        yield f"## {title}"
        yield "\n".join(items)


def _findings(story: Story) -> Iterator[str]:
    for finding in story.findings:
        meaning = words.MEANINGS[finding.status]
        parts = [f"{meaning.sign} {meaning.word}: {finding.words}", words.effect(finding, words.names(story))]
        yield "; ".join(part for part in [*parts, words.checks(finding)] if part)


def _proposal(its: ProposalTold) -> str:
    target = words.group(its.kind, its.subject)
    return f"{its.id} {target}, {words.STATES[its.state]}: {its.what} Undo: {its.undo} {its.next_step}"


def _escaped(line: str) -> str:
    """Names of teams are free text, and markdown would read their signs."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in line)
