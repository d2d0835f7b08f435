"""The watch: what nobody would tell, because the one who should was killed; and `python -m pipelines.watch`.

The command never goes through Prefect: it is the dead man's check for a Prefect that is down. As a flow it is `watch` below.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from alerts import flow_rules, opening, rules
from alerts.dispatch import Dispatcher
from alerts.model import Code, Facts, Problem, Severity
from alerts.settings import AlertSettings
from pipelines import account, command, settings, wiring, wiring_watch
from pipelines.account import Origin
from pipelines.errors import OrganismError, Refused
from pipelines.jobs import flows
from pipelines.jobs import watch as job
from pipelines.jobs.facts import about
from pipelines.jobs.ingest import utc_now
from pipelines.orchestrator import place as prefect_place
from pipelines.privacy.traces import secrets_of
from pipelines.settings import Settings

_STOPPED = "the embedded servers are not running, so there is nothing to watch; any other command starts them"
_NO_PREFECT = f"Prefect is not watched: {prefect_place.NOT_SET} in the environment, in .env or in Prefect's profile"


def run_once(config: Settings, origin: Origin) -> job.Turn:
    """One turn, in the ledger where there is one.

    Raises:
        Refused: STOPPED, all servers are embedded, none runs, and nothing says that one should.
    """
    with wiring_watch.watching(config) as watched:
        if watched.stopped:
            raise Refused("STOPPED", _STOPPED)
        told, secrets = wiring_watch.alert_settings(), secrets_of(config)
        with (
            account.if_possible(watched.sources, flows.WATCH.name, origin) as (sources, record),
            opening.dispatcher(told, watched.postgres, wiring.state_dir(config), secrets) as dispatcher,
        ):
            now = utc_now()
            judge = _judge(told, dispatcher, now)
            turn = job.turn(sources, judge, dispatcher, wiring_watch.machine(config), now, origin.run_id)
            if record:
                codes = sorted({problem.code.value for problem in turn.problems})
                record.result({**turn.numbers(), **about(turn.facts), "codes": codes})
            return turn


def _judge(told: AlertSettings, dispatcher: Dispatcher, now: datetime) -> job.Judge:
    """By the limits and severities that operators set."""
    limits, its = opening.limits(told, dispatcher.rules, now), dispatcher.rules

    def problems(facts: Facts) -> list[Problem]:
        return [*flow_rules.graded(rules.problems(facts, limits), its), *flow_rules.silenced(its, now)]

    return job.Judge(problems, rules.unknown, lambda problem: flow_rules.hushed(problem, its, now), rules.ended)


def main(argv: list[str] | None = None, pause: Callable[[float], None] = time.sleep) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    code = _turn(config, as_json=options.json)
    while options.every is not None:
        pause(options.every)
        code = _turn(config, as_json=options.json)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.watch",
        description="Look for what is wrong, put right what died, tell people. Exit code 1: something is wrong.",
    )
    how_often = parser.add_mutually_exclusive_group()
    how_often.add_argument("--once", action="store_true", help="one turn, for cron or systemd (the default)")
    how_often.add_argument("--every", type=_seconds, metavar="SECONDS", help="turn after turn, until it is interrupted")
    parser.add_argument("--json", action="store_true", help="what was found, as one JSON object on standard output")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 1 to 86400")
    return value


def _turn(config: Settings, *, as_json: bool) -> int:
    """A turn that fails is said, and the next one comes: who watches does not stop watching."""
    try:
        turn = run_once(config, Origin())
    except Refused as refused:
        print(json.dumps({"stopped": True}) if as_json else refused.sentence)
        return command.GOOD
    except OrganismError as error:
        command.say(f"error: {error}")
        return command.exit_code(error)
    print(json.dumps(as_dict(turn)) if as_json else in_words(turn), flush=True)
    return command.FAILED if _wrong(turn) else command.GOOD


def _wrong(turn: job.Turn) -> list[Problem]:
    """What people hear of, without digests: they are news, not trouble."""
    return [p for p in turn.problems if p.severity is not Severity.INFO and p.key not in turn.hushed]


def as_dict(turn: job.Turn) -> dict[str, Any]:
    """For machines. No person and no secret is part of a problem."""
    problems = [
        {
            "code": problem.code.value,
            "subject": problem.subject,
            "severity": problem.severity.value,
            "what": problem.what,
            "since": problem.since.isoformat(),
            "fix": problem.fix,
            **({"hushed": turn.hushed[problem.key]} if problem.key in turn.hushed else {}),
        }
        for problem in turn.problems
    ]
    return {**turn.numbers(), "problems": problems, "refused": list(turn.refused)}


def named(turn: job.Turn) -> str:
    """`STORE_DOWN redis, DRIFT graph`; `nothing is wrong`."""
    return ", ".join(f"{p.code.value} {p.subject}" for p in _wrong(turn)) or "nothing is wrong"


def in_words(turn: job.Turn) -> str:
    lines = [
        f"{turn.hushed.get(p.key, p.severity.value)}: {p.what} [{p.code.value} {p.subject}]"
        + (f"\n  {p.fix}" if p.fix else "")
        for p in turn.problems
    ]
    done = {name: count for name, count in turn.numbers().items() if count and name != "problems"}
    if done:
        lines.append("done: " + ", ".join(f"{count} {name}" for name, count in done.items()))
    if any(p.code is Code.RESOURCES for p in turn.problems) and turn.facts.machine:
        lines.append(f"this is {turn.facts.machine}")
    without = [] if turn.facts.prefect else [_NO_PREFECT]
    return "\n".join([*(lines or ["nothing is wrong"]), *without])


if __name__ == "__main__":
    raise SystemExit(command.run(main))

# ------------------------------------------------------------------------------------------------ the Prefect skin
# Below the command, because importing prefect takes a second that the command need not pay.

from prefect.client.schemas.objects import State  # noqa: E402

from pipelines import prefect_page, skin  # noqa: E402


@skin.scheduled(flows.WATCH)
def watch() -> dict[str, int] | State[Any]:
    """Look for what is wrong and tell people, once."""
    try:
        turn = run_once(settings.load(), skin.origin())
    except Refused as refused:
        return skin.skipped(refused)
    prefect_page.name_run(f"watch: {named(turn)}")
    return turn.numbers()
