"""`python -m pipelines.policy_check`: what the policy says today of a proposal, a playbook for a team, or a document.

Started by people; as a flow it is below. Exit code 0: every rule passes; 1: some say no.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from pipelines import account, command, settings, steps, wiring, wiring_watch
from pipelines.account import Going, Origin
from pipelines.errors import InvalidInput, PermanentError, Refused
from pipelines.interventions import standing
from pipelines.interventions.possible import Seen
from pipelines.jobs import documents, flows, on_demand
from pipelines.jobs import policy_check as job
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.policy_check import Checked, Library
from pipelines.jobs.seen import last_seen
from pipelines.privacy.traces import secrets_of
from pipelines.settings import Settings

Parameters = Mapping[str, Any]


def run_once(config: Settings, step: steps.Step, origin: Origin, parameters: Parameters) -> Checked:
    """One check on the stores that the settings name. parameters: as `jobs.policy_check.asked` takes them.

    Raises:
        InvalidInput: not one thing to check, or there is no such proposal.
        Refused: GROUP_TOO_SMALL.
    """

    def body(going: Going) -> Checked:
        wanted = job.asked(parameters)
        with ExitStack() as stack:
            found = going.step(job.check_policy, wanted, library(config, going, stack))
        told = on_demand.kept(job.words(found), secrets_of(config))
        going.record.result({**job.numbers(found), "words": told, "k": config.min_group_size})
        return found

    return account.run(config, flows.POLICY.name, origin, step, body)


def library(config: Settings, going: Going, stack: ExitStack) -> Library:
    """The graph is opened only if it is asked for: a proposal needs PostgreSQL alone."""
    proposals = stack.enter_context(wiring_watch.proposals(config, going.where.postgres))
    if proposals is None:
        raise PermanentError("PostgreSQL has no URL")

    def seen() -> Seen:
        stores = stack.enter_context(wiring.full_stores(config, going.where))
        return last_seen(stores, going.ledger, utc_now())

    return Library(proposals, lambda: standing.context(proposals, utc_now()), seen)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    parameters = _parameters(options)
    job.asked(parameters)  # before a run of it begins, so that nothing wrong is kept
    why_direct = "asked for" if options.direct else command.why_direct()
    command.say(f"policy_check: {f'direct mode ({why_direct})' if why_direct else 'as a Prefect flow'}")
    found = _directly(config, parameters) if why_direct else _through_prefect(parameters)
    told = on_demand.kept(job.words(found), secrets_of(config))
    if options.json:
        print(json.dumps({**job.numbers(found), "words": told}))
    else:
        print("\n".join([*told, f"{found.passed} of {found.rules} rules pass"]))
    return command.FAILED if found.refused else command.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.policy_check",
        description="What the policy says today of one thing. Exit code 1: some rule says no.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--proposal", metavar="ID", help="a proposal, as `review list` names it")
    what.add_argument("--playbook", metavar="NAME", help="a playbook for the team of --team, as a run would propose it")
    what.add_argument(
        "--document", metavar="FILE|-", help="a sample of events or a mapping of fields; it is kept nowhere"
    )
    parser.add_argument("--team", metavar="TEAM", help="with --playbook")
    parser.add_argument("--direct", action="store_true", help="without Prefect, even where its API answers")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
    return parser


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    if bool(options.playbook) != bool(options.team):
        raise InvalidInput("--playbook and --team belong together")
    if not (options.proposal or options.playbook or options.document):
        raise InvalidInput(
            "what is to be checked? --proposal ID, or --playbook NAME with --team TEAM, or --document FILE|-"
        )
    given = {"proposal": options.proposal, "template_id": options.playbook, "team": options.team}
    if options.document:
        with command.input_file(options.document) as file:
            given["document"] = documents.judged(file.read(documents.MOST_BYTES + 1), utc_now())
    return {name: value for name, value in given.items() if value}


def _directly(config: Settings, parameters: Parameters) -> Checked:
    step = steps.directly(command.policies(config))
    return run_once(config, step, Origin(parameters=parameters), parameters)


def _through_prefect(parameters: Parameters) -> Checked:
    from pipelines.policy_check import policy_check as flow_  # not of __main__, which Prefect cannot import
    from pipelines.skin import outcome

    state: Any = flow_(**parameters, return_state=True)
    found: Checked = outcome(state)
    return found


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect.client.schemas.objects import State  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.POLICY)
def policy_check(
    proposal: str | None = None,
    template_id: str | None = None,
    team: str | None = None,
    document: dict[str, int] | None = None,
) -> Checked | State[Any]:
    """Ask every rule of one thing. document: what was counted of one; never the document, which Prefect would keep."""
    config = settings.load()
    step = skin.tasks(command.policies(config))
    given = {"proposal": proposal, "template_id": template_id, "team": team, "document": document}
    try:
        found = run_once(config, step, skin.origin(), given)
    except Refused as refused:
        return skin.skipped(refused)
    prefect_page.name_run(f"policy: {found.passed} of {found.rules} rules pass")
    return found
