"""`python -m tests.demo_graphs`: the demo on the embedded graph server and on a real Neo4j, and whether both say the same.

The same events into both, then all that the story tells of groups, questions and planted truths is compared. Some minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr

from pipelines import demo, settings
from pipelines.report import story_json
from pipelines.report.story import Story
from pipelines.settings import Settings
from tests.support import neo4j_server

#: What is about this turn, and not about the organisation.
_OF_THE_TURN, _OF_THE_CLOCK = ("run", "steps"), "expires"
#: Ties fade by the second (half of them in weeks), and the second turn comes some minutes after the first.
_FADED = 1e-3


def embedded(state: Path) -> Settings:
    given = {"state_dir": state, "redis_url": None, "cache_url": None, "graph_url": None, "postgres_url": None}
    return settings.load().model_copy(update=given | {"horizon": None, "shadow": False})


def told(story: Story) -> dict[str, Any]:
    return {name: value for name, value in story_json.as_dict(story).items() if name not in _OF_THE_TURN}


def compare(folder: Path) -> list[str]:
    """What is wrong, which must be nothing."""
    organisation, alone = demo.organisation(), embedded(folder / "embedded")
    print("embedded graph server", flush=True)
    wrong, here = demo.chain(alone, organisation)
    print("\nreal Neo4j", flush=True)
    with neo4j_server.neo4j_server(folder / "neo4j", heap_mb=1024) as server:
        named = {"graph_url": server.url, "graph_user": server.user, "graph_password": SecretStr(server.password)}
        real = alone.model_copy(update=named | {"state_dir": folder / "with-neo4j"})
        wrong_there, there = demo.chain(real, organisation)
    one, other = told(here), told(there)
    print(f"\ncompared: {', '.join(one)}")
    return [*wrong, *wrong_there, *differing("the story", one, other)]


def differing(where: str, one: Any, other: Any) -> Iterator[str]:
    """Places at which two documents differ, with what stands there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one.keys() - {_OF_THE_CLOCK}:
            yield from differing(f"{where}, {name}", one[name], other[name])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differing(f"{where}, {number}", mine, theirs)
    elif one != other and not (where.endswith(", strength") and isclose(one, other, rel_tol=_FADED)):
        yield f"{where}: {one!s:.60} and {other!s:.60}"


def main() -> int:
    if why := neo4j_server.why_not():
        print(f"left out: {why}", file=sys.stderr)
        return 0
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # the embedded servers run under another account where we are root
        wrong = compare(Path(folder))
    print("the same numbers on both" if not wrong else "WRONG: " + "; ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
