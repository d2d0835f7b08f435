"""All views of the graph, and which of them have to be computed again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipelines.evidence import Ints, Series, SubjectKind
from pipelines.metrics import group_views, person_views
from pipelines.metrics.facts import Facts
from pipelines.metrics.snapshot import Part, Snapshot
from pipelines.metrics.view import View

VIEWS: tuple[View, ...] = person_views.VIEWS + group_views.VIEWS

#: Told the name of a view and which share of it is done, 0 to 1; what it raises ends the refresh.
Watch = Callable[[str, float], None]


class MaterializedViewManager:
    """Decides which views of a snapshot are out of date, and computes these. Holds no state between calls."""

    def __init__(self, views: Sequence[View] = VIEWS) -> None:
        self._views = tuple(views)

    @property
    def version(self) -> int:
        """One number for the definitions of a person's views; goes up when one is added or changed."""
        return sum(v.version for v in self._views if v.kind is SubjectKind.PERSON)

    def keys(self, snapshot: Snapshot) -> dict[str, str]:
        """By view: its version, and a fingerprint of all that it reads. Equal keys, equal values.

        A view that reads a part which the snapshot does not have (the acts) is not among them.
        """
        return {v.name: _key(v, snapshot.digests) for v in self._views if set(v.parts) <= snapshot.digests.keys()}

    def refresh(
        self, snapshot: Snapshot, previous: Mapping[str, str], watch: Watch = lambda _view, _share: None
    ) -> list[Series]:
        """Compute the views whose key is not the one in `previous`, in the order of the list.

        Time that passes is no change: all strengths fade together, by a half every half-life, from the `time_ms` of their
        last values on. When anything is computed, so are they, and all that is stored is as of one time.

        Args:
            previous: keys as they were when the values that are stored now were computed; {} computes all.
            watch: told before, in long views while, and after a view is computed; may raise.
        """
        keys = self.keys(snapshot)
        facts = Facts(snapshot)
        stale = {name for name, key in keys.items() if previous.get(name) != key}
        due = [v for v in self._views if v.name in stale or (stale and v.fades and v.name in keys)]
        return [_computed(view, facts, watch) for view in due]


def _key(view: View, digests: Mapping[Part, str]) -> str:
    read = "".join(digests[part] for part in view.parts)
    return f"{view.version}:{hashlib.blake2b(read.encode(), digest_size=8).hexdigest()}"


def _computed(view: View, facts: Facts, watch: Watch) -> Series:
    watch(view.name, 0.0)
    facts.progress = lambda share: watch(view.name, share)
    values = np.asarray(view.function(facts), dtype=np.float64)
    watch(view.name, 1.0)
    subjects, sizes = _subjects(view.kind, facts)
    return Series(view.name, view.version, view.kind, facts.snapshot.end_ms, subjects, values, sizes)


def _subjects(kind: SubjectKind, facts: Facts) -> tuple[tuple[str, ...], Ints]:
    """Who the values of a kind are about, and how many people stand behind each."""
    graph = facts.snapshot
    if kind is SubjectKind.PERSON:
        return graph.people, np.ones(graph.n, dtype=np.int64)
    if kind is SubjectKind.TEAM:
        return graph.teams, facts.teams.people
    if kind is SubjectKind.TEAM_PAIR:
        return facts.pair_names, facts.pair_sizes
    return ("",), np.array([graph.n])
