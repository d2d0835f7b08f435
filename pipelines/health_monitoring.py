"""`python -m pipelines.health_monitoring`: how each service is now. Started by people; as a flow it is below.

It tells nobody and changes nothing but its own row in the ledger. Exit code 1: a service is down.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from alerts import opening, rules
from pipelines import account, command, settings, steps, wiring_watch
from pipelines.account import Origin
from pipelines.errors import Refused
from pipelines.jobs import flows, health, on_demand
from pipelines.jobs.health import SERVICES, CheckType, Examined
from pipelines.jobs.ingest import utc_now
from pipelines.privacy.traces import secrets_of
from pipelines.report import health as report
from pipelines.settings import Settings

_STOPPED = "the embedded servers are not running, so there is nothing to ask; any other command starts them"


def run_once(config: Settings, step: steps.Step, origin: Origin, parameters: Mapping[str, Any]) -> Examined:
    """Ask what the parameters name (`health.asked`), in the ledger where there is one.

    Raises:
        InvalidInput: a check or a service that nobody knows.
        Refused: STOPPED, all servers are embedded and none runs.
    """
    with wiring_watch.watching(config) as watched:
        if watched.stopped:
            raise Refused("STOPPED", _STOPPED)
        judge = partial(rules.problems, limits=opening.limits(wiring_watch.alert_settings()))
        with account.if_possible(watched.sources, flows.HEALTH.name, origin) as (sources, record):
            wanted, step = health.asked(parameters), record.step(step) if record else step
            found: Examined = step(health.check_health, wanted, sources, wiring_watch.machine(config), judge, utc_now())
            if record:
                told = on_demand.kept(health.words(found), secrets_of(config))
                record.result({**health.numbers(found), "words": told})
            return found


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    parameters = {"check_type": options.check_type, "services": options.services}
    health.asked(parameters)  # before a run of it begins
    why_direct = "asked for" if options.direct else command.why_direct()
    command.say(f"health_monitoring: {f'direct mode ({why_direct})' if why_direct else 'as a Prefect flow'}")
    found = _directly(config, parameters) if why_direct else _through_prefect(parameters)
    if options.json:
        print(json.dumps({**health.numbers(found), "answers": report.as_list(found.answers)}))
    else:
        report.show(found.answers)
    return command.FAILED if found.down else command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.health_monitoring",
        description="How each service is now. Exit code 1: one is down.",
    )
    kinds = [kind.value for kind in CheckType]
    parser.add_argument(
        "--check-type", default="quick", metavar="|".join(kinds), help="full: also what the alert rules say of it"
    )
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=f"of {', '.join(SERVICES)}; none named: all")
    parser.add_argument("--direct", action="store_true", help="without Prefect, even where its API answers")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
    return parser


def _directly(config: Settings, parameters: Mapping[str, Any]) -> Examined:
    step = steps.directly(command.policies(config))
    return run_once(config, step, Origin(parameters=parameters), parameters)


def _through_prefect(parameters: Mapping[str, Any]) -> Examined:
    from pipelines.health_monitoring import health_monitoring as flow_  # not of __main__, which Prefect cannot import
    from pipelines.skin import outcome

    state: Any = flow_(**parameters, return_state=True)
    found: Examined = outcome(state)
    return found


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect.client.schemas.objects import State  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.HEALTH)
def health_monitoring(check_type: str = "quick", services: list[str] | None = None) -> Examined | State[Any]:
    """Ask each service how it is, once; no services named: all."""
    config = settings.load()
    step = skin.tasks(command.policies(config))
    try:
        found = run_once(config, step, skin.origin(), {"check_type": check_type, "services": services or []})
    except Refused as refused:
        return skin.skipped(refused)
    prefect_page.name_run(f"health: {found.up} up, {found.degraded} degraded, {found.down} down")
    return found
