"""The team graph as one HTML file that needs nothing else: no script, no font, no picture from anywhere.

It is made of a `TeamGraph` and a `RunReport`, so that what may not be shown cannot be on the page. Nothing here is
about a person, and nothing ranks people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.model import Funnel, RunReport
from pipelines.report import bars_svg, figures, funnel, matrix_svg, page
from pipelines.report.bars_svg import Bar
from pipelines.report.markup import Markup, cut, tag
from pipelines.report.style import CSS
from pipelines.report.team_graph import Amount, Group, TeamGraph

_STRONGEST = 10
_ROWS = 400
_NAME, _NAME_IN_BAR, _NAME_IN_TEXT = 64, 22, 40


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a strength is. weights: (medium, words for its weight), the table of the graph."""

    half_life: timedelta
    weights: Sequence[tuple[str, str]]


def write(
    path: Path,
    graph: TeamGraph,
    meaning: Meaning,
    now: datetime,
    run: RunReport | None = None,
    title: str = "Who works with whom",
) -> None:
    """As `page.write`."""
    page.write(path, render(graph, meaning, now, run, title))


def render(
    graph: TeamGraph,
    meaning: Meaning,
    now: datetime,
    run: RunReport | None = None,
    title: str = "Who works with whom",
) -> str:
    """The page as text; the same arguments give the same page."""
    main = tag(
        "main",
        tag("h1", title),
        tag("p", _lede(graph, now), class_="soft"),
        *_alarms(run),
        *(_pictures(graph) if graph.groups else (_nothing(graph),)),
        *(_run(run) if run else ()),
        *_meaning(meaning),
        *(_hiding(graph) if graph.groups else ()),
        tag(
            "footer",
            "No content of any message is read or stored, and nothing on this page is about one person.",
            class_="soft",
        ),
    )
    return page.document(title, now, CSS, main)


# ------------------------------------------------------------------------------------------------ the top


def _lede(graph: TeamGraph, now: datetime) -> str:
    first, last = (figures.day(day) for day in graph.days) if graph.days else ("", "")
    dates = f"Interactions from {first} to {last}. " if first else ""
    return f"{dates}Strengths as of {figures.minute(now)}."


def _alarms(run: RunReport | None) -> Iterable[Markup]:
    for alarm in funnel.alarms(run) if run else ():
        yield tag(
            "div", tag("b", alarm.word), f" {alarm.seen}. Run ", tag("code", alarm.do), class_="alarm", role="alert"
        )


def _nothing(graph: TeamGraph) -> Markup:
    return tag(
        "p",
        f"There is nothing to show yet: fewer than {graph.k} people take part in any tie, and no number here is about"
        " so few.",
    )


def _facts(graph: TeamGraph) -> Markup:
    """Four numbers; the totals are there only if they give nothing away."""
    teams = sum(group.teams is None for group in graph.groups)
    facts = [
        (f"{teams:,}", "team shown by name" if teams == 1 else "teams shown by name"),
        (f"{graph.people:,}", "people"),
    ]
    if graph.shown.n:
        facts.append((figures.share(graph.within.strength, graph.shown.strength), "of shown strength is inside teams"))
    if (everything := graph.everything) and graph.hidden is not None:
        facts.append(
            (figures.share(graph.hidden.strength, everything.strength), "of all strength is hidden, see below")
        )
    return page.facts(facts)


# ------------------------------------------------------------------------------------------------ the pictures


def _pictures(graph: TeamGraph) -> Iterable[Markup]:
    yield _facts(graph)
    yield tag("h2", "Ties within and between teams")
    if len(graph.groups) == 1 and graph.groups[0].teams == 0:
        yield tag("p", "No team of anybody is known yet; roster events bring them.")
    yield matrix(graph)
    yield _group_table(graph.groups, graph)
    yield tag("h2", "Strongest ties between teams")
    yield from _strongest(graph)


