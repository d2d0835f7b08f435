"""`make demo`: a made-up organisation with known effects through the whole chain, which then marks itself.

Sense and map twice, because a second delivery must change nothing; weigh and propose; and the truth beside what was said.
Always on embedded servers in a directory of its own that is emptied first: it never touches what the environment names.
"""

from __future__ import annotations

import argparse
import random
import shlex
import shutil
import time
from datetime import UTC, datetime

from rich.console import Console

from pipelines import account, command, settings, steps, synthetic, wiring
from pipelines.account import Origin
from pipelines.jobs import flows, full, incremental, reconcile, released, scorecard, study, telling
from pipelines.jobs.ingest import Stores
from pipelines.jobs.publish import publish
from pipelines.model import Funnel, RunReport
from pipelines.ports import Ledger
from pipelines.privacy.traces import secrets_of
from pipelines.report import drift, figures, funnel, story_html, story_json, story_terminal
from pipelines.report.progress import counting, draining, working
from pipelines.report.story import Mark, Story
from pipelines.settings import Settings

#: Of the events, sent again after the first run: a producer that lost its replies.
_SENT_AGAIN = 0.2
_PEOPLE, _WEEKS = 160, 26
#: Of a person and working day; few, so that half a year fits into a minute.
_PER_DAY = 6.0
#: Settings that would lead away from its own.
_SERVERS = ("redis_url", "cache_url", "graph_url", "postgres_url")
_console = Console(highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = _own_place(settings.load())
    _say("servers", f"embedded Valkey, ArcadeDB (Bolt) and PostgreSQL in {wiring.state_dir(config)}")
    started = time.monotonic()
    wrong, story = chain(config, organisation(options.people, options.weeks, options.seed))
    peak = (command.peak_memory() or 0) >> 20
    _say("took", f"{time.monotonic() - started:.0f} s; this process used {peak:,} MB at most")
    _say("next", f"{_as_here(config)} {command.python()} -m pipelines.review list")
    _console.print(f"         {_as_here(config)} {command.python()} -m pipelines.status --start")
    return _verdict(wrong, story)


def chain(config: Settings, made_up: synthetic.Options) -> tuple[list[str], Story]:
    """All of it on the servers that the settings name; what is wrong with the counts, which is nothing, and its story."""
    with wiring.endpoints(config) as where, wiring.ledger(where) as ledger:
        with wiring.stores(config, where) as stores:
            wrong, events = sense_and_map(stores, config, made_up, ledger)
        with wiring.full_stores(config, where) as stores:
            return wrong, weigh_and_propose(stores, config, events, ledger)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description="The main job, end to end.")
    parser.add_argument("--people", type=int, default=_PEOPLE)
    parser.add_argument("--weeks", type=int, default=_WEEKS)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _own_place(config: Settings) -> Settings:
    """Embedded servers only, in `demo` below the state directory, from nothing."""
    place = wiring.state_dir(config) / "demo"
    shutil.rmtree(place, ignore_errors=True)
    return config.model_copy(update={**dict.fromkeys(_SERVERS), "state_dir": place, "horizon": None, "shadow": False})


def _as_here(config: Settings) -> str:
    """What the environment has to say for another command to go on with what the demo left, by the rules that it ran by."""
    place, theirs = shlex.quote(str(wiring.state_dir(config))), settings.load()
    leading_away = [f"-u ORGANISM_{name.upper()}" for name in _SERVERS if getattr(theirs, name) is not None]
    without = " ".join(["env", *leading_away, ""]) if leading_away else ""
    return f"{without}ORGANISM_STATE_DIR={place} ORGANISM_SHADOW=false ORGANISM_HORIZON=forever"


def organisation(people: int = _PEOPLE, weeks: int = _WEEKS, seed: int = 1) -> synthetic.Options:
    """Until this minute."""
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    return synthetic.Options(end=end, people=people, weeks=weeks, seed=seed, per_day=_PER_DAY, pressure=True)


