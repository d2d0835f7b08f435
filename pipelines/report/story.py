"""The story of a full run: what changed, why, what is proposed, what was refused, what is not known. Frozen values.

It holds only what the privacy sink released (`story_telling.tell` makes it), so that the terminal, the page and JSON
cannot show anything else. It depends on no part that makes findings or proposals, only on their nouns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum

from pipelines.evidence import Finding, RuleRefusal, State, Status, SubjectKind
from pipelines.model import Funnel
from pipelines.report.team_graph import TeamGraph


class Level(IntEnum):
    """Where a value is beside its own normal range; FAR is more than half the range's width outside of it."""

    FAR_BELOW = -2
    BELOW = -1
    NORMAL = 0
    ABOVE = 1
    FAR_ABOVE = 2


class Mark(StrEnum):
    """How the analysis did on one planted truth."""

    FOUND = "found"
    SILENT = "rightly silent"
    MISSED = "missed"
    OFF = "found, its size missed"
    WRONG = "wrongly claimed"
    NOT_ANSWERED = "not answered"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """k: nothing here is about fewer people. window: what was analysed, start and end."""

    id: str
    started: datetime
    seconds: float
    window: tuple[datetime, datetime]
    k: int
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A view in the words of a team lead: `Meeting hours`, `hours a week`, and one sentence about what it counts.

    adds_up, floor: as in `privacy.tables.Table`.
    """

    view: str
    name: str
    unit: str
    about: str
    adds_up: bool = True
    floor: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One value beside its normal range. All None: there is none; `hidden`: there is one, and it stays here."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: Level | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class MapRow:
    """A group (the organisation has no name) with one standing for each measure of the story."""

    kind: SubjectKind
    subject: str
    cells: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A value outside its normal range. excess: how far outside, in widths of half the range; 0 at its edge."""

    subject: str
    measure: Measure
    standing: Standing
    excess: float


@dataclass(frozen=True, slots=True)
class Ridge:
    """A group's weekly means, None where a week is not shown; and the normal range, if it is known."""

    subject: str
    values: tuple[float | None, ...]
    band: tuple[float, float] | None
    level: Level | None = None

    @property
    def is_hidden(self) -> bool:
        return all(value is None for value in self.values)


@dataclass(frozen=True, slots=True)
class Strain:
    """The strain index week by week. weeks: Mondays, the oldest first."""

    weeks: tuple[date, ...] = ()
    ridges: tuple[Ridge, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalTold:
    """What a person needs to decide about a proposal; whoever keeps proposals maps theirs to this.

    subject: as in `evidence.Series`. people: in it; of a pair, in its smaller team. because: the finding, in a sentence.
    what: what exactly would happen. undo: what is done to take it back. expected: (effect, low, high) in `unit`.
    next_step: what to run, or who decides.
    """

    id: str
    state: State
    kind: SubjectKind
    subject: str
    people: int
    because: str
    what: str
    undo: str
    impact: str
    unit: str = ""
    expected: tuple[float, float, float] | None = None
    horizon_days: int | None = None
    refusals: tuple[RuleRefusal, ...] = ()
    expires: datetime | None = None
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class StepTold:
    """One step of the run. outcome: a word, such as done, resumed, failed. peak_bytes: of the process; None: unknown."""

    name: str
    started: datetime
    seconds: float
    peak_bytes: int | None = None
    outcome: str = "done"
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something stale or missing: what, and what to do about it."""

    words: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """A planted truth and what became of it. said: the status of the answer, None when there is no answer."""

    planted: str
    question: str
    said: Status | None
    mark: Mark
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """hidden_teams: teams of which at least one number is not shown. events: since `events_since`, None if not counted.

    assumed: the drawing of what is assumed to cause what, and what each question holds, line by line.
    """

    run: RunFacts
    measures: tuple[Measure, ...] = ()
    rows: tuple[MapRow, ...] = ()
    changes: tuple[Change, ...] = ()
    strain: Strain = Strain()
    graph: TeamGraph | None = None
    findings: tuple[Finding, ...] = ()
    proposals: tuple[ProposalTold, ...] = ()
    refused: tuple[RuleRefusal, ...] = ()
    notes: tuple[Note, ...] = ()
    truths: tuple[Truth, ...] = ()
    steps: tuple[StepTold, ...] = ()
    events: Funnel | None = None
    events_since: datetime | None = None
    assumed: tuple[str, ...] = ()

    @property
    def hidden_teams(self) -> tuple[str, ...]:
        return tuple(row.subject for row in self.rows if any(cell.hidden for cell in row.cells))