def matrix(graph: TeamGraph) -> Markup:
    """The picture with its words, legend and table."""
    scale = matrix_svg.scale_of(tie.strength for tie in graph.ties.values())
    caption = (
        "One square for each pair of teams; on the diagonal, the team itself. Darker squares (on a dark page, lighter"
        " ones) are stronger ties. Teams that work together stand together."
    )
    picture = matrix_svg.draw(graph, scale, "matrix-text")
    return tag(
        "figure",
        tag("p", _matrix_words(graph), id="matrix-text"),
        page.scrolled(picture, "matrix of teams", tall=len(graph.groups) > 30),
        _legend(scale, graph.k),
        tag("figcaption", caption),
        _pair_table(graph),
    )


def _matrix_words(graph: TeamGraph) -> str:
    """What the picture says, in words."""
    if not graph.ties:
        return f"No pair of teams has ties of {graph.k} or more people; all squares are empty."
    pairs, possible = len(graph.ties), len(graph.groups) * (len(graph.groups) + 1) // 2
    parts = [
        f"{where} {_range([tie.strength for (i, j), tie in graph.ties.items() if (i == j) is same])}"
        for where, same in (("inside a group", True), ("between two groups", False))
        if any((i == j) is same for i, j in graph.ties)
    ]
    return f"{pairs:,} of {figures.counted(possible, 'square')} can be shown. Strength {', '.join(parts)}."


def _range(strengths: Sequence[float]) -> str:
    low, high = figures.amount(min(strengths)), figures.amount(max(strengths))
    return f"is {low}" if low == high else f"runs from {low} to {high}"


def _legend(scale: matrix_svg.Scale, k: int) -> Markup:
    swatches = [(f"s{colour}", words) for colour, words in scale.classes()]
    swatches.append(("none", f"no ties, or of fewer than {k} people"))
    items = [tag("li", tag("i", class_=colour), words) for colour, words in swatches]
    return tag("ul", tag("li", "Strength:"), *items, class_="legend")


def _strongest(graph: TeamGraph) -> Iterable[Markup]:
    named = [(pair, tie) for pair, tie in graph.between() if all(graph.groups[i].teams is None for i in pair)]
    ranked = named[:_STRONGEST]
    if not ranked:
        yield tag("p", f"No two teams have ties of {graph.k} or more people.")
        return
    bars = [
        Bar(
            " – ".join(cut(graph.groups[i].name, _NAME_IN_BAR) for i in pair),
            figures.amount(tie.strength),
            tie.strength,
        )
        for pair, tie in ranked
    ]
    (i, j), first = ranked[0]
    words = (
        f"The strongest tie between two teams is the one of {_name(graph.groups[i])} and {_name(graph.groups[j])}:"
        f" {figures.amount(first.strength)}, in {figures.counted(first.n, 'interaction')}."
    )
    yield tag(
        "figure",
        tag("p", words, id="strongest-text"),
        bars_svg.draw(bars, first.strength, "strongest-text"),
        tag("figcaption", "Both directions together, in units of strength."),
        class_="whole",
    )


def _name(group: Group) -> str:
    return cut(group.name, _NAME_IN_TEXT)


# ------------------------------------------------------------------------------------------------ tables


def _pair_table(graph: TeamGraph) -> Markup:
    """The matrix as a list; it also serves the bars."""
    ranked = sorted(graph.ties.items(), key=lambda item: (-item[1].strength, item[0]))
    rows = [(*_ends(graph, pair), figures.amount(tie.strength), f"{tie.n:,}") for pair, tie in ranked[:_ROWS]]
    left = len(ranked) - len(rows)
    caption = "Every shown square, the strongest first." + (f" {left:,} weaker ones are left out." if left else "")
    table = page.table(caption, ("Team", "with", "Strength", "Interactions"), rows, 2)
    return page.folded("The squares as a table", table, is_open=False)


def _ends(graph: TeamGraph, pair: tuple[int, int]) -> tuple[str, str]:
    one, other = (cut(graph.groups[i].name, _NAME) for i in pair)
    return (one, "itself") if pair[0] == pair[1] else (one, other)


