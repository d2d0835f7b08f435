"""The full flow: metrics, causal analysis, time series and proposals, every six hours; and `python -m pipelines.full`.

The job is `jobs.full.run`; this file gives it stores and a way to run its steps, and tells the story of the run.
"""

from __future__ import annotations

import argparse
import sys
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines import account, command, demo, settings, steps, wiring
from pipelines.account import Going, Origin
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import flows, released, telling
from pipelines.jobs import full as job
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.operating import request_of
from pipelines.privacy.traces import secrets_of
from pipelines.report import story_html, story_json, story_markdown, story_terminal
from pipelines.report import story_words as words
from pipelines.report.progress import working
from pipelines.report.story import Story
from pipelines.settings import Settings

PAGE = "last-run.html"
#: Who asked for the run of this process at its terminal. Not a parameter of the flow: Prefect would show it to everybody, and
#: keep it. Who asked through the API is told by the request that the run came of.
_ASKING: ContextVar[str] = ContextVar("asking", default="")


@dataclass(frozen=True)
class Wanted:
    """What was asked for. resume: the name of a run. by: who asked at a terminal; they may not approve what comes of it, and
    neither may who asked through the API. request: that request's id, where it is not the run's.
    """

    resume: str | None = None
    propose: bool = True
    by: str = ""
    request: str | None = None


def run_once(config: Settings, step: steps.Step, origin: Origin, wanted: Wanted, watch: job.Watch) -> Story:
    """One full run on the stores that the settings name, and its story."""
    planned = wiring.plan(config, utc_now(), wanted.resume, propose=wanted.propose)
    command.say(f"full: {planned.run}")

    def body(going: Going) -> Story:
        plan = replace(planned, requested_by=_askers(going, wanted))
        going.record.correlate(plan.run)
        with wiring.full_stores(config, going.where) as stores:
            left = going.attempt > 1 and bool(stores.results.steps(plan.run))  # a second attempt goes on where it can
            done = job.run(
                stores, plan, going.step, utc_now, command.peak_memory, resume=bool(wanted.resume) or left, watch=watch
            )
            story = telling.tell_run(stores, done, config.min_group_size)
            released.keep(stores.results, plan.run, story_json.as_dict(story), utc_now())
        going.record.result(story_json.numbers(story))
        return story

    return account.run(config, flows.FULL.name, origin, step, body)


def _askers(going: Going, wanted: Wanted) -> tuple[str, ...]:
    """Asked of the database when the run begins, and not carried along: nothing that Prefect shows or loses decides it."""
    with wiring.requests(going.where) as requests:
        asked = requests.askers(wanted.request or going.record.run_id)
    return (*asked, wanted.by) if wanted.by else asked


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.demo:
        if len(argv if argv is not None else sys.argv[1:]) > 1:
            raise InvalidInput("--demo is for itself: it runs on its own servers and takes no other option")
        return demo.main([])
    config = settings.load()
    why_direct = "asked for" if options.direct else command.why_direct()
    mode = f"direct mode ({why_direct})" if why_direct else "as a Prefect flow"
    print(f"full: {mode}; {wiring.which(config)}", file=sys.stderr, flush=True)
    wanted = Wanted(options.resume, not options.no_propose, command.account())
    story = _directly(config, wanted) if why_direct else _through_prefect(wanted)
    publish(story, config, options.html, as_json=options.json)
    return command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.full", description="Metrics, causes, proposals.")
    parser.add_argument("--direct", action="store_true", help="without Prefect, even where its API answers")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run that stopped, such as full-2026-03-02T06")
    parser.add_argument("--no-propose", action="store_true", help="analyse and store; propose nothing")
    parser.add_argument("--json", action="store_true", help="the story as one JSON object on standard output")
    parser.add_argument("--html", type=Path, metavar="FILE", help=f"where the page goes (default {PAGE} in the state)")
    parser.add_argument(
        "--demo", action="store_true", help="on a made-up organisation with known effects; marks itself"
    )
    return parser


def publish(story: Story, config: Settings, path: Path | None, *, as_json: bool = False) -> Path:
    """The story as a page, and on the terminal or as JSON. Nothing leaves that names a person or a secret."""
    path = path or wiring.state_dir(config) / PAGE
    story_html.write(path, story, utc_now(), forbidden=secrets_of(config))
    if as_json:
        print(story_json.text(story, secrets_of(config)))
    else:
        story_terminal.show(story, path, forbidden=secrets_of(config))
    return path


def leave_page(story: Story, config: Settings) -> Path:
    """The page in the state directory, for who looks there: a run that was not started at a terminal has none."""
    path = wiring.state_dir(config) / PAGE
    story_html.write(path, story, utc_now(), forbidden=secrets_of(config))
    return path


def _directly(config: Settings, wanted: Wanted) -> Story:
    asked = {"resume": wanted.resume, "propose": wanted.propose}
    with working() as watch:
        return run_once(config, steps.directly(command.policies(config)), Origin(parameters=asked), wanted, watch)


def _through_prefect(wanted: Wanted) -> Story:
    from pipelines.full import (
        _ASKING,  # this module runs as __main__, and Prefect wants its flows from an importable one
    )
    from pipelines.full import full as flow_
    from pipelines.skin import outcome

    asking = _ASKING.set(wanted.by)
    try:
        state: Any = flow_(resume=wanted.resume, propose=wanted.propose, return_state=True)
    finally:
        _ASKING.reset(asking)
    story: Story = outcome(state)
    return story


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect.client.schemas.objects import State  # noqa: E402
from prefect.context import FlowRunContext  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.FULL)
def full(resume: str | None = None, propose: bool = True) -> Story | State[Any]:
    """Refresh metrics, look for causes, store the numbers, propose what people may decide on."""
    config = settings.load()
    wanted = Wanted(resume, propose, _ASKING.get(), _request())
    try:
        with prefect_page.progress() as watch:
            story = run_once(config, skin.tasks(command.policies(config)), skin.origin(), wanted, watch)
        _show_in_prefect(story, config)
    except Refused as refused:
        return skin.skipped(refused)
    return story


def _request() -> str | None:
    """The request that this flow run was made of. By its key, which it was made with: who made it may have died since, before
    it could write down which run came of it."""
    here = FlowRunContext.get()
    return request_of(here.flow_run.idempotency_key) if here and here.flow_run else None


def _show_in_prefect(story: Story, config: Settings) -> None:
    """The page in the state directory too: a scheduled run has no terminal."""
    forbidden, short = secrets_of(config), words.in_short(story)
    with prefect_page.only_decoration():
        leave_page(story, config)
    prefect_page.name_run(f"{story.run.id}: {short[0]}", forbidden)
    prefect_page.story("full-story", story_markdown.text(story), " ".join(short), forbidden)
    prefect_page.table("full-steps", story_markdown.steps(story), "What each step did")
    prefect_page.event("analysed", "full", story_json.numbers(story))
