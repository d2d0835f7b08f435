"""The best set of practices for a team: all sets are tried, because there are few. Pure, and the same every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from pipelines.evidence import RuleRefusal
from pipelines.interventions.proposal import Impact

_IMPACTS = {impact: place for place, impact in enumerate(Impact)}


@dataclass(frozen=True, slots=True)
class Option:
    """A practice that no rule refuses. effort: as in the playbooks. days: from its start until it is judged.

    gain: what its interval promises at least, in standard deviations of the outcome (`gain_of`); larger than 0.
    """

    name: str
    metric: str
    effort: int
    impact: Impact
    days: int
    gain: float


@dataclass(frozen=True, slots=True)
class Room:
    """What a plan may use. effort: of all practices together. days: the horizon. lanes: how many may go on at once: what the
    team's budget and that of the organisation leave.
    """

    effort: int
    days: int
    lanes: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """An option that is in, and the day of the plan on which it begins; 0 is today."""

    option: Option
    day: int


def best(options: Sequence[Option], room: Room) -> list[Chosen]:
    """The set with the largest gain that has room, at most one option per metric; earliest start first.

    Of sets with the same gain the one with less effort, then with less impact, then the first by name. Empty: none has room.
    """
    fitting = ((chosen, starts) for chosen in _sets(options) if (starts := starts_of(chosen, room)) is not None)
    chosen, starts = min(fitting, key=lambda found: _worth(found[0]))
    return sorted(map(Chosen, chosen, starts), key=lambda c: (c.day, c.option.name))


def _sets(options: Sequence[Option]) -> Iterator[tuple[Option, ...]]:
    """None or one of each metric's options, in every combination: the empty set first."""
    by_metric: dict[str, list[Option | None]] = {}
    for option in sorted(options, key=lambda o: o.name):
        by_metric.setdefault(option.metric, [None]).append(option)
    for picked in product(*by_metric.values()):
        yield tuple(sorted((o for o in picked if o), key=lambda o: (-o.gain, o.name)))


def _worth(chosen: Sequence[Option]) -> tuple[float, int, int, list[str]]:
    """Smaller is better. Rounded, so that the order in which numbers are added decides nothing."""
    gain = round(sum(sorted(o.gain for o in chosen)), 9)
    return -gain, sum(o.effort for o in chosen), sum(_IMPACTS[o.impact] for o in chosen), [o.name for o in chosen]


def starts_of(chosen: Sequence[Option], room: Room) -> list[int] | None:
    """The day on which each begins, one after the other in each lane; None: there is no room for all of them."""
    if sum(o.effort for o in chosen) > room.effort:
        return None
    return _packed([o.days for o in chosen], (0,) * room.lanes, room.days)


def _packed(lengths: Sequence[int], ends: tuple[int, ...], days: int) -> list[int] | None:
    if not lengths:
        return []
    for end in sorted(set(ends)):
        if end + lengths[0] <= days:
            lane = ends.index(end)
            taken = (*ends[:lane], end + lengths[0], *ends[lane + 1 :])
            if (rest := _packed(lengths[1:], taken, days)) is not None:
                return [end, *rest]
    return None


def why_out(option: Option, chosen: Sequence[Chosen], room: Room) -> RuleRefusal:
    """What keeps an option out that no rule refuses: what the plan has no room for, once the best set is in."""
    its = [c.option for c in chosen]
    if same := next((o for o in its if o.metric == option.metric), None):
        words = f"{_said(same.name)} moves the same metric, and brings more or asks for less"
        return RuleRefusal("SAME_METRIC", words, "the other one, instead")
    if option.days > room.days:
        words = f"it is judged after {option.days} days, the plan ends after {room.days}"
        return RuleRefusal("NO_TIME", words, f"a horizon of {option.days} days")
    effort = sum(o.effort for o in its) + option.effort
    if effort > room.effort:
        words = f"with it the plan asks for an effort of {effort}, it may ask for {room.effort}"
        return RuleRefusal("NO_EFFORT_LEFT", words, "a higher effort level")
    words = f"the practices that are in leave no {option.days} days free before the plan ends"
    return RuleRefusal("NO_TIME", words, "a longer horizon")


def _said(name: str) -> str:
    return name.replace("_", " ")


def gain_of(effect_sd: float, share: float, effect: float, ci: tuple[float, float]) -> float:
    """What is promised at least, in standard deviations of the outcome.

    Args:
        effect_sd: of the finding. share: the part of the finding's change of the metric that the practice brings about.
        effect, ci: what is expected; the end of the interval that is nearer to zero is what is promised.
    """
    nearest = min(map(abs, ci)) if ci[0] * ci[1] > 0 else 0.0
    return abs(effect_sd) * abs(share) * (nearest / abs(effect) if effect else 0.0)
