"""`python -m pipelines.dlq`: look at what was set aside, put it back on the stream, or drop it for good."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines import command, settings, wiring
from pipelines.errors import InvalidInput, Refused
from pipelines.jobs import dead_letters as job
from pipelines.jobs.backfill import replay_late
from pipelines.jobs.ingest import Stores
from pipelines.model import Code, DeadLetter, Lane


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    config = settings.load()
    print(f"dlq: {wiring.which(config)}", file=sys.stderr, flush=True)
    with wiring.endpoints(config) as where, wiring.stores(config, where) as stores:
        return int(options.do(stores, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.dlq", description="Dead and late letters.")
    verbs = parser.add_subparsers(required=True, metavar="list | show | replay | drop")
    with _verb(verbs, "list", _list, "what was set aside, by code, newest last; never the payload") as verb:
        verb.add_argument("--code", type=_code, help="only this refusal code")
        verb.add_argument("--limit", type=int, default=20)
        verb.add_argument("--json", action="store_true")
    with _verb(verbs, "show", _show, "one letter") as verb:
        verb.add_argument("id", type=_letter_id)
        verb.add_argument("--reveal", action="store_true", help="its payload too; it may hold personal data")
    with _verb(
        verbs, "replay", _replay, "back to the stream (late letters: into the graph at once); safe to repeat"
    ) as verb:
        _which(verb)
        verb.add_argument(
            "--force", action="store_true", help=f"also letters that were replayed {job.MAX_REPLAYS} times"
        )
        verb.add_argument("--dry-run", action="store_true", help="say what would be replayed")
    with _verb(verbs, "drop", _drop, "remove for good; leaves a line with the reason") as verb:
        _which(verb)
        verb.add_argument("--reason", required=True)
    return parser


@contextmanager
def _verb(verbs: Any, name: str, do: Any, words: str) -> Iterator[argparse.ArgumentParser]:
    verb = verbs.add_parser(name, help=words, description=words)
    verb.add_argument("--late", action="store_true", help="the late lane: events older than the horizon")
    verb.set_defaults(do=do)
    yield verb


def _which(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("id", nargs="*", type=_letter_id)
    verb.add_argument("--code", type=_code, help="all letters with this refusal code")
    verb.add_argument("--all", action="store_true", help="every letter of the lane")


def _lane(options: argparse.Namespace) -> Lane:
    return Lane.LATE if options.late else Lane.DEAD


def _list(stores: Stores, options: argparse.Namespace) -> int:
    lane = _lane(options)
    counts = stores.letters.counts(lane)
    letters = stores.letters.list(lane, code=options.code, limit=options.limit)
    if options.json:
        print(json.dumps({"counts": counts, "letters": [_about(x) for x in letters]}))
        return 0
    console = Console(highlight=False)
    if not counts:
        console.print(f"no {'late' if options.late else 'dead'} letters")
        return 0
    table = Table("id", "code", "why", "replays", "set aside (UTC)", title=_sum(counts), title_justify="left")
    for letter in letters:
        about = _about(letter)
        table.add_row(letter.id, letter.code, letter.words, str(letter.replays), about["set_aside"])
    console.print(table)
    return 0


def _sum(counts: dict[str, int]) -> str:
    return f"{sum(counts.values()):,} letters: " + ", ".join(f"{code} {n:,}" for code, n in counts.items())


def _about(letter: DeadLetter) -> dict[str, Any]:
    """What may be shown without asking: nothing of the payload but its size."""
    at = datetime.fromtimestamp(letter.dead_ms / 1000, UTC)
    return {
        "id": letter.id,
        "code": letter.code,
        "words": letter.words,
        "source_id": letter.source_id,
        "deliveries": letter.deliveries,
        "replays": letter.replays,
        "set_aside": f"{at:%Y-%m-%d %H:%M:%S}",
        "payload": "not kept" if letter.kept == "no" else f"{sum(map(len, letter.fields.values()))} bytes",
    }


def _letter_id(text: str) -> str:
    if not re.fullmatch(r"\d+-\d+", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not the id of a letter, such as 1795334624359-0; see `dlq list`")
    return text


def _code(text: str) -> Code:
    if text not in Code.__members__:
        raise argparse.ArgumentTypeError(f"'{text}' is not a refusal code; there are {', '.join(Code)}")
    return Code(text)


def _show(stores: Stores, options: argparse.Namespace) -> int:
    letter = stores.letters.get(_lane(options), options.id)
    if letter is None:
        raise InvalidInput(
            f"there is no letter {options.id} here; `dlq list{' --late' * options.late}` shows which there are"
        )
    for name, value in _about(letter).items():
        print(f"{name:>12}: {value}")
    if options.reveal:
        for field, value in letter.fields.items():
            print(f"{field.decode('utf-8', 'backslashreplace'):>12}: {value.decode('utf-8', 'backslashreplace')}")
    return 0


def _replay(stores: Stores, options: argparse.Namespace) -> int:
    letters = _chosen(stores, options)
    ready, held = job.replayable(letters, force=options.force)
    for letter, why in held:
        print(f"{letter.id} {letter.code}: not replayed, {why}", file=sys.stderr)
    if options.dry_run:
        print(f"would replay {len(ready):,} letters")
    elif options.late:
        funnel = replay_late(stores, ready, datetime.now(UTC), wiring.archive_keeps(settings.load()))
        print(
            f"late letters: {funnel.applied:,} applied, {funnel.duplicates:,} counted before, {funnel.ignored:,} left"
        )
        if too_old := funnel.codes.get(Code.TOO_LATE):
            print(f"{too_old:,} are older than the archive keeps; raise ORGANISM_ARCHIVE_DAYS first", file=sys.stderr)
    else:
        print(f"replayed {job.replay(stores, ready):,} letters; the next incremental run reads them")
    if held and not ready:
        raise Refused("NOT_REPLAYABLE", "none of these letters can be replayed")
    return 0


def _drop(stores: Stores, options: argparse.Namespace) -> int:
    dropped = job.drop(stores, _lane(options), _chosen(stores, options), options.reason, command.account())
    print(f"dropped {dropped:,} letters")
    return 0


def _chosen(stores: Stores, options: argparse.Namespace) -> list[DeadLetter]:
    lane = _lane(options)
    if not (options.id or options.code or options.all):
        raise InvalidInput("say which: letter ids, --code CODE or --all")
    if not options.id:
        return stores.letters.list(lane, code=options.code, limit=sys.maxsize)
    found = {id_: stores.letters.get(lane, id_) for id_ in options.id}
    gone = [id_ for id_, letter in found.items() if letter is None]
    words = f"no letter here with id {', '.join(gone)}: replayed or dropped before, or mistyped; see `dlq list`"
    if gone:
        command.say(words)  # no error: to replay or drop again is to be safe, in a script too
    return [letter for letter in found.values() if letter is not None]


if __name__ == "__main__":
    raise SystemExit(command.run(main))
