"""`make demo`: a made-up organisation through the real stream into the graph, twice, recounted and drawn.

Always on embedded servers in a directory of its own that is emptied first: it never touches what the environment names.
"""

from __future__ import annotations

import argparse
import random
import shutil
from datetime import UTC, datetime

from rich.console import Console

from pipelines import command, settings, steps, synthetic, wiring
from pipelines.jobs import incremental, reconcile, synthesise
from pipelines.jobs.ingest import Stores
from pipelines.jobs.picture import draw
from pipelines.jobs.publish import publish
from pipelines.model import RunReport
from pipelines.report import drift, funnel
from pipelines.report.progress import counting, draining
from pipelines.settings import Settings

#: Of the events, sent again after the first run: a producer that lost its replies.
_SENT_AGAIN = 0.2
_console = Console(highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = _own_place(settings.load())
    _say("servers", f"embedded Valkey, ArcadeDB (Bolt) and PostgreSQL in {wiring.state_dir(config)}")
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores:
        made_up = synthetic.Options(end=_this_minute(), people=options.people, weeks=options.weeks, seed=options.seed)
        return run(stores, config, made_up)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description="The main job, end to end.")
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _own_place(config: Settings) -> Settings:
    """Embedded servers only, in `demo` below the state directory, from nothing."""
    place = wiring.state_dir(config) / "demo"
    shutil.rmtree(place, ignore_errors=True)
    own = {"redis_url": None, "cache_url": None, "graph_url": None, "postgres_url": None}
    return config.model_copy(update={**own, "state_dir": place, "horizon": None})


def _this_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def run(stores: Stores, config: Settings, options: synthetic.Options) -> int:
    """Sense, map, and prove it: 0 if the second delivery changed nothing and graph and archive agree."""
    payloads = list(synthesise.events(options))
    _say("sense", f"{options.people} people, {options.weeks} weeks: {len(payloads):,} events onto the stream")
    _publish(stores, config, payloads)
    first = _incremental(stores, config)
    again = random.Random(options.seed).sample(payloads, int(len(payloads) * _SENT_AGAIN))  # noqa: S311
    _say("sense", f"{len(again):,} of them again, as after a lost connection")
    _publish(stores, config, again)
    second = _incremental(stores, config)
    with counting("recounting") as watch:
        report = reconcile.verify(stores, watch).report()
    _say("account", "the graph recounted from the archive")
    drift.show(report)
    path = wiring.state_dir(config) / "team-graph.html"
    draw(stores.graph, path, config.min_group_size, _this_minute(), first)
    _say("picture", str(path))
    return _verdict(first, second, len(report.differences))


def _publish(stores: Stores, config: Settings, payloads: list[bytes]) -> None:
    with wiring.outbox(config) as outbox, counting("publishing") as show:
        publish(stores.stream, outbox, payloads, cap=config.stream_cap, watch=lambda done: show(done.sent))


def _incremental(stores: Stores, config: Settings) -> RunReport:
    _say("map", "an incremental run")
    with draining("into the graph") as show:
        report = incremental.run(
            stores,
            wiring.rules(config),
            wiring.upkeep(config),
            wiring.budget(config),
            steps.direct,
            watch=lambda progress: show(progress.done, progress.backlog),
        )
    funnel.show(report, _console)
    return report


def _verdict(first: RunReport, second: RunReport, differences: int) -> int:
    wrong = []
    if funnel.unaccounted(first.funnel) or funnel.unaccounted(second.funnel):
        wrong.append("entries are unaccounted for")
    if first.funnel.applied != first.funnel.read:
        wrong.append("not every event was applied")
    if second.funnel.applied:
        wrong.append("the second delivery changed the graph")
    if differences:
        wrong.append("graph and archive disagree")
    _say("verdict", "; ".join(wrong) if wrong else "every event counted once, drift 0")
    return command.FAILED if wrong else command.GOOD


def _say(verb: str, words: str) -> None:
    _console.print(f"\n[bold]{verb:8s}[/] {words}")


if __name__ == "__main__":
    raise SystemExit(command.run(main))
