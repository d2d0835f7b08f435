"""The pictures of a story: each with the words for it, a legend where signs need one, and its numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.evidence import Finding
from pipelines.report import change_map_svg, figures, forest_svg, gantt_svg, page, ridgelines_svg
from pipelines.report import story_words as words
from pipelines.report.markup import Markup, cut, tag
from pipelines.report.story import Level, Story, Strain

_NAME = 64
_ROWS = 400
_MAP_CLASSES = {
    Level.FAR_BELOW: "lo2",
    Level.BELOW: "lo1",
    Level.NORMAL: "mid",
    Level.ABOVE: "hi1",
    Level.FAR_ABOVE: "hi2",
}


def change_map(story: Story) -> Markup:
    picture = change_map_svg.draw(story.rows, story.measures, story.run.k, "map-text")
    return tag(
        "figure",
        tag("p", words.in_short(story)[0], id="map-text"),
        page.scrolled(picture, "change map", tall=len(story.rows) > 30),
        _map_legend(story.run.k),
        tag("figcaption", "Every group is compared with its own past weeks, never with another group."),
        page.folded("The map as a table", _map_table(story)),
        page.folded("What is measured", _measures(story)),
        class_="whole",
    )


def _map_legend(k: int) -> Markup:
    swatches = [
        (f"map-{kind}", f"{words.LEVEL_SIGNS[level]} {words.LEVEL_WORDS[level]}")
        for level, kind in _MAP_CLASSES.items()
    ]
    swatches += [("map-none", "no normal range yet"), ("none", words.few(k))]
    return tag("ul", *(tag("li", tag("i", class_=kind), label) for kind, label in swatches), class_="legend")


def _map_table(story: Story) -> Markup:
    rows = [
        (cut(row.subject or words.ORGANISATION, _NAME), measure.name, words.standing(cell, measure, story.run.k))
        for row in story.rows
        for measure, cell in zip(story.measures, row.cells, strict=True)
    ]
    left = len(rows) - _ROWS
    caption = "Latest week beside the normal range." + (f" {left:,} more rows are in the JSON." if left > 0 else "")
    return page.table(caption, ("Group", "Measure", "Now"), rows[:_ROWS], 3)


def _measures(story: Story) -> Markup:
    rows = [(measure.name, measure.unit, measure.about) for measure in story.measures]
    return page.table("In the order of the map.", ("Measure", "Unit", "What it counts"), rows, 3)


# ------------------------------------------------------------------------------------------------ strain


def ridgelines(strain: Strain, k: int) -> Markup:
    legend = [("band", "the team's own normal range"), ("outside", "outside of it"), ("none", words.few(k))]
    return tag(
        "figure",
        tag("p", _strain_words(strain), id="strain-text"),
        page.scrolled(
            ridgelines_svg.draw(strain, "strain-text"), "strain by team and week", tall=len(strain.ridges) > 20
        ),
        tag("ul", *(tag("li", tag("i", class_=kind), label) for kind, label in legend), class_="legend"),
        tag("figcaption", "The mean of each team and week; never a person. The number is this week's."),
        page.folded("The weeks as a table", _strain_table(strain, k)),
        class_="whole",
    )


def _strain_words(strain: Strain) -> str:
    high = [cut(ridge.subject, 40) for ridge in strain.ridges if ridge.level and ridge.level > 0]
    known = sum(ridge.level is not None for ridge in strain.ridges)
    weeks = f"Over {figures.counted(len(strain.weeks), 'week')}"
    if not known:
        return f"{weeks}, no team has a normal range of strain yet."
    if not high:
        return f"{weeks}, no team is above its own normal strain."
    came = f"{len(high)} of {figures.counted(known, 'team')} came to stand above"
    return f"{weeks}, {came} their own normal strain: {', '.join(high)}."


def _strain_table(strain: Strain, k: int) -> Markup:
    heads = ["Team", "Normal range", *(f"{week.day} {week:%b}" for week in strain.weeks)]
    rows = []
    for ridge in strain.ridges[:_ROWS]:
        band = f"{words.number(ridge.band[0])} to {words.number(ridge.band[1])}" if ridge.band else "not known"
        values = ["–" if value is None else words.number(value) for value in ridge.values]
        rows.append((cut(ridge.subject, _NAME), band, *values))
    return page.table(f"Mean strain index, 0 to 100. A dash is {words.few(k)}.", heads, rows, 2)


# ------------------------------------------------------------------------------------------------ forest


def forest(findings: Sequence[Finding], story: Story) -> Markup:
    """Only for findings of which one at least can be drawn."""
    caption = (
        "On one scale: how far the result moves, in its usual spread between weeks, when the cause moves by its own. The"
        " line is the 95 % interval, all methods together. A square may be relied on, a circle may not."
        " ✓ held, ✗ failed, – not run."
    )
    return tag(
        "figure",
        tag("p", _forest_words(findings), id="forest-text"),
        page.scrolled(
            forest_svg.draw(findings, "forest-text"), "effects with their intervals", tall=len(findings) > 20
        ),
        tag("figcaption", caption),
        page.folded("The effects as a table", _forest_table(findings, story)),
        class_="whole",
    )


def _forest_words(findings: Sequence[Finding]) -> str:
    bars = [bar for finding in findings if (bar := forest_svg.bar_of(finding))]
    clear = sum(bar.low > 0 or bar.high < 0 for bar in bars)
    return (
        f"{figures.counted(len(bars), 'effect')} could be estimated; the interval of {clear} does not touch zero. That alone"
        " proves nothing: the checks at the right decide."
    )


def _forest_table(findings: Sequence[Finding], story: Story) -> Markup:
    called = words.names(story)
    rows = []
    for its in findings:
        bar = forest_svg.bar_of(its)
        scaled = words.interval(bar.effect, bar.low, bar.high) if bar else "no estimate"
        about = cut(words.group(its.subject_kind, its.subject), _NAME)
        rows.append(
            (
                its.words,
                about,
                words.MEANINGS[its.status].word,
                words.effect(its, called) or "–",
                scaled,
                words.checks(its),
            )
        )
    heads = ("Finding", "Group", "Status", "Effect (95 % interval)", "On the scale", "Checks")
    return page.table("Every answer of the run.", heads, rows, 6)


# ------------------------------------------------------------------------------------------------ the run


def gantt(story: Story) -> Iterable[Markup]:
    if not story.steps:
        return
    slowest = max(story.steps, key=lambda step: step.seconds)
    rows = [
        (step.name, step.outcome, f"{(step.started - story.run.started).total_seconds():.1f} s",
         figures.duration(step.seconds), gantt_svg.memory(step.peak_bytes),
         ", ".join(f"{words.plain(name)} {count:,}" for name, count in step.counts.items()))
        for step in story.steps
    ]  # fmt: skip
    heads = ("Step", "Outcome", "Began after", "Took", "Peak memory", "Counts")
    sentence = (
        f"{figures.counted(len(story.steps), 'step')} one after the other; the longest was {slowest.name} with"
        f" {figures.duration(slowest.seconds)}."
    )
    yield tag(
        "figure",
        tag("p", sentence, id="gantt-text"),
        gantt_svg.draw(story.steps, "gantt-text"),
        page.folded("The steps as a table", page.table("Peak memory is of the whole process so far.", heads, rows, 6)),
        class_="whole",
    )
