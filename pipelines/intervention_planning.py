"""`python -m pipelines.intervention_planning TEAM`: the best set of practices for a team within a horizon and an effort.

Started by people; as a flow it is below. It makes and changes no proposal. Exit code 0, also where nothing can be planned.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from pipelines import account, command, settings, steps, wiring, wiring_watch
from pipelines.account import Going, Origin
from pipelines.errors import PermanentError, Refused
from pipelines.interventions import standing
from pipelines.jobs import flows, on_demand, planning
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.planning import EffortLevel, Planned, Table
from pipelines.jobs.seen import last_seen
from pipelines.privacy.traces import secrets_of
from pipelines.settings import Settings

Parameters = Mapping[str, Any]


def run_once(config: Settings, step: steps.Step, origin: Origin, parameters: Parameters) -> Planned:
    """One plan on the stores that the settings name. parameters: as `jobs.planning.asked` takes them.

    Raises:
        InvalidInput: a team, a horizon or an effort that cannot be.
        Refused: GROUP_TOO_SMALL.
    """

    def body(going: Going) -> Planned:
        wanted = planning.asked(parameters)
        with ExitStack() as stack:
            found = going.step(planning.plan_interventions, wanted, _table(config, going, stack))
        told = on_demand.kept(planning.words(found), secrets_of(config))
        going.record.result({**planning.numbers(found), "words": told, "k": config.min_group_size})
        return found

    return account.run(config, flows.PLANNING.name, origin, step, body)


def _table(config: Settings, going: Going, stack: ExitStack) -> Table:
    proposals = stack.enter_context(wiring_watch.proposals(config, going.where.postgres))
    stores = stack.enter_context(wiring.full_stores(config, going.where))
    if proposals is None:
        raise PermanentError("PostgreSQL has no URL")
    return Table(
        proposals,
        lambda: standing.context(proposals, utc_now()),
        lambda: last_seen(stores, going.ledger, utc_now()),
    )


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    parameters = {"team_id": options.team, "horizon": options.horizon, "effort_level": options.effort}
    planning.asked(parameters)  # before a run of it begins, so that nothing wrong is kept
    why_direct = "asked for" if options.direct else command.why_direct()
    command.say(f"intervention_planning: {f'direct mode ({why_direct})' if why_direct else 'as a Prefect flow'}")
    found = _directly(config, parameters) if why_direct else _through_prefect(parameters)
    told = on_demand.kept(planning.words(found), secrets_of(config))
    print(json.dumps({**planning.numbers(found), "words": told}) if options.json else "\n".join(told))
    return command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.intervention_planning", description="The best set of practices for a team."
    )
    parser.add_argument("team", metavar="TEAM")
    parser.add_argument(
        "--horizon", type=int, default=planning.HORIZON, metavar="DAYS", help="by when all of it is judged"
    )
    levels = [level.value for level in EffortLevel]
    parser.add_argument("--effort", default="medium", choices=levels, help="what it may ask of the team")
    parser.add_argument("--direct", action="store_true", help="without Prefect, even where its API answers")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
    return parser


def _directly(config: Settings, parameters: Parameters) -> Planned:
    step = steps.directly(command.policies(config))
    return run_once(config, step, Origin(parameters=parameters), parameters)


def _through_prefect(parameters: Parameters) -> Planned:
    from pipelines.intervention_planning import intervention_planning as flow_  # not of __main__
    from pipelines.skin import outcome

    state: Any = flow_(**parameters, return_state=True)
    found: Planned = outcome(state)
    return found


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect.client.schemas.objects import State  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.PLANNING)
def intervention_planning(
    team_id: str, horizon: int = planning.HORIZON, effort_level: str = "medium"
) -> Planned | State[Any]:
    """The best set of practices for a team; makes and changes no proposal."""
    config = settings.load()
    step = skin.tasks(command.policies(config))
    given = {"team_id": team_id, "horizon": horizon, "effort_level": effort_level}
    try:
        found = run_once(config, step, skin.origin(), given)
    except Refused as refused:
        return skin.skipped(refused)
    prefect_page.name_run(f"plan: {found.planned} of {found.candidates} practices")
    return found
