"""The synthetic organisation as a stream: valid, in order, repeatable, and like work."""

from __future__ import annotations

import hashlib
import math
import os
import statistics
import subprocess
import sys
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import synthetic
from pipelines.errors import InvalidInput
from pipelines.events import schema
from pipelines.jobs import synthesise
from pipelines.model import Heartbeat, Interaction, Refusal, RosterChange, RosterKind, Scope
from pipelines.synthetic import Options
from pipelines.synthetic.organisation import found

END = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
DAY_MS = 86_400_000
MONTH = Options(end=END, people=90, weeks=3, per_day=12)
SMALL = Options(end=END, people=40, weeks=1, per_day=8)
_SCRIPT = """
import hashlib, sys
from datetime import datetime
from pipelines.jobs import synthesise
from pipelines.synthetic import Options
end = datetime.fromisoformat(sys.argv[1])
whole = b"".join(synthesise.events(Options(end=end, people=40, weeks=1, per_day=8)))
print(hashlib.sha256(whole).hexdigest())
"""


def digest(options: Options) -> str:
    return hashlib.sha256(b"".join(synthesise.events(options))).hexdigest()


# ------------------------------------------------------------------------------------------------ promises


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    people=st.integers(12, 60),
    seed=st.integers(0, 10**9),
    per_day=st.floats(1, 6),
    after=st.timedeltas(timedelta(), timedelta(days=36 * 365)),
)
def test_no_event_is_refused(people: int, seed: int, per_day: float, after: timedelta) -> None:
    end = datetime(2000, 1, 1, tzinfo=UTC) + after
    options = Options(end=end, people=people, weeks=1, seed=seed, per_day=per_day)
    now_ms = int(end.timestamp() * 1000)
    for payload in synthesise.events(options):
        event, unknown = schema.parse(payload)
        assert not isinstance(event, Refusal), (event, payload)
        assert unknown == 0
        assert schema.gate(event, now_ms, timedelta(days=8)) is None


