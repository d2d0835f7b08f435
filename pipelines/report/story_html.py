"""The story of a full run as one HTML file that needs nothing else, made of a `Story`: it holds only what may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pipelines.evidence import Finding, State, Status
from pipelines.privacy.traces import guard
from pipelines.report import figures, forest_svg, page, team_graph_html
from pipelines.report import story_cards as cards
from pipelines.report import story_pictures as pictures
from pipelines.report import story_words as words
from pipelines.report.markup import Markup, joined, tag
from pipelines.report.story import Mark, Story
from pipelines.report.story_style import STORY_CSS

_ORDER = (Status.CREDIBLE, Status.NO_EFFECT)
_LAST = (Status.NOT_ENOUGH_HISTORY, Status.SUPPRESSED)
_FIRST_STATES = (State.PENDING_APPROVAL, State.STUCK, State.HARMFUL, State.FAILED)


def write(path: Path, story: Story, now: datetime, forbidden: Iterable[str] = ()) -> None:
    """Write the page, unless something in it must not leave.

    Args:
        forbidden: what may not be on it besides pseudonyms and e-mail addresses: secrets.

    Raises:
        Refused: LEAK.
        OSError: the file cannot be written.
    """
    page.write(path, guard(render(story, now), forbidden))


def render(story: Story, now: datetime, title: str = "What the last full analysis found") -> str:
    """The page as text; the same arguments give the same page."""
    sections = [
        ("proposals", "What is proposed", list(_proposals(story))),
        ("changes", "What changed", list(_changes(story))),
        ("reasons", "Why, as far as it can be known", list(_reasons(story))),
        ("teams", "Who works with whom", list(_teams(story))),
        ("limits", "What was refused, and what is not known", list(_limits(story))),
        ("score", "How the analysis did on planted truths", list(_score(story))),
        ("run", "The run behind it", list(_run(story))),
        ("reading", "How to read this page", list(_reading(story))),
    ]
    present = [(anchor, heading, parts) for anchor, heading, parts in sections if parts]
    main = tag("main", *_top(story, title), _contents(present), *map(_section, present), _footer())
    return page.document(title, now, STORY_CSS, main)


def _section(section: tuple[str, str, Sequence[Markup]]) -> Markup:
    anchor, heading, parts = section
    return tag("section", tag("h2", heading, id=anchor), *parts, aria_labelledby=anchor)


def _contents(sections: Sequence[tuple[str, str, Sequence[Markup]]]) -> Markup:
    links = [tag("li", tag("a", heading, href=f"#{anchor}")) for anchor, heading, _ in sections]
    return tag("nav", tag("ul", *links), aria_label="On this page")


def _footer() -> Markup:
    promise = "No content of any message is read or stored, nothing here is about one person, and nobody is ranked."
    return tag("footer", promise, class_="soft")


# ------------------------------------------------------------------------------------------------ the top


def _top(story: Story, title: str) -> Iterable[Markup]:
    start, end = story.run.window
    yield tag("h1", title)
    demo = " Made-up data: a demonstration." if story.run.demo else ""
    yield tag(
        "p",
        f"{figures.day(start)} to {figures.day(end)}, as of {figures.minute(story.run.started)}.{demo}",
        class_="soft",
    )
    yield tag("ul", *(tag("li", sentence) for sentence in words.in_short(story)), class_="short")


# ------------------------------------------------------------------------------------------------ the sections


def _proposals(story: Story) -> Iterable[Markup]:
    if not story.proposals:
        if story.findings:
            yield tag(
                "p", "Nothing is proposed: no answer of this run is credible enough, or no group is outside its range."
            )
        return
    yield tag("p", "Nothing happens unless a person decides so. Every proposal can be taken back in the way it says.")
    yield from map(cards.proposal, sorted(story.proposals, key=lambda its: its.state not in _FIRST_STATES))


def _changes(story: Story) -> Iterable[Markup]:
    if story.rows and story.measures:
        yield pictures.change_map(story)
    if story.strain.weeks and story.strain.ridges:
        yield tag("h3", "Strain, week by week")
        yield tag(
            "p", "Strain is an index of work patterns, 0 to 100; it is no diagnosis of anybody's health.", class_="soft"
        )
        yield pictures.ridgelines(story.strain, story.run.k)


def _reasons(story: Story) -> Iterable[Markup]:
    ranked = sorted(story.findings, key=_rank)
    if any(forest_svg.bar_of(finding) for finding in ranked):
        yield pictures.forest(ranked, story)
    called = words.names(story)
    yield from (cards.finding(finding, called) for finding in ranked)
    if story.assumed:
        yield page.folded("What is assumed to cause what", joined(*(tag("div", line) for line in story.assumed)))


def _rank(finding: Finding) -> int:
    """What may be relied on, what may not, what could not be asked."""
    if finding.status in _ORDER:
        return _ORDER.index(finding.status)
    return len(_ORDER) + (1 + _LAST.index(finding.status) if finding.status in _LAST else 0)


def _teams(story: Story) -> Iterable[Markup]:
    if story.graph and story.graph.groups:
        yield team_graph_html.matrix(story.graph)


def _limits(story: Story) -> Iterable[Markup]:
    if story.refused:
        yield tag("h3", "Refused by a rule")
        yield tag("ul", *map(cards.refusal_item, story.refused))
    if blocked := [its for its in story.proposals if its.refusals]:
        yield tag(
            "p", f"{figures.counted(len(blocked), 'proposal')} above cannot go ahead; each says what would unblock it."
        )
    if story.notes:
        yield tag("h3", "Missing or out of date")
        yield tag("ul", *(tag("li", f"{note.words} ", tag("code", note.do) if note.do else "") for note in story.notes))


def _score(story: Story) -> Iterable[Markup]:
    if not story.truths:
        return
    found = {mark: sum(truth.mark is mark for truth in story.truths) for mark in Mark}
    yield tag("p", f"The made-up organisation has known effects and known traps. Right on {words.score(story)}.")
    yield page.facts((f"{words.MARK_SIGNS[mark]} {count}", mark.value) for mark, count in found.items())
    rows = [
        (f"{words.MARK_SIGNS[truth.mark]} {truth.mark.value}", truth.planted,
         words.MEANINGS[truth.said].word if truth.said else "no answer", truth.words)
        for truth in story.truths
    ]  # fmt: skip
    yield tag(
        "div",
        page.table("Planted, and what the analysis said.", ("Mark", "Planted", "It said", ""), rows, 4),
        class_="scroll",
    )


def _run(story: Story) -> Iterable[Markup]:
    yield tag(
        "p",
        f"Run {story.run.id}, {figures.minute(story.run.started)}, {figures.duration(story.run.seconds)}.",
        class_="soft",
    )
    yield from pictures.gantt(story)
    if story.events:
        since = f" since {figures.minute(story.events_since)}" if story.events_since else ""
        yield tag("h3", f"Events{since}")
        yield team_graph_html.funnel_figure(story.events)


def _reading(story: Story) -> Iterable[Markup]:
    hiding = (
        f"No number is about fewer than {story.run.k} people. Where a small group could be worked out by subtracting, one"
        " more number is hidden; which of the two it is, is not said."
    )
    yield tag("p", hiding)
    rows = [(f"{meaning.sign} {meaning.word}", meaning.means) for meaning in words.MEANINGS.values()]
    yield page.folded(
        "What the statuses mean", page.table("From firm to not shown.", ("Status", "What it means"), rows, 2)
    )
