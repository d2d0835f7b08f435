"""What people do all day: the mix of interactions, and which of them get an answer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

MAIL, CHAT, CALENDAR, WORK = "/synthetic/mail", "/synthetic/chat", "/synthetic/calendar", "/synthetic/work"
ROSTER = "/synthetic/roster"
#: These say every hour that they are alive.
SOURCES = (MAIL, CHAT, CALENDAR, WORK)


@dataclass(frozen=True, slots=True)
class Habit:
    """One way to interact.

    share: of all that people begin. answered: probability that it is answered, and the answer again.
    answer_s: median time to an answer. others: fewest and most targets besides the first. minutes: its shortest and
    longest. channel: goes to the whole team. outside: goes to somebody outside. broadcast: makes no ties.
    """

    medium: str
    source: str
    share: float
    answered: float = 0.0
    answer_s: float = 0.0
    others: tuple[int, int] = (0, 0)
    minutes: tuple[int, int] | None = None
    channel: bool = False
    outside: bool = False
    broadcast: bool = False

    @property
    def expected(self) -> float:
        """Events that come of one, its answers included."""
        return 1.0 / (1.0 - self.answered)


HABITS = (
    Habit("message", CHAT, 0.44, answered=0.50, answer_s=300),
    Habit("message", CHAT, 0.08, others=(1, 4)),
    Habit("message", CHAT, 0.08, channel=True),
    Habit("email", MAIL, 0.08, answered=0.40, answer_s=4_500),
    Habit("email", MAIL, 0.09, answered=0.20, answer_s=6_000, others=(1, 7)),
    Habit("email", MAIL, 0.03, outside=True),
    Habit("call", CHAT, 0.03, minutes=(2, 30)),
    Habit("meeting", CALENDAR, 0.02, others=(1, 3), minutes=(15, 60)),
    Habit("doc", WORK, 0.06),
    Habit("review", WORK, 0.04, answered=0.30, answer_s=7_200),
    Habit("ticket", WORK, 0.05),
)
#: For `random.choices`.
CUMULATIVE = list(accumulate(habit.share for habit in HABITS))
#: Events that come of one thing that somebody begins.
EXPECTED = sum(habit.share * habit.expected for habit in HABITS) / sum(habit.share for habit in HABITS)