def _group_table(groups: Sequence[Group], graph: TeamGraph) -> Markup:
    rows = []
    for i, group in enumerate(groups):
        inside: Amount | None = graph.ties.get((i, i))
        outward = graph.with_others(i)
        rows.append((
            str(i + 1),
            cut(group.name, _NAME),
            f"{group.size:,}",
            figures.amount(inside.strength) if inside else "not shown",
            figures.amount(outward.strength) if outward.n else "not shown",
        ))  # fmt: skip
    caption = "Groups in the order of the matrix. With others: shown ties only."
    table = page.table(caption, ("No.", "Team", "People", "Strength inside", "with others"), rows, 2)
    return page.folded("The teams as a table", table, is_open=len(groups) <= 30)


# ------------------------------------------------------------------------------------------------ the run and the words


def _run(run: RunReport) -> Iterable[Markup]:
    yield tag("h2", "The run behind it")
    yield tag(
        "p", f"{figures.minute(run.started)}, {figures.duration(run.seconds)}; {funnel.state(run)}.", class_="soft"
    )
    yield funnel_figure(run.funnel)


def funnel_figure(entries: Funnel) -> Markup:
    """What became of entries: bars, the words for them, and a table."""
    bars = [Bar("read from the stream", f"{entries.read:,}", entries.read)]
    bars += [
        Bar(f"{fate.words}: {fate.meaning}", f"{fate.count:,}", fate.count, bad=fate.words == "dead letters")
        for fate in funnel.fates(entries)
    ]
    missing = funnel.unaccounted(entries)
    whole = "They add up: no entry was lost." if not missing else f"The difference of {missing:+,} is a defect."
    words = f"{entries.read:,} entries were read, {entries.accounted:,} have one of five fates. {whole}"
    return tag(
        "figure",
        tag("p", words, id="run-text"),
        bars_svg.draw(bars, max(entries.read, entries.accounted), "run-text"),
        _run_table(entries),
        class_="whole",
    )


def _run_table(entries: Funnel) -> Markup:
    rows = [(fate.words, f"{fate.count:,}", figures.share(fate.count, entries.read)) for fate in funnel.fates(entries)]
    rows += [
        (f"reason {code}", f"{count:,}", figures.share(count, entries.read))
        for code, count in sorted(entries.codes.items())
    ]
    caption = "Entries, and their share of what was read."
    return page.folded("The run as a table", page.table(caption, ("Fate", "Entries", "Share"), rows, 1))


def _meaning(meaning: Meaning) -> Iterable[Markup]:
    days = meaning.half_life / timedelta(days=1)
    yield tag("h2", "What the numbers mean")
    yield tag(
        "p",
        f"Strength 1 is one direct message a moment ago. It fades by half every {days:g} days: what is not kept up"
        " sinks. The strength of a square is the sum over all ties of the people in it, in both directions; so larger"
        " teams have larger sums.",
    )
    rows = [(medium, words) for medium, words in meaning.weights]
    yield page.folded(
        "What each kind of interaction weighs",
        page.table("On each tie, at the time.", ("Kind", "Weight"), rows, 2),
        False,
    )


def _hiding(graph: TeamGraph) -> Iterable[Markup]:
    yield tag("h2", "What is hidden, and why")
    merged = next((group for group in graph.groups if group.teams is not None), None)
    if merged:
        what = f"{figures.counted(merged.teams or 0, 'team')} and the people without a team"
        why = f"because a group of fewer than {graph.k} could be recognised"
        yield tag("p", f"“{merged.name}” holds {what}, {merged.size:,} people together, {why}.")
    yield tag(
        "p",
        f"A square is hatched if fewer than {graph.k} people take part in its ties, or if one person has nearly all of"
        " them; it looks the same as no ties at all. Sometimes one more square is hatched, so that subtracting does not"
        " bring the first one back.",
    )
    yield tag("p", _hidden_words(graph))


def _hidden_words(graph: TeamGraph) -> str:
    everything = graph.everything
    if everything is None or graph.hidden is None:
        return "How much is hidden is not said, because that would be a number about few people."
    words = "Nothing is hidden"
    if graph.hidden.n:
        words = f"Hidden are {figures.share(graph.hidden.strength, everything.strength)} of all strength"
    if graph.outside:
        words += (
            f"; {figures.share(graph.outside.strength, everything.strength)} goes to people outside the organisation"
        )
    return words + "."
