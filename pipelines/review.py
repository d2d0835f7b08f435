"""`python -m pipelines.review`: look at what is proposed, approve or reject it, and stop everything.

`--as` takes the name of whoever answers for the decision. It is stored as given and shown with the proposal, because an
operator is an accountable person and no subject of the analysis. The command line cannot prove a name: whoever may run
it is trusted to give their own. So the account it ran under is kept beside it, and two names of one account are one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from pipelines import command, log, settings, wiring
from pipelines.errors import InvalidInput, PermanentError, Refused
from pipelines.evidence import State
from pipelines.interventions import lifecycle
from pipelines.interventions.approval import Attempt
from pipelines.interventions.audit import AuditReport
from pipelines.interventions.proposal import Choice, Halt, Proposal, as_document
from pipelines.interventions.shown import coarse, hidden
from pipelines.jobs.evaluate import Proposals
from pipelines.privacy.traces import guard, secrets_of
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
        anchor = wiring.state_dir(config) / "audit.head"
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
    row, colon, hash_ = text.strip().partition(":")
    if not (colon and row.isdigit()):
        raise argparse.ArgumentTypeError("expected ROW:HASH, as `audit verify` prints it")
    return int(row), hash_


# ------------------------------------------------------------------------------------------------ looking


def _list(desk: Desk, options: argparse.Namespace) -> int:
    everything = desk.proposals.list(list(State))
    withheld = hidden(everything, desk.k)
    found = [p for p in everything if options.all or p.state in lifecycle.OPEN]
    found.sort(key=lambda p: p.state is not State.PENDING_APPROVAL)
    halt = desk.proposals.halted()
    if options.json:
        desk.say(_as_json(found, withheld, halt))
        return command.GOOD
    if halt:
        desk.say(seen(f"HALTED since {_time(halt.at)} by {log.redact(halt.by)}: {log.redact(halt.reason)}"))
    if found:
        rows = [_row(p, withheld.get(p.id)) for p in found]
        guard("\n".join(" ".join(row) for row in rows), desk.forbidden)
        Console(highlight=False).print(_table(rows))
    else:
        desk.say("no proposals")
    return command.GOOD


def _as_json(found: list[Proposal], withheld: Mapping[str, str], halt: Halt | None) -> str:
    halted = {"reason": log.redact(halt.reason), "by": log.redact(halt.by), "at": halt.at.isoformat()} if halt else None
    kept = [_without(p, withheld[p.id]) for p in found if p.id in withheld]
    shown = [as_document(coarse(p)) for p in found if p.id not in withheld]
    return json.dumps({"halted": halted, "withheld": len(kept), "hidden": kept, "proposals": shown})


def _without(p: Proposal, words: str) -> dict[str, str]:
    """What is told of one that is not shown."""
    return {"id": p.id, "state": p.state.value, "words": words}


def _row(exact: Proposal, withheld: str | None) -> list[str]:
    if withheld:
        return [exact.id, _words(exact.state), withheld, "", ""]
    p = coarse(exact)
    expected = f"{p.expected.metric} {_number(p.expected.effect)}" if p.expected else "unknown"
    return [p.id, _words(p.state), str(p.target), _words(p.playbook.template_id), expected]


def _table(rows: list[list[str]]) -> Table:
    # The id whole, whatever the width: it is there to be copied.
    table = Table(
        Column("id", no_wrap=True), Column("state", no_wrap=True), Column("about", overflow="fold"), "what", "expected"
    )
    for row in rows:
        table.add_row(*(Text(seen(cell)) for cell in row))  # as it is: a name is no markup
    return table


def _show(desk: Desk, options: argparse.Namespace) -> int:
    found = _found(desk, options.id)
    desk.say(json.dumps(as_document(coarse(found))) if options.json else _story(coarse(found)))
    return command.GOOD


def _found(desk: Desk, id_: str) -> Proposal:
    """It, exact; to be printed only as `coarse` has it."""
    found, withheld = _looked_up(desk, id_)
    if withheld:
        raise Refused("GROUP_TOO_SMALL", f"proposal {id_} ({_words(found.state)}) is not shown: it is {withheld}")
    return found


def _looked_up(desk: Desk, id_: str) -> tuple[Proposal, str]:
    """And why it is not shown; empty where it is."""
    found = desk.proposals.get(id_)
    if found is None:
        raise InvalidInput(f"there is no proposal {id_}; `review list --all` shows which there are")
    return found, hidden(desk.proposals.list(list(State)), desk.k).get(id_, "")


def _story(p: Proposal) -> str:
    lines = [f"proposal {p.id}, version {p.version}: {_words(p.state)}"]
    for name, words in _facts(p):
        lines += textwrap.wrap(seen(words), 79, initial_indent=f"{name:>12}  ", subsequent_indent=" " * 14)
    return "\n".join(lines)


def _facts(p: Proposal) -> Iterator[tuple[str, str]]:
    f, e = p.finding, p.evidence
    normal = f"normal is {_number(f.normal_low)} to {_number(f.normal_high)}"
    yield "about", f"{p.target} (at least {p.target.size} people)"
    yield "finding", f"{f.metric} {_number(f.value)}, {normal}; since {f.since}; data cover {f.coverage:.0%}"
    yield "what happens", p.preview
    yield "to undo it", p.reversibility
    yield "impact", p.impact
    data = f"at least {e.units} people, {e.periods} weeks"
    yield "evidence", f"{e.question} {_words(e.verdict)}: {e.method}, {data}{_effect(p)}"
    for check in e.checks:
        yield "check", f"{check.name} {_words(check.verdict)}: {check.words}"
    if p.expected:
        yield (
            "expected",
            f"{p.expected.metric} {_interval(p.expected.effect, p.expected.ci)} in {p.expected.horizon_days} days",
        )
    if plan := p.outcome_plan:
        dates = " and ".join(map(str, plan.check_dates))
        yield "judged by", f"{plan.method}: {plan.comparison}; on {dates}; harm from {_number(plan.harm_bound)}"
    yield "needs", f"{p.approval.policy}, {len(p.approval.decisions)} of {p.approval.needed} so far"
    for d in p.approval.decisions:
        yield d.decision, f"{d.by}, {_time(d.at)}: {d.reason}"
    for refusal in p.refusals:
        yield "blocked", refusal.words + (f"; unblocked by: {refusal.unblocks}" if refusal.unblocks else "")
    if p.expires_at and p.state is State.PENDING_APPROVAL:
        yield "expires", _time(p.expires_at)


def _effect(p: Proposal) -> str:
    e = p.evidence
    return f", {_interval(e.effect, e.ci)} per unit" if e.effect is not None and e.ci else ""


# ------------------------------------------------------------------------------------------------ deciding


def _decide(desk: Desk, options: argparse.Namespace) -> int:
    found = _found(desk, options.id)
    if options.choice is Choice.APPROVE:
        _insist_on_log(desk)
    _confirm(
        desk,
        _story(coarse(found)),
        options,
        "Agree to this?" if options.choice is Choice.APPROVE else "Turn this down?",
    )
    attempt = Attempt(
        id=found.id,
        version=options.version or found.version,
        choice=options.choice,
        by=options.by,
        reason=log.redact(options.reason),
        via="command line",
        account=command.account(),
    )
    return _tell(desk, desk.proposals.decide(attempt, desk.now), options)


def _withdraw(desk: Desk, options: argparse.Namespace) -> int:
    """Also what is not shown: taking it back asks nothing of anybody."""
    found, withheld = _looked_up(desk, options.id)
    _confirm(
        desk, f"proposal {found.id} is {withheld}" if withheld else _story(coarse(found)), options, "Take this back?"
    )
    return _tell(desk, desk.proposals.withdraw(found.id, options.by, log.redact(options.reason), desk.now), options)


def _confirm(desk: Desk, story: str, options: argparse.Namespace, question: str) -> None:
    """Nobody decides on what they have not seen."""
    desk.say(story, sys.stderr)
    if options.yes or (sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() == "y"):
        return
    raise Refused("NOT_CONFIRMED", "nothing was decided; say --yes if this is what you want")


def _tell(desk: Desk, after: Proposal, options: argparse.Namespace) -> int:
    missing = after.approval.needed - len(after.approval.decisions)
    more = f"; {missing} more to agree" if after.state is State.PENDING_APPROVAL else ""
    if options.json:
        _, withheld = _looked_up(desk, after.id)
        desk.say(json.dumps(_without(after, withheld) if withheld else as_document(coarse(after))))
    else:
        desk.say(f"{after.id} version {after.version}: {_words(after.state)}{more}")
    return command.GOOD


def _halt(desk: Desk, options: argparse.Namespace) -> int:
    changed = desk.proposals.halt(options.by, log.redact(options.reason), desk.now)
    return _switched(options, "halted", changed)


def _resume(desk: Desk, options: argparse.Namespace) -> int:
    changed = desk.proposals.resume(options.by, log.redact(options.reason), desk.now)
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
    report = _checked(desk, options.head)
    end = f"{report.head[0]}:{report.head[1]}"
    if options.json:
        bad = {"row": report.bad.seq, "words": report.bad.words} if report.bad else None
        desk.say(json.dumps({"rows": report.rows, "head": end, "bad": bad}))
    else:
        desk.say(
            report.bad.words if report.bad else f"{report.rows:,} rows, all as they were written; the end is {end}"
        )
    return command.FAILED if report.bad else command.GOOD


def _checked(desk: Desk, given: tuple[int, str] | None = None) -> AuditReport:
    """Verify against what was noted before, and note the new end when all is well."""
    noted = _noted(desk.anchor)
    report = desk.proposals.verify_audit(given or noted)
    if report.bad is None:
        _note(desk.anchor, f"{report.head[0]}:{report.head[1]}\n")
    return report


def _note(anchor: Path, end: str) -> None:
    """Whole or not at all: half a line would read as a damaged note."""
    try:
        anchor.parent.mkdir(parents=True, exist_ok=True)
        draft = anchor.with_name(f".{anchor.name}.{os.getpid()}")
        draft.write_text(end, encoding="ascii")
        draft.replace(anchor)
    except OSError as error:
        raise PermanentError(f"cannot write {anchor} ({error.strerror}); set ORGANISM_STATE_DIR") from error


def _noted(anchor: Path) -> tuple[int, str] | None:
    try:
        return _head(anchor.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (ValueError, argparse.ArgumentTypeError):
        raise PermanentError(f"{anchor} is not ROW:HASH as we wrote it; find out why, then remove it") from None


def _insist_on_log(desk: Desk) -> None:
    if bad := _checked(desk).bad:
        raise Refused("AUDIT_BROKEN", f"nothing is approved while the audit log does not hold: {bad.words}")


# ------------------------------------------------------------------------------------------------ words


def _interval(effect: float, ci: tuple[float, float]) -> str:
    return f"{_number(effect)} (95 % interval {_number(ci[0])} to {_number(ci[1])})"


def _number(value: float) -> str:
    """Two digits: more would promise more than there is."""
    return f"{float(f'{value:.2g}'):g}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


if __name__ == "__main__":
    raise SystemExit(command.run(main))
