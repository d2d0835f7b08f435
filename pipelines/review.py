"""`python -m pipelines.review`: look at what is proposed, approve or reject it, and stop everything.

`--as` takes the name of whoever answers for the decision. It is stored as given and shown with the proposal, because an
operator is an accountable person and no subject of the analysis. The command line cannot prove a name: whoever may run
it is trusted to give their own. So the account it ran under is kept beside it, and two names of one account are one.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from pipelines import command, settings, wiring
from pipelines.errors import Refused
from pipelines.interventions.proposal import Choice, Proposal, as_document
from pipelines.interventions.shown import coarse
from pipelines.jobs import deciding, proposal_words
from pipelines.jobs.deciding import Listed, Signed
from pipelines.jobs.evaluate import Proposals
from pipelines.privacy.traces import guard, mask, secrets_of
from pipelines.report.markup import seen


@dataclass(frozen=True)
class Desk:
    """What a verb works with. anchor: the file that notes the end of the audit log outside the database. forbidden: what
    must not be in anything that is printed, besides people.
    """

    proposals: Proposals
    k: int
    anchor: Path
    now: datetime
    forbidden: tuple[str, ...] = ()

    def say(self, words: str, to: TextIO | None = None) -> None:
        """Print it, on standard output if nothing else is said.

        Raises:
            Refused: LEAK, as `privacy.traces.guard`; nothing was printed.
        """
        print(guard(words, self.forbidden), file=to)


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    command.say(f"review: {wiring.which(config).split(', ')[-1]}")  # the only one that it uses
    with wiring.proposals(config) as proposals:
        anchor = wiring.state_dir(config) / deciding.ANCHOR
        desk = Desk(proposals, config.min_group_size, anchor, datetime.now(UTC), secrets_of(config))
        return int(options.do(desk, options))


# ------------------------------------------------------------------------------------------------ the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.review", description="Proposals, decisions, the switch.")
    verbs = parser.add_subparsers(
        required=True, metavar="list | show | approve | reject | withdraw | halt | resume | expire | audit"
    )
    verb = _verb(verbs, "list", _list, "what is proposed; undecided ones first")
    verb.add_argument("--all", action="store_true", help="also what is over")
    verb = _verb(verbs, "show", _show, "one proposal with its evidence, and what exactly would happen")
    verb.add_argument("id")
    for name, words in (("approve", "agree to it, after showing it"), ("reject", "turn it down")):
        verb = _verb(verbs, name, _decide, words)
        verb.set_defaults(choice=Choice(name))
        _about_one(verb)
        verb.add_argument(
            "--version", type=int, help="the version you looked at; without it, the one that is shown now"
        )
    _about_one(_verb(verbs, "withdraw", _withdraw, "take an open proposal back before anything is done"))
    for name, do, words in (
        ("halt", _halt, "stop everything at once: nothing is proposed, approved or executed until it is resumed"),
        ("resume", _resume, "let it go on"),
    ):
        _signed(_verb(verbs, name, do, words), needed=False)
    _verb(verbs, "expire", _expire, "close what waited for too long; every full run does so too")
    _audit_verbs(verbs)
    return parser


def _verb(verbs: Any, name: str, do: Any, words: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=words, description=words)
    verb.add_argument("--json", action="store_true", help="one JSON object on standard output")
    verb.set_defaults(do=do)
    return verb


def _about_one(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("id")
    _signed(verb, needed=True)
    verb.add_argument("--yes", action="store_true", help="do it without asking")


def _signed(verb: argparse.ArgumentParser, *, needed: bool) -> None:
    """Who and why. The switch must not wait for a name: there it is the account's, unless told."""
    default = None if needed else command.account()
    verb.add_argument("--as", dest="by", metavar="NAME", required=needed, default=default, help="who answers for it")
    verb.add_argument("--reason", required=True)


def _audit_verbs(verbs: Any) -> None:
    words = "the log of every decision"
    audit = verbs.add_parser("audit", help=words, description=words).add_subparsers(required=True, metavar="verify")
    verb = _verb(
        audit, "verify", _verify, "check the audit log; names the first row that was changed, removed or put in"
    )
    verb.add_argument("--head", type=_head, metavar="ROW:HASH", help="an end of the log that was noted elsewhere")


