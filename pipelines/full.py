"""The full flow: metrics, causal analysis, time series and proposals, every six hours; and `python -m pipelines.full`.

The job is `jobs.full.run`; this file gives it stores and a way to run its steps, and tells the story of the run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import command, demo, settings, steps, wiring
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import full as job
from pipelines.jobs import telling
from pipelines.privacy.traces import secrets_of
from pipelines.report import story_html, story_json, story_terminal
from pipelines.report.progress import working
from pipelines.report.story import Story
from pipelines.settings import Settings

_TIMEOUT_S = 1_800
PAGE = "last-run.html"


@dataclass(frozen=True)
class Wanted:
    """What was asked for. resume: the name of a run. by: who asked; they may not approve what comes of it."""

    resume: str | None = None
    propose: bool = True
    by: str = ""


def run_once(config: Settings, step: steps.Step, wanted: Wanted) -> Story:
    """One full run on the stores that the settings name, and its story."""
    with wiring.endpoints(config) as where, wiring.full_stores(config, where) as stores:
        with working() as watch:
            rest = {"propose": wanted.propose, "requested_by": (wanted.by,) if wanted.by else ()}
            plan = wiring.plan(config, _now(), wanted.resume, **rest)
            command.say(f"full: {plan.run}")
            done = job.run(stores, plan, step, _now, command.peak_memory, resume=bool(wanted.resume), watch=watch)
        return telling.tell_run(stores, done, config.min_group_size)


def _now() -> datetime:
    return datetime.now(UTC)


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
    story = run_once(config, steps.direct, wanted) if why_direct else _through_prefect(wanted)
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
    story_html.write(path, story, _now(), forbidden=secrets_of(config))
    if as_json:
        print(story_json.text(story, secrets_of(config)))
    else:
        story_terminal.show(story, path, forbidden=secrets_of(config))
    return path


def _through_prefect(wanted: Wanted) -> Story:
    from pipelines.full import full as flow_
    from pipelines.skin import outcome

    state = flow_(resume=wanted.resume, propose=wanted.propose, requested_by=wanted.by, return_state=True)
    story: Story = outcome(state)
    return story


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect import flow  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402

from pipelines.skin import as_task, skipped  # noqa: E402


@flow(name="full", timeout_seconds=_TIMEOUT_S, log_prints=False)
def full(resume: str | None = None, propose: bool = True, requested_by: str = "") -> Story | State[Any]:
    """Refresh metrics, look for causes, store the numbers, propose what people may decide on."""
    try:
        return run_once(settings.load(), as_task, Wanted(resume, propose, requested_by))
    except Refused as refused:
        return skipped(refused)
