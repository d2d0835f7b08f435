"""What makes one week of a synthetic person differ from the next: the ground truth that a causal analysis has to find.

Three independent processes, each persisting from week to week. Evenings: the person works late. Meetings: the person calls
more of them. Crunch: a whole team has more of everything to do, meetings too; it is the common cause that makes meetings
look harmful to whoever only correlates. None of it is an effect yet: `jobs.study` plants those.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pipelines.synthetic.organisation import repeatable

#: Share of a process that is left after a week.
_PERSISTS = 0.6
#: Probability that something is done late, in an ordinary week and at most.
_EVENING_MOST, _EVENING_SHIFT = 0.40, 1.2
#: Extra meetings a week in an ordinary week; how strongly meetings and volume follow their process and the crunch.
_MEETINGS, _MEETINGS_SPREAD, _CRUNCH_MEETINGS, _CRUNCH_VOLUME = 1.5, 0.5, 0.6, 0.30


class Process:
    """An autoregressive process of mean 0 and variance 1 for each key, drawn as far as it is asked for."""

    def __init__(self, draw: Callable[[int], random.Random]) -> None:
        self._draw = draw
        self._rngs: dict[int, random.Random] = {}
        self._values: dict[int, list[float]] = {}

    def at(self, key: int, week: int) -> float:
        values = self._values.setdefault(key, [])
        rng = self._rngs.setdefault(key, self._draw(key))
        while len(values) <= week:
            shock = rng.gauss(0.0, 1.0)
            values.append(_PERSISTS * values[-1] + math.sqrt(1 - _PERSISTS**2) * shock if values else shock)
        return values[week]


@dataclass
class Pressure:
    """The pressures of an organisation. People and teams by their places, weeks from 0."""

    seed: str
    _evening: Process = field(init=False)
    _meeting: Process = field(init=False)
    _crunch: Process = field(init=False)

    def __post_init__(self) -> None:
        self._evening, self._meeting, self._crunch = (
            Process(partial(_source, self.seed, name)) for name in ("evening", "meeting", "crunch")
        )

    def evening(self, person: int, week: int) -> float:
        """Probability that something which the person begins is done late."""
        return _EVENING_MOST / (1 + math.exp(_EVENING_SHIFT - self._evening.at(person, week)))

    def meetings(self, person: int, team: int, week: int) -> float:
        """Mean number of meetings that the person calls besides the usual ones, per working day."""
        follows = _MEETINGS_SPREAD * self._meeting.at(person, week) + _CRUNCH_MEETINGS * self._crunch.at(team, week)
        return _MEETINGS / 5 * math.exp(follows)

    def volume(self, team: int, week: int) -> float:
        """What everybody of the team has to do, as a multiple of the usual."""
        return math.exp(_CRUNCH_VOLUME * self._crunch.at(team, week))


def _source(seed: str, name: str, key: int) -> random.Random:
    return repeatable(f"{seed} {name} {key}")