def sense_and_map(
    stores: Stores, config: Settings, options: synthetic.Options, ledger: Ledger
) -> tuple[list[str], Funnel]:
    """Into the graph, some of it twice; what is wrong with that, which must be nothing, and what became of it all."""
    with counting("making up events") as show:
        payloads = [p for number, p in enumerate(study.events(options)) if not show(number)]
    _say("sense", f"{options.people} people, {options.weeks} weeks: {len(payloads):,} events onto the stream")
    _publish(stores, config, payloads)
    first = _incremental(stores, config, ledger)
    again = random.Random(options.seed).sample(payloads, int(len(payloads) * _SENT_AGAIN))  # noqa: S311
    _say("sense", f"{len(again):,} of them again, as after a lost connection")
    _publish(stores, config, again)
    second = _incremental(stores, config, ledger)
    with counting("recounting") as watch:
        report = reconcile.verify(stores, watch).report()
    _say("account", "the graph recounted from the archive")
    drift.show(report)
    return _wrong(first, second, len(report.differences)), first.funnel + second.funnel


def weigh_and_propose(stores: full.FullStores, config: Settings, events: Funnel, ledger: Ledger) -> Story:
    """The full analysis and its story, marked against what was planted."""
    _say("weigh", "metrics, causes, time series, proposals")
    plan = wiring.plan(config, datetime.now(UTC), requested_by=("demo",))
    with account.in_ledger(ledger, flows.FULL.name, Origin()) as record, working() as watch:
        record.correlate(plan.run)
        step = record.step(steps.direct)
        done = full.run(stores, plan, step, lambda: datetime.now(UTC), command.peak_memory, watch=watch)
        truths = scorecard.marked(stores.points.findings(plan.run))
        story = telling.tell_run(stores, done, config.min_group_size, truths=truths, events=events, demo=True)
        released.keep(stores.results, plan.run, story_json.as_dict(story), datetime.now(UTC))
        record.result(story_json.numbers(story))
    for its in done.steps:
        _console.print(f"  {its.name:28s} {its.seconds:6.1f} s   peak {(its.peak_bytes or 0) >> 20:5,} MB")
    path = wiring.state_dir(config) / "last-run.html"
    story_html.write(path, story, datetime.now(UTC), forbidden=secrets_of(config))
    story_terminal.show(story, path, _console, secrets_of(config))
    _say("truth", "what was planted, and what the analysis said")
    for truth in truths:
        _console.print(f"  {truth.mark.value:16s} {truth.question} ({truth.planted}): {truth.words}")
    return story


def _publish(stores: Stores, config: Settings, payloads: list[bytes]) -> None:
    with wiring.outbox(config) as outbox, counting("publishing") as show:
        publish(stores.stream, outbox, payloads, cap=config.stream_cap, watch=lambda done: show(done.sent))


def _incremental(stores: Stores, config: Settings, ledger: Ledger) -> RunReport:
    _say("map", "an incremental run")
    run = account.in_ledger(ledger, flows.INCREMENTAL.name, Origin())
    with run as record, draining("into the graph") as show:
        report = incremental.run(
            stores,
            wiring.rules(config),
            wiring.upkeep(config),
            wiring.budget(config),
            record.step(steps.direct),
            watch=lambda progress: show(progress.done, progress.backlog),
        )
        record.result(funnel.numbers(report))
    funnel.show(report, _console)
    return report


def _wrong(first: RunReport, second: RunReport, differences: int) -> list[str]:
    wrong = []
    if funnel.unaccounted(first.funnel) or funnel.unaccounted(second.funnel):
        wrong.append("entries are unaccounted for")
    if first.funnel.applied != first.funnel.read:
        wrong.append("not every event was applied")
    if second.funnel.applied:
        wrong.append("the second delivery changed the graph")
    if differences:
        wrong.append("graph and archive disagree")
    return wrong


def _verdict(wrong: list[str], story: Story) -> int:
    """A truth that is missed is a pity; an effect that is claimed where there is none is a failure.

    One interval in twenty does not hold the truth, which is what 95 % means: that is told and fails nothing.
    """
    marks = [truth.mark for truth in story.truths]
    claimed, off = marks.count(Mark.WRONG), marks.count(Mark.OFF)
    if claimed:
        wrong = [*wrong, f"{figures.counted(claimed, 'claim')} made that are not true"]
    good = f"every event counted once, drift 0; {scorecard.right(story.truths):.0%} of the planted truths right, none wrong"
    if off:
        good += f"; {figures.counted(off, 'interval')} of 95 % beside the truth"
    _say("verdict", "; ".join(wrong) if wrong else good)
    return command.FAILED if wrong else command.GOOD


def _say(verb: str, words: str) -> None:
    _console.print(f"\n[bold]{verb:8s}[/] {words}")


if __name__ == "__main__":
    raise SystemExit(command.run(main))
