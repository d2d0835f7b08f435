"""The incremental flow: the stream into the graph, every five minutes; and `python -m pipelines.incremental`.

Nothing of ours depends on Prefect: the job is `jobs.incremental.run`, and this file gives it a way to run its steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pipelines import account, command, settings, steps, wiring
from pipelines.account import Going, Origin
from pipelines.errors import Refused
from pipelines.jobs import flows
from pipelines.jobs import incremental as job
from pipelines.model import RunReport
from pipelines.report import funnel
from pipelines.report.progress import draining
from pipelines.settings import Settings

Watch = Callable[[int, int], None]


def run_once(
    config: Settings,
    step: steps.Step,
    origin: Origin,
    watch: Watch,
    *,
    accept_invalid: bool = False,
    budget_s: float | None = None,
) -> RunReport:
    """One incremental run on the stores that the settings name. watch: called with entries done and left."""
    budget = timedelta(seconds=budget_s or config.time_budget_s)

    def body(going: Going) -> RunReport:
        with wiring.stores(config, going.where) as stores:
            rules, upkeep = wiring.rules(config, accept_invalid=accept_invalid), wiring.upkeep(config)
            report = job.run(stores, rules, upkeep, budget, going.step, watch=lambda now: watch(now.done, now.backlog))
        going.record.result(funnel.numbers(report))
        return report

    return account.run(config, flows.INCREMENTAL.name, origin, step, body)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    why_direct = "asked for" if options.direct else command.why_direct()
    print(
        f"incremental: {f'direct mode ({why_direct})' if why_direct else 'as a Prefect flow'}; {wiring.which(config)}",
        file=sys.stderr,
        flush=True,
    )
    if why_direct:
        with draining("into the graph") as watch:
            asked = {"accept_invalid": options.accept_invalid, "budget_s": options.budget}
            origin = Origin(parameters={name: value for name, value in asked.items() if value})
            report = run_once(config, steps.directly(command.policies(config)), origin, watch, **asked)
    else:
        report = _through_prefect(options.accept_invalid, options.budget)
    if options.json:
        print(json.dumps(funnel.as_dict(report)))
    else:
        funnel.show(report)
    return command.FAILED if funnel.alarms(report) else command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.incremental", description="Drain the stream into the graph."
    )
    parser.add_argument("--direct", action="store_true", help="without Prefect, even where its API answers")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object on standard output")
    parser.add_argument(
        "--accept-invalid", action="store_true", help="dead-letter invalid entries even if they are many"
    )
    parser.add_argument(
        "--budget", type=_seconds, metavar="SECONDS", help="stop after this (default ORGANISM_TIME_BUDGET_S)"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError("expected a number of seconds above 0 and below 86400")
    return value


def _through_prefect(accept_invalid: bool, budget_s: float | None) -> RunReport:
    from pipelines.incremental import incremental as flow_
    from pipelines.skin import outcome

    state: Any = flow_(accept_invalid=accept_invalid, budget_s=budget_s, return_state=True)
    report: RunReport = outcome(state)
    return report


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect.client.schemas.objects import State  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.INCREMENTAL)
def incremental(accept_invalid: bool = False, budget_s: float | None = None) -> RunReport | State[Any]:
    """Read new interactions from the stream and update the graph, exactly once."""
    config = settings.load()
    try:
        with prefect_page.progress() as show:
            report = run_once(
                config,
                skin.tasks(command.policies(config)),
                skin.origin(),
                prefect_page.draining(show, "into the graph"),
                accept_invalid=accept_invalid,
                budget_s=budget_s,
            )
    except Refused as refused:
        return skin.skipped(refused)
    prefect_page.name_run(f"incremental: {funnel.in_short(report)}")
    prefect_page.table("incremental-funnel", funnel.rows(report), funnel.state(report))
    prefect_page.event("drained" if report.drained else "backlog-left", "incremental", funnel.numbers(report))
    return report
