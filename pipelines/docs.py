"""`python -m pipelines.docs`: the pages, and parts of pages, that are made from code.

A house test fails when one of them is out of step.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from pydantic import SecretStr

from alerts.settings import AlertSettings
from pipelines import command
from pipelines.causal import questions
from pipelines.causal.verdict import Thresholds
from pipelines.errors import PermanentError
from pipelines.events import schema
from pipelines.evidence import SubjectKind
from pipelines.graph import weights
from pipelines.interventions import lifecycle, playbooks
from pipelines.interventions.proposal import TargetKind
from pipelines.metrics import load, strain
from pipelines.metrics.view import View
from pipelines.metrics.views import VIEWS
from pipelines.metrics.weeks import BAND_MADS
from pipelines.report.measures import MEASURES
from pipelines.settings import Settings
from pipelines.steps import RETRIES

_FOLDER = Path(__file__).parent.parent / "docs"
_MADE = "<!-- made by `make docs`; do not edit -->\n"
_END = "<!-- end of what is made -->"


def pages() -> Mapping[str, str]:
    """Path below docs/ -> content. Of a page that is written by hand, only the marked parts are made."""
    return {
        "settings.md": _settings(),
        "weights.md": _weights(),
        "metrics.md": _metrics(),
        "interaction-event.schema.json": json.dumps(schema.json_schema(), indent=1) + "\n",
        "interventions.md": _with_parts("interventions.md", {"lifecycle": _lifecycle(), "playbooks": _playbooks()}),
        "causal.md": _with_parts("causal.md", {"questions": _questions(), "thresholds": _thresholds()}),
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]


def _with_parts(name: str, parts: Mapping[str, list[str]]) -> str:
    """The page as it is, with what stands between its marks made anew."""
    text = (_FOLDER / name).read_text(encoding="utf-8")
    for part, lines in parts.items():
        mark = f"<!-- {part}: made by `make docs` -->"
        before, _, rest = text.partition(mark)
        if not rest or _END not in rest:
            raise PermanentError(f"docs/{name} has no part between '{mark}' and '{_END}'")
        text = "\n".join([before + mark, "", *lines, "", _END + rest.partition(_END)[2]])
    return text


# ------------------------------------------------------------------------------------------------ settings, weights


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        _MADE,
        "Environment variables, or lines in `.env`. A wrong value is named with what was expected; values are never shown.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `ORGANISM_{name.upper()}` | {_default(field.default)} | {field.description} |")
    lines += [
        "",
        "## Alerts",
        "",
        "What is unset is not used. A secret may also be a file of that name, in lower case, in `/run/secrets`.",
        "",
    ]
    lines += ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in AlertSettings.model_fields.items():
        lines.append(f"| `{name.upper()}` | {_default(field.default)} | {field.description} |")
    lines += ["", "## Retries", "", "| step | attempts | waits (s) | of one attempt at most (s) |", "|---|---|---|---|"]
    for step, policy in RETRIES.items():
        waits = ", ".join(f"{delay:g}" for delay in policy.delays())
        lines.append(
            f"| `{step}` | {policy.attempts} | {waits}, each up to {policy.jitter:.0%} longer | {policy.timeout_s:g} |"
        )
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or (isinstance(value, SecretStr) and not value.get_secret_value()) or value == "":
        return "unset"
    days = getattr(value, "days", None)
    return f"`{days}d`" if days is not None else f"`{value}`"


def _weights() -> str:
    lines = [
        "# What an interaction is worth",
        "",
        _MADE,
        f"Strength fades by half every {weights.HALF_LIFE.days} days. A broadcast counts as load and makes no tie.",
        "",
        "| medium | weight on each tie |",
        "|---|---|",
        *(f"| {medium} | {words} |" for medium, (words, _) in weights.WEIGHTS.items()),
    ]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------ metrics

_KINDS = {
    SubjectKind.PERSON: "Of a person",
    SubjectKind.TEAM: "Of a team",
    SubjectKind.TEAM_PAIR: "Of a pair of teams",
    SubjectKind.ORG: "Of the organisation",
}

_CONVENTIONS = """\
What is computed, from what, and what it means. Nothing here is shown about a person or about fewer people than
`ORGANISM_MIN_GROUP_SIZE`; values of people are input, not output. Two sources:

- **Views of the graph**: the ties whose last interaction lies in the window (`ORGANISM_WINDOW_DAYS`), media summed, as of the
  end of the window. Each is stored on the nodes (as `m_` and its name, for people) and as a point in the time series.
- **Weeks of people**: counted from the archive, Monday 00:00 to Monday on the person's own clock. Each is kept in
  `person_weeks`; the means of teams and of the organisation become points.

Conventions, each of them a test: strength is the weight and 1/strength the length of a tie; an undirected tie is the sum of
both directions; betweenness counts unordered pairs and excludes the ends; closeness is harmonic; weighted clustering is
Onnela's; who has no tie has no constraint and no effective size. A value is missing where there is nothing to divide by, and
0 only where there is none. A version goes up with every change of what comes out; old and new values are never compared.

