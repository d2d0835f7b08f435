"""`python -m pipelines.rebuild`: make the graph again from the archive."""

from __future__ import annotations

import argparse
import sys

from pipelines import command, settings, wiring
from pipelines.errors import Refused
from pipelines.jobs.reconcile import rebuild
from pipelines.report import drift
from pipelines.report.progress import counting


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.rebuild",
        description="Empty the graph and fill it again from the archive, then verify. Incremental runs wait meanwhile;"
        " if it is cut off they refuse to write until it has been run again.",
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    options = parser.parse_args(argv)
    config = settings.load()
    command.say(f"rebuild: {wiring.which(config)}")
    if not options.yes and not _agreed():
        raise Refused("NOT_CONFIRMED", "nothing was changed; this empties the graph first, so say --yes")
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores, counting("rebuilding") as watch:
        report = rebuild(stores, watch).report()
    drift.show(report)
    return command.FAILED if report.differences else command.GOOD


def _agreed() -> bool:
    question = "This empties the graph and fills it again from the archive. Go on? [y/N] "
    return sys.stdin.isatty() and input(question).strip().lower() == "y"


if __name__ == "__main__":
    raise SystemExit(command.run(main))
