"""Canaries, and runs of all four flows that meet them, as programs: `python -m tests.support.faults_canaries HOW`.

good     the four commands, one after the other
foreign  the same, but a step of each (of the watch: a question) raises an error that is not ours and quotes every canary
naive    the control: a plain flow that logs the canaries and raises such an error
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from itertools import combinations
from typing import Any
from unittest import mock

from pipelines import command, log, settings
from pipelines import full as full_flow
from pipelines import incremental as incremental_flow
from pipelines import verify as verify_flow
from pipelines import watch as watch_flow
from pipelines.jobs import full as full_job
from pipelines.jobs import incremental as incremental_job
from pipelines.jobs import watch as watch_job
from tests.support import make

ADDRESS = "canary.bird@corp.example"
CONTENT = "the canary sings at midnight"
#: By what they are the secret of. Those of servers are planted where the servers are made, and come on top.
SECRETS = {
    name: f"canary-{name.replace('_', '-')}-7Fq2"
    for name in ("pseudonym_key", "audit_key", "webhook_secret", "webhook_url", "smtp_password", "prefect_auth", "away")
}
TEAM = f"desk of {ADDRESS}"
TEAMS = {"Finches": 9, "Wrens": 6}
SMALL = "Rare canaries"


def people() -> dict[str, str]:
    teams = TEAMS | {SMALL: 3}
    return {make.person(100 * t + i): team for t, (team, size) in enumerate(teams.items()) for i in range(size)}


def planted(now: datetime) -> Iterator[bytes]:
    """A roster, interactions of an hour ago, and what must never be taken in: with content, an address, no JSON."""
    team_of, hour = people(), timedelta(hours=1)
    for person, team in team_of.items():
        yield make.other("roster.joined", f"r{person}", time=now - 24 * hour, person=person, team=team)
    for number, (one, other) in enumerate(combinations(team_of, 2)):
        yield make.event(f"e{number}", one, [other], time=now - hour)
    yield make.event("content", subject=CONTENT, time=now - hour)
    yield make.event("address", ADDRESS, [make.person(1)], time=now - hour)
    yield b'{"id": "' + ADDRESS.encode() + CONTENT.encode()


def renamed(now: datetime) -> Iterator[bytes]:
    """A team takes a name that names a person."""
    for person, team in people().items():
        if team == "Finches":
            yield make.other("roster.joined", f"n{person}", time=now - timedelta(hours=23), person=person, team=TEAM)


def canaries() -> list[str]:
    """All that was planted and may be shown nowhere, for the control and the errors; servers' secrets from the settings."""
    return [ADDRESS, CONTENT, *SECRETS.values(), *json.loads(os.environ.get("MORE_CANARIES", "[]"))]


# ------------------------------------------------------------------------------------------------ as a program


def _good() -> list[int]:
    return [command.run(main) for main in _commands()]


def _commands() -> Iterator[Callable[[], int]]:
    yield partial(incremental_flow.main, ["--json"])
    yield partial(full_flow.main, [])
    yield partial(_flow, verify_flow.recount)
    yield partial(_flow, watch_flow.watch)


def _flow(flow: Callable[..., Any]) -> int:
    """Of flows whose commands do without Prefect."""
    return 0 if flow(return_state=True).is_completed() else 1


def _foreign() -> list[int]:
    codes = []
    with ExitStack() as stack:
        for module, name in (
            (incremental_job, "fetch_interactions"),
            (verify_flow, "verify"),
            (full_job, "refresh_weeks"),
            (watch_job, "gather"),
        ):
            stack.enter_context(mock.patch.object(module, name, _quotes_all(getattr(module, name))))
        stack.enter_context(
            mock.patch.object(full_job, "STEPS", tuple(getattr(full_job, s.__name__) for s in full_job.STEPS))
        )
        codes += [command.run(main) for main in _commands()]
    return codes


def _quotes_all(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def raising(*_args: Any, **_named: Any) -> Any:
        every = " ".join((*canaries(), make.person(0)))  # a local of the frame, too
        try:
            raise ValueError(f"first {every}")
        except ValueError as error:
            raise RuntimeError(f"second {every}") from error

    return raising


def _naive() -> list[str]:
    from prefect import flow, get_run_logger, task

    every = " ".join((*canaries(), make.person(0)))

    @task
    def leaking(words: str) -> None:
        get_run_logger().info("taken in: %s", words)
        raise RuntimeError(words)

    @flow(name="naive")
    def naive(words: str) -> None:
        leaking(words)

    with suppress(RuntimeError):
        naive(every)
    return ["naive"]


def main(how: str) -> int:
    config = settings.load()
    if how != "naive":
        log.setup(config.log_format, config.log_level)
    print(json.dumps({how: {"good": _good, "foreign": _foreign, "naive": _naive}[how]()}), flush=True)
    return 0


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
