"""`python -m pipelines.team_graph`: a picture of which teams work with which, as one HTML file."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from pipelines import command, settings, wiring
from pipelines.errors import PermanentError
from pipelines.jobs.picture import draw


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.team_graph",
        description="Draw the team graph: no person, no group below the minimum size (ORGANISM_MIN_GROUP_SIZE).",
    )
    parser.add_argument(
        "--output", type=Path, help="where to write it (default: team-graph.html in the state directory)"
    )
    options = parser.parse_args(argv)
    config = settings.load()
    path = options.output or wiring.state_dir(config) / "team-graph.html"
    command.say(f"team_graph: {wiring.which(config)}")
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores:
        try:
            draw(stores.graph, path, config.min_group_size, datetime.now(UTC))
        except OSError as error:
            raise PermanentError(f"cannot write {path}: {error.strerror}; name another file with --output") from None
    print(path)
    return command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))
