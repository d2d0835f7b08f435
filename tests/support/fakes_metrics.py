"""The graph's side of the views, in memory: what `tests.support.fakes` is for the other stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.fakes import Faults, World


@dataclass
class Marker:
    """The node that says which views are current: survives a crash of the worker, as the world does."""

    run: str = ""
    people: int = -1
    views: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""


class FakeMetrics:
    """`ports.GraphMetrics` over the people of a world: values go where the person goes."""

    def __init__(self, world: World, marker: Marker, faults: Faults | None = None) -> None:
        self._w, self._m, self._f = world, marker, faults or Faults()

    def prepare(self) -> None: ...

    def nodes(self) -> dict[str, dict[str, float]]:
        """What stands on the nodes, of people who have something there."""
        return {person: dict(about["metrics"]) for person, about in self._w.people.items() if about.get("metrics")}

    def current(self, run: str) -> dict[str, str]:
        if self._m.people != len(self.nodes()):
            return {}
        return dict(self._m.others if self._m.run == run else self._m.views)

    def put(self, values: Sequence[tuple[str, Mapping[str, float | None]]], version: int, now_ms: int) -> None:
        def io() -> None:
            for person, row in values:
                if about := self._w.people.get(person):
                    node = {**about.get("metrics", {}), **row, "metrics_version": version, "refreshed_at": now_ms}
                    about["metrics"] = {name: value for name, value in node.items() if value is not None}

        self._f.call("put_values", io)

    def clear(self, names: Sequence[str], now_ms: int) -> int:
        def io() -> int:
            old = [person for person, node in self.nodes().items() if node["refreshed_at"] != now_ms]
            for person in old:
                del self._w.people[person]["metrics"]
            return len(old)

        return self._f.call("clear_values", io)

    def note(
        self, run: str, people: int, views: Mapping[str, str], others: Mapping[str, str], fingerprint: str, now_ms: int
    ) -> None:
        def io() -> None:
            self._m.run, self._m.people, self._m.fingerprint = run, people, fingerprint
            self._m.views, self._m.others = dict(views), dict(others)

        self._f.call("note_state", io)
