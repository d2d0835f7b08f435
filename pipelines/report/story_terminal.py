"""The story on a terminal: at most 40 lines of 80 columns, whatever the run brought; the rest is on the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipelines.evidence import Finding, RuleRefusal, State, Status
from pipelines.privacy.traces import guard
from pipelines.report import figures
from pipelines.report import story_words as words
from pipelines.report.markup import seen
from pipelines.report.story import ProposalTold, Story

WIDTH, HEIGHT = 80, 40
_INDENT = 9
#: Lines for each part; with those of head, score, run and page (whose path may need two) they are HEIGHT.
_CHANGES, _FINDINGS, _PROPOSALS, _REFUSED, _NOTES = 5, 15, 7, 4, 3
_NAME = 24
_WRAPPING = Console(width=WIDTH, file=StringIO())
_STYLES = {Status.CREDIBLE: "green", Status.NO_EFFECT: "", Status.SUPPRESSED: "dim", Status.NOT_ENOUGH_HISTORY: "dim"}


def show(story: Story, path: Path | None = None, console: Console | None = None, forbidden: Iterable[str] = ()) -> None:
    """Print it, on standard output if nothing else is said. path: of the page, if there is one.

    Raises:
        Refused: LEAK, as `privacy.traces.guard`; nothing was printed.
    """
    console = console or Console(highlight=False)
    guard("\n".join(line.plain for line in lines(story)), forbidden)
    for line in lines(story, path):
        console.print(line, no_wrap=True, overflow="ignore", crop=False, markup=False, highlight=False)


def lines(story: Story, path: Path | None = None) -> list[Text]:
    """The lines, none wider than 80 columns and at most 40."""
    told = [*_head(story), *_part("changed", _changes(story), _CHANGES)]
    told += _part("why", _findings(story), _FINDINGS)
    told += _part("proposed", _proposals(story), _PROPOSALS)
    told += _part("refused", _refused(story), _REFUSED)
    told += _part("missing", [_lines(f"{note.words} {note.do}".strip(), 2, "yellow") for note in story.notes], _NOTES)
    if story.truths:
        told.append(_row("score", _text(words.score(story), "bold")))
    told.append(_row("run", _text(_run(story), "dim")))
    if path:
        told.append(Text.assemble(f"{'page':<{_INDENT}}", str(path)))  # whole: it is there to be copied
    return told[:HEIGHT]


def _head(story: Story) -> Iterator[Text]:
    start, end = story.run.window
    title = f"full run · {figures.minute(story.run.started)} · {figures.duration(story.run.seconds)}"
    yield _text(title, "bold")
    yield _row(
        "window", _text(f"{figures.day(start)} to {figures.day(end)}; nothing is about fewer than {story.run.k} people")
    )
    if words.is_empty(story):
        yield from (_row("", line) for line in _lines(words.in_short(story)[0], 2))


# ------------------------------------------------------------------------------------------------ the parts


def _changes(story: Story) -> list[list[Text]]:
    found = []
    for its in story.changes:
        sign = Text(f"{words.LEVEL_SIGNS[its.standing.level]:<3}" if its.standing.level else "", "yellow")
        found.append([sign + _text(words.change(its, _name(its.subject)))])
    if story.rows and not found:
        found.append([_text(words.in_short(story)[0])])
    return found


def _findings(story: Story) -> list[list[Text]]:
    """Credible ones first; each is its sentence and, if there is one, the effect with its checks."""
    ranked = sorted(story.findings, key=lambda f: (f.status is not Status.CREDIBLE, f.estimate is None))
    return [_finding(finding, words.names(story)) for finding in ranked]


def _finding(finding: Finding, called: dict[str, str]) -> list[Text]:
    meaning, credible = words.MEANINGS[finding.status], finding.status is Status.CREDIBLE
    about = f" [{_name(finding.subject)}]" if finding.subject else ""
    sentence = Text(f"{meaning.sign} {meaning.word}: ", _STYLES.get(finding.status, "yellow"))
    told = _wrapped(sentence + _text(f"{finding.words}{about}"), 2)
    if effect := words.effect(finding, called):
        parts = (effect, words.checks(finding)) if credible else (words.checks(finding), effect)
        told += _lines("  " + "; ".join(parts), 2 if credible else 1, "dim")
    elif finding.enough_on:
        told += _lines(f"  enough on {figures.day(finding.enough_on)}", 1, "dim")
    return told


def _proposals(story: Story) -> list[list[Text]]:
    waiting = (State.PENDING_APPROVAL, State.SHADOW)
    ranked = sorted(story.proposals, key=lambda p: waiting.index(p.state) if p.state in waiting else len(waiting))
    found = [_proposal(proposal) for proposal in ranked if proposal.state is not State.BLOCKED]
    if not found and story.findings:
        found.append([_text("nothing")])
    return found


def _proposal(its: ProposalTold) -> list[Text]:
    target = " and ".join(_name(team, _NAME // 2) for team in its.subject.split("|"))
    told = [*_lines(f"{its.id} {target}: {words.STATES[its.state]}", 1, "bold"), *_lines(f"  {its.what}", 2)]
    return told + (_lines(f"  expected {words.expected(its)}", 1, "dim") if its.expected else [])


def _refused(story: Story) -> list[list[Text]]:
    blocked = [(its, refusal) for its in story.proposals for refusal in its.refusals]
    found = [_refusal(refusal, f"{_name(words.group(its.kind, its.subject))}: ") for its, refusal in blocked]
    return found + [_refusal(refusal, "") for refusal in story.refused]


def _refusal(refusal: RuleRefusal, who: str) -> list[Text]:
    unblocks = f" Unblocked by: {refusal.unblocks}" if refusal.unblocks else ""
    return _lines(f"{who}{refusal.words}{unblocks}", 2)


def _run(story: Story) -> str:
    peaks = [step.peak_bytes for step in story.steps if step.peak_bytes]
    parts = [figures.counted(len(story.steps), "step")]
    if story.steps:
        slowest = max(story.steps, key=lambda step: step.seconds)
        parts.append(f"longest {slowest.name} {figures.duration(slowest.seconds)}")
    if peaks:
        parts.append(f"peak {max(peaks) / 2**20:,.0f} MiB")
    return " · ".join([*parts, story.run.id])


# ------------------------------------------------------------------------------------------------ lines


def _part(label: str, blocks: Sequence[Sequence[Text]], most: int) -> list[Text]:
    """As many whole blocks as fit, then how many are left; the label stands before the first."""
    found: list[Text] = []
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        if len(found) + len(block) > most - (not last):
            found.append(_text(f"and {len(blocks) - i} more on the page", "dim"))
            break
        found += block
    return [_row(label if i == 0 else "", line) for i, line in enumerate(found)]


def _row(label: str, line: Text) -> Text:
    row = Text(f"{label:<{_INDENT}}", "bold") + line
    row.truncate(WIDTH, overflow="ellipsis")
    return row


def _lines(content: str, most: int, style: str = "") -> list[Text]:
    return _wrapped(_text(content, style), most)


def _wrapped(content: Text, most: int) -> list[Text]:
    """At most so many lines, the later ones with the indentation of the first; a sign says if more is left out."""
    width = WIDTH - _INDENT
    lead = " " * (len(content.plain) - len(content.plain.lstrip()))
    whole = list(content.wrap(_WRAPPING, width - len(lead), overflow="fold"))
    found = [whole[0], *(Text(lead) + line for line in whole[1:most])]
    for line in found:
        line.rstrip()
    if len(whole) > most:
        found[-1] = found[-1] + Text(" …")
        if found[-1].cell_len > width:
            found[-1].truncate(width - 1)
            found[-1] = found[-1] + Text("…")
    return found


def _text(content: str, style: str = "") -> Text:
    return Text(seen(content.replace("\n", " ")), style)


def _name(subject: str, most: int = _NAME) -> str:
    short = Text(seen(subject).strip() or words.ORGANISATION)
    short.truncate(most, overflow="ellipsis")
    return short.plain