Betweenness is exact, however large the organisation. `metrics/sampling.py` estimates it within a stated error, with a stated
probability, and without an order among those whom the error cannot tell apart; no view uses it."""

_WEEKS = f"""\
Version {load.VERSION}. A point of a team is the mean over its people who worked in the week. Working time is 08:00 to 18:00,
Monday to Friday; public holidays are not known; a day runs from 04:00 to 04:00. Columns that need a clock are missing for
somebody whose zone nobody knows."""

_STRAIN = f"""\
A number from 0 to 100 for a person and week: how far the week departs from the same person's {strain.BASELINE_WEEKS} weeks
before, about 50 in a usual week. **It is an unvalidated index of workload, chosen by hand. It is no diagnosis, it does not
measure burnout, and nobody may call it that.** It is the exact sum of its parts. Each part is its weight times
1 / (1 + exp(-d)), where d is the distance of the week from the person's own median in robust standard deviations (1.4826 x
the median absolute deviation, and no less than the least one given here). It abstains with fewer than {strain.LEAST_WEEKS}
weeks of work, in a week without work, and where any part has no value. What makes somebody's usual week hard, and always
has, it cannot see."""

_BANDS = f"""\
What is normal for a team is its own past: the median of its weekly means of the {strain.BASELINE_WEEKS} weeks before, and
{BAND_MADS:g} median absolute deviations to either side; none with fewer than {strain.LEAST_WEEKS} weeks. No team is compared
with another."""


def _metrics() -> str:
    lines = ["# Metrics", "", _MADE, _CONVENTIONS]
    for kind, heading in _KINDS.items():
        views = [view for view in VIEWS if view.kind is kind]
        lines += ["", f"## {heading}", "", *_table(("view", "version", "unit", "meaning"), map(_view, views))]
    lines += ["", "## Weeks", "", _WEEKS, ""]
    lines += _table(("column", "meaning"), ((f"`{name}`", words) for name, words in load.MEANINGS.items()))
    lines += ["", "## Strain", "", _STRAIN, ""]
    lines += _table(("part", "from", "weight", "least sd", "why"), map(_part, strain.PARTS))
    lines += ["", "## Normal bands", "", _BANDS, "", f"The report tells of these: {_told()}."]
    return "\n".join(lines) + "\n"


def _view(view: View) -> tuple[object, ...]:
    return f"`{view.name}`", view.version, view.unit, view.meaning


def _part(part: strain.PartOfStrain) -> tuple[object, ...]:
    less = ", less is worse" if part.sign < 0 else ""
    return part.name, f"`{part.column}`{less}", f"{part.weight:g}", f"{strain.LEAST_SD[part.column]:g}", part.reason


def _told() -> str:
    return ", ".join(f"{measure.name.lower()} (`{measure.view}`)" for measure in MEASURES)


# ------------------------------------------------------------------------------------------------ parts of pages


def _lifecycle() -> list[str]:
    return ["```mermaid", *lifecycle.drawing().splitlines(), "```"]


def _playbooks() -> list[str]:
    rows = []
    for its in playbooks.SHIPPED.values():
        way = "less" if its.direction < 0 else "more"
        moves = f"**{its.title}** `{its.id}` {its.version}: {way} `{its.treatment}`, {its.least:g} to {its.most:g} {its.unit}"
        kinds = " or ".join(_ADDRESSED[kind] for kind in TargetKind if kind in its.kinds)
        rows.append((f"{moves}; {kinds}; impact {its.impact}", _filled(its.preview, its), _filled(its.undo, its)))
    return _table(("playbook", "what happens", "the undo"), rows)


_ADDRESSED = {TargetKind.TEAM: "a team", TargetKind.TEAM_PAIR: "a pair of teams", TargetKind.ORG: "the organisation"}


def _filled(sentence: str, template: playbooks.Template) -> str:
    return sentence.format(**template.params, target="the group", size="n")


def _questions() -> list[str]:
    catalogue = questions.load()
    return ["```", *questions.drawing(catalogue, catalogue.questions).splitlines(), "```"]


def _thresholds() -> list[str]:
    """Each with the comment that stands above it in the code: the reason is written once."""
    said = {name: words for words, name in re.findall(r"((?: +#: .*\n)+) +(\w+): ", inspect.getsource(Thresholds))}
    rows = [
        (f"`{f.name}`", f"{f.default:g}", " ".join(re.findall("#: (.*)", said[f.name]))) for f in fields(Thresholds)
    ]
    return _table(("threshold", "value", "why"), rows)


def main() -> int:
    for name, content in pages().items():
        (_FOLDER / name).write_text(content, encoding="utf-8")
        print(_FOLDER / name)
    return command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))
