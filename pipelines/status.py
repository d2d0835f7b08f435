"""`python -m pipelines.status`: how things stand. It changes nothing, starts nothing unless `--start` says so, and tells what
it could not ask.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

from pipelines import command, settings, wiring, wiring_watch
from pipelines.errors import OrganismError
from pipelines.evidence import State
from pipelines.interventions.policy import halted_words
from pipelines.jobs import facts, on_demand, prefect_view
from pipelines.jobs.facts import Sources
from pipelines.jobs.flows import BY_NAME
from pipelines.jobs.ingest import utc_now
from pipelines.report import status_terminal
from pipelines.report.standing import Standing, flow_standings
from pipelines.runs import FlowFigures, Run
from pipelines.settings import Settings

_STOPPED = (
    "the embedded servers are not running, so there is nothing to ask; start them for this look: {python} -m pipelines.status"
    " --start; or for as long as you like: {python} -m deployments serve"
)
_DAY, _LOOKED_AT, _OF_EACH = timedelta(days=1), 20, 10
_OPEN = (State.PENDING_APPROVAL, State.SHADOW, State.BLOCKED, State.APPROVED)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.status",
        description="How things stand. Asks what runs; changes nothing, and starts nothing unless it is told to.",
        epilog="Exit codes: 0 all is well, also where everything is embedded and stopped; 1 an incident is open or a store is"
        " down; 2 wrong settings.",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object on standard output")
    parser.add_argument("--start", action="store_true", help="start the embedded servers for as long as it looks")
    options = parser.parse_args(argv)
    config = settings.load()
    (
        wiring.policy_rules(config),
        command.policies(config),
    )  # what is mistyped in them is said here, and not taken for a store
    with ExitStack() as stack:
        if options.start:
            stack.enter_context(wiring.endpoints(config))
        watched = stack.enter_context(wiring_watch.watching(config))
        if watched.stopped:
            print(json.dumps({"stopped": True}) if options.json else _STOPPED.format(python=command.python()))
            return command.GOOD
        its = standing(config, watched)
    if options.json:
        print(json.dumps(as_dict(its)))
    else:
        status_terminal.show(its)
    return command.FAILED if its.incidents or any(store.words for store in its.facts.stores) else command.GOOD


def standing(config: Settings, watched: wiring_watch.Watched) -> Standing:
    """Everything that can be asked now; what cannot is empty, and its store says why."""
    now, sources = utc_now(), watched.sources
    view = prefect_view.look(sources.orchestrator, sources.pool, now) if sources.orchestrator else None
    seen = facts.gather(sources, wiring_watch.machine(config), now, view)
    runs, figures = _runs(sources, now, config.min_group_size)
    proposals, halted = _proposals(config, watched.postgres)
    return Standing(
        facts=seen,
        flows=flow_standings(runs, figures, seen),
        runs=tuple(runs),
        incidents=tuple(wiring_watch.open_incidents(config, watched.postgres)),
        proposals=proposals,
        halted=halted,
    )


def _runs(sources: Sources, now: datetime, k: int) -> tuple[list[Run], list[FlowFigures]]:
    """The last runs as they may be shown today, among them the last of each flow; and the figures of a day."""
    try:
        if (ledger := sources.ledger) is not None:
            found = {run.id: run for run in ledger.find(limit=_LOOKED_AT)}
            found |= {run.id: run for name in BY_NAME for run in ledger.find(flow_name=name, limit=_OF_EACH)}
            shown = [on_demand.as_fit(run, k) for _, run in sorted(found.items(), reverse=True)]
            return shown, ledger.figures(now - _DAY, now)
    except OrganismError:  # the facts say it already
        pass
    return [], []


def _proposals(config: Settings, url: str | None) -> tuple[dict[str, int] | None, str | None]:
    try:
        with wiring_watch.proposals(config, url) as store:
            if store is None:
                return None, None
            halt = store.halted()
            found = Counter(proposal.state.value for proposal in store.list(_OPEN))
            return dict(found), halted_words(halt) if halt else None
    except OrganismError:
        return None, None


def as_dict(its: Standing) -> dict[str, Any]:
    """For machines: no person, no secret, nothing about a group."""
    stream = its.facts.stream
    return {
        "at": its.facts.now.isoformat(),
        "applied_at": its.facts.applied_at.isoformat() if its.facts.applied_at else None,
        "backlog": stream.unread if stream else None,
        "pending": stream.pending if stream else None,
        "dead_letters": stream.dead_letters if stream else None,
        "behind_seconds": its.behind,
        "stores": {store.name: store.words or "up" for store in its.facts.stores},
        "incidents": [
            {"id": i.id, "code": i.problem.code.value, "subject": i.problem.subject, "what": i.problem.what}
            for i in its.incidents
        ],
        "flows": {
            flow.flow: {
                "last_good_seconds_ago": flow.ago,
                "success_rate": flow.success_rate,
                "retry_rate": flow.retry_rate,
                "typical_seconds": flow.typical,
                "goal_seconds": flow.slow,
            }
            for flow in its.flows
        },
        "proposals": its.proposals,
        "halted": its.halted,
    }


if __name__ == "__main__":
    raise SystemExit(command.run(main))
