"""`python -m pipelines.verify`: recount the graph from the archive and name what differs."""

from __future__ import annotations

import argparse
import json

from pipelines import command, settings, wiring
from pipelines.jobs.reconcile import verify
from pipelines.report import drift
from pipelines.report.progress import counting


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.verify", description="Recount the graph from the archive."
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
    parser.add_argument("--reveal", action="store_true", help="name the people of a differing tie by their pseudonyms")
    options = parser.parse_args(argv)
    config = settings.load()
    command.say(f"verify: {wiring.which(config)}")
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores, counting("recounting") as watch:
        report = verify(stores, watch).report(reveal=options.reveal)
    if options.json:
        print(json.dumps(drift.as_dict(report)))
    else:
        drift.show(report)
    return command.FAILED if report.differences else command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))
