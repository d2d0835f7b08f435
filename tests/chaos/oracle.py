"""Compares what is in the stores with what was sent: pair by pair, medium by medium, letter by letter.

What was sent is the plan; how often is read from the stream itself, which keeps everything for a day: a producer that
died before it noted an acknowledgement sends again, and a poisonous entry that is there twice is two dead letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from math import isclose
from typing import Any

from neo4j import GraphDatabase

from pipelines.events.redis_client import open_redis
from pipelines.events.schema import FIELD
from pipelines.events.stream import Names
from pipelines.jobs import reconcile
from pipelines.jobs.ingest import Stores
from pipelines.model import PAYLOAD_NOT_KEPT, Lane, Tie
from pipelines.wiring import Endpoints
from tests.chaos.plan import Fact, Place, Plan

Ends = tuple[str, str, str]
_HALF_LIFE_MS = 14 * 86_400_000
_LANDMARK_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
_RELATIVE = 1e-9
_PAGE = 5_000
_PEOPLE = "MATCH (n:Employee) RETURN n.id AS k"


@dataclass(frozen=True)
class Findings:
    """What is wrong; all zeros is EXACT. Numbers count single interactions on ties, entries, letters, or rows.

    lost, double: summed over all ties. wrong_ties: ties that differ in anything at all. never_sent: planned events that
    are not on the stream, which would be the harness's own fault or a loss in Redis.
    """

    lost: int = 0
    double: int = 0
    wrong_ties: int = 0
    archive_missing: int = 0
    archive_extra: int = 0
    withdrawn_wrong: int = 0
    roster_wrong: int = 0
    teams_wrong: int = 0
    exclusions_wrong: int = 0
    ledger_wrong: int = 0
    people_twice: int = 0
    letters_wrong: int = 0
    late: int = 0
    pending: int = 0
    unread: int = 0
    outbox: int = 0
    alarm: int = 0
    drift: int = 0
    never_sent: int = 0

    @property
    def wrong(self) -> dict[str, int]:
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}


@dataclass(frozen=True)
class Seen:
    """The stream as it lies there: its entries in order."""

    entries: list[tuple[str, bytes]]

    def copies(self) -> Counter[bytes]:
        return Counter(payload for _, payload in self.entries)


def read_stream(endpoints: Endpoints) -> Seen:
    entries: list[tuple[str, bytes]] = []
    with closing(open_redis(endpoints.redis)) as client:
        start = "-"
        while rows := _rows(client, start):
            entries += [(id_.decode(), found[FIELD]) for id_, found in rows]
            start = f"({entries[-1][0]}"
    return Seen(entries)


def _rows(client: Any, start: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    found: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(Names().stream, min=start, count=_PAGE)
    return found


def judge(plan: Plan, stores: Stores, endpoints: Endpoints) -> Findings:
    """Everything, for the pipeline that promises everything."""
    drift = len(reconcile.verify(stores).differences)
    seen, state = read_stream(endpoints), stores.stream.state()
    return Findings(
        **_ties(expected_ties(plan.counting), stores.graph.ties()),
        **_archive(plan, stores),
        **_people(plan, stores),
        ledger_wrong=_nodes(plan.keys, "SeenEvent", "k", endpoints),
        people_twice=_nodes({*_keys(endpoints, _PEOPLE)}, "Employee", "id", endpoints),
        letters_wrong=_letters(plan, seen, stores),
        late=sum(stores.letters.counts(Lane.LATE).values()),
        pending=state.pending,
        unread=state.unread,
        outbox=len(stores.graph.outbox(100)),
        alarm=abs(stores.stream.audit()) + _lost(endpoints),
        drift=drift,
        never_sent=len(set(plan.sends) - seen.copies().keys()),
    )


def judge_ties(plan: Plan, stores: Stores, endpoints: Endpoints) -> Findings:
    """What the naive control can be held to: the ties, and that everything was read."""
    state = stores.stream.state()
    never_sent = len(set(plan.sends) - read_stream(endpoints).copies().keys())
    ties = _ties(expected_ties(plan.counting), stores.graph.ties())
    return Findings(**ties, pending=state.pending, unread=state.unread, never_sent=never_sent)


# ------------------------------------------------------------------------------------------------ the graph


def expected_ties(facts: Iterable[Fact]) -> dict[Ends, Tie]:
    """Counted here from the documented rules, not by the code under test."""
    sums: dict[Ends, list[Any]] = {}
    for fact in facts:
        for target in fact.targets if fact.scope != "broadcast" else ():
            found = sums.setdefault((fact.actor, target, fact.medium), [0, 0, [], fact.time_ms, fact.time_ms])
            found[0] += 1
            found[1] += fact.seconds
            found[2].append(_worth(fact) * 2.0 ** ((fact.time_ms - _LANDMARK_MS) / _HALF_LIFE_MS))
            found[3], found[4] = min(found[3], fact.time_ms), max(found[4], fact.time_ms)
    return {ends: Tie(*ends, n, s, sum(gains), first, last) for ends, (n, s, gains, first, last) in sums.items()}


def _worth(fact: Fact) -> float:
    match fact.medium:
        case "meeting" | "call" | "contact":
            return fact.seconds / 60 / 15 / len(fact.targets)
        case "message":
            return 1 if fact.scope == "direct" else 1 / len(fact.targets)
        case "email":
            return 1 / len(fact.targets)
        case "ticket":
            return 0.5
        case _:
            return 1


def _ties(expected: dict[Ends, Tie], found: Iterator[Tie]) -> dict[str, int]:
    """Two edges with the same ends are two times wrong: the graph must have one."""
    edges = list(found)
    counts: Counter[Ends] = Counter()
    for tie in edges:
        counts[tie.ends] += tie.n
    difference = {e: counts[e] - (expected[e].n if e in expected else 0) for e in expected.keys() | counts.keys()}
    twins = len(edges) - len(counts)
    wrong = sum(not _same(tie, expected.get(tie.ends)) for tie in edges) + len(expected.keys() - counts.keys())
    return {
        "lost": -sum(d for d in difference.values() if d < 0),
        "double": sum(d for d in difference.values() if d > 0),
        "wrong_ties": wrong + twins,
    }


def _same(found: Tie, expected: Tie | None) -> bool:
    if expected is None or not isclose(found.strength, expected.strength, rel_tol=_RELATIVE):
        return False
    exact = ("n", "seconds", "first_ms", "last_ms")
    return all(getattr(found, name) == getattr(expected, name) for name in exact)


def _people(plan: Plan, stores: Stores) -> dict[str, int]:
    latest: dict[str, Place] = {}
    for place in sorted(plan.roster.values(), key=lambda p: (p.time_ms, p.key)):
        latest[place.person] = place
    teams = dict(stores.graph.people())
    expected = {person: place.team for person, place in latest.items()}
    wrong = sum(
        teams.get(person) != team or (person in teams) != (team is not None) for person, team in expected.items()
    )
    kept = {change.key for change in stores.archive.roster()}
    return {"teams_wrong": wrong, "roster_wrong": len(kept ^ plan.roster.keys())}


def _nodes(expected: set[str], label: str, name: str, endpoints: Endpoints) -> int:
    """What is wrong with the nodes that carry these keys: missing, too many, twins, or not found by their index."""
    scan = f"MATCH (n:{label}) RETURN n.{name} AS k"
    lookup = f"UNWIND $keys AS k MATCH (n:{label} {{{name}: k}}) RETURN n.{name} AS k"
    there = Counter(_keys(endpoints, scan))
    found = Counter(_keys(endpoints, lookup, sorted(there)))
    return len(there.keys() ^ expected) + there.total() - len(there) + len(there - found) + len(found - there)


def _keys(endpoints: Endpoints, query: str, keys: Sequence[str] = ()) -> list[str]:
    auth = (endpoints.graph_user, endpoints.graph_password)
    with GraphDatabase.driver(endpoints.graph, auth=auth) as driver:
        rows = driver.execute_query(query, keys=keys, database_=endpoints.graph_database).records
    return [row["k"] for row in rows]


# ------------------------------------------------------------------------------------------------ archive and letters


def _archive(plan: Plan, stores: Stores) -> dict[str, int]:
    expected = {f.key: (f.medium, f.actor, tuple(sorted(f.targets)), f.seconds, f.time_ms) for f in plan.counting}
    found = Counter(
        (e.key, (e.medium.value, e.actor, tuple(sorted(e.targets)), e.duration_s, e.time_ms))
        for chunk in stores.archive.interactions()
        for e in chunk
    )
    wanted = Counter(expected.items())
    return {
        "archive_missing": (wanted - found).total(),
        "archive_extra": (found - wanted).total(),
        "withdrawn_wrong": len({key for key, _ in stores.archive.withdrawn()} ^ plan.retracted),
        "exclusions_wrong": len(stores.archive.excluded() ^ plan.excluded),
    }


def _letters(plan: Plan, seen: Seen, stores: Stores) -> int:
    """Each poisonous entry is one letter with its code, and nothing else is a letter."""
    expected = Counter((id_, plan.poison[p].value) for id_, p in seen.entries if p in plan.poison)
    letters = stores.letters.list(Lane.DEAD, limit=1_000_000)
    found = Counter((letter.source_id, letter.code) for letter in letters)
    kept = sum((letter.kept == "no") != (letter.code in PAYLOAD_NOT_KEPT) for letter in letters)
    return ((expected - found) + (found - expected)).total() + kept


def _lost(endpoints: Endpoints) -> int:
    """What the loss alarm has ever reported."""
    with closing(open_redis(endpoints.redis)) as client:
        return int(client.hget(Names().counters, "lost") or 0)
