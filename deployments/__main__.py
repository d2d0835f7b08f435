"""`python -m deployments`: install it, look at it, and find out what is wrong with it.

setup and deploy change the Prefect server; list, check and doctor only look. Exit codes: 0 good, 1 something is wrong, 2 bad
input, 3 refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from deployments import ground, listing, manifest, rest
from deployments.checks import Check, Question, is_green, run
from pipelines import command, settings, wiring

_MODULES = ("serve", "backup", "restore")


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in _MODULES:  # commands of their own, with options of their own
        return _elsewhere(words[0], words[1:])
    options = _parser().parse_args(words)
    asked: Callable[[argparse.Namespace], int] = options.do
    return asked(options)


def _elsewhere(name: str, words: list[str]) -> int:
    import importlib

    code: int = importlib.import_module(f"deployments.{name}").main(words)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments", description="Install, look at, examine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, do, words in (
        ("setup", _setup, "everything that scheduled runs need, made or left as it is; safe to repeat"),
        ("deploy", _deploy, "make the deployments equal to prefect.yaml"),
        ("list", _list, "the deployments on the server and when each runs next"),
        ("check", _check, "is prefect.yaml right? And the Prefect API, if one answers"),
        ("doctor", _doctor, "examine everything; exit code 1 if something is wrong"),
    ):
        one = commands.add_parser(name, help=words, description=words)
        one.set_defaults(do=do)
        one.add_argument("--json", action="store_true", help="the answers as JSON on standard output")
        if name != "list":
            one.add_argument("--file", type=Path, metavar="FILE", help="instead of prefect.yaml")
        if name == "deploy":
            one.add_argument(
                "--all", action="store_true", help="also those that do not differ; resumes paused schedules"
            )
    for name, words in (
        ("serve", "everything on this machine without Docker; Ctrl-C ends all of it"),
        ("backup", "copy the stores to a folder"),
        ("restore", "bring a copy back"),
    ):
        commands.add_parser(name, help=words)
    return parser


# ------------------------------------------------------------------------------------------------ the commands


def _setup(options: argparse.Namespace) -> int:
    from deployments import setup

    config = settings.load()
    with rest.opened() as api:
        checks = _examined(options, setup.questions(api, config, _file(options), _now))
    if not options.json and is_green(checks):
        changed = any(check.seen.startswith(_CHANGES) for check in checks)
        words = "set up; start a worker (python -m deployments.worker), then ask the doctor"
        listing.console().print(words if changed else "nothing was changed")
    return command.GOOD if is_green(checks) else command.FAILED


#: How a check begins that tells of something made.
_CHANGES = ("created", "changed", "applied")


def _deploy(options: argparse.Namespace) -> int:
    from deployments import deploy, setup

    path = _file(options)
    its = ground.insist_on_file(path)
    with rest.opened() as api:
        asked = [
            Question("Prefect API", lambda: ground.about_api(api), setup.NO_SERVER),
            Question("work pool", lambda: setup.made_pool(api, manifest.pool_name()), needs=("Prefect API",)),
            Question(
                "queues", lambda: setup.made_queues(api, manifest.pool_name()), needs=("Prefect API", "work pool")
            ),
            Question(
                "deployments",
                lambda: deploy.deploy(api, its, path, everything=options.all),
                needs=("Prefect API", "work pool", "queues"),
            ),
        ]
        checks = _examined(options, asked)
    return command.GOOD if is_green(checks) else command.FAILED


def _check(options: argparse.Namespace) -> int:
    """Of the file; a server that does not answer is said, and is no fault of it."""
    from deployments import setup

    with rest.opened() as api:
        asked = [
            Question("prefect.yaml", lambda: ground.about_file(_file(options))),
            Question("Prefect API", lambda: ground.about_api_if_it_answers(api, setup.NO_SERVER)),
        ]
        checks = _examined(options, asked)
    if any(check.ok is False and check.name == ground.FILE for check in checks):
        return command.BAD_INPUT
    return command.GOOD if is_green(checks) else command.FAILED


def _doctor(options: argparse.Namespace) -> int:
    from deployments import doctor

    config = settings.load()
    with ExitStack() as stack:
        api = stack.enter_context(rest.opened())
        where = stack.enter_context(wiring.endpoints(config))
        checks = _examined(options, doctor.questions(doctor.Around(api, where, config, _file(options), _now)))
    if not options.json:
        listing.console().print(listing.verdict(checks))
    return command.GOOD if is_green(checks) else command.FAILED


def _list(options: argparse.Namespace) -> int:
    with rest.opened() as api:
        there, now = api.deployments(), _now()
        runs = {name: api.runs(row["id"], "SCHEDULED") for name, row in there.items()}
    soon = {name: datetime.fromisoformat(found[0]["expected_start_time"]) for name, found in runs.items() if found}
    table = listing.rows(there, soon)
    if options.json:
        print(json.dumps(table, indent=2))
    elif table:
        listing.show_rows(table, listing.console(), now)
    else:
        command.say("nothing is deployed; python -m deployments setup")
    return command.GOOD


# ------------------------------------------------------------------------------------------------ what they share


def _examined(options: argparse.Namespace, questions: Sequence[Question]) -> list[Check]:
    if options.json:
        checks = run(questions)
        print(listing.as_json(checks))
        return checks
    console = listing.console()
    return run(questions, lambda check: listing.show(check, console))


def _file(options: argparse.Namespace) -> Path:
    path: Path | None = options.file
    return path.absolute() if path else ground.find_file()


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    raise SystemExit(command.run(main))
