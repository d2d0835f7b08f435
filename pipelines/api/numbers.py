"""What the last full analysis released about groups: its findings, and each group's values beside their normal ranges.

Nothing is computed here: it is the story of the run as the privacy sink let it out, word for word. So what is hidden on the
page is hidden here, and the two cannot be subtracted from one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field, WithJsonSchema
from starlette.responses import Response

from pipelines.api.automation import Asks, The
from pipelines.api.desk import Desk
from pipelines.api.document import documented
from pipelines.api.problems import absent
from pipelines.api.shapes import Shape
from pipelines.evidence import Status, SubjectKind
from pipelines.jobs import released

router = APIRouter(tags=["numbers"])
Run = Annotated[
    str | None,
    Query(
        pattern=r"^full-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}$", description="of the name; else the last that completed"
    ),
]
Team = Annotated[str | None, Query(max_length=200, description="only about this team")]
#: Not the enum itself: its name is also that of a run's status, and generators of clients know one of a name.
Worth = Annotated[
    str,
    AfterValidator(lambda text: Status(text).value),
    WithJsonSchema({"type": "string", "enum": [status.value for status in Status]}),
]
#: A number about a person has no place in a story; if one came, it would end here.
_GROUPS = frozenset({SubjectKind.TEAM.value, SubjectKind.TEAM_PAIR.value, SubjectKind.ORG.value})


class Findings(Shape):
    run: str = Field(examples=["full-2026-03-02T06"])
    k: int = Field(description="nothing is about fewer people", examples=[5])
    findings: list[dict[str, Any]] = Field(description="question, estimate with its interval, checks, status, reasons")


class Point(Shape):
    kind: SubjectKind
    subject: str = Field(description="the team; empty for the organisation")
    view: str = Field(examples=["meeting_h"])
    name: str = Field(examples=["Meeting hours"])
    unit: str = Field(examples=["hours a week"])
    value: float | None
    low: float | None = Field(description="of its normal range")
    high: float | None
    level: str | None = Field(description="beside its normal range", examples=["above"])
    hidden: bool = Field(description="there is a value, and it is not shown")


class Points(Shape):
    run: str
    k: int
    window: list[str] = Field(description="start and end of what was analysed")
    points: list[Point]


def _story(its: Desk, run: str | None) -> Mapping[str, Any]:
    results, k = its.postgres().results, its.config.min_group_size
    found = released.of(results, run) if run else released.newest(results, its.ledger, k)
    if found is None or not released.is_fit(found, k):
        raise absent(
            f"full analysis whose numbers are kept and about groups of {k} people or more",
            "one that was told under a lower k is not told again; run full again: POST /workflows/flows/full/start",
        )
    return found


@router.get("/findings", summary="Answers to causal questions", response_model=Findings, responses=documented(404))
def findings(
    its: The,
    note: Asks,
    run: Run = None,
    question: Annotated[str | None, Query(max_length=100)] = None,
    team: Team = None,
    status: Worth | None = None,
) -> Response:
    """Of a full run, as its report tells them: about teams and the organisation, from five people on."""
    story = _story(its, run)
    note(story["run"]["id"], reads="findings", team=team)
    wanted = {"question": question, "subject": team, "status": status}
    found = [
        each
        for each in story["findings"]
        if each["subject_kind"] in _GROUPS and all(v is None or each[name] == v for name, v in wanted.items())
    ]
    return its.guarded({"run": story["run"]["id"], "k": story["run"]["k"], "findings": found})


@router.get("/points", summary="Values of groups", response_model=Points, responses=documented(404))
def points(
    its: The,
    note: Asks,
    run: Run = None,
    view: Annotated[str | None, Query(max_length=100)] = None,
    team: Team = None,
) -> Response:
    """The newest value of each measure of each team and of the organisation, beside its normal range."""
    story = _story(its, run)
    note(story["run"]["id"], reads="points", team=team)
    found = [p for p in _points(story) if view in (None, p["view"]) and team in (None, p["subject"])]
    facts = story["run"]
    return its.guarded({"run": facts["id"], "k": facts["k"], "window": facts["window"], "points": found})


def _points(story: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in story["rows"]:
        for measure, cell in zip(story["measures"], row["cells"], strict=True):
            if row["kind"] in _GROUPS:
                about = {"kind": row["kind"], "subject": row["subject"]}
                yield about | {name: measure[name] for name in ("view", "name", "unit")} | cell
