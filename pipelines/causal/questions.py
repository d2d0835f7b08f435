"""What may be asked, as data: treatment, outcome, what is held, what is not, over which weeks. Wrong questions are refused.

The file `questions.toml` beside this module is the default; its drawing of what causes what is printed in the report.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from pipelines.causal.panel import OUTCOME, PART, Panel
from pipelines.errors import InvalidInput
from pipelines.evidence import Floats

ANY_SURVEY = "survey:*"
#: Stands in the drawing for every measure of table `outcomes`.
ANY_OUTCOME = "outcome"
KINDS = ("survey", "event", "operational", "proxy")


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known about one column. parts: of an index, each with the channels it is counted from."""

    name: str
    words: str
    unit: str = ""
    kind: str = ""
    channels: frozenset[str] = frozenset()
    network: bool = False
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """Does the mean of `treatment` over `lag_weeks` weeks, ending `first_lag` weeks ago, change `outcome`?

    exogenous metrics are common causes that the treatment does not change: they are held in the treated weeks as well as
    before them. confounders may be changed by it in their turn: held as they were before the treated weeks only. assigned:
    "team" or "person", who decides the treatment, which is what standard errors are clustered by.
    """

    id: str
    treatment: str
    outcome: str
    confounders: tuple[str, ...] = ()
    exogenous: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    negative_control: str = ""
    lag_weeks: int = 4
    first_lag: int = 1
    assigned: str = "team"
    reduce: bool = True
    by_team: bool = True

    @property
    def held(self) -> tuple[str, ...]:
        return self.confounders + self.exogenous


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Metrics, the drawing and the questions of one version of the file."""

    version: int
    metrics: Mapping[str, Metric]
    measures: Mapping[str, str]
    edges: tuple[tuple[str, str], ...]
    questions: tuple[Question, ...]

    def metric(self, name: str) -> Metric:
        """Raises: InvalidInput, when the name is neither in the file nor a measure."""
        if name.startswith(OUTCOME):
            measure = name.removeprefix(OUTCOME)
            return Metric(name, measure.replace("_", " "), "points", self.measures.get(measure, "survey"))
        if name not in self.metrics:
            raise InvalidInput(f"unknown metric {name!r}; known are {', '.join(sorted(self.metrics))}")
        return self.metrics[name]

    def asked_of(self, panel: Panel) -> tuple[Question, ...]:
        """The questions with `survey:*` written out for each measure that the panel has; none of it, no such question."""
        return tuple(q for question in self.questions for q in _written_out(question, panel.measures))

    def outcome_values(self, question: Question, panel: Panel) -> tuple[Floats, tuple[str, ...]]:
        """The outcome, length n, and the names of parts that were left out of it for mechanical overlap.

        Raises:
            InvalidInput: an index has no part that does not overlap, or its parts are not in the panel.
        """
        metric = self.metric(question.outcome)
        if not metric.parts:
            return panel.column(question.outcome), ()
        shared = self.metric(question.treatment).channels
        there = [name.removeprefix(PART) for name in panel.columns if name.startswith(PART)]
        kept = [name for name in there if name in metric.parts and not metric.parts[name] & shared]
        if not kept:
            raise InvalidInput(
                f"question {question.id}: no part of {question.outcome} is free of what {question.treatment} is counted from"
            )
        values = sum((panel.column(PART + name) for name in kept), start=panel.column(PART + kept[0]) * 0.0)
        return values, tuple(name for name in there if name not in kept)


def load(text: str | None = None) -> Catalogue:
    """The catalogue of a TOML text; the one that comes with the program when there is none.

    Raises:
        InvalidInput: names the question and what is wrong with it.
    """
    text = text or resources.files("pipelines.causal").joinpath("questions.toml").read_text(encoding="utf-8")
    try:
        raw = tomllib.loads(text)
        catalogue = Catalogue(
            int(raw["version"]),
            {name: _metric(name, entry) for name, entry in raw["metrics"].items()},
            raw.get("measures", {}),
            tuple(_edge(line) for line in raw.get("dag", {}).get("edges", [])),
            tuple(_question(entry) for entry in raw.get("questions", [])),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InvalidInput(f"the file of questions cannot be read: {error}") from error
    validate(catalogue)
    return catalogue


def validate(catalogue: Catalogue) -> None:
    """Raises: InvalidInput, with every reason found."""
    reasons = list(_wrong_drawing(catalogue))
    if len({q.id for q in catalogue.questions}) != len(catalogue.questions):
        reasons.append("two questions have the same id")
    for question in catalogue.questions:
        reasons += [f"question {question.id}: {words}" for words in why_not(question, catalogue)]
    if reasons:
        raise InvalidInput("; ".join(reasons))


def why_not(question: Question, catalogue: Catalogue) -> list[str]:
    """Every reason why this question cannot be asked; empty when it can."""
    named = [question.treatment, *question.held, *question.mediators]
    named += [] if question.outcome == ANY_SURVEY else [question.outcome]
    named += [question.negative_control] if question.negative_control else []
    unknown = [n for n in named if not n.startswith(OUTCOME) and n not in catalogue.metrics]
    if unknown:
        return [f"unknown metric {name!r}" for name in unknown]
    return [*_wrong_shape(question), *_wrong_roles(question, catalogue), *_tautology(question, catalogue)]


def drawing(catalogue: Catalogue, questions: Sequence[Question]) -> str:
    """The assumptions as text for the report: one line an arrow, and the role of every metric in every question."""
    lines = [f"What is assumed to cause what (version {catalogue.version}):"]
    lines += [f"  {cause} -> {effect}" for cause, effect in catalogue.edges]
    for q in questions:
        first, last = q.first_lag + q.lag_weeks - 1, q.first_lag
        lines.append(f"{q.id}: {q.treatment} (mean of weeks -{first} to -{last}) -> {q.outcome} (week 0)")
        lines += [f"  {words}: {', '.join(names)}" for words, names in _roles(q) if names]
    return "\n".join(lines)


def _roles(question: Question) -> list[tuple[str, tuple[str, ...]]]:
    return [
        ("held as it was before", question.confounders),
        ("held in the treated weeks too", question.exogenous),
        ("on the way from cause to effect, so not held", question.mediators),
        ("must not change (negative control)", (question.negative_control,) if question.negative_control else ()),
    ]


def _metric(name: str, entry: Mapping[str, Any]) -> Metric:
    kind = entry.get("kind", "")
    if kind and kind not in KINDS:
        raise InvalidInput(f"metric {name}: kind {kind!r} is none of {', '.join(KINDS)}")
    parts = {part: frozenset(channels) for part, channels in entry.get("parts", {}).items()}
    channels = frozenset(entry.get("channels", []))
    return Metric(name, entry["words"], entry.get("unit", ""), kind, channels, entry.get("network", False), parts)


def _question(entry: Mapping[str, Any]) -> Question:
    lists = ("confounders", "exogenous", "mediators")
    fields: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in entry.items()}
    return Question(**fields)


def _edge(line: str) -> tuple[str, str]:
    cause, arrow, effect = (part.strip() for part in line.partition("->"))
    if not (cause and arrow and effect):
        raise InvalidInput(f"an arrow of the drawing is written 'cause -> effect'; seen {line!r}")
    return cause, effect


def _written_out(question: Question, measures: Sequence[str]) -> list[Question]:
    if question.outcome != ANY_SURVEY:
        return [question]
    return [
        replace(question, id=f"{question.id}.{m}", outcome=OUTCOME + m)
        for m in measures
        if OUTCOME + m != question.negative_control
    ]


def _wrong_drawing(catalogue: Catalogue) -> Iterator[str]:
    for name in sorted({end for edge in catalogue.edges for end in edge} - {ANY_OUTCOME} - set(catalogue.metrics)):
        yield f"the drawing has an unknown metric {name!r}"
    for name in sorted({cause for cause, _ in catalogue.edges}):
        if name in downstream(name, catalogue.edges):
            yield f"the drawing goes in a circle through {name}"


def downstream(name: str, edges: Sequence[tuple[str, str]]) -> set[str]:
    """Everything that the drawing says is changed by this metric, directly or through others."""
    found: set[str] = set()
    todo = [name]
    while todo:
        at = todo.pop()
        new = {effect for cause, effect in edges if cause == at} - found
        found |= new
        todo += new
    return found


def _wrong_shape(question: Question) -> Iterator[str]:
    if question.lag_weeks < 1 or question.first_lag < 1:
        yield "the treatment must be before the outcome: lag_weeks and first_lag are at least 1"
    if question.assigned not in ("team", "person"):
        yield f"assigned is 'team' or 'person', not {question.assigned!r}"
    if question.treatment == question.outcome:
        yield "treatment and outcome are the same"


def _wrong_roles(question: Question, catalogue: Catalogue) -> Iterator[str]:
    for name in sorted(set(question.held) & set(question.mediators)):
        yield f"{name} is a mediator and is listed as a confounder: holding it would hide the effect"
    for name in sorted(set(question.confounders) & set(question.exogenous)):
        yield f"{name} is listed both as a confounder and as exogenous"
    for name in sorted({question.treatment, question.outcome} & {*question.held, *question.mediators}):
        yield f"{name} cannot be asked about and be held or mediate at once"
    after = downstream(question.treatment, catalogue.edges)
    for name in sorted(set(question.held) & after):
        yield f"{name} is listed as a confounder, but the drawing says that {question.treatment} changes it"
    for name in sorted(set(question.mediators) - after):
        yield f"{name} is listed as a mediator, but the drawing has no way to it from {question.treatment}"


def _tautology(question: Question, catalogue: Catalogue) -> Iterator[str]:
    """The mechanical-overlap rule: what is counted from the same acts moves together by arithmetic."""
    if question.outcome == ANY_SURVEY:
        return
    outcome, treatment = catalogue.metric(question.outcome), catalogue.metric(question.treatment)
    if shared := outcome.channels & treatment.channels:
        yield f"{question.treatment} and {question.outcome} are both counted from {', '.join(sorted(shared))}: a tautology"
    if outcome.parts and all(channels & treatment.channels for channels in outcome.parts.values()):
        yield f"every part of {question.outcome} is counted from what {question.treatment} is counted from: a tautology"
    if not outcome.kind:
        yield f"{question.outcome} has no kind of outcome; give it one of {', '.join(KINDS)}"
