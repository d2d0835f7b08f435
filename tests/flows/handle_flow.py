"""A flow whose step is given a long list and gives one back, run as a program: `handle_flow.py ours|plain`.

It prints how often Prefect walked through them: once a step with half a million entries costs seconds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect import flow, task

from pipelines import steps
from pipelines.skin import tasks

walks = {"given": 0, "returned": 0}


class Counted(list[int]):
    """Tells when somebody walks through it."""

    name = ""

    def __iter__(self) -> Iterator[int]:
        walks[self.name] += 1
        return super().__iter__()


@dataclass(frozen=True)
class Window:
    """What travels between steps holds its entries in a field, as ours do."""

    entries: Any


def counted(name: str) -> Window:
    entries = Counted(range(10))
    entries.name = name
    return Window(entries)


def fetch_interactions(window: Window) -> Window:
    assert window.entries.name == "given"
    return counted("returned")


@flow(name="handles")
def handles(ours: bool) -> None:
    if ours:
        policy = steps.Retry(attempts=1, base_s=0, factor=1, jitter=0, timeout_s=60)
        tasks({"fetch_interactions": policy})(fetch_interactions, counted("given"))
    else:
        task(fetch_interactions)(counted("given"))


if __name__ == "__main__":
    handles(sys.argv[1] == "ours")
    print(json.dumps(walks))
