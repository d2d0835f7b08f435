"""`python -m pipelines.verify`: recount the graph from the archive and name what differs; daily as the flow `verify`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pipelines import account, command, settings, steps, wiring
from pipelines.account import Going, Origin
from pipelines.errors import Refused
from pipelines.jobs import flows
from pipelines.jobs.ingest import utc_now
from pipelines.jobs.reconcile import Drift, verify
from pipelines.report import drift
from pipelines.report.progress import counting
from pipelines.settings import Settings

Watch = Callable[[int], None]


def recount_once(config: Settings, step: steps.Step, origin: Origin, watch: Watch) -> Drift:
    """One recount on the stores that the settings name. watch: called with interactions counted so far."""

    def body(going: Going) -> Drift:
        with wiring.stores(config, going.where) as stores:
            found: Drift = going.step(verify, stores, watch)
        going.record.result(drift.numbers(found.report()))
        old = utc_now() - timedelta(days=config.runs_days)
        going.ledger.forget(old)  # once a day is often enough for this, too
        with wiring.requests(going.where) as requests:
            requests.forget(old)
        return found

    return account.run(config, flows.VERIFY.name, origin, step, body)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.verify", description="Recount the graph from the archive."
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
    parser.add_argument("--reveal", action="store_true", help="name the people of a differing tie by their pseudonyms")
    options = parser.parse_args(argv)
    config = settings.load()
    command.say(f"verify: {wiring.which(config)}")
    with counting("recounting") as watch:
        found = recount_once(config, steps.directly(command.policies(config)), Origin(), watch)
    report = found.report(reveal=options.reveal)
    if options.json:
        print(json.dumps(drift.as_dict(report)))
    else:
        drift.show(report)
    return command.FAILED if report.differences else command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that direct mode need not pay.

from prefect.client.schemas.objects import State  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.VERIFY)
def recount() -> dict[str, float] | State[Any]:
    """Recount the graph from the archive; a difference is an incident."""
    config = settings.load()
    try:
        found = recount_once(config, skin.tasks(command.policies(config)), skin.origin(), lambda _done: None)
    except Refused as refused:
        return skin.skipped(refused)
    report = found.report()
    prefect_page.name_run(f"verify: drift {len(report.differences)} in {report.ties:,} ties")
    prefect_page.event("drifted" if report.differences else "equal", "verify", drift.numbers(report))
    return drift.numbers(report)
