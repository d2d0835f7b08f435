"""What we know how to try, as data: small, reversible practices of a group, each with what is done and how it is undone.

Nothing here is addressed to a person, and none of it is about pay, promotion, discipline, selection or supervision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from pipelines.interventions.proposal import Impact, Target, TargetKind

Params = Mapping[str, float | int | str]
#: 1: more of it is better; -1: less of it is better.
Direction = Literal[1, -1]

_COUNTED_IN = 5
_TEAMS = frozenset({TargetKind.TEAM})
_ANY = frozenset({TargetKind.TEAM, TargetKind.ORG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A playbook that can be proposed.

    treatment: the metric it moves, by the name the causal questions use. direction: up or down. least, most: the change
    of that metric it may assume, in `unit`, both positive: below `least` it is not worth the trouble, above `most`
    nobody has reason to expect it. kinds: what it may be addressed to. preview, undo: sentences over the params,
    {target} and {size} (counted down to a multiple of five, because no sink looks into a sentence). rank: of two that
    move the same metric, the lower is proposed first. effort: what it asks of the group while it lasts, 1 to 3 (`EFFORTS`);
    a plan for a group adds these up.
    """

    id: str
    version: int
    title: str
    category: str
    treatment: str
    direction: Direction
    unit: str
    least: float
    most: float
    impact: Impact
    effort: int
    kinds: frozenset[TargetKind]
    preview: str
    undo: str
    rank: int = 1
    params: Params = field(default_factory=lambda: MappingProxyType({}))

    def in_words(self, target: Target) -> tuple[str, str]:
        """What exactly will happen, and what exactly is done to undo it."""
        values = {**self.params, "target": target, "size": target.size - target.size % _COUNTED_IN}
        return self.preview.format(**values), self.undo.format(**values)


def _params(**values: float | int | str) -> Params:
    return MappingProxyType(values)


#: Read off what each preview says has to be done, and by whom. It is no estimate in hours: nobody has measured any.
EFFORTS: Mapping[int, str] = MappingProxyType(
    {
        1: "a setting that is made once; nobody has to do anything differently",
        2: "a setting, and everybody decides again each time it applies",
        3: "a habit that people keep, with no setting that reminds them",
    }
)

# The ranges are judgement: what the practice can plausibly move in a trial of some weeks. They bound what is claimed; the
# data bounds it further (the observed 5th-95th percentile of the metric).
_SHIPPED = (
    Template(
        id="meeting_free_block",
        version=1,
        title="A meeting-free block",
        category="protect-focus",
        treatment="meeting_h",
        direction=-1,
        unit="meeting hours per person and week",
        least=0.25,
        most=3.0,
        impact=Impact.LOW,
        effort=2,
        kinds=_ANY,
        rank=1,
        params=_params(weekday="Wednesday", start="09:00", end="12:00", weeks=8),
        preview="For {weeks} weeks, every {weekday} {start}-{end} local time, one appointment 'no meetings' is put into the"
        " calendar of {target} (at least {size} people). It is marked as free to decline. No existing meeting is moved or"
        " deleted.",
        undo="The appointment series is deleted. As no other meeting was touched, nothing else has to be restored.",
    ),
    Template(
        id="shorter_meetings",
        version=1,
        title="Shorter meetings by default",
        category="protect-focus",
        treatment="meeting_h",
        direction=-1,
        unit="meeting hours per person and week",
        least=0.25,
        most=2.0,
        impact=Impact.LOW,
        effort=1,
        kinds=_ANY,
        rank=2,
        params=_params(short=25, long=50, weeks=8),
        preview="For {weeks} weeks, the calendar of {target} (at least {size} people) offers {short} and {long} minutes as"
        " the length of a new meeting in place of 30 and 60. Everybody can still choose any length. Existing meetings stay as"
        " they are.",
        undo="The offered lengths go back to 30 and 60 minutes. Meetings made meanwhile keep the length they have.",
    ),
    Template(
        id="quiet_hours",
        version=1,
        title="Quiet hours with delayed sending",
        category="protect-focus",
        treatment="after_hours_share",
        direction=-1,
        unit="share of a person's acts outside working hours",
        least=0.01,
        most=0.15,
        impact=Impact.MEDIUM,
        effort=2,
        kinds=_ANY,
        params=_params(evening="19:00", morning="07:00", weeks=8),
        preview="For {weeks} weeks, a message that somebody in {target} (at least {size} people) writes between {evening} and"
        " {morning} of the reader's local time is offered for sending at {morning}. The writer can send it at once with"
        " one click; no message is blocked, read or changed.",
        undo="The rule is removed and every message that still waits is sent at once, in the order it was written.",
    ),
    Template(
        id="batched_notifications",
        version=1,
        title="Notifications in batches",
        category="protect-focus",
        treatment="fragmentation",
        direction=-1,
        unit="switches per active hour",
        least=0.1,
        most=3.0,
        impact=Impact.MEDIUM,
        effort=1,
        kinds=_ANY,
        params=_params(minutes=30, weeks=8),
        preview="For {weeks} weeks, notifications of group messages for {target} (at least {size} people) arrive together"
        " every {minutes} minutes. Direct messages, calls and what is marked urgent arrive at once. Everybody can switch"
        " their own back; no message itself is held back.",
        undo="The batching is removed; notifications that still wait are delivered at once.",
    ),
    Template(
        id="response_agreement",
        version=1,
        title="An agreement on response times",
        category="rebalance-load",
        treatment="response_load",
        direction=-1,
        unit="messages to answer per person and working day",
        least=0.5,
        most=8.0,
        impact=Impact.LOW,
        effort=3,
        kinds=_TEAMS,
        params=_params(hours=4, weeks=8),
        preview="For {weeks} weeks, {target} (at least {size} people) agrees that an answer is due within {hours} working"
        " hours unless the message says urgent. The agreement is put on the team's page; response times of single people are"
        " not looked at.",
        undo="The agreement is taken off the team's page and the team is told that it has ended.",
    ),
)

SHIPPED: Mapping[str, Template] = MappingProxyType({template.id: template for template in _SHIPPED})

#: Which way an outcome improves. What is not here is not proposed on: nobody has said what would be good.
_BETTER: Mapping[str, Direction] = MappingProxyType(
    {
        "exhaustion": -1,
        "burnout": -1,
        "strain": -1,
        "stress": -1,
        "sick_leave": -1,
        "sick_days": -1,
        "attrition": -1,
        "short_rests": -1,
        "weekend_share": -1,
        "after_hours_share": -1,
        "span_h": -1,
        "response_h": -1,
        "engagement": 1,
        "wellbeing": 1,
        "satisfaction": 1,
        "recovery": 1,
        "focus_blocks": 1,
    }
)


def measure(outcome: str) -> str:
    """What was measured, without where: a prefix such as `survey:`."""
    return outcome.rpartition(":")[2]


def better(outcome: str) -> Direction | None:
    """Which way an outcome improves: 1, more of it; -1, less of it; None, nobody has said."""
    return _BETTER.get(measure(outcome))


def moving(treatment: str, kind: TargetKind) -> list[Template]:
    """The templates that move a metric of such a group, the one to be proposed first in front."""
    fitting = [t for t in SHIPPED.values() if t.treatment == treatment and kind in t.kinds]
    return sorted(fitting, key=lambda t: (t.rank, t.id))
