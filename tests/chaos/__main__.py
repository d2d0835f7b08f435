"""`python -m tests.chaos`: the programme of campaigns.

Exit code 0 only if the job came out exact everywhere and its control came out wrong.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from tests.chaos import report, servers
from tests.chaos.campaign import Order, Result, run
from tests.chaos.servers import EMBEDDED, NEO4J
from tests.chaos.worker import INGEST, NAIVE

_FULL = Order(EMBEDDED, INGEST, events=52_000, seconds=155, seed=0, thorough=True)
_QUICK = Order(EMBEDDED, INGEST, events=3_000, seconds=10, seed=0)
_CONTROL_EVENTS, _CONTROL_SECONDS = 4_000, 12.0
_NEO4J_EVENTS, _NEO4J_SECONDS = 8_000, 40.0


def programme(options: argparse.Namespace) -> list[Order]:
    """The job first, then its control; and both, smaller, on a real Neo4j when no graph was asked for."""
    first = replace(_QUICK if options.quick else _FULL, seed=options.seed, graph=options.graph or EMBEDDED)
    if first.graph == NEO4J and not options.quick:
        first = replace(first, events=_NEO4J_EVENTS, seconds=_NEO4J_SECONDS, thorough=False)
    first = replace(first, events=options.events or first.events, seconds=options.seconds or first.seconds)
    control = replace(
        first,
        pipeline=NAIVE,
        events=min(first.events, _CONTROL_EVENTS),
        seconds=min(first.seconds, _CONTROL_SECONDS),
        thorough=False,
    )
    orders = [order for order in (first, control) if options.pipeline in (None, order.pipeline)]
    if options.graph is None and options.pipeline is None and not options.quick:
        small = replace(first, graph=NEO4J, events=_NEO4J_EVENTS, seconds=_NEO4J_SECONDS, thorough=False)
        orders += [small, replace(control, graph=NEO4J)]
    return orders


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    for name in [name for name in os.environ if name.startswith("ORGANISM_") and name != "ORGANISM_CACHE_DIR"]:
        del os.environ[name]  # the campaign decides every setting
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options.seed = options.seed if options.seed is not None else int(time.time()) % 1_000_000
    try:
        return _run(programme(options), Console(width=None if sys.stdout.isatty() else 120))
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return 130


def _run(orders: Sequence[Order], console: Console) -> int:
    failures: list[str] = []
    for order in orders:
        if order.graph == NEO4J and (why := servers.why_not_neo4j()):
            console.print(f"not on a real Neo4j: {why}", highlight=False)
            continue
        console.print(f"{order.pipeline} on {order.graph}: {order.events:,} events, {order.seconds:.0f} s of faults")
        result = run(order, say=lambda words: print(f"  {words}", file=sys.stderr, flush=True))
        report.show(result, console)
        failures += _failures(result)
    for words in failures:
        console.print(f"FAILED: {words}", style="bold red", highlight=False)
    return 1 if failures else 0


def _failures(result: Result) -> list[str]:
    order = result.order
    where = f"{order.pipeline} on {order.graph} (seed {order.seed})"
    if order.pipeline == NAIVE:
        harmless = not result.findings.lost and not result.findings.double
        return [f"{where}: the control came out exact, so this harness has no power"] if harmless else []
    return [] if result.is_exact else [f"{where} is not exact"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, help="how long faults last")
    parser.add_argument("--events", type=int, help="valid events to send")
    parser.add_argument("--graph", choices=[EMBEDDED, NEO4J], help="only on this graph server")
    parser.add_argument("--pipeline", choices=[INGEST, NAIVE], help="only the job, or only its control")
    parser.add_argument("--seed", type=int, help="repeat a campaign's plan and choices; the timing is never the same")
    parser.add_argument("--quick", action="store_true", help="half a minute, for the test suite")
    return parser


if __name__ == "__main__":
    sys.exit(main())
