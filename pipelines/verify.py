"""`python -m pipelines.verify`: recount the graph from the archive and name what differs."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console

from pipelines import command, log, settings, wiring
from pipelines.jobs.reconcile import Drift, verify
from pipelines.report.progress import counting

_SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.verify", description="Recount the graph from the archive."
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
    parser.add_argument("--reveal", action="store_true", help="name the people of a differing tie by their pseudonyms")
    options = parser.parse_args(argv)
    config = settings.load()
    log.setup(config.log_format, config.log_level)
    print(f"verify: {wiring.which(config)}", file=sys.stderr, flush=True)
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores, counting("recounting") as watch:
        drift = verify(stores, watch)
    if options.json:
        print(json.dumps(as_dict(drift, reveal=options.reveal)))
    else:
        show(drift, reveal=options.reveal)
    return 1 if drift.differences else 0


def as_dict(drift: Drift, *, reveal: bool = False) -> dict[str, object]:
    named = [{"tie": " -> ".join(d.ends) if reveal else d.reference, "words": d.words} for d in drift.differences]
    return {"interactions": drift.interactions, "ties": drift.ties, "drift": len(named), "differences": named}


def show(drift: Drift, *, reveal: bool = False) -> None:
    """What was compared, and each difference under a short name: a tie is two people, so it is not shown unasked."""
    console = Console(highlight=False, soft_wrap=True)
    colour = "red" if drift.differences else "green"
    console.print(
        f"[{colour}]drift {len(drift.differences)}[/] · {drift.ties:,} ties in the graph · "
        f"recounted from {drift.interactions:,} interactions"
    )
    for difference in drift.differences[:_SHOWN]:
        name = " -> ".join(difference.ends) if reveal else f"tie {difference.reference}"
        console.print(f"  {name}: {difference.words}")
    if len(drift.differences) > _SHOWN:
        console.print(f"  and {len(drift.differences) - _SHOWN} more; --json lists all")
    if drift.differences:
        console.print("To make the graph again from the archive: python -m pipelines.rebuild")


if __name__ == "__main__":
    raise SystemExit(command.run(main))
