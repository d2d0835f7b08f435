"""Does the graph say what the archive says? Recount it, name what differs, and make it again where it must be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isclose

from pipelines.graph import weights
from pipelines.graph.builder import recount
from pipelines.jobs.ingest import Stores, settle, utc_now
from pipelines.jobs.writing import still_writing, writing
from pipelines.model import Tie
from pipelines.report.drift import DriftReport, Line

Ends = tuple[str, str, str]
#: Strengths are sums of doubles in another order; everything else must be equal.
_RELATIVE = 1e-9


@dataclass(frozen=True)
class Difference:
    """One tie on which graph and archive disagree; None where one of them does not know it."""

    ends: Ends
    graph: Tie | None
    archive: Tie | None

    @property
    def reference(self) -> str:
        """A short name for the tie that does not show who it is."""
        return hashlib.blake2b("\0".join(self.ends).encode(), digest_size=4).hexdigest()

    @property
    def words(self) -> str:
        if self.graph is None or self.archive is None:
            return "only in the archive" if self.graph is None else "only in the graph"
        wrong = [
            f for f in ("n", "seconds", "strength", "first_ms", "last_ms") if not _same(self.graph, self.archive, f)
        ]
        return ", ".join(f"{f}: graph {getattr(self.graph, f)}, archive {getattr(self.archive, f)}" for f in wrong)


@dataclass(frozen=True)
class Drift:
    """The result of a recount. `interactions` counts events, `ties` directed edges per medium."""

    interactions: int
    ties: int
    differences: tuple[Difference, ...]

    def report(self, *, reveal: bool = False) -> DriftReport:
        """For people. `reveal` names the ends of a tie by their pseudonyms."""
        lines = [Line(" -> ".join(d.ends) if reveal else f"tie {d.reference}", d.words) for d in self.differences]
        return DriftReport(self.interactions, self.ties, lines)


def verify(stores: Stores, watch: Callable[[int], None] = lambda _count: None) -> Drift:
    """Recount the graph from baseline and archive. Changes nothing but settles what a crash left.

    Raises:
        Refused: WRITER_BUSY, a run is writing; the two would be compared at different moments.
    """
    with writing(stores.lease, "verify", utc_now()):
        settle(stores)
        counted = 0
        total = recount((), stores.archive.baseline())
        for chunk in stores.archive.interactions():
            total = _merge(total, weights.ties(chunk))
            still_writing(stores.lease)
            counted += len(chunk)
            watch(counted)
        return _compare(stores.graph.ties(), total, counted)


def _merge(total: dict[Ends, Tie], more: Iterable[Tie]) -> dict[Ends, Tie]:
    for tie in more:
        total[tie.ends] = weights.add(total[tie.ends], tie) if tie.ends in total else tie
    return total


def _compare(graph: Iterator[Tie], archive: dict[Ends, Tie], counted: int) -> Drift:
    differences, ties = [], 0
    left = dict(archive)
    for tie in graph:
        ties += 1
        other = left.pop(tie.ends, None)
        if other is None or not all(_same(tie, other, f) for f in ("n", "seconds", "strength", "first_ms", "last_ms")):
            differences.append(Difference(tie.ends, tie, other))
    differences += [Difference(ends, None, tie) for ends, tie in left.items()]
    return Drift(counted, ties, tuple(sorted(differences, key=lambda d: d.ends)))


def _same(one: Tie, other: Tie, name: str) -> bool:
    a, b = getattr(one, name), getattr(other, name)
    return isclose(a, b, rel_tol=_RELATIVE) if name == "strength" else bool(a == b)


def rebuild(stores: Stores, watch: Callable[[int], None] = lambda _count: None) -> Drift:
    """Make the graph again from the archive. May be run again after it was cut off; incremental runs wait meanwhile.

    People who only broadcast, and what never came through the archive, are not made again.
    """
    with writing(stores.lease, "rebuild", utc_now()):
        settle(stores)
        stores.graph.note_rebuilding(True)
        stores.graph.wipe()
        stores.builder.restore_sums(list(stores.archive.baseline()))
        counted = 0
        for chunk in stores.archive.interactions():
            stores.builder.restore(chunk)
            still_writing(stores.lease)
            counted += len(chunk)
            watch(counted)
        stores.builder.restore_rest(stores.archive.roster(), stores.archive.withdrawn())
        stores.graph.note_rebuilding(False)
    return verify(stores)