def _head(text: str) -> tuple[int, str]:
    try:
        return deciding.head(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# ------------------------------------------------------------------------------------------------ looking


def _list(desk: Desk, options: argparse.Namespace) -> int:
    its = deciding.listed(desk.proposals, desk.k, over=options.all)
    if options.json:
        desk.say(json.dumps(deciding.as_json(its)))
        return command.GOOD
    if halt := its.halt:
        since = proposal_words.minute(halt.at)
        desk.say(seen(f"HALTED since {since} by {mask(halt.by)}: {mask(halt.reason)}"))
    if its.found:
        _print_table(desk, its)
    else:
        desk.say("no proposals")
    return command.GOOD


def _print_table(desk: Desk, its: Listed) -> None:
    rows = [_row(p, its.withheld.get(p.id)) for p in its.found]
    guard("\n".join(" ".join(row) for row in rows), desk.forbidden)
    Console(highlight=False).print(_table(rows))


def _row(exact: Proposal, withheld: str | None) -> list[str]:
    if withheld:
        return [exact.id, proposal_words.spoken(exact.state), withheld, "", ""]
    p = coarse(exact)
    expected = f"{p.expected.metric} {proposal_words.number(p.expected.effect)}" if p.expected else "unknown"
    return [
        p.id,
        proposal_words.spoken(p.state),
        str(p.target),
        proposal_words.spoken(p.playbook.template_id),
        expected,
    ]


def _table(rows: list[list[str]]) -> Table:
    # The id whole, whatever the width: it is there to be copied.
    table = Table(
        Column("id", no_wrap=True), Column("state", no_wrap=True), Column("about", overflow="fold"), "what", "expected"
    )
    for row in rows:
        table.add_row(*(Text(seen(cell)) for cell in row))  # as it is: a name is no markup
    return table


def _show(desk: Desk, options: argparse.Namespace) -> int:
    found = deciding.found(desk.proposals, options.id, desk.k)
    desk.say(json.dumps(as_document(coarse(found))) if options.json else _story(coarse(found)))
    return command.GOOD


def _story(p: Proposal) -> str:
    lines = [f"proposal {p.id}, version {p.version}: {proposal_words.spoken(p.state)}"]
    for name, words in proposal_words.facts(p):
        lines += textwrap.wrap(seen(words), 79, initial_indent=f"{name:>12}  ", subsequent_indent=" " * 14)
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ deciding


def _decide(desk: Desk, options: argparse.Namespace) -> int:
    found = deciding.found(desk.proposals, options.id, desk.k)
    if options.choice is Choice.APPROVE:
        deciding.insist_on_log(desk.proposals, desk.anchor)  # before anybody is asked
    question = "Agree to this?" if options.choice is Choice.APPROVE else "Turn this down?"
    _confirm(desk, _story(coarse(found)), options, question)
    signed = Signed(by=options.by, account=command.account(), reason=options.reason, via="command line")
    version = options.version or found.version
    after = deciding.decide(desk.proposals, found, version, options.choice, signed, desk.anchor, desk.now)
    return _tell(desk, after, options)


def _withdraw(desk: Desk, options: argparse.Namespace) -> int:
    """Also what is not shown: taking it back asks nothing of anybody."""
    found, withheld = deciding.looked_up(desk.proposals, options.id, desk.k)
    _confirm(
        desk, f"proposal {found.id} is {withheld}" if withheld else _story(coarse(found)), options, "Take this back?"
    )
    return _tell(desk, desk.proposals.withdraw(found.id, options.by, mask(options.reason), desk.now), options)


def _confirm(desk: Desk, story: str, options: argparse.Namespace, question: str) -> None:
    """Nobody decides on what they have not seen."""
    desk.say(story, sys.stderr)
    if options.yes or (sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() == "y"):
        return
    raise Refused("NOT_CONFIRMED", "nothing was decided; say --yes if this is what you want")


def _tell(desk: Desk, after: Proposal, options: argparse.Namespace) -> int:
    if options.json:
        desk.say(json.dumps(deciding.document(desk.proposals, after, desk.k)))
    else:
        desk.say(proposal_words.standing(after))
    return command.GOOD


def _halt(desk: Desk, options: argparse.Namespace) -> int:
    changed = desk.proposals.halt(options.by, mask(options.reason), desk.now)
    return _switched(options, "halted", changed)


def _resume(desk: Desk, options: argparse.Namespace) -> int:
    changed = desk.proposals.resume(options.by, mask(options.reason), desk.now)
    return _switched(options, "running", changed)


def _switched(options: argparse.Namespace, now: str, changed: bool) -> int:
    print(json.dumps({"state": now, "changed": changed}) if options.json else f"{now}{'' if changed else ' already'}")
    return command.GOOD


def _expire(desk: Desk, options: argparse.Namespace) -> int:
    count = desk.proposals.expire(desk.now, command.account())
    print(json.dumps({"expired": count}) if options.json else f"expired {count}")
    return command.GOOD


# ------------------------------------------------------------------------------------------------ the audit log


def _verify(desk: Desk, options: argparse.Namespace) -> int:
    report = deciding.checked(desk.proposals, desk.anchor, options.head)
    end = f"{report.head[0]}:{report.head[1]}"
    if options.json:
        bad = {"row": report.bad.seq, "words": report.bad.words} if report.bad else None
        desk.say(json.dumps({"rows": report.rows, "head": end, "bad": bad}))
    else:
        desk.say(
            report.bad.words if report.bad else f"{report.rows:,} rows, all as they were written; the end is {end}"
        )
    return command.FAILED if report.bad else command.GOOD


if __name__ == "__main__":
    raise SystemExit(command.run(main))
