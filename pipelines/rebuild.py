"""`python -m pipelines.rebuild`: make the graph again from the archive."""

from __future__ import annotations

import argparse
import sys

from pipelines import command, log, settings, wiring
from pipelines.jobs.reconcile import rebuild
from pipelines.report.progress import counting
from pipelines.verify import show


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.rebuild",
        description="Empty the graph and fill it again from the archive, then verify. Incremental runs wait meanwhile;"
        " if it is cut off they refuse to write until it has been run again.",
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    options = parser.parse_args(argv)
    config = settings.load()
    log.setup(config.log_format, config.log_level)
    print(f"rebuild: {wiring.which(config)}", file=sys.stderr, flush=True)
    if not options.yes and not _agreed():
        print("nothing was changed", file=sys.stderr)
        return 3
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores, counting("rebuilding") as watch:
        drift = rebuild(stores, watch)
    show(drift)
    return 1 if drift.differences else 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("this empties the graph first; say --yes", file=sys.stderr)
        return False
    return input("This empties the graph and fills it again from the archive. Go on? [y/N] ").strip().lower() == "y"


if __name__ == "__main__":
    raise SystemExit(command.run(main))