def test_the_same_options_give_the_same_bytes() -> None:
    assert digest(SMALL) == digest(Options(end=END.astimezone(), people=40, weeks=1, per_day=8.0))


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_bytes_do_not_depend_on_the_process(hash_seed: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo"}
    root = Path(synthetic.__file__).parents[2]
    command = [sys.executable, "-c", _SCRIPT, END.isoformat()]
    assert subprocess.run(command, env=env, cwd=root, capture_output=True, text=True).stdout.strip() == digest(SMALL)


def test_another_seed_gives_other_people_and_other_ids() -> None:
    one, other = (list(synthetic.events(Options(end=END, people=40, weeks=1, seed=seed))) for seed in (1, 2))
    assert not {e.id for e in one} & {e.id for e in other}
    assert not {e.data.get("person") for e in one} & {e.data.get("person") for e in other} - {None}


def test_a_later_end_keeps_the_people_and_reuses_no_id() -> None:
    one, other = (list(synthetic.events(Options(end=END + timedelta(days=d), people=40, weeks=1))) for d in (0, 7))
    joined = [{e.data["person"] for e in events if e.kind == "roster.joined"} for events in (one, other)]
    assert joined[0] == joined[1]
    assert not {(e.source, e.id) for e in one} & {(e.source, e.id) for e in other}


def test_events_come_in_order_of_time_and_within_the_period() -> None:
    times = [event.time for event in synthetic.events(SMALL)]
    assert all(before <= after for before, after in pairwise(times))
    assert SMALL.start <= times[0]
    assert times[-1] < END


def test_everybody_joins_before_anything_else() -> None:
    first = [event for event, _ in zip(synthetic.events(SMALL), range(40), strict=False)]
    assert {event.kind for event in first} == {"roster.joined"}
    assert {event.time for event in first} == {SMALL.start}


def test_ids_are_unique_within_their_source() -> None:
    ids = Counter((event.source, event.id) for event in synthetic.events(SMALL))
    assert max(ids.values()) == 1


def test_nobody_acts_before_they_join_or_after_they_leave() -> None:
    present: set[str] = set()
    seen: Counter[str] = Counter()
    for event in parsed(Options(end=END, people=60, weeks=3, seed=5, per_day=6)):
        if isinstance(event, RosterChange):
            seen[event.kind] += 1
            (present.discard if event.kind is RosterKind.LEFT else present.add)(event.person)
        elif isinstance(event, Interaction):
            inside = [person for person in (event.actor, *event.targets) if person.startswith("p_")]
            assert present.issuperset(inside)
    assert seen == {"joined": 61, "moved": 1, "left": 1}


def test_every_source_is_alive_in_work_hours_only() -> None:
    beats = [event for event in parsed(SMALL) if isinstance(event, Heartbeat)]
    assert {event.source for event in beats} == {f"/synthetic/{name}" for name in ("mail", "chat", "calendar", "work")}
    assert all(beat.time_ms % 3_600_000 == 0 for beat in beats)
    assert {(beat.time_ms // DAY_MS + 3) % 7 for beat in beats} == {0, 1, 2, 3, 4}


def test_memory_does_not_grow_with_the_weeks() -> None:
    def peak(weeks: int) -> int:
        tracemalloc.start()
        sum(1 for _ in synthetic.events(Options(end=END, people=20, weeks=weeks, per_day=6)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # what is loaded once, such as zones, is not counted
    assert peak(8) < 1.3 * peak(2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"people": 11}, "12 or more"),
        ({"weeks": 0}, "1 or more"),
        ({"per_day": 0.5}, "1 or more"),
        ({"end": datetime(2026, 3, 2)}, "time zone"),  # noqa: DTZ001 - the point of the test
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Options(**{"end": END, **wrong})  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ like work


def parsed(options: Options) -> list[object]:
    return [schema.parse(payload)[0] for payload in synthesise.events(options)]


@pytest.fixture(scope="module")
def month() -> list[object]:
    return parsed(MONTH)


@pytest.fixture(scope="module")
def interactions(month: list[object]) -> list[Interaction]:
    return [event for event in month if isinstance(event, Interaction)]


def test_there_are_as_many_interactions_as_asked_for(interactions: list[Interaction]) -> None:
    assert len(interactions) / (90 * 3 * 5) == pytest.approx(12, rel=0.05)


def test_most_is_within_the_team_and_little_beyond_the_department(month: list[object]) -> None:
    department = {team.name: team.department for team in found(MONTH).teams}
    team: dict[str, str | None] = {}
    where: Counter[str] = Counter()
    for event in month:
        if isinstance(event, RosterChange):
            team[event.person] = event.team
        elif isinstance(event, Interaction) and event.scope is not Scope.BROADCAST:
            ends = [(team[event.actor] or "", team[t] or "") for t in event.targets if t.startswith("p_")]
            where.update(
                "team" if a == b else "department" if department[a] == department[b] else "far" for a, b in ends
            )
    assert 0.7 < where["team"] / where.total() < 0.88
    assert 0.08 < where["department"] / where.total() < 0.25
    assert 0.02 < where["far"] / where.total() < 0.1


def test_week_ends_are_almost_empty(interactions: list[Interaction]) -> None:
    assert 0.002 < sum(weekday(event) >= 5 for event in interactions) / len(interactions) < 0.02


def test_some_work_is_after_hours_but_not_much(interactions: list[Interaction]) -> None:
    late = sum(weekday(event) < 5 and not 8 <= hour(event) < 18 for event in interactions)
    assert 0.02 < late / len(interactions) < 0.08


def test_lunch_is_a_dip_in_local_time(interactions: list[Interaction]) -> None:
    by_hour = Counter(int(hour(event)) for event in interactions)
    assert by_hour[12] < 0.6 * by_hour[11]
    assert by_hour[12] < 0.6 * by_hour[14]


def test_activity_is_log_normal_with_a_heavy_tail(interactions: list[Interaction]) -> None:
    counts = sorted(Counter(event.actor for event in interactions).values())
    logs = [math.log(count) for count in counts]
    mean, spread = statistics.mean(logs), statistics.stdev(logs)
    skew = statistics.mean(((x - mean) / spread) ** 3 for x in logs)
    assert 0.35 < spread < 0.7
    assert abs(skew) < 0.6
    assert sum(counts[-9:]) / sum(counts) > 0.17


def test_ties_are_mutual(interactions: list[Interaction]) -> None:
    pairs = {(e.actor, e.targets[0]) for e in interactions if len(e.targets) == 1 and e.targets[0].startswith("p_")}
    assert sum((b, a) in pairs for a, b in pairs) / len(pairs) > 0.55


def test_answers_follow_what_they_answer(interactions: list[Interaction]) -> None:
    answers = [event.response_s for event in interactions if event.response_s is not None]
    assert 0.2 < len(answers) / len(interactions) < 0.5
    assert 120 < statistics.median(answers) < 3_600


def test_all_kinds_of_interaction_occur(interactions: list[Interaction]) -> None:
    seen = Counter(event.medium.value for event in interactions)
    assert set(seen) == {"message", "email", "meeting", "call", "doc", "review", "ticket"}
    assert {event.scope for event in interactions} == set(Scope)
    assert any(target.startswith("x_") for event in interactions for target in event.targets)


def test_a_quiet_week_is_quiet() -> None:
    options = Options(end=END, people=30, weeks=4, per_day=8, quiet_week=1)
    start = int(options.start.timestamp() * 1000)
    quiet = Counter(
        (event.time_ms - start) // (7 * DAY_MS) for event in parsed(options) if isinstance(event, Interaction)
    )
    assert quiet[1] < 0.25 * quiet[0]
    assert quiet[2] > 0.8 * quiet[0]


def weekday(event: Interaction) -> int:
    return int(local_ms(event) // DAY_MS + 3) % 7


def hour(event: Interaction) -> float:
    return local_ms(event) % DAY_MS / 3_600_000


def local_ms(event: Interaction) -> int:
    assert event.tz_offset_min is not None
    return event.time_ms + event.tz_offset_min * 60_000
